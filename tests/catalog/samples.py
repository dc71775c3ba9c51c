"""Versions of every shape for Hypothesis, and their rows"""

import math
from dataclasses import dataclass

import rfc8785
import sqlalchemy as sa
from hypothesis import strategies as st

from artifactstore.catalog.tables import alias, artifact, link, load, metric, tensor_summary, version, version_pin
from artifactstore.core.digest import Digest
from artifactstore.core.lineage import Relation
from tests.expressions import EVERY, expressions

DAY = 86_400_000_000
NOW = 100 * DAY
TEXTS = ["a", "A", "ab", "a b", "none", "it's", "*", "[", "é", "a_b", "a%b", "a:1", "a@b", "\\", '"']
GLOBS = ["*", "a*", "?", "[a-b]*", "[!a]*", "[", "[]", "*b", "A", "a[ %]b", "\\", "a:[0-9]", "Q*", "q4", "[!q]*"]
SCHEMES = ["q4", "Q4", "Q4_K", "none", "a"]
MOMENTS = [NOW, NOW + 5, NOW - DAY, NOW - DAY + 1, NOW - DAY - 1, NOW - 30 * DAY, 0, -DAY, 49 * DAY + 43_200_000_000]
NUMBERS = [-1, 0, 1, 2, 10**10, 2**53 - 1]
FLOATS = [-1.5, 0.0, 0.1, 1, 1e300, math.inf, -math.inf, None]
DTYPES = ["F32", "BF16", "Q4_K", "Q8_0", "F8_E4M3", "I8", "a"]
FORMATS = ["gguf", "safetensors", "torch", "other"]
IDS = [Digest.of(b"%d" % number) for number in range(6)]


@dataclass(frozen=True)
class Sample:
    """A version as it stands in the rows"""

    row: int
    name: str
    number: int
    created: int
    taken: int
    last_load: int | None
    phase: str | None
    step: int | None
    epoch: float | None
    request_id: str | None
    license: str | None
    nbytes: int
    files: int
    tensors: int
    formats: list[str]
    dtypes: list[str]
    metadata: dict
    metrics: dict
    aliases: list[str]
    ends: list[int | None]
    # (relation, ref, row or None, digest or None, params)
    links: list[tuple]

    @property
    def digest(self):
        return IDS[self.row]

    @property
    def ref(self):
        return f"{self.name}:{self.number}"


MEMBERS = st.dictionaries(
    st.sampled_from(["quantization", "scheme", "level", "k", "a b", "5", "$", "$.k", "é"]),
    st.one_of(
        st.sampled_from([*TEXTS, *SCHEMES, "", "\n", "a\0b", "\\u0000"]),
        st.sampled_from([None, 4, -1, 1.5, True, ["q4"], {"k": "a"}]),
    ),
    max_size=4,
)
PARAMS = st.builds(
    lambda members, bits: members | bits,
    MEMBERS,
    st.dictionaries(st.just("bits"), st.sampled_from([4, 8, "4", 1.5, None])),
)


def some(values):
    return st.one_of(st.none(), st.sampled_from(values))


def few(values):
    return st.lists(values if isinstance(values, st.SearchStrategy) else st.sampled_from(values), max_size=3)


@st.composite
def samples(draw):
    count = draw(st.integers(1, len(IDS) - 1))
    names = draw(st.lists(st.sampled_from(["a", "ab", "org/a"]), min_size=count, max_size=count))
    return [draw(_sample(row, names)) for row in range(count)]


@st.composite
def _sample(draw, row, names):
    parents = st.one_of(
        st.just((None, None)),
        st.just((None, IDS[-1])),
        st.integers(0, len(names) - 1).map(lambda parent: (parent, IDS[parent])),
    )
    refs = st.sampled_from([*TEXTS, "hf://a/b@a", "hf://a/b", "org/a:1", "a:10"])
    links = st.builds(lambda *one: (*one[:2], *one[2], one[3]), st.sampled_from(list(Relation)), refs, parents, PARAMS)
    return Sample(
        row=row,
        name=names[row],
        number=names[: row + 1].count(names[row]),
        created=draw(st.sampled_from(MOMENTS)),
        taken=draw(st.sampled_from(MOMENTS)),
        last_load=draw(some(MOMENTS)),
        phase=draw(some(TEXTS)),
        step=draw(some(NUMBERS)),
        epoch=draw(some([-1.5, 0.1, 1, 1e300])),
        request_id=draw(some(TEXTS)),
        license=draw(some(TEXTS)),
        nbytes=draw(st.sampled_from([0, 1, 10**10, 2**60])),
        files=draw(st.integers(0, 3)),
        tensors=draw(st.integers(0, 3)),
        formats=sorted(set(draw(few(FORMATS)))),
        dtypes=sorted(set(draw(few(DTYPES)))),
        metadata=draw(MEMBERS),
        metrics=draw(st.dictionaries(st.sampled_from(["m", "a b"]), st.sampled_from(FLOATS))),
        aliases=sorted({f"{text}{row}" if text == "a" else f"{row}" for text in draw(few(TEXTS))}),
        ends=draw(few([None, NOW, NOW + 1, 0])),
        links=draw(few(links)),
    )


