"""GGUF files: what readers see of a model, and that heads lie as llama.cpp has them"""

import json
import math
from dataclasses import replace

import pytest

from artifactstore.core.errors import Invalid
from artifactstore.core.formats.gguf import parse
from artifactstore.core.reading import Stored
from artifactstore.derive.inputs import Inputs
from artifactstore.derive.quantize.gguf_file import choose, model_file
from artifactstore.derive.quantize.gguf_model import factors, names, read_shape, rotation
from artifactstore.derive.quantize.gguf_tokens import Tokens, read_tokens
from artifactstore.derive.quantize.levels import Level
from artifactstore.tensors.pieces import of_folder
from tests.derive.quantize.tokens import TEXTS, files, trained

gguf = pytest.importorskip("gguf")
torch = pytest.importorskip("torch")


@pytest.fixture
def shaped(tiny):
    """Inputs and shape of a tiny model"""

    def of(kind, **changes):
        config = json.loads((tiny[kind] / "config.json").read_bytes()) | changes
        return Inputs(of_folder(tiny[kind])), read_shape(config)

    return of


def written(path, inputs, shape, level, tokens=None):
    """The file on disk, and what it was written from"""
    file = model_file("tiny", inputs, choose(inputs.tensors, shape, level), shape, tokens or Tokens("no_vocab"))
    reading = file.source(lambda one: one.make()).open()
    raw = bytearray(file.size)
    reading.fill(0, memoryview(raw))
    (path / file.path).write_bytes(raw)
    return path / file.path, file


class Bytes:
    def __init__(self, raw):
        self.raw, self.size = raw, len(raw)

    def read(self, offset, length):
        return self.raw[offset : offset + length]


def test_both_readers_see_what_was_made(shaped, tmp_path):
    path, file = written(tmp_path, *shaped("llama"), Level.Q4)
    ours = parse(Bytes(path.read_bytes()), "tiny.gguf")
    assert ours.tensors == file.info.tensors
    reader = gguf.GGUFReader(path)
    assert [one.name for one in reader.tensors] == [one.name for one in file.made]
    kinds = {one.name: one.tensor_type.name for one in reader.tensors}
    assert kinds["token_embd.weight"] == kinds["output.weight"] == "Q8_0"
    assert kinds["blk.1.ffn_down.weight"] == "Q4_K"
    assert kinds["blk.0.attn_norm.weight"] == "F32"
    said = {key: field.contents() for key, field in reader.fields.items()}
    assert said["general.architecture"] == "llama"
    assert said["general.name"] == "tiny"
    assert said["general.file_type"] == 14
    assert said["llama.rope.freq_base"] == 50_000.0
    assert said["llama.attention.head_count_kv"] == 2


def test_heads_are_turned_as_llama_cpp_turns_them(shaped):
    _, shape = shaped("llama")
    rows = torch.arange(256 * 3, dtype=torch.float32).view(256, 3)
    ours = rotation(shape, "blk.0.attn_q.weight")(rows)
    assert torch.equal(ours, rows.view(4, 2, 32, 3).swapaxes(1, 2).reshape(256, 3))
    bias = rotation(shape, "blk.0.attn_k.bias")(rows[:, :1].reshape(1, 256))
    assert torch.equal(bias.view(-1, 1), rotation(shape, "blk.0.attn_k.weight")(rows[:, :1].contiguous()))
    assert rotation(shape, "blk.0.attn_v.weight") is None
    assert rotation(shaped("qwen2")[1], "blk.0.attn_q.weight") is None


def test_a_tied_head_is_not_written(shaped):
    inputs, shape = shaped("qwen2")
    assert "output.weight" not in names(shape, inputs.tensors).values()
    assert "output.weight" not in names(shape, [*inputs.tensors, "lm_head.weight"]).values()
    assert names(replace(shape, tied=False), ["lm_head.weight"]) == {"lm_head.weight": "output.weight"}


