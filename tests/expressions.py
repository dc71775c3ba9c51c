"""Filter expressions of every shape, for Hypothesis, over the texts that a test gives for each key"""

from hypothesis import strategies as st

from artifactstore.core.filter import And, Comparison, Not, Operand, Or
from artifactstore.core.filter_keys import EQUAL, KEYS, NAMED

EVERY = {**KEYS, **NAMED}


def expressions(texts, globs, names):
    """texts: a strategy by key of what is typed as its value; globs: of what `~` takes; names: by metric and meta"""
    return st.recursive(_comparisons(texts, globs, names), _joined, max_leaves=8)


@st.composite
def _comparisons(draw, texts, globs, names):
    key = draw(st.sampled_from(sorted(EVERY)))
    known = EVERY[key]
    operator = draw(st.sampled_from(known.operators))
    read, typed = (known.glob, globs) if operator == "~" else (known.read, texts[key])
    operands = [
        Operand(text, read(text)) for text in draw(st.lists(typed, min_size=1, max_size=3 if operator == "in" else 1))
    ]
    if known.may_lack and operator in EQUAL and draw(st.integers(0, 3)) == 0:
        operands[0] = Operand("none", None)
    return Comparison(key, draw(names[key]) if key in NAMED else None, operator, tuple(operands))


def _joined(parts):
    def many(kind):
        flat = st.lists(parts.filter(lambda part: not isinstance(part, kind)), min_size=2, max_size=3)
        return flat.map(lambda found: kind(tuple(found)))

    return st.one_of(parts.map(Not), many(And), many(Or))
