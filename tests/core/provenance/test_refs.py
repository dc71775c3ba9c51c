"""References: what files mean by the name of a model"""

import pytest
from huggingface_hub.errors import HFValidationError
from huggingface_hub.utils import validate_repo_id
from hypothesis import given
from hypothesis import strategies as st

from artifactstore.core.lineage import Link, Relation
from artifactstore.core.provenance.refs import named, refer

COMMIT = "b3a2f5e0c1d4a6978899aabbccddeeff00112233"


@pytest.mark.parametrize(
    ("text", "ref"),
    [
        ("mistralai/Mistral-7B-v0.1", "hf://mistralai/Mistral-7B-v0.1"),
        (" meta-llama/Llama-3.1-8B ", "hf://meta-llama/Llama-3.1-8B"),
        ("gpt2", "hf://gpt2"),
        ("mistralai/Mistral-7B-v0.1@main", "hf://mistralai/Mistral-7B-v0.1@main"),
        (f"hf://org/name@{COMMIT}", f"hf://org/name@{COMMIT}"),
        ("hf://org/name/file.safetensors", "hf://org/name/file.safetensors"),
        ("https://huggingface.co/Qwen/Qwen2.5-7B", "hf://Qwen/Qwen2.5-7B"),
        ("https://huggingface.co/Qwen/Qwen2.5-7B/tree/v2", "hf://Qwen/Qwen2.5-7B@v2"),
        ("https://huggingface.co/Qwen/Qwen2.5-7B/blob/main/README.md?x=1", "hf://Qwen/Qwen2.5-7B@main"),
        ("https://user:hf_secret@huggingface.co/org/name", "https://huggingface.co/org/name"),
        ("hf.co/Qwen/Qwen2.5-7B/", "hf://Qwen/Qwen2.5-7B"),
        ("https://huggingface.co/datasets/org/name", "https://huggingface.co/datasets/org/name"),
        ("https://ai.meta.com/llama", "https://ai.meta.com/llama"),
        ("s3://bucket/model", "s3://bucket/model"),
        ("/data/models/sd_xl_base_1.0.safetensors", "file:sd_xl_base_1.0.safetensors"),
        ("./out/checkpoint-500/", "file:checkpoint-500"),
        ("../base", "file:base"),
        ("~/models/base", "file:base"),
        ("C:\\models\\v1-5-pruned.ckpt", "file:v1-5-pruned.ckpt"),
        ("C:/models", "file:models"),
        ("model.safetensors", "file:model.safetensors"),
        ("org/name/weights/model", "file:model"),
        (f"/root/.cache/huggingface/hub/models--org--name/snapshots/{COMMIT}", f"hf://org/name@{COMMIT}"),
        ("/cache/hub/models--gpt2/blobs/x", "hf://gpt2"),
        ("Stable Diffusion XL 1.0 Base", "name:Stable Diffusion XL 1.0 Base"),
        ("a--b/c", "name:a--b/c"),
        ("org/name.git", "name:org/name.git"),
    ],
)
def test_a_name_becomes_a_reference(text, ref):
    assert refer(text) == ref
    assert Link(Relation.FINETUNE, ref).ref == ref


@pytest.mark.parametrize(
    "text",
    [
        None,
        7,
        [],
        {},
        "",
        " ",
        "None",
        "null",
        "a\0b",
        "a\nb",
        "a\u202eb",
        "\ud800",
        "x y" * 100,
        "x" * 10**6,
        "./",
        "/",
    ],
)
def test_what_names_no_model_has_no_reference(text):
    assert refer(text) is None


def test_a_single_word_is_a_title_where_titles_stand():
    assert refer("animefull", titles=True) == "name:animefull"
    assert refer("org/animefull", titles=True) == "hf://org/animefull"


@pytest.mark.parametrize("revision", [None, "", 7, "two words", "a@b"])
def test_a_revision_is_one_word(revision):
    assert refer("org/name", "v1.0") == "hf://org/name@v1.0"
    assert refer("org/name@v2", "v1.0") == "hf://org/name@v2"
    assert refer("org/name", revision) == "hf://org/name"


@pytest.mark.parametrize(
    ("ref", "name"),
    [
        ("hf://org/name@main", "org/name"),
        ("hf://gpt2", "gpt2"),
        ("base:3", "base"),
        ("org/base@prod", "org/base"),
        ("base", "base"),
        ("file:sd_xl_base_1.0.safetensors", "sd_xl_base_1.0"),
        ("file:checkpoint-500", "checkpoint-500"),
        ("file:.bin", ".bin"),
        ("name:A title: part 2", "A title: part 2"),
        ("https://example.org/x@2", "https://example.org/x@2"),
    ],
)
def test_references_with_one_name_mean_one_parent(ref, name):
    assert named(ref) == name


@given(st.text() | st.from_regex(r"[\w./@:+~\\-]{0,40}"), st.none() | st.text(max_size=5), st.booleans())
def test_any_text_gives_a_reference_a_link_can_hold_or_none(text, revision, titles):
    ref = refer(text, revision, titles=titles)
    assert ref is None or named(Link(Relation.MERGE, ref).ref)


@given(st.from_regex(r"[A-Za-z0-9_.-]{1,12}(/[A-Za-z0-9_.-]{1,12})?", fullmatch=True))
def test_what_becomes_a_repository_is_one_to_the_hub(text):
    ref = refer(text)
    if ref is not None and ref.startswith("hf://"):
        validate_repo_id(ref.removeprefix("hf://"))
    elif ref is not None and ref.startswith("name:"):
        with pytest.raises(HFValidationError):
            validate_repo_id(text)