def test_texts_come_to_the_same_tokens_in_transformers(shaped, tmp_path, torch_and_transformers):
    _, transformers = torch_and_transformers
    tokenizer = trained()
    inputs, shape = shaped("llama")
    written(tmp_path, inputs, shape, Level.INT8, read_tokens(files(tokenizer), {}, 384))
    read = transformers.AutoTokenizer.from_pretrained(tmp_path, gguf_file="tiny.gguf")
    for text in TEXTS[:-1]:
        assert read(text, add_special_tokens=False)["input_ids"] == tokenizer.encode(text).ids


LLAMA3 = {
    "rope_type": "llama3",
    "rope_theta": 500_000.0,
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 64,
}


def test_positions_of_llama_3_are_divided_as_transformers_does(shaped, tmp_path, torch_and_transformers):
    _, transformers = torch_and_transformers
    inputs, shape = shaped("llama", rope_parameters=LLAMA3)
    config = transformers.LlamaConfig(hidden_size=256, num_attention_heads=4, rope_parameters=LLAMA3)
    scaled, _ = transformers.modeling_rope_utils.ROPE_INIT_FUNCTIONS["llama3"](config, "cpu")
    plain = 1 / 500_000.0 ** (torch.arange(0, 64, 2) / 64)
    assert torch.allclose(plain / scaled, factors(shape), rtol=1e-5)
    path, file = written(tmp_path, inputs, shape, Level.FP16)
    assert (file.made[0].name, file.made[0].shape) == ("rope_freqs.weight", (32,))
    assert parse(Bytes(path.read_bytes()), "x").tensors == file.info.tensors


@pytest.mark.parametrize("kind", ["linear", "yarn"])
def test_positions_that_are_stretched_say_so(shaped, tmp_path, kind):
    said = {"rope_type": kind, "factor": 4.0, "rope_theta": 1e4, "original_max_position_embeddings": 32}
    path, _ = written(tmp_path, *shaped("llama", rope_parameters=said), Level.FP16)
    fields = gguf.GGUFReader(path).fields
    assert fields["llama.rope.scaling.type"].contents() == kind
    assert math.isclose(fields["llama.rope.scaling.factor"].contents(), 4.0)
    assert ("llama.rope.scaling.original_context_length" in fields) == (kind == "yarn")


def test_rows_that_no_block_fills_take_the_next_type(shaped):
    inputs, shape = shaped("full")
    chosen = choose(inputs.tensors, shape, Level.Q3)
    assert chosen.types["blk.0.ffn_down.weight"].name == "Q3_K"
    assert chosen.types["blk.0.ffn_up.weight"].name == "Q4_0"
    assert chosen.notes == ("rows no blocks of Q3_K fill: 12, such as blk.0.ffn_gate.weight (Q4_0)",)


def test_integers_have_no_place(shaped):
    inputs, shape = shaped("llama")
    odd = {name: replace(one, dtype="I8") for name, one in inputs.tensors.items()}
    with pytest.raises(Invalid, match="is I8, not a plain float"):
        choose(odd, shape, Level.Q4)


class Held:
    """One tensor in memory"""

    def __init__(self, name, values):
        self.tensors = {name: Stored(name, "F32", tuple(values.shape), ())}
        self.values = values.reshape(-1)

    def key(self, name):
        return [name]

    def read(self, name, begin=0, end=None):
        return self.values[begin:end]


def test_heads_are_whole_where_a_tensor_is_cut(shaped):
    _, shape = shaped("llama")
    rows = torch.randn(128 * 64, 96)
    inputs = Held("model.layers.0.self_attn.q_proj.weight", rows)
    file = model_file("x", inputs, choose(inputs.tensors, shape, Level.FP16), shape, Tokens("no_vocab"))
    raw = b"".join(bytes(part) for part in file.made[0].make())
    turned = rows.view(128, 2, 32, 96).swapaxes(1, 2).reshape(rows.shape)
    assert raw == turned.to(torch.float16).numpy().tobytes()
