"""Resolve: what is done to each tensor, from headers alone"""

import pytest

from artifactstore.core.errors import Invalid
from artifactstore.core.recipe.blueprint import Taken
from artifactstore.core.recipe.parse import parse
from artifactstore.core.recipe.resolve import resolve
from artifactstore.core.recipe.vocabulary import match
from tests.core.recipe.shelf import bert, llama

Q, UP, NORM, HEAD = "self_attn.q_proj.weight", "mlp.up_proj.weight", "model.norm.weight", "lm_head.weight"
EMBED = "model.embed_tokens.weight"
LINEAR = "merge_method: linear\nmodels: [{model: a}, {model: b}]\nparameters: {weight: 0.5}\n"
TIES = """\
merge_method: ties
base_model: base
models:
  - model: a
    parameters: {weight: [0, 1], density: 0.5}
  - model: b
    parameters: {weight: [{filter: mlp, value: 0.25}, {value: 0.75}]}
parameters: {density: [{filter: mlp, value: 0.2}], lambda: 0.9}
"""
SLICES = """\
merge_method: passthrough
slices:
  - sources: [{model: a, layer_range: [0, 2]}]
  - sources: [{model: b, layer_range: [1, 3], parameters: {scale: [{filter: q_proj, value: 0.5}, {value: 1}]}}]
"""


def planned(text, *models, matched=None):
    return resolve(parse(text, "r.yml"), models, matched)


def by_name(blueprint):
    return {output.name: output for output in blueprint.outputs}


def refused(text, *models):
    with pytest.raises(Invalid) as refusal:
        planned(text, *models)
    assert refusal.value.message.isprintable()
    return refusal.value


def test_tensors_come_in_the_order_in_which_a_model_uses_them():
    names = [output.name for output in planned(LINEAR, llama("a", layers=12), llama("b", layers=12)).outputs]
    assert names[0] == EMBED
    assert names[-2:] == [HEAD, NORM]
    numbers = [int(name.split(".")[2]) for name in names if ".layers." in name]
    assert numbers == sorted(numbers)
    assert len(set(names)) == len(names) == 3 + 12 * 3


def test_parameters_of_each_source_are_those_of_its_tensor_and_layer():
    found = by_name(planned(TIES, llama("a"), llama("b"), llama("base")))
    up = found[f"model.layers.1.{UP}"]
    assert up.sources == (
        Taken(0, up.name, {"weight": 0.5, "density": 0.5}),
        Taken(1, up.name, {"weight": 0.25, "density": 0.2}),
    )
    assert up.base == Taken(2, up.name)
    assert up.params == {"normalize": True, "rescale": False, "lambda": 0.9}
    q = found[f"model.layers.2.{Q}"]
    assert [one.params for one in q.sources] == [{"weight": 1, "density": 0.5}, {"weight": 0.75, "density": 1}]
    assert [one.params["weight"] for one in found[NORM].sources] == [0, 0.75]


def test_a_base_among_the_models_of_differences_is_none_of_those_merged():
    text = TIES.replace("  - model: b\n", "  - model: base\n")
    (up,) = [one for one in planned(text, llama("a"), llama("base")).outputs if one.name == f"model.layers.1.{UP}"]
    assert ([one.model for one in up.sources], up.base.model) == ([0], 1)


def test_slerp_takes_both_models_and_knows_which_is_the_base():
    text = "merge_method: slerp\nbase_model: b\nmodels: [{model: a}, {model: b}]\nparameters: {t: [0, 0.5, 1]}"
    blueprint = planned(text, llama("a"), llama("b"))
    found = by_name(blueprint)
    middle = found[f"model.layers.1.{Q}"]
    assert ([one.model for one in middle.sources], middle.base.model, middle.params) == ([0, 1], 1, {"t": 0.5})
    ends = [found[f"model.layers.{number}.{Q}"] for number in (0, 2)]
    assert [(one.method, one.sources[0].model) for one in ends] == [("passthrough", 1), ("passthrough", 0)]
    assert (blueprint.donor, blueprint.tokenizer) == (1, 1)
    outside = f"{EMBED}, {HEAD}, {NORM}"
    assert blueprint.notes == (
        f"Tensors outside of the layers take the first value of a gradient, as in mergekit: {outside}",
    )


def test_a_single_layer_takes_the_last_value_of_a_gradient():
    text = LINEAR.replace("0.5", "[0.1, 0.9]")
    found = by_name(planned(text, llama("a", layers=1), llama("b", layers=1)))
    assert found[f"model.layers.0.{Q}"].sources[0].params == {"weight": 0.9}
    assert found[NORM].sources[0].params == {"weight": 0.1}


def test_a_base_of_a_plain_method_takes_part_and_comes_last():
    found = by_name(planned(LINEAR + "base_model: c", llama("a"), llama("b"), llama("c")))
    assert ([one.model for one in found[NORM].sources], found[NORM].base) == ([0, 1, 2], None)


