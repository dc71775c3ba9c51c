"""What the files of a version tell about its making, where a model card names a base model and no relation

The Hub infers the same way: an adapter where there is one, quantized where the weights are, else a finetune. Weights
that were only put into GGUF are a convert here, for which the Hub has no word; GGUF beside other weights tells nothing.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Protocol

from artifactstore.core.formats.base import FileInfo
from artifactstore.core.lineage import Relation
from artifactstore.core.names import SafePath
from artifactstore.core.provenance import gguf

ADAPTER_CONFIG = "adapter_config.json"
MODEL_CONFIG = "config.json"
_QUANT_CONFIGS = frozenset({"quantize_config.json", "quant_config.json", "hf_quant_config.json"})
_QUANT_KEYS = ("quantization_config", "quantization")  # of transformers, of MLX
# lora_unet_…, ….lora_A.weight, ….lora.up.weight
_LORA = re.compile(r"(?:^|[._])lora[._]")


class Described(Protocol):
    """A file of the version to be"""

    @property
    def path(self) -> SafePath:
        """Its path in the version"""

    @property
    def size(self) -> int:
        """Bytes in all"""

    @property
    def info(self) -> FileInfo:
        """What its format says"""


def infer(files: Sequence[Described], config: object) -> Relation:
    """How the version came from one base model; config: the document of its `config.json`, if any"""
    names = {file.path.rpartition("/")[2] for file in files}
    weights = [file.info for file in files if is_weights(file)]
    ggufs = [info for info in weights if info.format == "gguf"]
    if ADAPTER_CONFIG in names or any(_is_lora(info) for info in weights):
        return Relation.ADAPTER
    if _QUANT_CONFIGS & names or (isinstance(config, Mapping) and any(config.get(key) for key in _QUANT_KEYS)):
        return Relation.QUANTIZE
    if ggufs and len(ggufs) == len(weights):
        return Relation.QUANTIZE if any(map(gguf.is_quantized, ggufs)) else Relation.CONVERT
    return Relation.FINETUNE


def is_weights(file: Described) -> bool:
    """Whether it holds a model or a part of one"""
    return file.info.format != "other"


def _is_lora(info: FileInfo) -> bool:
    """Most tensors are; some full models have a few by that name"""
    found = sum(_LORA.search(tensor.name) is not None for tensor in info.tensors)
    return found * 2 > len(info.tensors) or gguf.is_adapter(info)
