"""Folders kept by hand: which of them are models, and what they are called"""

import json

import pytest

from artifactstore.core.elsewhere import folders
from tests.core.elsewhere.trees import passed, told, tree


def names(files, name="root"):
    return {artifact: paths for artifact, paths, _ in told(folders.read(tree(files, name)))}


def test_org_and_name_names_alone_and_what_is_none():
    files = ["org/a/config.json", "org/a/model.safetensors", "org/b/x.gguf", "flat/model.bin", "notes/read.txt"]
    assert names(dict.fromkeys(files, "{}")) == {
        "org/a": ["config.json", "model.safetensors"],
        "org/b": ["x.gguf"],
        "flat": ["model.bin"],
    }


def test_a_folder_with_a_config_is_one_model_with_all_below_it():
    files = ["p/model_index.json", "p/unet/config.json", "p/unet/w.safetensors", "p/docs/a.md", "p/.cache/x", ".git/y"]
    assert names(dict.fromkeys(files, "{}")) == {
        "p": ["docs/a.md", "model_index.json", "unet/config.json", "unet/w.safetensors"]
    }


def test_a_folder_of_weights_leaves_models_below_it_to_themselves():
    files = ["c/a.ckpt", "c/a.yaml", "c/more/b.txt", "c/run/config.json", "c/run/w.bin", "c/onnx/m.onnx"]
    assert names(dict.fromkeys(files, "{}")) == {
        "c": ["a.ckpt", "a.yaml", "more/b.txt", "onnx/m.onnx"],
        "c/run": ["config.json", "w.bin"],
    }


def test_the_folder_itself():
    files = {"config.json": "{}", "w.safetensors": "", "sub/x.txt": ""}
    assert names(files, "my model") == {"my-model": ["config.json", "sub/x.txt", "w.safetensors"]}


def test_loose_weights_are_a_model_each_and_shards_one():
    files = ["a.gguf", "b-00001-of-00002.safetensors", "b-00002-of-00002.safetensors", "b.safetensors.index.json"]
    found = names(dict.fromkeys([*files, "readme.txt", "c_00001-of-00001.bin", "org/d/config.json"], "{}"))
    assert found == {"a": ["a.gguf"], "b": files[1:], "c": ["c_00001-of-00001.bin"], "org/d": ["config.json"]}


def test_checkpoints_are_versions_with_their_step():
    files = [
        "run/config.json",
        "run/w.bin",
        *(f"run/checkpoint-{n}/{f}" for n in (100, 20) for f in ("config.json", "w.bin")),
    ]
    survey = folders.read(tree(dict.fromkeys(files, "{}")))
    assert [(one.artifact, one.step, sorted(one.files)) for one in survey.found] == [
        ("run", None, ["config.json", "w.bin"]),
        ("run", 20, ["config.json", "w.bin"]),
        ("run", 100, ["config.json", "w.bin"]),
    ]
    only = folders.read(tree({"checkpoint-5/config.json": "{}"}, "my run"))
    assert [(one.artifact, one.step) for one in only.found] == [("my-run", 5)]


@pytest.mark.parametrize(
    ("files", "name"),
    [
        ({"config.json": '{"_name_or_path": "org/na_me"}'}, "org/na_me"),
        ({"config.json": "{}", ".cache/huggingface/download/config.json.metadata": "x"}, "org/na_me"),
        ({"config.json": '{"_name_or_path": "other/na_me"}'}, "org_na_me"),
        ({"config.json": "no JSON"}, "org_na_me"),
        ({"w.bin": ""}, "org_na_me"),
    ],
)
def test_org_name_is_taken_apart_where_something_says_so(files, name):
    found = names({f"deep/org_na_me/{path}": data for path, data in files.items()})
    assert list(found) == [f"deep/{name}"]


@pytest.mark.parametrize("folder", ["_x", "x_"])
def test_a_name_that_only_begins_or_ends_so(folder):
    assert list(names({f"{folder}/w.bin": ""})) == ["x"]


def test_what_cannot_be_stored_is_told():
    survey = folders.read(
        tree({"a/w.bin": "", "b/w.bin": "", "---/w.bin": ""}, faults={"b/link.bin": "is a link to nothing"})
    )
    assert [one.artifact for one in survey.found] == ["a"]
    assert passed(survey)["b"] == ("link.bin is a link to nothing", True)
    assert "Not an artifact name" in passed(survey)["---"][0]
    assert json.dumps(passed(survey))
