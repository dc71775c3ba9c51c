"""Filters on rows: what each key reads, and that the deepest, longest and oddest are answered"""

import math
import re
import time
from datetime import UTC, datetime

import pytest

from artifactstore.catalog.filter import _QUANTIZED
from artifactstore.core.digest import Digest
from artifactstore.core.errors import Invalid
from artifactstore.core.filter import MAX_DEPTH, MAX_VALUES
from artifactstore.core.formats.gguf import TENSOR_TYPES
from artifactstore.core.formats.safetensors import DTYPE_BITS
from artifactstore.core.lineage import Link, Relation
from artifactstore.core.names import AliasName
from tests.catalog.samples import DAY, NOW
from tests.contract.catalog import LATEST, manifest_of, retire, save
from tests.expressions import EVERY


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
    "unused <= 5d": "m:1 m:2 q:1 s:1",
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


SPANS = {"1970-01-11": DAY, "1970-01-11T00:00": 1_000_000, "1970-01-11T00:00:00.000000Z": 1_000_000}
SIDES = {"<": "a", "<=": "a b c", "=": "b c", ">=": "b c d", ">": "d", "!=": "a d"}


@pytest.mark.parametrize("text", SPANS)
def test_a_date_is_as_long_as_it_is_written(catalog, text):
    edges = {"a": -1, "b": 0, "c": SPANS[text] - 1, "d": SPANS[text]}
    for name, past in edges.items():
        save(catalog, manifest_of(b"1", name=name, created=10 * DAY + past))
    assert {sign: found(catalog, f"created {sign} {text}").replace(":1", "") for sign in SIDES} == SIDES


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
