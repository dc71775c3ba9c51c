"""Calendar rules: days, ISO weeks and months in UTC, only those that have versions"""

import pytest

from artifactstore.core.calendar import Daily, Monthly, Weekly
from artifactstore.core.errors import Invalid
from tests.core.candidates import at, version


def kept(rule, *moments):
    """Reasons by moment of creation"""
    group = [version(f"m:{number}", created=at(moment)) for number, moment in enumerate(moments, 1)]
    return {moments[one.number - 1]: rule.keeps(group)[one.id] for one in group if one.id in rule.keeps(group)}


def test_the_newest_of_each_of_the_latest_days():
    moments = ["2026-02-27T10:00", "2026-02-28T00:00", "2026-02-28T23:59:59", "2026-03-01", "2026-02-20"]
    assert kept(Daily(3), *moments) == {
        "2026-03-01": ("newest of day 2026-03-01",),
        "2026-02-28T23:59:59": ("newest of day 2026-02-28",),
        "2026-02-27T10:00": ("newest of day 2026-02-27",),
    }


def test_days_without_versions_do_not_count():
    assert list(kept(Daily(2), "2020-01-01", "2024-02-29", "2026-03-01")) == ["2024-02-29", "2026-03-01"]


def test_weeks_are_those_of_iso_8601():
    assert kept(Weekly(3), "2025-12-28", "2025-12-29", "2026-01-01", "2026-01-04T23:59", "2026-01-05") == {
        "2025-12-28": ("newest of week 2025-W52",),
        "2026-01-04T23:59": ("newest of week 2026-W01",),
        "2026-01-05": ("newest of week 2026-W02",),
    }
    assert kept(Weekly(1), "2027-01-03") == {"2027-01-03": ("newest of week 2026-W53",)}


def test_months_of_different_years_are_different():
    assert kept(Monthly(9), "2025-03-31T23:59:59", "2026-03-01", "2026-03-31", "2026-04-01") == {
        "2025-03-31T23:59:59": ("newest of month 2025-03",),
        "2026-03-31": ("newest of month 2026-03",),
        "2026-04-01": ("newest of month 2026-04",),
    }


def test_of_one_moment_the_higher_number_is_newer():
    group = [version(f"m:{number}", created=at("2026-03-01")) for number in (2, 10, 9)]
    assert list(Daily(4).keeps(group)) == [group[1].id]


def test_moments_before_1970_have_a_day_too():
    assert kept(Daily(1), "1969-12-31T23:00") == {"1969-12-31T23:00": ("newest of day 1969-12-31",)}


@pytest.mark.parametrize("rule", [Daily, Weekly, Monthly])
@pytest.mark.parametrize("n", [0, -1, True, 1.0, "7"])
def test_counts_are_whole_numbers_from_one(rule, n):
    with pytest.raises(Invalid, match=f"{rule.__name__} takes a whole number from 1"):
        rule(n)


def test_they_join_with_other_rules():
    assert str(Daily(7) | Weekly(4) | Monthly(12)) == "--keep-daily 7 --keep-weekly 4 --keep-monthly 12"