def test_slices_are_numbered_anew_and_take_their_outside_from_the_ends():
    blueprint = planned(SLICES, llama("a"), llama("b"))
    found = by_name(blueprint)
    taken = [(one.model, one.tensor) for n in range(4) for one in found[f"model.layers.{n}.{UP}"].sources]
    assert taken == [(m, f"model.layers.{n}.{UP}") for m, n in ((0, 0), (0, 1), (1, 1), (1, 2))]
    assert [found[name].sources[0].model for name in (EMBED, NORM, HEAD)] == [0, 1, 1]
    assert found[f"model.layers.3.{Q}"].sources[0].params == {"scale": 0.5}
    assert found[f"model.layers.3.{UP}"].sources[0].params == {}
    assert dict(blueprint.config) == {"num_hidden_layers": 4}
    assert len(found) == 3 + 4 * 3


def test_models_of_different_depth_may_be_sliced():
    blueprint = planned(SLICES, llama("a", layers=2), llama("b", layers=5))
    assert dict(blueprint.config) == {"num_hidden_layers": 4}


def test_gradients_run_along_each_slice():
    text = """\
merge_method: linear
slices:
  - sources: [{model: a, layer_range: [0, 3]}, {model: b, layer_range: [0, 3], parameters: {weight: 2}}]
    parameters: {weight: [0, 1]}
  - sources: [{model: a, layer_range: [2, 3]}]
parameters: {weight: [3, 5]}
"""
    found = by_name(planned(text, llama("a"), llama("b")))
    weights = [[s.params.get("weight") for s in found[f"model.layers.{n}.{Q}"].sources] for n in range(4)]
    assert weights == [[0, 2], [0.5, 2], [1, 2], [5]]


def test_layers_that_are_not_there_are_named_with_the_line():
    message = refused(SLICES, llama("a"), llama("b", layers=2)).message
    assert message == "r.yml: line 4: b has 2 layers, found layer_range [1, 3]"


def test_a_model_of_two_stacks_is_not_sliced():
    extra = {f"decoder.block.{n}.w": ("F32", (4,)) for n in range(3)}
    message = refused(SLICES, llama("a", extra=extra), llama("b", extra=extra)).message
    assert "line 3: a has several stacks of layers, which are not sliced: model.layers, decoder.block" in message


@pytest.mark.parametrize(
    ("kinds", "recipe", "work", "stored"),
    [
        (("BF16", "BF16"), "", "BF16", "BF16"),
        (("BF16", "F16"), "", "F32", "F32"),
        (("BF16", "F32"), "", "F32", "F32"),
        (("BF16", "F32"), "dtype: bfloat16", "BF16", "BF16"),
        (("BF16", "BF16"), "dtype: float32\nout_dtype: float16", "F32", "F16"),
        (("BF16", "F32"), "out_dtype: bfloat16", "F32", "BF16"),
    ],
)
def test_what_is_calculated_and_stored_in(kinds, recipe, work, stored):
    models = [llama(ref, dtype=kind) for ref, kind in zip("ab", kinds, strict=True)]
    blueprint = planned(LINEAR + recipe, *models)
    assert {(one.work, one.dtype) for one in blueprint.outputs} == {(work, stored)}
    names = {"BF16": {}, "F16": {"torch_dtype": "float16"}, "F32": {"torch_dtype": "float32"}}
    assert dict(blueprint.config) == names[stored]


def test_tied_models_stay_tied():
    blueprint = planned(LINEAR, llama("a", tied=True), llama("b", tied=True))
    assert HEAD not in by_name(blueprint)
    redundant = llama("b", tied=True, extra={HEAD: ("BF16", (10, 4))})
    assert HEAD not in by_name(planned(LINEAR, llama("a", tied=True), redundant))
    silent = planned(LINEAR, llama("a", tied=True, tie_word_embeddings=None), llama("b", tied=True))
    assert HEAD not in by_name(silent)


def test_a_tied_and_an_untied_model_make_an_untied_one():
    blueprint = planned(LINEAR, llama("a", tied=True), llama("b"))
    assert [one.tensor for one in by_name(blueprint)[HEAD].sources] == [EMBED, HEAD]
    assert dict(blueprint.config) == {"tie_word_embeddings": False}
    assert blueprint.notes == ("The product gets a head of its own; of a the input embeddings are taken for it",)


def test_buffers_are_copied_and_may_be_missing():
    models = [bert("a"), bert("b")]
    found = by_name(planned(LINEAR, *models))
    ids = found["embeddings.position_ids"]
    assert (ids.method, ids.dtype, ids.work, [one.model for one in ids.sources]) == ("passthrough", "I64", "I64", [0])
    without = {name: tensor for name, tensor in models[0].tensors.items() if "position_ids" not in name}
    found = by_name(planned(LINEAR, type(models[0])("a", without, models[0].config), models[1]))
    assert [one.model for one in found["embeddings.position_ids"].sources] == [1]


