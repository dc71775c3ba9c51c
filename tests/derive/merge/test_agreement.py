"""What mergekit 0.1.5 makes of the same recipe, bit for bit, and how far it is where it cannot be the same"""

import json

import pytest
import torch
import yaml

from artifactstore.store import Store
from tests.derive.merge.mergekit import loaded, merged
from tests.derive.merge.shapes import family

pytestmark = pytest.mark.slow


def two(models, first, other):
    return [{"model": models[1], "parameters": first}, {"model": models[2], "parameters": other}]


RECIPES = {
    "linear": lambda m: {"merge_method": "linear", "models": two(m, {"weight": 0.3}, {"weight": 0.7})},
    "linear by filter": lambda m: {
        "merge_method": "linear",
        "models": two(m, {"weight": [{"filter": "mlp", "value": [0.1, 0.8]}, {"value": 0.5}]}, {"weight": 0.7}),
        "parameters": {"normalize": False},
    },
    "task_arithmetic": lambda m: {
        "merge_method": "task_arithmetic",
        "base_model": m[0],
        "models": two(m, {"weight": 0.6}, {"weight": [0.2, 0.9]}),
        "parameters": {"lambda": 0.9},
    },
    "task_arithmetic fp32": lambda m: {
        "merge_method": "task_arithmetic",
        "base_model": m[0],
        "models": two(m, {"weight": 0.6}, {"weight": 0.4}),
        "dtype": "float32",
        "out_dtype": "bfloat16",
    },
    "nuslerp": lambda m: {"merge_method": "nuslerp", "models": two(m, {"weight": 0.4}, {"weight": 0.6})},
    "nuslerp of deltas": lambda m: {
        "merge_method": "nuslerp",
        "base_model": m[0],
        "models": two(m, {"weight": 0.4}, {"weight": 0.6}),
    },
    "model_stock": lambda m: {
        "merge_method": "model_stock",
        "base_model": m[0],
        "models": [{"model": m[1]}, {"model": m[2]}],
    },
    "passthrough": lambda m: {
        "merge_method": "passthrough",
        "slices": [
            {"sources": [{"model": m[0], "layer_range": [0, 2]}]},
            {"sources": [{"model": m[1], "layer_range": [1, 3]}]},
        ],
    },
}


@pytest.fixture(params=["llama", "qwen2", "bert"], scope="module")
def models(request, tmp_path_factory):
    folders = family(request.param, tmp_path_factory.mktemp(request.param))
    if request.param == "bert":
        # what mergekit 0.1.5 has for BERT fails on any model; so that it goes by the tensors
        for folder in folders:
            config = json.loads((folder / "config.json").read_bytes())
            (folder / "config.json").write_text(json.dumps(config | {"architectures": ["Nameless"]}))
    return list(map(str, folders))


@pytest.fixture(scope="module")
def store(models, tmp_path_factory):
    """With the models as versions"""
    with Store.init(str(tmp_path_factory.mktemp("held") / "store")) as store:
        for number, folder in enumerate(models):
            store.add([folder], name=f"org/m{number}")
        yield store


def made(store, tmp_path, recipe, models):
    """What our merge makes of a recipe, its models in the store"""
    text = yaml.safe_dump(recipe)
    for number, folder in enumerate(models):
        text = text.replace(folder, f"org/m{number}")
    (tmp_path / "recipe.yml").write_text(text)
    report = store.merge(tmp_path / "recipe.yml", name="merged")
    store.checkout(str(report.committed.version.id), tmp_path / "ours")
    return loaded(tmp_path / "ours")


def ulps(one, other):
    """How many elements differ, and the largest distance in units of the last place"""
    steps = (_ordered(one) - _ordered(other)).abs()
    return int((steps > 0).sum()), int(steps.max()) if steps.numel() else 0


def _ordered(tensor):
    bits = tensor.reshape(-1).view(torch.int16 if tensor.element_size() == 2 else torch.int32).long()
    return torch.where(bits < 0, torch.iinfo(bits.dtype).min + (1 << 40) - bits - (1 << 40), bits)


@pytest.mark.parametrize("name", RECIPES)
def test_bit_for_bit(store, tmp_path, models, name):
    if name == "passthrough" and "llama" not in models[0]:
        pytest.skip("mergekit itself fails: it leaves layer_types as they were, and cannot slice what it infers")
    recipe = {"dtype": "bfloat16", **RECIPES[name](models)}
    theirs = merged(recipe, tmp_path / "theirs")
    ours = made(store, tmp_path, recipe, models)
    assert ours.keys() == theirs.keys()
    assert [key for key, tensor in theirs.items() if not torch.equal(tensor, ours[key])] == []


@pytest.mark.parametrize("t", [0.4, [0.1, 0.9], [{"filter": "self_attn", "value": [0, 0.5, 1]}, {"value": 0.3}]])
def test_slerp_within_a_unit_in_the_last_place(store, tmp_path, models, t):
    recipe = {
        "merge_method": "slerp",
        "base_model": models[1],
        "models": [{"model": models[1]}, {"model": models[2]}],
        "parameters": {"t": t},
        "dtype": "bfloat16",
    }
    theirs = merged(recipe, tmp_path / "theirs")
    ours = made(store, tmp_path, recipe, models)
    assert ours.keys() == theirs.keys()
    apart = [ulps(ours[key], tensor) for key, tensor in theirs.items()]
    assert max(far for _, far in apart) <= 1
    assert sum(count for count, _ in apart) <= sum(tensor.numel() for tensor in theirs.values()) / 1000


@pytest.mark.parametrize("dtype", ["bfloat16", "float32"])
def test_ties_but_for_what_lies_at_the_threshold(store, tmp_path, models, dtype):
    recipe = {
        "merge_method": "ties",
        "base_model": models[0],
        "models": two(models, {"weight": 0.6, "density": 0.5}, {"weight": 0.4, "density": 0.3}),
        "dtype": dtype,
    }
    theirs = merged(recipe, tmp_path / "theirs")
    ours = made(store, tmp_path, recipe, models)
    assert ours.keys() == theirs.keys()
    sources = [loaded(tmp_path.__class__(folder)) for folder in models]
    for key, tensor in theirs.items():
        differs = (ours[key] != tensor).reshape(-1)
        assert not (differs & ~_at_threshold(key, sources, dtype)).any()


def _at_threshold(key, sources, dtype):
    """Elements whose difference from the base is as large as the smallest that stays, in either model"""
    base, *others = (one[key].to(getattr(torch, dtype)).reshape(-1) for one in sources)
    found = torch.zeros(base.numel(), dtype=torch.bool)
    for model, density in zip(others, (0.5, 0.3), strict=True):
        size = (model - base).abs().float()
        stays = max(1, int(density * size.numel()))
        found |= size == size.sort(descending=True).values[stays - 1]
    return found
