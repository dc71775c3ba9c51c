"""Safetensors headers: models merged, and models trained on"""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from artifactstore.core.provenance import safetensors
from tests.core.provenance.versions import Told, brief, weights

HASH = "31e35c80fc4829d14f90153f4c74cd59c90b779f6afe05a74cd6120b893f7e5b"
MERGED = {
    "modelspec.sai_model_spec": "1.0.0",
    "modelspec.architecture": "stable-diffusion-xl-v1-base",
    "modelspec.title": "My Merge",
    "modelspec.hash_sha256": f"0x{HASH}",
    "modelspec.license": "CreativeML Open RAIL++-M",
    "modelspec.merged_from": "Stable Diffusion XL 1.0 Base, org/overburned,  model.safetensors, animefull,, animefull",
}
KOHYA = {
    "ss_network_module": "networks.lora",
    "ss_network_dim": "32",
    "ss_base_model_version": "sdxl_base_v1-0",
    "ss_sd_model_name": "sd_xl_base_1.0.safetensors",
    "ss_sd_model_hash": "be9edd61",
    "ss_new_sd_model_hash": HASH,
    "modelspec.hash_sha256": "0x" + "0" * 64,
}


def read(**metadata):
    told = Told()
    return safetensors.read(weights(**metadata).info, "m.safetensors", told), told.lines


def test_a_merge_names_what_went_into_it():
    found, told = read(**MERGED)
    assert brief(found.parents) == [
        ("merge", "name:Stable Diffusion XL 1.0 Base"),
        ("merge", "hf://org/overburned"),
        ("merge", "file:model.safetensors"),
        ("merge", "name:animefull"),
    ]
    assert {tuple(link.params.items()) for link in found.parents} == {(("read", "m.safetensors"),)}
    assert (found.license, told) == ("CreativeML Open RAIL++-M", [])


def test_a_lora_names_the_model_it_was_trained_on_and_its_content():
    (link,) = read(**KOHYA)[0].parents
    assert (link.relation, link.ref) == ("adapter", "file:sd_xl_base_1.0.safetensors")
    assert link.params == {"read": "m.safetensors", "base_model_version": "sdxl_base_v1-0", "sha256": HASH}
    assert str(link.sha256) == HASH


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"ss_sd_model_name": "runwayml/stable-diffusion-v1-5"}, [("adapter", "hf://runwayml/stable-diffusion-v1-5")]),
        ({"ss_sd_model_name": "stable-diffusion-v1-5"}, [("adapter", "name:stable-diffusion-v1-5")]),
        ({"ss_sd_model_name": "None"}, [("adapter", "name:sdxl_base_v1-0")]),
        ({"ss_sd_model_name": "None", "ss_base_model_version": "None"}, []),
        ({"ss_sd_model_name": "a\0b", "ss_base_model_version": ""}, []),
    ],
)
def test_names_of_the_model_a_lora_was_trained_on(changes, expected):
    assert brief(read(**KOHYA | changes)[0].parents) == expected


def test_without_a_network_it_is_a_finetune_and_a_family_no_parent():
    assert brief(read(ss_sd_model_name="base.ckpt")[0].parents) == [("finetune", "file:base.ckpt")]
    assert read(ss_base_model_version="sdxl_base_v1-0")[0].parents == ()


@pytest.mark.parametrize("text", ["be9edd61", "", "None", "z" * 64, HASH + "0"])
def test_only_a_sha256_is_one(text):
    (link,) = read(**KOHYA | {"ss_new_sd_model_hash": text})[0].parents
    assert "sha256" not in link.params


def test_headers_without_a_word_of_it():
    assert read(format="pt") == (safetensors.Provenance(), [])
    assert read(**{"modelspec.merged_from": "None", "modelspec.license": ""}) == (safetensors.Provenance(), [])


def test_a_licence_in_full_and_odd_titles_are_told():
    found, told = read(
        **{"modelspec.license": "Permission is hereby granted\n" * 50, "modelspec.merged_from": "a\0, x y"}
    )
    assert (brief(found.parents), found.license) == ([("merge", "name:x y")], None)
    assert [line.partition(":")[0] for line in told] == ["m.safetensors"] * 2


@given(st.dictionaries(st.sampled_from(sorted({*MERGED, *KOHYA})), st.text() | st.from_regex(r"[\w/., -]{0,30}")))
def test_any_header_is_read(metadata):
    read(**metadata)
