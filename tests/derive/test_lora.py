"""Lora: the weights that peft merges, however they are cut"""

import pytest
import torch
from safetensors.torch import load_file, save_file

from artifactstore.core.errors import Invalid
from artifactstore.derive.inputs import Inputs
from artifactstore.derive.lora import Adapter
from artifactstore.tensors.pieces import of_folder

peft = pytest.importorskip("peft")
transformers = pytest.importorskip("transformers")


def llama():
    config = transformers.LlamaConfig(
        vocab_size=64, hidden_size=32, intermediate_size=48, num_hidden_layers=2, num_attention_heads=4
    )
    torch.manual_seed(0)
    return transformers.LlamaForCausalLM(config)


def gpt():
    torch.manual_seed(0)
    return transformers.GPT2LMHeadModel(transformers.GPT2Config(vocab_size=64, n_embd=32, n_layer=1, n_head=4))


def saved(model, folder, **config):
    """The base, the adapter and what peft merges, as tensors by name"""
    base = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    adapted = peft.get_peft_model(model, peft.LoraConfig(r=4, **config))
    for name, tensor in adapted.named_parameters():
        if "lora_" in name or "modules_to_save" in name:
            torch.nn.init.normal_(tensor, std=0.1)
    adapted.save_pretrained(str(folder))
    return base, adapted.merge_and_unload().state_dict()


def opened(folder, base):
    raw = folder.joinpath("adapter_config.json")
    shapes = {name: tuple(tensor.shape) for name, tensor in base.items()}
    return Adapter(Inputs(of_folder(folder)), raw.read_bytes() if raw.exists() else None, shapes, "lora")


def merged(adapter, name, base, size):
    def read(begin, end):
        return base.reshape(-1)[begin:end].clone()

    mine = adapter.read(name, read)
    parts = [mine(at, min(at + size, base.numel())) for at in range(0, base.numel(), size)]
    return torch.cat(parts).view(base.shape)


CONFIGS = [
    (llama, {"lora_alpha": 8, "target_modules": ["q_proj", "down_proj"]}),
    (
        llama,
        {
            "lora_alpha": 8,
            "use_rslora": True,
            "target_modules": ["q_proj"],
            "alpha_pattern": {"layers.1.self_attn.q_proj": 3},
        },
    ),
    (llama, {"lora_alpha": 16, "target_modules": ["v_proj", "embed_tokens"], "modules_to_save": ["lm_head"]}),
    (gpt, {"lora_alpha": 8, "fan_in_fan_out": True, "target_modules": ["c_attn"]}),
]


@pytest.mark.parametrize(("make", "config"), CONFIGS)
@pytest.mark.parametrize("size", [7, 96, 1 << 20])
@pytest.mark.filterwarnings("ignore")
def test_every_tensor_is_what_peft_merges(tmp_path, make, config, size):
    base, expected = saved(make(), tmp_path, **config)
    adapter = opened(tmp_path, base)
    assert adapter.tensors
    for name, tensor in base.items():
        if name in adapter.tensors:
            assert torch.allclose(merged(adapter, name, tensor, size), expected[name], atol=1e-6)
            assert not torch.equal(expected[name], tensor)
        else:
            assert torch.equal(tensor, expected[name])


@pytest.mark.filterwarnings("ignore")
def test_a_half_precision_base_is_rounded_once(tmp_path):
    base, expected = saved(llama(), tmp_path, lora_alpha=8, target_modules=["q_proj"])
    name = "model.layers.0.self_attn.q_proj.weight"
    half = base[name].bfloat16()
    result = merged(opened(tmp_path, base), name, half, 100)
    assert result.dtype == torch.bfloat16
    exact = half.double() + expected[name].double() - base[name].double()
    # half a step of bf16, and what the products before are rounded by
    assert ((result.double() - exact).abs() <= 2**-8 * exact.abs() + 1e-7).all()


@pytest.mark.filterwarnings("ignore")
def test_keys_tell_adapters_apart(tmp_path):
    keys = []
    for number, alpha in enumerate((8, 16)):
        folder = tmp_path / str(number)
        base, _ = saved(llama(), folder, lora_alpha=alpha, target_modules=["q_proj"])
        keys.append(opened(folder, base).key("model.layers.0.self_attn.q_proj.weight"))
    assert keys[0] != keys[1]


@pytest.mark.filterwarnings("ignore")
def test_what_is_no_adapter(tmp_path):
    base, _ = saved(llama(), tmp_path, lora_alpha=8, target_modules=["q_proj"])
    with pytest.raises(Invalid, match="no tensor"):
        opened(tmp_path, {"other.weight": torch.zeros(2, 2)})
    tensors = load_file(tmp_path / "adapter_model.safetensors")
    save_file({name: tensor.to(torch.int8) for name, tensor in tensors.items()}, tmp_path / "adapter_model.safetensors")
    name = "model.layers.0.self_attn.q_proj.weight"
    with pytest.raises(Invalid, match="no half of an adapter"):
        merged(opened(tmp_path, base), name, base[name], 100)
    tmp_path.joinpath("adapter_config.json").unlink()
    with pytest.raises(Invalid, match="no adapter_config"):
        opened(tmp_path, base)
