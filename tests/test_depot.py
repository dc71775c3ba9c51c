"""Opening stores: made once, finished when interrupted, refused when something is not as it should be"""

import errno
import secrets
import shutil

import pytest

import artifactstore.depot as depots
from artifactstore.blobs import disk, local
from artifactstore.blobs.layout import SETTINGS_KEY
from artifactstore.blobs.open import open_blobs
from artifactstore.core.errors import Conflict, Denied, Exists, Invalid, NoStore, NotFound
from artifactstore.core.events import Step, Warn
from artifactstore.core.settings import Settings
from artifactstore.depot import StoreInfo, home, init, open_depot, read_info
from artifactstore.ops.annotate import set_metrics
from artifactstore.store import Store
from tests.contract.catalog import in_threads


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "store"


@pytest.fixture
def source(tmp_path):
    (tmp_path / "a.txt").write_text("a")
    return tmp_path / "a.txt"


def test_a_store_is_made_once(folder):
    with init(str(folder)) as depot:
        assert read_info(depot.blobs) == depot.info
    with pytest.raises(Exists, match="There is a store"):
        init(str(folder))
    with open_depot(str(folder)) as depot:
        assert depot.catalog.store_id == depot.info.store_id


def test_of_two_that_make_it_at_once_the_first_has_it(folder, monkeypatch):
    made = []

    def make_before(path, key):
        monkeypatch.undo()
        made.append(init(str(folder)))

    monkeypatch.setattr(local, "refuse_existing", make_before)
    with pytest.raises(Exists, match="There is a store"):
        init(str(folder))
    made[0].close()
    with open_depot(str(folder)) as depot:
        assert depot.info == made[0].info


def test_a_disk_without_links_can_hold_a_store(folder, monkeypatch):
    def refuse(source, target):
        raise OSError(errno.EPERM, "no links here")

    monkeypatch.setattr(disk.os, "link", refuse)
    init(str(folder)).close()
    with pytest.raises(Exists):
        init(str(folder))
    assert list((folder / "tmp").iterdir()) == []


def test_where_names_cannot_be_claimed_the_one_with_the_catalog_has_the_store(tmp_path, monkeypatch):
    url, create = f"memory://{secrets.token_hex(4)}", depots.create_catalog

    def write_between(*args, **ids):
        catalog = create(*args, **ids)
        open_blobs(url, Settings()).replace(SETTINGS_KEY, StoreInfo("5" * 32, "c" * 32).to_bytes())
        return catalog

    monkeypatch.setattr(depots, "create_catalog", write_between)
    catalog = f"sqlite:///{tmp_path}/catalog.sqlite"
    with init(url, catalog) as depot:
        assert read_info(depot.blobs) == depot.info
    open_depot(url, catalog).close()


def test_nothing_there(folder):
    with pytest.raises(NoStore, match="artstore init"):
        open_depot(str(folder))
    assert not folder.exists()


def test_foreign_files_are_left_alone(folder):
    folder.mkdir()
    (folder / "latest.pt").write_text("mine")
    with pytest.raises(Invalid, match="holds other files"):
        init(str(folder))
    assert [path.name for path in folder.iterdir()] == ["latest.pt"]
    assert home(folder) == folder / ".artstore"
    init(str(home(folder))).close()
    assert home(folder) == folder / ".artstore"
    with pytest.raises(Invalid, match="is a file"):
        init(str(folder / "latest.pt"))


def test_home_of_an_empty_folder_a_store_and_nothing(folder, tmp_path):
    assert home(folder) == folder
    init(str(folder)).close()
    assert home(folder) == folder
    (tmp_path / "empty").mkdir()
    assert home(tmp_path / "empty") == tmp_path / "empty"


def test_an_interrupted_init_is_finished_by_the_next(folder):
    first = init(str(folder))
    first.close()
    for path in folder.glob("catalog.sqlite*"):
        path.unlink()
    with pytest.raises(NotFound):
        open_depot(str(folder))
    with init(str(folder)) as depot:
        assert depot.info == first.info


def test_a_catalog_that_is_gone_is_never_made_anew_beside_its_journal(folder, source):
    with Store.init(str(folder)) as store:
        store.add([source], name="m")
    for path in folder.glob("catalog.sqlite*"):
        path.unlink()
    with pytest.raises(Conflict, match="artstore catalog rebuild"):
        init(str(folder))
    with pytest.raises(NotFound):
        open_depot(str(folder))


def test_a_catalog_of_another_store_is_refused(folder, tmp_path):
    init(str(folder)).close()
    init(str(tmp_path / "other")).close()
    with pytest.raises(Conflict):
        open_depot(str(folder), f"sqlite:///{tmp_path / 'other/catalog.sqlite'}")


@pytest.fixture
def restored(folder, source):
    """A store whose catalog of the first save was put in place of that of the third"""
    with Store.init(str(folder)) as store:
        store.add([source], name="m")
        store.depot.catalog.leases.open("of-the-backup", host="h", pid=1, kind="save")
    shutil.copy(folder / "catalog.sqlite", folder.with_name("backup"))
    with Store.open(str(folder)) as store:
        for text in "bc":
            source.write_text(text)
            store.add([source], name="m", aliases=["new"])
    for path in folder.glob("catalog.sqlite*"):
        path.unlink()
    shutil.copy(folder.with_name("backup"), folder / "catalog.sqlite")
    return folder


