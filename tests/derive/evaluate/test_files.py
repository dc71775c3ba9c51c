"""Which of many files is the model"""

import pytest

from artifactstore.core.errors import Invalid
from artifactstore.derive.evaluate.models.files import Format, choose, refuse_split, variant_of

SMALL = ["config.json", "tokenizer.json", "README.md"]


def test_safetensors_come_first():
    found = choose([*SMALL, "model.safetensors", "model-q4.gguf", "onnx/model.onnx", "pytorch_model.bin"])
    assert (found.format, found.path, found.weights) == (
        Format.SAFETENSORS,
        "model.safetensors",
        ("model.safetensors",),
    )
    assert set(found.beside) == set(SMALL)


def test_shards_are_one_model():
    shards = [f"model-0000{one}-of-00003.safetensors" for one in (1, 2, 3)]
    found = choose([*SMALL, *shards, "model.safetensors.index.json"])
    assert (found.path, found.weights) == ("model.safetensors", tuple(shards))
    assert "model.safetensors.index.json" in found.paths


def test_a_graph_goes_with_its_data_only():
    paths = ["onnx/model.onnx", "onnx/model_q4.onnx", "onnx/model_q4.onnx_data", "onnx/model_q4.onnx_data_1"]
    found = choose([*SMALL, *paths], "onnx/model_q4.onnx")
    assert found.weights == tuple(paths[1:])
    assert choose([*SMALL, *paths], "onnx/model.onnx").weights == ("onnx/model.onnx",)
    with pytest.raises(Invalid, match=r"Name one of onnx/model.onnx, onnx/model_q4.onnx with --file"):
        choose([*SMALL, *paths])


def test_what_transformers_would_open_comes_first_of_several():
    assert choose([*SMALL, "model.safetensors", "2_Dense/model.safetensors"]).path == "model.safetensors"
    assert choose([*SMALL, "model.safetensors", "adapter_model.safetensors"]).path == "model.safetensors"
    assert choose([*SMALL, "a.safetensors", "b.safetensors"], "b.safetensors").path == "b.safetensors"


@pytest.mark.parametrize(
    ("paths", "path", "says"),
    [
        (["pytorch_model.bin"], None, "pickled"),
        (["a.pth"], None, "pickled"),
        (SMALL, None, "no weights"),
        (["adapter_model.safetensors"], None, "no weights"),
        (["a.safetensors", "b.safetensors"], None, "Which model is meant"),
        (["model.safetensors"], "model.onnx", "No model at 'model.onnx'; there are model.safetensors"),
    ],
)
def test_what_is_not_clear_is_said(paths, path, says):
    with pytest.raises(Invalid, match=says):
        choose(paths, path)


def test_names_that_transformers_opens():
    assert variant_of("model.safetensors") is None
    assert variant_of("x/model.fp16.safetensors") == "fp16"
    with pytest.raises(Invalid, match="not named model"):
        variant_of("weights.safetensors")
    with pytest.raises(Invalid, match="part 2 of 3"):
        refuse_split("model-00002-of-00003.gguf")
    refuse_split("model.gguf")
