"""Passages: texts that are predicted token by token, alone (perplexity) or beside a source (KL divergence)

Windows and the counting of words and bytes as lm-evaluation-harness 0.4.13 does it (`loglikelihood_rolling`).
"""

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass

import torch

from artifactstore.core.errors import Invalid
from artifactstore.derive.evaluate.base import Encoder, LanguageModel
from artifactstore.derive.evaluate.scoring import Span, diverge, score, window_of, windows
from artifactstore.derive.evaluate.statistics import Score, Value, exp, mean, perplexity

_SPACES = re.compile(r"\s+")


@dataclass(frozen=True, slots=True)
class Passage:
    """One text"""

    text: str

    def __post_init__(self) -> None:
        if not self.text.strip():
            raise Invalid("'text' is empty", code="item")

    @property
    def words(self) -> int:
        """What stands between spaces"""
        return len(_SPACES.split(self.text))


def spans(model: LanguageModel, passages: Sequence[Passage], window: int | None = None) -> list[Span]:
    """All tokens of all texts, each to be predicted once"""
    most = min(window or model.context, window_of(model))
    rows = (model.tokens.encode(one.text) for one in passages)
    return [span for row in rows for span in windows(row, model.tokens.prefix, most)]


@dataclass(frozen=True, slots=True)
class Reading:
    """A task of texts. by_word, by_byte: of the same sum of losses, which compares models of differing tokenizers"""

    name: str
    passages: tuple[Passage, ...]

    def run(self, model: LanguageModel) -> Score:
        """Perplexities, and bits a byte"""
        wanted = spans(model, self.passages)
        logprobs = torch.cat([found for found, _ in score(model, wanted)]).double().tolist()
        loss = -math.fsum(logprobs)
        nbytes = sum(len(one.text.encode()) for one in self.passages)
        values = {
            self.name: perplexity([-one for one in logprobs]),
            f"{self.name}.word": Value(exp(loss / sum(one.words for one in self.passages))),
            f"{self.name}.byte": Value(exp(loss / nbytes)),
            f"{self.name}.bits_per_byte": Value(loss / nbytes / math.log(2)),
        }
        return Score(self.name, len(logprobs), values, {f"{self.name}.logprob": logprobs}, _targets(wanted))


@dataclass(frozen=True, slots=True)
class Diverging:
    """A task of texts that two models predict"""

    name: str
    passages: tuple[Passage, ...]

    def run(self, model: LanguageModel, source: LanguageModel) -> Score:
        """Mean KL(source ‖ model) in nats a token, its 99th percentile, and how often both find one token likeliest

        Raise Invalid when the two read the texts as different tokens.
        """
        window = min(window_of(model), window_of(source))
        wanted = spans(model, self.passages, window)
        if wanted != spans(source, self.passages, window):
            raise Invalid(
                "Their tokenizers read the text as different tokens; KL compares models of one tokenizer, "
                "perplexity.byte of --task perplexity any",
                code="tokenizer",
            )
        found = diverge(model, source, wanted)
        kl, agree = found.kl.double().cpu(), found.agree.double().cpu().tolist()
        values = {
            self.name: mean(kl.tolist()),
            f"{self.name}.p99": Value(float(torch.quantile(kl[:_QUANTILE], 0.99))),
            f"{self.name}.top1": mean(agree),
        }
        return Score(self.name, len(kl), values, {self.name: kl.tolist(), f"{self.name}.top1": agree}, _targets(wanted))


@dataclass(frozen=True, slots=True)
class Turning:
    """What a task of two models is for those that make vectors: by how much the vectors of sentences have turned"""

    passages: tuple[Passage, ...]

    def run(self, model: Encoder, source: Encoder) -> Score:
        """`cosine`, the mean over the sentences; raise Invalid for vectors of other lengths"""
        if model.width != source.width:
            raise Invalid(f"Their vectors have {model.width} and {source.width} numbers", code="width")
        texts = [text for one in self.passages for text in sentences(one.text)]
        cosines = torch.nn.functional.cosine_similarity(model.embed(texts), source.embed(texts)).double().tolist()
        return Score("cosine", len(texts), {"cosine": mean(cosines)}, {"cosine": cosines}, tuple(texts))


def sentences(text: str) -> list[str]:
    """Cut at full stops, as far as that goes"""
    return [part.strip() for part in text.split(".") if part.strip()]


def _targets(wanted: Sequence[Span]) -> tuple[int, ...]:
    """What was predicted, from whatever windows"""
    return tuple(token for span in wanted for token in span.row[-span.count :])


# torch counts quantiles of so many values at most
_QUANTILE = 16_000_000