def test_a_restored_catalog_is_brought_up_to_date_before_it_writes(restored, source):
    told = []
    source.write_text("d")
    with Store.open(str(restored), monitor=told.append) as store:
        assert len(store.ls()) == 1
        assert store.add([source], name="m").committed.version.number == 4
        assert store.resolve("m@new").number == 3
        assert store.depot.catalog.leases.active() == []
        assert store.verify().damaged == ()
    assert sum(isinstance(event, Warn) and "2 records were replayed" in event.message for event in told) == 1


def test_a_restored_catalog_is_told_to_who_only_reads_it(restored):
    told = []
    with Store.open(str(restored), monitor=told.append, read_only=True) as store:
        assert len(store.ls()) == 1
    (warning,) = (event for event in told if isinstance(event, Warn))
    assert "older than the journal" in warning.message


def test_two_that_find_a_restored_catalog_replay_it_once(restored):
    with Store.open(str(restored)) as one, Store.open(str(restored)) as two:
        results = in_threads(one.depot.check_writable, two.depot.check_writable)
        assert results == [None, None]
        assert len(one.ls()) == 3
        assert [record.serial for record in two.depot.catalog.journal.log()] == [3, 2, 1]


def test_a_catalog_that_went_another_way_than_its_journal_is_refused(restored, source):
    journal = next(restored.glob("journal/*"))
    with Store.open(str(restored)) as store:
        later = [path.rename(restored / path.name) for path in sorted(journal.iterdir())[1:]]
        store.metric("m", {"loss": 1.0})
        for path in later:
            path.rename(journal / path.name)
        for action in (lambda: store.metric("m", {"loss": 2.0}), lambda: store.add([source], name="m")):
            with pytest.raises(Conflict, match="different ways") as caught:
                action()
            assert caught.value.code == "conflict.catalog-parted"
            assert "catalog rebuild" in caught.value.message
        assert len(store.ls()) == 1


def test_a_change_is_not_acknowledged_when_another_catalog_wrote_its_record(restored):
    journal = next(restored.glob("journal/*"))
    away = [path.rename(restored / path.name) for path in sorted(journal.iterdir())[1:]]

    def late(event):
        if event == Step("journal.export.before"):
            for path in away:
                path.rename(journal / path.name)

    with Store.open(str(restored), monitor=late) as store, pytest.raises(Conflict, match="different ways"):
        store.metric("m", {"loss": 1.0})


def test_another_catalog_took_over(folder, source):
    with Store.init(str(folder)) as store:
        store.depot.blobs.delete(SETTINGS_KEY)
        batch = store.depot.blobs.batch("other")
        batch.write(SETTINGS_KEY, StoreInfo(store.depot.info.store_id, "f" * 32).to_bytes())
        batch.publish()
        with pytest.raises(Conflict, match="another catalog"):
            store.add([source], name="m")


def ours(folder):
    """Every file and its content; SQLite's own index of its log, which readers share, is none of ours"""
    found = (path for path in folder.rglob("*") if path.is_file() and not path.name.endswith(("-shm", "-wal")))
    return {path: path.read_bytes() for path in found}


def test_read_only_writes_nothing(folder, source):
    with Store.init(str(folder)) as store:
        store.add([source], name="m")
    before = ours(folder)
    with Store.open(str(folder), read_only=True) as store:
        assert len(store.ls()) == 1
        assert store.show("m")["number"] == 1
        with pytest.raises((Invalid, Denied), match="read-only"):
            store.add([source], name="m")
    assert ours(folder) == before


@pytest.mark.parametrize(
    "raw", [b"", b"[]", b"{", b'{"format": 2}', b'{"format": 1}', b'{"format": 1, "store": "a", "catalog": "b"}']
)
def test_a_damaged_settings_file_is_told(folder, raw):
    folder.mkdir()
    (folder / SETTINGS_KEY).write_bytes(raw)
    with pytest.raises(Invalid):
        open_depot(str(folder))


def test_a_remote_store_needs_a_catalog():
    with pytest.raises(Invalid, match="--catalog"):
        init("memory://nocatalog")


def test_a_journal_that_cannot_be_written_is_made_up_for(folder, source):
    warnings = []
    with Store.init(str(folder), monitor=warnings.append) as store:
        store.add([source], name="m")
        journal = folder / "journal" / store.depot.info.catalog_id
        journal.rename(folder / "kept")
        journal.write_text("a file in the way")
        version = store.resolve("m")
        set_metrics(store.depot, version, {"loss": 1.0})
        assert [w for w in warnings if isinstance(w, Warn) and "journal could not be written" in w.message]
        assert len(store.depot.catalog.journal.pending(10)) == 1
        journal.unlink()
        (folder / "kept").rename(journal)
        set_metrics(store.depot, version, {"loss": 2.0})
        assert store.depot.catalog.journal.pending(10) == []
        assert len(list(store.depot.blobs.keys("journal/"))) == 3
        assert Step("journal.export.after") in warnings


def test_versions_without_a_journal_are_no_interrupted_init_either(folder, source):
    with Store.init(str(folder)) as store:
        store.add([source], name="m")
    for path in (*folder.glob("catalog.sqlite*"), *folder.glob("journal/*/*")):
        path.unlink()
    with pytest.raises(Conflict, match="artstore catalog rebuild"):
        init(str(folder))
