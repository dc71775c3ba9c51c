"""Mergekit recipes: every form of naming a model, weights and parameters"""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from artifactstore.core.errors import Invalid
from artifactstore.core.manifest import rfc8785
from artifactstore.core.provenance import mergekit
from artifactstore.core.provenance.yaml_text import load_yaml
from tests.core.provenance.test_base import ANY
from tests.core.provenance.versions import Told, brief

TIES = """
models:
  - model: psmathur/orca_mini_v3_13b
    parameters:
      density: [1, 0.7, 0.1] # density gradient
      weight: 1.0
  - model: garage-bAInd/Platypus2-13B
    parameters:
      density: 0.5
      weight: [0, 0.3, 0.7, 1] # weight gradient
  - model: WizardLM/WizardMath-13B-V1.0
    parameters:
      density: 0.33
      weight:
        - filter: mlp
          value: 0.5
        - value: 0
merge_method: ties
base_model: TheBloke/Llama-2-13B-fp16
parameters:
  normalize: true
  int8_mask: true
dtype: float16
"""
SLERP = """
slices:
  - sources:
      - model: psmathur/orca_mini_v3_13b
        layer_range: [0, 40]
      - model: garage-bAInd/Platypus2-13B
        layer_range: [0, 40]
merge_method: slerp
base_model: garage-bAInd/Platypus2-13B
parameters:
  t:
    - filter: self_attn
      value: [0, 0.5, 0.3, 0.7, 1]
    - value: 0.5
"""
FRANKEN = """
slices:
- sources:
  - model: org/a
    layer_range: [0, 16]
- sources:
  - model: org/b
    layer_range: [8, 24]
    parameters: {scale: 2}
- sources:
  - model: org/a
    layer_range: [17, 32]
    parameters: {scale: 3}
merge_method: passthrough
"""
LORAS = """
models:
  - model: org/base@v1+org/style-lora@abc
    parameters: {weight: 0.3}
  - model:
      model: {path: org/second, revision: main}
      lora: {path: /loras/face}
    parameters: {weight: 0.7}
  - model: {model: org/third, lora: null, override_architecture: LlamaForCausalLM}
    parameters: {weight: 0}
merge_method: linear
"""
MODULES = """
modules:
  text_decoder:
    slices:
      - sources:
          - model: org/vlm-a
            layer_range: [0, 4]
          - model: org/vlm-b
            layer_range: [0, 4]
            parameters: {weight: 0.75}
        base_model: org/text-base
        parameters: {weight: 0.5}
  vision:
    models: [{model: org/vlm-a}, {model: org/vlm-b, parameters: {weight: 0.75}}]
    parameters: {weight: 0.25}
parameters: {weight: 1}
merge_method: linear
"""
MOE = """
base_model: mlabonne/Marcoro14-7B-slerp
gate_mode: hidden
dtype: bfloat16
experts:
  - source_model: openchat/openchat-3.5-1210
    positive_prompts: [chat, assistant]
  - source_model: beowolx/CodeNinja-1.0-OpenChat-7B
    positive_prompts: [code]
shared_experts:
  - source_model: org/shared
"""


def read(document):
    told = Told()
    document = load_yaml(document) if isinstance(document, str) else document
    return mergekit.read(document, "mergekit_config.yml", told).parents, told.lines


def params(link):
    return {key: value for key, value in link.params.items() if key != "read"}


def test_ties_has_its_base_first_and_numbers_as_weights():
    links, told = read(TIES)
    assert [(link.ref, link.weight) for link in links] == [
        ("hf://TheBloke/Llama-2-13B-fp16", None),
        ("hf://psmathur/orca_mini_v3_13b", 1.0),
        ("hf://garage-bAInd/Platypus2-13B", None),
        ("hf://WizardLM/WizardMath-13B-V1.0", None),
    ]
    assert {link.relation for link in links} == {"merge"}
    assert {link.params["read"] for link in links} == {"mergekit_config.yml"}
    both = {"method": "ties", "normalize": True, "int8_mask": True}
    assert [params(link) for link in links] == [
        {"method": "ties", "role": "base"},
        {**both, "density": [1, 0.7, 0.1]},
        {**both, "density": 0.5, "weight": [0, 0.3, 0.7, 1]},
        {**both, "density": 0.33, "weight": [{"filter": "mlp", "value": 0.5}, {"value": 0}]},
    ]
    assert told == []


def test_a_base_that_is_a_source_keeps_its_place():
    links, _ = read(SLERP)
    t = [{"filter": "self_attn", "value": [0, 0.5, 0.3, 0.7, 1]}, {"value": 0.5}]
    assert brief(links) == [("merge", "hf://psmathur/orca_mini_v3_13b"), ("merge", "hf://garage-bAInd/Platypus2-13B")]
    assert params(links[0]) == {"method": "slerp", "t": t, "layers": [[0, 40]]}
    assert params(links[1]) == {"method": "slerp", "t": t, "layers": [[0, 40]], "role": "base"}


def test_slices_of_one_model_are_one_link():
    links, _ = read(FRANKEN)
    assert [(link.ref, params(link)) for link in links] == [
        ("hf://org/a", {"method": "passthrough", "layers": [[0, 16], [17, 32]], "scale": [None, 3]}),
        ("hf://org/b", {"method": "passthrough", "layers": [[8, 24]], "scale": 2}),
    ]


