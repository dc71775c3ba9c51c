"""The journal beside the blobs: one chain, also across rebuilt catalogs, and errors that name the record"""

import contextlib

import pytest
import rfc8785
from hypothesis import given, settings
from hypothesis import strategies as st

from artifactstore.blobs.layout import journal_key
from artifactstore.blobs.local import LocalBlobs
from artifactstore.blobs.memory import MemoryBlobs
from artifactstore.blobs.wrap import Counting
from artifactstore.catalog.open import create_catalog
from artifactstore.catalog.url import sqlite_url
from artifactstore.core.errors import Conflict, Corrupt, Invalid
from artifactstore.core.settings import Settings
from artifactstore.journal import Origin, begin, export, is_behind, parse_name, survey, trace
from tests.contract.catalog import manifest_of, save
from tests.journals import body, fill, put, rebuilt, txid


@pytest.fixture(params=["local", "memory"])
def blobs(request, tmp_path):
    blobs = LocalBlobs(tmp_path / "store") if request.param == "local" else MemoryBlobs()
    blobs.prepare()
    return blobs


def serials(chain, after=0):
    return [record.serial for record in chain.records(after)]


class TestChain:
    def test_of_nothing_is_empty(self, blobs):
        chain = trace(blobs, "one")
        assert (chain.parts, chain.head, serials(chain)) == ((), Origin("one", 0, None), [])
        assert chain.txid(0) is chain.txid(1) is None

    def test_records_come_in_order(self, blobs):
        fill(blobs, "one", 1, 12)
        chain = trace(blobs, "one")
        assert serials(chain) == list(range(1, 13))
        assert chain.head == Origin("one", 12, txid(12))
        assert [chain.txid(serial) for serial in (0, 1, 12, 13)] == [None, txid(1), txid(12), None]

    @pytest.mark.parametrize("after", [0, 1, 2, 3, 4, 5, 6, 7, 9])
    def test_it_can_be_read_from_anywhere(self, blobs, after):
        fill(blobs, "one", 1, 3)
        rebuilt(blobs, "two", "one", 3)
        fill(blobs, "two", 5, 6)
        assert serials(trace(blobs, "two"), after) == list(range(after + 1, 7))

    def test_keys_that_are_no_records_are_passed_over(self, blobs):
        fill(blobs, "one", 1, 2)
        for key in ("journal/one/note.txt", "journal/one/000000000003-xyz.json", "journal/one/3-" + txid(3) + ".json"):
            blobs.replace(key, b"?")
        assert serials(trace(blobs, "one")) == [1, 2]
        assert parse_name("blobs/000000000003-" + txid(3) + ".json") is None

    def test_only_first_records_are_read_to_find_it(self):
        blobs = Counting(MemoryBlobs())
        fill(blobs, "one", 1, 30)
        rebuilt(blobs, "two", "one", 30)
        trace(blobs, "two")
        assert blobs.calls["read"] == 2


