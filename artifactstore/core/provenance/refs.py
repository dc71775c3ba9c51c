"""References: what a file means by the name of a model

A file may mean a repository of the Hugging Face Hub, a file or folder of the machine it was written on, a page
elsewhere, or only a title. They become `hf://org/name[@revision]`, `file:NAME` (the last part of the path: the rest
says nothing on another machine), the URL itself, and `name:TITLE`.
"""

import re

from artifactstore.core.errors import Invalid
from artifactstore.core.names import check_label

LONGEST = 4096
_ABSENT = frozenset({"", "none", "null", "unknown"})  # str(None) in metadata that hold only text
_WEIGHTS = ("safetensors", "gguf", "ckpt", "pt", "pth", "bin", "onnx")

# https://huggingface.co/docs/huggingface_hub: validate_repo_id
_PART = r"[A-Za-z0-9_](?:[A-Za-z0-9_.-]{0,94}[A-Za-z0-9_])?"
_REPO = re.compile(rf"(?:{_PART}/)?{_PART}")
_REVISION = re.compile(r"[^\s@+]+")
_HUB_PAGE = re.compile(
    r"(?:https?://)?(?:www\.)?(?:huggingface\.co|hf\.co)/(?!(?:datasets|spaces|papers|docs|blog|collections)/)"
    rf"({_PART}/{_PART})(?:/(?:tree|blob|resolve|commit)/([^/?#]+))?(?:[/?#].*)?"
)
# the hub's cache keeps `org/name` in models--org--name/snapshots/COMMIT
_HUB_CACHE = re.compile(r"(?:.*[/\\])?models--([^/\\]+)(?:[/\\]snapshots[/\\]([^/\\]+))?(?:[/\\].*)?")
_USER = re.compile(r"(?<=://)[^/@]*@")
_DRIVE = re.compile(r"[A-Za-z]:[/\\]")
_NUMBERED = re.compile(r":[0-9]+")


def refer(text: object, revision: object = None, *, titles: bool = False) -> str | None:
    """The reference a file means by this text, None when it can be none

    titles: a single word is a title, where else it is a repository such as `gpt2`. A name in a URL that may be a
    secret (`https://user:token@…`) is left out.
    """
    if not isinstance(text, str) or len(text) > LONGEST or not text.isprintable():
        return None
    text = text.strip()
    if text.lower() in _ABSENT:
        return None
    try:
        return check_label(_meant(text, revision, titles=titles), "parent reference")
    except Invalid:
        return None


def _meant(text: str, revision: object, *, titles: bool) -> str:
    if (page := _HUB_PAGE.fullmatch(text)) and (repo := _hub(page[1], page[2] or revision)):
        return repo
    if (cache := _HUB_CACHE.fullmatch(text)) and (repo := _hub(cache[1].replace("--", "/"), cache[2] or revision)):
        return repo
    if text.startswith("hf://"):
        name, _, own = text.removeprefix("hf://").partition("@")
        return _hub(name, own or revision) or text
    if "://" in text:
        return _USER.sub("", text)
    if _is_path(text):
        parts = [part for part in re.split(r"[/\\]", text) if part not in {"", ".", "..", "~"}]
        return f"file:{parts[-1]}" if parts else ""
    name, _, own = text.partition("@")
    repo = None if titles and "/" not in name else _hub(name, own or revision)
    return repo or f"name:{text}"


def _hub(name: str, revision: object) -> str | None:
    if not _REPO.fullmatch(name) or "--" in name or ".." in name or name.endswith(".git"):
        return None
    if isinstance(revision, str) and _REVISION.fullmatch(revision):
        return f"hf://{name}@{revision}"
    return f"hf://{name}"


def _is_path(text: str) -> bool:
    return (
        text.startswith(("/", ".", "~"))
        or text.endswith("/")
        or "\\" in text
        or text.count("/") > 1
        or _DRIVE.match(text) is not None
        or text.lower().endswith(tuple(f".{suffix}" for suffix in _WEIGHTS))
    )


def named(ref: str) -> str:
    """The name a reference speaks of, without where it is and which revision: `org/name`, `sd_xl_base_1.0`

    References with one name mean one parent. Of `file:x.safetensors` it is `x`, of `base:3` and `base@prod` it is
    `base`; another URL is its own name.
    """
    if ref.startswith("name:"):
        return ref.removeprefix("name:")
    if ref.startswith("file:"):
        stem, dot, suffix = ref.removeprefix("file:").rpartition(".")
        return stem if dot and stem and suffix.lower() in _WEIGHTS else ref.removeprefix("file:")
    if "://" in ref and not ref.startswith("hf://"):
        return ref
    name = ref.removeprefix("hf://").partition("@")[0]
    head, colon, number = name.rpartition(":")
    return head if colon and _NUMBERED.fullmatch(colon + number) else name
