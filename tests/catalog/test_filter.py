"""Filters on rows: what each key reads, and that both databases say what plain Python says"""

import fnmatch
import json
import math
import operator
import re
import time
from dataclasses import dataclass
from datetime import UTC, datetime

import pytest
import rfc8785
import sqlalchemy as sa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from artifactstore.catalog.filter import _QUANTIZED, matching
from artifactstore.catalog.tables import alias, artifact, link, load, metric, tensor_summary, version, version_pin
from artifactstore.core.digest import Digest
from artifactstore.core.errors import Invalid
from artifactstore.core.filter import MAX_DEPTH, MAX_VALUES, And, Comparison, Not
from artifactstore.core.filter_keys import Moment
from artifactstore.core.formats.gguf import TENSOR_TYPES
from artifactstore.core.formats.safetensors import DTYPE_BITS
from artifactstore.core.lineage import Link, Relation
from artifactstore.core.names import AliasName
from tests.contract.catalog import LATEST, manifest_of, retire, save
from tests.expressions import EVERY, expressions

DAY = 86_400_000_000
NOW = 100 * DAY


@pytest.fixture
def four(catalog):
    """m:1 and what came of it: m:2 resumed, q:1 quantized, s:1 merged of it and something elsewhere"""
    base = save(
        catalog,
        manifest_of(b"1", name="org/m", created=10 * DAY, phase="warmup", step=1000, dtype="BF16", license="MIT"),
        metrics={"loss": 0.5, "bad": math.nan},
        aliases=(LATEST, AliasName("prod")),
        taken=90 * DAY,
    ).version.id
    parents = {
        "m": (Link(Relation.RESUME, "org/m:1", base),),
        "q": (Link(Relation.QUANTIZE, "org/m:1", base, params={"scheme": "awq", "level": "q3", "bits": 3}),),
        "s": (Link(Relation.MERGE, "org/m@prod", base, 0.5), Link(Relation.MERGE, "hf://o/x@main", None, 0.5)),
    }
    more = {"m": {"step": 2000, "epoch": 1.5, "request_id": "job 7", "phase": "final", "license": "Apache-2.0"}}
    more["s"] = {"dtype": "Q4_K", "metadata": {"dataset": "laion 5b", "rank": 16, "quantization": "Q4_K_M"}}
    ids = [base]
    for at, name in enumerate("mqs", 2):
        fields = {"name": f"org/{name}", "created": 10 * DAY * at, "parents": parents[name], **more.get(name, {})}
        ids.append(save(catalog, manifest_of(b"x" * at**4, **fields), taken=95 * DAY).version.id)
    catalog.versions.loaded(base, 99 * DAY)
    catalog.notes.pin(ids[1], "paper")
    return ids


def found(catalog, text, now=NOW):
    refs = sorted(catalog.versions.get(one).ref for one in catalog.versions.matching(text, now))
    return " ".join(ref.removeprefix("org/") for ref in refs)