class TestAcrossCatalogs:
    def test_it_goes_back_through_every_one(self, blobs):
        fill(blobs, "one", 1, 3)
        rebuilt(blobs, "two", "one", 3)
        fill(blobs, "two", 5, 5)
        rebuilt(blobs, "three", "two", 5)
        chain = trace(blobs, "three")
        assert [(record.catalog, record.serial) for record in chain.records()] == [
            *(("one", serial) for serial in (1, 2, 3)),
            *(("two", serial) for serial in (4, 5)),
            ("three", 6),
        ]
        assert chain.head == Origin("three", 6, txid(6))
        assert list(survey(blobs).living) == ["three"]

    def test_what_the_old_one_wrote_later_is_no_part_of_it(self, blobs):
        fill(blobs, "one", 1, 5)
        rebuilt(blobs, "two", "one", 3, line="a")
        assert serials(trace(blobs, "two")) == [1, 2, 3, 4]
        assert [record.catalog for record in trace(blobs, "two").records()][-1] == "two"

    def test_one_that_was_empty(self, blobs):
        rebuilt(blobs, "two", "one", 0)
        fill(blobs, "one", 1, 2)
        assert serials(trace(blobs, "two")) == [1]
        assert list(survey(blobs).living) == ["two"]

    def test_the_record_it_goes_on_from_must_be_there(self, blobs):
        fill(blobs, "one", 1, 2)
        rebuilt(blobs, "two", "one", 3)
        with pytest.raises(Corrupt, match=f"journal/one/000000000003-{txid(3)}.json .* is missing"):
            trace(blobs, "two")

    def test_the_record_it_goes_on_from_must_be_that_one(self, blobs):
        fill(blobs, "one", 1, 3, line="b")
        rebuilt(blobs, "two", "one", 3)
        with pytest.raises(Corrupt, match=txid(3)):
            trace(blobs, "two")

    def test_a_circle_ends(self, blobs):
        rebuilt(blobs, "one", "two", 4)
        rebuilt(blobs, "two", "one", 5)
        fill(blobs, "one", 6, 6)
        for one in ("one", "two"):
            with pytest.raises(Corrupt):
                trace(blobs, one)
        blobs = MemoryBlobs()
        rebuilt(blobs, "one", "one", 4)
        with pytest.raises(Corrupt):
            trace(blobs, "one")

    @pytest.mark.parametrize(
        "changes",
        [{"from": "../x"}, {"from": 3}, {"serial": "x"}, {"serial": None}, {"serial": 7}, {"txid": "f" * 16}],
    )
    def test_a_first_record_that_does_not_say_from_where(self, blobs, changes):
        fill(blobs, "one", 1, 3)
        key = rebuilt(blobs, "two", "one", 3, **changes)
        with pytest.raises(Corrupt, match=key):
            trace(blobs, "two")

    def test_several_heads_are_all_told(self, blobs):
        assert list(survey(blobs).living) == []
        fill(blobs, "one", 1, 3)
        rebuilt(blobs, "two", "one", 3)
        rebuilt(blobs, "three", "one", 2)
        assert list(survey(blobs).living) == ["three", "two"]

    def test_a_catalog_that_others_set_aside_is_no_head(self, blobs):
        fill(blobs, "one", 1, 3)
        begin(blobs, "lost")
        rebuilt(blobs, "two", "one", 3)
        rebuilt(blobs, "three", "one", 3, over=["two", "lost"])
        assert survey(blobs) == (frozenset(["one", "two", "three", "lost"]), ("three",))

    def test_a_catalog_that_was_only_begun_is_known(self, blobs):
        begin(blobs, "lost")
        begin(blobs, "lost")
        assert survey(blobs) == (frozenset(["lost"]), ())
        assert trace(blobs, "lost").parts == ()

    def test_it_can_end_before_the_last_record(self, blobs):
        fill(blobs, "one", 1, 3)
        fill(blobs, "one", 5, 7)
        assert serials(trace(blobs, "one", 3)) == [1, 2, 3]
        assert trace(blobs, "one", 3).head == Origin("one", 3, txid(3))
        assert serials(trace(blobs, "one", 0)) == []
        with pytest.raises(Corrupt):
            trace(blobs, "one", 4)


