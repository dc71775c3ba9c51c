"""What lineage says of the models of a merge"""

import pytest
import yaml

from artifactstore.core.errors import Invalid
from tests.derive.merge.shapes import family, make


def write(tmp_path, **recipe):
    (tmp_path / "r.yml").write_text(yaml.safe_dump({"dtype": "bfloat16", **recipe}))
    return tmp_path / "r.yml"


def two(first, other):
    return [{"model": first, "parameters": {"weight": 0.5}}, {"model": other, "parameters": {"weight": 0.5}}]


@pytest.fixture
def folders(tmp_path):
    return family("llama", tmp_path, 3)


def deltas(tmp_path):
    return write(tmp_path, merge_method="task_arithmetic", base_model="org/m0", models=two("org/m1", "org/m2"))


def test_models_of_their_base_are_no_news(store, tmp_path, folders):
    store.add([folders[0]], name="org/m0")
    for number in (1, 2):
        store.add([folders[number]], name=f"org/m{number}", parents=[store.link("org/m0")])
    assert not any("descend" in note for note in store.plan_merge(deltas(tmp_path)).blueprint.notes)


def test_a_model_of_another_base_is_told_of(store, tmp_path, folders):
    store.add([folders[0]], name="org/m0")
    store.add([make("llama", tmp_path / "x", 9) and tmp_path / "x"], name="org/other")
    store.add([folders[1]], name="org/m1", parents=[store.link("org/other")])
    store.add([folders[2]], name="org/m2", parents=[store.link("org/m0")])
    [note] = [note for note in store.plan_merge(deltas(tmp_path)).blueprint.notes if "descend" in note]
    assert note == ("org/m1 does not descend from org/m0, as far as its links say: it was made of org/other:1")


def test_the_two_ends_of_slerp_are_no_base_of_each_other(store, tmp_path, folders):
    store.add([folders[0]], name="org/m0")
    for number in (1, 2):
        store.add([folders[number]], name=f"org/m{number}", parents=[store.link("org/m0")])
    models = [{"model": "org/m1"}, {"model": "org/m2"}]
    recipe = write(tmp_path, merge_method="slerp", base_model="org/m1", models=models, parameters={"t": 0.4})
    assert not any("descend" in note for note in store.plan_merge(recipe).blueprint.notes)


def test_where_nobody_knows_nothing_is_said(store, tmp_path, folders):
    for number in range(3):
        store.add([folders[number]], name=f"org/m{number}")
    assert not any("descend" in note for note in store.plan_merge(deltas(tmp_path)).blueprint.notes)


def test_models_of_two_architectures_are_refused_with_what_could_be_merged(store, tmp_path, folders):
    for number in range(3):
        store.add([folders[number]], name=f"org/m{number}")
    make("qwen2", tmp_path / "q", 1)
    store.add([tmp_path / "q"], name="org/q")
    recipe = write(tmp_path, merge_method="linear", models=two("org/m0", "org/q"))
    before = list(store.depot.catalog.dump())
    with pytest.raises(Invalid, match="differ in architecture") as refusal:
        store.plan_merge(recipe)
    assert refusal.value.facts["next"][0] == ("org/m0 can be merged with org/m2:1, org/m1:1: their tensors are alike")
    assert {row["what"] for row in refusal.value.facts["table"]} >= {"architecture", "model_type"}
    assert list(store.depot.catalog.dump()) == before


def test_a_product_is_none_of_its_models(store, tmp_path, folders):
    for number in range(3):
        store.add([folders[number]], name=f"org/m{number}")
    with pytest.raises(Invalid, match="org/m1 is one of the models"):
        store.plan_merge(deltas(tmp_path), name="org/m1")
