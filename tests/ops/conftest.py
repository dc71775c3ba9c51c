"""Stores for the tests of verbs: a local folder, and one on Postgres and S3"""

import os
import secrets

import numpy as np
import pytest
from safetensors.numpy import save_file

from artifactstore.store import Store
from tests.faults.scale import SOAK
from tests.servers import S3_BUCKET

MIB = 1 << 20


@pytest.fixture
def store(tmp_path):
    with Store.init(str(tmp_path / "store")) as store:
        yield store


# that both servers do the same is shown where blobs are; verbs meet the other one in make soak
@pytest.fixture(params=["local", "moto", "rclone"] if SOAK else ["local", "rclone"])
def any_store(request, tmp_path):
    """The ways of living: one disk with SQLite; Postgres with an S3 server"""
    if request.param == "local":
        url, catalog = str(tmp_path / "store"), None
    else:
        endpoint = request.getfixturevalue(f"{request.param}_endpoint")
        url = f"s3://{S3_BUCKET}/{secrets.token_hex(6)}?endpoint_url={endpoint}&region=us-east-1"
        catalog = request.getfixturevalue("postgres_url")
    with Store.init(url, catalog) as store:
        yield store


@pytest.fixture
def model(tmp_path):
    """A folder with a model of every kind of cut: large, small and gathered tensors, text, an empty file"""
    folder = tmp_path / "model"
    (folder / "sub").mkdir(parents=True)
    random = np.random.default_rng(0)
    tensors = {f"layer{n}.w": random.integers(0, 255, 300_000 + n, dtype=np.uint8) for n in range(8)}
    save_file(tensors | {"big": random.integers(0, 255, 5 * MIB, dtype=np.uint8)}, folder / "model.safetensors")
    (folder / "config.json").write_text('{"hidden_size": 8}')
    (folder / "sub/vocab.txt").write_text("a\nb\n" * 1000)
    (folder / "empty").write_bytes(b"")
    (folder / "data.bin").write_bytes(random.bytes(9 * MIB))
    for path in folder.rglob("*"):
        os.utime(path, (1_700_000_000, 1_700_000_000))
    return folder
