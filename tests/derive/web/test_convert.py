"""Levels of a graph: how much is lost, how large they are, and which files there are"""

import re

import numpy as np
import pytest

from artifactstore.derive.web.convert import convert
from artifactstore.derive.web.graph import ALIGN, Graph
from artifactstore.derive.web.levels import LEVELS
from tests.derive.web.graphs import distance, run

IDS = np.random.default_rng(3).integers(4, 260, (2, 12))
# relative, of models whose weights are random: far more than trained ones lose
MOST = {"fp32": 1e-6, "fp16": 0.01, "q8": 0.3, "int8": 0.3, "uint8": 0.3, "q4": 0.5, "q4f16": 0.5, "q3": 0.9}


@pytest.mark.parametrize("model", ["qwen", "llama", "bert"])
def test_levels_run_and_lose_little(exported, tmp_path, model):
    right, _ = run(exported[model], IDS)
    lost, sizes = {}, {}
    for name, level in LEVELS.items():
        (path,) = convert(exported[model], level, tmp_path)
        assert path.name == level.file
        found, cache = run(path, IDS)
        lost[name], sizes[name] = distance(found, right), path.stat().st_size
        assert all(value.dtype == (np.float16 if level.half else np.float32) for value in cache.values())
    assert {name: lost[name] for name, most in MOST.items() if lost[name] > most} == {}
    assert lost["fp16"] < lost["q8"] < lost["q4"] < lost["q3"] < lost["q2"] < 1.5
    assert sizes["fp32"] > sizes["fp16"] > sizes["q8"] > sizes["q4"] > sizes["q3"] > sizes["q2"]
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(level.file for level in LEVELS.values())


@pytest.mark.parametrize("name", ["fp32", "fp16", "q8", "q4", "q4f16"])
def test_weights_may_lie_beside_the_graph(exported, tmp_path, name):
    (tmp_path / "in").mkdir()
    (tmp_path / "beside").mkdir()
    (whole,) = convert(exported["qwen"], LEVELS[name], tmp_path / "in")
    graph, data = convert(exported["qwen"], LEVELS[name], tmp_path / "beside", inline=0)
    assert (graph.name, data.name) == (LEVELS[name].file, LEVELS[name].file + "_data")
    assert graph.stat().st_size < 60_000
    assert np.array_equal(run(graph, IDS)[0], run(whole, IDS)[0])
    offsets = re.findall(r'key: "offset"\s+value: "(\d+)"', str(Graph(graph).model.graph))
    assert offsets
    assert all(int(offset) % ALIGN == 0 for offset in offsets)


def test_a_tied_table_is_stored_once(exported, tmp_path):
    (path,) = convert(exported["qwen"], LEVELS["q4"], tmp_path)
    graph = Graph(path)
    assert "Transpose" not in {node.op_type for node in graph.model.graph.node}
    tables = [name for name in graph.initializers if "lm_head" in name or "embed" in name]
    assert len([name for name in tables if name.endswith("_Q4")]) == 1
    assert not any(name.endswith(".weight") for name in tables)


def test_three_bits_are_four_and_two(exported, tmp_path):
    (path,) = convert(exported["llama"], LEVELS["q3"], tmp_path)
    bits = {}
    for node in Graph(path).model.graph.node:
        if node.op_type == "MatMulNBits":
            bits[node.name.split("/")[-2]] = next(one.i for one in node.attribute if one.name == "bits")
    assert bits == {"qkv_proj": 4, "o_proj": 4, "gate_proj": 2, "up_proj": 2, "down_proj": 4, "lm_head": 4}


def test_nothing_tells_of_the_machine_it_was_made_on(exported, tmp_path):
    (path,) = convert(exported["bert"], LEVELS["fp32"], tmp_path)
    raw = path.read_bytes()
    assert b".py" not in raw
    assert b"/lib/" not in raw
    assert re.fullmatch(r"[0-9.]+", Graph(exported["qwen"]).model.producer_version)


def test_twice_gives_the_same_bytes(exported, tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    for level in LEVELS.values():
        (first,), (second,) = (convert(exported["qwen"], level, tmp_path / one) for one in "ab")
        assert first.read_bytes() == second.read_bytes()
