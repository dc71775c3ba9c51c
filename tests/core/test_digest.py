"""Digests: known answers, the text form, and what is refused"""

import copy
import hashlib
import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st

from artifactstore.core.digest import Digest, Sha256, check_incarnation
from artifactstore.core.errors import Invalid

KINDS = [Digest, Sha256]
# https://github.com/BLAKE3-team/BLAKE3/blob/master/test_vectors/test_vectors.json, input_len 0; FIPS 180-4 of nothing
EMPTY = {
    Digest: "af1349b9f5f9a1a6a0404dea36dcc9499bcb25c9adc112b7cc9a93cae41f3262",
    Sha256: "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
}


@pytest.mark.parametrize("kind", KINDS)
def test_the_digest_of_nothing_is_the_published_one(kind):
    assert str(kind.of(b"")) == EMPTY[kind]


@given(st.binary())
def test_sha256_is_the_standard_one_for_every_kind_of_buffer(data):
    assert Sha256.of(data).hex() == hashlib.sha256(data).hexdigest()
    for kind in KINDS:
        assert kind.of(data) == kind.of(bytearray(data)) == kind.of(memoryview(data))


@pytest.mark.parametrize("kind", KINDS)
@given(raw=st.binary(min_size=32, max_size=32))
def test_text_and_pickle_give_the_digest_back(kind, raw):
    digest = kind(raw)
    for again in (kind.parse(str(digest)), pickle.loads(pickle.dumps(digest)), copy.copy(digest)):
        assert again == digest == raw
        assert type(again) is kind
    assert repr(digest).startswith(f"{kind.__name__}({digest.hex()[:12]}")


@pytest.mark.parametrize("kind", KINDS)
@given(raw=st.binary(max_size=80).filter(lambda raw: len(raw) != 32))
def test_another_length_is_refused(kind, raw):
    with pytest.raises(Invalid, match=f"32 bytes, found {len(raw)}"):
        kind(raw)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "a" * 63,
        "a" * 65,
        "A" * 64,
        "g" * 64,
        "a" * 64 + "\n",
        " " + "a" * 63,
        "sha256:" + "a" * 64,
        "sha256:sha256:" + "a" * 64,
        "sha1:" + "a" * 40,
        "md5:" + "a" * 32,
        "0x" + "a" * 62,
        "١" * 64,
        "a" * 10_000,
        b"a" * 64,
        None,
        17,
        True,
    ],
)
@pytest.mark.parametrize("kind", KINDS)
def test_other_texts_are_refused(kind, text):
    with pytest.raises(Invalid) as refusal:
        kind.parse(text)
    assert refusal.value.code == "invalid.digest"
    assert len(str(refusal.value)) < 200


@given(st.integers(0, 2**64 - 1))
def test_64_bits_in_hex_are_an_incarnation(bits):
    assert check_incarnation(f"{bits:016x}") == f"{bits:016x}"


@pytest.mark.parametrize("inc", ["", "0" * 15, "0" * 17, "A" * 16, "0" * 16 + "\n", "../../etc/passwd", "٣" * 16])
def test_other_incarnations_are_refused(inc):
    with pytest.raises(Invalid) as refusal:
        check_incarnation(inc)
    assert refusal.value.code == "invalid.incarnation"
