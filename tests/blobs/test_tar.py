"""A bundle as a place for bytes: what is in it is read, and whatever no bundle has is refused where it stands"""

import os
import subprocess

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from artifactstore.blobs.layout import BLOBS, parse_object
from artifactstore.blobs.tar import MAX_DOCUMENT, TarBlobs
from artifactstore.core.bundle import Label
from artifactstore.core.digest import Digest
from artifactstore.core.errors import Corrupt, Denied, Invalid, NotFound, StoreError
from artifactstore.core.manifest import MAX_BLOB
from artifactstore.core.tar import BLOCK, END, header
from tests.contract.blobs import BAD_KEYS
from tests.tars import START, blob, member, raw_header, tar

DATA = bytes(range(256)) * 9
KEY = blob(DATA)[:90].decode()
AT = len(START)


@pytest.fixture
def write(tmp_path):
    def write(raw):
        path = tmp_path / "x.tar"
        path.write_bytes(raw)
        return path

    return write


@pytest.fixture
def blobs(write):
    with TarBlobs(write(tar(blob(DATA), blob(b"z")))) as blobs:
        yield blobs


def test_objects_are_read_whole_and_in_part(blobs):
    assert blobs.read(KEY) == DATA
    assert blobs.read(KEY, 7, 11) == DATA[7:18]
    assert blobs.read(KEY, len(DATA)) == b""
    buffer = bytearray(20)
    blobs.read_into(KEY, memoryview(buffer), 5)
    assert buffer == DATA[5:25]
    assert blobs.size(KEY) == len(DATA)
    assert blobs.offset(KEY) == AT + BLOCK


def test_keys_are_listed_in_order(blobs):
    assert list(blobs.keys("")) == sorted(blobs.keys(""))
    assert len(list(blobs.keys(""))) == 4
    assert list(blobs.keys("bundle")) == ["bundle.json"]
    assert dict(blobs.sizes(BLOBS))[KEY] == len(DATA)
    assert (blobs.has(KEY), blobs.has("journal/x")) == (True, False)
    with pytest.raises(Invalid):
        blobs.keys("../")


def test_what_is_not_in_is_not_found(blobs):
    with pytest.raises(NotFound, match="not in the bundle"):
        blobs.read(KEY[:-1] + "x")
    for key in BAD_KEYS:
        with pytest.raises(Invalid):
            blobs.size(key)


@pytest.mark.parametrize(("start", "length"), [(0, len(DATA) + 1), (len(DATA) + 1, None), (1, len(DATA))])
def test_a_read_past_the_end_is_corrupt(blobs, start, length):
    with pytest.raises(Corrupt, match="ends after"):
        blobs.read(KEY, start, length)


def test_nothing_can_be_written(blobs):
    for change in (
        blobs.prepare,
        lambda: blobs.batch("me"),
        lambda: blobs.replace("artstore.json", b""),
        lambda: blobs.quarantine(KEY),
        lambda: blobs.delete(KEY),
        lambda: blobs.trash(KEY),
    ):
        with pytest.raises(Denied, match="read only"):
            change()
    blobs.drop("me")
    assert (blobs.free(), blobs.purge(), blobs.owners()) == (0, 0, [])


def test_the_label_is_read_or_said_to_be_damaged(write, blobs):
    with pytest.raises(Corrupt, match=r"bundle\.json is damaged") as caught:
        blobs.label  # noqa: B018
    assert caught.value.facts["offset"] == 3 * BLOCK
    label = Label("ab" * 16, ())
    first = member("artstore.json", b"{}")
    with TarBlobs(write(first + member("bundle.json", label.to_bytes()) + END)) as found:
        assert found.label == label
    newer = label.to_bytes().replace(b'"format":1', b'"format":2')
    with TarBlobs(write(first + member("bundle.json", newer) + END)) as found, pytest.raises(Invalid, match="upgrade"):
        found.label  # noqa: B018


HOSTILE = {
    "hard link": (raw_header(KEY.encode(), kind=b"1", link=b"/etc/passwd"), AT),
    "symbolic link": (raw_header(KEY.encode(), kind=b"2", link=b"../../etc/passwd"), AT),
    "device": (raw_header(KEY.encode(), kind=b"3"), AT),
    "FIFO": (raw_header(KEY.encode(), kind=b"6"), AT),
    "folder": (raw_header(b"blobs/", kind=b"5", size=b"00000000000\0"), AT),
    "sparse file": (raw_header(KEY.encode(), kind=b"S"), AT),
    "long name": (raw_header(b"././@LongLink", kind=b"L"), AT),
    "pax header": (raw_header(b"pax", kind=b"x"), AT),
    "no name that a store": (member("../evil", b"x"), AT),
    "'/etc/passwd' is no name": (member("/etc/passwd", b"x"), AT),
    "'blobs/../x' is no name": (member("blobs/../x", b"x"), AT),
    r"'blobs\\\\..\\\\x' is no name": (member("blobs\\..\\x", b"x"), AT),
    "'catalog.sqlite' is no name": (member("catalog.sqlite", b"x"), AT),
    "'tmp/x' is no name": (member("tmp/x", b"x"), AT),
    r"\.z' is no name": (member(KEY + ".z", b"x"), AT),
    "quarantine/": (member(f"quarantine/{KEY[:70]}", b"x"), AT),
    "stands a second time": (blob(b"1") + blob(b"1"), AT + 2 * BLOCK),
    "artstore.json stands a second": (member("artstore.json", b"x"), AT),
    "says it has 0 bytes": (header(KEY, 0), AT),
    f"1 to {MAX_BLOB} may be": (header(KEY, MAX_BLOB + 1), AT),
    f"1 to {MAX_DOCUMENT} may be": (header("bundle.sig", MAX_DOCUMENT + 1), AT),
    "not zero": (header(KEY, 1) + b"x" + bytes(510) + b"y", AT + BLOCK + 1),
    "wrong checksum": (raw_header(KEY.encode(), checksum=b"000001\0 ") + bytes(BLOCK), AT),
    "no header of a tar": (b"\x1f\x8b" + bytes(510), AT),
    "no plain number": (raw_header(KEY.encode(), size=b"\xff" * 12), AT),
}


