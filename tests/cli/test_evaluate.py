"""artstore evaluate, run and benchmark"""

import json

import pytest

from tests.cli.calling import call, document, done, refused

pytest.importorskip("transformers")

from tests.derive.evaluate.conftest import alone, llama, minilm, qwen  # noqa: F401  # fixtures
from tests.derive.evaluate.tiny import TEXT

ITEMS = [
    {"prompt": "The harbour was", "choices": ["quiet when the ferry came in", "green as seven clocks"], "answer": 0},
    {"prompt": "Anna carried two", "choices": ["volcanoes and a noun", "bags and a letter"], "answer": 1},
    {"prompt": "He told her what", "choices": ["had changed", "xylophone"], "answer": "had changed"},
]


@pytest.fixture
def models(store, llama, qwen):  # noqa: F811
    """A store with a model, and another that says it was made of it"""
    done("add", llama, "--as", "tiny")
    done("add", qwen, "--as", "other", "--parent", "tiny", "--relation", "merge")
    return store


@pytest.fixture
def items(place):
    path = place / "items.jsonl"
    path.write_text("".join(f"{json.dumps(one)}\n" for one in ITEMS))
    return path


def test_gates_become_metrics(models):
    (found,) = document("evaluate", "tiny")["evaluations"]
    assert found["passed"]
    assert {gate["name"] for gate in found["gates"]} >= {"finite", "loads", "tokenizer", "perplexity", "writes", "kl"}
    kept = document("show", "tiny")["metrics"]
    assert kept == found["metrics"]
    assert kept["gates.failed"] == 0
    assert kept["gates.perplexity"] < 10
    lines = done("evaluate", "tiny").splitlines()
    assert lines[0] == "tiny:1  model.safetensors"
    assert not [line for line in lines if "FAILED" in line]


def test_a_model_is_held_against_what_it_was_made_of(models):
    found = document("evaluate", "other", "--task", "kl")["evaluations"][0]
    assert found["baseline"] == "tiny:1"
    values = found["tasks"][0]["values"]
    assert values["kl"]["value"] > 0.5
    assert 0 < values["kl.top1"]["value"] < 1
    assert document("show", "other")["metrics"]["kl"] == values["kl"]["value"]
    assert "no source here; name one: --baseline" in refused(2, "evaluate", "tiny", "--task", "kl")
    assert document("evaluate", "tiny", "--task", "kl", "--baseline", "tiny")["evaluations"][0]["metrics"]["kl"] == 0


def test_what_fails_ends_with_its_code(store, place, llama):  # noqa: F811
    import torch
    from safetensors.torch import load_file, save_file

    folder = place / "nan"
    folder.mkdir()
    for path in llama.iterdir():
        (folder / path.name).write_bytes(path.read_bytes())
    tensors = load_file(folder / "model.safetensors")
    tensors["model.norm.weight"][0] = torch.nan
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    result = call("evaluate", folder)
    assert result.exit_code == 4
    assert "FAILED  not finite: model.norm.weight" in result.stdout
    assert call("evaluate", folder, llama, "--json").exit_code == 4


def test_questions_beside_a_baseline(models, items):
    found = document("evaluate", "other", "tiny", "--task", items, "--baseline", "tiny")["evaluations"]
    assert [one["ref"] for one in found] == ["other:1", "tiny:1"]
    (task,) = found[1]["tasks"]
    assert task["count"] == 3
    assert task["values"]["items.acc"] == {"value": 1.0, "stderr": 0.0}
    assert task["against"]["items.acc"] == {"difference": 0, "stderr": 0, "better": 0, "worse": 0, "differs": False}
    assert document("show", "tiny")["metrics"]["items.acc_norm"] == 1
    shown = done("evaluate", "tiny", "--task", items, "--task", "perplexity", "--baseline", "other")
    assert "items: 3 items" in shown
    assert "perplexity.logprob" in shown
    assert "differs" in shown


def test_events_and_ids(models, items):
    lines = done("evaluate", "tiny", "--task", items, "--limit", 1, "--jsonl").splitlines()
    (event,) = [json.loads(line) for line in lines if json.loads(line)["event"] == "evaluation"]
    assert event["tasks"][0]["count"] == 1
    assert done("evaluate", "tiny", "--task", items, "-q").split() == [event["id"]]


def test_a_folder_has_no_metrics(store, llama, minilm):  # noqa: F811
    found = document("evaluate", llama, minilm)["evaluations"]
    assert [(one["id"], one["passed"]) for one in found] == [(None, True), (None, True)]


