"""ARC: grade-school science questions, from the rows of ARC-Challenge-Test.jsonl or of the hub's data set

Clark et al. 2018; the query as lm-evaluation-harness 0.4.13 makes it (`tasks/arc`).
"""

from collections.abc import Mapping
from typing import Any

from artifactstore.core.errors import Invalid
from artifactstore.derive.evaluate.tasks.questions import Question
from artifactstore.derive.evaluate.tasks.rows import mapping, string, strings


def parse(row: Mapping[str, Any]) -> Question:
    """Raise Invalid for a row that lacks something, or whose answer is none of its labels"""
    if isinstance(row.get("question"), Mapping):
        return _published(row)
    choices = mapping(row, "choices")
    return _question(string(row, "question"), strings(choices, "text"), strings(choices, "label"), row)


def _published(row: Mapping[str, Any]) -> Question:
    question = mapping(row, "question")
    choices = question.get("choices")
    if not isinstance(choices, list) or not all(isinstance(one, Mapping) for one in choices):
        raise Invalid("'question' has no list 'choices'", code="item")
    texts, labels = ([string(one, key) for one in choices] for key in ("text", "label"))
    return _question(string(question, "stem"), texts, labels, row)


def _question(text: str, choices: list[str], labels: list[str], row: Mapping[str, Any]) -> Question:
    answer = string(row, "answerKey")
    if answer not in labels or len(labels) != len(choices):
        raise Invalid(f"'answerKey' is {answer!r:.20}, the labels are {', '.join(labels):.80}", code="item")
    return Question(f"Question: {text}\nAnswer:", tuple(choices), labels.index(answer))
