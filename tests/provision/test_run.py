"""Fetching from a hub over real sockets: what moves, what is stored, and what nothing remains of"""

from dataclasses import replace
from datetime import timedelta

import pytest

from artifactstore import depot as depots
from artifactstore.core.digest import Sha256
from artifactstore.core.errors import Busy, Conflict, Corrupt, Denied, Invalid, NoSpace, NotFound, Refused, Unavailable
from artifactstore.core.hub import HubRef
from artifactstore.core.registry import Model
from artifactstore.ops import verify
from artifactstore.ops.describe import details
from artifactstore.ops.fetch import find_version
from artifactstore.provision.run import joined, run
from artifactstore.upstream.partial import PartialKey, Partials
from artifactstore.upstream.reach import Reach
from tests.provision.conftest import TOKEN
from tests.shelf import CARD, TOKENIZER, Fetching, total, weights, whole

AT_V9 = 'source = "hf://org/one@v9"\ndestination = "v9"'


def failed(outcome, kind, code):
    assert outcome.version is None
    assert type(outcome.error) is kind
    assert outcome.error.code.endswith(code)
    assert outcome.error.message.isprintable()
    return outcome.error.message


def test_a_model_becomes_one_version_that_says_where_it_is_from(fetching, hub):
    files = whole()
    repo = hub.repo("org/one", files, card={"license": "mit", "base_model": "org/base"})
    [outcome] = fetching.run(fetching.models("org/one"), checked_out=True)
    assert (outcome.fetched_bytes, outcome.written_bytes) == (total(files), total(files))
    assert hub.sent() == total(files)
    assert {path: (outcome.folder / path).read_bytes() for path in files} == files
    shown = details(fetching.depot, outcome.version)
    assert (shown["ref"], shown["license"], shown["aliases"]) == ("org/one:1", "mit", ["latest"])
    assert shown["created"] == "2026-01-01T00:00:00Z"
    assert [(one["relation"], one["ref"]) for one in shown["parents"]] == [("finetune", "hf://org/base")]
    told = shown["metadata"]["upstream"]
    assert told["source"] == "hf://org/one"
    assert (told["endpoint"], told["commit"], told["gated"]) == (hub.endpoint, repo.refs["main"], False)
    assert set(told["oids"]) == {"README.md", "config.json", "tokenizer.json"}
    assert fetching.partials() == []


def test_a_second_fetch_costs_one_request_and_no_bytes(fetching, hub):
    hub.repo("org/one", whole())
    first = fetching.version(fetching.models("org/one"))
    asked, sent = len(hub.requests), hub.sent()
    [again] = fetching.run(fetching.models("org/one"))
    assert again.version.id == first.id
    assert again.fetched_bytes == 0
    assert (len(hub.requests), hub.sent()) == (asked + 1, sent)
    assert fetching.versions() == ["org/one:1"]


def test_another_store_gets_the_same_version(fetching, hub, tmp_path):
    hub.repo("org/one", whole())
    first = fetching.version(fetching.models("org/one"))
    with depots.init(str(tmp_path / "other")) as other:
        assert Fetching(other, hub, tmp_path).version(fetching.models("org/one")).id == first.id


@pytest.mark.parametrize("lfs", [True, False])
def test_what_two_models_share_moves_once(fetching, hub, lfs):
    one, two = whole(1), whole(2)
    hub.repo("org/one", one, lfs=lambda path, size: lfs)
    hub.repo("org/two", two, lfs=lambda path, size: lfs)
    fetching.version(fetching.models("org/one"))
    before = hub.sent()
    fetching.version(fetching.models("org/two"))
    # a card of some bytes is not looked for in all versions
    assert hub.sent() - before == total(two) - len(TOKENIZER) - (len(CARD) if lfs else 0)
    assert hub.sent("tokenizer.json") == len(TOKENIZER)


def test_what_two_models_share_moves_once_when_they_come_together(fetching, hub):
    one, two = whole(1), whole(2)
    hub.repo("org/one", one)
    hub.repo("org/two", two)
    outcomes = fetching.run(fetching.models("org/one", "org/two", "org/one"))
    assert [one.version.ref for one in outcomes] == ["org/one:1", "org/two:1", "org/one:1"]
    assert hub.sent() == total(one) + total(two) - len(TOKENIZER) - len(CARD)
    assert fetching.plan(fetching.models("org/one", "org/two")).fetch_bytes == 0


