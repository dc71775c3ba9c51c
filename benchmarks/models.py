"""Models: files of the shape that trainers write, made of random bytes; `models.py PATH CHANGED`"""

import json
import struct
import sys
from pathlib import Path

import numpy as np

HIDDEN, LAYERS = 2048, 18


def shapes() -> list[tuple[str, tuple[int, ...]]]:
    """About 2 GB of bf16 in about 300 tensors, as a small language model has them"""
    found = [("model.embed_tokens.weight", (32000, HIDDEN))]
    for layer in range(LAYERS):
        stem = f"model.layers.{layer}"
        found += [(f"{stem}.self_attn.{part}_proj.weight", (HIDDEN, HIDDEN)) for part in "qkvo"]
        found += [(f"{stem}.self_attn.{part}_norm.weight", (128,)) for part in "qk"]
        found += [(f"{stem}.mlp.{part}_proj.weight", (4096 * 5 // 4, HIDDEN)) for part in ("gate", "up", "down")]
        found += [
            (f"{stem}.{part}_layernorm.weight", (HIDDEN,))
            for part in ("input", "post_attention", "pre_mlp", "post_mlp")
        ]
    return [*found, ("model.norm.weight", (HIDDEN,)), ("lm_head.weight", (32000, HIDDEN))]


def write_model(path: Path, *, seed: int, changed: float = 0.0) -> None:
    """A safetensors file; with `changed`, that share of its tensors differs from the file of the same seed"""
    header, offset = {}, 0
    for name, shape in shapes():
        nbytes = 2 * int(np.prod(shape))
        header[name] = {"dtype": "BF16", "shape": shape, "data_offsets": [offset, offset + nbytes]}
        offset += nbytes
    raw = json.dumps(header).encode()
    raw += b" " * (-len(raw) % 8)
    every = round(1 / changed) if changed else 0
    with path.open("wb") as file:
        file.write(struct.pack("<Q", len(raw)) + raw)
        for number, (_, shape) in enumerate(shapes()):
            other = 1 if every and number % every == 0 else 0
            random = np.random.Generator(np.random.SFC64([seed, number, other]))
            file.write(random.integers(0, 256, 2 * int(np.prod(shape)), dtype=np.uint8))


if __name__ == "__main__":
    write_model(Path(sys.argv[1]), seed=1, changed=float(sys.argv[2]))