VALUES = {
    **dict.fromkeys(EVERY, st.sampled_from(TEXTS)),
    **dict.fromkeys(("number", "step", "files", "tensors"), st.sampled_from([str(one) for one in NUMBERS])),
    **dict.fromkeys(("epoch", "metric"), st.sampled_from(["-1.5", "0", ".1", "1", "1e300", "2"])),
    **dict.fromkeys(("age", "taken", "unused"), st.sampled_from(["0s", "1d", "30d", "1y"])),
    "name": st.sampled_from(["a", "ab", "org/a", "A"]),
    "ref": st.sampled_from(["a:1", "a:2", "org/a:1", "A:1"]),
    "id": st.sampled_from([str(one)[:8] for one in IDS]),
    "size": st.sampled_from(["0", "1B", "10GB", "1EiB"]),
    "created": st.sampled_from(
        ["1970-04-11", "1970-04-10", "1970-01-01", "1970-02-19", "1970-02-19T12:00", "1969-12-31"]
    ),
    "dtype": st.sampled_from([*DTYPES, "bf16", "f8_e4m3"]),
    "format": st.sampled_from([*FORMATS, "GGUF", "tensors"]),
    "quantization": st.sampled_from([*SCHEMES, "q8", "q1.5", "q8_0", "f8_e4m3", "i8"]),
    "relation": st.sampled_from(list(Relation)),
    "parent": st.sampled_from([*TEXTS, "hf://a/b", "org/a", "ab", "hf", str(IDS[0])[:8], str(IDS[-1]).upper()]),
    "alias": st.sampled_from(["a0", "a1", "0", "1", "A0"]),
    "pinned": st.sampled_from(["true", "false"]),
}
MEMBER_NAMES = st.sampled_from(["quantization", "k", "a b", "5", "$", "$.k", "é", "none"])
ASKED = expressions(
    VALUES, st.sampled_from(GLOBS), {"metric": st.sampled_from(["m", "a b", "x"]), "meta": MEMBER_NAMES}
)


def fill(connection, given_samples):
    for table in (metric, alias, link, load, version_pin, tensor_summary, version, artifact):
        connection.execute(sa.delete(table))
    lines = sorted({one.name for one in given_samples})
    rows = {artifact: [{"id": at, "name": name} for at, name in enumerate(lines)]}
    for table in (version, load, metric, alias, version_pin, tensor_summary, link):
        rows[table] = [row for one in given_samples for row in _rows(table, one, lines.index(one.name))]
    for table, many in rows.items():
        if many:
            connection.execute(sa.insert(table), many)


def _rows(table, one, line):
    mine = {"version_id": one.row}
    return {
        version: lambda: [_version(one, line)],
        load: lambda: [] if one.last_load is None else [{**mine, "last_load": one.last_load}],
        metric: lambda: [{**mine, "name": name, "value": value, "at": 0} for name, value in one.metrics.items()],
        alias: lambda: [{**mine, "artifact_id": line, "name": name, "generation": 1} for name in one.aliases],
        version_pin: lambda: [{**mine, "why": f"{at}", "at": 0, "until": end} for at, end in enumerate(one.ends)],
        tensor_summary: lambda: [{**mine, "dtype": dtype, "count": 1, "nbytes": 1} for dtype in one.dtypes],
        link: lambda: [
            {
                "child_id": one.row,
                "position": position,
                "relation": str(relation),
                "ref": ref,
                "parent_id": parent,
                "parent_digest": digest,
                "params": rfc8785.dumps(params).decode(),
            }
            for position, (relation, ref, parent, digest, params) in enumerate(one.links)
        ],
    }[table]()


def _version(one, line):
    names = ("number", "created", "taken", "phase", "step", "epoch", "request_id", "license", "nbytes")
    return {
        **{name: getattr(one, name) for name in names},
        "id": one.row,
        "digest": one.digest,
        "artifact_id": line,
        "file_count": one.files,
        "tensor_count": one.tensors,
        "formats": ",".join(one.formats),
        "dtypes": ",".join(one.dtypes),
        "metadata": rfc8785.dumps(one.metadata).decode(),
        "state": "active",
    }