def test_of_a_new_commit_only_what_changed_moves(fetching, hub):
    repo = hub.repo("org/one", whole(1))
    first = fetching.version(fetching.models("org/one"), checked_out=True)
    repo.commit({"model.safetensors": weights(2)})
    before = hub.sent()
    second = fetching.version(fetching.models("org/one"), checked_out=True)
    assert hub.sent() - before == len(weights(2))
    assert (second.ref, second.aliases) == ("org/one:2", ("latest",))
    # what stood in its folder was the model's own earlier version
    assert (fetching.options.root / "org_one/model.safetensors").read_bytes() == weights(2)
    repo.refs["main"] = next(iter(repo.commits))
    assert fetching.version(fetching.models("org/one")).id == first.id
    assert details(fetching.depot, first)["aliases"] == ["latest"]
    assert hub.sent() - before == len(weights(2))


def test_a_revision_is_an_alias_and_a_commit_is_none(fetching, hub):
    repo = hub.repo("org/one", whole(1))
    old = repo.refs["main"]
    repo.commit(whole(2), branch="exp/a")
    repo.commit({"model.safetensors": weights(3)})
    assert fetching.version(fetching.models(f"org/one@{old}")).aliases == ()
    assert fetching.version(fetching.models("org/one@exp%2Fa")).aliases == ("exp/a",)
    assert fetching.version(fetching.models("org/one")).aliases == ("latest",)
    named = {
        name: find_version(fetching.depot, fetching.models(f"org/one@{name}")[0]) for name in (old, "exp%2Fa", "v9")
    }
    assert [one and one.ref for one in named.values()] == ["org/one:1", "org/one:2", None]
    repo.refs["5"] = repo.refs["main"]
    assert fetching.version(fetching.models("org/one@5")).ref == "org/one:3"


def test_bytes_that_are_wrong_twice_leave_nothing_and_others_go_on(fetching, hub):
    files = whole(1)
    hub.repo("org/bad", files)
    hub.repo("org/good", whole(2))
    hub.fault("flip", "model.safetensors", after=1000, times=2)
    bad, good = fetching.run(fetching.models("org/bad", "org/good"), jobs=1)
    assert "do not have its digest" in failed(bad, Corrupt, "digest")
    assert good.version.ref == "org/good:1"
    assert fetching.versions() == ["org/good:1"]
    before = hub.sent()
    fetching.version(fetching.models("org/bad"))
    assert hub.sent() - before == len(files["model.safetensors"])


def test_a_file_that_changes_meanwhile_is_told(fetching, hub):
    hub.repo("org/one", whole())
    hub.fault("etag", "model.safetensors")
    [outcome] = fetching.run(fetching.models("org/one"))
    assert "changed since it was listed" in failed(outcome, Conflict, "moved")
    assert fetching.versions() == []
    assert fetching.version(fetching.models("org/one")).ref == "org/one:1"


def test_a_gated_model_is_listed_and_needs_a_token(fetching, hub):
    hub.repo("org/gated", whole(), gated="manual", granted=(TOKEN,))
    [item] = fetching.plan(fetching.models("org/gated")).items
    assert item.gated is True
    [outcome] = fetching.run(fetching.models("org/gated"))
    assert "gated" in failed(outcome, Denied, "gated")
    assert fetching.version(fetching.models("org/gated"), token=TOKEN).ref == "org/gated:1"
    assert not [one for one in hub.requests if one.host == "cdn" and one.authorization]


def test_what_is_not_there_is_told_and_the_others_come(fetching, hub):
    hub.repo("org/one", whole())
    outcomes = fetching.run(fetching.models("org/one", "org/none", AT_V9))
    assert outcomes[0].version.ref == "org/one:1"
    failed(outcomes[1], NotFound, "repo")
    failed(outcomes[2], NotFound, "revision")
    error = joined([one.error for one in outcomes[1:]])
    assert type(error) is NotFound
    assert "org/none" in error.message
    assert "v9" in error.message
    assert len(error.facts["errors"]) == 2
    assert "1 more failed otherwise" in joined([outcomes[1].error, Invalid("x")]).message


