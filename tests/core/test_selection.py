"""Selection: what a selector takes, in which words, and rules as one text"""

import contextlib
from datetime import timedelta

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from artifactstore.core.calendar import Daily, Monthly, Weekly
from artifactstore.core.errors import Invalid
from artifactstore.core.filter import Comparison, Operand
from artifactstore.core.flags import EXAMPLES, write
from artifactstore.core.policy import Aliased, AnyOf, Best, EverySteps, Latest, MinCopies, Phase, Within
from artifactstore.core.selection import Rules, Selector, check_rules, pattern_for
from tests.core.candidates import DAY, NOW, UNTIMED, id_of, labels, spans, stores, version

MONTH = timedelta(days=30)


@pytest.mark.parametrize(
    ("days", "reason"),
    [
        (47, "older than 30d (47d)"),
        (30, "older than 30d (30d)"),
        (30 - 1 / DAY, None),
        (0, None),
        (-1, None),
    ],
)
def test_older_counts_from_creation(days, reason):
    assert Selector(older=MONTH).selects(version(days=days, taken=NOW, last_load=NOW), NOW) == reason


@pytest.mark.parametrize(
    ("loaded", "taken", "reason"),
    [
        (None, 47, "not loaded for 30d (never loaded, taken in 47d ago)"),
        (31, 47, "not loaded for 30d (last loaded 31d ago)"),
        (29, 47, None),
        (None, 29, None),
        (-3, 47, None),
        (None, -3, None),
    ],
)
def test_unused_counts_from_the_last_load_else_from_taking_in(loaded, taken, reason):
    last_load = None if loaded is None else NOW - loaded * DAY
    one = version(days=400, taken=NOW - taken * DAY, last_load=last_load)
    assert Selector(unused=MONTH).selects(one, NOW) == reason


@pytest.mark.parametrize("selector", [Selector(older=timedelta(0)), Selector(unused=timedelta(0))])
def test_a_moment_to_come_is_never_old(selector):
    assert selector.selects(version(days=0), NOW) is not None
    assert selector.selects(version(days=-1 / DAY), NOW) is None


def test_phase_name_and_filter():
    one = version("org/wan:3", phase="warmup")
    assert Selector(phase="warmup").selects(one, NOW) == "phase warmup"
    assert Selector(phase="warm").selects(one, NOW) is None
    assert Selector(run="org/*").selects(one, NOW) == "run org/*"
    assert Selector(run="wan*").selects(one, NOW) is None
    both = Selector(where=("size>1GB", "step<9"))
    assert both.selects(one, NOW, frozenset([id_of("org/wan:3")])) == "where size>1GB and step<9"
    assert both.selects(one, NOW, frozenset()) is None


def test_a_filter_that_nobody_looked_up_is_no_match_in_silence():
    with pytest.raises(Invalid, match="Nobody looked up --where 'size>1GB'"):
        Selector(where=("size>1GB",)).selects(version(), NOW)


def test_all_that_is_given_must_hold():
    selector = Selector(older=MONTH, unused=timedelta(days=1), phase="sft", run="m", where=("pinned",))
    one = version(days=47, phase="sft")
    assert selector.selects(one, NOW, frozenset([one.id])) == (
        "older than 30d (47d), not loaded for 1d (never loaded, taken in 47d ago), phase sft, run m, where pinned"
    )
    for other in (version(days=3, phase="sft"), version(days=47), version("n:1", days=47, phase="sft")):
        assert selector.selects(other, NOW, frozenset([other.id])) is None


@UNTIMED
@given(stores())
def test_an_empty_selector_takes_all_and_gives_no_reason(group):
    assert Selector().is_empty
    assert [Selector().selects(one, NOW) for one in group] == [""] * len(group)


@pytest.mark.parametrize(
    "changes",
    [
        {"older": timedelta(days=-1)},
        {"unused": timedelta(days=400_000)},
        {"phase": ""},
        {"run": " x"},
        {"where": ("pinned", "size >")},
    ],
)
def test_a_selector_that_means_nothing_is_refused(changes):
    with pytest.raises(Invalid):
        Selector(**changes)


FULL = (
    "--older 30d --unused 30d --phase P --run 'wan-*' --where 'size > 1GB' --keep-last 3 --keep-best 2:val_loss:max "
    "--keep-every 5000 --keep-daily 7 --keep-weekly 4 --keep-monthly 12 --keep-within 7d --keep-alias 'rel-*' "
    "--keep-phase sft --min-copies 2"
)


