"""Subjects for tests: one family of versions, and all that Hypothesis can think of"""

import dataclasses

from hypothesis import strategies as st

from artifactstore.core.digest import Digest, Sha256
from artifactstore.core.exports.base import FileFacts, ParentFacts, Subject, TensorFacts, VersionFacts
from artifactstore.core.lineage import Relation
from artifactstore.core.names import ArtifactName
from tests.core.manifests import digests, labels, numbers, text

CREATED = 1_700_000_000_123_456
STORE = "0123456789abcdef0123456789abcdef"


def version(name="hero", *parents, number=1, **fields) -> VersionFacts:
    """`name:number`, whose id follows from that"""
    return VersionFacts(
        id=Digest.of(f"{name}:{number}".encode()),
        artifact=ArtifactName(name),
        number=number,
        created=CREATED,
        files=fields.pop("files", [file("model.safetensors", name.encode(), "safetensors")]),
        parents=parents,
        **fields,
    )


def file(path, data=b"", form="other") -> FileFacts:
    """A file of these bytes"""
    return FileFacts(path, len(data), Sha256.of(data), form)


def link(relation, parent, **fields) -> ParentFacts:
    """To a version, or to what a text names elsewhere"""
    if isinstance(parent, str):
        return ParentFacts(Relation(relation), parent, **fields)
    return ParentFacts(Relation(relation), parent.ref, parent.id, evidence="hash", **fields)


def subject(child, *ancestors) -> Subject:
    """The first, with these known above it"""
    return Subject(child, {one.id: one for one in ancestors}, STORE)


def family() -> Subject:
    """A quantized merge of a tuned and of a foreign model, resumed once, with an adapter's dataset and metrics"""
    base = version("org/base", link("extract", "file:old.ckpt"), license="Apache-2.0")
    tuned = version("tuned", link("finetune", base, params={"lr": 0.1}), license="LicenseRef-mine")
    foreign = link("merge", "hf://Other/Model@ABCdef", weight=0.25, params={"sha256": "0" * 64})
    merged = version("merged", link("merge", tuned, weight=0.75), foreign, license="MIT OR GPL-2.0-only")
    first = version("quant", link("quantize", merged), number=1)
    metadata = {
        "pipeline_tag": "text-generation",
        "library_name": "transformers",
        "datasets": ["c4", "wiki"],
        "tags": "small, fast",
        "model_type": "llama",
        "seed": 7,
    }
    last = version(
        "quant",
        link("resume", first),
        number=2,
        phase="polish",
        step=10,
        epoch=1.5,
        request_id="r-1",
        license="llama3.1",
        metadata=metadata,
        metrics={"loss": 0.25, "steps": 3},
        tensors=[TensorFacts("Q4_K", 2, 100)],
        files=[file("model.gguf", b"q", "gguf"), file("sub/ä b.txt", b"t")],
    )
    return subject(last, first, merged, tuned, base)


_NAMES = [ArtifactName(name) for name in ("hero", "org/hero", "a/b/c", "x_1.y-z")]
_REFERENCES = st.sampled_from(["hf://org/name@" + "A" * 40, "hf://name", "hf://a/b/c.gguf", "name:x", "http://x/y z"])
_PATHS = st.lists(
    st.sampled_from(["a", "b c", "-d", "ä/ö.gguf", "LICENSE", "x|y.bin"]), min_size=1, max_size=3, unique=True
)
_VALUES = text | numbers | st.lists(text, max_size=2) | st.just({"a": [None, True]})
_WORDS = st.sampled_from(["tags", "datasets", "language", "license_name", "pipeline_tag", "library_name", "seed"])


@st.composite
def _versions(draw, number):
    return VersionFacts(
        id=Digest.of(b"%d" % number),
        artifact=draw(st.sampled_from(_NAMES)),
        number=number,
        created=draw(st.integers(-(1 << 53) + 1, (1 << 53) - 1)),
        phase=draw(st.none() | labels),
        step=draw(st.none() | st.integers(0, 9)),
        epoch=draw(st.none() | numbers),
        license=draw(st.none() | labels | st.sampled_from(["mit", "MIT AND ISC", "LicenseRef-x", "GPL-3.0-or-later"])),
        metadata=draw(st.dictionaries(_WORDS | text, _VALUES, max_size=3)),
        metrics=draw(st.dictionaries(labels, numbers, max_size=2)),
        files=[file(path, path.encode()) for path in draw(_PATHS)],
        tensors=[TensorFacts(draw(text), 1, 2)],
    )


@st.composite
def subjects(draw) -> Subject:
    """A few versions with links among them, in rings too, and to what is not told"""
    told = [draw(_versions(number)) for number in range(1, draw(st.integers(1, 3)) + 1)]
    here = st.sampled_from([one.id for one in told]) | digests
    parents = st.builds(
        ParentFacts,
        st.sampled_from(Relation),
        _REFERENCES | labels,
        st.none() | here,
        st.none() | numbers,
        st.dictionaries(text, _VALUES, max_size=1),
        st.sampled_from([None, "hash", "tensors"]),
    )
    told = [dataclasses.replace(one, parents=draw(st.lists(parents, max_size=2))) for one in told]
    return subject(*told)
