"""A real model and two real fine-tunes of it, merged here and by mergekit 0.1.5"""

import json

import pytest
import torch
import yaml

from artifactstore.derive.kernels.parts import BLOCK
from artifactstore.derive.threads import one_thread
from artifactstore.store import Store
from tests.derive.kernels.cutting import apart, same_bits
from tests.derive.kernels.cutting import ours as by_our_kernel
from tests.derive.kernels.cutting import theirs as by_their_kernel
from tests.derive.merge.mergekit import loaded, merged
from tests.derive.minilm import vectors

pytestmark = pytest.mark.slow

NAMES = ("base", "a", "b")
TEXTS = ["A cat sits on the mat", "There is a cat on the rug", "Merge two fine-tunes", "The movie begins at 8 pm"]
# a table of numbers of places that only the base has; mergekit makes numbers of the recipe's dtype of it
PLACES = "embeddings.position_ids"


@pytest.fixture(scope="module", autouse=True)
def alone():
    """Mergekit's sums are those of as many parts as torch has threads"""
    with one_thread():
        yield


@pytest.fixture(scope="module")
def tensors(minilms):
    """Of each model by name, but for what only the base has"""
    found = {name: loaded(minilms[name]) for name in NAMES}
    found["base"].pop(PLACES)
    assert found["base"].keys() == found["a"].keys() == found["b"].keys()
    return found


@pytest.fixture(scope="module")
def store(minilms, tmp_path_factory):
    with Store.init(str(tmp_path_factory.mktemp("held") / "store")) as store:
        for name in NAMES:
            store.add([minilms[name]], name=f"minilm/{name}")
        yield store


@pytest.fixture(scope="module")
def views(minilms, tmp_path_factory):
    """The same weights for mergekit, whose own description of BERT fails on any model

    Of a configuration that transformers makes no causal model of, it goes by the names of the tensors.
    """
    root = tmp_path_factory.mktemp("views")
    for name in NAMES:
        (root / name).mkdir()
        (root / name / "config.json").write_text(json.dumps({"architectures": ["Nameless"], "model_type": "t5"}))
        (root / name / "model.safetensors").symlink_to(minilms[name] / "model.safetensors")
    return root


@pytest.fixture
def both(store, views, tmp_path):
    """What a method makes of them here and there"""

    def make(method, a, b, base=None, dtype="float32", **parameters):
        recipe = {
            "merge_method": method,
            "models": [{"model": "minilm/a", "parameters": a}, {"model": "minilm/b", "parameters": b}],
            "parameters": parameters,
            "dtype": dtype,
            **({} if base is None else {"base_model": f"minilm/{base}"}),
        }
        text = yaml.safe_dump(recipe)
        theirs = merged(yaml.safe_load(text.replace("minilm/", f"{views}/")), tmp_path / "theirs")
        (tmp_path / "recipe.yml").write_text(text)
        report = store.merge(tmp_path / "recipe.yml", name=f"{method}-{dtype}")
        store.checkout(str(report.committed.version.id), tmp_path / "ours")
        ours = loaded(tmp_path / "ours")
        assert ours.keys() == theirs.keys()
        theirs.pop(PLACES, None)
        assert ours.pop(PLACES, torch.zeros(1, dtype=torch.int64)).dtype == torch.int64
        return ours, theirs

    return make


def unlike(ours, theirs):
    """Names of tensors that differ"""
    return {name for name, tensor in theirs.items() if not same_bits(ours[name], tensor)}


@pytest.mark.parametrize(
    ("method", "a", "b", "more"),
    [
        ("linear", {"weight": 0.3}, {"weight": 0.7}, {}),
        ("task_arithmetic", {"weight": 0.6}, {"weight": [0.2, 0.9]}, {"base": "base", "lambda": 0.9}),
        ("model_stock", {}, {}, {"base": "base", "dtype": "bfloat16"}),
    ],
)
def test_bit_for_bit(both, method, a, b, more):
    assert unlike(*both(method, a, b, **more)) == set()


def test_slerp_within_a_unit_in_the_last_place(both, tensors):
    ours, theirs = both("slerp", {}, {}, base="a", t=0.4)
    apart_by = [apart(ours[name], tensor) for name, tensor in theirs.items()]
    assert max(int(each.max()) for each in apart_by) <= 1
    assert sum(int(each.count_nonzero()) for each in apart_by) <= sum(map(torch.numel, theirs.values())) / 1000
    assert unlike(ours, theirs) <= {name for name, tensor in theirs.items() if same_bits(*of_both(tensors, name))}