def test_every_flag_is_read():
    assert Rules.parse(FULL) == Rules(
        Selector(older=MONTH, unused=MONTH, phase="P", run="wan-*", where=("size > 1GB",)),
        AnyOf(
            (
                Latest(3),
                Best(2, "val_loss", "max"),
                EverySteps(5000),
                Daily(7),
                Weekly(4),
                Monthly(12),
                Within(timedelta(days=7)),
                Aliased("rel-*"),
                Phase("sft"),
                MinCopies(2),
            )
        ),
    )
    assert str(Rules.parse(FULL)) == FULL


def test_every_example_is_read():
    for flag, value in EXAMPLES.items():
        assert not Rules.parse(f"--{flag} {value}").is_empty


@pytest.mark.parametrize(
    ("text", "canonical"),
    [
        ("keep-last=03", "--keep-last 3"),
        ("--keep-last 3 --older P30D", "--older 30d --keep-last 3"),
        ("--older 1y6mo", "--older 545d"),
        ("--keep-best 2:b --keep-best 2:a:min --keep-best 02:b:min", "--keep-best 2:a --keep-best 2:b"),
        ("--keep-best 1:eval:loss:min", "--keep-best 1:eval:loss:min"),
        ("where=pinned where='files > 3' where=pinned", "--where 'files > 3' --where pinned"),
        ("keep-phase='a b' keep-alias=x phase=-y", "--phase=-y --keep-alias x --keep-phase 'a b'"),
    ],
)
def test_what_means_the_same_is_written_the_same(text, canonical):
    rules = Rules.parse(text)
    assert str(rules) == canonical
    assert Rules.parse(canonical) == rules


def test_one_rule_stands_alone():
    assert Rules.parse("--keep-last 3").keep == Latest(3)
    assert Rules.parse("--keep-best 1:a --keep-best 1:b").keep == Best(1, "a") | Best(1, "b")
    assert Rules.parse("--older 30d").keep is None


def test_separate_values_are_read_as_the_text_is():
    assert Rules.of(older="30d", run="wan-*", keep_last="3", keep_best=["2:val_loss", "1:fid:max"]) == Rules.parse(
        "--older 30d --run wan-* --keep-last 3 --keep-best 1:fid:max --keep-best 2:val_loss"
    )


def test_nothing_given_is_empty():
    assert Rules.of() == Rules()
    assert Rules().is_empty
    assert str(Rules()) == ""
    assert not Rules(keep=Latest(1)).is_empty
    assert not Rules(Selector(phase="a")).is_empty


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("--keep-last 0", "--keep-last '0': Latest takes a whole number from 1, found 0; write for example --keep-last 3"),
        ("--keep-last -3", "--keep-last '-3': Not a whole number; write for example --keep-last 3"),
        ("--keep-daily 1.5", "--keep-daily '1.5': Not a whole number; write for example --keep-daily 7"),
        ("--keep-best 2", "--keep-best '2': Not a metric name: ''"),
        ("--keep-best 2:", "--keep-best '2:': Not a metric name: ''"),
        ("--keep-best 0:x", "--keep-best '0:x': Best takes a whole number from 1, found 0"),
        ("--keep-best val_loss", "--keep-best 'val_loss': Not a whole number; write for example --keep-best 2:val_loss:min"),
        ("--keep-best 2:x:best", "--keep-best '2:x:best': Best is by min or max, not by 'best'"),
        ("--keep-best 2:x:", "--keep-best '2:x:': Best is by min or max, not by ''"),
        ("--older 30m", "--older '30m': Duration '30m' has no clear unit"),
        ("--keep-within 7", "--keep-within '7': Duration '7' has no clear unit"),
        ("--unused soon", "--unused 'soon': Not a duration"),
        ("--phase ' a'", "--phase ' a': Not a phase"),
        ("--run ' '", "--run ' ': Not a pattern of names"),
        ("--where ' '", "--where ' ': Filter, character 2: found the end, expected a condition"),
        ("--where 'size >'", "--where 'size >': Filter, character 7: found the end, expected a value of size; write for"),
        ("--where 'sizee > 1GB'", "--where 'sizee > 1GB': Filter, character 1: unknown key 'sizee'; did you mean size"),
        ("--keep-alias ' '", "--keep-alias ' ': Not a pattern of aliases"),
        ("--keep-last 3 --keep-last 3", "--keep-last is given twice"),
        ("--keep-lost 3", "Unknown rule '--keep-lost'; did you mean --keep-last"),
        ("", "No rules are given"),
    ],
)  # fmt: skip
def test_what_makes_no_sense_is_refused_with_what_to_write(text, words):
    with pytest.raises(Invalid) as refusal:
        Rules.parse(text)
    assert str(refusal.value).startswith(words)
    assert refusal.value.code == "invalid.rules"


