"""Destination: the folder that a product is written to, looked at before anything is made for it"""

from collections.abc import Mapping, Sequence
from pathlib import Path

from artifactstore.core.errors import Invalid, Refused
from artifactstore.derive.models import Model
from artifactstore.derive.product import Product
from artifactstore.ops.transfer.source import looking_at

_WEIGHTS = (".safetensors", ".gguf")


def sizes(product: Product) -> dict[str, int]:
    """The files of a product, which are known before it is made"""
    made = {str(file.path): file.size for file in product.files}
    return made | {str(source.path): source.size for source in product.beside}


def check_dest(dest: Path, models: Sequence[Model], files: Mapping[str, int], *, force: bool | None = None) -> None:
    """Raise Invalid for what is no folder, or that of a model it is made of; Refused for what is in the way

    files: those to be written, as far as they are known, with their sizes; force: whether what is in the way is
    overwritten, None where nobody is asked.
    """
    with looking_at(dest):
        if dest.exists() and not dest.is_dir():
            raise Invalid(f"{dest} is a file; give a folder", code="folder", path=str(dest))
        for model in models:
            if model.folder is not None and model.folder == dest.resolve():
                raise Invalid(
                    f"{dest} is the folder of {model.ref}, which this is made of; choose another",
                    code="same",
                    path=str(dest),
                )
        if force or not dest.is_dir():
            return
        for name, size in files.items():
            path = dest / name
            if path.is_file() and path.stat().st_size != size:
                raise in_the_way(path, forcible=force is not None)
        other = _other_weights(dest, files)
        if other is not None:
            raise Refused(
                f"{other} is of another model, and would be read together with this one; choose another folder",
                code="overwrite",
                path=str(other),
            )


def in_the_way(path: Path, *, forcible: bool = True) -> Refused:
    """The error for a file that has other content"""
    instead = ", or overwrite it with --force" if forcible else ""
    return Refused(
        f"{path} is there with other content; choose another folder{instead}",
        code="overwrite",
        path=str(path),
    )


def _other_weights(dest: Path, files: Mapping[str, int]) -> Path | None:
    kinds = {name[name.rindex(".") :] for name in files if name.endswith(_WEIGHTS) and "/" not in name}
    found = (path for path in sorted(dest.iterdir()) if path.suffix in kinds and path.name not in files)
    return next(found, None)
