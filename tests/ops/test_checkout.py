"""Checkout: resumable, refusing to overwrite, never writing elsewhere"""

import json

import pytest

from artifactstore.core.errors import Corrupt, Invalid, NotFound, Refused
from artifactstore.core.events import Step
from artifactstore.ops.checkout import part_name
from artifactstore.store import Store
from tests.ops.trees import contents


@pytest.fixture
def filled(store, model):
    store.add([model], name="m")
    return store


class Stopped(BaseException):
    """A person pressed Ctrl-C"""


def test_only_some_files(filled, model, tmp_path):
    filled.checkout("m", tmp_path / "out", only=["*.json", "sub/*"])
    assert set(contents(tmp_path / "out")) == {"config.json", "sub/vocab.txt"}
    with pytest.raises(NotFound, match="No file of m:1 matches"):
        filled.checkout("m", tmp_path / "out", only=["*.gguf"])


def test_what_is_there_is_kept_and_other_content_refused(filled, model, tmp_path):
    out = tmp_path / "out"
    filled.checkout("m", out)
    (out / "config.json").write_text("mine")
    with pytest.raises(Refused, match="--force"):
        filled.checkout("m", out)
    assert (out / "config.json").read_text() == "mine"
    report = filled.checkout("m", out, force=True)
    assert (report.files, report.kept) == (1, 4)
    assert contents(out) == contents(model)


def test_an_interrupted_checkout_goes_on_where_it_ended(filled, model, tmp_path):
    out, seen = tmp_path / "out", []

    def stop(event):
        if isinstance(event, Step) and event.name == "checkout.write.after":
            seen.append(event)
            if len(seen) == 6:
                raise Stopped

    with Store.open(filled.depot.blobs.url, monitor=stop) as other, pytest.raises(Stopped):
        other.checkout("m", out)
    assert any(name.endswith(".part") for name in contents(out))
    report = filled.checkout("m", out)
    assert report.resumed_bytes > 0
    assert contents(out) == contents(model)


def test_a_spoiled_part_is_noticed_and_the_next_try_starts_over(filled, model, tmp_path):
    out = tmp_path / "out"
    filled.checkout("m", out)
    target = out / "data.bin"
    plan = filled.plan_checkout("m", tmp_path / "elsewhere", only=["data.bin"])
    (out / part_name(plan.write[0])).write_bytes(bytes(target.stat().st_size))
    target.unlink()
    with pytest.raises(Corrupt, match="another sha256"):
        filled.checkout("m", out)
    filled.checkout("m", out)
    assert contents(out) == contents(model)


def test_a_damaged_blob_stops_it_and_is_named(filled, tmp_path):
    place = max(filled.depot.catalog.blobs.all(), key=lambda place: place.size)
    path = filled.depot.blobs.root / place.key
    path.chmod(0o644)
    path.write_bytes(bytes(place.size))
    with pytest.raises(Corrupt, match=place.digest.hex()[:12]) as error:
        filled.checkout("m", tmp_path / "out")
    assert error.value.facts["digest"] == str(place.digest)
    path.unlink()
    with pytest.raises(Corrupt, match="missing"):
        filled.checkout("m", tmp_path / "out")


def test_a_damaged_manifest_is_told(filled, tmp_path):
    place = filled.depot.catalog.versions.manifest_place(filled.resolve("m").id)
    path = filled.depot.blobs.root / place.key
    path.chmod(0o644)
    path.write_bytes(path.read_bytes().replace(b"config", b"konfig"))
    with pytest.raises(Corrupt, match="does not match its id"):
        filled.checkout("m", tmp_path / "out")
    path.unlink()
    with pytest.raises(Corrupt, match="manifest of"):
        filled.checkout("m", tmp_path / "out")


def test_a_link_in_the_target_leads_nowhere(filled, tmp_path):
    outside, out = tmp_path / "outside", tmp_path / "out"
    outside.mkdir()
    out.mkdir()
    (out / "sub").symlink_to(outside)
    with pytest.raises(Invalid, match="a link that leaves"):
        filled.checkout("m", out)
    assert list(outside.iterdir()) == []


def test_a_file_as_target(filled, tmp_path):
    (tmp_path / "out").write_text("a file")
    with pytest.raises(Invalid, match="is a file"):
        filled.checkout("m", tmp_path / "out")


def test_the_plan_is_a_document_and_a_read_only_store_can_be_read(filled, model, tmp_path):
    with Store.open(filled.depot.blobs.url, read_only=True) as reader:
        plan = reader.plan_checkout("m", tmp_path / "out")
        assert json.loads(json.dumps(plan.to_json()))["bytes"] == plan.nbytes
        reader.checkout("m", tmp_path / "out")
    assert contents(tmp_path / "out") == contents(model)
    assert filled.resolve("m").last_load is None
    filled.checkout("m", tmp_path / "again")
    assert filled.resolve("m").last_load is not None