def test_a_model_that_is_not_whole_leaves_no_version(fetching, hub):
    files = whole()
    del files["tokenizer.json"]
    hub.repo("org/part", files)
    [outcome] = fetching.run(fetching.models("org/part"))
    assert "lacks a tokenizer" in failed(outcome, Corrupt, "incomplete")
    assert fetching.versions() == []
    # what no registry names may be anything, and what was fetched is not fetched again
    before = hub.sent()
    assert fetching.version([Model.of(HubRef("org/part"))]).files == 3
    assert hub.sent() == before


def test_files_are_chosen_and_added_to_what_is_here_of_their_commit(fetching, hub):
    hub.repo("org/one", whole(extra=b"", **{"onnx/model.onnx": b"x" * 5000}))
    [part] = fetching.models('source = "hf://org/one"\ninclude = ["*.json"]')
    with pytest.raises(NotFound, match=r"no files that match \*\.x, not a"):
        fetching.version([replace(part, include=("*.x",), exclude=("a",))])
    assert fetching.version([replace(part, declared=False)]).files == 2
    [most] = fetching.models('source = "hf://org/one"\nexclude = ["onnx/", "*.json", "extra"]')
    assert fetching.version([replace(most, declared=False)], checked_out=True).files == 4
    folder = fetching.options.root / "org_one"
    assert sorted(path.name for path in folder.iterdir()) == ["README.md", "model.safetensors"]
    assert hub.sent("onnx/*") == 0
    one = Model.of(HubRef.parse("hf://org/one/onnx/model.onnx"))
    assert fetching.version([one]).files == 5
    with pytest.raises(NotFound, match="org/one has no file gone"):
        fetching.version([Model.of(HubRef.parse("hf://org/one/gone"))])
    # a part of what is here is here
    asked = len(hub.requests)
    assert fetching.version([replace(part, declared=False)]).files == 5
    assert len(hub.requests) == asked + 1


def test_no_room_is_told_before_any_byte(fetching, hub, tmp_path):
    hub.repo("org/one", whole())
    settings = replace(fetching.depot.settings, reserve=2 * fetching.depot.blobs.free())
    with (
        depots.open_depot(str(tmp_path / "store"), settings=settings) as depot,
        pytest.raises(NoSpace, match="make room"),
    ):
        Fetching(depot, hub, tmp_path).run(fetching.models("org/one"))
    assert hub.sent() == 0


def test_where_there_is_room_for_one_at_a_time_they_come_one_at_a_time(fetching, hub):
    for name in ("one", "two"):
        hub.repo(f"org/{name}", whole(hash(name) % 100, 400_000))
    planned = fetching.plan(fetching.models("org/one", "org/two"), jobs=1)
    both, most = planned.fetch_bytes, max(item.fetch_bytes for item in planned.items)
    reserve = fetching.depot.settings.reserve
    tight = replace(planned, free=reserve + planned.new_bytes + most + 1000, together=True)
    assert most + 1000 < both
    assert [one.version.ref for one in run(fetching.depot, tight).outcomes] == ["org/one:1", "org/two:1"]
    with pytest.raises(NoSpace):
        run(fetching.depot, replace(planned, free=reserve + planned.new_bytes + most - 1000, together=True))
    with pytest.raises(NoSpace):
        run(fetching.depot, replace(planned, together=False, partials_free=most - 1000))


def test_a_full_disk_in_the_middle_keeps_what_came(fetching, hub, mounted):
    files = whole(1, 3 << 20)
    hub.repo("org/one", files)
    disk = mounted("size=2m")
    planned = replace(fetching.plan(fetching.models("org/one"), partials=disk / "p"), partials_free=1 << 40)
    [outcome] = run(fetching.depot, planned).outcomes
    failed(outcome, NoSpace, "space")
    kept = sum(one.nbytes for one in Partials(disk / "p").stale(timedelta(days=-1)))
    assert kept > 1 << 20
    assert fetching.versions() == []


def test_when_the_time_is_over_what_came_is_kept_and_only_the_rest_is_fetched(fetching, hub):
    files = whole(1, 6 << 20)
    hub.repo("org/one", files)
    hub.fault("stall", "model.safetensors", after=4 << 20)
    [outcome] = fetching.run(fetching.models("org/one"), timeout=2)
    assert type(outcome.error) is Unavailable
    assert fetching.versions() == []
    hub.go_on()
    kept = sum(one.nbytes for one in fetching.partials())
    assert kept >= 1 << 20
    # what stalled may still send to nobody
    before = len(hub.gets())
    fetching.version(fetching.models("org/one"))
    assert sum(one.sent for one in hub.gets()[before:]) == total(files) - kept


