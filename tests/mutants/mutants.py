"""The mistakes: a rule of docs/protocol.md left out of the code, and the test that notices"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Mutant:
    """`old` occurs once in `file` and becomes `new`, and so do the pairs of `also`; `test` must then fail"""

    name: str
    file: str
    old: str
    new: str
    test: str
    also: tuple[tuple[str, str], ...] = ()

    def seed(self, text: str) -> str:
        """The file with the mistake in it"""
        for old, new in ((self.old, self.new), *self.also):
            if text.count(old) != 1:
                raise ValueError(f"{self.name}: {self.file} holds its place {text.count(old)} times, not once")
            text = text.replace(old, new)
        return text


_COLLECT, _RETIRE, _SAVES = (f"artifactstore/catalog/{name}.py" for name in ("collect", "retire", "saves"))
_OPS = "artifactstore/ops/collect.py"
_DISK, _LOCAL, _LEASES = (
    "artifactstore/blobs/disk.py",
    "artifactstore/blobs/local.py",
    "artifactstore/catalog/leases.py",
)

MUTANTS = (
    # save
    Mutant(
        "no-file-sync",
        _DISK,
        "        os.fsync(fd)\n        if os.fstat",
        "        if os.fstat",
        "tests/blobs/test_local.py::TestDurability::test_each_file_is_synced_then_named_then_its_folder_synced_once",
    ),
    Mutant(
        "no-folder-sync",
        _LOCAL,
        "            sync_folder(folder)\n",
        "",
        "tests/blobs/test_local.py::TestDurability::test_each_file_is_synced_then_named_then_its_folder_synced_once",
    ),
    Mutant(
        "rows-before-bytes",
        "artifactstore/session.py",
        "        self.publish()\n        draft = Draft(",
        "        draft = Draft(",
        "tests/crash/test_kills.py::test_add",
        also=(
            (
                "            committed = self._depot.catalog.saves.commit(draft)\n",
                "            committed = self._depot.catalog.saves.commit(draft)\n        self.publish()\n",
            ),
        ),
    ),
    Mutant(
        "synchronous-normal",
        "artifactstore/catalog/engine.py",
        "synchronous=FULL",
        "synchronous=NORMAL",
        "tests/catalog/test_engine.py::test_sqlite_is_durable_and_keeps_foreign_keys",
    ),
    Mutant(
        "deferred-begin",
        "artifactstore/catalog/sql.py",
        "BEGIN IMMEDIATE",
        "BEGIN",
        "tests/catalog/test_sql.py::test_writers_take_turns_across_processes",
    ),
    Mutant(
        "no-store-lock",
        "artifactstore/catalog/sql.py",
        "                _lock(connection, self.settings.busy, exclusive=exclusive)",
        "                pass",
        "tests/catalog/test_sql.py::test_an_exclusive_writer_waits_for_savers_and_they_for_it",
    ),
    Mutant(
        "no-fence",
        _SAVES,
        'if not end(connection, lease_id, "done") or not all_pinned:',
        'end(connection, lease_id, "done")\n    if all_pinned is None:',
        "tests/catalog/test_contract.py::TestCommits::test_a_commit_happens_once",
    ),
    Mutant(
        "lost-pins-commit",
        _SAVES,
        "or not all_pinned:",
        "or False:",
        "tests/catalog/test_saves.py::test_a_commit_whose_pins_were_lost_never_happens",
    ),
    Mutant(
        "old-incarnation-again",
        "artifactstore/blobs/layout.py",
        "    return secrets.token_hex(8)",
        '    return "0" * 16',
        "tests/blobs/test_layout.py::test_incarnations_are_64_random_bits",
    ),
    Mutant(
        "adopted-stays-condemned",
        "artifactstore/catalog/objects.py",
        "    revive(connection, table, [before[one.grant.digest] for one in written if one.grant.digest in before])\n",
        "",
        "tests/catalog/test_contract.py::TestCommits::test_a_condemned_blob_is_adopted_and_lives",
    ),
    Mutant(
        "unknown-commit-is-a-failure",
        "artifactstore/catalog/sql.py",
        "if settle is None or not is_in_doubt(e):",
        "if settle is None or is_in_doubt(e):",
        "tests/catalog/test_saves.py::TestCommitThatRaises::test_it_had_committed",
    ),
    Mutant(
        "acknowledged-for-another-catalog",
        "artifactstore/depot.py",
        "        self.export_journal()\n        self._check_named()",
        "        self.export_journal()",
        "tests/test_session.py::test_a_store_given_away_meanwhile_does_not_acknowledge",
    ),
    # retire and undo
    Mutant(
        "retire-trusts-the-plan",
        _RETIRE,
        "kept = _must_stay(connection, rows, at)",
        "kept: Held = {}",
        "tests/catalog/test_retire.py::test_what_must_stay_stays_and_is_told",
    ),
    Mutant(
        "lineage-one-step-only",
        "artifactstore/core/verdict.py",
        "        due.extend(new)\n",
        "",
        "tests/catalog/test_retire.py::test_what_a_kept_version_needs_at_any_distance_stays",
    ),
    Mutant(
        "undo-without-the-state",
        _RETIRE,
        "if one not in found or found[one].state not in PRESENT]",
        "if one not in found]",
        "tests/catalog/test_retire.py::test_undo_refuses_when_bytes_are_gone_and_names_them",
    ),
    Mutant(
        "undo-leaves-condemned",
        _RETIRE,
        "    revive(connection, table, found.values())\n",
        "",
        "tests/catalog/test_retire.py::test_undo_brings_back_what_its_record_retired",
    ),
    Mutant(
        "last-version-goes",
        _RETIRE,
        "    return [ids[0] for line, ids in going.items() if line not in safe]",
        "    return []",
        "tests/catalog/test_retire.py::test_the_last_of_an_artifact_stays",
    ),
    # collect
    Mutant(
        "release-what-is-active",
        _COLLECT,
        'some = sa.select(version.c.id).where(version.c.state == "retired", held)',
        "some = sa.select(version.c.id).where(held)",
        "tests/catalog/test_collect.py::test_release_leaves_active_versions_alone",
    ),
    Mutant(
        "pins-ignored",
        _COLLECT,
        "return ~needed & ~pinned & ",
        "return ~needed & ",
        "tests/catalog/test_collect.py::test_a_pin_of_an_active_lease_saves_from_every_step",
    ),
    Mutant(
        "base-of-live-rows-only",
        _COLLECT,
        "~sa.exists().where(based.c.base == table.c.digest)",
        '~sa.exists().where(based.c.base == table.c.digest, based.c.state == "live")',
        "tests/catalog/test_collect.py::test_the_base_of_a_delta_in_any_state_stays",
    ),
    Mutant(
        "grace-forgotten",
        _COLLECT,
        "table.c.condemned_at <= at - grace, _needless",
        "table.c.condemned_at <= at, _needless",
        "tests/catalog/test_collect.py::test_what_is_not_due_stays",
    ),
    Mutant(
        "row-dropped-by-digest",
        _COLLECT,
        'here = (table.c.digest == sa.bindparam("of"), table.c.inc == sa.bindparam("was"))\n                    connection.execute(sa.delete(table).where(table.c.state == "deleting", *here), exactly)',
        'here = (table.c.digest == sa.bindparam("of"),)\n                    connection.execute(sa.delete(table).where(*here), exactly)',
        "tests/catalog/test_collect.py::test_dropping_hits_the_exact_incarnation_only",
    ),
    Mutant(
        "work-of-the-living-taken",
        _COLLECT,
        'lease.c.id == table.c.owner, lease.c.state == "active")',
        "lease.c.id == table.c.owner, sa.false())",
        "tests/catalog/test_collect.py::test_a_dead_collectors_work_is_taken_over_and_a_living_ones_is_not",
    ),
    Mutant(
        "orphan-by-digest",
        _COLLECT,
        "return {name for name in names if name not in known}",
        "digests = {digest for _, digest, _ in known}\n    return {name for name in names if name[1] not in digests}",
        "tests/catalog/test_collect.py::test_orphans_are_names_without_row_and_pin",
    ),
    Mutant(
        "pinned-taken-for-orphan",
        _COLLECT,
        "table.c.digest), (pinned, lease_pin.c.digest)):",
        "table.c.digest),):",
        "tests/catalog/test_collect.py::test_orphans_are_names_without_row_and_pin",
    ),
    Mutant(
        "intent-not-exported",
        _OPS,
        "    export(depot.blobs, depot.catalog)\n",
        "",
        "tests/ops/test_collect.py::test_nothing_is_removed_before_its_intent_is_exported",
    ),
    Mutant(
        "intent-not-journaled",
        _COLLECT,
        'return [*memories, {"do": "intent", f"{table.name}s": names}]',
        "return [*memories] if names else []",
        "tests/catalog/test_collect.py::test_what_only_a_retired_version_held_goes_in_the_end",
    ),
    Mutant(
        "nothing-is-a-fifth",
        _OPS,
        "if going > GUARD * total:",
        "if going > total:",
        "tests/ops/test_collect.py::test_more_than_a_fifth_needs_force",
    ),
    Mutant(
        "decided-by-a-lost-catalog",
        _OPS,
        "if not rows.decided(lease.id, doomed):",
        "if False:",
        "tests/ops/test_collect.py::test_a_catalog_put_back_under_deletions_that_were_taken_over_stops_them",
    ),
    Mutant(
        "damaged-bytes-deleted",
        _OPS,
        "            depot.blobs.quarantine(one.key)\n",
        "            pass\n",
        "tests/ops/test_collect.py::test_damaged_bytes_that_were_not_set_aside_are_before_the_row_goes",
    ),
    Mutant(
        "swept-without-memory",
        _COLLECT,
        "memories = _forget(connection, rows, at) if table is manifest else []",
        "memories: list[Action] = []",
        "tests/catalog/test_collect.py::test_links_of_a_swept_version_are_remembered",
    ),
)
