"""Own: items of anybody's, a line `{"prompt", "choices", "answer"}` or a line `{"text"}`"""

from collections.abc import Mapping
from typing import Any

from artifactstore.core.errors import Invalid
from artifactstore.derive.evaluate.tasks.passages import Passage
from artifactstore.derive.evaluate.tasks.questions import Question
from artifactstore.derive.evaluate.tasks.rows import string, strings


def parse(row: Mapping[str, Any]) -> Question | Passage:
    """answer: the number of the right choice, from 0, or its text; raise Invalid for what is neither kind"""
    if "text" in row:
        return Passage(string(row, "text"))
    if "choices" not in row:
        raise Invalid('write {"prompt": …, "choices": […], "answer": …} or {"text": …}', code="item")
    choices = strings(row, "choices")
    return Question(string(row, "prompt"), tuple(choices), _answer(row.get("answer"), choices))


def _answer(answer: Any, choices: list[str]) -> int:
    if isinstance(answer, int) and not isinstance(answer, bool):
        return answer
    if isinstance(answer, str) and answer in choices:
        return choices.index(answer)
    raise Invalid(f"'answer' is {answer!r:.40}; give the number of a choice, from 0, or its text", code="item")
