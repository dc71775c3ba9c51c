"""A cache that huggingface_hub itself filled from a hub on loopback, taken in, and given back to it offline"""

from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save

from artifactstore import Store
from tests.ops.trees import contents

huggingface_hub = pytest.importorskip("huggingface_hub")


def test_a_real_cache_is_taken_in_and_given_back(hub, tmp_path):
    weights = save({"w": np.arange(5000, dtype=np.float32)})
    card = "---\nlicense: mit\nbase_model: org/base\n---\n"
    first = {"config.json": "{}", "model.safetensors": weights, "README.md": card}
    repo = hub.repo(
        "org/tiny", {path: data if isinstance(data, bytes) else data.encode() for path, data in first.items()}
    )
    cache = tmp_path / "hub"
    options = {"endpoint": hub.endpoint, "cache_dir": cache, "token": False}
    homes = [Path(huggingface_hub.snapshot_download("org/tiny", **options))]
    repo.commit({"config.json": b'{"a": 1}', "model.safetensors": weights, "README.md": card.encode()})
    homes.append(Path(huggingface_hub.snapshot_download("org/tiny", **options)))
    assert homes[0] != homes[1]
    with Store.init(str(tmp_path / "store")) as store:
        report = store.add_from("hf-cache", cache)
        assert (len(report.taken), report.passed) == (2, ())
        # each file by the name that the hub gave its bytes
        assert all(len(arrival.found.digests) == len(arrival.found.files) for arrival, _ in report.taken)
        newest = store.resolve("org/tiny@main")
        assert (newest.license, store.show("org/tiny@main")["metadata"]["upstream"]["commit"]) == ("mit", homes[1].name)
        assert [one.read_bytes for _, one in store.add_from("hf-cache", cache).taken] == [0, 0]
        back = tmp_path / "back"
        store.checkout("org/tiny@main", back, layout="hf-cache")
        # into the cache it came from: nothing is written, and the hub's own blobs stay as they are
        assert store.checkout("org/tiny@main", cache, layout="hf-cache").files == 0
    found = huggingface_hub.snapshot_download("org/tiny", cache_dir=back, local_files_only=True)
    assert (Path(found).name, contents(Path(found))) == (homes[1].name, contents(homes[1]))
    assert not huggingface_hub.scan_cache_dir(back).warnings
