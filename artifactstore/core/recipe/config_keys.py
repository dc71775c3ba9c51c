"""Config keys: what of the donor's configuration is no longer so in the product"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Any

from artifactstore.core.recipe import dtypes
from artifactstore.core.recipe.blueprint import Output
from artifactstore.core.recipe.facts import LAYERS, VOCABULARY, ModelFacts
from artifactstore.core.recipe.layers import Layout
from artifactstore.core.recipe.recipe import Recipe

_INNER = "text_config."
# transformers 4 wrote the one, 5 writes the other
_DTYPES = ("torch_dtype", "dtype")
_TIED = "tied embeddings"


def config_of(
    recipe: Recipe, donor: ModelFacts, stacks: Layout, outputs: Sequence[Output], *, tied: bool
) -> Mapping[str, object]:
    """Keys of config.json to be set anew; those of an inner section with a dot, `text_config.vocab_size`"""
    found = {**dict(_dtypes(donor, outputs)), **dict(_vocabulary(donor, outputs))}
    if donor.tied and not tied:
        found[donor.key(_TIED) or "tie_word_embeddings"] = False
    if not recipe.whole:
        found |= _layers(recipe, donor, stacks)
    return MappingProxyType(found)


def _dtypes(donor: ModelFacts, outputs: Sequence[Output]) -> Iterator[tuple[str, object]]:
    counts = Counter(output.dtype for output in outputs if dtypes.is_weight(output.dtype))
    if counts:
        name = dtypes.NAMES[counts.most_common(1)[0][0]]
        for prefix, section in _sections(donor.config):
            yield from ((prefix + key, name) for key in _DTYPES if section.get(key, name) not in (name, None))


def _vocabulary(donor: ModelFacts, outputs: Sequence[Output]) -> Iterator[tuple[str, object]]:
    sizes = [output.shape[0] for output in outputs if output.rows]
    if sizes and donor.value(VOCABULARY) != sizes[0]:
        yield donor.key(VOCABULARY) or VOCABULARY, sizes[0]


def _layers(recipe: Recipe, donor: ModelFacts, stacks: Layout) -> dict[str, object]:
    """Their number, and lists that say something of each of them"""
    numbers = [n for part in recipe.slices for n in range(*(part.sources[0].layers or (0, stacks.layers)))]
    found: dict[str, object] = {}
    if donor.value(LAYERS) != len(numbers):
        found[donor.key(LAYERS) or "num_hidden_layers"] = len(numbers)
    for prefix, section in _sections(donor.config):
        for key, value in section.items():
            if "layer" in key and isinstance(value, list) and len(value) == stacks.layers > max(numbers):
                kept = [value[number] for number in numbers]
                found |= {prefix + key: kept} if kept != value else {}
    return found


def _sections(config: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    yield "", config
    inner = config.get(_INNER[:-1])
    if isinstance(inner, Mapping):
        yield _INNER, inner
