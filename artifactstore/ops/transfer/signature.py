"""Signatures of bundles: who vouches for the documents, and by them for every byte"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Literal, NamedTuple

from artifactstore.core.errors import Corrupt, Denied, Invalid, NotFound, Refused

if TYPE_CHECKING:
    from types import ModuleType

    from artifactstore.ops.transfer.model_signature import EllipticSigner

State = Literal["none", "unchecked", "valid"]
# manifests name every blob by its digest; the signature cannot sign itself
UNSIGNED = ("blobs", "bundle.sig")


class Signature(NamedTuple):
    """Whether a bundle is signed. key: what the signature calls the key; by: the trusted key it is by"""

    state: State
    key: str | None = None
    by: Path | None = None


class Signer:
    """A private key that vouches for what is written"""

    def __init__(self, key: Path, password: str | None = None) -> None:
        """Raise NotFound, Denied; Invalid for what is no key of an elliptic curve, or has another password"""
        self._key = key
        try:
            self._signer: EllipticSigner = _library().EllipticSigner(key, password)
        except OSError as e:
            raise _unreadable(key, e) from e
        except (ValueError, TypeError) as e:
            raise Invalid(
                f"{key} cannot sign: {str(e).rstrip('.')}; give a private key in PEM (secp256r1, secp384r1 or "
                "secp521r1) and its password",
                code="key",
                path=str(key),
            ) from e

    def sign(self, digests: Mapping[str, bytes]) -> bytes:
        """Over documents by name and sha256"""
        return self._signer.sign(digests, UNSIGNED)

    def is_ours(self, raw: bytes, digests: Mapping[str, bytes]) -> bool:
        """Whether it is a signature by this key over exactly these documents"""
        try:
            return hint(raw) == self._signer.hint and self._signer.fits(raw, digests)
        except Corrupt:
            return False


def hint(raw: bytes) -> str:
    """What a signature calls the key it is by; raise Corrupt when it says nothing of the kind"""
    try:
        found = json.loads(raw)["verificationMaterial"]["publicKey"]["hint"]
    except (ValueError, KeyError, TypeError, RecursionError) as e:
        raise _no_signature() from e
    if not isinstance(found, str) or len(found) != 64 or not found.isalnum():
        raise _no_signature()
    return found


def check(raw: bytes | None, digests: Mapping[str, bytes], trusted: Path | None) -> Signature:
    """What a signature over these documents is worth; trusted: a folder of public keys in PEM, or one key

    Raise Refused when a trusted key is asked for and none signed, Corrupt when the signature does not fit.
    """
    if raw is None:
        if trusted is not None:
            raise Refused("The bundle is not signed, and only trusted keys were to be accepted", code="signature")
        return Signature("none")
    key = hint(raw)
    if trusted is None:
        return Signature("unchecked", key)
    library = _library()
    keys = _hints(library, trusted)
    if key not in keys:
        raise Refused(
            f"The bundle is signed by the key {key[:16]}, which is none of those in {trusted}; find out whose it is",
            code="signature",
            key=key,
        )
    try:
        library.verify(raw, digests, keys[key])
    except ValueError as e:
        raise Corrupt(
            f"The bundle is not what {keys[key].name} signed: {str(e)[:300]}; fetch it again", code="signature", key=key
        ) from e
    return Signature("valid", key, keys[key])


def _hints(library: "ModuleType", trusted: Path) -> dict[str, Path]:
    try:
        paths = sorted(path for path in trusted.iterdir() if path.is_file()) if trusted.is_dir() else [trusted]
    except OSError as e:
        raise _unreadable(trusted, e) from e
    found = {}
    for path in paths:
        try:
            found[library.public_hint(path)] = path
        except OSError as e:
            raise _unreadable(path, e) from e
        except ValueError as e:
            raise Invalid(f"{path} is no public key in PEM; move it away", code="key", path=str(path)) from e
    if not found:
        raise Invalid(f"{trusted} holds no public key", code="key", path=str(trusted))
    return found


def _library() -> "ModuleType":
    # nearly a second that only signatures need, and an extra that not everybody installs
    try:
        from artifactstore.ops.transfer import model_signature  # noqa: PLC0415
    except ImportError as e:
        raise Invalid(
            f"Signatures need the extra sign ({e.name} is missing): pip install 'artifactstore[sign]'", code="extra"
        ) from e
    return model_signature


def _unreadable(path: Path, error: OSError) -> NotFound | Denied:
    if isinstance(error, PermissionError):
        return Denied(f"Cannot read {path}: {error.strerror}")
    return NotFound(f"Cannot read {path}: {error.strerror}", code="key", path=str(path))


def _no_signature() -> Corrupt:
    return Corrupt("The signature of the bundle is damaged, or of a kind that no bundle has", code="signature")
