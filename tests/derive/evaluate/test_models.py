"""One model in several formats, and what each of them makes of it"""

import json
import shutil
import subprocess
import sys

import pytest
import torch

from artifactstore.core.errors import Invalid
from artifactstore.derive.evaluate.gates import of_files
from artifactstore.derive.evaluate.models.config import read_config
from artifactstore.derive.evaluate.models.opening import look, open_model
from artifactstore.derive.evaluate.models.torch_model import Use
from artifactstore.derive.evaluate.tasks.table import load
from artifactstore.derive.evaluate.writing import continued, drawn
from artifactstore.derive.quantize.levels import Level, Target
from artifactstore.derive.quantize.plan import plan
from artifactstore.derive.quantize.run import run
from artifactstore.store import Store


def opened(folder, path=None, use=None):
    return open_model(folder, look(folder, path), use)


def distance(model, source):
    return load("kl").run(model, source).values["kl"].value


@pytest.fixture(scope="session")
def source(llama):
    return opened(llama)


@pytest.fixture
def quantized(tmp_path, llama):
    """The folder of a version that was quantized"""

    def make(level, target):
        with Store.init(str(tmp_path / "store")) as store:
            store.add([llama], name="tiny")
            report = run(store.depot, plan(store, "tiny", level, target, "small"))
            store.checkout(str(report.committed.version.id), tmp_path / "out")
        return tmp_path / "out"

    return make


@pytest.mark.parametrize(
    ("level", "target", "least", "most"),
    [
        (Level.FP16, Target.CPU, 0, 1e-4),
        (Level.Q8, Target.CPU, 0, 1e-2),
        (Level.Q4, Target.GPU, 1e-4, 0.5),
        (Level.FP8, Target.GPU, 1e-4, 0.5),
    ],
)
def test_what_was_quantized_stays_near(quantized, source, level, target, least, most, capfd):
    folder = quantized(level, target)
    capfd.readouterr()
    model = opened(folder)
    assert model.params == source.params
    assert least <= distance(model, source) < most
    assert capfd.readouterr() == ("", "")
    assert all(gate.passed for gate in of_files(folder, look(folder), read_config(folder)))
    assert len(list(continued(model, model.tokens.encode("She sat"), 10))) == 10


def test_half_precision_is_near(llama, source):
    assert distance(opened(llama, use=Use(torch.bfloat16)), source) < 0.01


@pytest.fixture(scope="session")
def graph(llama, tmp_path_factory):
    """The tiny model as onnxruntime-genai builds it, with a past"""
    pytest.importorskip("onnxruntime_genai")
    out, cache = tmp_path_factory.mktemp("onnx"), tmp_path_factory.mktemp("cache")
    builder = [sys.executable, "-m", "onnxruntime_genai.models.builder"]
    command = [*builder, "-i", llama, "-o", out / "onnx", "-p", "fp32", "-e", "cpu", "-c", cache]
    subprocess.run(command, check=True, capture_output=True)
    for name in ("config.json", "tokenizer.json", "tokenizer_config.json"):
        shutil.copy(llama / name, out / name)
    return out


def test_a_graph_gives_what_torch_gives(graph, source):
    model = opened(graph)
    assert look(graph).weights == ("onnx/model.onnx", "onnx/model.onnx.data")
    assert distance(model, source) < 1e-6
    start = source.tokens.encode("The old mill")
    assert list(continued(model, start, 16)) == list(continued(source, start, 16))
    gates = {gate.name: gate for gate in of_files(graph, look(graph), read_config(graph))}
    assert gates["finite"].passed
    assert int(gates["finite"].says.split()[0]) > 10


def test_a_graph_without_its_data_cannot_be_opened(graph, tmp_path):
    folder = shutil.copytree(graph, tmp_path / "copy")
    (folder / "onnx/model.onnx.data").unlink()
    with pytest.raises(Invalid, match="The graph cannot be opened"):
        opened(folder)


