"""Plan of a model for the web: what it is made of and what it will be, from its configuration and headers alone"""

from dataclasses import dataclass
from math import prod
from typing import Any

import rfc8785

from artifactstore.core.digest import Digest
from artifactstore.core.lineage import Link, Relation
from artifactstore.core.names import ArtifactName
from artifactstore.derive.models import Model, open_model
from artifactstore.derive.quantize.plan import refuse
from artifactstore.derive.web.export import check
from artifactstore.derive.web.levels import BLOCK, WebLevel, web_level
from artifactstore.finding import Finds

TARGET = "web"
# of what is written for a matrix; another number makes what was made before no longer do
_ENCODING = 1
_FLOAT = 4


@dataclass(frozen=True, slots=True)
class WebPlan:
    """A model and the level of it. weights: how many numbers the model is; notes: for people"""

    model: Model
    level: WebLevel
    artifact: ArtifactName
    architecture: str
    weights: int
    notes: tuple[str, ...]

    @property
    def nbytes(self) -> int:
        """About how large the graph and its weights will be"""
        scales = 8 * _FLOAT / BLOCK if self.level.heads else 0
        return round(self.weights * (self.level.bits + scales) / 8)

    @property
    def work_nbytes(self) -> int:
        """What lies on the disk meanwhile: the model, twice as float32, and the product"""
        source = sum(one.nbytes for one in self.model.inputs.tensors.values())
        return (source if self.model.folder is None else 0) + 2 * _FLOAT * self.weights + self.nbytes

    @property
    def link(self) -> Link:
        """To the model it is made of"""
        return self.model.link(Relation.QUANTIZE, level=self.level.name, target=TARGET)

    @property
    def key(self) -> Digest | None:
        """What the product follows from; None for a folder, whose bytes nobody knows before they are read"""
        if self.model.version is None:
            return None
        said: list[Any] = ["web", _ENCODING, str(self.artifact), str(self.model.version.id), self.level.name]
        return Digest.of(rfc8785.dumps(said))

    def to_json(self) -> dict[str, Any]:
        """For people and programs to read before it runs"""
        version = self.model.version
        return {
            "artifact": str(self.artifact),
            "source": {
                "ref": self.model.ref,
                "id": None if version is None else str(version.id),
                "bytes": sum(one.nbytes for one in self.model.inputs.tensors.values()),
            },
            "level": self.level.name,
            "target": TARGET,
            "form": f"ONNX {self.level.label}",
            "files": [{"path": self.level.path, "size": None}],
            "bytes": self.nbytes,
            "work_bytes": self.work_nbytes,
            "parents": [self.link.to_json()],
            "notes": list(self.notes),
        }


def plan(store: Finds, ref: str, level: str, name: str) -> WebPlan:
    """Look at a model, changing nothing; ref: a version, or a folder of safetensors

    Raise NotFound; Invalid for a level the web has not, for a model that is quantized, pickled or an adapter, and for
    an architecture that is not exported to ONNX.
    """
    chosen = web_level(level)
    model = open_model(store, ref)
    refuse(model, name)
    architecture = check(model.config, ref)
    weights = sum(prod(one.shape) for one in model.inputs.tensors.values())
    return WebPlan(model, chosen, ArtifactName(name), architecture, weights, tuple(_notes(model, chosen)))


def _notes(model: Model, level: WebLevel) -> list[str]:
    notes = []
    if level.robust:
        notes.append(
            "No runtime of the web has 3 bits: this is a file of 4 and 2 bits, which transformers.js loads with "
            '{model_file_name: "model_q3mix", dtype: "fp32"}'
        )
    if min(level.bits, level.robust or level.bits) == 2:
        notes.append("2 bits lose much; compare it with its source by artstore evaluate before it is used")
    if "tokenizer.json" not in model.beside:
        notes.append("It has no tokenizer.json, without which transformers.js reads no text")
    return notes