def test_running(models, minilm):  # noqa: F811
    text = done("run", "tiny", "--prompt", "The harbour was", "--tokens", 12)
    assert text.strip()
    assert document("run", "tiny", "--prompt", "The harbour was", "--tokens", 12)["text"] == text.removesuffix("\n")
    drawn = [
        done("run", "tiny", "--prompt", "She", "--tokens", 9, "--temperature", "1.5", "--seed", seed)
        for seed in (1, 1, 2)
    ]
    assert drawn[0] == drawn[1] != drawn[2]
    cosines = document("run", minilm, "--prompt", "a cat", "--prompt", "a kitten", "--prompt", "tax law")["cosines"]
    assert 0.6 < cosines[0] <= 1
    assert cosines[1] < 0.3
    assert "kitten" in done("run", minilm, "--prompt", "a cat", "--prompt", "a kitten")


def test_a_variant_is_measured_and_drawn(models, llama, minilm, place):  # noqa: F811
    text = place / "text.txt"
    text.write_text(TEXT[:600])
    (found,) = document("benchmark", "other", "--data", text, "--plot", place / "p.png")["variants"]
    assert (found["ref"], found["baseline"]) == ("other:1", "tiny:1")
    assert found["quality"]["kl"]["value"] > 0.5
    assert found["bits_per_weight"] == pytest.approx(32, rel=0.05)
    assert all(found[key] > 0 for key in ("load_seconds", "read_tokens_per_second", "bytes"))
    assert (place / "p.png").read_bytes().startswith(b"\x89PNG")
    kept = document("show", "other")["metrics"]
    assert set(kept) == {"kl", "kl.top1", "perplexity", "bits_per_weight"}


def test_an_encoder_is_measured(store, minilm):  # noqa: F811
    shown = done("benchmark", minilm, "--baseline", minilm)
    assert "1.0000" in shown
    assert "KL, top-1 and cosine are to" in shown


@pytest.mark.parametrize(
    ("code", "arguments", "says"),
    [
        (3, ("evaluate", "nobody"), "nobody"),
        (2, ("evaluate", "bert"), "bert:1: Its weights are pickled"),
        (3, ("evaluate", "./none"), "No such folder: ./none"),
        (2, ("evaluate", "tiny", "--task", "mmlu"), "Unknown task 'mmlu'"),
        (3, ("evaluate", "tiny", "--task", "hellaswag"), "hellaswag is not shipped"),
        (3, ("evaluate", "tiny", "--task", "arc", "--data", "none.jsonl"), "Cannot read none.jsonl"),
        (2, ("evaluate", "tiny", "--file", "x.onnx"), "No model at 'x.onnx'; there are model.safetensors"),
        (2, ("evaluate", "tiny", "--dtype", "int4"), "use one of float32"),
        (2, ("evaluate", "tiny", "--device", "toaster"), "is no device"),
        (2, ("evaluate", "tiny", "--data", ""), "A path is empty"),
        (2, ("evaluate",), "Missing argument"),
        (2, ("run", "tiny"), "Missing option"),
        (2, ("run", "tiny", "--prompt", "a", "--prompt", "b"), "one text at a time"),
        (2, ("run", "tiny", "--prompt", "a", "--chat"), "no chat template"),
        (2, ("run", "tiny", "--prompt", "a", "--temperature", "-1"), "Temperature -1.0 is not 0 or more"),
        (2, ("run", "tiny", "--prompt", "word " * 200), "and the model takes 128"),
        (2, ("benchmark", "tiny", "--plot", "x.jpg"), "is no picture"),
        (2, ("benchmark", "tiny", "--plot", "no/x.png"), "There is no folder no"),
        (3, ("benchmark", "tiny", "--baseline", "nobody"), "nobody"),
    ],
)
def test_bad_input_is_one_line(models, code, arguments, says):
    assert says in refused(code, *arguments)


def test_a_folder_whose_model_is_broken(store, place, llama):  # noqa: F811
    folder = place / "broken"
    folder.mkdir()
    for path in llama.iterdir():
        (folder / path.name).write_bytes(path.read_bytes())
    (folder / "model.safetensors").write_bytes(b"\x08\0\0\0\0\0\0\0garbage!")
    assert "cannot be opened" in refused(2, "run", folder, "--prompt", "a")
    (folder / "config.json").write_text('{"model_type": "martian", "architectures": ["MartianForCausalLM"]}')
    assert "cannot be opened" in refused(2, "run", folder, "--prompt", "a")
    (folder / "config.json").write_text("[]")
    assert "names no model_type" in refused(2, "run", folder, "--prompt", "a")
