"""The journal: one chain without gaps"""

import rfc8785

from artifactstore.catalog.journal import append
from artifactstore.catalog.tables import journal
from tests.contract.catalog import LATEST, bodies, check_chain, manifest_of, rows, save


def filled(catalog):
    return [save(catalog, manifest_of(b"%d" % number), aliases=(LATEST,)) for number in range(3)]


def test_before_the_first_record(catalog):
    assert catalog.journal.head() == (0, None)
    assert catalog.journal.log() == catalog.journal.pending() == []
    assert not catalog.journal.knows("none")


def test_records_are_canonical_and_in_order(catalog):
    done = filled(catalog)
    records = catalog.journal.log()
    assert [record.serial for record in records] == [3, 2, 1]
    assert [record.txid for record in records] == [one.txid for one in reversed(done)]
    assert [record.serial for record in catalog.journal.log(limit=1)] == [3]
    for record, body in zip(reversed(records), bodies(catalog), strict=True):
        assert record.body == rfc8785.dumps(body)
        assert body["format"] == 1
    assert all(catalog.journal.knows(one.txid) for one in done)
    check_chain(catalog)


def test_what_is_not_exported_is_pending(catalog):
    names = [(one.serial, one.txid) for one in filled(catalog)]
    assert [record.serial for record in catalog.journal.pending(limit=2)] == [1, 2]
    catalog.journal.exported([names[0], names[2]])
    assert [record.serial for record in catalog.journal.pending()] == [2]
    catalog.journal.exported([])
    catalog.journal.exported([names[1]])
    assert catalog.journal.pending() == []


def test_a_record_in_the_place_of_an_exported_one_stays_pending(catalog):
    filled(catalog)
    catalog.journal.exported([(1, "0" * 32)])
    assert [record.serial for record in catalog.journal.pending()] == [1, 2, 3]


def test_actions_of_one_transaction_stand_in_one_record(catalog):
    done = filled(catalog)[0]
    at = catalog.database.write(catalog.database.now)
    serial = catalog.database.write(lambda connection: append(connection, "t", [{"do": "x"}, {"do": "y"}], at))
    assert serial == 4
    last = bodies(catalog)[3]
    assert (last["txid"], last["at"], [action["do"] for action in last["actions"]]) == ("t", at, ["x", "y"])
    assert rows(catalog, journal)[0].txid == done.txid
