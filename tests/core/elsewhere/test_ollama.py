"""Ollama's manifests: what each layer becomes, tags, parents, and what runs elsewhere"""

import json

import pytest

from artifactstore.core.elsewhere import ollama
from tests.core.elsewhere.trees import passed, told, tree

HOME = "registry.ollama.ai"


def layer(kind, number, **more):
    return {"mediaType": f"application/vnd.ollama.image.{kind}", "digest": f"sha256:{number:064x}", "size": 1, **more}


def manifest(*layers, config=99):
    document = {"schemaVersion": 2, "layers": list(layers)}
    kind = "application/vnd.docker.container.image.v1+json"
    return document | ({"config": {"mediaType": kind, "digest": f"sha256:{config:064x}"}} if config else {})


def models(manifests, prefix="", blobs=range(200)):
    files = {f"{prefix}manifests/{path}": json.dumps(document) for path, document in manifests.items()}
    return tree(files | {f"{prefix}blobs/sha256-{number:064x}": str(number) for number in blobs})


@pytest.mark.parametrize("prefix", ["", "models/"])
def test_layers_become_files_by_what_they_are(prefix):
    kinds = ("model", "projector", "template", "license", "license", "params", "system", "messages", "odd")
    document = manifest(*(layer(kind, number) for number, kind in enumerate(kinds)))
    (found,) = ollama.read(models({f"{HOME}/library/llama3/8b": document}, prefix)).found
    assert {path: int(digest, 16) for path, digest in found.digests.items()} == {
        "llama3.gguf": 0,
        "projector.gguf": 1,
        "template": 2,
        "LICENSE": 3,
        "LICENSE-2": 4,
        "params.json": 5,
        "system": 6,
        "messages.json": 7,
        "odd": 8,
        "config.json": 99,
    }
    assert (found.artifact, found.aliases) == ("library/llama3", ("8b",))
    assert found.files["llama3.gguf"] == f"{prefix}blobs/sha256-{0:064x}"
    assert found.metadata == {"source": f"ollama://{HOME}/library/llama3", "manifest": document}


def test_tags_of_one_manifest_are_one_version():
    one, other = manifest(layer("model", 1)), manifest(layer("model", 2), config=None)
    tags = {f"{HOME}/library/a/latest": one, f"{HOME}/library/a/8b": one, f"{HOME}/library/a/70b": other}
    names = sorted((name, tuple(aliases)) for name, _, aliases in told(ollama.read(models(tags))))
    assert names == [("library/a", ("70b",)), ("library/a", ("8b", "latest"))]


def test_names_of_other_registries():
    one = manifest(layer("model", 1))
    found = ollama.read(models({f"{HOME}/me/b/x": one, "hf.co/org/c/Q4_K_M": one})).found
    assert [(one.artifact, one.aliases) for one in found] == [("me/b", ("x",)), ("org/c", ("Q4_K_M",))]
    assert found[1].metadata["source"] == "ollama://hf.co/org/c"


def test_several_files_of_a_kind_and_tensors_by_their_own_names():
    document = manifest(
        layer("model", 1), layer("model", 2), layer("tensor", 3, name="text_encoder/model.safetensors"), config=None
    )
    (found,) = ollama.read(models({f"{HOME}/library/x/latest": document})).found
    assert sorted(found.files) == ["text_encoder/model.safetensors", "x-2.gguf", "x.gguf"]


@pytest.mark.parametrize(
    ("said", "parent", "more", "relation"),
    [
        ("llama3:8b", f"ollama://{HOME}/library/llama3:8b", [], "convert"),
        ("me/base", f"ollama://{HOME}/me/base:latest", [layer("adapter", 5)], "adapter"),
        ("host.de/me/base:1", "ollama://host.de/me/base:1", [], "convert"),
    ],
)
def test_a_parent_where_one_is_stated(said, parent, more, relation):
    document = manifest(layer("model", 1, **{"from": said}), *more)
    (found,) = ollama.read(models({f"{HOME}/me/mine/latest": document})).found
    (link,) = found.parents
    assert (link.ref, str(link.relation), dict(link.params)) == (parent, relation, {"read": "manifest"})


def test_a_parent_here_is_known_by_its_config():
    base = manifest(layer("model", 1), config=7)
    mine = manifest(layer("model", 1, **{"from": "base"}), config=8)
    found = ollama.read(models({f"{HOME}/library/base/latest": base, f"{HOME}/me/mine/latest": mine})).found
    assert {one.artifact: [link.params["sha256"] for link in one.parents] for one in found} == {
        "library/base": [],
        "me/mine": [f"{7:064x}"],
    }


@pytest.mark.parametrize("source", ["/root/.ollama/blobs/sha256-1", "C:\\x.gguf", "sha256:12", "@sha", "", 3, "x\n"])
def test_a_file_of_the_machine_it_was_made_on_is_no_parent(source):
    document = manifest(layer("model", 1, **{"from": source}))
    (found,) = ollama.read(models({f"{HOME}/me/mine/latest": document})).found
    assert found.parents == ()


@pytest.mark.parametrize(
    ("document", "why"),
    [
        ("{", "is not JSON"),
        ("[]", "holds no JSON object"),
        ("{}", "lists no layers"),
        (json.dumps({"layers": [layer("model", 1) | {"digest": "md5:1"}]}), "has no sha256"),
        (json.dumps({"layers": [layer("model", 1, name="../x")]}), "'..' part"),
        (json.dumps({"layers": [layer("model", 500)]}), "is not among the blobs; pull it again"),
    ],
)
def test_what_is_wrong_is_told_and_passed_over(document, why):
    found = tree({f"manifests/{HOME}/library/x/latest": document, f"blobs/sha256-{1:064x}": "1"})
    survey = ollama.read(found)
    assert survey.found == ()
    ((told_why, broken),) = passed(survey).values()
    assert why in told_why
    assert broken


def test_what_is_no_tag_and_what_runs_elsewhere():
    survey = ollama.read(models({"stray": {}, ".DS_Store": {}, f"{HOME}/library/cloud/1t": manifest()}))
    assert passed(survey) == {
        "manifests/stray": ("is not HOST/NAMESPACE/NAME/TAG", True),
        f"manifests/{HOME}/library/cloud/1t": ("has no weights here; it runs elsewhere", False),
    }
    damaged = manifest(layer("model", 1, **{"from": "cloud:bad"}))
    files = models({f"{HOME}/library/a/b": damaged})
    survey = ollama.read(
        tree({f"manifests/{HOME}/library/cloud/bad": "{", **{p: files.read(p) for p in files.entries}})
    )
    assert [dict(link.params) for link in survey.found[0].parents] == [{"read": "manifest"}]
