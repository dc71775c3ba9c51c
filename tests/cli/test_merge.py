"""artstore merge"""

import json

import pytest
import torch
from safetensors.torch import load_file, save_file

from tests.cli.calling import call, contents, document, done, refused

CONFIG = {"architectures": ["LlamaForCausalLM"], "hidden_size": 8, "model_type": "llama", "num_hidden_layers": 2}
SLERP = "# half way\nmerge_method: slerp\nmodels: [{model: org/a}, {model: org/b}]\nparameters: {t: [{filter: norm, value: 0}, {value: 0.5}]}\n"


def model(folder, seed, rows=12, **config):
    torch.manual_seed(seed)
    folder.mkdir()
    tensors = {"model.embed_tokens.weight": torch.randn(rows, 8), "model.norm.weight": torch.ones(8)}
    for number in range(2):
        tensors[f"model.layers.{number}.mlp.up_proj.weight"] = torch.randn(16, 8)
    save_file({name: tensor.bfloat16() for name, tensor in tensors.items()}, folder / "model.safetensors")
    (folder / "config.json").write_text(json.dumps({**CONFIG, "vocab_size": rows, **config}, indent=2))
    return folder


@pytest.fixture
def models(place, store):
    """org/a and org/b in the store, and a recipe that merges them"""
    for seed, name in enumerate("ab"):
        done("add", model(place / name, seed), "--as", f"org/{name}", "--license", "MIT")
    (place / "half.yml").write_text(SLERP)
    return place


def test_a_merge_is_a_version_with_its_parents(models):
    found = document("merge", "half.yml", "--as", "org/half")
    assert (found["ref"], found["made"], found["tensors"]) == ("org/half:1", 4, 4)
    shown = document("show", "org/half")
    assert shown["license"] == "MIT"
    assert [(link["relation"], link["ref"], link["weight"]) for link in shown["parents"]] == [
        ("merge", "org/a:1", 0.5),
        ("merge", "org/b:1", 0.5),
    ]


def test_it_is_written_out_too(models):
    said = done("merge", "half.yml", "--out", "out")
    assert "org/a, org/b → half:1  slerp  4 tensors" in said
    assert "slerp without a base_model starts from the first model, org/a" in said
    assert said.splitlines()[-1] == "  written to out"
    merged = load_file(models / "out" / "model.safetensors")
    assert set(merged) == set(load_file(models / "a" / "model.safetensors"))
    assert torch.equal(merged["model.norm.weight"], torch.ones(8).bfloat16())
    assert done("merge", "half.yml", "-q") == f"{document('show', 'half')['id']}\n"


def test_a_plan_says_what_would_be_made_and_changes_nothing(models):
    before = contents(models)
    said = done("merge", "half.yml", "-n")
    assert contents(models) == before
    lines = said.splitlines()
    assert lines[0].startswith("org/a, org/b → half  slerp  4 tensors  ")
    (row,) = [line.split() for line in lines if "up_proj" in line]
    assert row[:3] == ["model.layers.*.mlp.up_proj.weight", "slerp", "2"]
    assert row[-2:] == ["t", "0.5"]
    (copied,) = [line.split() for line in lines if "model.norm" in line]
    assert (copied[1], copied[-1]) == ("passthrough", "org/a")
    assert lines[-1] == "Nothing changed (dry run)"
    planned = document("merge", "half.yml", "-n")
    assert planned["methods"] == {"slerp": 3, "passthrough": 1}
    assert (planned["copied_bytes"], planned["known_bytes"]) == (16, 0)
    assert sum(group["bytes"] for group in planned["groups"]) == planned["copied_bytes"] + planned["calculated_bytes"]
    done("merge", "half.yml")
    assert document("merge", "half.yml", "-n")["calculated_bytes"] == 0


def test_another_architecture_is_refused_with_a_table(models):
    done("add", model(models / "g", 3, rows=20, architectures=["GemmaForCausalLM"]), "--as", "org/g")
    (models / "odd.yml").write_text(SLERP.replace("org/b", "org/g"))
    result = call("merge", "odd.yml")
    assert result.exit_code == 2
    (line,) = result.stderr.splitlines()
    assert line.startswith("artstore: org/a and org/g differ in architecture (LlamaForCausalLM, GemmaForCausalLM)")
    rows = [row.split() for row in result.stdout.splitlines()]
    assert rows[1] == ["model", "org/a", "org/g"]
    assert ["architecture", "LlamaForCausalLM", "GemmaForCausalLM"] in rows
    assert ["vocab_size", "12", "20"] in rows
    told = call("merge", "odd.yml", "--json")
    assert (told.exit_code, told.stdout) == (2, "")
    error = json.loads(told.stderr)
    assert error["error"] == "invalid.merge-architecture"
    assert {"what": "vocab_size", "a": "12", "b": "20"} in error["facts"]["table"]


@pytest.mark.parametrize(
    ("text", "code", "message"),
    [
        (SLERP.replace("{t:", "{tt:"), 2, "half.yml: line 4: slerp has no parameter 'tt'; did you mean 't'?"),
        (SLERP + "models: []\n", 2, "half.yml: line 5: key 'models' stands here and at line 3"),
        (SLERP.replace("value: 0.5", "value: .nan"), 2, "half.yml: line 4: t should be a finite number, found nan"),
        (SLERP.replace("org/b", "org/none"), 3, "org/none is neither in the store nor a folder here"),
        (SLERP.replace("org/b", "bert"), 2, "bert cannot be used"),
    ],
)
def test_what_is_wrong_is_one_line(models, text, code, message):
    (models / "half.yml").write_text(text)
    before = contents(models / ".artstore")
    assert message in refused(code, "merge", "half.yml")
    assert contents(models / ".artstore") == before


@pytest.mark.parametrize(
    ("code", "out", "message"),
    [
        (2, "b", "b is the folder of ./b, which this is made of; choose another"),
        (5, "other", "model.safetensors is there with other content; choose another folder"),
        (5, "shards", "model-00001-of-00002.safetensors is of another model, and would be read together with this one"),
        (2, "half.yml", "half.yml is a file; give a folder"),
    ],
)
def test_a_folder_that_cannot_be_written_to_is_told_before_the_work(models, code, out, message):
    (models / "half.yml").write_text(SLERP.replace("org/b", "./b"))
    for name in ("other/model", "shards/model-00001-of-00002"):
        (models / name).parent.mkdir()
        (models / f"{name}.safetensors").write_bytes(b"mine")
    before = contents(models)
    for more in ([], ["-n"]):
        assert message in refused(code, "merge", "half.yml", "--out", out, *more)
    assert contents(models) == before


def test_a_name_that_is_none(models):
    assert "Not an artifact name: ''" in refused(2, "merge", "half.yml", "--as", "")


def test_a_recipe_that_is_not_there(store):
    assert "none.yml" in refused(3, "merge", "none.yml")
