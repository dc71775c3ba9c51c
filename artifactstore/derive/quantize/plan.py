"""Plan of a quantization: what becomes of each tensor of a model, from headers and configuration alone"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

from artifactstore.core.errors import Invalid
from artifactstore.core.lineage import Relation
from artifactstore.core.names import ArtifactName
from artifactstore.core.recipe.blueprint import Blueprint
from artifactstore.derive.making import Made, MadeFile
from artifactstore.derive.merge.beside import TOKENIZER, beside
from artifactstore.derive.models import Model, open_model
from artifactstore.derive.product import Product, known
from artifactstore.derive.quantize import compressed, gguf_file
from artifactstore.derive.quantize.gguf_model import read_shape
from artifactstore.derive.quantize.gguf_tokens import read_tokens
from artifactstore.derive.quantize.levels import Form, Level, Target, form
from artifactstore.derive.weights import weight_files
from artifactstore.finding import Finds
from artifactstore.ops.ingest import Labels
from artifactstore.ops.transfer.source import Source

# What tensors of models that were quantized already end in, by whoever did it.
_QUANTIZED = ("weight_packed", "weight_scale", "weight_scale_inv", "qweight", "qzeros", "SCB", "absmax", "quant_map")


@dataclass(frozen=True, slots=True)
class QuantizePlan:
    """What a model becomes. known: bytes of tensors that were made before and are there; notes: for people"""

    model: Model
    level: Level
    target: Target
    form: Form
    product: Product
    known: int
    notes: tuple[str, ...]

    @property
    def bits_per_weight(self) -> float:
        """All bytes of tensors that are written, over all weights of the source: scales and what is left alone count"""
        return bits_per_weight(self.model, self.product.made)

    def to_json(self) -> dict[str, Any]:
        """For people and programs to read before it runs"""
        made = self.product.made
        types = Counter(one.dtype for one in made)
        nbytes: Counter[str] = Counter()
        for one in made:
            nbytes[one.dtype] += one.nbytes
        return {
            "artifact": str(self.product.artifact),
            "source": {
                "ref": self.model.ref,
                "id": None if self.model.version is None else str(self.model.version.id),
                "bytes": sum(one.nbytes for one in self.model.inputs.tensors.values()),
            },
            "level": str(self.level),
            "target": str(self.target),
            "form": self.form.label,
            "files": [{"path": str(file.path), "size": file.size} for file in self.product.files],
            "types": [{"dtype": name, "tensors": types[name], "bytes": nbytes[name]} for name in sorted(types)],
            "bytes": self.product.nbytes,
            "known_bytes": self.known,
            "bits_per_weight": self.bits_per_weight,
            "parents": [link.to_json() for link in self.product.parents],
            "notes": list(self.notes),
        }


def plan(store: Finds, ref: str, level: Level, target: Target, name: str) -> QuantizePlan:
    """Look at a model, and at what of the product is there already. target: gpu or cpu

    Raise NotFound for a model that is neither in the store nor a folder; Invalid for a level that the target cannot
    hold, and for a model that is quantized, pickled, an adapter, or of an architecture that the target does not know.
    """
    held = form(level, target)
    model = open_model(store, ref)
    refuse(model, name)
    files, texts, notes = (_gguf if target is Target.CPU else _safetensors)(model, level, name)
    depot = store.depot
    made = [one for file in files for one in file.made]
    bits = bits_per_weight(model, made)
    product = Product(
        ArtifactName(name),
        Labels(
            created=depot.clock(),
            license=model.license,
            metadata={"quantize": {"level": str(level), "target": str(target), "bits_per_weight": bits}},
        ),
        files,
        texts,
        (model.link(Relation.QUANTIZE, level=str(level), target=str(target)),),
    )
    there = known(depot, made)
    return QuantizePlan(
        model, level, target, held, product, sum(one.nbytes for one in made if one.key in there), tuple(notes)
    )


def bits_per_weight(model: Model, made: Sequence[Made]) -> float:
    """Bytes of these over the weights of a model"""
    weights = sum(prod(one.shape) for one in model.inputs.tensors.values())
    return round(8 * sum(one.nbytes for one in made) / max(weights, 1), 4)


def refuse(model: Model, name: str) -> None:
    """Raise Invalid for what should not be quantized, and for a product that would be the next version of its source"""
    config, tensors = model.config, model.inputs.tensors
    said = config.get("quantization_config")
    if said is not None:
        how = said.get("quant_method") if isinstance(said, dict) else said
        raise _quantized(model, f"its config.json says {how}")
    odd = next((one for one in tensors if one.rpartition(".")[2] in _QUANTIZED), None)
    odd = odd or next((one for one, stored in tensors.items() if stored.dtype.startswith(("F8", "F4", "F6"))), None)
    if odd is not None:
        raise _quantized(model, f"it holds {odd} ({tensors[odd].dtype})")
    if "adapter_config.json" in model.beside:
        raise Invalid(f"{model.ref} is an adapter; merge it into its base first", code="adapter", model=model.ref)
    if not config:
        raise Invalid(f"{model.ref} has no config.json; no reader would load it", code="config", model=model.ref)
    if model.version is not None and str(model.version.artifact) == name:
        raise Invalid(f"{name} is the model itself; give what is made of it another name", code="same", name=name)


def _quantized(model: Model, why: str) -> Invalid:
    return Invalid(
        f"{model.ref} is quantized already ({why}); take the model it was made from", code="quantized", model=model.ref
    )


Parts = tuple[tuple[MadeFile, ...], tuple[Source, ...], Sequence[str]]


def _safetensors(model: Model, level: Level, name: str) -> Parts:  # noqa: ARG001  # as for GGUF
    tensors = model.inputs.tensors
    scheme = compressed.choose(tensors, str(model.config.get("model_type", "")), level)
    made = [one for tensor in tensors for one in compressed.made(model.inputs, scheme, tensor)]
    files, index = weight_files(made)
    changes = dict(_changes(model.config, scheme))
    return files, (*index, *_beside(model, changes)), scheme.notes


def _changes(config: Mapping[str, Any], scheme: compressed.Scheme) -> Iterator[tuple[str, object]]:
    said = compressed.quantization_config(scheme)
    if said is not None:
        yield "quantization_config", said
    dtype = scheme.dtype
    key = "torch_dtype" if "torch_dtype" in config and "dtype" not in config else "dtype"
    if dtype is not None and config.get(key) != dtype:
        yield key, dtype


def _beside(model: Model, changes: Mapping[str, object]) -> tuple[Source, ...]:
    return beside((model,), Blueprint((model.ref,), (), donor=0, tokenizer=0, config=changes), {})


def _gguf(model: Model, level: Level, name: str) -> Parts:
    shape = read_shape(model.config)
    embedding = next((one for one in model.inputs.tensors if one.endswith("embed_tokens.weight")), None)
    rows = shape.vocabulary if embedding is None else model.inputs.tensors[embedding].shape[0]
    texts = {path: raw for path in TOKENIZER if (raw := model.read(path)) is not None}
    tokens = read_tokens(texts, model.config, rows)
    chosen = gguf_file.choose(model.inputs.tensors, shape, level)
    file = gguf_file.model_file(name.rpartition("/")[2], model.inputs, chosen, shape, tokens)
    return (file,), _beside(model, {}), [*tokens.notes, *chosen.notes]
