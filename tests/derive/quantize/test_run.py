"""Quantizing a model of the store: what comes of it loads, and says where it comes from"""

import json

import pytest

from artifactstore.core.errors import Invalid, NotFound
from artifactstore.derive.quantize.levels import Level, Target
from artifactstore.derive.quantize.plan import plan
from artifactstore.derive.quantize.run import run
from artifactstore.ops.transfer.fetch import load_manifest

LIKE = {
    Level.FP16: 0.9999,
    Level.BF16: 0.9999,
    Level.FP8: 0.995,
    Level.INT8: 0.999,
    Level.Q4: 0.95,
    Level.Q3: 0.85,
    Level.Q2: 0.5,
}


@pytest.fixture
def quantized(store, tiny, tmp_path):
    """The plan, and the folder it was checked out to"""

    def make(kind, level, target, **changes):
        made = plan(store, str(tiny[kind]), level, target, changes.get("name", "small"))
        run(store.depot, made)
        store.checkout("small", tmp_path / "out")
        return made, tmp_path / "out"

    return make


# each level on one architecture, and the others at one with codes and one without
GPU = [*(("llama", level) for level in LIKE), *((kind, Level.Q4) for kind in ("qwen2", "full")), ("full", Level.FP16)]
CPU = [*(("llama", level) for level in LIKE if level is not Level.FP8), *((k, Level.Q4) for k in ("qwen2", "qwen3"))]


@pytest.mark.parametrize(("kind", "level"), GPU)
def test_transformers_loads_what_is_for_the_gpu(quantized, tiny, logits, likeness, kind, level):
    made, folder = quantized(kind, level, Target.GPU)
    assert likeness(logits(folder), logits(tiny[kind])) > LIKE[level]
    config = json.loads((folder / "config.json").read_bytes())
    assert ("quantization_config" in config) == (made.form.bits < 16 or level is Level.FP8)
    assert config["dtype"] == ("float16" if level is Level.FP16 else "bfloat16")


@pytest.mark.parametrize(("kind", "level"), [*CPU, ("full", Level.Q3)])
def test_transformers_loads_what_is_for_the_cpu(quantized, tiny, logits, likeness, kind, level):
    pytest.importorskip("gguf")
    _, folder = quantized(kind, level, Target.CPU)
    found = logits(folder, gguf_file="small.gguf")
    assert likeness(found, logits(tiny[kind])) > LIKE[level]


def test_the_version_says_what_it_is(store, tiny, tmp_path):
    store.add([tiny["llama"]], name="base", license="MIT")
    made = plan(store, "base", Level.Q4, Target.GPU, "small")
    report = run(store.depot, made)
    [parent] = store.show("small")["parents"]
    assert (parent["relation"], parent["ref"]) == ("quantize", "base:1")
    assert store.show("small")["license"] == "MIT"
    metadata = load_manifest(store.depot, report.committed.version.id).metadata
    assert metadata["quantize"] == {"level": "q4", "target": "gpu", "bits_per_weight": made.bits_per_weight}
    store.checkout("small", tmp_path / "out")
    weights = 2 * (2 * 256 * 256 + 2 * 128 * 256 + 3 * 512 * 256 + 512) + 2 * 384 * 256 + 256
    stored = sum(one.nbytes for one in made.product.made)
    assert made.bits_per_weight == round(stored * 8 / weights, 4)
    assert 0 < (tmp_path / "out" / "model.safetensors").stat().st_size - stored < 8000


def test_the_configuration_is_patched_and_not_written_anew(quantized, tiny):
    before = (tiny["llama"] / "config.json").read_text()
    _, folder = quantized("llama", Level.Q4, Target.GPU)
    after = (folder / "config.json").read_text()
    assert after.startswith(before.rstrip().removesuffix("}").rstrip())
    assert (folder / "generation_config.json").read_bytes() == (tiny["llama"] / "generation_config.json").read_bytes()


def test_once_more_it_is_the_same_version_and_nothing_is_made(store, tiny):
    first = run(store.depot, plan(store, str(tiny["llama"]), Level.Q4, Target.GPU, "small"))
    again = plan(store, str(tiny["llama"]), Level.Q4, Target.GPU, "small")
    assert again.known > 0.5 * sum(one.nbytes for one in again.product.made)
    second = run(store.depot, again)
    assert second.committed.version.id == first.committed.version.id
    assert second.new_bytes == 0


def test_the_plan_says_all_of_it(store, tiny):
    document = plan(store, str(tiny["full"]), Level.Q4, Target.GPU, "small").to_json()
    assert document["form"] == "compressed-tensors 4 bits"
    assert {one["dtype"]: one["tensors"] for one in document["types"]} == {"BF16": 7 + 14, "I32": 14, "I64": 14}
    assert document["known_bytes"] == 0
    assert document["notes"] == ["in groups of less than 128: 12, such as model.layers.0.mlp.gate_proj.weight (32)"]
    json.dumps(document)
    assert store.ls() == []


