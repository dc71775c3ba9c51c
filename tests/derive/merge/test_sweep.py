"""Sweeps: many values of a parameter, each source read once"""

import pytest
import torch
import yaml

from artifactstore.core.errors import Invalid
from artifactstore.derive.merge.sweep import with_values
from tests.derive.merge.mergekit import loaded
from tests.derive.merge.shapes import family

RECIPE = {
    "merge_method": "slerp",
    "base_model": "org/m0",
    "models": [{"model": "org/m0"}, {"model": "org/m1"}],
    "parameters": {"t": [{"filter": "mlp", "value": 0.1}, {"value": 0.9}]},
    "dtype": "bfloat16",
}
VALUES = (0.3, 0.5, 0.7)


@pytest.fixture
def recipe(store, tmp_path):
    for number, folder in enumerate(family("llama", tmp_path, 2)):
        store.add([folder], name=f"org/m{number}")
    (tmp_path / "r.yml").write_text(yaml.safe_dump(RECIPE))
    return tmp_path / "r.yml"


def test_each_is_what_its_own_recipe_makes(store, tmp_path, recipe):
    plan = store.plan_sweep(recipe, {"t": VALUES}, name="swept")
    found = list(store.merge_sweep(plan))
    assert [dict(values) for values, _ in found] == [{"t": value} for value in VALUES]
    assert all(report.known == 30 for _, report in found)
    for values, report in found:
        (tmp_path / "one.yml").write_text(yaml.safe_dump(RECIPE | {"parameters": dict(values)}))
        store.merge(tmp_path / "one.yml", name="alone")
        for name in ("alone", report.committed.version.ref):
            store.checkout(name, tmp_path / name.replace(":", "-"), force=True)
        one, other = loaded(tmp_path / "alone"), loaded(tmp_path / report.committed.version.ref.replace(":", "-"))
        assert one.keys() == other.keys()
        assert all(torch.equal(one[key], other[key]) for key in one)


def test_a_second_time_nothing_is_made(store, recipe):
    first = [report for _, report in store.merge_sweep(store.plan_sweep(recipe, {"t": VALUES}, name="swept"))]
    again = [report for _, report in store.merge_sweep(store.plan_sweep(recipe, {"t": VALUES}, name="swept"))]
    assert [one.committed.version.id for one in again] == [one.committed.version.id for one in first]
    assert all(one.new_bytes == 0 for one in again)


def test_each_source_is_read_once(store, recipe):
    plan = store.plan_sweep(recipe, {"t": VALUES}, name="swept")
    counts = [count_reads(model) for model in plan.merges[0][1].models]
    others = [count_reads(model) for _, merged in plan.merges[1:] for model in merged.models]
    list(store.merge_sweep(plan))
    assert [sum(count) for count in counts] == [
        sum(tensor.nbytes for tensor in m.inputs.tensors.values()) for m in plan.merges[0][1].models
    ]
    assert not any(map(sum, others))


def count_reads(model):
    """Bytes of each read of a model's tensors from now on"""
    counts, inner = [], model.inputs.fill

    def fill(tensor, begin, into):
        counts.append(len(into))
        inner(tensor, begin, into)

    model.inputs.fill = fill
    return counts


def test_a_value_replaces_all_that_the_recipe_says_of_it():
    raw = yaml.safe_dump({"parameters": {"t": 1}, "slices": [{"parameters": {"t": [1, 2]}, "sources": []}]}).encode()
    found = yaml.safe_load(with_values(raw, {"t": 0.25}))
    assert (found["parameters"], found["slices"][0]["parameters"]) == ({"t": 0.25}, {"t": 0.25})


@pytest.mark.parametrize("settings", [{}, {"t": ()}, {"t": [n / 100 for n in range(65)]}])
def test_too_few_or_too_many(store, recipe, settings):
    with pytest.raises(Invalid, match="1 to 64"):
        store.plan_sweep(recipe, settings)


def test_a_parameter_the_method_has_not(store, recipe):
    with pytest.raises(Invalid, match="densty"):
        store.plan_sweep(recipe, {"densty": [0.5]})
