"""Bundles applied: each version whole or not at all, only what is missing, gone on with wherever it was cut off"""

import random
import shutil
import subprocess
import sys
from collections import Counter

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from artifactstore.bundles import alias_prefix, applying
from artifactstore.core.bundle import Holdings
from artifactstore.core.errors import Corrupt, NotFound, Refused, StoreError
from artifactstore.core.settings import Settings
from artifactstore.ops import bundle
from artifactstore.ops.sync import Naming
from artifactstore.ops.transfer.bundled import open_bundle
from artifactstore.ops.transfer.signature import Signer
from artifactstore.store import Store
from tests.crash.harness import points, run
from tests.keys import make_pair
from tests.ops.trees import contents

MIB = 1 << 20
SMALL = Settings(landing=4 * MIB)


@pytest.fixture
def model(tmp_path):
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "data.bin").write_bytes(random.Random(0).randbytes(14 * MIB))
    (folder / "config.json").write_text('{"hidden_size": 8}')
    return folder


@pytest.fixture
def source(tmp_path, model):
    with Store.init(str(tmp_path / "source")) as source:
        source.add([model], name="hero", aliases=["prod"], metrics={"loss": 0.5}, license="MIT")
        (model / "config.json").write_text('{"hidden_size": 9}')
        source.add([model], name="hero", parents=[source.link("hero:1", "finetune")])
        yield source


@pytest.fixture
def target(tmp_path):
    with Store.init(str(tmp_path / "target"), settings=SMALL) as target:
        yield target


def make(source, path, *refs, have=None, part=None, signer=None):
    plan = bundle.plan(source.depot, [source.resolve(ref) for ref in refs], path, have=have, part=part)
    bundle.run(source.depot, plan, signer=signer)
    return path


def apply(target, path, **options):
    with applying(target.depot, path, **options) as work:
        return work.run()


def refs(store):
    return sorted(info.ref for info in store.depot.catalog.versions.list())


@pytest.mark.parametrize("part", [None, 3 * MIB])
def test_what_was_carried_is_there_bit_for_bit(source, target, model, tmp_path, part):
    make(source, tmp_path / "april.tar", "hero:1", "hero:2", part=part)
    report = apply(target, tmp_path / "april.tar")
    assert [one.ref for one in report.versions] == ["hero:1", "hero:2"]
    assert target.resolve("hero@april/prod").metrics == {"loss": 0.5}
    target.checkout("hero:2", tmp_path / "out")
    assert contents(tmp_path / "out") == contents(model)
    assert not target.verify().damaged
    (link,) = target.depot.catalog.versions.parents(target.resolve("hero:2").id)
    assert link.parent == target.resolve("hero:1").id


def test_a_second_time_moves_nothing(source, target, tmp_path):
    make(source, tmp_path / "x.tar", "hero:1", "hero:2")
    first = apply(target, tmp_path / "x.tar")
    serial = target.depot.catalog.journal.head()
    assert first.nbytes > 10 * MIB
    again = apply(target, tmp_path / "x.tar")
    assert (again.versions, again.blobs, again.nbytes) == ((), 0, 0)
    assert target.depot.catalog.journal.head() == serial


def files(folder):
    """Without the memory that readers of SQLite share"""
    return {name: data for name, data in contents(folder).items() if not name.endswith("-shm")}


def test_the_plan_says_what_would_come_and_changes_nothing(source, target, tmp_path):
    make(source, tmp_path / "x.tar", "hero:1", "hero:2")
    before = files(tmp_path / "target")
    with applying(target.depot, tmp_path / "x.tar") as work:
        document = work.to_json()
    assert [one["ref"] for one in document["versions"]] == ["hero:1", "hero:2"]
    assert document["aliases"][0]["alias"] == "x/prod"
    assert (document["held"], document["signature"]["state"]) == (0, "none")
    assert files(tmp_path / "target") == before
    assert refs(target) == []


@pytest.mark.parametrize(("naming", "alias"), [(Naming(), "prod"), (Naming("studio"), "studio/prod")])
def test_aliases_arrive_as_they_are_asked_for(source, target, tmp_path, naming, alias):
    apply(target, make(source, tmp_path / "x.tar", "hero:1"), naming=naming)
    assert target.resolve("hero").aliases == (alias,)