def changed(tiny, tmp_path, config=None, tensors=None, files=None):
    """A copy of the tiny model with keys of its configuration, tensors or files changed"""
    safetensors = pytest.importorskip("safetensors.torch")
    folder = tmp_path / "changed"
    folder.mkdir()
    document = json.loads((tiny["llama"] / "config.json").read_bytes()) | (config or {})
    (folder / "config.json").write_text(json.dumps(document))
    state = safetensors.load_file(tiny["llama"] / "model.safetensors") | (tensors or {})
    safetensors.save_file(state, folder / "model.safetensors")
    for name, raw in (files or {}).items():
        (folder / name).write_bytes(raw)
    return str(folder)


@pytest.mark.parametrize("target", [Target.GPU, Target.CPU])
def test_what_is_quantized_already_is_refused(store, tiny, tmp_path, target):
    torch = pytest.importorskip("torch")
    one = changed(tiny, tmp_path, {"quantization_config": {"quant_method": "gptq"}})
    with pytest.raises(
        Invalid, match=r"quantized already .its config.json says gptq.; take the model it was made from"
    ):
        plan(store, one, Level.Q4, target, "small")
    (tmp_path / "changed").rename(tmp_path / "first")
    two = changed(tiny, tmp_path, tensors={"model.layers.0.mlp.up_proj.qweight": torch.zeros(2, dtype=torch.int32)})
    with pytest.raises(Invalid, match=r"it holds model.layers.0.mlp.up_proj.qweight"):
        plan(store, two, Level.Q4, target, "small")


def test_other_models_that_cannot_be(store, tiny, tmp_path):
    (tmp_path / "pickled").mkdir()
    (tmp_path / "pickled" / "pytorch_model.bin").write_bytes(b"PK")
    with pytest.raises(Invalid, match="its weights are pickled"):
        plan(store, str(tmp_path / "pickled"), Level.Q4, Target.GPU, "small")
    with pytest.raises(NotFound, match="neither in the store nor a folder"):
        plan(store, "nobody", Level.Q4, Target.GPU, "small")
    with pytest.raises(Invalid, match="is an adapter; merge it into its base first"):
        plan(store, changed(tiny, tmp_path, files={"adapter_config.json": b"{}"}), Level.Q4, Target.GPU, "small")
    store.add([tiny["llama"]], name="base")
    with pytest.raises(Invalid, match="base is the model itself"):
        plan(store, "base", Level.Q4, Target.GPU, "base")


@pytest.mark.parametrize(
    ("config", "target", "said"),
    [
        ({"model_type": "gpt2"}, Target.GPU, "Weights of gpt2 lie the other way round"),
        ({"model_type": "gpt2"}, Target.CPU, "architecture 'gpt2' is not written here"),
        ({"hidden_size": None}, Target.CPU, "must say hidden_size as a positive integer, found None"),
        ({"rope_scaling": {"type": "dynamic"}}, Target.CPU, "Positions scaled by 'dynamic'"),
    ],
)
def test_architectures_that_a_target_does_not_know(store, tiny, tmp_path, config, target, said):
    config = {"rope_parameters": None} | config
    with pytest.raises(Invalid, match=said):
        plan(store, changed(tiny, tmp_path, config), Level.Q4, target, "small")


def test_a_tensor_without_a_place_is_named(store, tiny, tmp_path):
    torch = pytest.importorskip("torch")
    odd = changed(tiny, tmp_path, tensors={"model.vision.weight": torch.zeros(4, 4)})
    with pytest.raises(Invalid, match=r"'model.vision.weight' has no place in a GGUF of llama"):
        plan(store, odd, Level.Q4, Target.CPU, "small")


@pytest.mark.parametrize(
    ("level", "target", "value", "said"),
    [
        (Level.Q4, Target.GPU, float("nan"), "model.layers.1.mlp.up_proj.weight: .*not a number"),
        (Level.Q4, Target.CPU, float("inf"), "model.layers.1.mlp.up_proj.weight: .*not a number"),
        (Level.FP16, Target.GPU, 1e6, "model.layers.1.mlp.up_proj.weight: it holds 9.*more than fp16 can; choose bf16"),
    ],
)
def test_values_without_a_code_name_their_tensor_and_leave_nothing(store, tiny, tmp_path, level, target, value, said):
    torch = pytest.importorskip("torch")
    odd = torch.zeros(512, 256, dtype=torch.bfloat16)
    odd[400, 3] = value
    folder = changed(tiny, tmp_path, tensors={"model.layers.1.mlp.up_proj.weight": odd})
    with pytest.raises(Invalid, match=said):
        run(store.depot, plan(store, folder, level, target, "small"))
    assert store.ls() == []