@pytest.mark.parametrize("what", HOSTILE)
def test_what_no_bundle_has_is_refused_with_its_offset(write, what):
    raw, offset = HOSTILE[what]
    path = write(tar(blob(b"first"), raw))
    at = offset + len(blob(b"first"))
    with pytest.raises(Corrupt, match=f"at byte {at} .*{what}") as caught:
        TarBlobs(path)
    assert caught.value.facts["offset"] == at


@pytest.mark.parametrize(
    ("raw", "message", "offset"),
    [
        (b"", "cut off", 0),
        (b"x" * 100, "cut off", 0),
        (b"PK\3\4" + bytes(2000), "no header of a tar", 0),
        (END, r"ends without artstore\.json", 0),
        (member("artstore.json", b"{}") + END, r"ends without bundle\.json", 1024),
        (blob(b"x") + END, r"where artstore\.json should be", 0),
        (member("artstore.json", b"{}") + blob(b"x") + END, r"where bundle\.json should be", 1024),
        (START, "cut off", AT),
        (START + END[:BLOCK], "cut off", AT + BLOCK),
        (START + END[:-1], "cut off", AT + len(END) - 1),
        (START + END + b"\0", "something follows its end", AT + BLOCK),
        (START + END + b"x" * 512, "something follows its end", AT + BLOCK),
        (START + END[:BLOCK] + b"x" * BLOCK, "something follows its end", AT + BLOCK),
        (START + blob(DATA)[:-600], "cut off", AT + len(blob(DATA)) - 600),
        (START + header(KEY, MAX_BLOB) + END, "which says it has 67108864 bytes", AT + BLOCK + len(END)),
    ],
)
def test_what_does_not_begin_or_end_as_a_bundle_is_refused(write, raw, message, offset):
    with pytest.raises(Corrupt, match=message) as caught:
        TarBlobs(write(raw))
    assert caught.value.facts["offset"] == offset


def test_more_files_than_a_bundle_has_are_refused(write):
    path = write(tar(*(blob(b"%d" % n) for n in range(5))))
    TarBlobs(path, most=7).close()
    with pytest.raises(Corrupt, match="more than 4 files") as caught:
        TarBlobs(path, most=4)
    assert caught.value.facts["offset"] == AT + 2 * 2 * BLOCK


@pytest.mark.parametrize("kind", ["link", "fifo", "folder"])
def test_what_is_no_regular_file_is_not_read(tmp_path, kind):
    path = tmp_path / "x.tar"
    if kind == "link":
        (tmp_path / "real").write_bytes(tar())
        path.symlink_to(tmp_path / "real")
    elif kind == "fifo":
        os.mkfifo(path)
    else:
        path.mkdir()
    with pytest.raises((Corrupt, Invalid)):
        TarBlobs(path)


def test_what_the_tar_of_the_system_writes_is_refused(tmp_path):
    (tmp_path / "artstore.json").write_text("{}")
    subprocess.run(["tar", "cf", tmp_path / "x.tar", "-C", tmp_path, "artstore.json"], check=True)
    with pytest.raises(Corrupt, match="at byte 0 "):
        TarBlobs(tmp_path / "x.tar")


def test_a_file_that_shrinks_while_it_is_read_is_told(write):
    path = write(tar(blob(DATA)))
    with TarBlobs(path) as blobs:
        os.truncate(path, AT + BLOCK + 10)
        with pytest.raises(Corrupt, match=f"ended at byte {AT + BLOCK + 10}"):
            blobs.read(KEY)


WHOLE = tar(blob(DATA), blob(b"z"), member("bundle.sig", b"{}"))


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=300)
@given(at=st.integers(0, len(WHOLE) - 1), change=st.integers(1, 255))
def test_any_changed_byte_is_found_or_belongs_to_the_bytes_of_one_object(write, at, change):
    raw = bytearray(WHOLE)
    raw[at] ^= change
    path = write(bytes(raw))
    try:
        blobs = TarBlobs(path)
    except StoreError as e:
        assert 0 <= e.facts["offset"] <= len(WHOLE)
        return
    with blobs:
        (inside,) = [key for key, size in blobs.sizes("") if 0 <= at - blobs.offset(key) < size]
        name = parse_object(inside)
        assert name is None or Digest.of(blobs.read(inside)) != name.digest


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=60)
@given(end=st.integers(0, len(WHOLE) - 1))
def test_no_piece_of_a_bundle_is_taken_for_a_whole_one(write, end):
    with pytest.raises(Corrupt, match="cut off"):
        TarBlobs(write(WHOLE[:end]))
