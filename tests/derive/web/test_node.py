"""transformers.js, from npm, makes of our files what onnxruntime does here"""

import json
import os
import shutil
import subprocess
import time
from pathlib import Path

import numpy as np
import pytest

from artifactstore.derive.shard import run as shards
from artifactstore.derive.shard.plan import plan as divide
from artifactstore.derive.web.config import with_chunks
from artifactstore.derive.web.convert import convert
from artifactstore.derive.web.levels import LEVELS
from tests.derive.web.graphs import generated, session

PACKAGE = "@huggingface/transformers@4"
SCRIPT = Path(__file__).parent / "js" / "run.mjs"
TEXTS = ["The quick brown fox jumps over the lazy dog.", "A second text"]
_WAIT = 300


@pytest.fixture(scope="session")
def node():
    """A folder with the package, installed once for all runs on a machine; skip where that cannot be"""
    if not (shutil.which("node") and shutil.which("npm")):
        pytest.skip("node and npm are not here")
    base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "artifactstore-tests"
    folder = base / PACKAGE.replace("/", "-")
    if not (folder / "done").exists():
        _install(folder)
    shutil.copy(SCRIPT, folder / SCRIPT.name)
    return folder


def _install(folder):
    folder.mkdir(parents=True, exist_ok=True)
    try:
        (folder / "lock").mkdir()
    except FileExistsError:
        for _ in range(_WAIT):
            if (folder / "done").exists():
                return
            time.sleep(1)
        pytest.skip(f"another run is installing {PACKAGE} in {folder}, or was killed there; remove it")
    try:
        (folder / "package.json").write_text('{"private": true, "type": "module"}')
        command = ["npm", "install", "--no-audit", "--no-fund", "--ignore-scripts", PACKAGE]
        settings = os.environ | {"ONNXRUNTIME_NODE_INSTALL_CUDA": "skip"}
        done = subprocess.run(command, cwd=folder, env=settings, capture_output=True, text=True, timeout=_WAIT)
        if done.returncode:
            pytest.skip(f"npm could not install {PACKAGE}: {done.stderr.strip()[-200:]}")
        (folder / "done").touch()
    finally:
        (folder / "lock").rmdir()


def asked(node, folder, jobs):
    """The answers of the script for models in a folder"""
    given = json.dumps({"folder": f"{folder}/", "texts": TEXTS, "jobs": jobs})
    done = subprocess.run(["node", SCRIPT.name], cwd=node, input=given, capture_output=True, text=True, timeout=_WAIT)
    assert done.returncode == 0, done.stderr[-2000:]
    return json.loads(done.stdout.splitlines()[-1])


def features(folder, file):
    """Means of what a graph gives, of length one, as sentence-transformers takes them"""
    transformers = pytest.importorskip("transformers")
    graph = session(folder / "onnx" / file)
    given = transformers.AutoTokenizer.from_pretrained(folder)(TEXTS, padding=True, return_tensors="np")
    ids, mask = given["input_ids"], given["attention_mask"][..., None]
    named = {"token_type_ids": np.zeros_like(ids), **given}
    (found,) = graph.run(None, {one.name: named[one.name].astype(np.int64) for one in graph.get_inputs()})
    means = (found * mask).sum(1) / mask.sum(1)
    return means / np.linalg.norm(means, axis=1, keepdims=True)


def test_features_of_a_build_of_minilm(node, soup):
    folder = soup / "public/soup"
    (found,) = (np.array(one) for one in asked(node, folder.parent, [{"model": folder.name, "options": {}}]))
    assert np.abs(found - features(folder, "model_q4.onnx")).max() < 1e-4
    assert found.shape == (len(TEXTS), 384)


def test_features_at_all_levels(node, exported, bert, tmp_path):
    folder = shutil.copytree(bert, tmp_path / "bert", ignore=shutil.ignore_patterns("*.safetensors"))
    (folder / "onnx").mkdir()
    levels = [level for level in LEVELS.values() if not level.robust]
    for level in levels:
        convert(exported["bert"], level, folder / "onnx")
    jobs = [{"model": "bert", "options": {"dtype": level.dtype}} for level in levels]
    for level, found in zip(levels, asked(node, tmp_path, jobs), strict=True):
        assert np.abs(np.array(found) - features(folder, level.file)).max() < 1e-4, level.name


def test_language_models_go_on_as_here(node, exported, qwen, tmp_path):
    folder = tmp_path / "qwen"
    shutil.copytree(qwen, folder, ignore=shutil.ignore_patterns("*.safetensors"))
    (folder / "onnx").mkdir()
    levels = {name: LEVELS[name] for name in ("q4", "q4f16", "q8", "fp16", "q2", "q3")}
    for level in levels.values():
        convert(exported["qwen"], level, folder / "onnx", inline=0)
    raw = with_chunks((folder / "config.json").read_bytes(), {level.file: 1 for level in levels.values()})
    # what is of no level of transformers.js is had by its name
    raw = with_chunks(raw, {LEVELS["q3"].file: 1}, "q4")
    (folder / "config.json").write_bytes(raw)
    options = {name: {"dtype": level.dtype} for name, level in levels.items()} | {"q4": {}}
    options["q3"] = {"model_file_name": "model_q3mix", "dtype": "fp32"}
    jobs = [{"model": "qwen", "tokens": 10, "options": options[name]} for name in levels]
    for level, found in zip(levels.values(), asked(node, tmp_path, jobs), strict=True):
        right = [generated(qwen, folder / level.path, text, 10) for text in TEXTS]
        assert (level.name, found) == (level.name, right)
    assert len(set(right[0][-8:])) > 2


def test_shards_are_found(node, store, exported, qwen, tmp_path):
    shutil.copytree(qwen, tmp_path / "in", ignore=shutil.ignore_patterns("*.safetensors"))
    (tmp_path / "in/onnx").mkdir()
    convert(exported["qwen"], LEVELS["q8"], tmp_path / "in/onnx")
    store.add([tmp_path / "in"], name="qwen")
    report = shards.run(store.depot, divide(store.depot, store.resolve("qwen"), tmp_path / "out", 60_000))
    assert sum("_data" in file.path for file in report.files) > 1
    (found,) = asked(node, tmp_path, [{"model": "out", "tokens": 6, "options": {"dtype": "q8"}}])
    assert found == [generated(qwen, tmp_path / "in/onnx/model_quantized.onnx", text, 6) for text in TEXTS]