def test_nuslerp_but_for_what_both_have(both, tensors):
    """No step changed the pooler: the arc between equal vectors has no length, and mergekit divides by its sine"""
    ours, theirs = both("nuslerp", {"weight": 0.4}, {"weight": 0.6})
    alike = {name for name in theirs if same_bits(*of_both(tensors, name))}
    assert unlike(ours, theirs) <= alike == {"pooler.dense.weight", "pooler.dense.bias"}
    assert all(same_bits(ours[name], tensors["a"][name]) for name in alike)
    assert max(int(apart(theirs[name], ours[name]).max()) for name in alike) <= 16


def test_ties_but_for_what_lies_at_the_threshold(both, tensors):
    ours, theirs = both("ties", {"weight": 0.6, "density": 0.5}, {"weight": 0.4, "density": 0.3}, base="base")
    for name in unlike(ours, theirs):
        assert not ((ours[name] != theirs[name]) & ~at_threshold(tensors, name, {"a": 0.5, "b": 0.3})).any()


def test_model_stock_as_near_as_its_sums(both, tensors):
    """In single precision the cosine of large tensors differs by how it is added up, and with it the share"""
    ours, theirs = both("model_stock", {}, {}, base="base")
    for name in unlike(ours, theirs):
        assert near(ours[name], theirs[name], of_all(tensors, name)), name


class Replay:
    """Chance as mergekit draws it after a seed: of one source after the other, each whole"""

    def __init__(self, seed, shape, densities):
        torch.manual_seed(seed)
        self._drawn = [torch.bernoulli(torch.full(shape, density)).view(-1).bool() for density in densities]

    def draw(self, source, begin, chances):
        return self._drawn[source - 1][begin : begin + chances.numel()].view(chances.shape)


def test_dare_ties_with_mergekits_chance(tensors):
    """To the bit, but for large tensors: by how much what stays is lengthened differs by how it is added up"""
    each = {"weight": (0, 0.6, 0.4), "density": (0, 0.5, 0.3)}
    for name in tensors["base"]:
        models = of_all(tensors, name)
        torch.manual_seed(5)
        theirs = by_their_kernel("dare_ties", models, 0, each=each)
        masks = Replay(5, theirs.shape, each["density"][1:])
        ours = by_our_kernel("dare_ties", models, 0, each=each, masks=masks)
        assert same_bits(ours, theirs) or near(ours, theirs, models), name


def test_the_product_loads_and_finds_what_its_parents_find(store, minilms, tmp_path):
    recipe = {
        "merge_method": "ties",
        "base_model": "minilm/base",
        "models": [{"model": f"minilm/{one}", "parameters": {"weight": 0.5, "density": 0.6}} for one in "ab"],
    }
    (tmp_path / "recipe.yml").write_text(yaml.safe_dump(recipe))
    store.merge(tmp_path / "recipe.yml", name="soup")
    store.checkout("soup", tmp_path / "soup")
    parents = {(link["relation"], link["ref"]) for link in store.show("soup")["parents"]}
    assert parents == {("merge", f"minilm/{one}:1") for one in NAMES}
    found = vectors(tmp_path / "soup", TEXTS)
    for one in NAMES:
        assert (found * vectors(minilms[one], TEXTS)).sum(-1).min() > 0.9
    likeness = found @ found.T
    assert likeness[0, 1] > 0.6 > 0.3 > likeness[0, 2:].max()


def of_all(tensors, name):
    return [tensors[one][name] for one in NAMES]


def of_both(tensors, name):
    return of_all(tensors, name)[1:]


def near(one, other, terms):
    """Whether the results of large tensors are but for few elements as near as what they are sums of can be told"""
    largest = torch.stack([term.abs() for term in (other, *terms)]).amax(0)
    units = (one - other).abs() / torch.ldexp(torch.ones_like(largest), largest.frexp().exponent - 24)
    return one.numel() > BLOCK and units.max() <= 8 and (units > 1).sum() <= one.numel() / 1000


def at_threshold(tensors, name, densities):
    """Elements that moved as far from the base as the least that stays, in either model"""
    found = torch.zeros_like(tensors["base"][name], dtype=torch.bool)
    for model, density in densities.items():
        size = (tensors[model][name] - tensors["base"][name]).abs()
        found |= size == size.view(-1).kthvalue(size.numel() - max(1, int(density * size.numel())) + 1).values
    return found
