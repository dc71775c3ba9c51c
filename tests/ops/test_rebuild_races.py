"""Rebuilds that meet: one of them has the store in the end, and nothing that was acknowledged is lost"""

import contextlib

import pytest

from artifactstore.blobs.layout import SETTINGS_KEY
from artifactstore.core.errors import Conflict
from artifactstore.core.events import Step
from artifactstore.depot import StoreInfo
from artifactstore.ops import rebuild, verify
from tests.crash.stores import Place
from tests.histories import History


def lines(depot) -> list[str]:
    return list(depot.catalog.dump())


def rebuilt(url):
    return rebuild.run(rebuild.plan(url))


@pytest.fixture
def filled(tmp_path):
    place = Place(tmp_path / "store", None)
    place.make()
    with place.open() as depot:
        history = History(depot)
        history.run([("save", 0, 0, 1), ("link", 1, 1, 2), ("save", 0, 2, 3)])
        return place, lines(depot), history


@pytest.mark.parametrize("step", ["replay", "identity", "swap", "record"])
@pytest.mark.parametrize("side", ["before", "after"])
@pytest.mark.parametrize("saves", [False, True])
def test_the_last_to_take_the_store_wins_and_nothing_acknowledged_is_lost(filled, step, side, saves):
    place, _, history = filled
    told = []

    def meanwhile(event):
        if event == Step(f"rebuild.{step}.{side}") and not told:
            told.append(rebuilt(str(place.folder)).catalog_id)
            if saves:
                with place.open() as depot:
                    history.depot = depot
                    history.save(1, 3, 2)

    plan = rebuild.plan(str(place.folder))
    with contextlib.suppress(Conflict):
        told.append(rebuild.run(plan, monitor=meanwhile).catalog_id)
    with contextlib.suppress(Conflict):
        place.open().close()
    rebuilt(str(place.folder))
    with place.open() as depot:
        assert set(history.ids) <= {one.id for one in depot.catalog.versions.list()}
        assert verify.run(depot, verify.plan(depot)).damaged == ()


def test_the_second_follows_what_the_first_has_made(filled):
    """It planned before the first, and takes the store after it"""
    place, _, history = filled

    def meanwhile(event):
        if event == Step("rebuild.identity.before"):
            rebuilt(str(place.folder))
            with place.open() as depot:
                history.depot = depot
                history.save(1, 3, 2)
                told.append(lines(depot))

    told = []
    rebuild.run(rebuild.plan(str(place.folder)), monitor=meanwhile)
    with place.open() as depot:
        assert [lines(depot)] == told


def test_one_that_lost_after_its_swap_leaves_a_catalog_that_may_not_write(filled):
    place, before, _ = filled

    def taken(event):
        if event == Step("rebuild.swap.after"):
            with place.open() as depot:
                info = depot.info
                depot.blobs.replace(SETTINGS_KEY, StoreInfo(info.store_id, "e" * 32).to_bytes())

    with pytest.raises(Conflict):
        rebuild.run(rebuild.plan(str(place.folder)), monitor=taken)
    with pytest.raises(Conflict, match="artstore catalog rebuild"):
        place.open()
    rebuilt(str(place.folder))
    with place.open() as depot:
        assert lines(depot) == before


def test_a_plan_that_is_stale_is_refused(filled):
    place, _, _ = filled
    plan = rebuild.plan(str(place.folder))
    rebuilt(str(place.folder))
    with pytest.raises(Conflict):
        rebuild.run(plan)