CASES = {
    "name = org/m": "m:1 m:2",
    "name != org/m": "q:1 s:1",
    "name ~ org/[qs]": "q:1 s:1",
    "name ~ ORG/*": "",
    "ref = org/m:2": "m:2",
    "ref ~ *:1": "m:1 q:1 s:1",
    "ref in (org/m:1, org/q:1, org/none:1)": "m:1 q:1",
    "number = 2": "m:2",
    "number > 9007199254740990": "",
    "number < 9007199254740990": "m:1 m:2 q:1 s:1",
    "files >= 1 and tensors = 1": "m:1 s:1",
    "tensors = 0": "m:2 q:1",
    "phase = warmup": "m:1",
    "phase != warmup": "m:2 q:1 s:1",
    "phase = Warmup": "",
    "phase = none": "q:1 s:1",
    "phase != none": "m:1 m:2",
    "phase in (warmup, none)": "m:1 q:1 s:1",
    "phase ~ *": "m:1 m:2",
    "step >= 1000": "m:1 m:2",
    "step > 1000": "m:2",
    "not step > 1000": "m:1 q:1 s:1",
    "step <= 1000 or step = none": "m:1 q:1 s:1",
    "epoch < 2": "m:2",
    "metric.loss < 0.6": "m:1",
    "metric.loss >= 0.5 and metrics.loss <= 0.5": "m:1",
    "metric.loss = none": "m:2 q:1 s:1",
    "metric.bad = none": "m:1 m:2 q:1 s:1",
    "not metric.bad < 1": "m:1 m:2 q:1 s:1",
    "size > 80B": "q:1 s:1",
    "size = 81": "q:1",
    "created = 1970-01-11": "m:1",
    "created != 1970-01-11": "m:2 q:1 s:1",
    "created > 1970-01-11": "m:2 q:1 s:1",
    "created >= 1970-01-11T00:00:01": "m:2 q:1 s:1",
    "created <= 1970-01-11": "m:1",
    "created < 1970-01-11": "",
    "created in (1970-01-11, 1970-01-21)": "m:1 m:2",
    "age > 80d": "m:1",
    "age >= 80d": "m:1 m:2",
    "age < 80d": "q:1 s:1",
    "taken > 5d": "m:1",
    "unused < 2d": "m:1",
    "loaded >= 5d": "m:2 q:1 s:1",
    "license = MIT": "m:1",
    "license ~ Apache*": "m:2",
    "request_id = 'job 7'": "m:2",
    "dtype = bf16": "m:1",
    "dtype ~ [bq]*": "m:1 s:1",
    "dtype = none": "m:2 q:1",
    "format = SafeTensors": "m:1 s:1",
    "format != safetensors": "m:2 q:1",
    "format in (raw, gguf)": "m:2 q:1",
    "format = safetensor": "",
    "quantization = AWQ": "q:1",
    "quantization in (q3, q4_k)": "q:1 s:1",
    "quantization ~ q4_*m": "s:1",
    "quantization = none": "m:1 m:2",
    "quantization != q3": "m:1 m:2 s:1",
    "relation = merge": "s:1",
    "relation = none": "m:1",
    "parent = org/m": "m:2 q:1 s:1",
    "parent = org/m:1": "m:2 q:1 s:1",
    "parent = org/m@prod": "s:1",
    "parent = org/m:2": "",
    "parent = org": "",
    "parent = hf": "",
    "parent = hf://o/x": "s:1",
    "parent = hf://o/x@main": "s:1",
    "parent = hf://o/*": "",
    "parent ~ hf://o/*": "s:1",
    "parent ~ org/m:*": "m:2 q:1 s:1",
    "parent = none": "m:1",
    "parent != none": "m:2 q:1 s:1",
    "alias = prod": "m:1",
    "alias ~ p*": "m:1",
    "alias != latest": "m:2 q:1 s:1",
    "alias = none": "m:2 q:1 s:1",
    "pinned": "m:2",
    "pinned = false": "m:1 q:1 s:1",
    "pinned != true": "m:1 q:1 s:1",
    "meta.dataset = 'laion 5b'": "s:1",
    "meta.dataset ~ laion*": "s:1",
    "meta.dataset = none": "m:1 m:2 q:1",
    "meta.rank = 16": "",
    "meta.rank = none": "m:1 m:2 q:1 s:1",
    "not (pinned or alias = prod) and (relation = merge or size < 1kB)": "q:1 s:1",
}


def test_what_each_key_reads(catalog, four):
    assert {text: found(catalog, text) for text in CASES} == CASES
    assert {text.split()[0].split(".")[0] for text in CASES} >= {*EVERY, "loaded"} - {"id"}


def test_an_id_is_known_by_its_beginning(catalog, four):
    base, *rest = map(str, four)
    assert found(catalog, f"id = {base[:8]}") == found(catalog, f"id = {base.upper()}") == "m:1"
    assert found(catalog, f"id in ({rest[0][:9]}, {rest[1]})") == "m:2 q:1"
    assert found(catalog, f"id = {base[1:9]}") == ""
    assert found(catalog, f"parent = {base[:8].upper()}") == found(catalog, f"parent = {base}") == "m:2 q:1 s:1"
    assert found(catalog, f"parent = {base[1:9]}") == ""


def test_a_parent_that_is_not_here_is_known_by_what_was_said(catalog):
    away = Link(Relation.FINETUNE, "org/far:3", Digest.of(b"far"))
    save(catalog, manifest_of(b"1", name="org/c", parents=(away,)))
    for text in ("org/far", "org/far:3", str(Digest.of(b"far"))[:8]):
        assert found(catalog, f"parent = {text}") == "c:1"
    assert found(catalog, "parent = org/far:2") == found(catalog, "parent = org/fa") == ""


