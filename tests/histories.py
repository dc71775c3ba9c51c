"""Random histories of a store: saves, links, notes, damage and repair, retirements, undos and collections"""

from datetime import UTC, datetime, timedelta

from hypothesis import strategies as st

from artifactstore.blobs.layout import blob_key, manifest_key
from artifactstore.blobs.memory import MemoryBlobs
from artifactstore.catalog.base import RemoteInfo, Seen
from artifactstore.core.digest import Digest, Sha256
from artifactstore.core.errors import Corrupt, Invalid, NotFound, Refused
from artifactstore.core.lineage import Link, Relation
from artifactstore.core.names import AliasName, ArtifactName
from artifactstore.core.selection import Rules
from artifactstore.depot import Depot
from artifactstore.ops import annotate, collect, repair, verify
from artifactstore.session import Tags, open_session
from tests.contract.catalog import manifest_of

NAMES = ("org/base", "org/tuned")
ALIASES = ("latest", "prod")
REMOTES = ("usb", "team")
CONTENTS = [bytes([65 + n]) * (n + 1) for n in range(4)]
small = st.integers(0, 3)
Step = tuple[str, int, int, int]
steps = st.lists(
    st.tuples(
        st.sampled_from(
            ["save"] * 6
            + ["link", "alias", "unalias", "metric", "pin", "unpin", "policy", "unpolicy", "damage", "repair"]
            + ["retire", "undo"] * 2
            + ["remote", "seen", "seen", "unremote"]
            + ["collect"]
        ),
        small,
        small,
        small,
    ),
    max_size=30,
)


