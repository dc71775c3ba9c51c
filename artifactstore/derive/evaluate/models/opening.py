"""Opening: a model in a folder, whichever format it is in"""

from pathlib import Path

from artifactstore.derive.evaluate.base import Encoder, LanguageModel
from artifactstore.derive.evaluate.models.config import read_config
from artifactstore.derive.evaluate.models.files import Chosen, Format, choose
from artifactstore.derive.evaluate.models.gguf_model import open_gguf
from artifactstore.derive.evaluate.models.onnx_model import open_onnx
from artifactstore.derive.evaluate.models.torch_model import Use, open_safetensors


def look(folder: Path, path: str | None = None) -> Chosen:
    """Which model a folder holds; raise Invalid as `choose` does"""
    found = (one for one in sorted(folder.rglob("*")) if one.is_file())
    return choose([one.relative_to(folder).as_posix() for one in found], path)


def open_model(folder: Path, chosen: Chosen, use: Use | None = None) -> LanguageModel | Encoder:
    """Raise Invalid saying what is wrong with its files; no code of theirs is run"""
    how = use or Use()
    match chosen.format:
        case Format.SAFETENSORS:
            home = folder / Path(chosen.path).parent
            return open_safetensors(home, chosen.path, read_config(home), how)
        case Format.GGUF:
            return open_gguf(folder, chosen.path, how)
        case Format.ONNX:
            return open_onnx(folder, chosen.path, read_config(folder))
