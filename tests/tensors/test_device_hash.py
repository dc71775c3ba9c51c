"""Digests computed on a device: by Triton's interpreter, and by a GPU where there is one"""

import os
import re
import subprocess
import sys
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from importlib.util import find_spec
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import pytest
import torch
from blake3 import blake3
from hypothesis import given, settings
from hypothesis import strategies as st

from artifactstore.tensors import device_hash
from artifactstore.tensors.dtypes import TORCH

CHUNK, CHUNKS, VALUES = 1024, 128, 256
CPU, CUDA = torch.device("cpu"), torch.device("cuda")


@contextmanager
def process(*, interpret):
    """A process of its own, as Triton asks once whether to interpret, and nothing else here should be"""
    with ProcessPoolExecutor(1, get_context("spawn"), _begin, (interpret,)) as pool:
        yield lambda work, *args: pool.submit(work, *args).result()


def _begin(interpret):
    os.environ.pop("TRITON_INTERPRET", None)
    if interpret:
        os.environ["TRITON_INTERPRET"] = "1"


@pytest.fixture(
    scope="module", params=[pytest.param("cpu", id="interpreted"), pytest.param("cuda", marks=pytest.mark.gpu)]
)
def device(request):
    """Runs a function of a device in a process where that device is supported"""
    if find_spec("triton") is None:
        pytest.skip("there is no Triton")
    if request.param == "cuda" and not torch.cuda.is_available():
        pytest.skip("there is no CUDA device")
    with process(interpret=request.param == "cpu") as run:
        yield lambda work, *args: run(work, request.param, *args)


def random_bytes(*lengths):
    return [np.random.default_rng(length).bytes(length) for length in lengths]


def placed(device, piece, skip=0):
    """A tensor of these bytes that begins `skip` bytes after an aligned address"""
    memory = torch.empty(skip + len(piece), dtype=torch.uint8, device=device)
    assert memory.data_ptr() % 16 == 0
    memory[skip:] = torch.frombuffer(bytearray(piece), dtype=torch.uint8) if piece else torch.empty(0)
    return memory[skip:]


def hashed(device, pieces, skip=0):
    return device_hash.digests([placed(device, piece, skip) for piece in pieces])


def are_right(device, pieces, *args):
    found = device(hashed, pieces, *args)
    return [len(piece) for piece, digest in zip(pieces, found, strict=True) if digest != blake3(piece).digest()] == []


def test_pieces_within_a_chunk(device):
    assert are_right(device, random_bytes(0, 1, 15, 16, 17, 63, 64, 65, 129, 1023))


def test_pieces_of_chunks_that_have_no_partner(device):
    assert are_right(device, random_bytes(1024, 1025, 6 * CHUNK + 7))


def test_a_piece_of_as_many_chunks_as_a_program_hashes(device):
    assert are_right(device, random_bytes(CHUNKS * CHUNK))


@settings(max_examples=5, deadline=None)
@given(st.integers(0, 3 * CHUNK))
def test_pieces_of_any_length(device, length):
    assert are_right(device, random_bytes(length))


@pytest.mark.parametrize("skip", [1, 4, 15])
def test_pieces_at_any_address(device, skip):
    assert are_right(device, random_bytes(16, 100), skip)


def hashed_as(device, pieces):
    tensors = {name: placed(device, piece).view(TORCH[name]) for name, piece in pieces.items()}
    return {name: device_hash.digest(tensor) for name, tensor in tensors.items()}


def test_tensors_of_every_dtype(device):
    pieces = {name: random_bytes(7 * dtype.itemsize)[0] for name, dtype in TORCH.items()}
    assert device(hashed_as, pieces) == {name: blake3(piece).digest() for name, piece in pieces.items()}


def hashed_shapes(device):
    table = torch.arange(24, dtype=torch.float32, device=device).reshape(4, 6)
    return device_hash.digests([table, table.T, table[0, 0], table[:0]]), device_hash.digests([])


def test_tensors_of_any_shape_are_hashed_as_they_would_be_stored(device):
    table = np.arange(24, dtype=np.float32).reshape(4, 6)
    stored = [table.tobytes(), table.T.tobytes(), table[0, 0].tobytes(), b""]
    assert device(hashed_shapes) == ([blake3(raw).digest() for raw in stored], [])


def support(device):
    return device_hash.supported(torch.device(device))


def test_a_device_is_supported_when_what_it_finds_is_right(device):
    assert device(support)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device")
def test_many_pieces_side_by_side(device):
    lengths = [64 << 20, (64 << 20) + 1, (1 << 30) + 12345, *range(3 * CHUNK), *range(1 << 17, 1 << 20, 12345)]
    assert are_right(device, random_bytes(*lengths))


