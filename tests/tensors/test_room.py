"""Room: what new tensors will need is known before any is made, and nothing stays of what could not be made"""

import gc
from dataclasses import dataclass
from math import prod

import pytest
import torch

from artifactstore.core.errors import Unavailable
from artifactstore.core.formats.safetensors import DTYPE_BITS
from artifactstore.core.manifest import MAX_BLOB, Extent
from artifactstore.core.reading import Stored
from artifactstore.tensors.engine import PlainEngine
from artifactstore.tensors.room import SCRATCH, make

CPU = torch.device("cpu")
MIB = 1 << 20


@dataclass(frozen=True, slots=True)
class Small(PlainEngine):
    """A device with so much room"""

    room: int | None = None

    def free(self):
        return self.room


def at_rest(name, dtype, *shape, blob=0):
    nbytes = prod(shape) * DTYPE_BITS[dtype] // 8
    return Stored(name, dtype, shape, (Extent(blob, 0, nbytes),) if nbytes else ())


def needed(wanted, dtype=None):
    """The least room in which they are made, without what copies need"""
    scratch = min(SCRATCH, MAX_BLOB * len({extent.blob for one in wanted for extent in one.extents}))
    with pytest.raises(Unavailable) as failed:
        make(wanted, CPU, Small(CPU, room=0), dtype)
    nbytes = failed.value.facts["nbytes"]
    assert len(make(wanted, CPU, Small(CPU, room=nbytes), dtype)) == len(wanted)
    with pytest.raises(Unavailable):
        make(wanted, CPU, Small(CPU, room=nbytes - 1), dtype)
    return nbytes - scratch


def test_what_is_as_it_is_stored_needs_its_bytes():
    assert needed([at_rest("a", "BF16", MIB), at_rest("b", "I64", 3), at_rest("none", "F32", 0)]) == 2 * MIB + 24
    assert make([], CPU, Small(CPU, room=0)) == {}


def test_what_becomes_larger_needs_that_and_the_largest_twice():
    wanted = [at_rest("a", "BF16", MIB), at_rest("b", "BF16", 5), at_rest("c", "I8", 7)]
    assert needed(wanted, torch.float32) == (4 * MIB + 20 + 7) + 2 * MIB
    assert needed(wanted, torch.bfloat16) == needed(wanted)


def test_what_becomes_smaller_is_first_there_as_it_is():
    assert needed([at_rest("a", "F32", MIB), at_rest("b", "F32", 5)], torch.float16) == (4 * MIB + 20) + 2 * MIB


@pytest.mark.skipif(not hasattr(torch, "float4_e2m1fn_x2"), reason="torch knows it not yet")
def test_what_is_packed_or_no_real_number_stays():
    wanted = [at_rest("packed", "F4", 4, 6), at_rest("complex", "C64", 3), at_rest("whole", "I32", 3)]
    assert needed(wanted, torch.float64) == 12 + 24 + 12


def test_room_for_copies_is_left():
    one = [at_rest("a", "U8", 5)]
    many = [at_rest(f"{n}", "U8", 5, blob=n) for n in range(10)]
    for wanted, scratch in ((one, MAX_BLOB), (many, SCRATCH)):
        with pytest.raises(Unavailable, match=r"need 50? B and .* MB for copies on cpu: .* MB are free") as failed:
            make(wanted, CPU, Small(CPU, room=scratch))
        assert failed.value.facts["nbytes"] == scratch + 5 * len(wanted)


def test_where_nobody_knows_the_room_they_are_made():
    for engine in (None, Small(CPU)):
        made = make([at_rest("a", "BF16", 3, 2)], CPU, engine, torch.float32)
        assert (made["a"].dtype, made["a"].shape) == (torch.bfloat16, (3, 2))


def test_nothing_stays_of_what_could_not_be_made():
    def alive():
        return sum(type(one) is torch.Tensor for one in gc.get_objects())

    wanted = [at_rest(f"{n}", "U8", 1000) for n in range(20)] + [at_rest("huge", "F64", 1 << 50)]
    before = alive()
    with pytest.raises(Unavailable, match="21 tensors need") as failed:
        make(wanted, CPU, None)
    assert isinstance(failed.value.__cause__, RuntimeError)
    assert alive() == before
