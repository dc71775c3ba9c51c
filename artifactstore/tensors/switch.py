"""Switch: a model that holds one version is made another in place, by what differs between them"""

from collections.abc import Mapping
from typing import Any

import torch

from artifactstore.core.digest import Digest
from artifactstore.core.reading import Stored, content
from artifactstore.tensors.dtypes import as_bytes, view_bytes
from artifactstore.tensors.engine import digests_on
from artifactstore.tensors.loader import read_targets
from artifactstore.tensors.misfits import Targets, is_plain
from artifactstore.tensors.options import Loading
from artifactstore.tensors.pieces import Source
from artifactstore.tensors.report import LoadReport


def switch(into: Any, old: Source, new: Source, loading: Loading, names: Mapping[str, str] | None = None) -> LoadReport:
    """Fill those tensors of a module or state dict in which the new version differs from the old

    That it holds the old one is taken for granted, unless verify is `always`: then tensors are hashed where they are,
    and filled when they are not what they should be, or when they share a blob with others. Raise Invalid, with nothing
    filled, for all that does not fit the new version; after Corrupt some are filled: switch once more, or load.
    """
    targets = Targets.of(into, names or {})
    targets.check(new.tensors, strict=True)
    found = list(targets.stored_as(new.tensors))
    sure = loading.verify == "always"
    wanted = {name: new.tensors[name] for name, one in found if not _holds(one.tensor, old, new, name, sure=sure)}
    with new.held():
        moved = read_targets(new, targets, wanted, loading)
    return moved.of([new.tensors[name] for name, _ in found])


def _holds(tensor: torch.Tensor, old: Source, new: Source, name: str, *, sure: bool) -> bool:
    before, after = old.tensors.get(name), new.tensors[name]
    if before is None or tensor.is_meta or content(before, old.digests) != content(after, new.digests):
        return False
    return content(after, new.digests) is not None and not (sure and not is_right(tensor, new, after))


def is_right(tensor: torch.Tensor, source: Source, stored: Stored) -> bool:
    """Whether its bytes have the digests of the blobs that it fills from end to end; False when it fills none"""
    if not is_plain(tensor):
        return False
    pieces = [source.pieces[extent.blob] for extent in stored.extents]
    if any((one.start, one.length) != (0, piece.size) for one, piece in zip(stored.extents, pieces, strict=True)):
        return False
    parts = torch.split(as_bytes(tensor), [piece.size for piece in pieces])
    digests = digests_on(tensor.device)
    found = digests(parts) if digests else [Digest.of(view_bytes(part.cpu())) for part in parts]
    return found == [piece.digest for piece in pieces]
