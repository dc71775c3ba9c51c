"""Gathering: which files count, which of two sources counts more, and that nothing in a file is an error"""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from artifactstore.core.errors import Invalid
from artifactstore.core.provenance.base import Provenance
from artifactstore.core.provenance.gather import gather
from tests.core.formats.gguf_files import gguf, pair, tensor
from tests.core.provenance.test_base import ANY
from tests.core.provenance.test_mergekit import KEYS
from tests.core.provenance.versions import Told, brief, gathered, held, weights

MIB = 1 << 20
CARD = "---\nbase_model: [org/base, org/extra]\nlicense: mit\n---\n"
PEFT = json.dumps({"base_model_name_or_path": "org/base", "revision": "v1", "peft_type": "LORA"})
RECIPE = "models: [{model: org/base@v2, parameters: {weight: 0.5}}, {model: org/base@v3}]\nmerge_method: linear\n"


def quantized(path="m.gguf", *pairs, kind=12):
    return held(path, gguf([pair(key, 8, value) for key, value in pairs], [tensor("w", [256], kind, 0)], bytes(1024)))


def test_the_most_specific_source_of_a_parent_counts():
    one = (pair("general.base_model.count", 4, 1), pair("general.base_model.0.name", 8, "org/base"))
    header = held("m.gguf", gguf([*one, pair("general.license", 8, "apache-2.0")], [], b""))
    trained = weights(ss_sd_model_name="org/base", **{"modelspec.license": "other one", "ss_network_dim": "8"})
    files = [trained]
    assert brief(gathered(*files)[0].parents) == [("adapter", "hf://org/base")]
    assert gathered(*files)[0].license == "other one"
    files.append(header)
    assert brief(gathered(*files)[0].parents) == [("finetune", "hf://org/base")]
    assert gathered(*files)[0].license == "apache-2.0"
    files.append(held("README.md", CARD))
    assert brief(gathered(*files)[0].parents) == [("merge", "hf://org/base"), ("merge", "hf://org/extra")]
    assert gathered(*files)[0].license == "mit"
    files.append(held("adapter_config.json", PEFT))
    assert brief(gathered(*files)[0].parents) == [("adapter", "hf://org/base@v1"), ("merge", "hf://org/extra")]
    files.append(held("mergekit_config.yml", RECIPE))
    found, told = gathered(*files)
    assert brief(found.parents) == [
        ("merge", "hf://org/base@v2"),
        ("merge", "hf://org/base@v3"),
        ("merge", "hf://org/extra"),
    ]
    assert [link.params["read"] for link in found.parents] == ["mergekit_config.yml"] * 2 + ["README.md"]
    assert (found.license, told) == ("mit", [])


def test_small_files_count_at_the_root_and_in_folders_that_hold_weights():
    inner = [
        held("docs/README.md", "---\nlicense: cc-by-4.0\nbase_model: org/wrong\n---\n"),
        held("deep/er/README.md", "---\nbase_model: org/deep\n---\n"),
        weights("deep/er/x.safetensors"),
        held("lora/adapter_config.json", PEFT),
        weights("lora/adapter_model.safetensors"),
    ]
    assert brief(gathered(*inner)[0].parents) == [("adapter", "hf://org/base@v1")]
    assert gathered(*inner)[0].license is None
    root = held("README.md", "---\nlicense: mit\nbase_model: org/root\n---\n")
    found, _ = gathered(*inner, root, held("lora/README.md", CARD))
    assert brief(found.parents) == [
        ("adapter", "hf://org/base@v1"),
        ("adapter", "hf://org/root"),
        ("merge", "hf://org/extra"),
    ]
    assert found.license == "mit"


def test_the_relation_is_told_by_the_files_beside_the_card():
    card = "---\nbase_model: org/base\n---\n"
    config = json.dumps({"quantization_config": {"quant_method": "gptq"}})
    both = [
        held("a/README.md", card.replace("base\n", "one\n")),
        weights("a/m.safetensors"),
        held("a/config.json", config),
    ]
    both += [held("a/quantize_config.json", "{}")]
    both += [held("b/README.md", card), weights("b/m.safetensors"), held("b/config.json", "not JSON")]
    assert brief(gathered(*both)[0].parents) == [("quantize", "hf://org/one"), ("finetune", "hf://org/base")]
    assert brief(gathered(held("README.md", card), held("config.json", config))[0].parents)[0][0] == "quantize"
    large = held("config.json", config + " " * MIB)
    assert brief(gathered(held("README.md", card), large)[0].parents)[0][0] == "finetune"


