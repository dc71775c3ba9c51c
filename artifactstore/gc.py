"""Gc: one plan of what is retired and what is swept, and both done in order"""

import json
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Self

from artifactstore.catalog.base import Retired
from artifactstore.core.errors import Invalid, Refused, StoreError
from artifactstore.core.events import Warn
from artifactstore.core.policy import Policy
from artifactstore.core.selection import Rules
from artifactstore.core.units import format_size
from artifactstore.depot import Depot
from artifactstore.ops import collect, retire
from artifactstore.ops.collect import CollectPlan, CollectReport
from artifactstore.ops.retire import RetireItem, RetirePlan

_FORMAT = 1


@dataclass(frozen=True, slots=True)
class GcPlan:
    """What would be retired, and what a sweep finds; `due` counts what goes at once

    grace: how long what nothing needs waits before it is removed. store, catalog: whose plan it is.
    """

    retire: RetirePlan
    sweep: CollectPlan
    grace: timedelta
    store: str
    catalog: str

    @property
    def is_empty(self) -> bool:
        """Nothing would be retired and nothing is due"""
        return not self.retire.going and not self.sweep.due.count

    def to_json(self) -> dict[str, Any]:
        """For people and programs to read before it runs"""
        return {
            "format": _FORMAT,
            "store": self.store,
            "catalog": self.catalog,
            "serial": self.retire.serial,
            "grace_seconds": self.grace.total_seconds(),
            "frees_bytes": self.retire.frees_bytes,
            "items": [item.to_json() for item in self.retire.items],
            "sweep": self.sweep.to_json(),
        }


@dataclass(frozen=True, slots=True)
class SavedPlan:
    """A plan that was written down: what it retires is fixed, what is due is looked at anew"""

    retire: RetirePlan
    grace: timedelta
    store: str
    catalog: str

    @classmethod
    def parse(cls, raw: bytes) -> Self:
        """What `GcPlan.to_json` says; raise Invalid for anything else"""
        try:
            document = json.loads(raw)
            if document["format"] != _FORMAT:
                raise Invalid(f"The plan has format {document['format']!r:.20}; make a new one", code="plan")
            items = tuple(RetireItem.parse(item) for item in document["items"])
            grace = timedelta(seconds=document["grace_seconds"])
            return cls(RetirePlan(items, int(document["serial"])), grace, document["store"], document["catalog"])
        except (ValueError, KeyError, TypeError, OverflowError, RecursionError) as e:
            raise Invalid("This is no plan that artstore gc --plan wrote", code="plan") from e


@dataclass(frozen=True, slots=True)
class GcReport:
    """What was done. retired is None when nothing was to be retired"""

    retired: Retired | None
    swept: CollectReport

    def to_json(self) -> dict[str, Any]:
        """With stable keys"""
        retired = self.retired
        return {
            "retired": [] if retired is None else [str(version) for version in retired.versions],
            "kept": {} if retired is None else {str(version): list(why) for version, why in retired.kept.items()},
            "serial": None if retired is None else retired.serial,
            "condemned_bytes": self.swept.condemned.nbytes,
            "removed_objects": self.swept.removed.count + self.swept.orphans.count,
            "freed_bytes": self.swept.removed.nbytes + self.swept.orphans.nbytes,
            "orphans": self.swept.orphans.count,
            "waiting_bytes": self.swept.waiting.nbytes,
            "strays": list(self.swept.strays),
        }


def plan(
    depot: Depot, rules: Rules | None = None, *, grace: timedelta = collect.GRACE, until_free: int | None = None
) -> GcPlan:
    """Decide what `run` would do, changing nothing; without rules by the stored policies"""
    chosen = retire.plan(depot, rules, until_free=until_free)
    return GcPlan(chosen, collect.plan(depot, grace), grace, depot.info.store_id, depot.info.catalog_id)


def resume(depot: Depot, saved: SavedPlan) -> GcPlan:
    """A written plan, to be run; raise Refused when it is of another store or the store has changed since"""
    if (saved.store, saved.catalog) != (depot.info.store_id, depot.info.catalog_id):
        raise Refused("This plan was made for another store, or before its catalog was rebuilt", code="stale")
    retire.check_fresh(depot, saved.retire)
    # the guard goes by these numbers, and the file may have been edited
    counted = retire.recount(depot, saved.retire)
    return GcPlan(counted, collect.plan(depot, saved.grace), saved.grace, saved.store, saved.catalog)


def check_guard(plan: GcPlan) -> None:
    """Raise Refused when more than a fifth of all bytes would be retired, or without a grace would go"""
    going, total = plan.retire.frees_bytes, plan.sweep.total.nbytes
    if not plan.grace:
        # the collection would refuse both together, when the versions are retired already
        going += plan.sweep.due.nbytes
    if going > collect.GUARD * total:
        raise Refused(
            f"{format_size(going)} of {format_size(total)} would go, more than {collect.GUARD:.0%}; "
            "say --force if the plan is right",
            code="guard",
            bytes=going,
            total=total,
        )


def run(depot: Depot, plan: GcPlan, *, force: bool = False) -> GcReport:
    """Retire, then condemn and sweep what is due; raise Refused when more than a fifth would go, unless forced"""
    if not force:
        check_guard(plan)
    retired = retire.run(depot, plan.retire) if plan.retire.going else None
    return GcReport(retired, collect.run(depot, plan.grace, force=force))


def as_rules(policy: Policy | str | None) -> Rules | None:
    """Rules of a policy object such as `Latest(3) | Best(2, "val_loss")`, or of flags of gc as text"""
    if policy is None:
        return None
    return Rules.parse(policy) if isinstance(policy, str) else Rules(keep=policy)


def after_save(depot: Depot, artifact: str, rules: Rules, grace: timedelta) -> GcReport | None:
    """Apply the policy a program has attached to its checkpoints; a failure is told and harms no save

    The program asked for it, so no fifth is guarded here. The grace is for the whole store: what others have retired is
    swept too once it has waited so long.
    """
    try:
        chosen = retire.plan_line(depot, artifact, rules)
        retired = retire.run(depot, chosen) if chosen.going else None
        return GcReport(retired, collect.run(depot, grace, force=True, orphans=False))
    except StoreError as e:
        depot.monitor(Warn(f"The policy could not be applied after this save: {e}"))
        return None
