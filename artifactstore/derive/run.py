"""Run: a model at work on what a person types, for a look by hand"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch

from artifactstore.core.errors import Invalid
from artifactstore.derive.evaluate.base import Encoder, LanguageModel
from artifactstore.derive.evaluate.models.torch_model import Use
from artifactstore.derive.evaluate.subject import Subject, find, opened
from artifactstore.derive.evaluate.writing import Pick, continued, likeliest
from artifactstore.finding import Finds

# What stands for bytes that are no whole letter yet.
_PARTIAL = "\N{REPLACEMENT CHARACTER}"


@contextmanager
def running(
    store: Finds, ref: str, path: str | None = None, use: Use | None = None
) -> Iterator[tuple[Subject, LanguageModel | Encoder]]:
    """A model of the store or of a folder, opened; raise NotFound, Invalid, NoSpace, Corrupt"""
    subject = find(store, ref, path)
    with opened(subject, use) as (_, model):
        yield subject, model


def written(
    model: LanguageModel, prompt: str, *, count: int = 64, pick: Pick = likeliest, chat: bool = False
) -> Iterator[str]:
    """The text that follows on a prompt, piece by piece; chat: as an answer, by the model's template

    Raise Invalid for a prompt that fills the context, or a template that is missing.
    """
    ids = model.tokens.chat(prompt) if chat else model.tokens.encode(prompt)
    found: list[int] = []
    before = model.tokens.decode(ids)
    said = len(before)
    for token in continued(model, ids, count, pick):
        found.append(token)
        text = model.tokens.decode([*ids, *found])
        if not text.endswith(_PARTIAL):
            yield text[said:]
            said = len(text)
    yield model.tokens.decode([*ids, *found])[said:]


def likeness(model: Encoder, texts: Sequence[str]) -> list[float]:
    """The cosine of the first text to each of the others; raise Invalid for fewer than two"""
    if len(texts) < 2:
        raise Invalid(
            "The model makes vectors and writes no text; give --prompt twice to see how alike it finds them",
            code="prompt",
        )
    first, *others = model.embed(texts)
    return [float(torch.nn.functional.cosine_similarity(first, one, dim=0)) for one in others]