def test_a_pin_counts_until_it_ends(catalog, four):
    end = datetime(1970, 4, 11, tzinfo=UTC)
    catalog.notes.pin(four[0], "look", end)
    assert found(catalog, "pinned", 100 * DAY - 1) == "m:1 m:2"
    assert found(catalog, "pinned", 100 * DAY) == "m:2"


def test_retired_versions_match_nothing(catalog, four):
    retire(catalog, four[0])
    assert found(catalog, "name ~ *") == "m:2 q:1 s:1"
    assert found(catalog, "not pinned") == "q:1 s:1"


def test_now_is_the_clock_of_the_database(catalog, four):
    fresh = save(catalog, manifest_of(b"n", created=time.time_ns() // 1000, name="org/new")).version
    assert catalog.versions.matching("age < 1d") == {fresh.id}
    assert catalog.versions.list(where=["age < 1d"]) == [fresh]


def test_lists_are_narrowed_by_all_filters(catalog, four):
    def listed(*where, **how):
        return [one.ref for one in catalog.versions.list(where=where, **how)]

    assert listed("step > 0", sort="step") == ["org/m:1", "org/m:2"]
    assert listed("step > 0", "not pinned") == ["org/m:1"]
    assert listed("size < 1MB", glob="*/[ms]", sort="size:desc", limit=2) == ["org/s:1", "org/m:2"]
    assert listed("step > 0", glob="*q") == []
    for look in (lambda text: catalog.versions.list(where=["step > 0", text]), catalog.versions.matching):
        with pytest.raises(Invalid, match="did you mean step"):
            look("stepp > 0")


SHAPES = ("pinned or (step > 3 and (", "step > 3 and not (", "not ")


@pytest.mark.parametrize("shape", SHAPES)
def test_the_deepest_are_read(catalog, four, shape):
    leaves = {text.split()[0]: text for text in CASES if not re.search(" or | and |^not ", text)}
    times = MAX_DEPTH // len(re.findall(r"\(|not", shape))
    for leaf in leaves.values():
        catalog.versions.matching(shape * times + leaf + ")" * shape.count("(") * times, NOW)


@pytest.mark.parametrize("key", ["parent", "quantization", "format", "created", "number", "id"])
def test_as_many_values_as_are_read(catalog, four, key):
    values = ["1970-01-11" if key == "created" else "1"] * MAX_VALUES
    if key == "id":
        assert "m:1" in found(catalog, f"id in ({', '.join([str(four[0])[:8]] * MAX_VALUES)})")
    else:
        catalog.versions.matching(f"{key} in ({', '.join(values)})", NOW)
        catalog.versions.matching(" or ".join(f"{key}={value}" for value in values[:80]), NOW)


def test_text_is_never_sql(catalog, four):
    for text in ("'; DROP TABLE version; --", "%", "_", "\\", "x' OR '1'='1", "$1", ":a", "%(a)s", "?"):
        quoted = "'" + text.replace("'", "''") + "'"
        for key in ("name", "phase", "alias", "parent", "meta.dataset", "quantization"):
            assert found(catalog, f"{key} = {quoted}") == ""
        assert found(catalog, f"meta.{quoted.replace(chr(92), '/')} = x") == ""
    assert found(catalog, "name ~ *") == "m:1 m:2 q:1 s:1"


def test_metadata_that_postgres_cannot_read_does_not_get_in_the_way(catalog, four):
    save(catalog, manifest_of(b"0", name="org/zero", metadata={"dataset": "laion 5b", "odd": "a\0b"}))
    assert found(catalog, "meta.dataset ~ laion*") == "s:1"
    assert found(catalog, "quantization = none") == "m:1 m:2 zero:1"


def test_the_dtypes_of_quantized_tensors():
    blocks = {name for name, elements, _ in TENSOR_TYPES.values() if elements > 1}
    small = {name for name, bits in DTYPE_BITS.items() if bits < 16 and name.startswith("F")}
    every = {name for name, *_ in TENSOR_TYPES.values()} | set(DTYPE_BITS)
    assert {name for name in every if re.match(_QUANTIZED, name)} == blocks | small
    assert len(small) > 5


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


ORDERS = {"=": operator.eq, "<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge}


def holds(asked, one, world):
    """What the words on filters say, in plain Python"""
    if isinstance(asked, Not):
        return not holds(asked.part, one, world)
    if isinstance(asked, Comparison):
        fits = [_fits(asked, operand.value, one, world) for operand in asked.operands]
        return not fits[0] if asked.operator == "!=" else any(fits)
    return (all if isinstance(asked, And) else any)(holds(part, one, world) for part in asked.parts)


def _fits(asked, value, one, world):
    key, sign = asked.key, {"!=": "=", "in": "="}.get(asked.operator, asked.operator)
    values = [each for each in _values(asked, one, world) if each is not None]
    if value is None:
        return not values
    if sign == "~":
        return any(fnmatch.fnmatchcase(each, value) for each in values)
    if key == "id":
        return str(one.digest).startswith(value)
    if key == "parent":
        said = any(re.fullmatch(rf"{re.escape(value)}((:[0-9]|@).*)?", each, re.DOTALL) for each in values)
        ids = [str(digest) for *_, digest, _ in one.links if digest is not None]
        return said or (len(value) > 7 and any(each.startswith(value.lower()) for each in ids))
    if isinstance(value, Moment):
        last = value.end - 1
        within = {"=": value.start <= one.created <= last, ">": one.created > last, "<=": one.created <= last}
        return within[sign] if sign in within else ORDERS[sign](one.created, value.start)
    return any(ORDERS[sign](each, value) for each in values)


def _values(asked, one, world):
    if asked.key == "metric":
        return [one.metrics.get(asked.name)]
    if asked.key == "meta":
        return [_text(one.metadata, asked.name)]
    several = {
        "alias": lambda: one.aliases,
        "dtype": lambda: [dtype.upper() for dtype in one.dtypes],
        "format": lambda: one.formats,
        "relation": lambda: [str(relation) for relation, *_ in one.links],
        "parent": lambda: (
            [ref for _, ref, *_ in one.links]
            + [world[parent].ref for _, _, parent, *_ in one.links if parent is not None]
        ),
        "quantization": lambda: [text.upper() for text in _schemes(one) if text is not None],
        "pinned": lambda: [any(end is None or end > NOW for end in one.ends)],
        "size": lambda: [one.nbytes],
        "age": lambda: [NOW - one.created],
        "taken": lambda: [NOW - one.taken],
        "unused": lambda: [NOW - (one.taken if one.last_load is None else one.last_load)],
        "id": lambda: [str(one.digest)],
    }
    return several[asked.key]() if asked.key in several else [getattr(one, asked.key)]


def _schemes(one):
    yield _text(one.metadata, "quantization")
    yield from (dtype for dtype in one.dtypes if dtype.startswith(("Q", "F8")))
    for relation, *_, params in one.links:
        if relation == Relation.QUANTIZE:
            yield _text(params, "scheme")
            yield _text(params, "level")
            if isinstance(params.get("bits"), int) and _readable(params):
                yield f"q{params['bits']}"


def _text(document, name):
    value = document.get(name)
    return value if isinstance(value, str) and _readable(document) else None


def _readable(document):
    return "\\u0000" not in json.dumps(document)


def agree(catalog, world, asked):
    def work(connection):
        fill(connection, world)
        return [{IDS.index(one) for one in matching(connection, each, NOW).values()} for each in asked]

    expected = [{one.row for one in world if holds(each, one, world)} for each in asked]
    assert dict(zip(map(str, asked), catalog.database.write(work), strict=True)) == dict(
        zip(map(str, asked), expected, strict=True)
    )


WORLDS = (samples(), st.lists(ASKED, min_size=1, max_size=6, unique=True))
QUIET = {"deadline": None, "suppress_health_check": [HealthCheck.function_scoped_fixture, HealthCheck.too_slow]}


@settings(max_examples=100, **QUIET)
@given(*WORLDS)
def test_sqlite_says_what_python_says(sqlite_catalog, world, asked):
    agree(sqlite_catalog, world, asked)


@settings(max_examples=40, **QUIET)
@given(*WORLDS)
def test_postgres_says_what_python_says(postgres_catalog, world, asked):
    agree(postgres_catalog, world, asked)
