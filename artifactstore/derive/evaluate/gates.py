"""Gates: what must hold of any model that works, asked without a data set

Finite weights, none that is nothing but zeros, tied ones equal, a tokenizer that fits, a text that is not read as
noise, a text that goes on, and a source that is not far away.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from artifactstore.core.errors import Invalid
from artifactstore.core.lineage import Relation
from artifactstore.derive.evaluate.base import Encoder, LanguageModel
from artifactstore.derive.evaluate.models.config import Config
from artifactstore.derive.evaluate.models.files import Chosen
from artifactstore.derive.evaluate.models.weights import Part, parts
from artifactstore.derive.evaluate.tasks.passages import Diverging, Reading, Turning, sentences
from artifactstore.derive.evaluate.tasks.table import shipped
from artifactstore.derive.evaluate.writing import continued

# Of the loss of a model that knows nothing, ln(vocabulary).
_NOISE = 0.75
# Nats a token between a model and its source: what is made smaller stays near, what is mixed may not.
_NEAR, _MIXED = 1.0, 3.0
_COSINE = 0.9
_TOKENS, _DISTINCT = 20, 3
# A cuneiform sign: whoever does not know it says so by one token of its own, or by bytes that no text here has.
_STRANGE, _UNKNOWN = "\U00012009", 0.05
_SHOWN = 3
_ENDS = ("lm_head.weight", "embed_tokens.weight", "wte.weight", "word_embeddings.weight")
_SAME = {Relation.QUANTIZE, Relation.CONVERT, Relation.RESHARD}


@dataclass(frozen=True, slots=True)
class Gate:
    """passed: None where it could not be asked, which `says` tells why. value: what was measured"""

    name: str
    passed: bool | None
    says: str
    value: float | None = None


@dataclass(frozen=True, slots=True)
class Beside:
    """What a model is held against. relation: how it came from it, None for a baseline"""

    ref: str
    model: LanguageModel | Encoder
    config: Config | None = None
    relation: Relation | None = None


def of_files(folder: Path, chosen: Chosen, config: Config | None) -> Iterator[Gate]:
    """What its files say, before anything is calculated"""
    infinite: list[str] = []
    zero: list[str] = []
    seen, nothing = 0, True
    try:
        for part in parts(folder, chosen):
            nothing = nothing and not bool(part.values.any())
            if not bool(torch.isfinite(part.values).all()) and part.name not in infinite[-1:]:
                infinite.append(part.name)
            if part.last:
                seen += 1
                if nothing and _matters(part):
                    zero.append(part.name)
                nothing = True
        tied = _tied(folder, chosen, config)
    except Invalid as e:
        yield Gate("finite", False, e.message)
        return
    yield Gate("finite", not infinite, _names(infinite, "not finite") or f"{seen} tensors of floating point")
    yield Gate("zeros", not zero, _names(zero, "nothing but zeros") or "none of them is all zeros")
    if tied is not None:
        says = "lm_head and embeddings are equal" if tied else "config ties lm_head to the embeddings, and they differ"
        yield Gate("tied", tied, says)


def of_model(model: LanguageModel | Encoder, beside: Beside | None, config: Config | None) -> Iterator[Gate]:
    """What it does"""
    text = shipped()[0].text
    yield _tokenizer(model, text)
    if beside is not None and config is not None and beside.config is not None:
        yield from _positions(config, beside.config, beside.ref)
    if isinstance(model, LanguageModel):
        yield _reads(model)
        yield _writes(model, text)
        yield _diverges(model, beside)
    else:
        yield _tells_apart(model, sentences(text))
        yield _turned(model, beside)


def _matters(part: Part) -> bool:
    """Biases that were never trained are zeros, and weights are not"""
    return len(part.shape) > 1 or part.name.endswith("weight")


def _names(names: Sequence[str], what: str) -> str:
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return f"{what}: {', '.join(names[:_SHOWN])}{more}" if names else ""


def _tied(folder: Path, chosen: Chosen, config: Config | None) -> bool | None:
    """None where nothing is tied, or it is stored once"""
    if config is None or not config.text.get("tie_word_embeddings"):
        return None
    found: dict[str, list[torch.Tensor]] = {"head": [], "embeddings": []}
    for part in parts(folder, chosen, _ENDS):
        found["head" if part.name.endswith(_ENDS[0]) else "embeddings"].append(part.values.clone())
    if not found["head"] or not found["embeddings"]:
        return None
    head, embeddings = (torch.cat(one) for one in found.values())
    return head.shape == embeddings.shape and torch.equal(head, embeddings)


def _tokenizer(model: LanguageModel | Encoder, text: str) -> Gate:
    tokens = model.tokens
    if tokens.size > model.vocabulary:
        return Gate("tokenizer", False, f"it has {tokens.size} tokens, the model {model.vocabulary}")
    ids = tokens.encode(text, special=False)
    again = tokens.encode(tokens.decode(ids), special=False)
    if again != ids:
        same = sum(one == other for one, other in zip(ids, again, strict=False))
        return Gate("tokenizer", False, f"a text that is encoded, decoded and encoded differs after {same} tokens")
    share = ids.count(tokens.encode(_STRANGE, special=False)[-1]) / len(ids)
    if share > _UNKNOWN:
        return Gate("tokenizer", False, f"{share:.0%} of a plain text are unknown to it")
    return Gate("tokenizer", True, f"{len(ids)} tokens of a text come back as they were")


def _positions(config: Config, source: Config, ref: str) -> Iterator[Gate]:
    ours, theirs = (_theta(one) for one in (config, source))
    if ours is not None and theirs is not None:
        same = ours == theirs
        yield Gate("positions", same, f"rope_theta is {ours:g}" + ("" if same else f", that of {ref} {theirs:g}"), ours)


def _theta(config: Config) -> float | None:
    """Where transformers 4 wrote it, or 5"""
    inner = config.text.get("rope_parameters")
    found = inner.get("rope_theta") if isinstance(inner, dict) else None
    found = config.text.get("rope_theta") if found is None else found
    return float(found) if isinstance(found, int | float) else None


def _reads(model: LanguageModel) -> Gate:
    found = Reading("perplexity", shipped()).run(model).values["perplexity"].value
    worst = math.exp(_NOISE * math.log(model.vocabulary))
    says = f"perplexity {found:.4g} of a plain text, {model.vocabulary} for one that knows nothing"
    return Gate("perplexity", found < worst, says, found)


def _writes(model: LanguageModel, text: str) -> Gate:
    start = model.tokens.encode(text)[: min(64, model.context // 2)]
    ids = list(continued(model, start, _TOKENS))
    said = repr(model.tokens.decode(ids))
    if not ids:
        return Gate("writes", True, "it ends a text at once")
    if len(ids) == _TOKENS and len(set(ids)) < _DISTINCT:
        return Gate("writes", False, f"it repeats itself: {said:.80}")
    return Gate("writes", True, f"{len(ids)} tokens, {len(set(ids))} of them distinct: {said:.60}")


def _diverges(model: LanguageModel, beside: Beside | None) -> Gate:
    if beside is None:
        return Gate("kl", None, "no source here to compare with")
    if not isinstance(beside.model, LanguageModel):
        return Gate("kl", None, f"{beside.ref} is no language model")
    try:
        found = Diverging("kl", shipped()).run(model, beside.model).values
    except Invalid as e:
        return Gate("kl", None, e.message)
    most = _NEAR if beside.relation in _SAME else _MIXED
    value = found["kl"].value
    says = f"{value:.4g} nats a token from {beside.ref}, the same token first in {found['kl.top1'].value:.1%}"
    return Gate("kl", value < most, says, value)


def _tells_apart(model: Encoder, texts: Sequence[str]) -> Gate:
    vectors = torch.nn.functional.normalize(model.embed(texts), dim=-1)
    if not bool(torch.isfinite(vectors).all()):
        return Gate("vectors", False, "some are not finite")
    likeness = (vectors @ vectors.T).triu(1).sum() / (len(vectors) * (len(vectors) - 1) / 2)
    value = float(likeness)
    return Gate("vectors", value < 0.999, f"{len(vectors)} sentences are alike by a cosine of {value:.3f}", value)


def _turned(model: Encoder, beside: Beside | None) -> Gate:
    if beside is None:
        return Gate("cosine", None, "no source here to compare with")
    if not isinstance(beside.model, Encoder) or beside.model.width != model.width:
        return Gate("cosine", None, f"{beside.ref} makes no vectors of this length")
    value = Turning(shipped()).run(model, beside.model).values["cosine"].value
    least = _COSINE if beside.relation in _SAME else 0.0
    return Gate("cosine", value > least, f"{value:.4f} to the vectors of {beside.ref}", value)
