"""Building: recipes to folders that a page can load, and models.json which lists them"""

import json
from dataclasses import replace
from hashlib import sha256
from pathlib import Path

import pytest

from artifactstore.core.errors import Invalid, NotFound, Refused
from artifactstore.core.settings import Settings
from artifactstore.derive.build.plan import Wanted, plan, recipes_in
from artifactstore.derive.build.run import run
from artifactstore.derive.quantize.levels import Target
from artifactstore.store import Store
from tests.derive.evaluate.conftest import alone, llama  # noqa: F401  # fixtures

torch = pytest.importorskip("torch")
safetensors = pytest.importorskip("safetensors.torch")

CONFIG = {
    "architectures": ["LlamaForCausalLM"],
    "hidden_size": 64,
    "model_type": "llama",
    "num_hidden_layers": 2,
    "tie_word_embeddings": True,
    "torch_dtype": "bfloat16",
    "vocab_size": 96,
}


def model(folder, seed, **config):
    torch.manual_seed(seed)
    folder.mkdir(parents=True)
    tensors = {"model.embed_tokens.weight": torch.randn(96, 64), "model.norm.weight": torch.rand(64)}
    for number in range(2):
        tensors[f"model.layers.{number}.mlp.up_proj.weight"] = torch.randn(128, 64)
        tensors[f"model.layers.{number}.mlp.down_proj.weight"] = torch.randn(64, 128)
    safetensors.save_file({name: tensor.bfloat16() for name, tensor in tensors.items()}, folder / "model.safetensors")
    (folder / "config.json").write_text(json.dumps({**CONFIG, **config}))
    return folder


def recipe(*models, name=None, method="linear", **more):
    lines = [f"merge_method: {method}", "models:", *(f"  - model: {one}" for one in models), "parameters: {weight: 1}"]
    return "\n".join([*lines, *([f"name: {name}"] if name else []), *(f"{k}: {v}" for k, v in more.items())]) + "\n"


@pytest.fixture
def shelf(tmp_path, store):
    """A store that holds org/a and org/b, and a folder of recipes: mix of both, then twice of mix and a"""
    for seed, name in enumerate("ab"):
        store.add([model(tmp_path / name, seed)], name=f"org/{name}", license="MIT")
    recipes = tmp_path / "recipes"
    recipes.mkdir()
    (recipes / "a-twice.yml").write_text(recipe("mix", "org/a", name="twice"))
    (recipes / "mix.yml").write_text(recipe("org/a", "org/b"))
    return recipes


def built(store, paths, wanted):
    return run(store, plan(paths, wanted), wanted)


def tree(folder):
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def test_a_recipe_becomes_a_folder_and_an_entry(shelf, store, tmp_path):
    out = tmp_path / "public" / "mix-q8"
    wanted = Wanted("q8", Target.GPU, 20_000, out, base="https://host/models/", made_by="me", measured=False)
    (one,) = built(store, [shelf / "mix.yml"], wanted)
    assert (one.merged.ref, one.product.ref, one.error) == ("mix:1", "mix-q8-gpu:1", None)
    entry = json.loads((tmp_path / "public/models.json").read_bytes())["mix-q8"]
    assert (entry["id"], entry["name"], entry["urls"]) == ("mix-q8", "mix", {"base": "https://host/models/mix-q8"})
    fusion = {"method": "linear", "sources": ["org/a", "org/b"], "created_by": "me"}
    assert entry["metadata"]["fusion"] == fusion
    assert entry["metadata"]["quantize"]["level"] == "q8"
    assert (entry["metadata"]["license"], entry["metadata"]["version"]) == ("MIT", str(one.product.id))
    there = tree(out)
    listed = {file["path"]: file for file in entry["files"]}
    assert set(listed) == set(there)
    assert all(listed[path]["sha256"] == sha256(raw).hexdigest() for path, raw in there.items())
    assert all(listed[path]["size"] == len(raw) <= 20_000 for path, raw in there.items())
    assert sum(path.endswith(".safetensors") for path in there) > 1
    assert entry["size_mb"] == round(sum(map(len, there.values())) / 1e6, 2)
    assert [str(link["relation"]) for link in store.show("mix-q8-gpu")["parents"]] == ["quantize"]


