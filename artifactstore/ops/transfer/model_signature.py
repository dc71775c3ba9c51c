"""OpenSSF model signatures over what was hashed already, by a key of an elliptic curve"""

import hashlib
import io
import tempfile
from collections.abc import Iterable, Mapping
from contextlib import redirect_stdout
from pathlib import Path, PurePosixPath
from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import serialization
from model_signing import hashing, manifest, signing, verifying
from model_signing._hashing.hashing import Digest as Hash  # the type its public Manifest is made of

_NAME = "bundle"


class _Listed(hashing.Config):  # type: ignore[misc]  # sets no types
    """The hashes of files that are in no folder, where the library would read them from one"""

    def __init__(self, digests: Mapping[str, bytes], ignored: Iterable[str]) -> None:
        super().__init__()
        self._digests, self._ignored = digests, list(ignored)

    def hash(self, *_: Any, **__: Any) -> manifest.Manifest:
        """Those it was given; `ignored` is for who verifies a folder"""
        parameters = {
            "method": "files",
            "hash_type": "sha256",
            "allow_symlinks": False,
            "ignore_paths": self._ignored,
        }
        items = [
            manifest.FileManifestItem(path=PurePosixPath(name), digest=Hash("sha256", digest))
            for name, digest in self._digests.items()
        ]
        return manifest.Manifest(_NAME, items, manifest.SerializationType.from_args(parameters))

    def add_ignored_paths(self, **_: Any) -> None:
        """Nothing is ignored: all that is listed must be signed, and nothing else"""


class EllipticSigner:
    """A private key, in PEM"""

    def __init__(self, key: Path, password: str | None = None) -> None:
        """Raise OSError, and ValueError or TypeError for what is no such key or needs another password"""
        secret = None if password is None else password.encode()
        self._config = signing.Config().use_elliptic_key_signer(private_key=key, password=secret)
        private = serialization.load_pem_private_key(key.read_bytes(), secret)
        self._public = private.public_key()
        self.hint = _hint(self._public)

    def sign(self, digests: Mapping[str, bytes], ignored: Iterable[str]) -> bytes:
        """A signature over files by name and sha256"""
        with tempfile.TemporaryDirectory() as folder:
            target = Path(folder) / "signature"
            self._config.set_hashing_config(_Listed(digests, ignored)).sign(folder, target)
            return target.read_bytes()

    def fits(self, raw: bytes, digests: Mapping[str, bytes]) -> bool:
        """Whether it signed these before"""
        with tempfile.TemporaryDirectory() as folder:
            key = Path(folder) / "key.pem"
            key.write_bytes(_pem(self._public))
            try:
                verify(raw, digests, key)
            except ValueError:
                return False
        return True


def public_hint(key: Path) -> str:
    """What a signature calls a public key in PEM; raise OSError, ValueError"""
    return _hint(serialization.load_pem_public_key(key.read_bytes()))


def verify(raw: bytes, digests: Mapping[str, bytes], key: Path) -> None:
    """Raise ValueError unless it is a signature by this key over exactly these files"""
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / "signature"
        source.write_bytes(raw)
        config = verifying.Config().use_elliptic_key_verifier(public_key=key)
        try:
            # it prints warnings, and stdout is for the answer
            with redirect_stdout(io.StringIO()):
                config.set_hashing_config(_Listed(digests, ())).verify(folder, source)
        except (InvalidSignature, KeyError, TypeError, AttributeError, IndexError, RecursionError) as e:
            raise ValueError(f"the signature does not fit ({type(e).__name__})") from e


def _hint(key: Any) -> str:
    return hashlib.sha256(_pem(key)).hexdigest()


def _pem(key: Any) -> bytes:
    encoding, form = serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    raw: bytes = key.public_bytes(encoding=encoding, format=form)
    return raw
