"""Questions: continuations of a context of which one is right, counted as lm-evaluation-harness 0.4.13 does"""

from collections.abc import Sequence
from dataclasses import dataclass

from artifactstore.core.errors import Invalid
from artifactstore.derive.evaluate.base import LanguageModel
from artifactstore.derive.evaluate.scoring import likelihoods
from artifactstore.derive.evaluate.statistics import Score, mean


@dataclass(frozen=True, slots=True)
class Question:
    """gold: number of the right choice"""

    context: str
    choices: tuple[str, ...]
    gold: int

    def __post_init__(self) -> None:
        if len(self.choices) < 2 or not all(self.choices):
            raise Invalid("A question has two choices or more, none of them empty", code="item")
        if not 0 <= self.gold < len(self.choices):
            raise Invalid(f"The answer is choice {self.gold} of {len(self.choices)}; they count from 0", code="item")

    def pairs(self) -> list[tuple[str, str]]:
        """(context, continuation) of each choice: a space stands between them"""
        return [(self.context, f" {choice}") for choice in self.choices]


def grade(question: Question, logprobs: Sequence[float]) -> tuple[float, float]:
    """(acc, acc_norm): 1 where the likeliest choice is right, and where the likeliest for each of its characters is

    Of equal ones the first counts.
    """
    numbers = range(len(question.choices))
    likeliest = max(numbers, key=lambda one: logprobs[one])
    by_length = max(numbers, key=lambda one: logprobs[one] / len(question.choices[one]))
    return float(likeliest == question.gold), float(by_length == question.gold)


@dataclass(frozen=True, slots=True)
class Choosing:
    """A task of questions"""

    name: str
    questions: tuple[Question, ...]

    def run(self, model: LanguageModel) -> Score:
        """`acc` and `acc_norm`"""
        pairs = [pair for question in self.questions for pair in question.pairs()]
        found = iter(likelihoods(model, pairs))
        grades = [grade(one, [next(found).logprob for _ in one.choices]) for one in self.questions]
        items = {"acc": [acc for acc, _ in grades], "acc_norm": [norm for _, norm in grades]}
        values = {f"{self.name}.{metric}": mean(of) for metric, of in items.items()}
        return Score(
            self.name,
            len(self.questions),
            values,
            {f"{self.name}.{metric}": of for metric, of in items.items()},
            self.questions,
        )
