"""Model cards: the YAML front matter of a README.md

Format: https://github.com/huggingface/hub-docs/blob/main/modelcard.md; where the front matter begins and ends is the
Hub's own rule, as in huggingface_hub/repocard.py.
"""

import re
from collections.abc import Callable, Mapping
from types import MappingProxyType

from artifactstore.core.errors import Invalid
from artifactstore.core.lineage import Relation
from artifactstore.core.provenance.base import Provenance, Warner, bounded, license_of, parent, pass_over, shown
from artifactstore.core.provenance.refs import refer

RELATIONS: Mapping[str, Relation] = MappingProxyType(
    {
        "adapter": Relation.ADAPTER,
        "merge": Relation.MERGE,
        "quantized": Relation.QUANTIZE,
        "finetune": Relation.FINETUNE,
    }
)
_MERGES = frozenset({"merge", "mergekit"})
_BEGIN = rb"(?:\xef\xbb\xbf)?\s*---(?:\r\n|\r|\n)"
_OPEN = re.compile(_BEGIN)
_BLOCK = re.compile(_BEGIN + rb"(.*?)(?:\r\n|\r|\n)---[ \t]*(?:\r\n|\n|\Z)", re.DOTALL)


def front_matter(data: bytes, *, whole: bool = True) -> str | None:
    """The YAML block at the start of a card, None when it has none

    Raise Invalid when it is not UTF-8, or when `data` is not the whole file and its end is not in it.
    """
    block = _BLOCK.match(data)
    if block is None:
        if whole or not _OPEN.match(data):
            return None
        raise Invalid(f"its front matter does not end in the first {len(data)} bytes", code="card")
    try:
        return block[1].decode()
    except UnicodeDecodeError as e:
        raise Invalid(f"its front matter is not UTF-8 ({e.reason})", code="card") from e


def read(document: object, path: str, infer: Callable[[], Relation], warn: Warner) -> Provenance:
    """Parents and licence of a front matter

    infer: how the version comes from one base model as its other files tell, for when the card does not say.
    """
    if document is None:
        return Provenance()
    if not isinstance(document, Mapping):
        raise Invalid(f"its front matter is {shown(document)}, not keys and values", code="card")
    given = document.get("base_model")
    listed = given if isinstance(given, list) else [] if given in (None, "") else [given]
    names = bounded(listed, path, warn)
    refs = [refer(name) for name in names]
    pass_over([name for name, ref in zip(names, refs, strict=True) if ref is None], path, warn)
    found = list(dict.fromkeys(ref for ref in refs if ref is not None))
    relation = _relation(document, path, len(found), infer, warn) if found else Relation.FINETUNE
    parents = tuple(parent(relation, ref, path) for ref in found)
    return Provenance(parents, _license(document, path, warn))


def _relation(
    document: Mapping[object, object], path: str, count: int, infer: Callable[[], Relation], warn: Warner
) -> Relation:
    said = document.get("base_model_relation")
    if isinstance(said, str) and said in RELATIONS:
        return RELATIONS[said]
    if said is not None:
        warn(f"{path}: its base_model_relation is {shown(said)}, not one of {', '.join(RELATIONS)}; it was inferred")
    if count > 1:
        return Relation.MERGE
    inferred = infer()
    tags = document.get("tags")
    merged = isinstance(tags, list) and any(isinstance(tag, str) and tag in _MERGES for tag in tags)
    # who quantizes a merge takes over its tags, so these speak last
    return Relation.MERGE if merged and inferred is Relation.FINETUNE else inferred


def _license(document: Mapping[object, object], path: str, warn: Warner) -> str | None:
    value = document.get("license")
    if isinstance(value, list) and value and all(isinstance(one, str) for one in value):
        value = ", ".join(value)
    if value == "other":
        value = document.get("license_name") or value
    return license_of(value, path, warn)