class History:
    """Does things to a store; what a store refuses is no part of its history"""

    def __init__(self, depot: Depot) -> None:
        self.depot = depot
        self.donor = MemoryBlobs("donor")
        self.ids: list[Digest] = []

    def run(self, history: list[Step]) -> None:
        for name, *numbers in history:
            try:
                getattr(self, name)(*numbers)
            except (Refused, NotFound, Invalid, Corrupt):
                continue

    def save(self, name: int, first: int, second: int) -> None:
        self._save(name, first, second, ())

    def link(self, name: int, first: int, second: int) -> None:
        """A save whose parents are named in every way there is"""
        one = self._pick(first)
        told = {"sha256": str(Sha256.of(CONTENTS[second]))}
        parents = (
            Link(Relation.MERGE, "elsewhere", Digest.of(b"elsewhere %d" % second)),
            Link(Relation.FINETUNE, "hf://org/base"),
            Link(Relation.ADAPTER, "hf://org/other", params=told),
            *((Link(Relation.RESUME, "here", one, weight=0.5),) if one else ()),
        )
        self._save(name, second, first, parents)

    def _save(self, name: int, first: int, second: int, parents: tuple[Link, ...]) -> None:
        contents = (CONTENTS[first], CONTENTS[second])
        labels = {"phase": "p", "step": second, "epoch": 0.1} if first % 2 else {"metadata": {"n": first, "ä": 1e300}}
        document = manifest_of(
            *contents,
            name=NAMES[name % 2],
            created=second,
            dtype="U8" if first < 3 else None,
            parents=parents,
            **labels,
        )
        tags = Tags(aliases=(AliasName(ALIASES[name % 2]),) if second % 2 else (), metrics={"loss": first / 3})
        with open_session(self.depot, "save") as session:
            written = []
            for data in dict.fromkeys(contents):
                [grant] = session.want([Digest.of(data)])
                self._lend(blob_key(grant.digest, "0" * 16), data)
                written.append(session.write(grant, data) if grant.upload else session.found(grant, len(data)))
            session.commit(document, written, tags, taken=second)
        self._lend(manifest_key(document.id, "0" * 16), document.raw)
        self.ids.append(document.id)

    def alias(self, which: int, alias: int, _: int) -> None:
        version = self.depot.catalog.versions.get(self._pick(which))
        annotate.set_alias(self.depot, version.artifact, AliasName(ALIASES[alias % 2]), version)

    def unalias(self, name: int, alias: int, _: int) -> None:
        annotate.remove_alias(self.depot, ArtifactName(NAMES[name % 2]), AliasName(ALIASES[alias % 2]))

    def metric(self, which: int, name: int, value: int) -> None:
        version = self.depot.catalog.versions.get(self._pick(which))
        annotate.set_metrics(self.depot, version, {"ab"[name % 2]: value * 1e20})

    def pin(self, which: int, why: int, until: int) -> None:
        end = datetime(2020, 1, 1 + until, tzinfo=UTC) if until else None
        annotate.pin(self.depot, self.depot.catalog.versions.get(self._pick(which)), f"because {why % 2}", end)

    def unpin(self, which: int, why: int, _: int) -> None:
        version = self.depot.catalog.versions.get(self._pick(which))
        annotate.unpin(self.depot, version, f"because {why % 2}" if why < 3 else None)

    def policy(self, which: int, count: int, _: int) -> None:
        annotate.set_policy(self.depot, f"org/*{which % 2}", Rules.parse(f"--keep-last {count + 1}", stored=True))

    def unpolicy(self, which: int, _: int, __: int) -> None:
        annotate.remove_policy(self.depot, f"org/*{which % 2}")

    def damage(self, which: int, how: int, _: int) -> None:
        objects = (*self.depot.catalog.blobs.all(), *self.depot.catalog.blobs.manifests())
        places = [place for place in objects if place.state != "damaged"]
        if places:
            self.depot.blobs.replace(places[which * 7 % len(places)].key, b"x" * (how % 2))
            verify.run(self.depot, verify.plan(self.depot))

    def repair(self, _: int, __: int, ___: int) -> None:
        repair.run(self.depot, repair.plan(self.depot), store=self.donor)

    def retire(self, which: int, other: int, _: int) -> None:
        going = dict.fromkeys((self._pick(which), self._pick(other)), f"older than {which}d")
        self.depot.check_writable()
        self.depot.catalog.retirements.retire(going)
        self.depot.acknowledge()

    def undo(self, _: int, __: int, ___: int) -> None:
        serials = self.depot.catalog.journal.log(1000)
        for record in serials:
            versions = self.depot.catalog.retirements.undoable(record.serial)
            if versions:
                read = self.depot.catalog.versions.manifest_place
                found = {one: _blobs(self.depot.blobs.read(read(one).key)) for one in versions}
                self.depot.catalog.retirements.restore(record.serial, found)
                self.depot.acknowledge()
                return

    def collect(self, _: int, __: int, ___: int) -> None:
        collect.run(self.depot, timedelta(0), force=True)

    def remote(self, name: int, where: int, origin: int) -> None:
        info = RemoteInfo(REMOTES[name % 2], f"/mnt/{where}", f"store {where}", None, origin=origin == 0)
        self.depot.catalog.remotes.set(info)
        self.depot.acknowledge()

    def seen(self, name: int, held: int, gone: int) -> None:
        seen = Seen("catalog", held, f"txid {gone}" if gone else None)
        self.depot.catalog.remotes.note(REMOTES[name % 2], seen, [self._pick(held)], [self._pick(gone)])
        self.depot.acknowledge()

    def unremote(self, name: int, _: int, __: int) -> None:
        self.depot.catalog.remotes.remove(REMOTES[name % 2])
        self.depot.acknowledge()

    def _pick(self, which: int) -> Digest:
        return self.ids[which % len(self.ids)] if self.ids else Digest.of(b"none")

    def _lend(self, key: str, data: bytes) -> None:
        self.donor.replace(key, data)


def _blobs(raw: bytes) -> list[Digest]:
    from artifactstore.core.decode import read_manifest

    return [info.digest for info in read_manifest(raw).blobs]