def test_once_more_it_is_all_there(shelf, store, tmp_path):
    wanted = Wanted("q4", Target.GPU, None, tmp_path / "public" / "mix", measured=False)
    (first,) = built(store, [shelf / "mix.yml"], wanted)
    before = tree(tmp_path / "public")
    (again,) = built(store, [shelf / "mix.yml"], wanted)
    assert first.known == 0
    assert again.made + again.known == first.made
    counts = {"made": first.made, "known": 0}
    assert again.to_json() | counts == first.to_json()
    assert tree(tmp_path / "public") == before


def test_how_far_it_is_from_what_was_merged_is_measured_once(store, llama, tmp_path):  # noqa: F811
    store.add([llama], name="org/tiny")
    (tmp_path / "mix.yml").write_text(recipe("org/tiny", llama))
    wanted = Wanted("q4", Target.GPU)
    (one,) = built(store, [tmp_path / "mix.yml"], wanted)
    metrics = store.show("mix-q4-gpu")["metrics"]
    assert 0 < metrics["kl"] == one.distance.kl < 0.5
    assert (one.to_json()["kl"], one.to_json()["top1"]) == (metrics["kl"], metrics["kl.top1"])
    store.metric("mix-q4-gpu", {"kl": 5.0})
    (again,) = built(store, [tmp_path / "mix.yml"], wanted)
    assert again.distance.kl == 5
    assert (again.product.id, again.distance.top1) == (one.product.id, one.distance.top1)


def test_why_it_is_not_measured_is_told(shelf, store):
    (one,) = built(store, [shelf / "mix.yml"], Wanted("q4", Target.GPU))
    assert (one.distance.kl, one.to_json()["kl"]) == (None, None)
    assert one.distance.why
    assert store.show("mix-q4-gpu")["metrics"] == {}
    (merged,) = built(store, [shelf / "mix.yml"], Wanted())
    assert merged.distance is None


def test_recipes_of_a_folder_are_made_in_the_order_of_their_needs(shelf, store, tmp_path):
    wanted = Wanted(out=tmp_path / "public", several=True)
    steps = plan(recipes_in(shelf), wanted)
    assert [str(step.merged) for step in steps] == ["mix", "twice"]
    done = run(store, steps, wanted)
    assert [one.product.ref for one in done] == ["mix:1", "twice:1"]
    assert [link["ref"] for link in store.show("twice")["parents"]] == ["mix:1", "org/a:1"]
    assert set(json.loads((tmp_path / "public/models.json").read_bytes())) == {"mix", "twice"}
    assert {path.name for path in (tmp_path / "public").iterdir()} == {"mix", "twice", "models.json"}


def test_without_a_folder_only_versions_are_made(shelf, store, tmp_path):
    before = {path.name for path in tmp_path.iterdir()}
    (one,) = built(store, [shelf / "mix.yml"], Wanted())
    assert (one.product, one.files, one.step.entry) == (one.merged, (), None)
    assert {path.name for path in tmp_path.iterdir()} == before


def test_one_that_is_refused_leaves_the_others(shelf, store, tmp_path):
    model(tmp_path / "g", 5, architectures=["GemmaForCausalLM"])
    (shelf / "bad.yml").write_text(recipe("org/a", tmp_path / "g"))
    (shelf / "worse.yml").write_text(recipe("bad", "org/a"))
    (shelf / "worst.yml").write_text(recipe("none/such"))
    wanted = Wanted(out=tmp_path / "public", several=True)
    done = {str(one.step.merged): one for one in built(store, recipes_in(shelf), wanted)}
    assert {name for name, one in done.items() if one.error is None} == {"mix", "twice"}
    assert "differ in architecture" in done["bad"].error.message
    assert done["worse"].error.message == "worse needs bad, which could not be made"
    assert done["worst"].error.code.startswith("not-found")
    assert done["bad"].to_json()["error"]["error"] == "invalid.merge-architecture"
    assert set(json.loads((tmp_path / "public/models.json").read_bytes())) == {"mix", "twice"}
    with pytest.raises(Invalid, match="differ in architecture"):
        built(store, [shelf / "bad.yml"], wanted)


