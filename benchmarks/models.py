"""Models: files of the shapes that trainers write, made of random bytes; `models.py PATH CHANGED`"""

import json
import os
import random
import struct
import sys
from collections.abc import Collection, Sequence
from pathlib import Path

import numpy as np

HIDDEN, LAYERS = 2048, 18
# of a mixture of experts, each as small as it gets
SMALL, SMALL_BYTES = int(os.environ.get("BENCH_SMALL", "20000")), 64 << 10
MADE = "model-{0:05d}-of-{1:05d}.safetensors"
Shapes = Sequence[tuple[str, tuple[int, ...]]]


def shapes(layers: int = int(os.environ.get("BENCH_LAYERS", str(LAYERS)))) -> Shapes:
    """About 2 GB of bf16 in about 300 tensors, as a small language model has them"""
    found = [("model.embed_tokens.weight", (32000, HIDDEN))]
    for layer in range(layers):
        stem = f"model.layers.{layer}"
        found += [(f"{stem}.self_attn.{part}_proj.weight", (HIDDEN, HIDDEN)) for part in "qkvo"]
        found += [(f"{stem}.self_attn.{part}_norm.weight", (128,)) for part in "qk"]
        found += [(f"{stem}.mlp.{part}_proj.weight", (4096 * 5 // 4, HIDDEN)) for part in ("gate", "up", "down")]
        found += [
            (f"{stem}.{part}_layernorm.weight", (HIDDEN,))
            for part in ("input", "post_attention", "pre_mlp", "post_mlp")
        ]
    return [*found, ("model.norm.weight", (HIDDEN,)), ("lm_head.weight", (32000, HIDDEN))]


def small() -> Shapes:
    """20,000 tensors of 64 KiB"""
    return [(f"experts.{number}.weight", (SMALL_BYTES // 2,)) for number in range(SMALL)]


def tenth(of: Shapes) -> set[str]:
    """Some tensors, here and there, that have a tenth of the bytes: what a fine-tune changes"""
    left = sum(_nbytes(shape) for _, shape in of) // 10
    found = set()
    for name, shape in random.Random(1).sample(list(of), len(of)):
        if _nbytes(shape) <= left:
            found.add(name)
            left -= _nbytes(shape)
    return found


def write_shards(folder: Path, of: Shapes, count: int, *, changed: Collection[str] = ()) -> int:
    """A model in `count` files; the sum of its numbers, as `write` tells it"""
    folder.mkdir(parents=True)
    parts = [of[number::count] for number in range(count)]
    return sum(
        write(folder / MADE.format(number + 1, count), part, seed=number, changed=changed)
        for number, part in enumerate(parts)
    )


def write_model(path: Path, *, seed: int, changed: float = 0.0) -> None:
    """A safetensors file; with `changed`, that share of its tensors differs from the file of the same seed"""
    every = round(1 / changed) if changed else 0
    names = [name for number, (name, _) in enumerate(shapes()) if every and number % every == 0]
    write(path, shapes(), seed=seed, changed=names)


def write(path: Path, of: Shapes, *, seed: int, changed: Collection[str] = ()) -> int:
    """A safetensors file of bf16, in which those that are changed differ from the file of the same seed

    The sum of all its numbers, taken as int16, comes back: a load that brings others has another.
    """
    header, offset, total = {}, 0, 0
    for name, shape in of:
        header[name] = {"dtype": "BF16", "shape": shape, "data_offsets": [offset, offset + _nbytes(shape)]}
        offset += _nbytes(shape)
    raw = json.dumps(header).encode()
    raw += b" " * (-len(raw) % 8)
    with path.open("wb") as file:
        file.write(struct.pack("<Q", len(raw)) + raw)
        for number, (name, shape) in enumerate(of):
            numbers = np.random.Generator(np.random.SFC64([seed, number, int(name in changed)]))
            data = numbers.integers(0, 256, _nbytes(shape), dtype=np.uint8)
            total += int(data.view(np.int16).sum(dtype=np.int64))
            file.write(data)
    return total


def _nbytes(shape: tuple[int, ...]) -> int:
    return 2 * int(np.prod(shape))


if __name__ == "__main__":
    write_model(Path(sys.argv[1]), seed=1, changed=float(sys.argv[2]))
