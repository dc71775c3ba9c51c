"""Rebuild beside damage: what a manifest said of its version outlasts both"""

import json
import shutil

from artifactstore.ops import rebuild
from artifactstore.store import Store


def lines(depot):
    return list(depot.catalog.dump())


def made_anew(folder):
    """Without any of the catalog it had"""
    for path in folder.glob("catalog.sqlite*"):
        path.unlink()
    rebuild.run(rebuild.plan(str(folder)))
    return Store.open(str(folder))


def meant(told):
    """What a catalog says of versions, whatever records and objects it took"""
    return [line for line in told if json.loads(line)["kind"] not in {"journal", "manifest"}]


def test_what_a_damaged_manifest_said_is_remembered_until_it_is_mended(tmp_path):
    file, folder = tmp_path / "w.bin", tmp_path / "store"
    with Store.init(str(folder)) as store:
        for name, created in (("base", 1), ("base", 2), ("style", 3)):
            file.write_bytes(name.encode() * created)
            parents = [store.link("base:1", "adapter")] if name == "style" else []
            store.add([file], name=name, created=created, step=created, parents=parents)
        base, style = (store.resolve(ref) for ref in ("base:1", "style:1"))
        before = lines(store.depot)
        shutil.copytree(folder, tmp_path / "copy")
        store.depot.blobs.replace(store.depot.catalog.versions.manifest_place(style.id).key, b"?")
        store.verify()
    for _ in range(2):
        with made_anew(folder) as store:
            assert store.resolve("style:1") == style
            assert store.depot.catalog.retirements.retire({base.id: "test"}).kept
    with Store.open(str(folder)) as store:
        store.repair(source=str(tmp_path / "copy"))
        mended = lines(store.depot)
        assert meant(mended) == meant(before)
    with made_anew(folder) as store:
        assert lines(store.depot) == mended
