"""GGUF headers: sources and base models"""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from artifactstore.core.formats.gguf import parse
from artifactstore.core.provenance import gguf
from tests.core.formats.gguf_files import gguf as write
from tests.core.formats.gguf_files import pair, tensor
from tests.core.formats.sources import Bytes
from tests.core.provenance.versions import Told, brief

F32, F16, Q4_K = 0, 1, 12
MISTRAL = {
    "general.architecture": "llama",
    "general.type": "model",
    "general.license": "apache-2.0",
    "general.quantization_version": 2,
    "general.file_type": 15,
    "general.base_model.count": 1,
    "general.base_model.0.name": "Mistral 7B v0.1",
    "general.base_model.0.version": "v0.1",
    "general.base_model.0.organization": "Mistralai",
    "general.base_model.0.repo_url": "https://huggingface.co/mistralai/Mistral-7B-v0.1",
}


def info(metadata, kind=Q4_K):
    pairs = [pair(key, 8 if isinstance(value, str) else 4, value) for key, value in metadata.items()]
    tensors = [] if kind is None else [tensor("norm", [32], F32, 0), tensor("w", [256], kind, 128)]
    return parse(Bytes(write(pairs, tensors, bytes(2048))), "m.gguf")


def read(metadata, kind=Q4_K):
    told, header = Told(), info(metadata, kind)
    return gguf.read(header, "m.gguf", told, quantized=gguf.is_quantized(header)), told.lines


def test_a_quantized_file_of_one_model():
    found, told = read(MISTRAL)
    (link,) = found.parents
    assert (link.relation, link.ref) == ("quantize", "hf://mistralai/Mistral-7B-v0.1")
    assert link.params == {
        "read": "m.gguf",
        "name": "Mistral 7B v0.1",
        "version": "v0.1",
        "organization": "Mistralai",
    }
    assert (found.license, told) == ("apache-2.0", [])


@pytest.mark.parametrize(
    ("kind", "relation"), [(F16, "finetune"), (F32, "finetune"), (30, "finetune"), (8, "quantize")]
)
def test_full_weights_of_one_model_are_a_finetune(kind, relation):
    assert read(MISTRAL, kind)[0].parents[0].relation == relation


@pytest.mark.parametrize(("file_type", "quantized"), [(0, False), (1, False), (32, False), (7, True), (15, True)])
def test_without_tensors_the_file_type_tells(file_type, quantized):
    assert gguf.is_quantized(info({"general.file_type": file_type}, None)) is quantized
    assert not gguf.is_quantized(info({}, None))


def test_several_base_models_are_a_merge():
    second = {"general.base_model.1.name": "Zephyr 7B", "general.base_model.1.doi": "10.57967/hf/1"}
    found, _ = read(MISTRAL | second | {"general.base_model.count": 2})
    assert brief(found.parents) == [("merge", "hf://mistralai/Mistral-7B-v0.1"), ("merge", "name:Zephyr 7B")]


@pytest.mark.parametrize(("kind", "made"), [(Q4_K, "quantize"), (F16, "convert")])
def test_the_source_is_what_the_file_was_made_from_and_base_models_lie_behind_it(kind, made):
    source = {"general.source.repo_url": "https://huggingface.co/NousResearch/Hermes", "general.source.uuid": "u-1"}
    found, _ = read(MISTRAL | source, kind)
    assert brief(found.parents) == [
        (made, "hf://NousResearch/Hermes"),
        ("finetune", "hf://mistralai/Mistral-7B-v0.1"),
    ]
    assert found.parents[0].params == {"read": "m.gguf", "uuid": "u-1"}


def test_a_source_that_is_also_named_as_base_counts_once():
    found, _ = read(MISTRAL | {"general.source.url": "https://huggingface.co/mistralai/Mistral-7B-v0.1"})
    assert brief(found.parents) == [("quantize", "hf://mistralai/Mistral-7B-v0.1")]


def test_an_adapter():
    found, _ = read(MISTRAL | {"general.type": "adapter", "adapter.type": "lora"}, F16)
    assert brief(found.parents) == [("adapter", "hf://mistralai/Mistral-7B-v0.1")]


@pytest.mark.parametrize(
    ("entry", "ref"),
    [
        ({"url": "https://ai.meta.com/llama", "name": "Llama"}, "https://ai.meta.com/llama"),
        ({"name": "Llama 2", "doi": "10.57967/hf/1"}, "name:Llama 2"),
        ({"name": "llama"}, "name:llama"),
        ({"doi": "10.57967/hf/1", "uuid": "u"}, "doi:10.57967/hf/1"),
        ({"uuid": "0f7e"}, "uuid:0f7e"),
        ({"huggingface.repository": "meta-llama/Llama-2-7b"}, "hf://meta-llama/Llama-2-7b"),
    ],
)
def test_what_a_model_is_called_by(entry, ref):
    metadata = {"general.base_model.count": 1} | {f"general.base_model.0.{key}": text for key, text in entry.items()}
    assert [link.ref for link in read(metadata)[0].parents] == [ref]


@pytest.mark.parametrize(
    ("metadata", "line"),
    [
        ({"general.base_model.count": "two"}, "names no model"),
        ({"general.base_model.count": "²"}, "names no model"),
        ({"general.base_model.count": 1}, "'general.base_model.0.' names no model"),
        ({"general.base_model.count": 1, "general.base_model.0.name": "x" * 70_000}, "names no model"),
        ({"general.base_model.count": 1, "general.base_model.0.uuid": "x" * 198}, "names no model"),
        ({"general.license": "all of\nit"}, "it was not taken"),
    ],
)
def test_what_is_odd_is_told(metadata, line):
    found, told = read(metadata)
    assert found.parents == ()
    assert line in told[0]


def test_a_count_of_four_billion_costs_nothing():
    found, told = read(MISTRAL | {"general.base_model.count": 2**32 - 1})
    assert len(found.parents) == 1
    assert told[0] == "m.gguf: it names more than 1000 parents; only so many were taken"
    assert "(and 998 more) names no model" in told[1]


def test_a_custom_licence_by_its_name():
    assert read({"general.license": "other", "general.license.name": "llama3"})[0].license == "llama3"
    assert read({"general.license": "other"})[0].license == "other"


def test_headers_without_a_word_of_it():
    assert read({"general.architecture": "llama"}) == (gguf.Provenance(), [])


@given(
    st.dictionaries(
        st.sampled_from(sorted({*MISTRAL, "general.source.url", "general.base_model.1.doi"})), st.text(max_size=20)
    )
)
def test_any_header_is_read(metadata):
    read(metadata)
