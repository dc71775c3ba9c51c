"""Gathering what all files of a version say of its parents and licence

Where several name one parent the most specific source counts: a merge recipe, an adapter's config, the model card, a
GGUF header, a safetensors header; for the licence the card, then the headers. Small files count where a model's own
lie: at the root, and in a folder of the root that holds weights. What cannot be understood is told and passed over.
"""

import json
from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeVar

from artifactstore.core.errors import Invalid
from artifactstore.core.lineage import Link, Relation
from artifactstore.core.provenance import adapter, card, gguf, mergekit, safetensors
from artifactstore.core.provenance.base import MAX_PARENTS, Provenance, Warner
from artifactstore.core.provenance.evidence import ADAPTER_CONFIG, MODEL_CONFIG, Described, infer, is_weights
from artifactstore.core.provenance.refs import named

LIMIT = 1 << 20
CARD = "README.md"

File = TypeVar("File", bound=Described)
Read = Callable[[File, int], bytes]


def gather(files: Sequence[File], read: Read[File], warn: Warner) -> Provenance:
    """Parents and licence of a version made of these files; nothing they hold makes it raise

    read: the first so many bytes of a file; what it raises is raised. warn: takes a line for people.
    """
    near = _near(files)

    def said(names: frozenset[str], parse: Callable[[File, bytes], Provenance]) -> Iterator[Provenance]:
        for file in near:
            if _leaf(file) in names:
                yield _understood(file, read(file, min(file.size, LIMIT)), parse, warn)

    def recipe(file: File, data: bytes) -> Provenance:
        return mergekit.read(_yaml(_text(_all(file, data))), file.path, warn)

    def config(file: File, data: bytes) -> Provenance:
        return adapter.read(_json(_all(file, data)), file.path, warn)

    def model_card(file: File, data: bytes) -> Provenance:
        front = card.front_matter(data, whole=file.size <= LIMIT)
        return card.read(None if front is None else _yaml(front), file.path, lambda: _inferred(file, files, read), warn)

    small = [
        *said(mergekit.NAMES, recipe),
        *said(frozenset({ADAPTER_CONFIG}), config),
        *said(frozenset({CARD}), model_card),
    ]
    return _joined([*small, *_headers(files, warn)], warn)


def _near(files: Sequence[File]) -> list[File]:
    """Files at the root, then those in folders of the root that hold weights"""
    homes = {file.path.partition("/")[0] for file in files if is_weights(file) and "/" in file.path}
    inner = [file for file in files if file.path.count("/") == 1 and file.path.partition("/")[0] in homes]
    return [*(file for file in files if "/" not in file.path), *inner]


def _leaf(file: Described) -> str:
    return file.path.rpartition("/")[2]


def _understood(file: File, data: bytes, parse: Callable[[File, bytes], Provenance], warn: Warner) -> Provenance:
    try:
        return parse(file, data)
    except Invalid as e:
        warn(f"{file.path} cannot be understood ({e.message}); no parents were taken from it")
        return Provenance()


def _all(file: Described, data: bytes) -> bytes:
    if file.size > LIMIT:
        raise Invalid(f"it has {file.size} bytes, at most {LIMIT} are read", code="size")
    return data


def _text(data: bytes) -> str:
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as e:
        raise Invalid(f"not UTF-8 ({e.reason})", code="utf-8") from e


def _yaml(text: str) -> Any:
    # PyYAML takes 20 ms to import, which only a version with a card or a recipe should pay
    from artifactstore.core.provenance.yaml_text import load_yaml  # noqa: PLC0415

    return load_yaml(text)


def _json(data: bytes) -> Any:
    try:
        return json.loads(data)
    except (ValueError, RecursionError) as e:
        raise Invalid(f"not JSON: {e!s:.100}", code="json") from e


def _inferred(model_card: File, files: Sequence[File], read: Read[File]) -> Relation:
    """How the version came from one base model, by the files that lie with the card"""
    folder = model_card.path.rpartition("/")[0]
    beside = [file for file in files if not folder or file.path.startswith(f"{folder}/")]
    wanted = f"{folder}/{MODEL_CONFIG}" if folder else MODEL_CONFIG
    config = next((file for file in beside if file.path == wanted and file.size <= LIMIT), None)
    data = b"null" if config is None else read(config, config.size)
    try:
        return infer(beside, _json(data))
    except Invalid:
        return infer(beside, None)


def _headers(files: Sequence[Described], warn: Warner) -> Iterator[Provenance]:
    ggufs = [file for file in files if file.info.format == "gguf"]
    quantized = any(gguf.is_quantized(file.info) for file in ggufs)
    for file in ggufs:
        yield gguf.read(file.info, file.path, warn, quantized=quantized)
    for file in files:
        if file.info.format == "safetensors":
            yield safetensors.read(file.info, file.path, warn)


def _joined(said: Sequence[Provenance], warn: Warner) -> Provenance:
    """All of them as one: of a parent that several name, what the first says"""
    taken: set[str] = set()
    parents: list[Link] = []
    for one in said:
        fresh = [link for link in one.parents if named(link.ref) not in taken]
        taken.update(named(link.ref) for link in fresh)
        parents += fresh
    if len(parents) > MAX_PARENTS:
        warn(f"The files name more than {MAX_PARENTS} parents; only so many were taken")
    return Provenance(tuple(parents[:MAX_PARENTS]), next((one.license for one in said if one.license), None))
