"""A process forked from one that has loaded loads too: on the CPU all works, with threads and buffers of its own"""

import dataclasses
import multiprocessing
import os

import pytest
import torch
from safetensors.torch import save_file

from artifactstore import Settings, Store
from artifactstore.tensors.engine import PlainEngine
from artifactstore.tensors.opening import loading_of, open_version
from tests.tensors.states import is_same, random_tensor

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="nothing is forked here")


def load(store, verify):
    """By all ways, also as to a device"""
    yield dict(store.load("m", verify=verify))
    yield dict(store.stream("m", verify=verify))
    loading = dataclasses.replace(loading_of(store.depot.settings, verify), engine_of=PlainEngine)
    yield dict(open_version(store.depot, store.resolve("m").id, loading).load())


def answer(store, tensors, connection):
    torch.set_num_threads(1)  # OpenMP has threads that the child has not, which is torch's own affair
    try:
        connection.send([is_same(dict(sorted(found.items())), tensors) for found in load(store, "always")])
    except BaseException as e:
        connection.send(repr(e))


def test_a_child_loads_from_the_store_that_its_parent_opened(tmp_path):
    tensors = {name: random_tensor(torch.bfloat16, (1 << 20,), seed) for seed, name in enumerate("abc")}
    save_file(tensors, tmp_path / "m.safetensors")
    with Store.init(str(tmp_path / "store"), settings=Settings(attested=str(tmp_path / "attested"))) as store:
        store.add([tmp_path / "m.safetensors"], name="m")
        with store.prefetch("m") as coming:
            coming.take("a")
            assert all(is_same(dict(sorted(found.items())), tensors) for found in load(store, "always"))
            ours, theirs = multiprocessing.Pipe()
            child = multiprocessing.get_context("fork").Process(target=answer, args=(store, tensors, theirs))
            child.start()
            assert ours.poll(120), "the child hangs"
            assert ours.recv() == [True, True, True]
            child.join()
        assert all(is_same(dict(sorted(found.items())), tensors) for found in load(store, "once"))
