"""artstore diff"""

import json
import math
import os

import pytest
import torch
from safetensors.torch import save_file

from tests.cli.calling import call, document, done, refused


@pytest.fixture
def tuned(place, store):
    """net:1 and net:2, whose first layer was trained a little more; the tensors of both"""
    torch.manual_seed(0)
    net = torch.nn.Sequential(torch.nn.Linear(64, 64), torch.nn.ReLU(), torch.nn.Linear(64, 8), torch.nn.Linear(8, 4))
    states = []
    for number in (1, 2):
        folder = place / f"net{number}"
        folder.mkdir()
        states.append({name: value.clone() for name, value in net.state_dict().items()})
        save_file(states[-1], folder / "model.safetensors")
        (folder / "config.json").write_text(json.dumps({"hidden": 64, "dropout": 0.1 * number}))
        done("add", folder, "--as", "net", "--step", number, "--metric", f"loss={1 / number}")
        net[2:].requires_grad_(False)
        optimizer = torch.optim.SGD(net[0].parameters(), lr=0.1)
        for _ in range(3):
            optimizer.zero_grad()
            net(torch.randn(32, 64)).square().mean().backward()
            optimizer.step()
    return states


def told(code, *arguments):
    """The JSON document of a command that ends with this code"""
    result = call(*arguments, "--json")
    assert (result.exit_code, result.stderr) == (code, "")
    return json.loads(result.stdout)


def test_a_finetune_is_told_by_how_far_each_tensor_moved(tuned):
    tensors = told(4, "diff", "net:1", "net:2", "--tensors")["tensors"]
    assert tensors["identical"] == 4
    assert [tensors[kind] for kind in ("added", "removed", "reshaped", "unread", "opaque")] == [[]] * 5
    distances = [one["rel_l2"] for one in tensors["changed"]]
    assert distances == sorted(distances, reverse=True)
    old, new = tuned
    for one in tensors["changed"]:
        before, after = (state[one["name"]].double() for state in (old, new))
        assert math.isclose(one["max_abs"], (after - before).abs().max(), rel_tol=1e-9)
        assert math.isclose(one["mean_abs"], (after - before).abs().mean(), rel_tol=1e-9)
        assert math.isclose(one["rel_l2"], (after - before).norm() / before.norm(), rel_tol=1e-9)
        assert math.isclose(one["cosine"], (after * before).sum() / before.norm() / after.norm(), rel_tol=1e-9)
    assert {one["name"] for one in tensors["changed"]} == {"0.weight", "0.bias"}


def test_a_person_sees_what_differs(tuned):
    result = call("diff", "net:1", "net:2", "--tensors")
    assert result.exit_code == 4
    lines = [line.split() for line in result.stdout.splitlines()]
    assert lines[0] == ["net:1", "→", "net:2"]
    assert ["label", "step", "1", "2"] in lines
    assert ["metric", "loss", "1.0", "0.5"] in lines
    assert ["config.json", "dropout", "0.1", "0.2"] in lines
    assert ["TENSOR", "DTYPE", "SHAPE", "REL", "L2", "MAX", "ABS", "MEAN", "ABS", "COSINE"] in lines
    assert ["0.weight", "F32", "64x64"] in [line[:3] for line in lines]
    assert result.stdout.endswith("Files: 2 changed\nTensors: 4 identical, 2 changed\n")


def test_without_reading_it_says_what_is_open(tuned):
    result = call("diff", "net:1", "net:2")
    assert result.stdout.endswith("Tensors: 6 not read; --tensors tells by how much\n")
    assert len(told(4, "diff", "net:1", "net:2")["tensors"]["unread"]) == 6


def test_a_version_and_itself(tuned):
    assert done("diff", "net:2", "net", "--tensors") == "net:2 → net:2\nNothing differs\n"
    assert document("diff", "net", "net")["equal"] is True
    assert done("diff", "net", "net", "-q") == ""


def test_quiet_is_the_paths_or_the_tensors(tuned):
    assert call("diff", "net:1", "net:2", "-q").stdout.split() == ["config.json", "model.safetensors"]
    assert call("diff", "net:1", "net:2", "-q", "--tensors").stdout.split() == ["0.bias", "0.weight"]


