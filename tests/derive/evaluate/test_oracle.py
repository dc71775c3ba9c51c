"""The same items, the same model: lm-evaluation-harness finds the same"""

import json
import random

import pytest

from artifactstore.derive.evaluate.models.opening import look, open_model
from artifactstore.derive.evaluate.tasks.table import load
from tests.derive.evaluate.tiny import TEXT

lm_eval = pytest.importorskip("lm_eval")

WORDS = TEXT.split()


def some(chance, count):
    at = chance.randrange(len(WORDS) - count)
    return " ".join(WORDS[at : at + count])


def scenes(chance):
    for number in range(40):
        yield {
            "activity_label": some(chance, 2),
            "ctx_a": some(chance, chance.randrange(5, 60)),
            "ctx_b": chance.choice(["", "she [title] then", "anna "]),
            "endings": [f"{some(chance, chance.randrange(1, 9))} [header] x." for _ in range(4)],
            "label": str(number % 4),
        }


def science(chance):
    for _ in range(40):
        labels = chance.choice([["A", "B", "C", "D"], ["1", "2", "3"]])
        texts = [some(chance, chance.randrange(1, 4)) for _ in labels]
        choices = {"text": texts, "label": labels}
        yield {"question": f"{some(chance, 8)}?", "choices": choices, "answerKey": chance.choice(labels)}


HELLASWAG = """
task: local_hellaswag
output_type: multiple_choice
process_docs: !function local.process_docs
doc_to_text: "{{query}}"
doc_to_target: "{{label}}"
doc_to_choice: "choices"
"""
ARC = """
task: local_arc
output_type: multiple_choice
doc_to_text: "Question: {{question}}\\nAnswer:"
doc_to_target: "{{choices.label.index(answerKey)}}"
doc_to_choice: "{{choices.text}}"
"""
TEXTS = """
task: local_texts
output_type: loglikelihood_rolling
doc_to_text: ""
doc_to_target: "{{text}}"
"""


def describe(folder, body, data, metrics):
    path = folder / f"{data.stem}.yaml"
    listed = "".join(f"  - metric: {metric}\n" for metric in metrics)
    source = (
        f"dataset_path: json\ndataset_kwargs:\n  data_files:\n    validation: {data}\nvalidation_split: validation\n"
    )
    path.write_text(f"{body}{source}metric_list:\n{listed}")


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data")
    chance = random.Random(1)
    texts = [{"text": TEXT}, {"text": TEXT[:300]}, {"text": "Anna carried two bags."}]
    for name, rows in (("hellaswag", scenes(chance)), ("arc", science(chance)), ("texts", texts)):
        (folder / f"{name}.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    return folder


@pytest.fixture(scope="module")
def theirs(llama, data, tmp_path_factory):
    """What the harness says of the tiny model"""
    folder = tmp_path_factory.mktemp("tasks")
    (folder / "local.py").write_text("from lm_eval.tasks.hellaswag.utils import process_docs\n")
    describe(folder, HELLASWAG, data / "hellaswag.jsonl", ["acc", "acc_norm"])
    describe(folder, ARC, data / "arc.jsonl", ["acc", "acc_norm"])
    describe(folder, TEXTS, data / "texts.jsonl", ["word_perplexity", "byte_perplexity", "bits_per_byte"])
    found = lm_eval.simple_evaluate(
        model="hf",
        model_args={"pretrained": str(llama), "dtype": "float32", "trust_remote_code": False},
        tasks=["local_hellaswag", "local_arc", "local_texts"],
        task_manager=lm_eval.tasks.TaskManager(include_path=str(folder), include_defaults=False),
        device="cpu",
        batch_size=8,
        bootstrap_iters=1,
        cache_requests=False,
    )
    return found["results"]


@pytest.fixture(scope="module")
def model(llama):
    return open_model(llama, look(llama))


@pytest.mark.parametrize("name", ["hellaswag", "arc"])
def test_questions_are_answered_alike(model, data, theirs, name):
    ours = load(name, data / f"{name}.jsonl").run(model)
    wanted = theirs[f"local_{name}"]
    for metric in ("acc", "acc_norm"):
        found = ours.values[f"{name}.{metric}"]
        assert found.value == pytest.approx(wanted[f"{metric},none"])
        assert found.stderr == pytest.approx(wanted[f"{metric}_stderr,none"])
    assert 0.1 < ours.values[f"{name}.acc"].value < 0.9


def test_texts_are_read_alike(model, data, theirs):
    ours = load("perplexity", data / "texts.jsonl").run(model).values
    wanted = theirs["local_texts"]
    assert ours["perplexity.word"].value == pytest.approx(wanted["word_perplexity,none"], rel=1e-5)
    assert ours["perplexity.byte"].value == pytest.approx(wanted["byte_perplexity,none"], rel=1e-5)
    assert ours["perplexity.bits_per_byte"].value == pytest.approx(wanted["bits_per_byte,none"], rel=1e-5)