@pytest.mark.parametrize(
    ("name", "prefix"),
    [("april.tar", "april"), ("a b!c.v2.tar.001", "a-b-c"), (".x.tar", "x"), ("…", "bundle"), ("2026", "2026")],
)
def test_aliases_stand_under_the_name_of_the_file(tmp_path, name, prefix):
    assert alias_prefix(tmp_path / name) == prefix


class TestDelta:
    def test_it_brings_the_rest_of_what_is_there(self, source, target, model, tmp_path):
        apply(target, make(source, tmp_path / "x.tar", "hero:1"))
        have = Holdings.parse("".join(bundle.holdings(target.depot).lines()).encode())
        path = make(source, tmp_path / "d.tar", "hero:2", have=have)
        assert path.stat().st_size < 20_000
        assert apply(target, path).nbytes < 5000
        target.checkout("hero:2", tmp_path / "out")
        assert contents(tmp_path / "out") == contents(model)

    def test_where_its_base_is_missing_it_names_that(self, source, target, tmp_path):
        have = Holdings("ab" * 16, (source.resolve("hero:1").id,))
        path = make(source, tmp_path / "d.tar", "hero:2", have=have)
        with pytest.raises(NotFound, match=r"counts on blobs of hero:1 \([0-9a-f]{12}\), which are not here") as caught:
            apply(target, path)
        assert caught.value.facts["versions"] == [str(source.resolve("hero:1").id)]
        assert refs(target) == []


class TestTrust:
    def test_only_what_a_trusted_key_signed_is_taken(self, source, target, tmp_path):
        private, public = make_pair(tmp_path, "studio")
        other = make_pair(tmp_path, "other")[1]
        plain = make(source, tmp_path / "plain.tar", "hero:1")
        signed = make(source, tmp_path / "signed.tar", "hero:1", signer=Signer(private))
        for path, trusted in ((plain, public), (signed, other)):
            with pytest.raises(Refused):
                apply(target, path, trusted=trusted)
        assert refs(target) == []
        with applying(target.depot, signed, trusted=public) as work:
            assert work.to_json()["signature"] == {
                "state": "valid", "key": work.bundle.signature.key, "by": "studio.pem",
            }  # fmt: skip
            work.run()
        assert refs(target) == ["hero:1"]

    def test_an_alias_moved_after_signing_is_found(self, source, target, tmp_path):
        private, public = make_pair(tmp_path, "studio")
        path = make(source, tmp_path / "x.tar", "hero:1", signer=Signer(private))
        path.write_bytes(path.read_bytes().replace(b'"alias":"prod"', b'"alias":"test"'))
        with pytest.raises(Corrupt, match=r"not what studio\.pem signed"):
            apply(target, path, trusted=public)

    def test_the_tool_of_the_library_verifies_what_was_unpacked(self, source, tmp_path):
        private, public = make_pair(tmp_path, "studio")
        path = make(source, tmp_path / "x.tar", "hero:1", "hero:2", signer=Signer(private))
        (tmp_path / "out").mkdir()
        subprocess.run(["tar", "xf", path, "-C", tmp_path / "out"], check=True)
        tool = [sys.executable, "-m", "model_signing", "verify", "key", tmp_path / "out"]
        tool += ["--signature", tmp_path / "out/bundle.sig", "--public_key", public]
        assert subprocess.run(tool, capture_output=True).returncode == 0
        manifest = next((tmp_path / "out/manifests").rglob("*.json"))
        manifest.chmod(0o644)
        manifest.write_bytes(manifest.read_bytes() + b" ")
        assert subprocess.run(tool, capture_output=True).returncode != 0


def test_a_signed_bundle_is_finished_and_left_alone_like_any(source, tmp_path):
    signer = Signer(make_pair(tmp_path, "studio")[0])
    path = make(source, tmp_path / "x.tar", "hero:1", signer=signer)
    before = path.read_bytes()
    make(source, path, "hero:1", signer=signer)
    assert path.read_bytes() == before
    for other in (None, Signer(make_pair(tmp_path, "other")[0])):
        with pytest.raises(Refused, match="other content"):
            make(source, path, "hero:1", signer=other)