def test_versions_without_tensors(store, place):
    (place / "notes.txt").write_text("x")
    done("add", "notes.txt", "--as", "notes", "--license", "MIT", "--metric", "loss=0.5", "--step", "10")
    result = call("diff", "bert", "notes", "--tensors")
    assert result.exit_code == 4
    assert result.stdout.split("\n", 2)[2] == (
        "FILE         CHANGE       OLD  NEW\n"
        "notes.txt    added             1 B\n"
        "weights.bin  removed  10.2 kB\n"
        "\n"
        "Files: 1 added, 1 removed\n"
    )


def test_shapes_dtypes_and_what_cannot_be_compared(store, place):
    def add(number, tensors, **files):
        folder = place / str(number)
        folder.mkdir()
        save_file(tensors, folder / "model.safetensors")
        for name, content in files.items():
            torch.save(content, folder / f"{name}.pt")
        done("add", folder, "--as", "m")

    spoiled = torch.tensor([1.0, math.nan])
    add(1, {"cast": torch.ones(2), "grown": torch.ones(2, 3), "spoiled": torch.ones(2), "gone": torch.tensor(1)})
    add(2, {"cast": torch.ones(2).half(), "grown": torch.ones(4, 3), "spoiled": spoiled}, optimizer={"a": 1})
    result = call("diff", "m:1", "m:2", "--tensors")
    lines = [line.split() for line in result.stdout.splitlines()]
    assert ["spoiled", "F32", "2", "0", "0", "0", "1", "0", "→", "1"] in lines
    assert ["cast", "F32", "→", "F16", "2", "0", "0", "0", "1"] in lines
    assert ["grown", "reshaped", "F32", "2x3", "→", "4x3"] in lines
    assert ["gone", "removed", "I64", "scalar"] in lines
    assert "2 of another shape or dtype" in result.stdout
    assert "Tensors of optimizer.pt cannot be compared: format torch" in result.stdout
    assert "cannot be compared" not in call("diff", "m:1", "m:2").stdout


def test_long_lists_end_with_how_many_more(store, place):
    for number in (1, 2):
        folder = place / str(number)
        folder.mkdir()
        save_file({f"w{n:03}": torch.full((4,), float(n * number + 1)) for n in range(234)}, folder / "m.safetensors")
        (folder / "vocab.json").write_text(json.dumps({f"k{n}": n * number for n in range(20_001)}))
        done("add", folder, "--as", "m")
    result = call("diff", "m:1", "m:2", "--tensors")
    assert "… and 213 more, --json shows all" in result.stdout
    assert "… and 19,980 more, --json shows more" in result.stdout
    assert len(told(4, "diff", "m:1", "m:2", "--tensors")["tensors"]["changed"]) == 233
    (vocab,) = told(4, "diff", "m:1", "m:2")["config"]
    assert (len(vocab["changed"]), vocab["omitted"]) == (10_000, 10_000)


def test_values_too_long_for_a_line_are_cut_on_the_screen_alone(store, place):
    for number in (1, 2):
        (place / "a.json").write_text(json.dumps({"k": "\x1b" + "x" * 100 + str(number)}))
        done("add", "a.json", "--as", "m")
    result = call("diff", "m:1", "m:2")
    assert "x" * 100 not in result.stdout
    assert "\x1b" not in result.stdout
    (config,) = told(4, "diff", "m:1", "m:2")["config"]
    assert config["changed"][0]["new"] == "\x1b" + "x" * 100 + "2"


def test_a_damaged_tensor_ends_with_4_and_its_blob(tuned, store):
    path = max((path for path in (store / "blobs").rglob("*") if path.is_file()), key=os.path.getsize)
    path.chmod(0o644)
    path.write_bytes(b"\xff" * path.stat().st_size)
    assert refused(4, "diff", "net:1", "net:2", "--tensors").startswith(f"Blob {path.name[:12]} is corrupt")


def test_what_is_not_there(tuned):
    refused(3, "diff", "net:1", "net:7")
    refused(2, "diff", "net:1")
