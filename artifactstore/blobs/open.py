"""From the URL of a store to the place its bytes lie in"""

import re
import threading
import time
from pathlib import Path
from typing import Any
from urllib.parse import SplitResult, parse_qsl, unquote, urlsplit

from artifactstore.blobs.base import BlobStore
from artifactstore.blobs.local import LocalBlobs
from artifactstore.blobs.memory import MemoryBlobs
from artifactstore.blobs.ranged import Ranged
from artifactstore.blobs.wrap import Retrying
from artifactstore.core.errors import Invalid, Offline
from artifactstore.core.settings import Settings

# Places that show an object whole or not at all; a put to ftp or sftp can be seen half done (R3).
OBJECT_STORES = {"s3", "gs", "gcs", "az", "abfs", "abfss", "oss", "oci"}

_SCHEME = re.compile(r"([^/]*)://")
# Schemes that are meant as such even without slashes; anything else with a colon in it may be the name of a folder.
_NEVER_PATHS = {"data", "file", "ftp", "gopher", "http", "https", "mailto", "memory", *OBJECT_STORES}
_S3_BUCKET = re.compile(r"(?!.*\.\.)[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")
_BUCKET = re.compile(r"(?!.*\.\.)[a-z0-9][a-z0-9._-]{1,220}[a-z0-9]")
_REGION = re.compile(r"[a-z0-9-]{2,32}")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_SEGMENT = re.compile(r"(?!\.{1,2}$)[\w.=+@~ -]+")
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_SECRET = re.compile(r"key|secret|token|passw|credential|signature", re.IGNORECASE)
# Other servers than AWS know no checksum trailers: a ranged read fails, and one has been seen to store the trailer.
# One try each, as `Retrying` decides how often.
_S3_CONFIG = {
    "request_checksum_calculation": "when_required",
    "response_checksum_validation": "when_required",
    "connect_timeout": 5,
    "read_timeout": 60,
    "retries": {"total_max_attempts": 1},
    "max_pool_connections": 32,
}
# A connection to an object store gives some 50 to 100 MB/s; a part of this size takes longer than asking for it.
_PART, _CONNECTIONS = 8 << 20, 16
_TRANSPORTS = ("s3fs", "obstore")
_FLAGS = {"true": True, "1": True, "false": False, "0": False}

_memories: dict[str, MemoryBlobs] = {}
_memories_lock = threading.Lock()


def open_blobs(url: str, settings: Settings) -> BlobStore:
    """The place that `url` names: a path, `file:///…`, `memory://name`, `s3://bucket/prefix?endpoint_url=…&region=…&anon=…`

    Nothing is made or asked for there. Raise Invalid for what names no place, Offline for a remote one when forbidden.
    """
    if not url or _CONTROL.search(url):
        raise _invalid("is empty or has control characters; name a folder or s3://bucket/prefix")
    found = _SCHEME.match(url)
    scheme = (found[1] if found else url.partition(":")[0]).lower()
    if found is None and not (":" in url and scheme in _NEVER_PATHS):
        return LocalBlobs(Path(url))
    if scheme == "file":
        return LocalBlobs(_file_path(_split(url)))
    if scheme == "memory":
        return _open_memory(_split(url))
    if scheme in OBJECT_STORES:
        return _open_remote(scheme, _split(url), settings)
    known = ", ".join(f"{name}://" for name in ("file", "memory", *sorted(OBJECT_STORES)))
    raise _invalid(f"has the scheme {scheme:.40}, where none can lie; name a folder, or one of {known}", code="scheme")


def _invalid(what: str, *, code: str = "url") -> Invalid:
    return Invalid(f"The URL of a store {what}", code=code)


def _split(url: str) -> SplitResult:
    try:
        parts = urlsplit(url)
        parts.port  # noqa: B018  # reading it checks it
        query = parse_qsl(parts.query, keep_blank_values=True)
    except ValueError as e:
        raise _invalid("cannot be understood; check its host and port") from e
    if "@" in parts.netloc or any(_SECRET.search(name) for name, _ in query):
        # None of it may be repeated: it would end in a log.
        where = "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
        raise _invalid(f"holds credentials; put them into {where} and take them out of it", code="credentials")
    if parts.fragment or url.endswith("#"):
        raise _invalid("has a #; take it out")
    return parts


def _file_path(parts: SplitResult) -> Path:
    path = unquote(parts.path)
    if parts.netloc not in {"", "localhost"} or parts.query or not path.startswith("/") or _CONTROL.search(path):
        raise _invalid("names no folder of this machine; write file:///folder or only the path")
    return Path(path)


