"""HellaSwag: which ending a scene has, from the rows of hellaswag_val.jsonl or of the hub's data set

Zellers et al. 2019; the query as lm-evaluation-harness 0.4.13 makes it (`tasks/hellaswag`).
"""

import re
from collections.abc import Mapping
from typing import Any

from artifactstore.derive.evaluate.tasks.questions import Question
from artifactstore.derive.evaluate.tasks.rows import integer, string, strings

_BRACKETS = re.compile(r"\[.*?\]")


def parse(row: Mapping[str, Any]) -> Question:
    """Raise Invalid for a row that lacks something"""
    context = f"{string(row, 'activity_label')}: {string(row, 'ctx_a')} {string(row, 'ctx_b').capitalize()}"
    choices = tuple(_clean(ending) for ending in strings(row, "endings"))
    return Question(_clean(context), choices, integer(row, "label"))


def _clean(text: str) -> str:
    """Without what WikiHow's pages left in it"""
    return _BRACKETS.sub("", text.strip().replace(" [title]", ". ")).replace("  ", " ")
