"""Filters: what is read, what is refused with which words, and that what is written reads back the same"""

import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from artifactstore.core.errors import Invalid
from artifactstore.core.filter import MAX_DEPTH, MAX_LENGTH, MAX_VALUES, And, Comparison, Not, Operand, Or, parse
from artifactstore.core.filter_keys import KEYS, NAMED, OTHER_NAMES, Moment
from tests.expressions import expressions

DAY = 86_400_000_000
KEYWORDS = ("and", "or", "not", "in", "none")


def compared(key, operator, *operands, name=None):
    return Comparison(key, name, operator, tuple(Operand(*one) for one in operands))


STEP = compared("step", ">", ("3", 3))
PHASE = compared("phase", "=", ("a", "a"))
PINNED = compared("pinned", "=", ("true", True))


@pytest.mark.parametrize(
    ("text", "expression"),
    [
        ("step > 3", STEP),
        ("step>3", STEP),
        ("\n step\t>  3 ", STEP),
        ("((step > 3))", STEP),
        ("pinned", PINNED),
        ("not pinned", Not(PINNED)),
        ("not not pinned", Not(Not(PINNED))),
        ("pinned != false", compared("pinned", "!=", ("false", False))),
        ("step > 3 and phase = a", And((STEP, PHASE))),
        ("step > 3 AND phase = a And pinned", And((STEP, PHASE, PINNED))),
        ("step > 3 and (phase = a and pinned)", And((STEP, PHASE, PINNED))),
        ("pinned or step > 3 and phase = a", Or((PINNED, And((STEP, PHASE))))),
        ("(pinned or step > 3) and phase = a", And((Or((PINNED, STEP)), PHASE))),
        ("not pinned and step > 3", And((Not(PINNED), STEP))),
        ("not (pinned and step > 3)", Not(And((PINNED, STEP)))),
        ("not(pinned)or(step>3)", Or((Not(PINNED), STEP))),
        ("phase in (a, 'b c',none)", compared("phase", "in", ("a", "a"), ("b c", "b c"), ("none", None))),
        ("step IN(1,2)", compared("step", "in", ("1", 1), ("2", 2))),
        ("metric.'val loss' < .5", compared("metric", "<", (".5", 0.5), name="val loss")),
        ("metrics.eval.loss < 1e-5", compared("metric", "<", ("1e-5", 1e-5), name="eval.loss")),
        ('meta."x=1" != ""', compared("meta", "!=", ("", ""), name="x=1")),
        ("loaded <= 1y6mo", compared("unused", "<=", ("1y6mo", 545 * DAY))),
        ("parent = hf://org/m@main", compared("parent", "=", ("hf://org/m@main",) * 2)),
        ("name ~ [!a-c]*?", compared("name", "~", ("[!a-c]*?",) * 2)),
    ],
)
def test_the_grammar(text, expression):
    assert parse(text) == expression
    assert parse(str(expression)) == expression


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("step = -7", -7),
        ("step = 9007199254740991", 9007199254740991),
        ("epoch = 1.5", 1.5),
        ("epoch = 2.", 2.0),
        ("size = 10GB", 10**10),
        ("size = 1.5GiB", 3 << 29),
        ("size = '10 GB'", 10**10),
        ("size = 4096", 4096),
        ("age > 30d", 30 * DAY),
        ("age > 12h", DAY // 2),
        ("age > P30D", 30 * DAY),
        ("created = 1970-01-01", Moment(0, DAY)),
        ("created = 1970-01-02T00:00:01", Moment(DAY + 1_000_000, DAY + 2_000_000)),
        ("created = '1970-01-02 00:00:01.5Z'", Moment(DAY + 1_500_000, DAY + 1_500_001)),
        ("created = 1970-01-01T02:00+02:00", Moment(0, 1_000_000)),
        ("created < 1969-12-31", Moment(-DAY, 0)),
        ("id = DEADBEEF", "deadbeef"),
        ("dtype = bf16", "BF16"),
        ("dtype ~ q4*", "Q4*"),
        ("format = GGUF", "gguf"),
        ("relation = merge", "merge"),
        ("phase = none", None),
        ("phase = 'none'", "none"),
        ("phase ~ none", "none"),
        ("name = none", "none"),
        ("step = none", None),
        ("parent != none", None),
        ("phase = 'it''s'", "it's"),
        ('phase = "it\'s"', "it's"),
        ('phase = "a""b"', 'a"b'),
        ("phase = '30d'", "30d"),
        ("phase = a!b", "a!b"),
        ("ref = org/wan:3", "org/wan:3"),
        ("ref ~ wan*", "wan*"),
    ],
)
def test_a_value_is_read_as_its_key_wants_it(text, value):
    (operand,) = parse(text).operands
    assert operand.value == value
    assert type(operand.value) is type(value)


def refused(text):
    with pytest.raises(Invalid) as refusal:
        parse(text)
    assert refusal.value.code == "invalid.filter"
    message = str(refusal.value)
    assert message.isprintable()
    assert len(message) < 400
    return message, refusal.value.facts