@pytest.mark.parametrize("part", [None, 1000, 100_000])
def test_a_piece_of_a_signature_is_signed_anew(source, tmp_path, part):
    private, public = make_pair(tmp_path, "studio")
    small = tmp_path / "small"
    small.write_bytes(b"small" * 10_000)
    source.add([small], name="small")
    whole = make(source, tmp_path / "whole.tar", "small", signer=Signer(private)).read_bytes()
    plain = make(source, tmp_path / "plain.tar", "small").stat().st_size - 1024
    for keep in (plain, plain + 700, plain + 2000, len(whole) - 1024, len(whole) - 1):
        for path in tmp_path.glob("x.tar*"):
            path.unlink()
        size = part or len(whole) + 1
        for number, start in enumerate(range(0, keep, size), 1):
            name = f"x.tar.{number:03d}" if part else "x.tar"
            ending = "" if start + size <= keep else ".part"
            (tmp_path / f"{name}{ending}").write_bytes(whole[start : min(start + size, keep)])
        make(source, tmp_path / "x.tar", "small", part=part, signer=Signer(private))
        with open_bundle(tmp_path / "x.tar", public) as found:
            assert found.signature.state == "valid"
        assert not list(tmp_path.glob("x.tar*.part"))


def test_a_version_that_was_let_go_here_comes_back(source, target, model, tmp_path):
    path = make(source, tmp_path / "x.tar", "hero:1", "hero:2")
    apply(target, path)
    target.depot.catalog.retirements.retire({target.resolve("hero:2").id: "old"})
    assert refs(target) == ["hero:1"]
    report = apply(target, path)
    assert [one.ref for one in report.versions] == ["hero:2"]
    target.checkout("hero:2", tmp_path / "out")
    assert contents(tmp_path / "out") == contents(model)


def action(url, path):
    def work(monitor):
        with Store.open(url, settings=SMALL, monitor=monitor) as store:
            return str(apply(store, path).nbytes)

    return work


def test_killed_anywhere_it_goes_on_and_ends_the_same(source, target, model, tmp_path):
    path = make(source, tmp_path / "x.tar", "hero:1", "hero:2")
    url = target.depot.blobs.url
    target.close()
    fresh = tmp_path / "fresh"
    shutil.copytree(url, fresh)
    seen = run(action(url, path))
    total = int(seen.answer)
    places = [point for point in points(seen) if point[0].split(".")[0] in {"carry", "save", "repair"}]
    for step, number in places[::2]:
        shutil.rmtree(url)
        shutil.copytree(fresh, url)
        assert run(action(url, path), die_at=(step, number)).killed
        with Store.open(url) as store:
            for one in refs(store):
                store.checkout(one, tmp_path / "peek", force=True)
            assert not store.verify().damaged
        assert int(run(action(url, path)).answer) <= total
        with Store.open(url) as store:
            assert refs(store) == ["hero:1", "hero:2"]
            assert store.resolve("hero:1").aliases == ("x/prod",)
            shutil.rmtree(tmp_path / "out", ignore_errors=True)
            store.checkout("hero:2", tmp_path / "out")
        assert contents(tmp_path / "out") == contents(model)


def test_what_landed_before_a_kill_is_not_brought_again(source, target, tmp_path):
    path = make(source, tmp_path / "x.tar", "hero:1")
    url = target.depot.blobs.url
    target.close()
    landings = Counter(run(action(url, path)).steps)["carry.land.after"]
    assert landings >= 2
    with Store.init(str(tmp_path / "second"), settings=SMALL) as second:
        url = second.depot.blobs.url
    assert run(action(url, path), die_at=("carry.land.after", landings - 1)).killed
    with Store.open(url) as store, applying(store.depot, path) as work:
        left = work.plan.carry.nbytes
    assert int(run(action(url, path)).answer) == left < 12 * MIB


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=40)
@given(data=st.data(), change=st.integers(1, 255))
def test_a_changed_byte_is_told_and_changes_nothing(source, target, tmp_path, data, change):
    path = tmp_path / "x.tar"
    small = tmp_path / "small"
    if not path.exists():
        small.write_bytes(b"small" * 100)
        source.add([small], name="small", aliases=["prod"], metrics={"loss": 0.5})
        make(source, path, "small")
    raw = path.read_bytes()
    at = data.draw(st.integers(0, len(raw) - 1))
    spoiled = tmp_path / "spoiled.tar"
    spoiled.write_bytes(raw[:at] + bytes([raw[at] ^ change]) + raw[at + 1 :])
    with pytest.raises(StoreError):
        apply(target, spoiled)
    assert refs(target) == []
    assert list(target.depot.catalog.aliases.list()) == []
