"""Checking what is here of models, without asking anybody"""

from artifactstore.provision.check import check
from tests.shelf import whole


def test_each_model_stands_as_it_is(fetching, hub):
    hub.repo("org/one", whole(1))
    hub.repo("org/two", whole(2))
    models = fetching.models("org/one", "org/two", "org/three")
    fetching.run(models[:1], checked_out=True)
    fetching.run(models[1:2])
    asked = len(hub.requests)
    one, two, three = check(fetching.depot, models, fetching.options.root)
    assert [standing.state for standing in (one, two, three)] == ["held", "held", "missing"]
    assert [standing.is_ready for standing in (one, two, three)] == [True, False, False]
    assert set(two.away) == set(whole(2))
    assert three.away is None
    assert [standing.is_ready for standing in check(fetching.depot, models[:2])] == [True, True]
    assert one.to_json() == {
        "name": "a",
        "source": "hf://org/one",
        "state": "held",
        "id": str(one.version.id),
        "ref": "org/one:1",
        "lacking": [],
        "folder": str(fetching.options.root / "org_one"),
        "away": [],
    }
    assert len(hub.requests) == asked


def test_damage_that_is_known_makes_a_model_incomplete(fetching, hub):
    hub.repo("org/one", whole(1))
    models = fetching.models("org/one")
    version = fetching.version(models)
    fetching.depot.catalog.blobs.damage(list(fetching.depot.catalog.blobs.all(versions=[version.id])))
    [standing] = check(fetching.depot, models)
    assert (standing.state, standing.is_ready) == ("incomplete", False)
    assert "damaged" in standing.lacking[0]
