"""A disk that is full or read-only: told in one line, nothing lost, and the store usable afterwards"""

import shutil
import subprocess

import numpy as np
import pytest

from artifactstore.core.errors import Denied, NoSpace
from artifactstore.core.settings import Settings
from artifactstore.store import Store
from tests.ops.trees import contents

MIB = 1 << 20


@pytest.fixture
def weights(tmp_path):
    path = tmp_path / "in" / "weights.bin"
    path.parent.mkdir()
    path.write_bytes(np.random.default_rng(0).bytes(24 * MIB))
    return path


def test_an_add_that_does_not_fit_is_refused_before_the_work(mounted, weights):
    with Store.init(str(mounted("size=12m") / "store"), settings=Settings(reserve=0)) as store:
        with pytest.raises(NoSpace, match="are free"):
            store.add([weights], name="m")
        assert store.depot.catalog.journal.head()[0] == 0


def test_an_add_that_runs_out_on_the_way_cleans_up(mounted, weights, tmp_path):
    point = mounted("size=32m")
    with Store.init(str(point / "store"), settings=Settings(reserve=0)) as store:
        filler = point / "filler"

        def fill(event):
            if not filler.exists():
                filler.write_bytes(bytes(store.depot.blobs.free() - 8 * MIB))

        with Store.open(str(point / "store"), settings=Settings(reserve=0), monitor=fill) as other:
            plan = other.plan_add([weights], name="m")
            with pytest.raises(NoSpace, match="no space left"):
                other.add([weights], name="m")
        assert store.ls() == []
        assert store.depot.blobs.owners() == []
        assert list(store.depot.blobs.keys("blobs/")) == []
        filler.unlink()
        assert store.add([weights], name="m").new_bytes == plan.nbytes
        assert store.verify().damaged == ()
        store.checkout("m", tmp_path / "out")
        assert contents(tmp_path / "out") == contents(weights.parent)


def test_a_checkout_that_does_not_fit_or_runs_out_goes_on_later(mounted, weights, tmp_path):
    point = mounted("size=28m")
    with Store.init(str(tmp_path / "store")) as store:
        store.add([weights], name="m")
        filler = point / "filler"
        filler.write_bytes(bytes(10 * MIB))
        with pytest.raises(NoSpace, match="make room"):
            store.checkout("m", point / "out")
        filler.unlink()

        def fill(event):
            if not filler.exists():
                filler.write_bytes(bytes(shutil.disk_usage(point).free - 6 * MIB))

        with Store.open(store.depot.blobs.url, monitor=fill) as other, pytest.raises(NoSpace, match="what was written"):
            other.checkout("m", point / "out")
        filler.unlink()
        store.checkout("m", point / "out")
        assert contents(point / "out") == contents(weights.parent)


def test_a_folder_that_may_not_be_written_to(mounted, weights, tmp_path):
    point = mounted("size=28m")
    subprocess.run(["mount", "-o", "remount,ro", point], check=True)
    with Store.init(str(tmp_path / "store")) as store:
        store.add([weights], name="m")
        with pytest.raises(Denied):
            store.checkout("m", point / "out")


def test_a_store_on_a_disk_that_became_read_only_can_be_read(mounted, weights, tmp_path):
    point = mounted("size=160m")
    with Store.init(str(point / "store")) as store:
        store.add([weights], name="m")
    subprocess.run(["mount", "-o", "remount,ro", point], check=True)
    with Store.open(str(point / "store"), read_only=True) as store:
        assert store.verify().damaged == ()
        store.checkout("m", tmp_path / "out")
    assert contents(tmp_path / "out") == contents(weights.parent)
