"""What goes into the catalog and comes out of it"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from types import MappingProxyType
from typing import Literal

from artifactstore.core.digest import Digest, Sha256
from artifactstore.core.graph import State
from artifactstore.core.manifest import Manifest
from artifactstore.core.names import AliasName, ArtifactName, SafePath
from artifactstore.core.policy import Candidate
from artifactstore.core.reasons import Reason
from artifactstore.core.verdict import Need

Evidence = Literal["hash", "tensors"]
Placement = Literal["live", "condemned", "deleting", "damaged"]


@dataclass(frozen=True, slots=True)
class Place:
    """Where a blob or manifest lies: the object `key`, from `start`; `stored` bytes there, `size` decoded"""

    digest: Digest
    inc: str
    size: int
    stored: int
    key: str
    start: int
    state: Placement


@dataclass(frozen=True, slots=True)
class Grant:
    """The right of a lease to one incarnation of a digest: write it when `upload`, else it is there"""

    digest: Digest
    inc: str
    upload: bool


@dataclass(frozen=True, slots=True)
class Written:
    """One physical object that a lease wrote or found, as its commit will record it"""

    grant: Grant
    size: int
    key: str


@dataclass(frozen=True, slots=True)
class Best:
    """Move `alias` to the new version when its `metric` beats that of the version it names now"""

    alias: AliasName
    metric: str
    mode: Literal["min", "max"] = "min"


@dataclass(frozen=True, slots=True)
class Draft:
    """Everything transaction D of a save writes. taken: when the store took it in, microseconds UTC"""

    lease: str
    txid: str
    manifest: Manifest
    manifest_object: Written
    blobs: tuple[Written, ...]
    taken: int
    aliases: tuple[AliasName, ...] = ()
    best: tuple[Best, ...] = ()
    metrics: Mapping[str, float] = field(default_factory=lambda: MappingProxyType({}))


@dataclass(frozen=True, slots=True)
class Retirement:
    """How a version went: when, by which record of the journal, why. Times are microseconds since 1970 UTC

    swept: since when its bytes are gone. condemned: since when they wait for that.
    """

    at: int | None
    serial: int | None
    why: str | None
    swept: int | None
    condemned: int | None


@dataclass(frozen=True, slots=True)
class VersionInfo:
    """A version as the catalog's rows know it. Times are microseconds since 1970 UTC"""

    id: Digest
    artifact: ArtifactName
    number: int
    created: int
    taken: int
    phase: str | None
    step: int | None
    epoch: float | None
    request_id: str | None
    license: str | None
    nbytes: int
    files: int
    formats: tuple[str, ...]
    tensors: int
    dtypes: tuple[str, ...]
    last_load: int | None = None
    aliases: tuple[AliasName, ...] = ()
    metrics: Mapping[str, float] = field(default_factory=lambda: MappingProxyType({}))
    retired: Retirement | None = None

    @property
    def ref(self) -> str:
        """`artifact:number`"""
        return f"{self.artifact}:{self.number}"

    @property
    def state(self) -> State:
        """`active`; `retired`, as long as it may come back; `swept`, once its bytes are gone"""
        if self.retired is None:
            return "active"
        return "retired" if self.retired.swept is None else "swept"


@dataclass(frozen=True, slots=True)
class Committed:
    """What a commit did. lost: objects of ours that another incarnation made needless; existed: it was there before

    txid: of its record in the journal; when there was nothing to record, of the last one it saw.
    """

    version: VersionInfo
    serial: int
    txid: str | None
    lost: tuple[Grant, ...] = ()
    existed: bool = False


@dataclass(frozen=True, slots=True)
class Healed:
    """What a repair's commit did. txid, lost: as of Committed"""

    serial: int
    txid: str | None
    lost: tuple[Grant, ...] = ()


@dataclass(frozen=True, slots=True)
class Survey:
    """What policies decide on, of one moment. held: versions that pins and leases keep, with reasons"""

    candidates: tuple[Candidate, ...]
    needs: tuple[Need, ...]
    held: Mapping[Digest, tuple[Reason, ...]]
    now: int


