"""Scoring: how likely a model finds tokens, in batches of like lengths whose logits fit into memory

Pairs and rolling windows are those of lm-evaluation-harness 0.4.13 (`api/model.py`, `utils.py`).
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch

from artifactstore.core.errors import Invalid
from artifactstore.derive.evaluate.base import LanguageModel, Tokens

# Bytes of the logits of one batch, and tokens of its rows: what a model computes on the way grows with these.
_LOGITS = 512 << 20
_TOKENS = 4096
# Rows of logits that are normalised at once.
_ROWS = 256
# A longer window costs memory by its square or by the vocabulary, and changes little.
WINDOW = 2048


@dataclass(frozen=True, slots=True)
class Span:
    """A row of tokens, of which the last `count` are to be predicted, each from all before it"""

    row: tuple[int, ...]
    count: int

    def __post_init__(self) -> None:
        if not 0 < self.count < len(self.row):
            raise Invalid("There is nothing to predict: a text without tokens", code="text")


@dataclass(frozen=True, slots=True)
class Likelihood:
    """Sum of log-probabilities in nats, and whether each token was the likeliest"""

    logprob: float
    greedy: bool


def window_of(model: LanguageModel) -> int:
    """How many tokens a row has at most"""
    return min(model.context, WINDOW)


def pair(tokens: Tokens, context: str, continuation: str, window: int) -> Span:
    """A continuation after its context; spaces at the context's end are the continuation's"""
    bare = context.rstrip()
    if not bare:
        continuation = context + continuation
        ids = tokens.encode(continuation, special=False)
        row = ids if ids[:1] == [tokens.prefix] else [tokens.prefix, *ids]
        count = len(row) - 1
    else:
        row = tokens.encode(context + continuation)
        count = len(row) - len(tokens.encode(bare))
    if count > window:
        raise Invalid(
            f"A continuation has {count} tokens, and the model takes {window}: {continuation!r:.60}", code="context"
        )
    return Span(tuple(row[-(window + 1) :]), count)


def windows(ids: Sequence[int], prefix: int, window: int) -> Iterator[Span]:
    """Each token of a text predicted once, from the window before it; the last window reaches back as far as it can"""
    row = [prefix, *ids]
    for begin in range(0, len(ids), window):
        end = min(begin + window, len(ids))
        yield Span(tuple(row[max(end - window, 0) : end + 1]), end - begin)


@torch.inference_mode()
def score(model: LanguageModel, spans: Sequence[Span]) -> list[tuple[torch.Tensor, bool]]:
    """Of each span the log-probabilities of its tokens, float32 [count], and whether each was the likeliest"""
    found: list[tuple[torch.Tensor, bool] | None] = [None] * len(spans)
    for batch in batches(spans, model.vocabulary, cuts=model.cuts):
        for number, logits in zip(batch, _logits(model, [spans[one] for one in batch]), strict=True):
            targets = torch.tensor(spans[number].row[-spans[number].count :])
            found[number] = _taken(logits, targets)
    return [one for one in found if one is not None]


def likelihoods(model: LanguageModel, pairs: Sequence[tuple[str, str]]) -> list[Likelihood]:
    """Of each (context, continuation)"""
    spans = [pair(model.tokens, context, continuation, window_of(model)) for context, continuation in pairs]
    return [Likelihood(float(found.double().sum()), greedy) for found, greedy in score(model, spans)]


@dataclass(frozen=True, slots=True)
class Divergence:
    """Of each token that was predicted: KL(source ‖ model) in nats, and whether both find the same one likeliest"""

    kl: torch.Tensor
    agree: torch.Tensor


@torch.inference_mode()
def diverge(model: LanguageModel, source: LanguageModel, spans: Sequence[Span]) -> Divergence:
    """Over the tokens that both know: rows of a vocabulary above the smaller one are padding"""
    width = min(model.vocabulary, source.vocabulary)
    kl, agree = [], []
    for batch in batches(spans, max(model.vocabulary, source.vocabulary) * 2, cuts=model.cuts and source.cuts):
        chosen = [spans[one] for one in batch]
        for ours, theirs in zip(_logits(model, chosen), _logits(source, chosen), strict=True):
            for at in range(0, len(ours), _ROWS):
                mine = torch.log_softmax(ours[at : at + _ROWS, :width].float(), -1)
                wanted = torch.log_softmax(theirs[at : at + _ROWS, :width].float().to(ours.device), -1)
                agree.append(mine.argmax(-1) == wanted.argmax(-1))
                kl.append((wanted.exp() * (wanted - mine)).sum(-1))
    return Divergence(torch.cat(kl), torch.cat(agree))


def batches(spans: Sequence[Span], vocabulary: int, *, cuts: bool = True) -> Iterator[list[int]]:
    """Numbers of spans, the longest first, so that rows of a batch are alike and memory runs out at once if at all

    cuts: whether the model makes no more logits than are kept.
    """
    order = sorted(range(len(spans)), key=lambda one: (-len(spans[one].row), -spans[one].count))
    batch: list[int] = []
    keep = 0
    for number in order:
        longest = len(spans[batch[0]].row) if batch else len(spans[number].row)
        # what is kept of a row that is shorter reaches from its first target to the end of the longest
        wanted = max(keep, longest - len(spans[number].row) + spans[number].count) if cuts else longest
        rows = len(batch) + 1
        if batch and (rows * wanted * vocabulary * 4 > _LOGITS or rows * longest > _TOKENS):
            yield batch
            batch, wanted = [], spans[number].count if cuts else len(spans[number].row)
        batch.append(number)
        keep = wanted
    if batch:
        yield batch


def _logits(model: LanguageModel, spans: Sequence[Span]) -> Iterator[torch.Tensor]:
    """Of each span [count, vocabulary]: what the model says after each token before a target"""
    length = max(len(span.row) for span in spans) - 1
    keep = max(length - (len(span.row) - 1) + span.count for span in spans)
    ids = torch.zeros(len(spans), length, dtype=torch.long)
    for row, span in zip(ids, spans, strict=True):
        row[: len(span.row) - 1] = torch.tensor(span.row[:-1])
    logits = model.logits(ids, keep)
    for row, span in zip(logits, spans, strict=True):
        end = keep - (length - (len(span.row) - 1))
        yield row[end - span.count : end]


def _taken(logits: torch.Tensor, targets: torch.Tensor) -> tuple[torch.Tensor, bool]:
    parts = []
    greedy = True
    for at in range(0, len(targets), _ROWS):
        rows, wanted = logits[at : at + _ROWS].float(), targets[at : at + _ROWS].to(logits.device)
        parts.append(torch.log_softmax(rows, -1).gather(1, wanted[:, None])[:, 0].cpu())
        greedy = greedy and bool((rows.argmax(-1) == wanted).all())
    return torch.cat(parts), greedy