def test_a_stored_policy_names_no_runs():
    for make in (lambda: Rules.parse("--run a --older 30d", stored=True), lambda: Rules.of(run="a", stored=True)):
        with pytest.raises(Invalid, match="A stored policy takes no --run"):
            make()
    assert Rules.parse("--older 30d", stored=True) == Rules.parse("--older 30d")


counts = st.integers(1, 10**15 - 1).map(str)
durations = spans.map(lambda span: f"{span.days}d")
values = {
    "older": durations,
    "unused": durations,
    "phase": labels,
    "run": labels,
    "where": labels.map(lambda text: str(Comparison("phase", None, "=", (Operand(text, text),)))),
    "keep-best": st.builds("{}:{}:{}".format, counts, labels, st.sampled_from(["min", "max"])),
    "keep-within": durations,
    "keep-alias": labels,
    "keep-phase": labels,
} | dict.fromkeys(["keep-last", "keep-every", "keep-daily", "keep-weekly", "keep-monthly", "min-copies"], counts)


@given(st.fixed_dictionaries({}, optional=values).filter(bool), st.randoms(use_true_random=False))
@example({"phase": "-a", "run": "--", "where": "phase = '''\"\\'"}, None)
def test_any_rules_read_back(given_values, chance):
    words = [write(flag, value) for flag, value in given_values.items()]
    if chance is not None:
        chance.shuffle(words)
    rules = Rules.parse(" ".join(words))
    assert Rules.parse(str(rules)) == rules
    assert str(Rules.parse(str(rules))) == str(rules)
    assert rules == Rules.of(
        **{
            flag.replace("-", "_"): [value] if flag in {"where", "keep-best", "keep-alias", "keep-phase"} else value
            for flag, value in given_values.items()
        }
    )


@given(
    st.text(st.characters(codec="utf-8"))
    | st.lists(st.sampled_from([*EXAMPLES, "--keep-last", "=", "3", "'"])).map(" ".join)
)
def test_any_text_is_rules_or_refused(text):
    with contextlib.suppress(Invalid):
        rules = Rules.parse(text)
        assert Rules.parse(str(rules)) == rules


@pytest.mark.parametrize(
    ("patterns", "chosen"),
    [
        ([], None),
        (["other", "Run/*"], None),
        (["*", "r*", "run/a"], "run/a"),
        (["run/[a]", "run/a*", "run/?"], "run/[a]"),
        (["run/b", "run/?", "r*n/a", "run/*"], "r*n/a"),
        (["run/?", "run/*"], "run/*"),
    ],
)
def test_the_longest_pattern_wins(patterns, chosen):
    assert pattern_for("run/a", patterns) == pattern_for("run/a", patterns[::-1]) == chosen


def test_rules_that_go_by_what_is_not_there_are_refused():
    some = [version("m:1", phase="sft"), version("m:2", metrics={"loss": 1.0})]
    check_rules(Rules.parse("--phase sft --keep-best 1:loss"), some)
    check_rules(Rules(), [])
    with pytest.raises(Invalid, match="phase 'stf'; there are sft"):
        check_rules(Rules.parse("--phase stf"), some)
    with pytest.raises(Invalid, match="there are none"):
        check_rules(Rules.parse("--phase sft"), some[1:])
    with pytest.raises(Invalid, match="metric 'los'"):
        check_rules(Rules.parse("--older 1d --keep-best 1:los"), some)


@pytest.mark.parametrize(
    ("filter_", "unknown"),
    [
        ("metric.loss > 1 and not metric.'val loss' = 3", "metric 'val loss'"),
        ("step > 3 or (phase in (sft, stf))", "phase 'stf'"),
        ("alias != prdo", "alias 'prdo', .* did you mean prod"),
        ("not metric.los = none", "metric 'los'"),
    ],
)
def test_a_filter_that_goes_by_what_is_not_there_is_refused(filter_, unknown):
    some = [version("m:1", phase="sft", metrics={"loss": 1.0}, aliases=("prod",))]
    rules = Rules(Selector(where=("phase = none or phase ~ 'x*' or license = MIT", filter_)))
    check_rules(rules, [])
    with pytest.raises(Invalid, match=unknown):
        check_rules(rules, some)
    check_rules(Rules(Selector(where=("metric.loss > 1 and phase = sft", "alias = prod"))), some)
