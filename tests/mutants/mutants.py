"""The mistakes: a rule of docs/protocol.md left out of the code, and the test that notices"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Mutant:
    """`old` occurs once in `file` and becomes `new`; `test` must then fail"""

    name: str
    file: str
    old: str
    new: str
    test: str

    def seed(self, text: str) -> str:
        """The file with the mistake in it"""
        if text.count(self.old) != 1:
            raise ValueError(f"{self.name}: {self.file} holds its place {text.count(self.old)} times, not once")
        return text.replace(self.old, self.new)


_COLLECT, _RETIRE, _SAVES = (f"artifactstore/catalog/{name}.py" for name in ("collect", "retire", "saves"))
_OPS = "artifactstore/ops/collect.py"
_DISK, _LOCAL, _LEASES = (
    "artifactstore/blobs/disk.py",
    "artifactstore/blobs/local.py",
    "artifactstore/catalog/leases.py",
)
_CONTRACT = "tests/catalog/test_contract.py"

MUTANTS = (
    # save
    Mutant(
        "no-file-sync",
        _DISK,
        "        os.fsync(fd)\n        if os.fstat",
        "        if os.fstat",
        "tests/blobs/test_local.py",
    ),
    Mutant("no-folder-sync", _LOCAL, "            sync_folder(folder)\n", "", "tests/blobs/test_local.py"),
    Mutant(
        "rows-before-bytes",
        "artifactstore/session.py",
        "        self._publish()\n        draft = Draft(",
        "        draft = Draft(",
        "tests/test_session.py",
    ),
    Mutant(
        "synchronous-normal",
        "artifactstore/catalog/engine.py",
        "synchronous=FULL",
        "synchronous=NORMAL",
        "tests/catalog/test_engine.py",
    ),
    Mutant("deferred-begin", "artifactstore/catalog/sql.py", "BEGIN IMMEDIATE", "BEGIN", "tests/catalog/test_sql.py"),
    Mutant(
        "no-store-lock",
        "artifactstore/catalog/sql.py",
        "                _lock(connection, self.settings.busy, exclusive=exclusive)",
        "                pass",
        "tests/catalog/test_sql.py",
    ),
    Mutant(
        "no-fence",
        _SAVES,
        'if not end(connection, lease_id, "done") or not all_pinned:',
        'end(connection, lease_id, "done")\n    if not all_pinned:',
        _CONTRACT,
    ),
    Mutant("lost-pins-commit", _SAVES, "or not all_pinned:", "or False:", "tests/catalog/test_saves.py"),
    Mutant(
        "old-incarnation-again",
        "artifactstore/blobs/layout.py",
        "    return secrets.token_hex(8)",
        '    return "0" * 16',
        "tests/ops/test_ingest.py",
    ),
    Mutant(
        "adopted-stays-condemned",
        "artifactstore/catalog/objects.py",
        'condemned = [before[each.grant.digest].id for each in written if _state(before, each) == "condemned"]',
        "condemned = []",
        _CONTRACT,
    ),
    Mutant(
        "unknown-commit-is-a-failure",
        "artifactstore/catalog/sql.py",
        "if settle is None or not is_in_doubt(e):",
        "if settle is None or is_in_doubt(e):",
        "tests/catalog/test_saves.py",
    ),
    Mutant(
        "acknowledged-for-another-catalog",
        "artifactstore/depot.py",
        "        self.export_journal()\n        self._check_named()",
        "        self.export_journal()",
        "tests/test_session.py",
    ),
    # retire and undo
    Mutant(
        "retire-trusts-the-plan",
        _RETIRE,
        "kept = _must_stay(connection, rows, at)",
        "kept: Held = {}",
        "tests/catalog/test_retire.py",
    ),
    Mutant(
        "lineage-one-step-only",
        "artifactstore/core/verdict.py",
        "        due.extend(new)\n",
        "",
        "tests/catalog/test_retire.py",
    ),
    Mutant(
        "undo-without-the-state",
        _RETIRE,
        "if one not in found or found[one].state not in PRESENT]",
        "if one not in found]",
        "tests/catalog/test_retire.py",
    ),
    Mutant(
        "undo-leaves-condemned",
        _RETIRE,
        'condemned = [row.id for row in found.values() if row.state == "condemned"]',
        "condemned: list[int] = []",
        "tests/catalog/test_retire.py",
    ),
    Mutant(
        "last-version-goes",
        _RETIRE,
        "    return [ids[0] for line, ids in going.items() if line not in safe]",
        "    return []",
        "tests/catalog/test_retire.py",
    ),
    # collect
    Mutant(
        "release-what-is-active",
        _COLLECT,
        'some = sa.select(version.c.id).where(version.c.state == "retired", held)',
        "some = sa.select(version.c.id).where(held)",
        "tests/catalog/test_collect.py",
    ),
    Mutant(
        "pins-ignored", _COLLECT, "return ~needed & ~pinned & ", "return ~needed & ", "tests/catalog/test_collect.py"
    ),
    Mutant(
        "base-of-live-rows-only",
        _COLLECT,
        "~sa.exists().where(based.c.base == table.c.digest)",
        '~sa.exists().where(based.c.base == table.c.digest, based.c.state == "live")',
        "tests/catalog/test_collect.py",
    ),
    Mutant(
        "grace-forgotten",
        _COLLECT,
        "table.c.condemned_at <= at - grace, _needless",
        "table.c.condemned_at <= at, _needless",
        "tests/catalog/test_collect.py",
    ),
    Mutant(
        "row-dropped-by-digest",
        _COLLECT,
        'here = (table.c.digest == sa.bindparam("of"), table.c.inc == sa.bindparam("was"))\n                    connection.execute(sa.delete(table).where(table.c.state == "deleting", *here), exactly)',
        'here = (table.c.digest == sa.bindparam("of"),)\n                    connection.execute(sa.delete(table).where(*here), exactly)',
        "tests/catalog/test_collect.py",
    ),
    Mutant(
        "work-of-the-living-taken",
        _COLLECT,
        'lease.c.id == table.c.owner, lease.c.state == "active")',
        "lease.c.id == table.c.owner, sa.false())",
        "tests/catalog/test_collect.py",
    ),
    Mutant(
        "orphan-by-digest",
        _COLLECT,
        "return {name for name in names if name not in known}",
        "digests = {digest for _, digest, _ in known}\n            return {name for name in names if name[1] not in digests}",
        "tests/catalog/test_collect.py",
    ),
    Mutant(
        "pinned-taken-for-orphan",
        _COLLECT,
        "                known.update((kind, digest, inc) for kind in _TABLES)\n",
        "                pass\n",
        "tests/catalog/test_collect.py",
    ),
    Mutant(
        "intent-not-exported",
        _OPS,
        "    depot.acknowledge()\n    if depot.catalog.journal.pending(1):",
        "    if False:",
        "tests/ops/test_collect.py",
    ),
    Mutant(
        "intent-not-journaled",
        _COLLECT,
        'return [*memories, {"do": "intent", f"{table.name}s": names}]',
        "return [*memories] if names else []",
        "tests/catalog/test_collect.py",
    ),
    Mutant("nothing-is-a-fifth", _OPS, "if going > GUARD * total:", "if going > total:", "tests/ops/test_collect.py"),
    Mutant(
        "decided-by-a-lost-catalog",
        _OPS,
        "if not rows.decided(lease.id, doomed):",
        "if False:",
        "tests/ops/test_collect.py",
    ),
    Mutant(
        "damaged-bytes-deleted", _OPS, "            depot.blobs.quarantine(one.key)\n", "", "tests/ops/test_collect.py"
    ),
    Mutant(
        "swept-without-memory",
        _COLLECT,
        "memories = _forget(connection, rows, at) if table is manifest else []",
        "memories: list[Action] = []",
        "tests/catalog/test_collect.py",
    ),
)
