"""artstore status and doctor"""

import json

from tests.cli.calling import call, document, done
from tests.cli.test_integrity import damage


def test_the_store_in_a_few_lines(store):
    fields = dict(line.split("  ", 1) for line in done("status").splitlines())
    assert fields["store"].strip() == str(store)
    assert fields["versions"].strip() == "1"
    assert "damaged" not in fields
    shown = document("status")
    assert {"store", "store_id", "catalog", "versions", "blobs", "stored_bytes", "free_bytes", "leases"} <= set(shown)
    assert done("status", "-q").strip() == shown["store_id"]


def test_a_well_store_has_nothing_wrong(store):
    findings = {finding["what"]: finding["status"] for finding in document("doctor")["findings"]}
    assert {"store", "catalog", "free space", "file system", "permissions", "clock", "remotes"} <= set(findings)
    assert set(findings.values()) <= {"ok", "warn", "skipped"}
    assert done("doctor").splitlines()[0].split() == ["STATUS", "WHAT", "DETAIL"]
    assert document("doctor", "--offline")["findings"] != []


def test_known_damage_is_exit_code_4(store):
    damage(store)
    call("verify")
    assert "1 blobs; run artstore repair" in done("status")
    result = call("doctor", "--json")
    assert result.exit_code == 4
    assert {"damage"} == {one["what"] for one in json.loads(result.stdout)["findings"] if one["status"] == "fail"}
    assert "damage" in call("doctor", "-q").stdout.split()