def test_a_connection_that_breaks_off_is_taken_up_again(fetching, hub):
    files = whole(1, 6 << 20)
    hub.repo("org/one", files)
    hub.fault("cut", "model.safetensors", after=3 << 20)
    hub.fault("status", "config.json", status=503)
    fetching.version(fetching.models("org/one"))
    assert hub.sent() == total(files)
    assert fetching.warned


def test_a_file_at_which_another_process_is_makes_it_busy(fetching, hub):
    hub.repo("org/one", whole())
    [item] = fetching.plan(fetching.models("org/one")).items
    with Partials(fetching.options.partials).claim(PartialKey.of("hf://org/one", item.work.missing[-1])):
        [outcome] = fetching.run(fetching.models("org/one"))
    failed(outcome, Busy, "busy")
    assert fetching.version(fetching.models("org/one")).ref == "org/one:1"


def test_damaged_blobs_are_fetched_again(fetching, hub, tmp_path):
    hub.repo("org/one", whole(1, 5 << 20))
    version = fetching.version(fetching.models("org/one"))
    place = max(fetching.depot.catalog.blobs.all(versions=[version.id]), key=lambda one: one.stored)
    blob = tmp_path / "store" / place.key
    blob.chmod(0o644)
    blob.write_bytes(b"x" * place.stored)
    assert verify.run(fetching.depot, verify.plan(fetching.depot)).damaged
    before = hub.sent()
    assert fetching.version(fetching.models("org/one")).id == version.id
    assert hub.sent() - before == len(whole(1, 5 << 20)["model.safetensors"])
    assert not verify.run(fetching.depot, verify.plan(fetching.depot)).damaged


def test_force_fetches_again(fetching, hub):
    files = whole()
    hub.repo("org/one", files)
    first = fetching.version(fetching.models("org/one"))
    assert fetching.version(fetching.models("org/one"), force=True).id == first.id
    assert hub.sent() == 2 * total(files)


def test_other_content_in_a_folder_is_overwritten_only_by_force(fetching, hub):
    hub.repo("org/one", whole())
    config = fetching.options.root / "org_one/config.json"
    config.parent.mkdir(parents=True)
    config.write_text("mine")
    [outcome] = fetching.run(fetching.models("org/one"), checked_out=True)
    assert type(outcome.error) is Refused
    assert outcome.version.ref == "org/one:1"
    assert config.read_text() == "mine"
    [outcome] = fetching.run(fetching.models("org/one"), checked_out=True, force=True)
    assert outcome.error is None
    assert config.read_bytes() == whole()["config.json"]


def test_a_size_far_from_what_was_expected_and_an_odd_index_are_told(fetching, hub):
    index = b'{"metadata": {"total_size": 5}, "weight_map": {"a": "model.safetensors", "b": "model.safetensors"}}'
    hub.repo("org/one", whole(**{"model.safetensors.index.json": index}))
    assert fetching.version(fetching.models('source = "hf://org/one"\nsize = "5GB"')).ref == "org/one:1"
    assert any("its registry expects 5.0 GB" in one for one in fetching.warned)
    assert any("total_size is 5" in one for one in fetching.warned)


def test_labels_of_the_registry_come_before_what_the_source_says(fetching, hub):
    hub.repo("org/one", whole(), card={"license": "mit"})
    entry = 'source = "hf://org/one"\nlicense = "Apache-2.0"\nkind = "text"\nphase = "base"'
    version = fetching.version(fetching.models(entry))
    assert (version.license, version.phase) == ("Apache-2.0", "base")
    assert fetching.depot.catalog.versions.metadata(version.id)["kind"] == "text"


def test_base_models_that_only_the_hub_tells_are_parents_too(fetching, hub):
    files = whole()
    del files["README.md"]
    card = {"base_model": ["org/x"], "base_model_relation": "quantized", "license": "mit"}
    hub.repo("org/one", files, card=card)
    shown = details(fetching.depot, fetching.version(fetching.models("org/one")))
    assert [(one["relation"], one["ref"]) for one in shown["parents"]] == [("quantize", "hf://org/x")]


