"""Pretrained: models of transformers from a version of a store, without a copy of their weights on disk"""

import copy
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
import transformers

from artifactstore.core.errors import Invalid
from artifactstore.integrations import folders
from artifactstore.integrations.saves import need
from artifactstore.lease import reading
from artifactstore.ops.transfer.fetch import fetch_file, load_manifest
from artifactstore.store import Store
from artifactstore.tensors import document

need(transformers, "4.57")
_SMALL = 64 << 20
# Of the model, though a configuration would take them.
_NOT_CONFIG = ("dtype", "torch_dtype", "quantization_config")


def from_pretrained(kind: Any, store: Store, ref: str, *, part: str | None = None, **options: Any) -> Any:
    """What `kind.from_pretrained(…, **options)` gives, of AutoModel… or a model's class, for a version of a store

    part: as for `Store.state_dict`. Raise NotFound; Invalid for a version without config.json, unless `config` is
    given; Corrupt.
    """
    version = str(store.resolve(ref).id)
    aside = {name: options.pop(name) for name in _NOT_CONFIG if name in options}
    if "config" not in options:
        with small_files(store, version) as folder:
            if not (folder / "config.json").is_file():
                raise Invalid(f"{ref} has no config.json; give config=", code="config")
            config, options = transformers.AutoConfig.from_pretrained(folder, return_unused_kwargs=True, **options)
            if (folder / "generation_config.json").is_file():
                options.setdefault("generation_config", transformers.GenerationConfig.from_pretrained(folder))
        options["config"] = config
    if hasattr(kind, "from_config"):
        # the Auto classes take no state dict, but they know the class
        with torch.device("meta"):
            kind = type(kind.from_config(options["config"]))
    return kind.from_pretrained(None, state_dict=store.state_dict(version, part), **aside, **options)


@contextmanager
def small_files(store: Store, ref: str) -> Iterator[Path]:
    """A temporary folder with what a version has beside its weights, for `AutoTokenizer.from_pretrained` and others"""
    depot, version = store.depot, store.resolve(ref)
    manifest = load_manifest(depot, version.id)
    if any(file.path == document.PATH for file in manifest.files):
        files = store.state_dict(str(version.id), "files")
    else:
        plain = [file for file in manifest.files if not file.tensors and file.size <= _SMALL]
        with reading(depot, version.id):
            files = {str(file.path): np.frombuffer(fetch_file(depot, manifest, file), np.uint8) for file in plain}
    with TemporaryDirectory() as folder:
        folders.give(files, folder)
        yield Path(folder)


def files_of(model: Any, *others: Any) -> "dict[str, np.ndarray[Any, Any]]":
    """The files beside a model's weights, and those of a tokenizer or processor, as bytes that dedup"""
    config = copy.deepcopy(getattr(model, "config", None))
    if config is not None:
        config.architectures = [type(model).__name__]
    with TemporaryDirectory() as folder:
        for one in (config, getattr(model, "generation_config", None), *others):
            if callable(getattr(one, "save_pretrained", None)):
                one.save_pretrained(folder)
        return folders.take(folder)
