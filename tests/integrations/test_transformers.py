"""transformers: what users of the Trainer see of checkpoints in a store"""

import logging
import re
import resource
from pathlib import Path

import pytest
import torch

from artifactstore import Best, Latest, Store
from artifactstore.core.errors import Invalid, NotFound
from tests.house.tree import ROOT

transformers = pytest.importorskip("transformers")
pytest.importorskip("accelerate")

from accelerate.state import PartialState  # noqa: E402
from accelerate.utils import DistributedType  # noqa: E402
from transformers import GPT2Config, GPT2LMHeadModel, Trainer, TrainerCallback, TrainingArguments  # noqa: E402

from artifactstore.integrations.pretrained import from_pretrained, small_files  # noqa: E402
from artifactstore.integrations.transformers import StoreCallback  # noqa: E402


def gpt(**options):
    torch.manual_seed(0)
    sizes = {"vocab_size": 64, "n_positions": 16, "n_embd": 16, "n_layer": 2, "n_head": 2} | options
    return GPT2LMHeadModel(GPT2Config(**sizes, bos_token_id=1, eos_token_id=2))


class Texts(torch.utils.data.Dataset):
    def __len__(self):
        return 16

    def __getitem__(self, number):
        tokens = torch.randint(0, 64, (8,), generator=torch.Generator().manual_seed(number))
        return {"input_ids": tokens, "labels": tokens}


class Stop(TrainerCallback):
    def __init__(self, step):
        self.step = step

    def on_step_end(self, args, state, control, **_):
        control.should_training_stop = state.global_step == self.step


@pytest.fixture
def trainer(tmp_path):
    """A trainer of 8 steps, 4 an epoch"""

    def make(model, *callbacks, **options):
        said = {
            "save_strategy": "steps",
            "save_steps": 3,
            "eval_strategy": "steps",
            "eval_steps": 3,
            "logging_steps": 2,
        }
        quiet = {"report_to": [], "use_cpu": True, "disable_tqdm": True, "seed": 1}
        steps = {"per_device_train_batch_size": 4, "num_train_epochs": 2, "learning_rate": 1e-2}
        args = TrainingArguments(str(tmp_path / "out"), **{**said, **quiet, **steps, **options})
        return Trainer(model, args, train_dataset=Texts(), eval_dataset=Texts(), callbacks=list(callbacks))

    return make


def same(one, other):
    states = one.state_dict(), other.state_dict()
    return states[0].keys() == states[1].keys() and all(
        torch.equal(states[0][name], states[1][name]) for name in states[0]
    )


def plain(history):
    """What of a log does not tell the time"""
    kept = [{k: v for k, v in row.items() if not k.endswith(("_runtime", "_per_second", "_flos"))} for row in history]
    return [row for row in kept if "train_loss" not in row]


@pytest.mark.parametrize("wait", [True, False])
def test_a_resumed_run_ends_as_one_that_was_never_stopped(managed, trainer, versions, tmp_path, wait, caplog):
    ended = trainer(gpt(), save_strategy="no", metric_for_best_model="loss")
    ended.train()
    options = {"best": "eval_loss", "background": "process"}
    stopped = StoreCallback(managed(**options), wait=wait)
    trainer(gpt(), stopped, Stop(6), metric_for_best_model="loss").train()
    callback, model = StoreCallback(managed(**options), wait=wait), gpt()
    model.transformer.wte.weight.data.zero_()
    again = trainer(model, callback, metric_for_best_model="loss")
    torch.rand(5)
    logging.getLogger("transformers").propagate = True
    with callback.resume("job@latest") as folder:
        assert sum(path.stat().st_size for path in Path(folder).iterdir()) < 1e5
        again.train(resume_from_checkpoint=folder)
    assert "missing keys" not in caplog.text
    assert again.state.global_step == 8
    assert same(model, ended.model)
    assert plain(again.state.log_history) == plain(ended.state.log_history)
    measured = [step for _, step, metrics, *_ in versions() if metrics]
    assert (again.state.best_metric, again.state.best_global_step) == (ended.state.best_metric, measured[-1])
    first = managed().restore_checkpoint("job:1")["state"]["trainer"]
    assert (first["best_global_step"], first["best_metric"]) == (3, pytest.approx(versions()[0][2]["eval_loss"], 1e-3))
    rows = versions()
    assert [(step, parents) for _, step, _, _, parents in rows] == [
        (3, []),
        (6, [("resume", "job:1")]),
        (8, [("resume", "job:2")]),
    ]
    # some releases evaluate at the end, too
    assert all(metrics.keys() == {"eval_loss"} for _, step, metrics, *_ in rows if step != 8)
    assert "best" in (rows[-1] if rows[-1][2] else rows[-2])[3]
    assert not list(tmp_path.glob("out/checkpoint-*"))


