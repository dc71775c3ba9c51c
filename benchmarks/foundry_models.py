"""Foundry models: a base and fine-tunes of a TinyLlama's shapes; and the least that copying them costs

`foundry_models.py make FOLDER`, `foundry_models.py copy READ… WRITTEN TARGET`. The numbers are random.
"""

import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

NAMES = ("base", "one", "other")
LAYERS = int(os.environ.get("BENCH_MERGE_LAYERS", "22"))
HIDDEN, INNER, HEADS, GROUPS, VOCABULARY = 2048, 5632, 32, 4, 32000
# layers in one file
_TOGETHER = 5
_CHUNK = 8 << 20


def make(folder: Path) -> None:
    """`base`, and `one` and `other`, which moved a tenth of its spread away from it"""
    # what only copies is to be as small as it can be
    import torch

    generator = torch.Generator().manual_seed(0)
    config = {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "hidden_size": HIDDEN,
        "intermediate_size": INNER,
        "num_hidden_layers": LAYERS,
        "num_attention_heads": HEADS,
        "num_key_value_heads": GROUPS,
        "vocab_size": VOCABULARY,
        "torch_dtype": "bfloat16",
        "tie_word_embeddings": False,
    }
    for name in NAMES:
        (folder / name).mkdir(parents=True)
        (folder / name / "config.json").write_text(json.dumps(config))
    where: dict[str, str] = {}
    for number, shapes in enumerate(_files()):
        file = f"model-{number + 1:05d}-of-{len(list(_files())):05d}.safetensors"
        where |= dict.fromkeys(shapes, file)
        base = {name: torch.randn(shape, generator=generator).mul_(0.02) for name, shape in shapes.items()}
        _save(folder / "base" / file, base)
        for name in NAMES[1:]:
            moved = {
                key: tensor + torch.randn(tensor.shape, generator=generator).mul_(0.002) for key, tensor in base.items()
            }
            _save(folder / name / file, moved)
    for name in NAMES:
        index = {"metadata": {}, "weight_map": where}
        (folder / name / "model.safetensors.index.json").write_text(json.dumps(index))


def copy(sources: list[Path], written: Path, target: Path) -> None:
    """Read all bytes of some models, and write as many as another has"""
    buffer = memoryview(bytearray(_CHUNK))
    for source in sources:
        for path in sorted(source.glob("*.safetensors")):
            with path.open("rb", buffering=0) as file:
                while file.readinto(buffer):
                    pass
    target.mkdir()
    for path in sorted(written.glob("*.safetensors")):
        with (target / path.name).open("wb", buffering=0) as file:
            left = path.stat().st_size
            while left:
                left -= file.write(buffer[: min(_CHUNK, left)])


def _save(path: Path, tensors: dict[str, Any]) -> None:
    from safetensors.torch import save_file

    save_file({name: tensor.bfloat16() for name, tensor in tensors.items()}, path, metadata={"format": "pt"})


def _files() -> Iterator[dict[str, tuple[int, ...]]]:
    yield {"model.embed_tokens.weight": (VOCABULARY, HIDDEN)}
    for first in range(0, LAYERS, _TOGETHER):
        numbers = range(first, min(first + _TOGETHER, LAYERS))
        yield {name: shape for number in numbers for name, shape in _layer(f"model.layers.{number}").items()}
    yield {"model.norm.weight": (HIDDEN,), "lm_head.weight": (VOCABULARY, HIDDEN)}


def _layer(stem: str) -> dict[str, tuple[int, ...]]:
    grouped = HIDDEN // HEADS * GROUPS
    return {
        f"{stem}.self_attn.q_proj.weight": (HIDDEN, HIDDEN),
        f"{stem}.self_attn.k_proj.weight": (grouped, HIDDEN),
        f"{stem}.self_attn.v_proj.weight": (grouped, HIDDEN),
        f"{stem}.self_attn.o_proj.weight": (HIDDEN, HIDDEN),
        f"{stem}.mlp.gate_proj.weight": (INNER, HIDDEN),
        f"{stem}.mlp.up_proj.weight": (INNER, HIDDEN),
        f"{stem}.mlp.down_proj.weight": (HIDDEN, INNER),
        f"{stem}.input_layernorm.weight": (HIDDEN,),
        f"{stem}.post_attention_layernorm.weight": (HIDDEN,),
    }


if __name__ == "__main__":
    if sys.argv[1] == "make":
        make(Path(sys.argv[2]))
    else:
        *read, like, into = map(Path, sys.argv[2:])
        copy(read, like, into)
