"""Stores beside each other: one to carry from, and places of every kind to carry to"""

import json
import os
import secrets

import numpy as np
from safetensors.numpy import save_file

from artifactstore.core.settings import Settings
from artifactstore.store import Store
from tests.catalog.proxy import Proxy
from tests.ops.trees import contents
from tests.servers import S3_BUCKET

MIB = 1 << 20


class Beside:
    """Makes stores of every kind; what is kept of other stores lies in one folder of the test"""

    def __init__(self, folder, request):
        self.folder, self._request = folder, request
        self.settings = Settings(foreign=str(folder / "catalogs"), landing=MIB, retries=0)
        self._opened = []

    def url(self, kind):
        """A place where no store is yet: `folder`, `moto` or `rclone`"""
        name = secrets.token_hex(4)
        if kind == "folder":
            return str(self.folder / name)
        endpoint = self._request.getfixturevalue(f"{kind}_endpoint")
        return f"s3://{S3_BUCKET}/{name}?endpoint_url={endpoint}&region=us-east-1"

    def store(self, kind="folder", catalog=None, **changed):
        """A new store; one on S3 has its catalog in a file"""
        if kind != "folder" and catalog is None:
            catalog = self.catalog()
        return self.keep(Store.init(self.url(kind), catalog, settings=self.with_settings(**changed)))

    def open(self, url, catalog=None, **changed):
        """A store that is there"""
        return self.keep(Store.open(url, catalog, settings=self.with_settings(**changed)))

    def clone(self, url, dest=None, **changed):
        """A clone in a new folder"""
        return self.keep(Store.clone(url, dest or self.url("folder"), settings=self.with_settings(**changed)))

    def with_settings(self, **changed):
        """The settings of the test with some changed"""
        return Settings(**{"foreign": self.settings.foreign, "landing": MIB, "retries": 0, **changed})

    def catalog(self):
        """The URL of a catalog nobody has"""
        return f"sqlite:///{self.folder / secrets.token_hex(4)}.sqlite"

    def keep(self, store):
        """Close it at the end"""
        self._opened.append(store)
        return store

    def close(self):
        """All of them"""
        for store in self._opened:
            store.close()

    def model(self, seed=0, size=MIB):
        """A folder with a model: `size` bytes that the seed decides, some that all have, and a text"""
        folder = self.folder / f"model{seed}-{size}"
        if not folder.exists():
            folder.mkdir(parents=True)
            own = np.random.default_rng(seed).integers(0, 255, size, dtype=np.uint8)
            same = np.arange(MIB, dtype=np.uint8)
            tensors = {"own": own, "same": same, "more": own[: size // 2] + np.uint8(1)}
            save_file(tensors, folder / "model.safetensors")
            (folder / "config.json").write_text(f'{{"seed": {seed}}}')
            for path in folder.iterdir():
                os.utime(path, (1_700_000_000 + seed, 1_700_000_000 + seed))
        return folder

    def family(self, store):
        """Into a store: a base with metrics and an alias, an adapter on it, and something else"""
        store.add([self.model(1)], name="org/base", aliases=["prod"], metrics={"loss": 0.5, "acc": 1.0})
        parents = [store.link("org/base", "adapter")]
        store.add([self.model(2)], name="org/tuned", parents=parents, aliases=["latest"], step=3)
        store.add([self.model(3)], name="other")

    def mirrored(self):
        """A store with a family, and a mirror of it named `usb`, filled"""
        store = self.store()
        self.family(store)
        store.remote_add("usb", self.url("folder"))
        store.push("usb")
        return store

    def mirror_of(self, store, name="usb"):
        """Its mirror, opened by its owner's catalog"""
        info = store.depot.catalog.remotes.get(name)
        return self.open(info.url, info.catalog)

    def checked(self, store, ref, seed):
        """Fail unless a version's files are those of a model"""
        out = self.folder / f"out{secrets.token_hex(4)}"
        store.checkout(ref, out)
        assert contents(out) == contents(self.model(seed))


class CountingProxy(Proxy):
    """Before an HTTP server: counts the requests that go by"""

    def __init__(self, server):
        self.requests = 0
        super().__init__(f"{server}/")

    def passing(self, data):
        self.requests += data.count(b" HTTP/1.1\r\n")


def ids(store):
    """Of all active versions"""
    return store.depot.catalog.versions.active()


def aliases(store):
    """Where each alias points"""
    return {f"{one.artifact}@{one.name}": one.version for one in store.depot.catalog.aliases.list()}


def meaning(store):
    """What a store's dump says of versions, whatever numbers and incarnations they have here"""
    told = set()
    for line in map(json.loads, store.catalog_dump()):
        if line["kind"] in {"version", "file", "tensors", "metric", "needs", "link"}:
            for key in ("number", "taken", "at", "retired_at", "retired_by", "evidence"):
                line.pop(key, None)
            told.add(json.dumps(line, sort_keys=True))
    return told