def test_a_listing_keeps_its_form_and_other_entries(shelf, store, tmp_path):
    (tmp_path / "public").mkdir()
    (tmp_path / "public/models.json").write_text('{"models": [{"id": "x", "n": 1e-5}, {"id": "key"}]}')
    built(store, [shelf / "mix.yml"], Wanted(out=tmp_path / "public/mix", entry="key"))
    found = json.loads((tmp_path / "public/models.json").read_bytes())["models"]
    assert [one["id"] for one in found] == ["x", "key"]
    assert (found[0]["n"], found[1]["urls"]) == (1e-5, {"base": "mix"})


def test_a_listing_that_is_none_is_left_as_it_is(shelf, store, tmp_path):
    (tmp_path / "public").mkdir()
    (tmp_path / "public/models.json").write_text("{")
    with pytest.raises(Invalid, match=r"models\.json is no JSON"):
        built(store, [shelf / "mix.yml"], Wanted(out=tmp_path / "public/mix"))
    assert (tmp_path / "public/models.json").read_text() == "{"


def test_other_content_in_the_folder_is_not_overwritten(shelf, store, tmp_path):
    wanted = Wanted(out=tmp_path / "public/mix", ceiling=1_000_000)
    built(store, [shelf / "mix.yml"], wanted)
    before = tree(tmp_path / "public")
    (shelf / "mix.yml").write_text(recipe("org/a", "org/b", dtype="float32"))
    with pytest.raises(Refused, match="--force"):
        built(store, [shelf / "mix.yml"], wanted)
    assert tree(tmp_path / "public") == before
    (one,) = built(store, [shelf / "mix.yml"], replace(wanted, force=True))
    assert one.product.number == 2
    assert json.loads((tmp_path / "public/models.json").read_bytes())["mix"]["metadata"]["ref"] == "mix:2"


@pytest.mark.parametrize(
    ("wanted", "message"),
    [
        (Wanted("q5", Target.GPU), "q5"),
        (Wanted("fp8", Target.CPU), "fp8"),
        (Wanted("bf16", Target.WEB), "bf16"),
    ],
)
def test_levels_that_a_target_has_not_are_refused_first(shelf, wanted, message):
    with pytest.raises(Invalid, match=message):
        plan([shelf / "none.yml"], wanted)


def test_recipes_that_do_not_go_together_are_refused_first(shelf):
    (shelf / "mix2.yaml").write_text(recipe("org/a", name="mix"))
    with pytest.raises(Invalid, match="both make mix"):
        plan(recipes_in(shelf), Wanted())
    (shelf / "mix2.yaml").unlink()
    (shelf / "mix.yml").write_text(recipe("twice", "org/b"))
    with pytest.raises(Invalid, match="go round in a circle"):
        plan(recipes_in(shelf), Wanted())
    with pytest.raises(NotFound, match="holds no recipes"):
        recipes_in(shelf.parent / "a")


class UnpluggedError(Exception):
    """Somebody pulled the plug"""


@pytest.mark.parametrize("at", [1, 8, 24, 48, 96, 144])
def test_a_build_that_was_cut_off_ends_in_the_same_bytes(shelf, store, tmp_path, at):
    location = str(tmp_path / "store")
    store.close()
    whole = Wanted("q4", Target.GPU, 20_000, tmp_path / "whole", several=True, measured=False)
    cut = replace(whole, out=tmp_path / "cut")
    left = [at]

    def monitor(event):
        left[0] -= 1
        if left[0] == 0:
            raise UnpluggedError

    with (
        Store.open(location, settings=Settings(landing=1 << 16), monitor=monitor) as interrupted,
        pytest.raises(UnpluggedError),
    ):
        built(interrupted, recipes_in(shelf), cut)
    with Store.open(location) as again:
        built(again, recipes_in(shelf), cut)
        built(again, recipes_in(shelf), whole)
    assert tree(tmp_path / "cut") == tree(tmp_path / "whole")
    assert set(tree(tmp_path / "cut")) >= {"models.json"}


def test_paths_are_as_they_were_given(shelf):
    wanted = Wanted("q4", out=Path("public"), several=True)
    (first, _) = plan([shelf / "mix.yml", shelf / "a-twice.yml"], wanted)
    assert (str(first.product), first.out, first.entry) == ("mix-q4", Path("public/mix-q4"), "mix-q4")
    assert first.to_json()["takes"] == []