def _open_memory(parts: SplitResult) -> MemoryBlobs:
    name = parts.netloc
    if not _NAME.fullmatch(name) or parts.path or parts.query:
        raise _invalid("names no place in memory; write memory://name with letters, digits and . _ -")
    with _memories_lock:
        return _memories.setdefault(name, MemoryBlobs(name))


def _open_remote(scheme: str, parts: SplitResult, settings: Settings) -> Ranged:
    root = _check_root(scheme, parts)
    options = _s3_options(parts.query) if scheme == "s3" else _no_options(scheme, parts.query)
    if settings.offline:
        raise Offline(
            f"{scheme}://{root} is reached over a network, which may not be used; run it without --offline, or use a "
            "store of this machine: a mirror, or one into which a bundle was carried",
            url=f"{scheme}://{root}",
        )
    # Opening a local store must not pay for importing fsspec.
    from artifactstore.blobs.remote import RemoteBlobs, open_filesystem  # noqa: PLC0415

    blobs = RemoteBlobs(open_filesystem(scheme, options), root, parts.geturl())
    return Ranged(Retrying(blobs, settings.retries, time.sleep), _PART, _CONNECTIONS)


def _check_root(scheme: str, parts: SplitResult) -> str:
    """Bucket and prefix, as `bucket/prefix`"""
    if not (_S3_BUCKET if scheme == "s3" else _BUCKET).fullmatch(parts.netloc):
        rule = "3 to 63 lower-case letters, digits, dots and hyphens"
        raise _invalid(f"names the bucket {parts.netloc!r:.80}; a bucket has {rule}", code="bucket")
    prefix = parts.path.removeprefix("/").removesuffix("/")
    if prefix and not all(_SEGMENT.fullmatch(part) for part in prefix.split("/")):
        raise _invalid(f"has the prefix {prefix!r:.120}; write plain names with one / between them", code="prefix")
    if parts.path == "//":
        raise _invalid("has an empty name in its prefix; write plain names with one / between them", code="prefix")
    return f"{parts.netloc}/{prefix}" if prefix else parts.netloc


def _no_options(scheme: str, query: str) -> dict[str, Any]:
    if query:
        raise _invalid(f"has options, which {scheme}:// takes from the environment only", code="option")
    return {}


def _s3_options(query: str) -> dict[str, Any]:
    pairs = parse_qsl(query, keep_blank_values=True)
    given = dict(pairs)
    if len(given) < len(pairs) or set(given) - {"endpoint_url", "region", "anon", "transport"}:
        names = ", ".join(sorted({name for name, _ in pairs}))
        raise _invalid(
            f"has the options {names:.120}; s3:// takes endpoint_url, region, anon and transport, each once",
            code="option",
        )
    if given.get("anon", "false") not in _FLAGS:
        raise _invalid("has an anon that is neither true nor false", code="option")
    if given.get("transport", "s3fs") not in _TRANSPORTS:
        raise _invalid(f"has a transport that is none of {', '.join(_TRANSPORTS)}", code="option")
    options: dict[str, Any] = {"anon": _FLAGS[given.get("anon", "false")], "config_kwargs": dict(_S3_CONFIG)}
    if "region" in given:
        if not _REGION.fullmatch(given["region"]):
            raise _invalid("has an odd region; write one such as eu-central-1", code="option")
        options["client_kwargs"] = {"region_name": given["region"]}
    if "endpoint_url" in given:
        options["endpoint_url"] = _endpoint(given["endpoint_url"])
        # A server of one's own seldom has a host name for each bucket.
        options["config_kwargs"]["s3"] = {"addressing_style": "path"}
    if given.get("transport") == "obstore":
        named = {"region": given.get("region"), "endpoint": given.get("endpoint_url")}
        config: dict[str, Any] = {name: value for name, value in named.items() if value is not None}
        config |= {"skip_signature": options["anon"], "virtual_hosted_style_request": "endpoint_url" not in given}
        return {"transport": config}
    return options


def _endpoint(url: str) -> str:
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as e:
        raise _invalid("has an endpoint_url that cannot be understood; check its host and port", code="endpoint") from e
    if "@" in parts.netloc:
        raise _invalid("holds credentials in its endpoint_url; put them into AWS_ACCESS_KEY_ID …", code="credentials")
    if parts.scheme not in {"http", "https"} or not parts.hostname or port == 0 or parts.query or parts.fragment:
        raise _invalid(
            "has an endpoint_url that is no http:// or https:// address, such as http://127.0.0.1:9000", code="endpoint"
        )
    return url