def test_a_folder_is_taken_in_and_not_again_until_it_changes(fetching, tmp_path):
    folder = fetching.options.root / "mine"
    models = fetching.models('source = "./mine"\nkind = "video"\nexclude = ["*.log"]')
    [outcome] = fetching.run(models)
    assert "put its files there" in failed(outcome, NotFound, "folder")
    folder.mkdir(parents=True)
    (folder / "train.log").write_text("x")
    (folder / "video-19b.safetensors").write_bytes(weights(5))
    first = fetching.version(models)
    assert (first.ref, first.files) == ("a:1", 1)
    assert fetching.plan(models).items[0].state == "held"
    assert fetching.version(models).id == first.id
    (folder / "video-19b.safetensors").write_bytes(weights(6))
    assert fetching.version(models).ref == "a:2"
    (folder / "video-19b.safetensors").unlink()
    (folder / "config.json").write_text("{}")
    failed(fetching.run(models)[0], Corrupt, "incomplete")


def test_a_version_of_another_store_is_carried_over_as_it_is(fetching, hub, tmp_path):
    hub.repo("org/one", whole())
    with depots.init(str(tmp_path / "other")) as other:
        there = Fetching(other, hub, tmp_path).version(fetching.models("org/one"))
    models = fetching.models(f'source = "store+{tmp_path / "other"}#org/one@latest"')
    [item] = fetching.plan(models).items
    assert (item.state, item.nbytes) == ("fetch", there.nbytes)
    before = hub.sent()
    version = fetching.version(models, checked_out=True)
    assert version.id == there.id
    assert details(fetching.depot, version)["aliases"] == ["latest"]
    assert fetching.plan(models).items[0].state == "held"
    assert hub.sent() == before
    gone = fetching.models(f'source = "store+{tmp_path / "other"}#org/two"')
    failed(fetching.run(gone)[0], NotFound, "version")


def test_nothing_is_asked_where_no_network_may_be_used(hub, fetching, tmp_path):
    hub.repo("org/one", whole())
    fetching.version(fetching.models("org/one"))
    asked = len(hub.requests)
    settings = replace(fetching.depot.settings, offline=True)
    with depots.open_depot(str(tmp_path / "store"), settings=settings) as depot:
        held, gone, old = Fetching(depot, hub, tmp_path).run(fetching.models("org/one", "org/two", AT_V9))
    assert held.version.ref == "org/one:1"
    assert "artstore fetch b with a network, artstore pull REMOTE, or a bundle" in gone.error.message
    assert gone.error.code == old.error.code == "unavailable.offline"
    assert len(hub.requests) == asked


def test_a_plan_says_all_there_is_to_know_and_changes_nothing(fetching, hub):
    files = whole()
    hub.repo("org/one", files, card={"license": "mit"})
    planned = fetching.plan(fetching.models("org/one", "org/none"))
    document = planned.to_json()
    one, none = document["models"]
    assert (one["name"], one["destination"], one["source"]) == ("a", "org_one", "hf://org/one")
    assert (one["license"], one["gated"], one["state"]) == ("mit", False, "fetch")
    assert (one["bytes"], one["held_bytes"], one["fetch_bytes"]) == (total(files), 0, total(files))
    assert none["error"]["error"] == "not-found.repo"
    assert document["fetch_bytes"] == total(files)
    assert document["free_after_bytes"] == document["free_bytes"] - total(files)
    assert hub.sent() == 0
    assert fetching.versions() == []
    assert not fetching.options.partials.exists()


def test_sha256_of_all_files_is_that_of_the_hub(fetching, hub):
    files = whole()
    hub.repo("org/one", files)
    version = fetching.version(fetching.models("org/one"))
    stored = {file.path: file.sha256 for file in fetching.depot.catalog.versions.files(version.id)}
    assert stored == {path: Sha256.of(data) for path, data in files.items()}


def test_a_hub_in_the_house_may_have_a_public_name(hub, fetching):
    hub.repo("org/one", whole())
    endpoint = f"http://mirror.example.com:{hub.endpoint.rpartition(':')[2]}"
    reach = Reach(resolver=lambda _host, _port: ("127.0.0.1",))
    assert fetching.version(fetching.models("org/one"), endpoint=endpoint, reach=reach).ref == "org/one:1"
