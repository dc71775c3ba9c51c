"""The hub: a repository of the Hugging Face hub, or of what speaks like it, at one commit"""

import json
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, NoReturn
from urllib.parse import quote

from artifactstore.core.digest import Sha256
from artifactstore.core.errors import Conflict, Denied, Invalid, NotFound, StoreError, Unavailable
from artifactstore.core.hub import ENDPOINT, HubRef, Listing, RemoteFile
from artifactstore.core.lineage import Relation
from artifactstore.core.names import SafePath
from artifactstore.core.provenance import card
from artifactstore.upstream.guard import Place
from artifactstore.upstream.reach import Reach
from artifactstore.upstream.span import asking, moved, read_span, refused
from artifactstore.upstream.wire import Answer, Wire

if TYPE_CHECKING:
    from huggingface_hub.hf_api import ModelInfo, RepoSibling

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_LARGEST_PAGE = 64 << 20
_COMMIT = re.compile(r"[0-9a-f]{40}")
_SHA256 = re.compile(r"[0-9a-f]{64}")


class HubUpstream:
    """One repository of a hub

    endpoint: the hub, explicitly; nothing of HF_ENDPOINT, HF_HUB_OFFLINE or a saved token is read. token: sent to that
    endpoint only.
    """

    def __init__(
        self,
        ref: HubRef,
        *,
        endpoint: str = ENDPOINT,
        token: str | None = None,
        reach: Reach = Reach(),  # noqa: B008  # frozen
    ) -> None:
        named = Place.of(endpoint)
        if "?" in named.target:
            raise Invalid("An endpoint has no query; give the URL of the hub alone", code="url")
        self.ref = ref
        self._base = named.url.rstrip("/")
        self._wire = Wire(named, reach, token=token)
        self._reach = reach
        self._commit = ref.revision

    @property
    def source(self) -> str:
        """`hf://org/repo`, whatever the revision"""
        return str(HubRef(self.ref.repo))

    def list(self) -> Listing:
        """Its files and what its card declares, at the commit which the revision means now; tries again as told

        Raise NotFound "repo", "revision" or "file", Denied "gated" or "token", Conflict "moved", Invalid, Unavailable.
        """
        listing = self._listing(self._reach.persist(self._page))
        if _COMMIT.fullmatch(self.ref.revision or "") and listing.commit != self.ref.revision:
            raise Conflict(f"The hub gives another commit than {self.ref} asks for", code="moved")
        self._commit = listing.commit
        return listing

    @contextmanager
    def open(self, file: RemoteFile, start: int) -> Iterator[Iterator[bytes]]:
        """The bytes of `file` from `start`, at the commit that was listed"""
        path = f"/{self.ref.repo}/resolve/{quote(self._commit or 'main', safe='')}/{quote(file.path)}"
        with self._wire.ask(self._base + path, asking(start)) as answer:
            if answer.status >= 400 and answer.status != 416 and not answer.foreign:
                self._refuse(answer)
            self._check(answer.first, file)
            yield read_span(answer, file, start)

    def _page(self) -> bytes:
        revision = f"/revision/{quote(self.ref.revision, safe='')}" if self.ref.revision is not None else ""
        url = f"{self._base}/api/models/{self.ref.repo}{revision}?blobs=true"
        with self._wire.ask(url, {"Accept": "application/json"}) as answer:
            if answer.status != 200:
                self._refuse(answer)
            return answer.body(_LARGEST_PAGE)

    def _refuse(self, answer: Answer) -> NoReturn:
        raise _refusal(answer, self.ref, self._base)

    def _check(self, headers: Mapping[str, str], file: RemoteFile) -> None:
        """Raise Conflict when the hub, on the way to the bytes, names another commit, digest or size"""
        commit = headers.get("X-Repo-Commit")
        if commit and _COMMIT.fullmatch(self._commit or "") and commit != self._commit:
            raise moved(file, f"the hub answers from commit {commit:.12}")
        tag = (headers.get("X-Linked-ETag") or headers.get("ETag") or "").removeprefix("W/").strip('"')
        # another kind of tag says nothing: a server between us and the hub may put its own
        shape, listed = (_COMMIT, file.git_oid) if file.sha256 is None else (_SHA256, str(file.sha256))
        if shape.fullmatch(tag) and tag != listed:
            raise moved(file, "the hub names another digest")
        size = headers.get("X-Linked-Size")
        if size is not None and size != str(file.size):
            raise moved(file, f"it has {size:.20} bytes, not {file.size}")

    def _listing(self, page: bytes) -> Listing:
        info = _parsed(page, self._base)
        if not isinstance(info.sha, str) or not _COMMIT.fullmatch(info.sha):
            raise Unavailable(f"{self._base} names no commit of {self.source}", code="answer")
        try:
            files = tuple(_file(one) for one in info.siblings or ())
        except Invalid as e:
            message = f"{self.source} lists a file that cannot be taken: {e.message}"
            raise Invalid(message, code="listing", **e.facts) from e
        if self.ref.file is not None:
            files = tuple(file for file in files if file.path == self.ref.file)
            if not files:
                raise NotFound(f"{self.source} has no file {self.ref.file}", code="file", path=str(self.ref.file))
        declared = _declared(info.card_data)
        read = card.read(declared, "model card", lambda: Relation.FINETUNE, _pass_over)
        relation = declared.get("base_model_relation")
        return Listing(
            self.source,
            info.sha,
            files,
            license=read.license,
            gated=bool(info.gated),
            base_models=tuple(link.ref for link in read.parents),
            relation=relation if isinstance(relation, str) and relation in card.RELATIONS else None,
            modified=_microseconds(info.last_modified),
        )