def test_the_policy_says_what_stays(managed, trainer, versions):
    manager = managed(best="eval_loss:max", policy=Latest(2) | Best(1, "eval_loss", "max"))
    trainer(gpt(), StoreCallback(manager), save_steps=1, eval_steps=1).train()
    rows = versions()
    assert [step for _, step, *_ in rows] == [1, 7, 8]
    assert rows[0][3] == ["best"]


@pytest.mark.parametrize(
    ("options", "saved"),
    [
        ({"save_strategy": "epoch", "eval_strategy": "epoch", "logging_strategy": "epoch"}, [(4, True), (8, True)]),
        ({"save_strategy": "epoch", "eval_strategy": "no", "logging_strategy": "no"}, [(4, False), (8, False)]),
        ({"save_steps": 4, "eval_steps": 8, "logging_steps": 4}, [(4, False), (8, True)]),
        (
            {
                "save_strategy": "epoch",
                "eval_strategy": "no",
                "logging_strategy": "epoch",
                "logging_first_step": True,
                "per_device_train_batch_size": 16,
            },
            [(1, False), (2, False)],
        ),
    ],
)
def test_the_arguments_say_when_and_metrics_are_of_that_step(managed, trainer, versions, options, saved):
    manager = managed()
    trainer(gpt(), StoreCallback(manager), **options).train()
    assert [(step, "eval_loss" in metrics) for _, step, metrics, *_ in versions()] == saved
    logged = manager.restore_checkpoint("job:1")["state"]["trainer"]["log_history"]
    assert [row["step"] for row in logged if "loss" in row] == (
        [] if options.get("logging_strategy") == "no" else [saved[0][0]]
    )


def test_only_the_model_is_saved_when_only_that_is_asked_for(managed, trainer, place):
    callback, model = StoreCallback(managed()), gpt()
    trainer(model, callback, save_only_model=True).train()
    with Store.open(place) as store:
        assert "optimizer.safetensors" not in {file["path"] for file in store.show("job")["files"]}
        assert same(from_pretrained(GPT2LMHeadModel, store, "job"), model)
    again = trainer(gpt(), callback)
    with callback.resume("job@latest") as folder, pytest.raises(Invalid, match=r"optimizer.* is missing"):
        again.train(resume_from_checkpoint=folder)


def test_what_cannot_be_resumed_is_told(managed, trainer, place):
    manager = managed()
    manager.save_checkpoint({"state": {"model": gpt()}})
    callback = StoreCallback(manager)
    with pytest.raises(NotFound), callback.resume("job@none"):
        pass
    with pytest.raises(Invalid, match=r"job:1 was saved by something else; transformers resumes its own"):
        callback.resume("job@latest").__enter__()
    trainer(gpt(), callback, Stop(3)).train()
    with (
        callback.resume("job@latest") as folder,
        pytest.raises(Invalid, match=r"has shape \[64, 8\], saved was \[64, 16\]"),
    ):
        trainer(gpt(n_embd=8), callback).train(resume_from_checkpoint=folder)
    with pytest.raises(Invalid, match="CheckpointManager, found a str"):
        StoreCallback(place)


def test_what_only_files_of_the_trainer_could_do_is_refused(managed, trainer):
    for options in ({"load_best_model_at_end": True}, {"save_strategy": "best", "metric_for_best_model": "loss"}):
        with pytest.raises(Invalid, match="Trainer's best model is one of its own files"):
            trainer(gpt(), StoreCallback(managed()), **options).train()
    sharded = trainer(gpt(), StoreCallback(managed()))
    PartialState().distributed_type = DistributedType.FSDP
    try:
        with pytest.raises(Invalid, match="The model is sharded"):
            sharded.callback_handler.on_train_begin(sharded.args, sharded.state, sharded.control)
    finally:
        PartialState().distributed_type = DistributedType.NO


# models of versions


@pytest.fixture
def store(place):
    with Store.init(place) as store:
        yield store


