"""A bundle opened: its documents agree with each other and with what is in, else it is refused with the offset"""

import json
import re

import pytest
import rfc8785
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from artifactstore.blobs.layout import parse_object
from artifactstore.blobs.tar import TarBlobs
from artifactstore.core.bundle import Label, Seal, to_record, txid
from artifactstore.core.digest import Digest
from artifactstore.core.errors import Corrupt, Invalid, StoreError
from artifactstore.core.record import Record
from artifactstore.core.tar import END
from artifactstore.depot import StoreInfo
from artifactstore.ops import bundle
from artifactstore.ops.transfer.bundled import open_bundle
from tests.tars import blob, member


@pytest.fixture
def made(store, tmp_path):
    (tmp_path / "one").write_bytes(b"one" * 500)
    (tmp_path / "two").write_bytes(b"two" * 500)
    store.add([tmp_path / "one"], name="a", aliases=["prod"], metrics={"loss": 0.5})
    store.add([tmp_path / "two"], name="b")
    path = tmp_path / "x.tar"
    bundle.run(store.depot, bundle.plan(store.depot, [store.resolve("a"), store.resolve("b")], path))
    return path


def test_what_it_carries_is_told(made, store):
    with open_bundle(made) as found:
        assert [(one.ref, one.aliases, one.left_out) for one in found.versions] == [
            ("a:1", ("prod",), ()),
            ("b:1", (), ()),
        ]
        assert found.versions[0].id == store.resolve("a").id
        assert found.label.store == store.depot.info.store_id
        assert (found.signature.state, found.left_out) == ("none", {})


class Parts:
    """A bundle taken apart, to be put together otherwise"""

    def __init__(self, path):
        with TarBlobs(path) as blobs:
            self.label = blobs.label
            self.blobs = {key: blobs.read(key) for key in blobs.keys("") if parse_object(key)}
            records = [Record.parse(blobs.read(key)) for key in blobs.keys("journal/")]
        self.records = [(one.at, [dict(action) for action in one.actions]) for one in records]
        self.more = b""
        self.info = None

    def write(self, path):
        """With the names that its documents ask for"""
        seal = Seal()
        for serial, (at, actions) in enumerate(self.records, 1):
            seal.add(serial, at, actions)
        store, catalog = seal.close(self.label)
        raw = member("artstore.json", self.info or StoreInfo(store, catalog).to_bytes())
        raw += member("bundle.json", self.label.to_bytes())
        raw += b"".join(member(key, data) for key, data in self.blobs.items())
        for serial, (at, actions) in enumerate(self.records, 1):
            name = f"journal/{catalog}/{serial:012d}-{txid(catalog, serial)}.json"
            raw += member(name, to_record(catalog, serial, at, actions))
        path.write_bytes(raw + self.more + END)


def test_put_together_as_it_was_it_is_the_same_bundle(made, tmp_path):
    Parts(made).write(tmp_path / "y.tar")
    with open_bundle(tmp_path / "y.tar") as found, open_bundle(made) as before:
        assert (found.versions, found.info) == (before.versions, before.info)


def manifests(parts):
    return [key for key in parts.blobs if key.startswith("manifests/")]


def no_manifest(parts):
    del parts.blobs[manifests(parts)[0]]


def no_blob(parts):
    del parts.blobs[next(key for key in parts.blobs if key.startswith("blobs/"))]


def stray_blob(parts):
    parts.more = blob(b"of nobody")


def stray_manifest(parts):
    key = manifests(parts)[0]
    parts.more = member(f"{key[:78]}{'0' * 16}.json", parts.blobs[key])


def another_version(parts):
    parts.label = Label(parts.label.store, parts.label.versions[:1])


def another_name(parts):
    first, second = parts.label.versions
    parts.label = Label(parts.label.store, (first._replace(ref="c:9"), second))


def no_version(parts):
    del parts.records[0][1][0]


def two_versions(parts):
    parts.records[0][1].append(parts.records[1][1][0])


def nothing_done(parts):
    parts.records[0][1].clear()


def retired(parts):
    parts.records[1][1].append({"do": "retire", "versions": []})


def odd_digest(parts):
    parts.records[0][1][0]["id"] = "../../etc/passwd"


def odd_incarnation(parts):
    parts.records[0][1][0]["manifest"] = "x"


def odd_blobs(parts):
    parts.records[0][1][0]["blobs"] = [["a"]]


def no_number(parts):
    del parts.records[0][1][0]["number"]


def version_last(parts):
    parts.records[0][1].reverse()