def test_loras_are_parents_too():
    links, told = read(LORAS)
    assert [(link.ref, link.weight, params(link)) for link in links] == [
        ("hf://org/base@v1", 0.3, {"method": "linear", "lora": "hf://org/style-lora@abc"}),
        ("hf://org/second@main", 0.7, {"method": "linear", "lora": "file:face"}),
        ("hf://org/third", 0, {"method": "linear"}),
        ("hf://org/style-lora@abc", None, {"method": "linear", "role": "lora", "of": "hf://org/base@v1"}),
        ("file:face", None, {"method": "linear", "role": "lora", "of": "hf://org/second@main"}),
    ]
    assert told == []


def test_two_loras_of_one_model_and_a_lora_that_is_a_model():
    links, _ = read({"models": [{"model": "o/a+o/x"}, {"model": "o/a+o/y"}, {"model": "o/x"}]})
    assert [(link.ref, params(link)) for link in links] == [
        ("hf://o/a", {"lora": ["hf://o/x", "hf://o/y"]}),
        ("hf://o/x", {}),
        ("hf://o/y", {"role": "lora", "of": "hf://o/a"}),
    ]


def test_modules_and_the_innermost_parameter():
    links, _ = read(MODULES)
    assert [(link.ref, link.weight, params(link)) for link in links] == [
        ("hf://org/text-base", None, {"method": "linear", "role": "base"}),
        ("hf://org/vlm-a", None, {"method": "linear", "layers": [[0, 4]], "weight": [0.5, 0.25]}),
        ("hf://org/vlm-b", 0.75, {"method": "linear", "layers": [[0, 4]]}),
    ]


def test_experts():
    links, _ = read(MOE)
    assert [(link.ref, params(link)) for link in links] == [
        ("hf://mlabonne/Marcoro14-7B-slerp", {"method": "moe", "role": "base"}),
        ("hf://openchat/openchat-3.5-1210", {"method": "moe", "role": "expert"}),
        ("hf://beowolx/CodeNinja-1.0-OpenChat-7B", {"method": "moe", "role": "expert"}),
        ("hf://org/shared", {"method": "moe", "role": "expert"}),
    ]


@pytest.mark.parametrize("weight", [True, float("inf"), float("nan"), "half", None, 2**60])
def test_what_is_no_finite_number_is_no_weight(weight):
    (link,), _ = read({"models": [{"model": "a/b", "parameters": {"weight": weight}}]})
    assert link.weight is None
    assert params(link).get("weight") == (weight if weight in (True, "half") else None)


def test_a_recipe_does_not_set_what_is_ours():
    names = ["read", "method", "role", "of", "lora", "layers", "sha256", " sha256", "read "]
    inner = dict.fromkeys(names, "f" * 64)
    (link,), _ = read({"models": [{"model": "a/b", "parameters": inner | {"weight": 1, 7: 8}}]})
    assert (link.weight, dict(link.params)) == (1, {"read": "mergekit_config.yml"})


@pytest.mark.parametrize("model", [7, None, [], {}, {"path": 7}, {"model": {"lora": "x"}}, "", "a\0b", ["a/b"]])
def test_what_names_no_model_is_told(model):
    links, (line,) = read({"models": [{"model": "a/b"}, {"model": model}]})
    assert brief(links) == [("merge", "hf://a/b")]
    assert "names no model" in line


@pytest.mark.parametrize(
    "document", [{}, {"models": "a/b"}, {"models": ["a/b"]}, {"slices": [{"sources": 7}]}, {"modules": ["a"]}]
)
def test_a_recipe_of_another_form_is_told(document):
    assert read(document) == (
        (),
        ["mergekit_config.yml: it names no models in a form that is known; no parent was taken from it"],
    )


@pytest.mark.parametrize("document", [None, [], "text", 7])
def test_what_has_no_keys_is_refused(document):
    with pytest.raises(Invalid, match="not keys and values"):
        read(document)


def test_a_recipe_of_thousands_is_bounded_in_parents_and_in_values():
    gradient = list(range(500))
    models = [{"model": f"org/m{n}"} for n in range(5000)]
    links, told = read({"models": models, "parameters": {f"p{n}": gradient for n in range(1000)}})
    assert len(links) == 1000
    assert told == ["mergekit_config.yml: it names more than 1000 parents; only so many were taken"]
    assert sum(len(rfc8785.dumps(link.to_json())) for link in links) < 500_000


KEYS = ("models", "slices", "sources", "modules", "model", "path", "lora", "base_model", "parameters", "experts")


def nested(inner):
    leaf = st.sampled_from(["a/b", "a/b+c/d", "/x", 7, None, 0.5]) | st.just(inner)
    return st.recursive(
        leaf,
        lambda deeper: st.lists(deeper, max_size=3) | st.dictionaries(st.sampled_from(KEYS), deeper, max_size=4),
        max_leaves=12,
    )


@given(ANY.flatmap(nested))
def test_any_document_is_read_or_refused(document):
    try:
        links, _ = read(document)
    except Invalid:
        return
    for link in links:
        assert rfc8785.dumps(link.to_json())
