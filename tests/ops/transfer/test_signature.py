"""Signatures over documents by name and sha256"""

import json
import os
import subprocess
import sys
from hashlib import sha256

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from artifactstore.core.errors import Corrupt, Denied, Invalid, NotFound, Refused
from artifactstore.ops.transfer.signature import Signature, Signer, check, hint
from tests.keys import make_pair

DOCUMENTS = {"artstore.json": sha256(b"a").digest(), "journal/x/1.json": sha256(b"b").digest()}


@pytest.fixture
def pair(tmp_path):
    return make_pair(tmp_path, "studio")


@pytest.mark.parametrize("curve", [ec.SECP256R1(), ec.SECP384R1(), ec.SECP521R1()])
def test_what_was_signed_is_accepted_from_its_key(tmp_path, curve):
    private, public = make_pair(tmp_path, "studio", curve)
    make_pair(tmp_path, "another")
    raw = Signer(private).sign(DOCUMENTS)
    for trusted in (public, public.parent):
        assert check(raw, DOCUMENTS, trusted) == Signature("valid", hint(raw), public)
    assert check(raw, DOCUMENTS, None) == Signature("unchecked", hint(raw))
    with pytest.raises(Refused, match="none of those in"):
        check(raw, DOCUMENTS, tmp_path / "another")


def test_a_key_with_a_password_needs_it(tmp_path):
    private, public = make_pair(tmp_path, "studio", password="süß")
    assert check(Signer(private, "süß").sign(DOCUMENTS), DOCUMENTS, public).state == "valid"
    for password in (None, "wrong"):
        with pytest.raises(Invalid, match="cannot sign"):
            Signer(private, password)


def test_what_is_not_signed_is_said_and_refused_where_keys_are_asked_for(pair):
    assert check(None, DOCUMENTS, None) == Signature("none")
    with pytest.raises(Refused, match="not signed"):
        check(None, DOCUMENTS, pair[1])


@pytest.mark.parametrize(
    "change",
    [
        lambda found: found | {"artstore.json": sha256(b"c").digest()},
        lambda found: found | {"bundle.json": sha256(b"c").digest()},
        lambda found: {"artstore.json": found["artstore.json"]},
        lambda found: {name + "x": value for name, value in found.items()},
    ],
)
def test_documents_changed_added_missing_or_renamed_do_not_fit(pair, change, capsys):
    raw = Signer(pair[0]).sign(DOCUMENTS)
    with pytest.raises(Corrupt, match=r"not what studio\.pem signed") as caught:
        check(raw, change(DOCUMENTS), pair[1])
    assert caught.value.code == "corrupt.signature"
    assert capsys.readouterr().out == ""


def test_a_signature_by_another_key_that_says_it_is_ours_does_not_fit(tmp_path, pair):
    forged = json.loads(Signer(make_pair(tmp_path, "thief")[0]).sign(DOCUMENTS))
    ours = json.loads(Signer(pair[0]).sign(DOCUMENTS))
    forged["verificationMaterial"] = ours["verificationMaterial"]
    with pytest.raises(Corrupt, match="not what"):
        check(json.dumps(forged).encode(), DOCUMENTS, pair[1])


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"[]",
        b"{}",
        b"[" * 100_000,
        b'{"verificationMaterial": {"publicKey": {}}}',
        b'{"verificationMaterial": {"publicKey": {"hint": 5}}}',
        b'{"verificationMaterial": {"publicKey": {"hint": "../x"}}}',
    ],
)
def test_what_is_no_signature_is_refused(pair, raw):
    for trusted in (None, pair[1]):
        with pytest.raises(Corrupt, match="damaged"):
            check(raw, DOCUMENTS, trusted)
    assert not Signer(pair[0]).is_ours(raw, DOCUMENTS)


@pytest.mark.parametrize(
    "cut", [("dsseEnvelope",), ("dsseEnvelope", "signatures"), ("dsseEnvelope", "payload"), ("mediaType",)]
)
def test_a_signature_with_a_piece_missing_does_not_fit(pair, cut):
    found = json.loads(Signer(pair[0]).sign(DOCUMENTS))
    inner = found
    for name in cut[:-1]:
        inner = inner[name]
    inner[cut[-1]] = [] if cut[-1] == "signatures" else None
    with pytest.raises(Corrupt, match="not what"):
        check(json.dumps(found).encode(), DOCUMENTS, pair[1])


def test_ones_own_signature_is_known(tmp_path, pair):
    signer = Signer(pair[0])
    raw = signer.sign(DOCUMENTS)
    assert signer.is_ours(raw, DOCUMENTS)
    assert not signer.is_ours(raw, DOCUMENTS | {"more": b"x" * 32})
    assert not Signer(make_pair(tmp_path, "another")[0]).is_ours(raw, DOCUMENTS)


def test_a_file_that_is_no_key_is_named(tmp_path, pair):
    (tmp_path / "text").write_text("no key")
    with pytest.raises(Invalid, match="text cannot sign"):
        Signer(tmp_path / "text")
    with pytest.raises(Invalid, match=r"studio\.pem cannot sign"):
        Signer(pair[1])
    with pytest.raises(Invalid, match="cannot sign"):
        Signer(make_pair(tmp_path, "odd", ec.SECP256K1())[0])
    with pytest.raises(NotFound, match="none"):
        Signer(tmp_path / "none")
    raw = Signer(pair[0]).sign(DOCUMENTS)
    with pytest.raises(Invalid, match="text is no public key"):
        check(raw, DOCUMENTS, tmp_path / "text")
    (tmp_path / "empty").mkdir()
    with pytest.raises(Invalid, match="holds no public key"):
        check(raw, DOCUMENTS, tmp_path / "empty")
    with pytest.raises(NotFound, match="none"):
        check(raw, DOCUMENTS, tmp_path / "none")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_key_that_may_not_be_read_is_denied(pair):
    pair[0].chmod(0)
    with pytest.raises(Denied):
        Signer(pair[0])


def test_without_the_extra_it_says_what_to_install(pair):
    # as an import finds it where the package is not installed
    program = (
        "import sys; sys.modules['model_signing'] = None\n"
        "from artifactstore.ops.transfer.signature import Signer\nfrom pathlib import Path\n"
        "try: Signer(Path(sys.argv[1]))\nexcept Exception as e: print(type(e).__name__, e)"
    )
    done = subprocess.run([sys.executable, "-c", program, pair[0]], capture_output=True, text=True, check=True)
    assert done.stdout.startswith("Invalid Signatures need the extra sign (model_signing is missing): pip install")