class TestDamage:
    """Each error names the record"""

    @pytest.fixture
    def keys(self, blobs):
        return fill(blobs, "one", 1, 6)

    def refuse(self, blobs, key, kind=Corrupt):
        with pytest.raises(kind, match=key) as caught:
            serials(trace(blobs, "one"))
        assert caught.value.facts["key"].startswith(key)
        return caught.value

    @pytest.mark.parametrize("lost", [1, 2, 5])
    def test_a_gap(self, blobs, keys, lost):
        blobs.delete(keys[lost - 1])
        assert "is missing" in self.refuse(blobs, f"journal/one/{lost:012d}-").message

    def test_one_that_goes_away_while_it_is_read(self, blobs, keys):
        chain = trace(blobs, "one")
        blobs.delete(keys[3])
        with pytest.raises(Corrupt, match=keys[3]):
            serials(chain)

    def test_two_with_one_serial(self, blobs, keys):
        twin = put(blobs, body("one", 3, line="b"))
        assert keys[2] in self.refuse(blobs, twin).message

    def test_one_of_another_catalog(self, blobs, keys):
        put(blobs, body("two", 4), name=("one", 4, txid(4)))
        self.refuse(blobs, keys[3])

    @pytest.mark.parametrize("changes", [{"serial": 5}, {"txid": "f" * 16}])
    def test_one_under_the_name_of_another(self, blobs, keys, changes):
        put(blobs, body("one", 4, **changes), name=("one", 4, txid(4)))
        self.refuse(blobs, keys[3])

    @pytest.mark.parametrize("previous", [None, "f" * 16, txid(2), txid(4)])
    def test_one_that_does_not_follow(self, blobs, keys, previous):
        put(blobs, body("one", 4, previous=previous))
        self.refuse(blobs, keys[3])

    def test_the_first_follows_nothing(self, blobs, keys):
        put(blobs, body("one", 1, previous="f" * 16))
        self.refuse(blobs, keys[0])

    def test_a_newer_format(self, blobs, keys):
        put(blobs, body("one", 4, format=2))
        assert "upgrade" in self.refuse(blobs, keys[3], Invalid).message

    def test_bytes_cut_off(self, blobs, keys):
        whole = blobs.read(keys[3])
        for end in range(0, len(whole), 7):
            blobs.replace(keys[3], whole[:end])
            self.refuse(blobs, keys[3])

    def test_a_flipped_bit_is_refused_or_changes_what_only_actions_and_times_say(self, blobs, keys):
        record = body("one", 4, {"do": "policy", "pattern": "p", "rules": None})
        whole = rfc8785.dumps(record)

        @settings(max_examples=150, deadline=None)
        @given(st.integers(0, len(whole) * 8 - 1))
        def holds(bit):
            blobs.replace(keys[3], bytes(byte ^ (1 << bit % 8) * (at == bit // 8) for at, byte in enumerate(whole)))
            with contextlib.suppress(Corrupt, Invalid):
                read = list(trace(blobs, "one").records())[3]
                assert (read.catalog, read.serial, read.txid, read.previous) == ("one", 4, txid(4), txid(3))

        holds()


@pytest.fixture
def catalog(tmp_path):
    catalog = create_catalog(
        sqlite_url(tmp_path / "catalog.sqlite"), store_id="store", catalog_id="one", settings=Settings()
    )
    yield catalog
    catalog.close()


class TestExport:
    def test_every_pending_record_once(self, blobs, catalog):
        for number in range(12):
            save(catalog, manifest_of(b"%d" % number))
        export(blobs, catalog)
        assert catalog.journal.pending() == []
        assert [record.raw for record in trace(blobs, "one").records()] == [
            record.body for record in reversed(catalog.journal.log())
        ]
        before = list(blobs.keys(""))
        export(blobs, catalog)
        assert list(blobs.keys("")) == before

    def test_one_that_another_process_wrote_and_did_not_tell_is_written_again(self, blobs, catalog):
        save(catalog, manifest_of(b"1"))
        [record] = catalog.journal.pending()
        key = journal_key("one", 1, record.txid)
        blobs.replace(key, b"half")
        export(blobs, catalog)
        assert blobs.read(key) == record.body

    def test_a_record_of_another_under_the_same_serial_is_told(self, blobs, catalog):
        save(catalog, manifest_of(b"1"))
        twin = put(blobs, body("one", 1))
        with pytest.raises(Conflict, match=twin) as caught:
            export(blobs, catalog)
        assert caught.value.code == "conflict.catalog-parted"


class TestBehind:
    @pytest.fixture
    def exported(self, blobs, catalog):
        for number in range(11):
            save(catalog, manifest_of(b"%d" % number))
        export(blobs, catalog)
        return catalog

    def test_a_catalog_that_knows_all_is_not(self, blobs, exported):
        assert not is_behind(blobs, exported)

    def test_a_new_one_is_not(self, blobs, catalog):
        assert not is_behind(blobs, catalog)

    @pytest.mark.parametrize("serial", [12, 20])
    def test_one_record_more_is_seen(self, blobs, exported, serial):
        put(blobs, body("one", serial))
        assert is_behind(blobs, exported) is (serial == 12)

    def test_another_record_in_place_of_the_last_is_told(self, blobs, exported):
        put(blobs, body("one", 11))
        with pytest.raises(Conflict):
            is_behind(blobs, exported)

    def test_another_record_in_place_of_one_not_exported_is_told(self, blobs, exported):
        for number in (20, 21, 22):
            save(exported, manifest_of(b"%d" % number))
        put(blobs, body("one", 12))
        with pytest.raises(Conflict):
            is_behind(blobs, exported)

    def test_it_costs_one_listing(self, exported, blobs):
        counting = Counting(blobs)
        assert not is_behind(counting, exported)
        assert counting.calls == {"keys": 1}