def saved(folder, model, **options):
    model.save_pretrained(folder, **options)
    words = {f"w{number}": number for number in range(60)} | {"<unk>": 60}
    from tokenizers import Tokenizer, models, pre_tokenizers

    tokenizer = Tokenizer(models.WordLevel(words, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    transformers.PreTrainedTokenizerFast(tokenizer_object=tokenizer, unk_token="<unk>").save_pretrained(folder)
    return folder


@pytest.mark.parametrize("kind", [transformers.AutoModelForCausalLM, transformers.GPT2LMHeadModel])
@pytest.mark.parametrize("shard", ["50GB", "20KB"])
def test_a_model_is_made_from_a_version_as_from_its_folder(store, tmp_path, kind, shard):
    model = gpt()
    model.generation_config.max_new_tokens = 7
    folder = saved(tmp_path / "gpt", model, max_shard_size=shard)
    (folder / "pytorch_model.bin").write_bytes(b"")
    store.add([folder], name="org/gpt", aliases=["prod"])
    found = from_pretrained(kind, store, "org/gpt@prod")
    wanted = kind.from_pretrained(folder)
    assert type(found) is type(wanted)
    assert same(found, wanted)
    assert found.config.to_diff_dict() == wanted.config.to_diff_dict()
    assert found.generation_config.max_new_tokens == 7
    assert found.lm_head.weight is found.transformer.wte.weight
    assert found.training is wanted.training is False
    halved = from_pretrained(kind, store, "org/gpt", dtype=torch.bfloat16, attn_implementation="eager")
    assert (halved.dtype, halved.config._attn_implementation) == (torch.bfloat16, "eager")
    _, loading = from_pretrained(kind, store, "org/gpt", output_loading_info=True, n_layer=3)
    assert any(name.startswith("transformer.h.2.") for name in loading["missing_keys"])
    with small_files(store, "org/gpt@prod") as small:
        assert not list(small.rglob("*.safetensors"))
        tokens = transformers.AutoTokenizer.from_pretrained(small)("w3 w5 other")["input_ids"]
    assert tokens == [3, 5, 60]
    assert not small.exists()


def test_a_checkpoint_is_a_pretrained_model_with_its_tokenizer(managed, trainer, tmp_path, store):
    model = gpt()
    tokenizer = transformers.AutoTokenizer.from_pretrained(saved(tmp_path / "gpt", gpt()))
    training = trainer(model, StoreCallback(managed()))
    training.processing_class = training.callback_handler.processing_class = tokenizer
    training.train()
    found = from_pretrained(transformers.AutoModelForCausalLM, store, "job@latest")
    assert same(found, model)
    assert type(found) is GPT2LMHeadModel
    with small_files(store, "job@latest") as small:
        assert transformers.AutoTokenizer.from_pretrained(small)("w3")["input_ids"] == [3]
        assert transformers.AutoConfig.from_pretrained(small).architectures == ["GPT2LMHeadModel"]
    # the same tokenizer of every checkpoint is one blob
    assert sum(row.stored for row in store.du()) < 3 * sum(param.nbytes for param in model.parameters()) * 3 + 2e5


def test_a_version_that_is_no_model_is_told(store, tmp_path):
    (tmp_path / "readme.md").write_text("nothing")
    store.add([tmp_path / "readme.md"], name="text")
    with pytest.raises(Invalid, match=r"text has no config.json; give config="):
        from_pretrained(transformers.AutoModel, store, "text")
    with pytest.raises(NotFound):
        from_pretrained(transformers.AutoModel, store, "text:2")
    store.add([saved(tmp_path / "gpt", gpt()) / "model.safetensors"], name="bare")
    found = from_pretrained(GPT2LMHeadModel, store, "bare", config=gpt().config)
    assert same(found, gpt())
    with pytest.raises(Invalid, match="no part 'unet'"):
        from_pretrained(GPT2LMHeadModel, store, "bare", config=gpt().config, part="unet")


@pytest.fixture
def small_files_only():
    """No file grows beyond a MiB, as on a disk that has no room"""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    yield lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, hard))
    resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_no_weights_are_written_to_a_disk(store, tmp_path, small_files_only):
    big = gpt(vocab_size=60_000)
    store.add([saved(tmp_path / "big", big)], name="big")
    small_files_only()
    with pytest.raises(OSError, match="too large"):
        (tmp_path / "copy").write_bytes(bytes(2 << 20))
    found = from_pretrained(transformers.AutoModel, store, "big")
    assert torch.equal(found.wte.weight, big.transformer.wte.weight)
    assert found.wte.weight.nbytes > 3 << 20


@pytest.mark.parametrize("heading", ["transformers", "A model of a version"])
def test_the_page_is_true(tmp_path, monkeypatch, heading, trainer):
    page = (ROOT / "docs/integrations.md").read_text()
    (snippet,) = re.findall(rf"## {heading}\n.*?```python\n(.*?)```", page, re.DOTALL)
    monkeypatch.chdir(tmp_path)
    names = {"model": gpt(), "arguments": trainer(gpt()).args, "texts": Texts()}
    if heading == "A model of a version":
        Store.init("./models/store").add([saved(tmp_path / "gpt", gpt())], name="org/gpt", aliases=["prod"])
    exec(snippet, names)
    if heading == "transformers":
        assert names["trainer"].state.global_step == 8
        assert Store.open("./models/checkpoints").ls("job")[0].step == 8
    else:
        assert same(names["model"], gpt())


def test_an_old_release_is_told(told_too_old):
    said = told_too_old("artifactstore.integrations.pretrained", "transformers")
    assert said.endswith("transformers 0.9 is too old; run: pip install 'transformers>=4.57'")
