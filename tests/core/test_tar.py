"""The headers of a tar: one for each name and size, and no other is read"""

import io
import tarfile

import pytest
from hypothesis import given
from hypothesis import strategies as st

from artifactstore.core.errors import Corrupt
from artifactstore.core.tar import BLOCK, END, Member, header, padded, read_header
from tests.tars import member, raw_header

NAMES = st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E), min_size=1, max_size=100)
SIZES = st.integers(0, 8**11 - 1)


@given(NAMES, SIZES)
def test_what_is_written_is_read(name, size):
    assert read_header(header(name, size), 1024) == Member(name, size, 1024)


@given(NAMES, SIZES, st.integers(0, BLOCK - 1), st.integers(1, 255))
def test_a_header_with_any_byte_changed_is_refused(name, size, at, change):
    block = bytearray(header(name, size))
    block[at] ^= change
    with pytest.raises(Corrupt, match="At byte 7 "):
        read_header(bytes(block), 7)


@given(
    st.lists(
        st.tuples(NAMES.filter(lambda name: name.strip("./") and name[-1] != "/"), st.binary(max_size=2000)), max_size=4
    )
)
def test_pythons_own_reader_agrees(files):
    raw = b"".join(member(name, data) for name, data in files) + END
    with tarfile.open(fileobj=io.BytesIO(raw)) as found:
        members = found.getmembers()
        assert [(one.name, one.isreg(), one.mode, one.mtime, one.uid) for one in members] == [
            (name, True, 0o444, 0, 0) for name, _ in files
        ]
        assert [found.extractfile(one).read() for one in members] == [data for _, data in files]


def test_members_stand_behind_each_other():
    one = Member("a", 513, 0)
    assert (one.data, one.end) == (512, 512 + 1024)
    assert [padded(size) for size in (0, 1, 512, 513)] == [0, 512, 512, 1024]


@pytest.mark.parametrize(("name", "size"), [("", 1), ("x" * 101, 1), ("x", -1), ("x", 8**11)])
def test_what_has_no_place_in_a_header_is_not_written(name, size):
    with pytest.raises(ValueError, match="no place"):
        header(name, size)


@pytest.mark.parametrize(
    ("block", "message"),
    [
        (b"\1" * BLOCK, "it is no header of a tar"),
        (raw_header(magic=b"ustar "), "wrong checksum, or fields"),
        (raw_header(kind=b"1", link=b"artstore.json"), "is a hard link"),
        (raw_header(kind=b"2", link=b"/etc/passwd"), "is a symbolic link"),
        (raw_header(kind=b"3"), "is a device"),
        (raw_header(kind=b"4"), "is a device"),
        (raw_header(kind=b"5"), "is a folder"),
        (raw_header(kind=b"6"), "is a FIFO"),
        (raw_header(kind=b"S"), "is a sparse file"),
        (raw_header(kind=b"L"), "is a long name"),
        (raw_header(kind=b"K"), "is a long name"),
        (raw_header(kind=b"x"), "is a pax header"),
        (raw_header(kind=b"g"), "is a pax header"),
        (raw_header(kind=b"\0"), "of an old tar"),
        (raw_header(kind=b"Z"), "of the unknown type"),
        (raw_header(size=b"\xff" * 12), "no plain number"),
        (raw_header(size=b"\x80" + bytes(10) + b"\1"), "no plain number"),
        (raw_header(size=b"-0000000001\0"), "no plain number"),
        (raw_header(size=b"        001\0"), "no plain number"),
        (raw_header(size=b"000000000019"), "no plain number"),
        (raw_header(b""), "is no name"),
        (raw_header(b"a\0b"), "is no name"),
        (raw_header("ü".encode()), "is no name"),
        (raw_header(b"a\nb"), "is no name"),
        (raw_header(prefix=b"/etc"), "wrong checksum, or fields"),
        (raw_header(link=b"x"), "wrong checksum, or fields"),
        (raw_header(mode=b"0004777\0"), "wrong checksum, or fields"),
        (raw_header(uid=b"0001750\0"), "wrong checksum, or fields"),
        (raw_header(mtime=b"00000000001\0"), "wrong checksum, or fields"),
        (raw_header(checksum=b"000000\0 "), "wrong checksum, or fields"),
    ],
)
def test_what_no_bundle_has_is_named_with_its_offset(block, message):
    with pytest.raises(Corrupt, match=f"At byte 4096 .*{message}") as caught:
        read_header(block, 4096)
    assert (caught.value.code, caught.value.facts) == ("corrupt.archive", {"offset": 4096})