@dataclass(frozen=True, slots=True)
class Retired:
    """What a retirement did. kept: what had to stay after all, with reasons"""

    serial: int
    versions: tuple[Digest, ...]
    kept: Mapping[Digest, tuple[str, ...]]


@dataclass(frozen=True, slots=True)
class Restored:
    """What an undo brought back"""

    serial: int
    versions: tuple[Digest, ...]


@dataclass(frozen=True, slots=True)
class Tally:
    """Objects, and their bytes at rest"""

    count: int
    nbytes: int


@dataclass(frozen=True, slots=True)
class Doomed:
    """A physical object whose deletion is decided, under its exact name"""

    kind: Literal["blob", "manifest"]
    digest: Digest
    inc: str
    key: str
    nbytes: int


@dataclass(frozen=True, slots=True)
class AliasInfo:
    """Where an alias points. generation counts its moves from 1; version is None once removed"""

    artifact: ArtifactName
    name: AliasName
    version: Digest | None
    generation: int
    at: int


@dataclass(frozen=True, slots=True)
class PinInfo:
    """Why a version must stay, until when"""

    version: Digest
    why: str
    at: int
    until: datetime | None


@dataclass(frozen=True, slots=True)
class PolicyInfo:
    """The rules of retention for artifacts whose name matches a pattern"""

    pattern: str
    rules: str
    at: int


@dataclass(frozen=True, slots=True)
class Seen:
    """The last record of another store's journal, and when it was looked at, microseconds since 1970 UTC"""

    catalog: str
    serial: int
    txid: str | None
    at: int = 0


@dataclass(frozen=True, slots=True)
class RemoteInfo:
    """Another store under a name. catalog: the URL of its catalog where this store may write there, else None

    mirror: it is kept in step with this store, which is the one that writes there. origin: what is not held here is
    read from it. seen: how far its journal went when it was last used.
    """

    name: str
    url: str
    store_id: str
    catalog: str | None = None
    mirror: bool = False
    origin: bool = False
    seen: Seen | None = None


@dataclass(frozen=True, slots=True)
class CopyInfo:
    """A version that a remote held at a moment, microseconds since 1970 UTC"""

    remote: str
    at: int


@dataclass(frozen=True, slots=True)
class LinkInfo:
    """A link as rows hold it: parent is None while what `ref` names is not in this store

    evidence: `hash`, the link named its parent's content, which is here; `tensors`, they share bytes of tensors; None,
    nothing speaks for it but what was declared.
    """

    child: Digest
    position: int
    relation: str
    ref: str
    parent: Digest | None
    weight: float | None
    params: Mapping[str, object]
    evidence: Evidence | None

    @property
    def declared(self) -> bool:
        """Whether nothing but somebody's word speaks for it"""
        return self.evidence is None


@dataclass(frozen=True, slots=True)
class StoredFile:
    """A file of a version, without its bytes"""

    path: SafePath
    size: int
    sha256: Sha256
    format: str


@dataclass(frozen=True, slots=True)
class TensorSummary:
    """Tensors of one dtype in a version: how many, and their bytes"""

    dtype: str
    count: int
    nbytes: int


@dataclass(frozen=True, slots=True)
class LeaseInfo:
    """A writer or reader at work. host names one boot of one machine"""

    id: str
    host: str
    pid: int
    kind: str
    state: Literal["active", "reaped", "done"]
    expires: int


@dataclass(frozen=True, slots=True)
class JournalRecord:
    """One committed transaction; `body` is canonical JSON and names the previous txid"""

    serial: int
    txid: str
    body: bytes


@dataclass(frozen=True, slots=True)
class UsageRow:
    """Bytes of one group of versions: stored counts each blob once, unique those no other group uses"""

    key: str
    versions: int
    logical: int
    stored: int
    unique: int

    @property
    def shared(self) -> int:
        """Bytes other groups use as well"""
        return self.stored - self.unique