def test_other_devices_are_not_supported():
    with process(interpret=False) as run:
        assert not run(support, "cpu")
        assert not run(support, "meta")
        assert run(support, "cuda") == torch.cuda.is_available()
    with process(interpret=True) as run:
        assert not run(support, "cuda")
        assert not run(support, "meta")


@pytest.mark.parametrize("missing", ["triton", "triton.language"])
def test_without_triton_nothing_is_supported(missing):
    code = f"""
import sys, torch
from artifactstore.tensors import device_hash
assert "triton" not in sys.modules
assert not device_hash.supported(torch.device("cpu")) and "triton" not in sys.modules
sys.modules[{missing!r}] = None
assert not device_hash.supported(torch.device("cuda"))
"""
    environ = {name: value for name, value in os.environ.items() if name != "TRITON_INTERPRET"}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environ)
    assert done.returncode == 0, done.stderr


PIECES = st.lists(st.integers(0, 600 * CHUNK) | st.integers(0, 1 << 28), min_size=1, max_size=5)


@settings(deadline=None)
@given(PIECES)
def test_every_chunk_is_hashed_once_and_has_its_own_value(lengths):
    counts = [max(-(-length // CHUNK), 1) for length in lengths]
    addresses = [number << 40 for number in range(len(lengths))]
    jobs = device_hash._chunks(*map(np.array, (addresses, lengths, counts)), CHUNKS)
    wanted = []
    values = 0
    for address, length, count in zip(addresses, lengths, counts, strict=True):
        for first in range(0, count, CHUNKS):
            wanted.append([address + first * CHUNK, length - first * CHUNK, first, values + first])
        values += count
    assert jobs.tolist() == wanted


@settings(deadline=None)
@given(PIECES)
def test_values_of_a_piece_are_joined_to_one(lengths):
    counts = [max(-(-length // CHUNK), 1) for length in lengths]
    for jobs in device_hash._joins(np.array(counts), VALUES):
        wanted = []
        values = 0
        for count in counts:
            for at in range(0, count, VALUES):
                wanted.append([values + at, min(count - at, VALUES), count <= VALUES, 0])
            values += count
        assert jobs.tolist() == wanted
        counts = [-(-count // VALUES) for count in counts]
    assert set(counts) == {1}


@pytest.mark.parametrize(("nbytes", "launches"), [(0, 1), (CHUNK, 1), (CHUNK + 1, 2), (256 << 10, 2), (64 << 20, 3)])
def test_few_launches_do(nbytes, launches):
    counts = np.array([max(-(-nbytes // CHUNK), 1)] * 3)
    assert 1 + len(list(device_hash._joins(counts, VALUES))) == launches


def compiled(capability, name, values, folder):
    """PTX of a kernel as it is launched, and what ptxas made of it"""
    os.environ["TRITON_CACHE_DIR"] = folder
    import triton
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource

    kernels = device_hash._kernels()
    assert (kernels.CHUNKS, kernels.VALUES) == (CHUNKS, VALUES)
    kernel, lanes = {"chunks": (kernels.chunks, CHUNKS), "join": (kernels.join, VALUES)}[name]
    signature = {"jobs": "*i64"} | dict.fromkeys(values, "*u32") | {"lanes": "constexpr"}
    aligned = {(number,): [["tt.divisibility", 16]] for number in range(len(values) + 1)}
    source = ASTSource(kernel, signature, {(len(values) + 1,): lanes}, aligned)
    options = {"num_warps": lanes // 32, "enable_fp_fusion": False}
    found = triton.compile(source, GPUTarget("cuda", capability, 32), options)
    cubin = Path(folder) / "kernel.cubin"
    cubin.write_bytes(found.asm["cubin"])
    tool = Path(triton.__file__).parent / "backends/nvidia/bin/cuobjdump"
    usage = subprocess.run([tool, "-res-usage", cubin], capture_output=True, text=True, check=True).stdout
    return found.asm["ptx"], {what: int(count) for what, count in re.findall(r"(REG|STACK|LOCAL):(\d+)", usage)}


@pytest.fixture(scope="module")
def compiler():
    if find_spec("triton") is None or find_spec("triton.backends.nvidia") is None:
        pytest.skip("there is no compiler for CUDA")
    with process(interpret=False) as run:
        yield lambda *args: run(compiled, *args)


@pytest.mark.parametrize("capability", [80, 90])
@pytest.mark.parametrize(("name", "values"), [("chunks", ["values"]), ("join", ["values", "joined"])])
def test_kernels_compile_for_devices_that_are_not_here(compiler, capability, name, values, tmp_path):
    """Without spilled registers, and with wide loads"""
    ptx, usage = compiler(capability, name, values, str(tmp_path))
    assert "ld.global.v4.b32" in ptx
    assert usage["STACK"] == usage["LOCAL"] == 0
    assert usage["REG"] <= 80
