"""The model sees: each sentence of the protocol that is left out gives a counterexample"""

from dataclasses import fields, replace

import pytest

from tests.model.explore import explore
from tests.model.rules import Rules
from tests.model.scopes import (
    CORE,
    CYCLE,
    DAMAGE,
    DAMAGE_LARGE,
    DAMAGE_REBUILD,
    HALF,
    KEEP,
    LATECOMER,
    NOTES,
    REBUILD,
    REPACK,
    REPACK_DAMAGE,
    REPACK_REBUILD,
    RESTORE,
    RESTORE_AGAIN,
    RESTORE_DOUBT,
    RESTORE_NOTES,
    RESUME,
    RETIRE,
    TWICE,
    UNKNOWN,
)

# what is left out, where it shows, and how long the shortest way into trouble is
MUTANTS = [
    (CORE, "fence", 8),
    (CORE, "incarnations", 7),
    (CORE, "fresh_restart", 13),
    (CORE, "pin_first", 6),
    (CORE, "pin_adopted", 5),
    (CORE, "deleting_is_absent", 7),
    (RETIRE, "save_reactivates", 5),
    (UNKNOWN, "settle_by_reaping", 6),
    (CORE, "condemn_unheld", 4),
    (CORE, "intent_unpinned", 5),
    (CORE, "one_transaction", 6),
    (CORE, "drop_exact", 8),
    (CORE, "list_first", 7),
    (CORE, "orphans_unpinned", 7),
    (KEEP, "retire_evaluates", 3),
    (RETIRE, "release_retired", 5),
    (HALF, "undo_checks", 5),
    (RETIRE, "undo_checks_manifest", 4),
    (HALF, "undo_sets_live", 4),
    (KEEP, "hold_active", 4),
    (RETIRE, "manifest_of_active", 1),
    (RESUME, "intent_exported", 5),
    (RESUME, "resume_exports", 6),
    (REBUILD, "save_confirms", 11),
    (REBUILD, "intent_confirms", 13),
    (RESTORE, "strays_intended", 12),
    (REBUILD, "strays_intended+strays_exported", 22),
    (LATECOMER, "strays_intended+strays_exported", 13),
    (REPACK_REBUILD, "strays_intended+strays_exported", 6),
    (NOTES, "save_confirms", 9),
    (REBUILD, "identity_first", 9),
    (REBUILD, "gapless", 5),
    (LATECOMER, "head_named", 11),
    (TWICE, "over_named", 10),
    (TWICE, "rebuild_confirms", 10),
    (RESTORE, "export_own", 9),
    (RESTORE_NOTES, "confirm_known", 20),
    (RESTORE_AGAIN, "export_found", 12),
    (RESTORE_NOTES, "look_before_mark", 20),
    (RESTORE_NOTES, "mark_by_txid", 11),
    (RESTORE, "replay_ends_leases", 16),
    (RESTORE, "commit_pinned", 14),
    (DAMAGE_REBUILD, "damage_exported", 2),
    (DAMAGE, "collect_damaged", 2),
    (DAMAGE_LARGE, "intent_is_final", 8),
    (REPACK_DAMAGE, "base_of_any", 8),
    (REPACK_DAMAGE, "delta_needs_base", 7),
    (REPACK, "pins_by_digest", 10),
    (RESTORE_DOUBT, "doubt_deletes_nothing", 12),
    (CYCLE, "repack_depth", 8),
    (REPACK_DAMAGE, "repack_base_here", 4),
]


@pytest.mark.parametrize(
    ("scope", "rule", "length"), MUTANTS, ids=[f"{rule}-{scope.name}" for scope, rule, _ in MUTANTS]
)
def test_a_rule_left_out_gives_a_counterexample(scope, rule, length):
    left_out = dict.fromkeys(rule.split("+"), False)
    mutant = replace(scope, rules=replace(Rules(), **left_out))
    report = explore(mutant.starts(), mutant.steps, mutant.check)
    assert report.problem, f"{report.states} states without {rule}, and nothing was seen"
    assert len(report.trace) == length, str(report)


def test_every_rule_has_its_mutant():
    assert {rule for _, rules, _ in MUTANTS for rule in rules.split("+")} == {rule.name for rule in fields(Rules)}