@pytest.mark.parametrize(
    ("text", "position", "words"),
    [
        ("", 1, "found the end, expected a condition such as step >= 5000"),
        ("  \n", 4, "found the end, expected a condition"),
        ("stepp > 3", 1, "unknown key 'stepp'; did you mean step?"),
        ("Step > 3", 1, "did you mean step?"),
        ("licence = MIT", 1, "did you mean license?"),
        ("val_loss < 3", 1, "unknown key 'val_loss'; use one of name, ref,"),
        ("step.x > 3", 1, "unknown key 'step.x'; did you mean step?"),
        ("'step' > 3", 1, "found 'step', expected a key such as step, 'not' or '('"),
        ("= 3", 1, "found '=', expected a key"),
        ("not", 4, "found the end, expected a key"),
        ("step > 3 and or pinned", 14, "found 'or', expected a key"),
        ("step", 5, "found the end, expected =, !=, in, <, <=, > or >= after step"),
        ("step 3", 6, "found '3', expected =, !=, in"),
        ("step ! 3", 6, "found '!', expected =, !=, in"),
        ("phase not in (a)", 7, "found 'not', expected =, !=, in or ~ after phase"),
        ("step ~ 3", 6, "step takes =, !=, in, <, <=, > or >=, found '~'"),
        ("phase < a", 7, "phase takes =, !=, in or ~, found '<'"),
        ("age = 30d", 5, "age takes <, <=, > or >=, found '='"),
        ("format ~ x*", 8, "format takes =, != or in, found '~'"),
        ("step >", 7, "found the end, expected a value of step"),
        ("step == 3", 7, "found '=', expected a value of step"),
        ("step > > 3", 8, "found '>', expected a value of step"),
        ("phase = and", 9, "found 'and', expected a value of phase; put it in quotes if it is one"),
        ("size > 10 GB", 11, "found 'GB', expected 'and', 'or' or the end; put a value that has spaces in quotes"),
        ("step = 1 step = 2", 10, "found 'step', expected 'and', 'or' or the end"),
        ("step > 3)", 9, "found ')', expected 'and', 'or' or the end"),
        ("phase = 'a''", 9, "no second ' closes the text that begins here"),
        ('phase = a" or', 10, 'no second " closes the text that begins here'),
        ("pinned and (step > 3", 12, "nothing closes this '('"),
        ("(step > 3 phase", 11, "found 'phase', expected 'and', 'or' or ')'"),
        ("step in 3", 9, "found '3', expected '(', as in step in (1000, 2000)"),
        ("step in ()", 10, "found ')', expected a value of step"),
        ("step in (1", 9, "nothing closes this '('"),
        ("step in (1 2)", 12, "found '2', expected ',' or ')'"),
        ("step in (1,)", 12, "found ')', expected a value of step"),
        ("metric < 3", 1, "Not a name: ''; use 1 to 200 printable characters, as metric.some_name or"),
        ("metric. x < 3", 1, "Not a name: ''"),
        ("metric 'x' < 3", 1, "Not a name: ''"),
        ("meta.'a\"b' = 3", 1, "holds a double quote or backslash and is not read"),
        ("meta.a\\b = 3", 1, "holds a double quote or backslash and is not read"),
        ("pinned = yes", 10, "pinned: Neither true nor false: 'yes'"),
        ("pinned in (true)", 8, "found 'in', expected 'and', 'or' or the end"),
        ("step = abc", 8, "step: Not an integer: 'abc'; write 5000"),
        ("step > 1.5", 8, "step: Not an integer: '1.5'"),
        ("step > none", 8, "step: Not an integer: 'none'"),
        ("step = 9007199254740992", 8, "step: The value should be an integer below 2^53"),
        (f"step = {'9' * 31}", 8, "step: Not an integer: '9999"),
        ("epoch > 1_000", 9, "epoch: Not a number: '1_000'; write 0.04 or 1e-5"),
        ("epoch > nan", 9, "epoch: Not a number: 'nan'"),
        ("epoch > 1e999", 9, "epoch: The value should be a finite number"),
        ("size > 30d", 8, "size: Not a size: '30d'; write 100MB (10^8 bytes) or 100MiB"),
        ("age > 10GB", 7, "age: Not a duration: '10GB'; write 30d, 2w,"),
        ("age > 30m", 7, "age: Duration '30m' has no clear unit: write 30min, 30d or 30mo"),
        ("unused > 30", 10, "unused: Duration '30' has no clear unit"),
        ("created > 30d", 11, "created: Not a date: '30d'; write 2026-01-31 or"),
        ("created > 2026-02-30", 11, "created: Not a date: '2026-02-30'"),
        ("created > 20260131", 11, "created: Not a date: '20260131'"),
        ("id = abc", 6, "id: Not the beginning of an id: 'abc'; write 8 to 64 hex digits"),
        ("ref = wan", 7, "ref: Not name:number: 'wan'; write wan:3"),
        ("relation = foo", 12, "relation: Unknown relation 'foo'; use one of resume, finetune"),
        ("format = a,b", 11, "found ',', expected 'and', 'or' or the end"),
        ("format = 'a,b'", 10, "format: Not a format: 'a,b'; write safetensors"),
        ("dtype = ü", 9, "dtype: Not a name of ASCII characters: 'ü'"),
        ("quantization ~ ü*", 16, "quantization: Not a name of ASCII"),
        ("step > 3 \0", 10, "found the character '\\x00', which is not read here"),
        ("phase = \u202e", 9, "found the character '\\u202e'"),
        ("phase = '\udcff'", 10, "found the character '\\udcff'"),
    ],
)
def test_what_is_wrong_is_said_with_its_place(text, position, words):
    message, facts = refused(text)
    assert message.startswith(f"Filter, character {position}: ")
    assert words in message
    assert facts == {"expression": text, "position": position}


