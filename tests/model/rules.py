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
    # collecting
    condemn_unheld: bool = True  # 1: no version needs it
    intent_unpinned: bool = True  # 2: condemned and still no active pin
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
