"""How a version came from its base model, as its files tell"""

import pytest

from artifactstore.core.formats.base import FileInfo, TensorInfo
from artifactstore.core.names import SafePath
from artifactstore.core.provenance.evidence import infer
from tests.core.provenance.versions import Held


def file(path, *tensors, dtype="BF16", **metadata):
    """A file by its name, with tensors of these names"""
    kind = {"safetensors": "safetensors", "gguf": "gguf", "bin": "torch"}.get(path.rpartition(".")[2], "other")
    infos = tuple(TensorInfo(name, dtype, (1,), 0, 1) for name in tensors)
    return Held(
        SafePath(path), b"", FileInfo(kind, infos, metadata={key.replace("_", "."): v for key, v in metadata.items()})
    )


FULL = file("model.safetensors", "model.layers.0.mlp.w", "model.embed")
Q4 = file("m-Q4_K_M.gguf", "blk.0.w", dtype="Q4_K")
F16 = file("m-F16.gguf", "blk.0.w", dtype="F16")
PEFT = file(
    "adapter_model.safetensors", "base_model.model.q_proj.lora_A.weight", "base_model.model.q_proj.lora_B.weight"
)
KOHYA = file("x.safetensors", "lora_unet_mid.lora_down.weight", "lora_unet_mid.alpha")
OLD_DIFFUSERS = file("pytorch_lora_weights.bin", "unet.mid.processor.to_q_lora.up.weight")
RWKV = file("model.safetensors", "attn.w_lora.lora.0.weight", "attn.r_proj", "attn.k_proj", "ffn.key", "ffn.value")


@pytest.mark.parametrize(
    ("files", "config", "relation"),
    [
        ([FULL], None, "finetune"),
        ([], None, "finetune"),
        ([FULL], {"hidden_size": 8}, "finetune"),
        ([FULL], {"quantization_config": {"quant_method": "awq"}}, "quantize"),
        ([FULL], {"quantization": {"bits": 4, "group_size": 64}}, "quantize"),
        ([FULL], {"quantization_config": None}, "finetune"),
        ([FULL], ["quantization"], "finetune"),
        ([FULL, file("quantize_config.json")], None, "quantize"),
        ([FULL, file("hf_quant_config.json")], None, "quantize"),
        ([FULL, file("adapter_config.json")], None, "adapter"),
        ([FULL, file("lora/adapter_config.json"), Q4], {"quantization_config": {}}, "adapter"),
        ([PEFT], None, "adapter"),
        ([KOHYA], None, "adapter"),
        ([OLD_DIFFUSERS], None, "adapter"),
        ([RWKV], None, "finetune"),
        ([Q4], None, "quantize"),
        ([Q4, F16, file("config.json")], None, "quantize"),
        ([F16], None, "convert"),
        ([FULL, Q4], None, "finetune"),
        ([file("lora.gguf", "blk.0.w", dtype="F32", general_type="adapter")], None, "adapter"),
    ],
)
def test_what_files_tell(files, config, relation):
    assert infer(files, config) == relation