def test_too_long_is_refused():
    longest = "step=1" + " " * (MAX_LENGTH - 6)
    assert parse(longest) == parse("step = 1")
    assert "2001 characters; 2000 are allowed" in refused(longest + " ")[0]


def test_too_many_values_are_refused():
    assert len(parse(f"step in ({','.join(['1'] * MAX_VALUES)})").operands) == MAX_VALUES
    for text in (f"step in ({','.join(['1'] * 101)})", " or ".join(["step=1"] * 101)):
        assert "more than 100 values; write it as several filters" in refused(text)[0]


@pytest.mark.parametrize(("opening", "closing"), [("(", ")"), ("not ", "")])
def test_too_deep_is_refused_at_the_step_too_much(opening, closing):
    parse(opening * MAX_DEPTH + "pinned" + closing * MAX_DEPTH)
    message, facts = refused(opening * 400 + "pinned")
    assert f"nested deeper than {MAX_DEPTH}" in message
    assert facts["position"] == len(opening) * MAX_DEPTH + 1


def test_depth_is_that_of_what_is_open():
    parse(" and ".join(["(not step=1)"] * 50))


def test_every_key_is_in_the_words_on_the_grammar():
    page = parse.__globals__["__doc__"]
    words = page.replace(",", " ").replace("(", " ").replace(".", " ").split()
    assert not [key for key in (*KEYS, *NAMED, "loaded") if key not in words]
    assert set(OTHER_NAMES.values()) <= {*KEYS, *NAMED}


LABELS = st.text(st.characters(codec="utf-8", categories=("L", "N", "P", "S", "Zs")), max_size=8).filter(
    lambda text: text.isprintable()
)
WORDS = st.one_of(LABELS, st.sampled_from([*KEYWORDS, *map(str.upper, KEYWORDS), "it's", '"', "''", "a b", "!=", "x!"]))
NAMES = LABELS.filter(lambda text: text and text == text.strip() and not {'"', "\\"} & set(text))
ASCII = st.text(string.printable[:95], max_size=5)
SPANS = st.sampled_from(["30d", "1y6mo", "P30D"])
INTEGERS = st.integers(-(2**53) + 1, 2**53 - 1).map(str)
NUMBERS = st.floats(allow_nan=False, allow_infinity=False).map(repr)
TYPED = {
    **dict.fromkeys((*KEYS, *NAMED), WORDS),
    **dict.fromkeys(("number", "step", "files", "tensors"), INTEGERS),
    **dict.fromkeys(("epoch", "metric"), NUMBERS),
    **dict.fromkeys(("age", "taken", "unused"), SPANS),
    **dict.fromkeys(("dtype", "quantization"), ASCII),
    "ref": st.sampled_from(["a:1", "org/a b:20"]),
    "id": st.text("0123456789abcdefABCDEF", min_size=8, max_size=64),
    "size": st.sampled_from(["10GB", "1.5 GiB", "0"]),
    "created": st.sampled_from(["2026-01-31", "2026-01-31 14:05", "2026-01-31T14:05:00+01:00"]),
    "format": st.sampled_from(["gguf", "safetensors"]),
    "relation": st.sampled_from(["merge", "ema"]),
    "pinned": st.sampled_from(["true", "false"]),
}


@given(expressions(TYPED, ASCII, dict.fromkeys(NAMED, NAMES)))
def test_what_is_written_reads_back_the_same(expression):
    assert parse(str(expression)) == expression


PIECES = ["step", "phase", "metric.", "'x'", '"', "(", ")", "and", "or", "not", "in", "=", "!", "~", ",", "3"]


@given(st.one_of(st.text(max_size=40), st.lists(st.sampled_from([*PIECES, " "]), max_size=12).map(" ".join)))
def test_any_text_is_read_or_refused_in_one_line(text):
    try:
        expression = parse(text)
    except Invalid:
        refused(text)
    else:
        assert parse(str(expression)) == expression
