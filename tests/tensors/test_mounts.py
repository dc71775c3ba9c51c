"""File systems of other machines and programs are told apart from disks; files there are read, never mapped"""

import shutil

import pytest
import torch
from safetensors.torch import save_file

from artifactstore.tensors import mapping, mounts
from artifactstore.tensors.opening import open_plain
from tests.faults.disks import strict_disk, unsupported


@pytest.fixture
def far(tmp_path):
    if reason := unsupported("strict", tmp_path):
        pytest.skip(reason)
    shutil.rmtree(tmp_path / "strict", ignore_errors=True)
    with strict_disk(tmp_path) as disk:
        yield disk.point


@pytest.mark.skipif(not mapping.supported(), reason="nothing is mapped here anyway")
def test_files_of_another_program_are_read(tmp_path, far):
    tensors = {"w": torch.arange(3 << 20)}
    save_file(tensors, tmp_path / "m.safetensors")
    shutil.copy(tmp_path / "m.safetensors", far / "m.safetensors")
    assert mounts.remote({tmp_path.stat().st_dev, far.stat().st_dev}) == {far.stat().st_dev}
    here, there = (open_plain(folder / "m.safetensors").load() for folder in (tmp_path, far))
    assert here.report.reads == 0 < there.report.reads
    assert torch.equal(there["w"], tensors["w"])
