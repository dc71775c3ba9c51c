"""Tensors of a version come back as they were saved, verified as often as asked, wherever they lie"""

import dataclasses
import os
import subprocess
import sys
import threading
import time
import weakref
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from safetensors.torch import load_file, save_file

from artifactstore.core.digest import Digest
from artifactstore.core.errors import Corrupt, Invalid, NotFound, Unavailable
from artifactstore.core.settings import Settings
from artifactstore.store import Store
from artifactstore.tensors import mapping
from artifactstore.tensors.dtypes import TORCH, as_bytes, view_bytes
from artifactstore.tensors.engine import PlainEngine, parse_device
from artifactstore.tensors.handle import Handle
from artifactstore.tensors.opening import loading_of, open_plain, open_version
from artifactstore.tensors.pieces import of_folder
from tests.tensors.late import LateEngine, late, late_hashing
from tests.tensors.states import is_same, random_tensor

SETTLE = 2.1  # seconds until a file is old enough to be vouched for
SIZES = {"large": (17 << 20,), "middle": (1500, 1000), "small": (7,), "empty": (0, 3), "scalar": ()}


@pytest.fixture(scope="module")
def tensors():
    # F4 is tested apart, as safetensors' own writer does not know it everywhere
    kinds = {name: random_tensor(dtype, (33, 3)) for name, dtype in TORCH.items() if name != "F4"}
    sizes = {name: random_tensor(torch.float32, shape) for name, shape in SIZES.items()}
    return kinds | sizes | {f"tiny.{n}": random_tensor(torch.bfloat16, (n,), n) for n in range(1, 200)}


@pytest.fixture(scope="module")
def folder(tmp_path_factory, tensors):
    """The tensors in two files"""
    path = tmp_path_factory.mktemp("model")
    names = sorted(tensors)
    for part in range(2):
        save_file({name: tensors[name] for name in names[part::2]}, path / f"model-{part}.safetensors")
    return path


@pytest.fixture(scope="module")
def filled(tmp_path_factory, folder):
    path = tmp_path_factory.mktemp("filled")
    with Store.init(str(path / "store"), settings=Settings(attested=str(path / "attested.sqlite"))) as store:
        store.add([folder], name="m")
        yield store