@pytest.fixture(scope="session")
def encoder_graph(minilm, tmp_path_factory):
    """The real encoder as a graph of plain operators"""
    pytest.importorskip("onnxscript")
    import transformers

    class Hidden(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.model = transformers.AutoModel.from_pretrained(minilm, attn_implementation="eager")

        def forward(self, input_ids, attention_mask, token_type_ids):
            return self.model(input_ids, attention_mask, token_type_ids).last_hidden_state

    out = tmp_path_factory.mktemp("minilm")
    names = ["input_ids", "attention_mask", "token_type_ids"]
    given = tuple(torch.ones(2, 8, dtype=torch.long) for _ in names)
    sides = {0: torch.export.Dim("rows"), 1: torch.export.Dim("length")}
    torch.onnx.export(
        Hidden().eval(),
        given,
        out / "model.onnx",
        input_names=names,
        output_names=["last_hidden_state"],
        dynamic_shapes=dict.fromkeys(names, sides),
        dynamo=True,
        verbose=False,
    )
    for name in ("config.json", "tokenizer.json", "tokenizer_config.json"):
        shutil.copy(minilm / name, out / name)
    return out


def test_an_encoder_as_a_graph(encoder_graph, minilm):
    texts = ["A cat.", "The cats of the harbour sat in the sun and looked at the fish.", ""]
    ours, theirs = opened(encoder_graph).embed(texts), opened(minilm).embed(texts)
    assert torch.allclose(ours, theirs, atol=1e-5)


def test_vectors_are_those_of_sentence_transformers(minilm):
    library = pytest.importorskip("sentence_transformers")
    texts = ["A cat.", "The harbour was quiet when the ferry came in."]
    theirs = torch.tensor(library.SentenceTransformer(str(minilm), device="cpu").encode(texts))
    ours = torch.nn.functional.normalize(opened(minilm).embed(texts), dim=-1)
    assert torch.allclose(ours, theirs, atol=1e-5)


def test_a_past_changes_nothing(source):
    start = source.tokens.encode("Water was still")
    whole, _ = source.advance([*start, 7, 8])
    _, past = source.advance(start)
    _, past = source.advance([7], past)
    part, _ = source.advance([8], past)
    assert torch.allclose(whole, part, atol=1e-4)


def test_chance_is_drawn_from_what_the_model_finds_likely():
    logits = torch.tensor([0.0, 2.0, -torch.inf, 1.0])
    pick = drawn(1.0, 5)
    counts = torch.bincount(torch.tensor([pick(logits) for _ in range(3000)]), minlength=4)
    assert torch.allclose(counts / 3000, torch.softmax(logits, -1), atol=0.04)
    assert drawn(0, 5)(logits) == 1
    with pytest.raises(Invalid, match="Temperature nan"):
        drawn(float("nan"), 1)


def test_what_lacks_a_tensor_is_not_opened(llama, tmp_path):
    from safetensors.torch import load_file, save_file

    folder = shutil.copytree(llama, tmp_path / "copy")
    tensors = load_file(folder / "model.safetensors")
    kept = {name: one for name, one in tensors.items() if "layers.1.mlp" not in name}
    save_file(kept, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(Invalid, match=r"LlamaForCausalLM lacks 3 tensors, such as model\.layers\.1\.mlp\.down_proj"):
        opened(folder)
    said = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**said, "hidden_size": 32}))
    with pytest.raises(Invalid, match="The model cannot be opened"):
        opened(folder)


def test_code_of_a_folder_is_never_run(llama, tmp_path):
    folder = shutil.copytree(llama, tmp_path / "copy")
    (folder / "mine.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')\n")
    said = json.loads((folder / "config.json").read_text())
    auto = {"AutoConfig": "mine.Config", "AutoModelForCausalLM": "mine.Model"}
    (folder / "config.json").write_text(json.dumps({**said, "model_type": "mine", "auto_map": auto}))
    with pytest.raises(Invalid, match="cannot be opened"):
        opened(folder)
    assert not (tmp_path / "ran").exists()


def test_a_model_without_a_tokenizer(llama, tmp_path):
    folder = shutil.copytree(llama, tmp_path / "copy")
    (folder / "tokenizer.json").unlink()
    with pytest.raises(Invalid, match="It has no tokenizer"):
        opened(folder)