def _microseconds(moment: datetime | None) -> int | None:
    return None if moment is None else (moment - _EPOCH) // timedelta(microseconds=1)


def _declared(data: Any) -> dict[str, Any]:
    return data.to_dict() if data is not None else {}


def _pass_over(message: str) -> None:
    """What a card says in vain is told when its file is taken in"""


def _parsed(page: bytes, at: str) -> "ModelInfo":
    """What huggingface_hub makes of a model's page

    Only its values are used: its client keeps one session for the whole process, which follows redirects to any address
    and refuses to work under HF_HUB_OFFLINE.
    """
    try:
        from huggingface_hub import hf_api  # noqa: PLC0415  # half a second that only a fetch from a hub pays
    except ImportError as e:
        message = 'Reading a hub needs a package that is not installed: pip install "artifactstore[hub]"'
        raise Unavailable(message, code="extra") from e
    values: Any = hf_api  # its constructors have no types
    try:
        info: ModelInfo = values.ModelInfo(**json.loads(page))
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as e:
        raise Unavailable(f"{at} does not answer as a hub does; check --endpoint", code="answer") from e
    return info


def _file(told: "RepoSibling") -> RemoteFile:
    """Raise Invalid for a name that is no safe path, and for a file whose size or digest is not told"""
    path, size, lfs = SafePath(told.rfilename), told.size, told.lfs
    if not isinstance(size, int) or isinstance(size, bool):
        raise Invalid(f"The size of {path} is not told", code="listing", path=str(path))
    if lfs is None:
        return RemoteFile(path, size, git_oid=_text(told.blob_id))
    # the blob of a file in LFS is its pointer, so its id says nothing of the bytes
    return RemoteFile(path, size, sha256=Sha256.parse(_text(lfs.sha256) or ""))


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) else None


def _refusal(answer: Answer, ref: HubRef, base: str) -> StoreError:  # noqa: PLR0911  # a table
    """What the hub means; what it says in words is not repeated, it might say a token

    The codes are those of https://github.com/huggingface/huggingface_hub, utils/_http.py: hf_raise_for_status.
    """
    code, status = answer.headers.get("X-Error-Code"), answer.status
    wrong = answer.headers.get("X-Error-Message") == "Invalid credentials in Authorization header"
    if code == "GatedRepo":
        page = f"{base}/{ref.repo}"
        message = f"{ref.repo} is gated: ask for access at {page}, then give a token (HF_TOKEN or ARTSTORE_HUB_TOKEN)"
        return Denied(message, code="gated", repo=ref.repo, page=page)
    if status == 401 and wrong:
        return Denied(f"{base} does not accept the token; check HF_TOKEN or ARTSTORE_HUB_TOKEN", code="token")
    if code == "RevisionNotFound":
        return NotFound(f"{ref.repo} has no revision {ref.revision or 'main'}", code="revision", repo=ref.repo)
    if code == "EntryNotFound":
        return NotFound(f"{ref.repo} no longer has a file that it listed; list it anew", code="file", repo=ref.repo)
    if code == "RepoNotFound" or status in {401, 404}:
        message = (
            f"{base} shows no model {ref.repo}: it is misspelt, or private and needs a token (HF_TOKEN or "
            "ARTSTORE_HUB_TOKEN)"
        )
        return NotFound(message, code="repo", repo=ref.repo)
    if status == 403:
        return Denied(f"{base} forbids reading {ref.repo}; check what the token may do", code="forbidden")
    return refused(answer, ref.repo)