def test_numbers_that_are_not_weights_have_to_agree():
    odd = {"counts": ("I64", (2,))}, {"counts": ("I32", (2,))}
    message = refused(LINEAR, llama("a", extra=odd[0]), llama("b", extra=odd[1])).message
    assert message == "Tensor counts is I64 [2] in a and I32 [2] in b"
    mixed = {"counts": ("F32", (2,))}
    assert "Tensor counts is" in refused(LINEAR, llama("a", extra=odd[0]), llama("b", extra=mixed)).message


def test_quantized_models_are_refused():
    message = refused(LINEAR, llama("a"), llama("b", quantization_config={"quant_method": "gptq"})).message
    assert message == "b holds weights quantized by gptq; merge the model that it was made from"
    assert (
        "is F8_E4M3; only plain weights"
        in refused(LINEAR, llama("a", dtype="F8_E4M3"), llama("b", dtype="F8_E4M3")).message
    )
    assert "a holds no tensors" in refused(LINEAR, type(llama("a"))("a", {}), llama("b")).message


def test_parameters_that_are_missing_are_named_with_the_tensor():
    text = LINEAR.replace("0.5", "[{filter: mlp, value: 1}]")
    message = refused(text, llama("a"), llama("b")).message
    assert message == f"r.yml: line 2: linear should have a weight for {EMBED}, and none is given"


def test_each_slice_may_have_a_base_of_its_own():
    text = """\
merge_method: slerp
slices:
  - {base_model: b, sources: [{model: a, layer_range: [0, 1]}, {model: b, layer_range: [0, 1]}]}
  - {base_model: a, sources: [{model: a, layer_range: [1, 2]}, {model: b, layer_range: [1, 2]}]}
parameters: {t: 0.5}
"""
    found = by_name(planned(text, llama("a"), llama("b")))
    assert [found[f"model.layers.{n}.{Q}"].base.model for n in (0, 1)] == [1, 0]


def test_stacks_of_an_encoder_and_a_decoder_have_gradients_of_their_own():
    extra = {f"decoder.block.{n}.w": ("F32", (4,)) for n in range(2)}
    models = [llama(ref, layers=3, extra=extra, num_decoder_layers=2) for ref in "ab"]
    found = by_name(planned(LINEAR.replace("0.5", "[0.1, 0.9]"), *models))
    assert found["decoder.block.1.w"].sources[0].params == {"weight": 0.9}
    plain = [llama(ref, layers=3, extra=extra) for ref in "ab"]
    found = by_name(planned(LINEAR.replace("0.5", "[0.1, 0.9]"), *plain))
    assert found["decoder.block.1.w"].sources[0].params == {"weight": 0.1}


def test_vocabularies_are_matched_row_by_row():
    text = LINEAR + "base_model: a\ntokenizer: {source: union}\n"
    recipe = parse(text, "r.yml")
    models = [llama("a", rows=3), llama("b", rows=4)]
    vocabularies = [{"x": 0, "y": 1, "z": 2}, {"x": 0, "z": 1, "y": 2, "w": 3}]
    blueprint = resolve(recipe, models, match(recipe, vocabularies, [3, 4]))
    found = by_name(blueprint)
    assert [(found[name].shape, found[name].rows) for name in (EMBED, HEAD)] == [((4, 4), True)] * 2
    assert (found[NORM].rows, blueprint.tokenizer, dict(blueprint.config)) == (False, None, {"vocab_size": 4})
    with pytest.raises(Invalid, match="differ in vocabulary"):
        resolve(recipe, models)


def test_vocabularies_that_are_the_same_are_left_alone():
    text = LINEAR.replace("0.5", "[{filter: embed, value: 0}, {value: 0.5}]").replace("linear", "task_arithmetic")
    recipe = parse(text + "base_model: b\ntokenizer_source: a\n", "r.yml")
    models = [llama("a", rows=2), llama("b", rows=2)]
    same = resolve(recipe, models, match(recipe, [{"x": 0, "y": 1}] * 2, [2, 2]))
    assert (by_name(same)[EMBED].method, by_name(same)[EMBED].rows, same.tokenizer) == ("passthrough", False, 0)
    other = resolve(recipe, models, match(recipe, [{"x": 0, "y": 1}, {"y": 0, "x": 1}], [2, 2]))
    assert (by_name(other)[EMBED].method, by_name(other)[EMBED].rows) == ("task_arithmetic", True)


def test_layers_that_differ_from_one_another_are_matched_one_by_one():
    text = (
        "merge_method: linear\nslices:\n- sources: [{model: a, layer_range: [0, 2]}, {model: b, layer_range: [0, 2]}]\n"
    )
    text += "parameters: {weight: 1}\n"
    wider = {f"model.layers.0.{UP}": ("BF16", (9, 4))}
    message = refused(text, llama("a"), llama("b", extra=wider)).message
    assert message == f"Tensor model.layers.0.{UP} differs in shape: [8, 4] in a, [9, 4] in b"
    more = [{f"model.layers.{number}.extra.weight": ("BF16", (4,))} for number in (1, 0)]
    message = refused(text, llama("a", extra=more[0]), llama("b", extra=more[1])).message
    assert message == "b has no tensor model.layers.1.extra.weight"