CPU = torch.device("cpu")
GPU = pytest.param("cuda", marks=[pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")])
HOW = {}  # what the fixture `way` asks of loads


def reads_itself(path, into, offset):
    """What GPUDirect Storage does, on the CPU"""
    with open(path, "rb") as file:
        file.seek(offset)
        return file.readinto(view_bytes(into))


def straight(device):
    return PlainEngine(device, lambda flat: Digest.of(flat.numpy()), reader=reads_itself)


ENGINES = {
    "sent": PlainEngine,
    "sent late": late,
    "sent late, hashed there": late_hashing,
    "sent past the cache": lambda device: LateEngine(device, direct=True),
    "sent straight": straight,
}


@pytest.fixture(params=["mapped", "read", *ENGINES, GPU])
def way(request, monkeypatch):
    """All ways that tensors come: also as to a device, which is the CPU here, and to a GPU"""
    if request.param == "read":
        monkeypatch.setattr(mapping, "supported", lambda: False)
    elif request.param == "cuda":
        monkeypatch.setitem(HOW, "device", torch.device("cuda", 0))
    elif request.param != "mapped":
        monkeypatch.setitem(HOW, "engine_of", ENGINES[request.param])
    return request.param


def same(one, two):
    """The same tensors, bit by bit, in any order, wherever they are"""
    return is_same(*({name: tensor.cpu() for name, tensor in sorted(each.items())} for each in (one, two)))


def opened(store, verify="once", ref="m", **how):
    loading = dataclasses.replace(loading_of(store.depot.settings, verify), **HOW | how)
    return open_version(store.depot, store.resolve(ref).id, loading)


def blobs(store):
    return sorted((store.depot.blobs.root / "blobs").rglob("*.*"), key=lambda path: path.stat().st_size)


def spoil(path):
    """Change one bit in place"""
    path.chmod(0o644)
    with path.open("r+b") as file:
        file.seek(path.stat().st_size // 2)
        byte = file.read(1)[0]
        file.seek(-1, os.SEEK_CUR)
        file.write(bytes([byte ^ 1]))


@pytest.fixture
def spoiled(tmp_path, folder):
    """A store of its own whose largest blob is damaged, and that blob"""
    settings = Settings(attested=str(tmp_path / "attested.sqlite"))
    with Store.init(str(tmp_path / "store"), settings=settings) as store:
        store.add([folder], name="m")
        spoil(blobs(store)[-1])
        yield store, blobs(store)[-1].name.partition(".")[0]


@pytest.mark.usefixtures("way")
@pytest.mark.parametrize("verify", ["once", "always", "never"])
def test_every_tensor_comes_back(filled, tensors, verify):
    assert same(opened(filled, verify).load(), tensors)


@pytest.mark.usefixtures("way")
def test_plain_files_give_what_safetensors_gives(folder):
    for path in folder.iterdir():
        assert same(open_plain(path).load(), load_file(path))
    whole = open_plain(folder)
    assert same({name: whole.get_tensor(name) for name in whole.keys()}, whole.load())  # noqa: SIM118  # its own


@pytest.mark.usefixtures("way")
def test_memory_that_exists_is_filled(filled, tensors):
    into = {name: torch.empty_like(tensor, device=HOW.get("device")) for name, tensor in tensors.items()}
    addresses = {name: tensor.data_ptr() for name, tensor in into.items()}
    report = opened(filled, "always").load_into(into)
    assert same(into, tensors)
    assert {name: tensor.data_ptr() for name, tensor in into.items()} == addresses
    assert report.nbytes == sum(tensor.nbytes for tensor in tensors.values())
    assert set(report.verified) == {"hashed"}


@pytest.mark.usefixtures("way")
def test_tensors_belong_to_the_caller(filled, tensors):
    first = opened(filled).load(["middle"])["middle"]
    first.zero_()
    assert same(opened(filled, "always").load(["middle"]), {"middle": tensors["middle"]})


@pytest.mark.parametrize("way", ["mapped", "read", "sent late"], indirect=True)
@pytest.mark.usefixtures("way")
def test_a_file_is_hashed_once_for_the_machine(tmp_path, folder):
    settings = Settings(attested=str(tmp_path / "attested.sqlite"))
    with Store.init(str(tmp_path / "store"), settings=settings) as store:
        store.add([folder], name="m")
        time.sleep(SETTLE)
        reports = [opened(store, verify).load().report for verify in ("once", "once", "always", "never")]
        assert [set(report.verified) for report in reports] == [{"hashed"}, {"attested"}, {"hashed"}, {"none"}]
        spoil(blobs(store)[-1])
        with pytest.raises(Corrupt):
            opened(store).load()


def test_what_was_written_a_moment_ago_is_hashed_again(tmp_path, folder):
    settings = Settings(attested=str(tmp_path / "attested.sqlite"))
    with Store.init(str(tmp_path / "store"), settings=settings) as store:
        store.add([folder], name="m")
        path = blobs(store)[-1]
        opened(store).load()
        spoil(path)
        os.utime(path)
        with pytest.raises(Corrupt):
            opened(store).load()


def test_without_a_place_to_note_it_everything_is_hashed(filled, tensors):
    depot = dataclasses.replace(filled.depot, settings=Settings(attested="/dev/null/attested.sqlite"))
    for _ in range(2):
        loaded = open_version(depot, filled.resolve("m").id, loading_of(depot.settings)).load()
        assert set(loaded.report.verified) == {"hashed"}
    assert same(loaded, tensors)


@pytest.mark.usefixtures("way")
def test_damage_is_told_with_the_name_of_the_blob(spoiled, tensors):
    store, digest = spoiled
    with pytest.raises(Corrupt, match="artstore verify") as failed:
        opened(store).load()
    assert failed.value.facts["digest"] == digest
    with pytest.raises(Corrupt):
        opened(store).load_into({name: torch.empty_like(tensor) for name, tensor in tensors.items()})
    assert same(opened(store).load(["small", "tiny.3"]), {name: tensors[name] for name in ("small", "tiny.3")})


@pytest.mark.usefixtures("way")
def test_a_blob_that_is_gone_or_cut_short_is_told(tmp_path, folder):
    with Store.init(str(tmp_path / "store")) as store:
        store.add([folder], name="m")
        path = blobs(store)[-1]
        path.chmod(0o644)
        os.truncate(path, path.stat().st_size - 1)
        with pytest.raises(Corrupt):
            opened(store, "never").load()
        path.unlink(missing_ok=True)
        with pytest.raises(Corrupt, match="missing"):
            opened(store, "never").load()


@pytest.mark.parametrize("way", ["read", "sent late"], indirect=True)
@pytest.mark.usefixtures("way")
def test_from_another_place_every_blob_is_verified(s3_url, tmp_path, folder, tensors):
    with Store.init(s3_url, f"sqlite:///{tmp_path}/catalog.sqlite") as store:
        store.add([folder], name="m")
        loaded = opened(store, "never").load()
        assert set(loaded.report.verified) == {"hashed"}
        assert same(loaded, tensors)


def test_what_a_cache_has_is_mapped(s3_url, tmp_path, folder, tensors):
    settings = Settings(attested=str(tmp_path / "attested.sqlite"), cache=str(tmp_path / "cache"))
    with Store.init(s3_url, f"sqlite:///{tmp_path}/catalog.sqlite", settings=settings) as store:
        store.add([folder], name="m")
        first = opened(store).load()
        second = opened(store).load()
        assert same(first, tensors)
        assert same(second, tensors)
        assert first.report.reads > second.report.reads
        spoil(max((tmp_path / "cache").iterdir(), key=lambda path: path.stat().st_size))
        assert same(opened(store).load(), tensors)


@pytest.mark.usefixtures("way")
def test_parts_are_what_torch_says_they_are(filled, tensors):
    handle, whole = opened(filled), tensors["middle"]
    for cut in (slice(3, 900), slice(None, -1), (0, 1499, 1), (1, 100, 70), (-1, 0, 1000), (0, 5, 0)):
        wanted = whole[cut] if isinstance(cut, slice) else whole.narrow(*cut)
        assert same(handle.load(plan={"middle": cut}), {"middle": wanted.contiguous()})
    part = handle.get_slice("middle")
    assert (part.get_shape(), part.get_dtype(), part.dtype) == ([1500, 1000], "F32", torch.float32)
    for index in (slice(5, 9), (slice(5, 9), 3), (slice(None), slice(2, 4)), 7, -1, (7, 3), ...):
        assert same({"": part[index].contiguous()}, {"": whole[index].contiguous()})


@pytest.mark.usefixtures("way")
@pytest.mark.parametrize("verify", ["never", "always"])
def test_parts_that_lie_apart_come_together(filled, tensors, folder, verify):
    plan = {"middle": (1, 250, 5), "large": (0, 5 << 20, 3), "tiny.3": None, "tiny.90": None, "BF16": (1, 1, 1)}
    wanted = {name: tensors[name].narrow(*cut) if cut else tensors[name] for name, cut in plan.items()}
    wanted = {name: tensor.contiguous() for name, tensor in wanted.items()}
    assert same(opened(filled, verify).load(plan=plan), wanted)
    plain = Handle(of_folder(folder), dataclasses.replace(loading_of(Settings(), "never"), **HOW))
    assert same(plain.load(plan=plan), wanted)
    assert same(plain.load(list(tensors)[::2]), {name: tensors[name] for name in list(tensors)[::2]})


@pytest.mark.usefixtures("way")
def test_equal_tensors_are_tensors_of_their_own(tmp_path):
    state = {name: torch.ones(3 << 20) for name in "abc"} | {name: torch.ones(5) for name in "de"}
    save_file({name: tensor.clone() for name, tensor in state.items()}, tmp_path / "m.safetensors")
    with Store.init(str(tmp_path / "store"), settings=Settings(attested=str(tmp_path / "attested"))) as store:
        store.add([tmp_path / "m.safetensors"], name="m")
        found = opened(store).load()
        found["a"].add_(1)
        found["d"].add_(1)
        assert same({name: found[name] for name in "bce"}, {name: state[name] for name in "bce"})


@pytest.mark.usefixtures("way")
def test_inference_mode_changes_nothing(filled, tensors):
    with torch.inference_mode():
        assert same(opened(filled, "always").load(), tensors)
        into = {name: torch.empty_like(tensor, device=HOW.get("device")) for name, tensor in tensors.items()}
    opened(filled).load_into(into)
    assert same(into, tensors)


@pytest.mark.usefixtures("way")
def test_torch_is_told_of_what_is_filled(filled, tensors):
    into = {name: torch.empty_like(tensors[name], device=HOW.get("device")) for name in ("small", "large")}
    before = {name: tensor._version for name, tensor in into.items()}
    opened(filled).load_into(into, strict=False)
    assert all(tensor._version > before[name] for name, tensor in into.items())


@pytest.mark.usefixtures("way")
def test_few_files_may_be_open(filled, tensors):
    import resource

    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    opened(filled, "never").load(["small"])
    used = len(os.listdir("/proc/self/fd"))
    resource.setrlimit(resource.RLIMIT_NOFILE, (used + 12, before[1]))
    try:
        found = opened(filled, "always").load()
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)
    assert same(found, tensors)


def test_what_is_loaded_can_be_read_until_the_very_end(filled):
    """Also by what runs at exit after this library's own"""
    code = f"""
import atexit
kept = {{}}
atexit.register(lambda: print(float(kept["t"].float().sum())))
from artifactstore import Store
kept["t"] = Store.open({str(filled.depot.blobs.root)!r}).load("m", names=["small"])["small"]
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (done.returncode, bool(done.stdout)) == (0, True), done.stderr


@pytest.mark.usefixtures("way")
def test_what_asks_for_nothing_gets_nothing(filled):
    handle = opened(filled)
    assert handle.load(plan={}) == handle.load(names=[]) == handle.load(names=["small"], plan={}) == {}
    assert list(handle.stream([])) == []
    with handle.prefetch({}) as coming:
        assert list(coming) == []
        assert coming.report().tensors == 0


def test_what_is_no_plan_is_refused(filled):
    handle = opened(filled)
    for wrong in ({"small": 3}, {"small": [0, 1]}, ["small"], "small"):
        for ask in (lambda plan: handle.load(plan=plan), handle.prefetch):
            with pytest.raises(Invalid):
                ask(wrong)
    with pytest.raises(Invalid, match="several strings"):
        handle.load("small")


def test_only_the_bytes_of_a_part_are_read(filled):
    report = opened(filled, "never").load(plan={"large": (0, 1 << 20, 1 << 20), "middle": (1, 0, 1)}).report
    assert report.nbytes == (4 << 20) + 1500 * 4
    assert report.read_bytes < 10 << 20


@pytest.mark.skipif(not os.path.exists("/proc/self/smaps_rollup"), reason="the system does not tell")
def test_workers_of_a_host_share_the_memory_of_what_they_load(filled):
    """No process has a copy of its own: what is mapped is the file's, which all of them see"""

    def own():
        with open("/proc/self/smaps_rollup") as file:
            return sum(int(line.split()[1]) for line in file if line.startswith("Anonymous:"))

    opened(filled).load()
    before = own()
    found = opened(filled).load()
    assert all(as_bytes(tensor)[::1024].sum() >= 0 for tensor in found.values() if tensor.numel())
    assert own() - before < found.report.nbytes // 1024 // 10


class Full(PlainEngine):
    """A device with little room"""

    def free(self):
        return 72 << 20


class TestDevice:
    def test_what_has_no_room_is_told_before_anything_is_made(self, filled):
        with pytest.raises(Unavailable, match=r"need 77\.\d MB and .* on cpu: 75\.5 MB are free") as failed:
            opened(filled, engine_of=Full).load()
        assert failed.value.facts["nbytes"] > 71 << 20
        assert opened(filled, engine_of=Full).load(["small"])
        with pytest.raises(Unavailable):
            opened(filled, engine_of=Full).prefetch()

    def test_what_becomes_larger_has_no_room_though_its_bytes_have(self, filled):
        assert opened(filled, engine_of=Full).load(["middle"])
        larger = opened(filled, engine_of=Full, dtype=torch.float64)
        for ask in (larger.load, lambda names: larger.prefetch(dict.fromkeys(names))):
            with pytest.raises(Unavailable, match=r"need 18\.0 MB and 67\.1 MB for copies"):
                ask(["middle"])

    def test_tensors_become_another_dtype_where_they_are_of_floating_point(self, filled, tensors):
        for found in (
            opened(filled, dtype=torch.float16).load(),
            opened(filled, dtype=torch.float16, engine_of=PlainEngine).load(),
            dict(opened(filled, dtype=torch.float16).stream()),
        ):
            wanted = {name: t.to(torch.float16) if t.is_floating_point() else t for name, t in tensors.items()}
            assert same(found, wanted)

    def test_a_device_that_is_none_or_not_there_is_told(self):
        for wrong in ("gpu", "meta"):
            with pytest.raises(Invalid):
                parse_device(wrong)
        with pytest.raises(Unavailable, match="There is no"):
            parse_device("cuda:99")
        with pytest.raises(Invalid, match="floating point"):
            loading_of(Settings(), dtype=torch.int8)

    def test_memory_on_several_devices_is_filled_at_once(self, filled, tensors):
        """`meta` has none, so those come to be where it is said"""
        into = {"large": torch.empty_like(tensors["large"]), "middle": torch.empty(1500, 1000, device="meta")}
        opened(filled, engine_of=PlainEngine).load_into(into, strict=False)
        assert same(into, {name: tensors[name] for name in into})


def test_names_that_are_not_there_are_told(filled, tmp_path):
    with pytest.raises(Invalid, match="none, nothing"):
        opened(filled).load(["none", "small", "nothing"])
    with pytest.raises(Invalid, match="verify is one of"):
        opened(filled, "sometimes")
    with pytest.raises(NotFound, match="no safetensors"):
        open_plain(tmp_path)


@pytest.mark.usefixtures("way")
class TestPrefetch:
    def test_tensors_are_taken_by_name_and_as_they_come(self, filled, tensors):
        with opened(filled).prefetch() as coming:
            first = {name: coming.take(name) for name in ("scalar", "large", "empty")}
            rest = dict(coming)
            assert same(first | rest, tensors)
            assert coming.report().nbytes == sum(tensor.nbytes for tensor in tensors.values())
        assert same(dict(opened(filled).stream()), tensors)
        assert same(dict(opened(filled).stream(["small"])), {"small": tensors["small"]})

    def test_each_is_taken_once(self, filled):
        with opened(filled).prefetch({"small": None}) as coming:
            coming.take("small")
            for name in ("small", "large"):
                with pytest.raises(Invalid, match="taken already"):
                    coming.take(name)
            assert list(coming) == []

    def test_a_rank_gets_its_part(self, filled, tensors):
        plan = {"middle": (1, 250, 250), "large": slice(0, 100), "small": None}
        with opened(filled).prefetch(plan, threads=2) as coming:
            found = dict(coming)
        wanted = {"middle": tensors["middle"][:, 250:500], "large": tensors["large"][:100], "small": tensors["small"]}
        assert same(found, {name: part.contiguous() for name, part in wanted.items()})

    def test_whoever_waits_is_told_of_damage(self, spoiled):
        store, digest = spoiled
        with opened(store).prefetch() as coming:
            with pytest.raises(Corrupt) as failed:
                coming.take("large")
            assert failed.value.facts["digest"] == digest
            with pytest.raises(Corrupt):
                dict(coming)
            with pytest.raises(Corrupt):
                coming.report()

    def test_what_nobody_takes_any_more_is_not_read(self, filled):
        before = threading.active_count()
        with opened(filled, "always").prefetch(threads=1):
            pass
        assert threading.active_count() == before

    def test_nothing_is_held_that_was_taken_or_left(self, filled):
        with opened(filled).prefetch() as coming:
            large = weakref.ref(coming.take("large").untyped_storage())
            coming.report()
            assert large() is None
        with opened(filled).prefetch() as coming:
            left = [weakref.ref(tensor.untyped_storage()) for tensor in coming._tensors.values()]
        with pytest.raises(Invalid, match="taken already"):
            coming.take("large")
        assert not any(one() for one in left)

    def test_of_two_takers_one_is_told(self, filled):
        with opened(filled).prefetch() as coming, ThreadPoolExecutor(8) as takers:
            found = [takers.submit(coming.take, "large") for _ in range(8)]
            assert sum(one.exception() is None for one in found) == 1
            assert all(isinstance(one.exception(), Invalid | None) for one in found)

    def test_a_plan_is_checked_before_anything_is_read(self, filled):
        with pytest.raises(Invalid, match="no tensors named none"):
            opened(filled).prefetch({"none": None})
