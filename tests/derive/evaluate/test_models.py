"""One model in several formats, and what each of them makes of it"""

import json
import shutil

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
def graph(tmp_path_factory):
    """A language model as onnxruntime-genai builds it, with a past, and the folder it was built of"""
    tiny = pytest.importorskip("tests.derive.web.tiny")
    return as_graph(tmp_path_factory, tiny, "qwen", "onnx"), tiny.folder(tmp_path_factory, "qwen")


def as_graph(factory, tiny, name, below=""):
    """A folder with the graph of a model, its configuration and its tokenizer"""
    out, source = factory.mktemp(name), tiny.folder(factory, name)
    (out / below).mkdir(exist_ok=True)
    for file in ("model.onnx", "model.onnx.data"):
        shutil.copy(tiny.graph(factory, name).parent / file, out / below)
    for file in ("config.json", "tokenizer.json", "tokenizer_config.json"):
        shutil.copy(source / file, out)
    return out


def test_a_graph_gives_what_torch_gives(graph):
    folder, source = graph[0], opened(graph[1])
    model = opened(folder)
    assert look(folder).weights == ("onnx/model.onnx", "onnx/model.onnx.data")
    assert distance(model, source) < 1e-6
    start = source.tokens.encode("The old mill")
    assert list(continued(model, start, 16)) == list(continued(source, start, 16))
    gates = {gate.name: gate for gate in of_files(folder, look(folder), read_config(folder))}
    assert gates["finite"].passed
    assert int(gates["finite"].says.split()[0]) > 10


def test_a_graph_without_its_data_cannot_be_opened(graph, tmp_path):
    folder = shutil.copytree(graph[0], tmp_path / "copy")
    (folder / "onnx/model.onnx.data").unlink()
    with pytest.raises(Invalid, match="The graph cannot be opened"):
        opened(folder)


def test_an_encoder_as_a_graph(tmp_path_factory):
    tiny = pytest.importorskip("tests.derive.web.tiny")
    texts = ["A cat.", "The cats of the harbour sat in the sun.", "x"]
    ours = opened(as_graph(tmp_path_factory, tiny, "bert")).embed(texts)
    theirs = opened(tiny.folder(tmp_path_factory, "bert")).embed(texts)
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