def more_settings(parts):
    parts.info = json.dumps({"format": 1, "store": "a", "catalog": "b", "limits": {"blob": 1}, "more": 1}).encode()


def other_settings(parts):
    parts.info = StoreInfo("a" * 32, "b" * 32).to_bytes()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (no_manifest, "tells of [ab]:1, whose manifest is not in"),
        (no_blob, "names no version that has the blobs which are left out"),
        (stray_blob, "belongs to no version"),
        (stray_manifest, "belongs to no version"),
        (another_version, "names other versions than the records"),
        (another_name, "names other versions than the records"),
        (no_version, "does not tell of one version"),
        (two_versions, "does not tell of one version"),
        (nothing_done, "does not tell of one version"),
        (retired, "says 'retire', which no bundle does"),
        (odd_digest, "does not tell of a version as a journal does"),
        (odd_incarnation, "does not tell of a version as a journal does"),
        (odd_blobs, "does not tell of a version as a journal does"),
        (no_number, "does not tell of a version as a journal does"),
        (version_last, "does not tell of a version as a journal does"),
        (more_settings, "says more than it should"),
        (other_settings, "is not record 1 of this bundle"),
    ],
)
def test_documents_that_do_not_agree_are_refused_with_their_offset(made, tmp_path, change, message):
    parts = Parts(made)
    change(parts)
    parts.write(tmp_path / "y.tar")
    with pytest.raises(Corrupt, match=rf"at byte \d+ .*{message}") as caught, open_bundle(tmp_path / "y.tar"):
        pass
    with TarBlobs(tmp_path / "y.tar") as blobs:
        assert caught.value.facts["offset"] in {blobs.offset(key) for key in blobs.keys("")}


def replaced(path, prefix, change):
    """The bundle with one document changed, names and sizes left as they are"""
    raw = bytearray(path.read_bytes())
    with TarBlobs(path) as blobs:
        key = next(iter(blobs.keys(prefix)))
        start, data = blobs.offset(key), blobs.read(key)
    new = change(data)
    assert len(new) == len(data)
    raw[start : start + len(new)] = new
    path.write_bytes(raw)


@pytest.mark.parametrize(
    ("prefix", "change", "message"),
    [
        ("journal/", lambda raw: b"x" + raw[1:], "is no record"),
        ("journal/", lambda raw: raw.replace(b'"loss":0.5', b'"loss":0.4'), "does not name what the records"),
        ("journal/", lambda raw: raw.replace(b'"alias":"prod"', b'"alias":"test"'), "does not name what the records"),
        ("journal/", lambda raw: raw.replace(b'"serial":1', b'"serial":2'), "is not record 1 of this bundle"),
        ("bundle.json", lambda raw: raw.replace(b'"a:1"', b'"a:2"'), "does not name what the records"),
        ("artstore.json", lambda raw: raw.replace(b'"format": 1', b'"format":  '), "."),
    ],
)
def test_a_document_changed_in_its_place_is_found(made, prefix, change, message):
    replaced(made, prefix, change)
    with pytest.raises((Corrupt, Invalid), match=message), open_bundle(made):
        pass


def test_a_record_of_a_newer_format_asks_for_an_upgrade(made):
    replaced(made, "journal/", lambda raw: re.sub(rb'"format":1', b'"format":2', raw))
    with pytest.raises(Invalid, match="upgrade"), open_bundle(made):
        pass


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=250)
@given(data=st.data(), change=st.integers(1, 255))
def test_any_changed_byte_is_found_when_it_is_opened_or_when_it_is_read(made, data, change):
    raw = made.read_bytes()
    at = data.draw(st.integers(0, len(raw) - 1))
    spoiled = made.with_name("spoiled.tar")
    spoiled.write_bytes(raw[:at] + bytes([raw[at] ^ change]) + raw[at + 1 :])
    try:
        with open_bundle(spoiled) as found:
            objects = [key for key in found.blobs.keys("") if parse_object(key)]
            wrong = [key for key in objects if Digest.of(found.blobs.read(key)) != parse_object(key).digest]
    except StoreError:
        return
    # the ids and limits of artstore.json, which comes first, say nothing of what is carried
    assert len(wrong) == 1 or 512 <= at < 1024


def test_the_label_and_the_records_are_canonical(made):
    with TarBlobs(made) as blobs:
        for key in ("bundle.json", *blobs.keys("journal/"), *blobs.keys("manifests/")):
            assert rfc8785.dumps(json.loads(blobs.read(key))) == blobs.read(key)
