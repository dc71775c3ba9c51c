"""Durations and sizes: every form the command's page allows, and why the others are refused"""

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from artifactstore.core.errors import Invalid
from artifactstore.core.units import LONGEST, format_duration, format_moment, format_size, parse_duration, parse_size


def refused(parse, text):
    with pytest.raises(Invalid) as refusal:
        parse(text)
    assert refusal.value.code == f"invalid.{parse.__name__.removeprefix('parse_')}"
    assert len(str(refusal.value)) < 200
    return str(refusal.value)


@pytest.mark.parametrize(
    ("text", "span"),
    [
        ("30d", timedelta(days=30)),
        ("2w", timedelta(days=14)),
        ("12h", timedelta(hours=12)),
        ("90min", timedelta(minutes=90)),
        ("6mo", timedelta(days=180)),
        ("1y", timedelta(days=365)),
        ("1y6mo", timedelta(days=545)),
        ("1w2d3h4min5s", timedelta(weeks=1, days=2, hours=3, minutes=4, seconds=5)),
        ("1.5h", timedelta(minutes=90)),
        ("0.1s", timedelta(milliseconds=100)),
        ("0d", timedelta(0)),
        ("P30D", timedelta(days=30)),
        ("P2W", timedelta(days=14)),
        ("P1Y6M", timedelta(days=545)),
        ("PT90M", timedelta(minutes=90)),
        ("P1DT12H", timedelta(hours=36)),
        ("PT1H1M1S", timedelta(seconds=3661)),
        ("1000y", LONGEST),
    ],
)
def test_a_duration_reads_as_people_mean_it(text, span):
    assert parse_duration(text) == span


@pytest.mark.parametrize("text", ["30m", "30", "0", "1.5", "1.5m", "1y6", "1y6m", "2h30m", "1..5", "9" * 5000])
def test_a_bare_number_or_m_is_refused_and_says_why(text):
    message = refused(parse_duration, text)
    assert "has no clear unit" in message
    assert "minutes, days or months?" in message


@pytest.mark.parametrize(
    "text",
    [
        "",
        " ",
        "d",
        "m",
        "-30d",
        "+30d",
        " 30d",
        "30d ",
        "30 d",
        "30d\n",
        "30D",
        "30days",
        "1e3d",
        ".5d",
        "5.d",
        "1,5h",
        "٣٠d",
        "３０d",
        "30ｄ",
        "1y 6mo",
        "nand",
        "infd",
        "P",
        "PT",
        "P1DT",
        "P-1D",
        "P0.5D",
        "p30d",
        "P30D\n",
        "P٣D",
        "P1D2D",
        "P1M1Y",
    ],
)
def test_other_texts_are_no_durations(text):
    assert "Not a duration" in refused(parse_duration, text)


@pytest.mark.parametrize("text", ["1d1d", "6mo1y", "5min1h", "1s1min", "1h1d"])
def test_units_stand_once_and_largest_first(text):
    assert "largest first" in refused(parse_duration, text)


@pytest.mark.parametrize(
    "text", ["1000.1y", "1000y1d", "P1001Y", "9" * 400 + "d", "P" + "9" * 400 + "D", f"P{10**30}Y"]
)
def test_a_span_over_a_thousand_years_is_refused(text):
    assert "1000 years" in refused(parse_duration, text)


def test_digits_past_what_python_reads_are_refused_too():
    assert "1000 years" in refused(parse_duration, "P" + "9" * 5000 + "D")
    assert "8 EiB" in refused(parse_size, "9" * 5000)


PARTS = {"y": 365 * 86400, "mo": 30 * 86400, "w": 7 * 86400, "d": 86400, "h": 3600, "min": 60, "s": 1}


@given(st.fixed_dictionaries({}, optional={unit: st.integers(0, 99) for unit in PARTS}).filter(bool))
def test_a_compound_is_the_sum_of_its_parts(parts):
    text = "".join(f"{parts[unit]}{unit}" for unit in PARTS if unit in parts)
    assert parse_duration(text) == timedelta(seconds=sum(number * PARTS[unit] for unit, number in parts.items()))


@given(st.timedeltas(timedelta(0), LONGEST))
def test_a_shown_duration_reads_back_as_no_more_than_it_was(span):
    again = parse_duration(format_duration(span))
    lost = span - again
    assert timedelta(0) <= lost < (timedelta(days=1) if again >= timedelta(days=1) else timedelta(minutes=1))
    assert format_duration(-span) == format_duration(span)


