"""Against mergekit: every parameter of every tensor is what its planner makes of the same recipe"""

import json

import pytest
import yaml

from artifactstore.core.recipe.facts import ModelFacts
from artifactstore.core.recipe.methods import WITHOUT_EFFECT
from artifactstore.core.recipe.parse import parse
from artifactstore.core.recipe.resolve import resolve

safetensors = pytest.importorskip("safetensors.numpy")
CONFIG = {
    "architectures": ["LlamaForCausalLM"],
    "hidden_size": 8,
    "intermediate_size": 16,
    "model_type": "llama",
    "num_attention_heads": 2,
    "num_hidden_layers": 5,
    "num_key_value_heads": 1,
    "tie_word_embeddings": False,
    "vocab_size": 12,
}
RECIPES = {
    "linear": """
merge_method: linear
models:
  - {model: a, parameters: {weight: [{filter: self_attn, value: [0.1, 0.5, 0.2]}, {filter: mlp, value: 0.7}, {value: 0.3}]}}
  - {model: b, parameters: {weight: [0.25, 0.75]}}
parameters: {normalize: [{filter: embed, value: false}, {value: true}]}
""",
    "slerp": """
merge_method: slerp
base_model: b
slices:
  - sources: [{model: a, layer_range: [0, 5]}, {model: b, layer_range: [0, 5]}]
parameters:
  t: [{filter: self_attn, value: [0.1, 0.5, 0.3, 0.7, 0.9]}, {filter: mlp, value: [0.9, 0.5, 0.7, 0.3, 0.2]}, {value: 0.5}]
""",
    "dare_ties": """
merge_method: dare_ties
base_model: base
models:
  - {model: a, parameters: {weight: 0.4, density: [0.3, 0.9]}}
  - {model: base}
  - {model: b, parameters: {density: 0.5}}
parameters: {weight: [{filter: down_proj, value: [1, 2]}, {value: 0.6}], rescale: false, int8_mask: true}
""",
    "della": """
merge_method: della
base_model: base
models: [{model: a, parameters: {epsilon: 0.05}}, {model: b}]
parameters: {weight: 1e-1, density: 0.6, lambda: [1.0, 0.5]}
""",
    "slices": """
merge_method: linear
slices:
  - sources: [{model: a, layer_range: [0, 3]}, {model: b, layer_range: [2, 5], parameters: {weight: 0.9}}]
    parameters: {weight: [0.2, 0.4], normalize: false}
  - sources: [{model: base, layer_range: [3, 5]}]
parameters: {weight: 0.8}
""",
    "nuslerp": """
merge_method: nuslerp
models: [{model: a, parameters: {weight: 0.3}}, {model: b, parameters: {weight: [0.6, 0.8]}}]
parameters: {nuslerp_row_wise: true}
""",
    "passthrough": """
merge_method: passthrough
slices:
  - sources: [{model: a, layer_range: [1, 4], parameters: {scale: [{filter: o_proj, value: 0.5}, {value: 2.0}]}}]
  - sources: [{model: b, layer_range: [0, 1]}]
""",
}


@pytest.fixture(scope="module")
def shelf(tmp_path_factory):
    """Three small Llamas, as folders and as facts"""
    import numpy as np

    root = tmp_path_factory.mktemp("models")
    shapes = {"model.embed_tokens": (12, 8), "model.norm": (8,), "lm_head": (12, 8)}
    for number in range(5):
        layer = {"self_attn.q_proj": (8, 8), "self_attn.k_proj": (4, 8), "self_attn.v_proj": (4, 8)}
        layer |= {
            "self_attn.o_proj": (8, 8),
            "mlp.up_proj": (16, 8),
            "mlp.gate_proj": (16, 8),
            "mlp.down_proj": (8, 16),
        }
        layer |= {"input_layernorm": (8,), "post_attention_layernorm": (8,)}
        shapes |= {f"model.layers.{number}.{name}": shape for name, shape in layer.items()}
    shapes = {f"{name}.weight": shape for name, shape in shapes.items()}
    for name in ("a", "b", "base"):
        (root / name).mkdir()
        (root / name / "config.json").write_text(json.dumps(CONFIG))
        tensors = {each: np.zeros(shape, np.float32) for each, shape in shapes.items()}
        safetensors.save_file(tensors, root / name / "model.safetensors")
    return root, {name: ("F32", shape) for name, shape in shapes.items()}


def theirs(text, root):
    """By output: the tensor's parameters, and for each model the tensor it takes and that one's parameters"""
    from mergekit.architecture import get_architecture_info
    from mergekit.config import MergeConfiguration
    from mergekit.merge import _model_out_config
    from mergekit.options import MergeOptions
    from mergekit.plan import MergePlanner

    for name in ("base", "a", "b"):
        text = text.replace(f"model: {name},", f"model: {root / name},").replace(
            f"model: {name}}}", f"model: {root / name}}}"
        )
        text = text.replace(f"base_model: {name}\n", f"base_model: {root / name}\n")
    config = MergeConfiguration.model_validate(yaml.safe_load(text))
    options = MergeOptions()
    architecture = get_architecture_info(config, options)
    planner = MergePlanner(config, architecture, options, _model_out_config(config, architecture))
    planner._plan()
    found = {}
    for weight, task in planner._tensors:
        taken = {
            model.model.path.rpartition("/")[2]: info.name for model, info in task.gather_tensors.weight_info.items()
        }
        params = {
            model.model.path.rpartition("/")[2]: {key: value for key, value in each.items() if value is not None}
            for model, each in task.input_parameters.items()
        }
        shared = {key: value for key, value in task.parameters.items() if key not in WITHOUT_EFFECT}
        found[weight.name] = (shared, {name: (tensor, params[name]) for name, tensor in taken.items()})
    return found


def ours(text, tensors):
    recipe = parse(text, "r.yml")
    blueprint = resolve(recipe, [ModelFacts(str(ref), tensors, CONFIG) for ref in recipe.models])
    found = {}
    for output in blueprint.outputs:
        taken = {blueprint.models[one.model]: (one.tensor, dict(one.params)) for one in output.sources}
        if output.base is not None:
            taken.setdefault(blueprint.models[output.base.model], (output.base.tensor, {}))
        found[output.name] = (dict(output.params), taken)
    return found


@pytest.mark.parametrize("name", RECIPES)
def test_a_recipe_comes_to_what_mergekit_plans(name, shelf):
    pytest.importorskip("mergekit.plan")
    root, tensors = shelf
    found, expected = ours(RECIPES[name], tensors), theirs(RECIPES[name], root)
    assert set(found) == set(expected)
    for tensor, (shared, taken) in expected.items():
        # a scale of 1 and a weight of 1 alone are copies here
        assert found[tensor] == (shared, taken), tensor
