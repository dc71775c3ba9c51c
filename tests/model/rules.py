"""The sentences of the protocol, each of which a mutant leaves out"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Rules:
    """What a world goes by; the letters and numbers are the steps of docs/protocol.md"""

    # saving
    fence: bool = True  # D: the lease ends in the same transaction, and was active
    incarnations: bool = True  # R3: each upload has a name of its own
    fresh_restart: bool = True  # D: restart with new incarnations, reusing nothing
    pin_first: bool = True  # A comes before B (R5)
    pin_adopted: bool = True  # A: what is there is pinned
    deleting_is_absent: bool = True  # D: a deleting row is not adopted
    save_reactivates: bool = True  # D: a retired version that is saved again is active, and holds its blobs
    settle_by_reaping: bool = True  # D: an absent txid is believed only after its lease was ended
    doubt_deletes_nothing: bool = True  # D: nor does its owner delete anything then, whatever it learns
    # collecting
    condemn_unheld: bool = True  # 1: no version needs it
    intent_unpinned: bool = True  # 2: condemned and still no active pin
    pins_by_digest: bool = True  # 2: no active pin on the digest, whichever incarnation it names
    one_transaction: bool = True  # 2: looks and writes at once (READ COMMITTED without the lock does not)
    drop_exact: bool = True  # 4: WHERE state='deleting' AND inc=?
    list_first: bool = True  # 5: the listing is older than the look into the catalog
    orphans_unpinned: bool = True  # 5: no active pin
    # retiring and bringing back
    retire_evaluates: bool = True  # aliases, pins and leases are looked at in the transaction that retires
    release_retired: bool = True  # only of what is retired in the transaction that releases
    undo_checks: bool = True  # undo refuses unless every blob is live or condemned
    undo_checks_manifest: bool = True  # and the manifest too
    undo_sets_live: bool = True  # and sets them live
    hold_active: bool = True  # a reader holds active versions only
    manifest_of_active: bool = (
        True  # the manifest of an active version is needed, though no row of version_blob says so
    )
    # the journal
    export_own: bool = True  # E exports its own record, or learns that the catalog lost it
    export_found: bool = True  # E: a save that found its version there asks the same of the last record it saw
    intent_exported: bool = True  # 2: all records up to the intent are exported before anything physical
    resume_exports: bool = True  # 2: whoever resumes a deletion exports first, too
    save_confirms: bool = True  # F: the catalog id is read again after the export
    intent_confirms: bool = True  # 2: and before anything physical, too
    confirm_known: bool = True  # E: and whether the catalog knows all that was exported
    look_before_mark: bool = True  # E: that is looked at before records are marked as exported
    mark_by_txid: bool = True  # E: which marks exactly those records, not whatever has their serials by now
    strays_exported: bool = True  # 5: all records are exported, and the id read again, before an orphan goes
    strays_intended: bool = True  # 5: orphans are named in an intent that is exported before they go
    # a catalog that is made anew
    identity_first: bool = True  # the new catalog id is written before the listing
    gapless: bool = True  # records count as far as none before them is missing
    head_named: bool = (
        True  # the first record of a rebuilt catalog says how far it went in the journal it was made from
    )
    over_named: bool = True  # and names the rebuilds that had begun and were not done at its listing
    rebuild_confirms: bool = True  # and reads the catalog id again after its listing
    # a catalog that was restored
    replay_ends_leases: bool = True  # it goes forward to what was exported, and nobody's lease lives on in it
    commit_pinned: bool = True  # D: what was uploaded is still pinned
    # damage, and blobs based on others
    damage_exported: bool = True  # the record is exported before the bytes are moved aside
    collect_damaged: bool = True  # a damaged row that no version needs is collected like a condemned one
    intent_is_final: bool = True  # rebuild: after an intent nothing earlier of the digest comes back
    base_of_any: bool = True  # 1, 2: no row in any state is based on it
    delta_needs_base: bool = True  # A, D, undo: what is based on a damaged or absent object counts as absent
    repack_depth: bool = True  # repack: the base is raw, and no row is based on the target
    repack_base_here: bool = True  # repack: the base is live or condemned, and live from now on