@pytest.mark.parametrize(
    ("span", "text"),
    [
        (timedelta(days=47, hours=3), "47d"),
        (timedelta(hours=3, minutes=20), "3h20min"),
        (timedelta(hours=3), "3h"),
        (timedelta(minutes=5, seconds=59), "5min"),
        (timedelta(seconds=12), "12s"),
        (timedelta(0), "0s"),
        (timedelta(seconds=-12.5), "12s"),
    ],
)
def test_a_duration_is_shown_short(span, text):
    assert format_duration(span) == text


@pytest.mark.parametrize(
    ("text", "nbytes"),
    [
        ("4096", 4096),
        ("0", 0),
        ("1B", 1),
        ("10 B", 10),
        ("100MB", 100_000_000),
        ("100 MB", 100_000_000),
        ("100M", 100_000_000),
        ("100MiB", 100 << 20),
        ("100Mi", 100 << 20),
        ("1.5G", 1_500_000_000),
        ("1kB", 1000),
        ("1KB", 1000),
        ("1kiB", 1024),
        ("1KiB", 1024),
        ("2TiB", 2 << 40),
        ("3PB", 3 * 10**15),
        ("1EiB", 1 << 60),
        ("0.5", 1),
        ("0.1kB", 100),
        ("9007199254740993", 9007199254740993),
        ("9223372036854775807", 2**63 - 1),
    ],
)
def test_a_size_reads_exactly(text, nbytes):
    assert parse_size(text) == nbytes


@pytest.mark.parametrize(
    "text",
    [
        "",
        " ",
        "MB",
        "100i",
        "100iB",
        "100b",
        "100mb",
        "100Mb",
        "100  MB",
        "100 ",
        " 100",
        "100\n",
        "100MB\n",
        "-1",
        "+1",
        "1e3",
        "1_000",
        "1,000",
        ".5G",
        "5.G",
        "0x10",
        "nan",
        "inf",
        "١٠MB",
        "１０MB",
        "100ＭB",
        "1ZB",
        "5%",
        "100MBB",
    ],
)
def test_other_texts_are_no_sizes(text):
    assert "100MiB (2^20" in refused(parse_size, text)


@pytest.mark.parametrize("text", ["9223372036854775808", "8EiB", "9.3EB", "9" * 400 + "PB", "9" * 400 + ".5"])
def test_a_size_no_file_can_have_is_refused(text):
    assert "8 EiB" in refused(parse_size, text)


@given(st.integers(0, 2**63 - 1))
def test_plain_bytes_read_back_exactly(nbytes):
    assert parse_size(str(nbytes)) == nbytes


@given(st.integers(0, 999), st.sampled_from(list(enumerate("kMGTP", start=1))))
def test_decimal_and_binary_units_are_powers_of_their_base(number, unit):
    power, letter = unit
    assert parse_size(f"{number}{letter}B") == number * 1000**power
    assert parse_size(f"{number}{letter}iB") == number * 1024**power


@given(st.integers(0, 2**63 - 1))
def test_a_shown_size_reads_back_within_its_last_digit(nbytes):
    text = format_size(nbytes)
    unit = parse_size("1" + text.split()[1])
    assert abs(parse_size(text) - nbytes) <= unit * 0.05 + 1
    assert unit == 10**12 or parse_size(text) < 1000 * unit


@pytest.mark.parametrize(
    ("nbytes", "text"),
    [
        (0, "0 B"),
        (999, "999 B"),
        (1000, "1.0 kB"),
        (999_949, "999.9 kB"),
        (999_950, "1.0 MB"),
        (19_800_000_000, "19.8 GB"),
        (612_400_000_000, "612.4 GB"),
        (5 * 10**15, "5000.0 TB"),
        (-1500, "-1.5 kB"),
    ],
)
def test_a_size_is_shown_in_powers_of_1000(nbytes, text):
    assert format_size(nbytes) == text


def test_moments_are_whole_seconds_before_1970_too():
    assert format_moment(1_700_000_000_999_999) == "2023-11-14T22:13:20Z"
    assert format_moment(-1) == "1969-12-31T23:59:59Z"
    assert format_moment(-(1 << 53)) == "1684-07-28T00:12:25Z"
