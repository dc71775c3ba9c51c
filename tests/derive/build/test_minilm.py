"""The recipe that is shipped for MiniLM, built for the web end to end"""

import json
from hashlib import sha256

import numpy as np
import pytest

from artifactstore.store import Store
from tests.cli.calling import contents, document, done
from tests.derive.build.soup import ARTIFACTS, CEILING, arguments

pytestmark = pytest.mark.slow
TEXTS = ["A cat sits on the mat", "There is a cat on the rug", "Merge two fine-tunes", "The movie begins at 8 pm"]


@pytest.fixture
def here(soup, monkeypatch):
    """As one who works in the folder beside the store"""
    monkeypatch.setenv("ARTSTORE_STORE", str(soup / "store"))
    return soup


def vectors(folder):
    """What onnxruntime makes of texts, as sentence-transformers takes it"""
    session = pytest.importorskip("onnxruntime").InferenceSession(folder / "onnx/model_q4.onnx")
    tokens = pytest.importorskip("transformers").AutoTokenizer.from_pretrained(folder)
    given = tokens(TEXTS, padding=True, return_tensors="np")
    (hidden,) = session.run(None, {one.name: given[one.name].astype(np.int64) for one in session.get_inputs()})
    mask = given["attention_mask"][..., None]
    found = (hidden * mask).sum(1) / mask.sum(1)
    return found / np.linalg.norm(found, axis=1, keepdims=True)


def test_the_folder_holds_what_a_page_loads(here):
    files = {path.relative_to(here / "public/soup").as_posix(): path for path in (here / "public/soup").rglob("*.*")}
    assert {"config.json", "tokenizer.json", "onnx/model_q4.onnx", "onnx/model_q4.onnx_data_1"} <= files.keys()
    assert not any(path.endswith(".safetensors") for path in files)
    assert max(path.stat().st_size for path in files.values()) <= CEILING
    said = json.loads(files["config.json"].read_bytes())["transformers.js_config"]
    count = sum("onnx_data" in path for path in files)
    assert said == {"dtype": "q4", "use_external_data_format": {"model_q4.onnx": count}}


def test_the_entry_says_what_is_there(here):
    entry = json.loads((here / "public/models.json").read_bytes())["minilm"]
    assert (entry["id"], entry["name"]) == ("minilm", "minilm-soup")
    fusion = entry["metadata"]["fusion"]
    assert (fusion["method"], set(fusion["sources"])) == ("task_arithmetic", set(ARTIFACTS.values()))
    quantized = entry["metadata"]["quantize"]
    assert (quantized["level"], quantized["target"]) == ("q4", "web")
    assert 4 < quantized["bits_per_weight"] < 32
    for file in entry["files"]:
        raw = (here / "public/soup" / file["path"]).read_bytes()
        assert (file["size"], file["sha256"]) == (len(raw), sha256(raw).hexdigest())
    assert len(entry["files"]) == sum(path.is_file() for path in (here / "public/soup").rglob("*"))


def test_onnxruntime_finds_what_the_merged_model_finds(here, tmp_path):
    from tests.derive.minilm import vectors as by_torch  # it imports torch

    with Store.open(str(here / "store")) as store:
        store.checkout("minilm-soup", tmp_path / "merged")
    found, right = vectors(here / "public/soup"), by_torch(tmp_path / "merged", TEXTS).numpy()
    assert (found * right).sum(1).min() > 0.9
    assert (found @ found.T)[0].argsort()[-2] == 1


def test_how_far_it_is_from_the_merged_model_is_its_metric(here):
    shown = document("show", "minilm-soup-q4")
    assert [(link["relation"], link["ref"]) for link in shown["parents"]] == [("quantize", "minilm-soup:1")]
    assert 0.9 < shown["metrics"]["cosine"] < 1


def test_a_second_time_nothing_is_written(here):
    before = contents(here / "public")
    versions = done("ls", "-q")
    assert "1 model built" in done("build", *arguments(here))
    assert contents(here / "public") == before
    assert done("ls", "-q") == versions
