"""Variants side by side: what is said of their sizes, and what becomes of a process that dies"""

import shutil
import sys

import pytest

from artifactstore import Store
from artifactstore.core.errors import Invalid
from artifactstore.derive.benchmark.measure import peak
from artifactstore.derive.benchmark.plot import check_plot
from artifactstore.derive.benchmark.run import benchmark
from artifactstore.derive.evaluate.tasks.passages import Passage
from tests.derive.evaluate.conftest import alone, llama  # noqa: F401  # fixtures
from tests.derive.evaluate.tiny import TEXT

pytest.importorskip("transformers")


@pytest.fixture
def store(tmp_path):
    with Store.init(str(tmp_path / "store")) as made:
        yield made


def test_bits_are_those_that_the_maker_counted(store, llama):  # noqa: F811
    store.add([llama], name="plain")
    parent = store.link("plain", "quantize")
    store.add([llama], name="less", metadata={"quantize": {"bits_per_weight": 4.5}}, parents=[parent])
    plain, less = benchmark(store, ["plain", "less"], passages=(Passage(TEXT[:300]),))
    assert plain.bits_per_weight == pytest.approx(32, rel=0.02)
    assert less.bits_per_weight == 4.5
    assert plain.baseline == less.baseline == "plain:1"
    assert (less.metrics["kl"], less.metrics["kl.top1"]) == (0, 1)
    assert dict(store.resolve("less").metrics) == less.metrics
    assert plain.params == 139_584
    assert plain.measured.reads > 0
    assert plain.measured.writes > 0


def test_one_of_them_is_what_others_were_made_of(store, llama):  # noqa: F811
    store.add([llama], name="end")
    store.add([llama], name="mixed", parents=[store.link("end", "merge")], metadata={"n": 1})
    store.add([llama], name="less", parents=[store.link("mixed", "quantize")], metadata={"n": 2})
    refs = ["mixed", "less"]
    assert {one.baseline for one in benchmark(store, refs, passages=(Passage(TEXT[:200]),))} == {"mixed:1"}


def test_what_is_wrong_is_said_with_the_name(store, llama, tmp_path):  # noqa: F811
    folder = shutil.copytree(llama, tmp_path / "copy")
    (folder / "config.json").write_text("{}")
    with pytest.raises(Invalid, match=r"copy: Its config\.json names no model_type"):
        list(benchmark(store, [str(folder)]))


@pytest.mark.skipif(sys.platform != "linux", reason="other systems tell it in other ways")
def test_the_most_memory_is_seen():
    before = peak()
    block = bytearray(before + (64 << 20))
    assert peak() >= len(block) > before


def test_a_picture_has_a_name_and_a_folder(tmp_path):
    check_plot(tmp_path / "a.PNG")
    with pytest.raises(Invalid, match="is no picture"):
        check_plot(tmp_path / "a.txt")
    with pytest.raises(Invalid, match="There is no folder"):
        check_plot(tmp_path / "no" / "a.png")
