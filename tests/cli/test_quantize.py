"""Quantize: what it prints, in text and in JSON, and how it refuses"""

import json

import pytest
import torch
from safetensors.torch import save_file

from tests.cli.calling import call, document, done, refused
from tests.derive.quantize.tokens import files, trained

QUICK = ["--no-measure"]


@pytest.fixture
def model(tmp_path):
    """A folder with a small model of Llama's shape"""
    config = {
        "model_type": "llama",
        "hidden_size": 128,
        "intermediate_size": 256,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "max_position_embeddings": 256,
        "architectures": ["LlamaForCausalLM"],
        "vocab_size": 384,
        "dtype": "bfloat16",
    }
    layer, size = (
        "model.layers.0.",
        {"mlp.gate_proj": (256, 128), "mlp.up_proj": (256, 128), "mlp.down_proj": (128, 256)},
    )
    size |= {f"self_attn.{one}_proj": (128, 128) for one in "qkvo"}
    tensors = {f"{layer}{name}.weight": shape for name, shape in size.items()}
    tensors |= {f"{layer}{name}.weight": (128,) for name in ("input_layernorm", "post_attention_layernorm")}
    tensors |= {"model.embed_tokens.weight": (384, 128), "lm_head.weight": (384, 128), "model.norm.weight": (128,)}
    random = torch.Generator().manual_seed(0)
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps(config))
    made = {
        name: (torch.randn(shape, generator=random) / 9 + (len(shape) == 1)).to(torch.bfloat16)
        for name, shape in tensors.items()
    }
    save_file(made, folder / "model.safetensors")
    return folder


@pytest.fixture
def stored(store, model):
    """It as a version"""
    done("add", model, "--as", "base")
    return "base"


def test_a_plan_changes_nothing(stored):
    text = done("quantize", stored, "--level", "q4", "--target", "gpu", "--as", "small", "-n")
    first, *rest = text.splitlines()
    assert first.startswith("base → small  compressed-tensors 4 bits  525.1 kB → ")
    assert first.endswith("bits a weight")
    assert rest[-1] == "Nothing changed (dry run)"
    assert "small" not in {version["artifact"] for version in document("ls")["versions"]}


def test_a_version_and_a_folder(stored, tmp_path):
    out = tmp_path / "out"
    found = document("quantize", stored, "--level", "q4", "--target", "gpu", "--as", "small", "--out", out, *QUICK)
    assert (found["ref"], found["level"], found["target"], found["known"]) == ("small:1", "q4", "gpu", 0)
    assert {file["path"] for file in found["files"]} == {"config.json", "model.safetensors"}
    assert {path.name for path in out.iterdir()} == {"config.json", "model.safetensors"}
    assert json.loads((out / "config.json").read_bytes())["quantization_config"]["format"] == "pack-quantized"
    assert document("show", "small")["parents"][0]["relation"] == "quantize"


def test_once_more_all_is_known(stored):
    pytest.importorskip("gguf")
    first = done("quantize", stored, "--level", "q8", "--target", "cpu", "--as", "small", *QUICK)
    assert first.splitlines()[0].startswith("base → small:1  GGUF Q8_0  ")
    assert "tensors made" in first
    assert "known from before" in done("quantize", stored, "--level", "q8", "--target", "cpu", "--as", "small", *QUICK)


@pytest.mark.parametrize(
    ("level", "target", "said"),
    [
        ("fp8", "cpu", "Target cpu cannot hold fp8: choose --target gpu, or one of its levels"),
        ("bf16", "web", "Target web cannot hold bf16: choose --target gpu or cpu"),
        ("int9", "gpu", "did you mean int8"),
        ("q4", "gpus", "did you mean gpu"),
    ],
)
def test_what_cannot_be(stored, level, target, said):
    assert said in refused(2, "quantize", stored, "--level", level, "--target", target, "--as", "small")


def test_a_folder_that_cannot_be_written_to_is_told_before_the_work(store, model):
    asked = ["quantize", model, "--level", "q4", "--target", "gpu", "--as", "small", *QUICK, "--out"]
    assert "is the folder of" in refused(2, *asked, model)
    asked[1] = "base"
    done("add", model, "--as", "base")
    assert "model.safetensors is there with other content" in refused(5, *asked, model)
    assert [one["artifact"] for one in document("ls")["versions"]] == ["base", "bert"]


def test_a_model_that_is_not_there(store, model):
    assert "neither in the store nor a folder" in refused(
        3, "quantize", "nobody", "--level", "q4", "--target", "gpu", "--as", "small"
    )
    assert call("quantize", model, "--level", "q4", "--target", "gpu", "--as", "small", *QUICK).exit_code == 0


def test_how_far_it_is_from_its_source_becomes_a_metric(model, store):
    for name, raw in files(trained()).items():
        (model / name).write_bytes(raw)
    done("add", model, "--as", "base")
    found = document("quantize", "base", "--level", "q4", "--target", "gpu", "--as", "small")
    assert 0 < found["kl"] < 0.1 < found["top1"] < 1
    assert document("show", "small")["metrics"]["kl"] == found["kl"]
    text = done("quantize", "base", "--level", "q8", "--target", "gpu", "--as", "better")
    assert "  KL to the source 0.000" in text


def test_a_distance_that_cannot_be_measured_is_told(stored):
    text = done("quantize", stored, "--level", "q4", "--target", "gpu", "--as", "small")
    assert "its distance to the source is not measured: " in text
