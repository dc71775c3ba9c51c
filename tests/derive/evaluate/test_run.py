"""Versions of a store evaluated: what each is held against, and what is kept of it"""

import json
import shutil

import pytest
from safetensors.torch import load_file, save_file

from artifactstore import Store
from artifactstore.core.errors import Invalid, NotFound
from artifactstore.core.events import Warn
from artifactstore.derive.evaluate.run import evaluate
from artifactstore.derive.evaluate.subject import find, source_of
from artifactstore.derive.evaluate.tasks.table import load


@pytest.fixture
def told():
    return []


@pytest.fixture
def store(tmp_path, llama, told):
    with Store.init(str(tmp_path / "store"), monitor=told.append) as made:
        made.add([llama], name="tiny")
        yield made


def child(store, folder, name, **parents):
    links = [store.link(ref, relation) for relation, ref in parents.items()]
    return store.add([folder], name=name, parents=links)


def test_the_nearest_kind_of_source_counts(store, qwen, tmp_path):
    weightless = tmp_path / "note.txt"
    weightless.write_text("nothing")
    store.add([weightless], name="notes")
    store.add([qwen], name="base")
    child(store, qwen, "a", finetune="base", merge="tiny")
    subject, relation = source_of(find(store, "a"))
    assert (subject.ref, relation) == ("tiny:1", "merge")
    # one that has no weights is no source, and neither is one elsewhere
    child(store, qwen, "b", quantize="notes", merge="hf://org/else", finetune="base")
    assert source_of(find(store, "b"))[0].ref == "base:1"
    assert source_of(find(store, "tiny")) is None
    assert source_of(find(store, str(qwen))) is None


def test_a_source_that_cannot_be_opened_is_told_of(store, llama, tmp_path):
    strange = shutil.copytree(llama, tmp_path / "strange")
    said = json.loads((strange / "config.json").read_text())
    (strange / "config.json").write_text(json.dumps({**said, "model_type": "martian"}))
    store.add([strange], name="strange")
    child(store, llama, "small", quantize="strange")
    (found,) = evaluate(store, ["small"])
    assert found.passed
    gates = {gate.name: gate for gate in found.gates}
    assert gates["source"].passed is None
    assert gates["source"].says.startswith("strange:1: The model cannot be opened: ValueError")
    assert gates["kl"].passed is None
    with pytest.raises(Invalid, match="strange:1: "):
        list(evaluate(store, ["small"], baseline="strange"))


def test_a_model_that_cannot_be_opened_fails_a_gate(store, llama, tmp_path):
    strange = shutil.copytree(llama, tmp_path / "strange")
    (strange / "tokenizer.json").unlink()
    store.add([strange], name="strange")
    (found,) = evaluate(store, ["strange"])
    assert [gate.name for gate in found.gates if gate.passed is False] == ["loads"]
    assert store.resolve("strange").metrics["gates.failed"] == 1


def test_a_model_whose_logits_are_no_numbers_is_told_of_once_each(store, llama, tmp_path):
    folder = shutil.copytree(llama, tmp_path / "broken")
    tensors = load_file(folder / "model.safetensors")
    tensors["model.norm.weight"][0] = float("nan")
    save_file(tensors, folder / "model.safetensors", {"format": "pt"})
    (found,) = evaluate(store, [str(folder)], [])
    names = [gate.name for gate in found.gates]
    assert len(set(names)) == len(names)
    assert {"finite", "calculates"} <= {gate.name for gate in found.gates if gate.passed is False}


def test_nothing_is_opened_when_a_name_is_wrong(store, told):
    with pytest.raises(NotFound, match="nobody"):
        next(evaluate(store, ["tiny", "nobody"]))
    assert not store.resolve("tiny").metrics


def test_what_makes_vectors_does_no_tasks(store, minilm):
    with pytest.raises(Invalid, match="makes vectors and no text"):
        list(evaluate(store, [str(minilm)], [load("perplexity")]))
    with pytest.raises(Invalid, match="writes texts, the other makes vectors"):
        list(evaluate(store, ["tiny"], [load("kl")], baseline=str(minilm)))


def test_vectors_are_compared_by_their_cosine(store, minilm):
    store.add([minilm], name="minilm")
    child(store, minilm, "same", convert="minilm")
    (found,) = evaluate(store, ["same"], [load("kl")])
    assert found.beside == "minilm:1"
    assert found.metrics["cosine"] == pytest.approx(1)
    assert store.resolve("same").metrics["cosine"] == found.metrics["cosine"]


def test_tokenizers_that_differ_cannot_be_compared(store, llama, tmp_path):
    other = shutil.copytree(llama, tmp_path / "other")
    said = json.loads((other / "tokenizer.json").read_text())
    said["model"]["merges"] = said["model"]["merges"][:100]
    (other / "tokenizer.json").write_text(json.dumps(said))
    with pytest.raises(Invalid, match="read the text as different tokens"):
        list(evaluate(store, [str(other)], [load("kl")], baseline="tiny"))
    (found,) = evaluate(store, [str(other)], [load("perplexity")], baseline="tiny")
    assert found.against == {}
    (found,) = evaluate(store, [str(other)], baseline="tiny")
    assert {gate.name: gate.passed for gate in found.gates}["kl"] is None


def test_a_store_that_may_only_be_read_keeps_nothing_and_says_so(store, tmp_path, told):
    with Store.open(str(tmp_path / "store"), read_only=True, monitor=told.append) as reading:
        (found,) = evaluate(reading, ["tiny"], [load("perplexity")])
    assert found.metrics["perplexity"] < 10
    assert "The metrics of tiny:1 were not kept" in told[-1].message
    assert isinstance(told[-1], Warn)
    assert not store.resolve("tiny").metrics


def test_nothing_is_left_behind(store, tmp_path, monkeypatch):
    place = tmp_path / "temporary"
    place.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(place))
    (found,) = evaluate(store, ["tiny"], [load("perplexity")], baseline="tiny")
    assert found.against["perplexity.logprob"].difference == 0
    assert list(place.iterdir()) == []
