"""What every place for blobs does, whatever it is made of; `tests/blobs/test_contract.py` runs it against each"""

from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from artifactstore.blobs.layout import (
    QUARANTINE,
    SETTINGS_KEY,
    blob_key,
    journal_key,
    manifest_key,
    new_incarnation,
)
from artifactstore.blobs.wrap import Verified
from artifactstore.core.digest import Digest
from artifactstore.core.errors import Conflict, Corrupt, Exists, Invalid, LeaseLost, NotFound

DATA = bytes(range(256)) * 40
BAD_KEYS = [
    "",
    "/",
    "/a",
    "a/",
    "a//b",
    ".",
    "..",
    "../a",
    "a/../b",
    "a/./b",
    "a\\b",
    "C:x",
    "a\0",
    "a\n",
    "a b",
    "ü",
    ".a",
]
FEW = settings(max_examples=12, deadline=None)


def key_of(data: bytes) -> str:
    return blob_key(Digest.of(data), new_incarnation())


def put(place, *contents: bytes, owner: str = "writer") -> list[str]:
    """Publish these contents as blobs and return their keys"""
    batch = place.batch(owner)
    keys = [key_of(data) for data in contents]
    for key, data in zip(keys, contents, strict=True):
        batch.write(key, data)
    batch.publish()
    return keys


class ReaderContract:
    """Fixtures: `reader`, and `place`, the store that it reads from"""

    def test_bytes_come_back_bit_for_bit(self, place, reader):
        @FEW
        @given(data=st.binary(max_size=300_000) | st.sampled_from([b"", b"\0", bytes(4096), bytes(4097)]))
        def holds(data):
            [key] = put(place, data)
            assert reader.read(key) == data
            assert reader.size(key) == len(data)
            assert reader.read(key, 0, len(data)) == data

        holds()

    def test_a_range_is_that_range(self, place, reader):
        [key] = put(place, DATA)

        @FEW
        @given(span=st.tuples(st.integers(0, len(DATA)), st.integers(0, len(DATA))).map(sorted))
        def holds(span):
            start, end = span
            assert reader.read(key, start, end - start) == DATA[start:end]
            assert reader.read(key, start) == DATA[start:]
            buffer = bytearray(end - start + 2)
            reader.read_into(key, memoryview(buffer)[1:-1], start)
            assert bytes(buffer) == b"\0" + DATA[start:end] + b"\0"

        holds()

    @pytest.mark.parametrize(
        ("start", "length"),
        [(0, 1 + len(DATA)), (len(DATA), 1), (len(DATA) + 1, None), (1 << 40, 1), (len(DATA) + 1, 0)],
    )
    def test_an_object_that_ends_too_early_is_corrupt(self, place, reader, start, length):
        [key] = put(place, DATA)
        with pytest.raises(Corrupt) as error:
            reader.read(key, start, length)
        assert error.value.code == "corrupt.truncated"
        assert error.value.facts["kind"] == "truncated"
        assert error.value.facts["key"] == key
        with pytest.raises(Corrupt):
            reader.read_into(key, memoryview(bytearray(start % 9 + 1)), len(DATA))
        assert reader.read(key) == DATA

    def test_what_is_not_here_is_not_found(self, place, reader):
        key = key_of(b"never written")
        for ask in (
            lambda: reader.size(key),
            lambda: reader.read(key),
            lambda: reader.read(key, 0, 0),
            lambda: reader.read(key, 0, 5),
            lambda: reader.read_into(key, memoryview(bytearray(3))),
        ):
            with pytest.raises(NotFound, match=key) as error:
                ask()
            assert error.value.facts["key"] == key

    def test_negative_spans_are_invalid(self, place, reader):
        [key] = put(place, DATA)
        for start, length in [(-1, 1), (0, -1), (-5, None)]:
            with pytest.raises(Invalid):
                reader.read(key, start, length)

    def test_a_key_that_is_no_clean_path_is_invalid(self, reader):
        for key in BAD_KEYS:
            for ask in (reader.read, reader.size, lambda key: reader.read_into(key, memoryview(bytearray(1)))):
                with pytest.raises(Invalid):
                    ask(key)

    def test_verified_reads_tell_damage_from_truncation(self, place, reader, tamper):
        flipped, cut = put(place, DATA, DATA[1:])
        tamper(flipped, bytes([DATA[0] ^ 1]) + DATA[1:])
        tamper(cut, DATA[1:-1])
        verified = Verified(reader)
        with pytest.raises(Corrupt) as error:
            verified.read(flipped)
        assert error.value.facts == {"kind": "corrupt", "key": flipped, "digest": str(Digest.of(DATA))}
        with pytest.raises(Corrupt) as error:
            verified.read(flipped, 0, len(DATA))
        assert error.value.facts["kind"] == "corrupt"
        with pytest.raises(Corrupt):
            verified.read_into(flipped, memoryview(bytearray(len(DATA))))
        with pytest.raises(Corrupt) as error:
            verified.read(cut, 0, len(DATA) - 1)
        assert error.value.facts["kind"] == "truncated"
        assert error.value.facts["digest"] == str(Digest.of(DATA[1:]))


