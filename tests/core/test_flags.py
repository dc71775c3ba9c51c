"""Flags: rules as words, read in every form and written so that they read back"""

import shlex
from datetime import timedelta

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from artifactstore.core.errors import Invalid
from artifactstore.core.flags import EXAMPLES, REPEATABLE, hint, split, whole, write, write_span
from artifactstore.core.units import parse_duration


@pytest.mark.parametrize(
    "text",
    [
        "--older 30d --keep-alias 'rel 1'",
        "--older=30d --keep-alias='rel 1'",
        "older=30d keep-alias='rel 1'",
        " --older  30d\n keep-alias=rel\\ 1 ",
        '"older=30d" "keep-alias=rel 1"',
    ],
)
def test_flags_are_read_in_every_form(text):
    assert split(text) == {"older": ["30d"], "keep-alias": ["rel 1"]}


def test_a_value_may_hold_what_flags_are_made_of():
    assert split("--where a=b==c phase=--older --keep-last -3") == {
        "where": ["a=b==c"],
        "phase": ["--older"],
        "keep-last": ["-3"],
    }


@pytest.mark.parametrize("flag", sorted(EXAMPLES))
def test_only_some_stand_more_than_once(flag):
    if flag in REPEATABLE:
        assert split(f"--{flag} a {flag}=b") == {flag: ["a", "b"]}
    else:
        with pytest.raises(Invalid, match=f"--{flag} is given twice"):
            split(f"--{flag} a {flag}=b")


@pytest.mark.parametrize("flag", sorted(EXAMPLES))
@pytest.mark.parametrize("form", ["--{}", "--{}=", "{}=", "{}", "{} 30d", "--{} --phase=a", "--{} ''"])
def test_a_flag_without_value_is_refused_with_an_example(flag, form):
    with pytest.raises(Invalid) as refusal:
        split(form.format(flag))
    assert str(refusal.value) == f"--{flag} has no value; write --{flag} {EXAMPLES[flag]}"
    assert refusal.value.facts == {"flag": flag}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("--keep-lats 3", "Unknown rule '--keep-lats'; did you mean --keep-last"),
        ("keep_best=2:a", "Unknown rule 'keep_best=2:a'; did you mean --keep-best"),
        ("--older 30d 30d", "Unknown rule '30d'; there are --keep-alias, --keep-best, "),
        ("-n 3", "Unknown rule '-n'; there are "),
        ("---older 3d", "Unknown rule '---older'; did you mean --older?"),
        ("=3", "Unknown rule '=3'; there are "),
        ("x" * 10_000, "Unknown rule 'xxxxx"),
    ],
)
def test_an_unknown_flag_is_refused_with_close_ones(text, words):
    with pytest.raises(Invalid) as refusal:
        split(text)
    assert str(refusal.value).startswith(words)
    assert refusal.value.code == "invalid.rules"
    assert len(str(refusal.value)) < 400


@pytest.mark.parametrize("text", ["--phase 'a", '--phase "a', "--phase a\\"])
def test_an_open_quote_is_refused(text):
    with pytest.raises(Invalid, match="a quote or backslash without its end"):
        split(text)


@pytest.mark.parametrize("text", ["", " ", "\n"])
def test_no_flags_are_refused(text):
    with pytest.raises(Invalid, match="write for example --older 30d --keep-last 3"):
        split(text)


@given(st.sampled_from(sorted(EXAMPLES)), st.text(st.characters(codec="utf-8"), min_size=1))
@example("phase", "--a b")
@example("phase", "-")
def test_any_value_reads_back(flag, value):
    assert split(write(flag, value)) == {flag: [value]}


def test_examples_read_back():
    for flag, value in EXAMPLES.items():
        assert write(flag, shlex.split(value)[0]) == f"--{flag} {value}"


@pytest.mark.parametrize(
    ("span", "text"),
    [
        (timedelta(0), "0s"),
        (timedelta(days=30), "30d"),
        (timedelta(days=1, hours=12), "1d12h"),
        (timedelta(hours=1, seconds=10), "1h10s"),
        (timedelta(minutes=90), "1h30min"),
        (timedelta(milliseconds=500), "0.5s"),
        (timedelta(days=7, microseconds=1), "7d0.000001s"),
    ],
)
def test_a_span_is_written_in_full(span, text):
    assert write_span(span) == text
    assert write("older", span) == f"--older {text}"


@given(st.timedeltas(min_value=timedelta(0), max_value=timedelta(days=3650)))
def test_any_span_reads_back(span):
    assert parse_duration(write_span(span)) == span


@pytest.mark.parametrize("text", ["", "-1", "+1", "1.0", "1e3", " 1", "1\n", "٣", "0x1", "1" * 16, "1_000"])
def test_other_texts_are_no_whole_numbers(text):
    with pytest.raises(Invalid, match="Not a whole number"):
        whole(text)


def test_whole_numbers_may_begin_with_zeros():
    assert (whole("0"), whole("007"), whole("9" * 15)) == (0, 7, 10**15 - 1)


def test_hints():
    assert hint("prd", {"prod", "best"}) == "; did you mean prod?"
    assert hint("rel", {"rel1", "rel2"}, "@") == "; did you mean @rel2 or @rel1?"
    assert hint("x", {"prod", "best"}) == "; there are best, prod"
    assert hint("x", ()) == "; there are none"
    assert hint("z", [f"a{n:02}" for n in range(17)]).endswith("a14, a15, …")