def test_one_model_in_several_sizes_is_quantized_in_all():
    base = [("general.source.repo_url", "https://huggingface.co/org/base")]
    files = [quantized("a-F16.gguf", *base, kind=1), quantized("b-Q4.gguf", *base)]
    assert brief(gathered(*files)[0].parents) == [("quantize", "hf://org/base")]
    assert brief(gathered(files[0])[0].parents) == [("convert", "hf://org/base")]


@pytest.mark.parametrize(
    ("file", "why"),
    [
        (held("README.md", "---\na: [\n---\n"), "not YAML"),
        (held("README.md", "---\na: &x [1]\nb: *x\n---\n"), "an alias"),
        (held("README.md", b"---\na: \xff\n---\n"), "not UTF-8"),
        (held("README.md", "---\na: b\n" + "# more\n" * 200_000 + "---\n"), "does not end in the first 1048576 bytes"),
        (held("mergekit_config.yml", "a: " + "b" * MIB), "it has 1048579 bytes, at most 1048576 are read"),
        (held("mergekit_config.yaml", b"\xff\xfe"), "not UTF-8"),
        (held("mergekit_moe_config.yml", "- a"), "not keys and values"),
        (held("adapter_config.json", "{"), "not JSON"),
        (held("adapter_config.json", "[" * 100_000), "not JSON"),
        (held("adapter_config.json", "9" * 5000), "not JSON"),
        (held("adapter_config.json", " " * MIB + "{}"), "it has 1048578 bytes"),
    ],
    ids=lambda value: str(value)[:20],
)
def test_what_cannot_be_understood_is_told_and_passed_over(file, why):
    found, (line,) = gathered(file, weights(**{"modelspec.license": "mit"}))
    assert found == Provenance(license="mit")
    assert line.startswith(f"{file.path} cannot be understood (")
    assert why in line
    assert line.endswith("; no parents were taken from it")


def test_a_long_card_with_a_short_front_matter_is_read():
    found, told = gathered(held("README.md", CARD + "text\n" * MIB))
    assert (len(found.parents), told) == (2, [])


def test_what_the_reading_raises_is_raised():
    def read(file, length):
        raise Invalid("changed", code="changed")

    with pytest.raises(Invalid, match="changed"):
        gather([held("README.md", CARD)], read, Told())


def test_no_more_than_a_header_and_small_files_are_read():
    asked = []

    def read(file, length):
        asked.append((file.path, length))
        return file.data[:length]

    config = held("config.json", "{}")
    gather(
        [held("README.md", "---\nbase_model: a/b\n---\n" + "x" * 2 * MIB), config, weights(), quantized()], read, Told()
    )
    assert asked == [("README.md", MIB), ("config.json", 2)]


def test_thousands_of_parents_in_many_files_are_bounded():
    files = [weights(f"{n}.safetensors", ss_sd_model_name=f"org/m{n}") for n in range(1500)]
    found, told = gathered(*files)
    assert len(found.parents) == 1000
    assert told == ["The files name more than 1000 parents; only so many were taken"]


NAMES = ["README.md", "adapter_config.json", "mergekit_config.yml", "config.json", "sub/README.md"]
WORDS = st.sampled_from(
    [
        "---\n",
        "base_model: ",
        "a/b",
        "\n",
        "- ",
        "license: ",
        "models:\n",
        "{",
        "}",
        "[",
        "]",
        "model: ",
        '"',
        ": ",
        "&a ",
        "*a",
        "\xff",
    ]
)
TEXTS = (
    st.lists(WORDS).map("".join).map(str.encode)
    | st.binary()
    | st.binary().map(lambda data: b"---\n" + data + b"\n---\n")
)


@given(st.dictionaries(st.sampled_from(NAMES), TEXTS))
def test_any_bytes_are_read_or_told_of(files):
    gathered(weights("sub/m.safetensors"), *(held(path, data) for path, data in files.items()))


FIELDS = st.sampled_from(
    [
        *KEYS,
        "base_model_relation",
        "base_model_name_or_path",
        "revision",
        "license",
        "license_name",
        "tags",
        "peft_type",
        "weight",
    ]
)


@given(st.sampled_from(NAMES), st.dictionaries(FIELDS, ANY | st.dictionaries(FIELDS, ANY, max_size=3), max_size=6))
def test_any_object_is_read_or_told_of(path, document):
    text = json.dumps(document, default=str, skipkeys=True)
    front = f"---\n{text}\n---\n" if path.endswith(".md") else text
    gathered(weights("sub/m.safetensors"), held(path, front))
