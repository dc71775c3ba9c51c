"""A rebuild killed at every step: nothing is lost, and the next one finishes"""

import pytest

from artifactstore.core.errors import Conflict, NotFound
from artifactstore.ops import rebuild, verify
from tests.crash import harness
from tests.crash.stores import Place
from tests.histories import History


def lines(depot) -> list[str]:
    return list(depot.catalog.dump())


@pytest.mark.parametrize("kind", ["sqlite", "postgres"])
def test_killed_at_every_step_the_next_one_finishes(kind, request, tmp_path):
    catalog = None if kind == "sqlite" else request.getfixturevalue("postgres_url")
    place = Place(tmp_path / "store", catalog)
    place.make()
    with place.open() as depot:
        history = History(depot)
        history.run([("save", 0, 0, 1), ("link", 1, 1, 2), ("retire", 0, 2, 0)])
        before = lines(depot)
    url = str(place.folder)

    def again(monitor):
        return rebuild.run(rebuild.plan(url, catalog), monitor=monitor).catalog_id

    whole = harness.run(again)
    assert whole.answer is not None
    steps_seen = [name for name, _ in harness.points(whole)]
    assert steps_seen == [
        f"rebuild.{name}.{side}" for name in ("replay", "identity", "swap", "record") for side in ("before", "after")
    ]
    for step in steps_seen:
        assert harness.run(again, die_at=(step, 0)).killed
        # whoever comes now is either let in to all there is, or told what to do
        told = "artstore catalog rebuild"
        try:
            with place.open() as depot:
                assert lines(depot) == before
                History(depot).save(0, 0, 1)
                before = lines(depot)
        except (Conflict, NotFound) as e:
            told = e.message
        assert "artstore catalog rebuild" in told
        assert harness.run(again).answer is not None
        with place.open() as depot:
            assert lines(depot) == before
            assert verify.run(depot, verify.plan(depot)).damaged == ()
