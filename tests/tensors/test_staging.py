"""Staging: the memory holds the files that a save would write, copied when it returns"""

import mmap
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from artifactstore.core.digest import Digest
from artifactstore.core.errors import Unavailable
from artifactstore.tensors import staging as stagings
from artifactstore.tensors.dtypes import as_bytes
from artifactstore.tensors.staging import Staging, lay_out
from artifactstore.tensors.tree import take_apart
from tests.tensors.states import contexts, files_of, random_tensor, states


def laid_out(context):
    return lay_out(take_apart(context))


def bytes_of(staging, files):
    return {str(file.path): bytes(staging.memory[file.begin : file.begin + file.size]) for file in files}


@given(contexts, states, st.booleans())
def test_what_is_staged_is_what_would_be_saved(context, state, twice):
    whole = context | {"state": state}
    tree = take_apart(whole)
    staging = Staging(lay_out(tree).size)
    if twice:
        staging.stage(laid_out({"state": {"other": random_tensor(torch.float32, (70,))}}))
    assert bytes_of(staging, staging.stage(lay_out(tree))) == files_of(whole)


def test_tensors_in_any_layout_are_staged_in_order():
    matrix = random_tensor(torch.complex64, (40, 30))
    state = {
        "turned": matrix.t(),
        "conjugate": matrix.conj(),
        "part": matrix[::3, 1:7],
        "wide": random_tensor(torch.float64, (3,)),
        "module": torch.nn.Linear(3, 3),
        "fortran": np.asfortranarray(np.arange(12.0).reshape(3, 4)),
    }
    tree = take_apart({"state": state})
    staging = Staging(lay_out(tree).size)
    assert bytes_of(staging, staging.stage(lay_out(tree))) == files_of({"state": state})


def hashing(device):
    """What a GPU does, on the CPU"""
    return lambda tensors: [Digest.of(as_bytes(tensor).numpy()) for tensor in tensors]


def test_what_a_device_finds_unchanged_is_not_copied():
    state = {name: random_tensor(torch.float32, (50,), seed) for seed, name in enumerate("abc")}
    state["turned"] = random_tensor(torch.float32, (4, 5)).t()
    context = {"state": state}
    staging = Staging(lay_out(take_apart(context)).size, digests_on=hashing)
    files = staging.stage(laid_out(context))
    [begin, *_] = [file.begin for file in files]
    spoiled = bytes(staging.memory[begin:]).index(state["a"].numpy().tobytes()) + begin
    staging.memory[spoiled] ^= 1
    state["b"] += 1
    state["a"] = state["a"].clone()
    wanted = files_of(context)
    path = str(files[0].path)
    spoilt = bytearray(wanted[path])
    spoilt[spoiled - begin] ^= 1
    assert bytes_of(staging, staging.stage(laid_out(context))) == wanted | {path: bytes(spoilt)}
    state["a"] += 1
    assert bytes_of(staging, staging.stage(laid_out(context))) == files_of(context)


def test_what_is_staged_does_not_change_with_the_state():
    state = {"w": torch.zeros(1000)}
    tree = take_apart({"state": state})
    staging = Staging(lay_out(tree).size)
    before = bytes_of(staging, files := staging.stage(lay_out(tree)))
    state["w"].add_(1)
    assert bytes_of(staging, files) == before


def test_frozen_tensors_are_copied_when_torch_counts_a_change_or_they_move(monkeypatch):
    copied = []
    copy = Staging._copy
    monkeypatch.setattr(
        Staging, "_copy", lambda self, value, *span: (copied.append(id(value)), copy(self, value, *span))
    )
    state = {"body": torch.zeros(1000), "head": torch.zeros(10)}
    other = {"head": torch.ones(2000)}
    staging = Staging(1 << 20, frozen=["bo*"])

    def stage(state):
        copied.clear()
        files = staging.stage(laid_out({"state": state}))
        assert bytes_of(staging, files) == files_of({"state": state})
        return copied.copy()

    body, head = map(id, (state["body"], state["head"]))
    assert stage(state) == [body, head]
    assert stage(state) == [head]
    state["body"].add_(1)
    assert stage(state) == [body, head]
    assert stage(other) == [id(other["head"])]
    assert stage(state) == [body, head]
    assert stage({"body": state["body"].clone(), "head": state["head"]}) != [head]


def test_where_there_are_no_memory_files(monkeypatch):
    monkeypatch.delattr(stagings.os, "memfd_create")
    tree = take_apart({"state": {"w": torch.ones(100)}})
    staging = Staging(lay_out(tree).size)
    assert staging.fd is None
    assert bytes_of(staging, staging.stage(lay_out(tree))) == files_of({"state": {"w": torch.ones(100)}})


def test_memory_that_is_not_to_be_had():
    with pytest.raises(Unavailable, match="No memory for a copy of the state"):
        Staging(1 << 62)


def test_pages_are_touched_at_once():
    staging = Staging(8 << 20)
    assert staging.size % mmap.PAGESIZE == 0
    text = Path("/proc/self/smaps").read_text()
    part = text[text.index("artstore-staging") :]
    assert int(part[part.index("Rss:") :].split()[1]) * 1024 == staging.size


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_a_state_on_the_gpu_is_staged_pinned():
    state = {"w": random_tensor(torch.bfloat16, (4000, 3000)).cuda(), "b": random_tensor(torch.float32, (5,)).cuda()}
    tree = take_apart({"state": state})
    staging = Staging(lay_out(tree).size)
    assert staging.pinned
    assert bytes_of(staging, staging.stage(lay_out(tree))) == files_of(
        {"state": {k: v.cpu() for k, v in state.items()}}
    )