class StoreContract(ReaderContract):
    """Fixture: `place`; `staged` says that a batch is invisible before it is published"""

    staged = True

    @pytest.fixture
    def reader(self, place):
        return place

    def test_preparing_twice_changes_nothing(self, place):
        [key] = put(place, DATA)
        place.prepare()
        assert place.read(key) == DATA
        assert place.url
        assert place.free() is None or place.free() > 0

    @pytest.mark.parametrize("form", [bytes, bytearray, memoryview])
    def test_every_buffer_is_taken(self, place, form):
        batch = place.batch("writer")
        key = key_of(DATA)
        batch.write(key, form(DATA))
        batch.publish()
        assert place.read(key) == DATA

    def test_manifests_records_and_settings_are_objects_too(self, place):
        keys = [manifest_key(Digest.of(b"v"), new_incarnation()), journal_key("catalog", 7, "0abc"), SETTINGS_KEY]
        batch = place.batch("writer")
        for key in keys:
            batch.write(key, key.encode())
        batch.publish()
        assert [place.read(key).decode() for key in keys] == keys
        assert list(place.keys("journal/")) == keys[1:2]

    def test_publishing_leaves_no_leftovers_and_may_be_repeated(self, place):
        batch = place.batch("writer")
        key = key_of(DATA)
        batch.write(key, DATA)
        batch.publish()
        batch.publish()
        batch.discard()
        assert place.read(key) == DATA
        assert place.owners() == []

    def test_a_batch_can_be_filled_again_after_publishing(self, place):
        batch = place.batch("writer")
        keys = [key_of(b"one"), key_of(b"two")]
        for key, data in zip(keys, (b"one", b"two"), strict=True):
            batch.write(key, data)
            batch.publish()
        assert [place.read(key) for key in keys] == [b"one", b"two"]

    def test_a_discarded_batch_leaves_nothing(self, place):
        batch = place.batch("writer")
        keys = [key_of(b"one"), key_of(b"two")]
        batch.write(keys[0], b"one")
        batch.write(keys[1], b"two")
        batch.discard()
        batch.discard()
        assert list(place.keys("")) == []
        assert place.owners() == []
        batch.publish()
        with pytest.raises(NotFound):
            place.read(keys[0])

    def test_an_interrupted_batch_is_invisible_and_can_be_dropped(self, place):
        [other] = put(place, b"other", owner="other")
        batch = place.batch("dead")
        key = key_of(DATA)
        batch.write(key, DATA)
        if not self.staged:
            return
        assert list(place.keys("")) == [other]
        assert list(place.keys("tmp/")) == []
        with pytest.raises(NotFound):
            place.read(key)
        assert place.owners() == ["dead"]
        place.drop("dead")
        place.drop("dead")
        assert place.owners() == []
        with pytest.raises(LeaseLost):
            batch.publish()
        assert list(place.keys("")) == [other]

    def test_batches_of_one_owner_do_not_disturb_each_other(self, place):
        first, second = place.batch("writer"), place.batch("writer")
        keys = [key_of(b"one"), key_of(b"two"), key_of(b"three")]
        first.write(keys[0], b"one")
        second.write(keys[1], b"two")
        first.discard()
        second.publish()
        first.write(keys[2], b"three")
        first.publish()
        assert set(place.keys("")) == set(keys[1:])

    def test_a_key_is_written_once(self, place):
        [key] = put(place, DATA)
        batch = place.batch("again")
        if self.staged:
            batch.write(key, b"something else")
            with pytest.raises(Exists):
                batch.publish()
            batch.discard()
        else:
            batch.write(key, DATA)
            batch.publish()
        assert place.read(key) == DATA

    def test_a_refused_batch_shows_nothing(self, place):
        if not self.staged:
            return
        [key] = put(place, DATA)
        batch = place.batch("again")
        fresh = key_of(b"fresh")
        batch.write(fresh, b"fresh")
        batch.write(key, DATA)
        with pytest.raises(Exists):
            batch.write(key, DATA)
        with pytest.raises(Exists):
            batch.publish()
        assert list(place.keys("")) == [key]

    def test_eight_threads_fill_one_batch(self, place):
        contents = [bytes([n]) * (n * 997) for n in range(48)]
        keys = [key_of(data) for data in contents]
        batch = place.batch("writer")
        with ThreadPoolExecutor(8) as pool:
            list(pool.map(batch.write, keys, contents))
        batch.publish()
        assert list(place.keys("blobs/")) == sorted(keys)
        with ThreadPoolExecutor(8) as pool:
            assert list(pool.map(place.read, keys)) == contents

    def test_keys_come_in_order_and_by_prefix(self, place):
        blobs = put(place, *(bytes([n]) for n in range(30)))
        batch = place.batch("writer")
        records = [journal_key("one", serial, "aa") for serial in (10, 9, 2)] + [journal_key("one-more", 1, "bb")]
        for key in records:
            batch.write(key, b"{}")
        batch.publish()
        assert list(place.keys("")) == sorted([*blobs, *records])
        assert list(place.keys("journal/")) == sorted(records)
        assert list(place.keys("journal/one/")) == sorted(records[:3])
        assert list(place.keys("journal/one")) == sorted(records)
        for prefix in (blobs[0][:8], blobs[0][:9], blobs[0][:20], blobs[0], "blobs/zz/", "manifests/", "nothing"):
            assert list(place.keys(prefix)) == sorted(key for key in [*blobs, *records] if key.startswith(prefix))
        with pytest.raises(Invalid):
            place.keys("../")

    def test_sizes_are_those_of_the_keys(self, place):
        keys = put(place, *(bytes(n) for n in (0, 1, 5000)))
        assert sorted(place.sizes("")) == sorted(zip(keys, (0, 1, 5000), strict=True))
        assert list(place.sizes(keys[2])) == [(keys[2], 5000)]
        assert list(place.sizes("manifests/")) == []
        with pytest.raises(Invalid):
            list(place.sizes("../"))

    def test_replacing_puts_whole_bytes_in_place_of_others(self, place):
        key = journal_key("catalog", 7, "0abc")
        for data in (b"first", b"", DATA, DATA):
            place.replace(key, memoryview(data))
            assert place.read(key) == data
        place.replace(SETTINGS_KEY, b"{}")
        assert list(place.keys("")) == sorted([SETTINGS_KEY, key])
        assert place.owners() == []

    def test_readers_see_one_or_the_other_while_it_is_replaced(self, place):
        contents = [bytes([n]) * 70_000 for n in range(8)]
        place.replace(SETTINGS_KEY, contents[0])
        with ThreadPoolExecutor(8) as pool:
            writing = [pool.submit(place.replace, SETTINGS_KEY, data) for data in contents]
            seen = {place.read(SETTINGS_KEY) for _ in range(20)}
            assert {type(one.exception()) for one in writing} <= {type(None), Conflict}
        assert seen | {place.read(SETTINGS_KEY)} <= set(contents)
        assert list(place.keys("")) == [SETTINGS_KEY]

    def test_quarantine_keeps_the_bytes_aside(self, place):
        bad, good = put(place, DATA, b"good")
        place.quarantine(bad)
        place.quarantine(bad)
        place.quarantine(key_of(b"never written"))
        assert list(place.keys("")) == [good]
        with pytest.raises(NotFound):
            place.read(bad)
        [aside] = place.keys(QUARANTINE)
        assert aside == QUARANTINE + bad
        assert place.read(aside) == DATA

    def test_delete_removes_exactly_one_and_may_be_repeated(self, place):
        gone, stays = put(place, DATA, DATA)
        place.delete(gone)
        place.delete(gone)
        assert list(place.keys("")) == [stays]
        assert place.read(stays) == DATA

    def test_no_verb_takes_an_unclean_key(self, place):
        for key in BAD_KEYS:
            for call in (
                place.delete,
                place.quarantine,
                lambda key: place.replace(key, b""),
                lambda key: place.batch("writer").write(key, b""),
            ):
                with pytest.raises(Invalid):
                    call(key)

    def test_an_owner_is_a_plain_name(self, place):
        for owner in ("", ".", "..", "a/b", "/a", "a\0", "x" * 129):
            for call in (place.batch, place.drop):
                with pytest.raises(Invalid):
                    call(owner)
