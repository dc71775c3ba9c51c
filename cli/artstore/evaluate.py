"""Evaluate, run, benchmark: what models are worth, at work, and side by side"""

import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from artifactstore.core.errors import Invalid
from artifactstore.core.units import format_size
from artstore.arguments import parse_path
from artstore.failure import DAMAGED
from artstore.invocation import Invocation, with_invocation
from artstore.output import Form, number, plural, took
from artstore.screen import Column, Screen, write

if TYPE_CHECKING:
    from artifactstore.derive.benchmark.run import Variant
    from artifactstore.derive.evaluate.models.torch_model import Use
    from artifactstore.derive.evaluate.run import Evaluation
    from artifactstore.derive.evaluate.statistics import Paired, Score

Refs = Annotated[list[str], typer.Argument(metavar="REF...", help="Versions of the store, or folders with a model.")]
File = Annotated[
    str | None,
    typer.Option("--file", metavar="PATH", help="Which model, where there are several, such as onnx/model_q4.onnx."),
]
Baseline = Annotated[
    str | None,
    typer.Option("--baseline", metavar="REF", help="Compare with this one. Default: what a version was made of."),
]
Device = Annotated[
    str, typer.Option("--device", metavar="cpu|cuda", help="Where torch calculates; ONNX always on the CPU.")
]
Dtype = Annotated[str, typer.Option("--dtype", metavar="float32|bfloat16|float16", help="What torch calculates in.")]


@with_invocation
def evaluate(
    run: Invocation,
    *,
    refs: Refs,
    tasks: Annotated[
        list[str] | None,
        typer.Option(
            "--task",
            metavar="TASK",
            help="perplexity, kl (the cosine, of models that make vectors), hellaswag, arc, or a file of your own "
            'with lines {"prompt", "choices", "answer"} or {"text"}. Repeatable.',
        ),
    ] = None,
    data: Annotated[
        str | None,
        typer.Option("--data", metavar="PATH", help="The data set: its file, or a folder in which it is found."),
    ] = None,
    baseline: Baseline = None,
    limit: Annotated[
        int | None, typer.Option("--limit", metavar="N", min=1, help="Only the first N items of each data set.")
    ] = None,
    file: File = None,
    device: Device = "cpu",
    dtype: Dtype = "float32",
) -> None:
    """Tell whether models work, or how well they do tasks

    Without a task: weights are finite, tied ones equal, the tokenizer fits, a text is not read as noise, and the source
    is near; ends with exit code 4 when one of these fails. What is found becomes metrics of the versions. Tasks are
    counted as lm-evaluation-harness counts them. Nothing is fetched, and no code of a model is run.
    """
    from artifactstore.derive.evaluate.run import evaluate as evaluate_all  # noqa: PLC0415  # torch takes seconds
    from artifactstore.derive.evaluate.tasks.table import load  # noqa: PLC0415  # as above

    where = None if data is None else parse_path(data)
    loaded = [load(task, where, limit) for task in dict.fromkeys(tasks or ())]
    use = _use(device, dtype)
    with run.open_for_reading() as store:
        found = evaluate_all(store, refs, loaded, baseline=baseline, path=file, use=use)
        passed = _tell(run, found)
    if not passed:
        raise typer.Exit(DAMAGED)


@with_invocation
def run_(
    run: Invocation,
    *,
    ref: Annotated[str, typer.Argument(metavar="REF", help="A version of the store, or a folder with a model.")],
    prompts: Annotated[
        list[str],
        typer.Option(
            "--prompt", metavar="TEXT", help="What is to be continued. For a model that makes vectors, give several."
        ),
    ],
    count: Annotated[int, typer.Option("--tokens", metavar="N", min=1, help="At most so many tokens.")] = 64,
    chat: Annotated[bool, typer.Option("--chat", help="Ask by the model's chat template.")] = False,
    temperature: Annotated[
        float, typer.Option("--temperature", metavar="T", help="0: always the likeliest token. 1: as likely as it is.")
    ] = 0.0,
    seed: Annotated[int, typer.Option("--seed", metavar="N", help="What chance is drawn from.")] = 0,
    file: File = None,
    device: Device = "cpu",
    dtype: Dtype = "float32",
) -> None:
    """Let a model continue a text, or tell how alike it finds texts"""
    from artifactstore.derive.evaluate.base import Encoder  # noqa: PLC0415  # torch takes seconds
    from artifactstore.derive.evaluate.writing import drawn  # noqa: PLC0415  # as above
    from artifactstore.derive.run import likeness, running, written  # noqa: PLC0415  # as above

    pick, use = drawn(temperature, seed), _use(device, dtype)
    with run.open_for_reading() as store, running(store, ref, file, use) as (subject, model):
        run.monitor.stop()
        named = {"ref": subject.ref, "file": subject.chosen.path, "prompts": prompts}
        if isinstance(model, Encoder):
            _tell_likeness(run, named, likeness(model, prompts))
            return
        if len(prompts) > 1:
            raise Invalid(f"{subject.ref} continues one text at a time; give --prompt once", code="prompt")
        _tell_written(run, named, written(model, prompts[0], count=count, pick=pick, chat=chat))


@with_invocation
def benchmark(
    run: Invocation,
    *,
    refs: Refs,
    baseline: Baseline = None,
    data: Annotated[
        str | None, typer.Option("--data", metavar="FILE", help="The text to read: .txt, or .jsonl with texts.")
    ] = None,
    plot: Annotated[
        str | None, typer.Option("--plot", metavar="FILE", help="Draw a picture of it: .png, .svg or .pdf.")
    ] = None,
    file: File = None,
    device: Device = "cpu",
    dtype: Dtype = "float32",
) -> None:
    """Measure variants of a model side by side: size, speed, memory, and what they still know

    Each is measured in a process of its own. Its distance to the baseline, its perplexity and its bits a weight become
    metrics of a version.
    """
    from artifactstore.derive.benchmark import plot as plotting  # noqa: PLC0415  # torch takes seconds
    from artifactstore.derive.benchmark.run import benchmark as measure_all  # noqa: PLC0415  # as above
    from artifactstore.derive.evaluate.tasks.table import passages_of  # noqa: PLC0415  # as above

    picture = None if plot is None else parse_path(plot)
    if picture is not None:
        plotting.check_plot(picture)
    passages = None if data is None else passages_of(parse_path(data))
    use = _use(device, dtype)
    with run.open_for_reading() as store:
        found = list(measure_all(store, refs, baseline=baseline, passages=passages, path=file, use=use))
    run.monitor.stop()
    if picture is not None:
        plotting.plot(found, picture)
    _tell_variants(run, found, picture)


def _use(device: str, dtype: str) -> "Use":
    from artifactstore.derive.evaluate.models.torch_model import Use  # noqa: PLC0415  # torch takes seconds

    return Use.parse(device, dtype)


def _tell(run: Invocation, found: "Iterator[Evaluation]") -> bool:
    """Whether all passed"""
    seen: list[Evaluation] = []

    def documents() -> Iterator[dict[str, Any]]:
        for one in found:
            seen.append(one)
            yield _document(one)

    if run.output.form is Form.JSONL:
        for document in documents():
            run.output.event("evaluation", document)
    else:
        listed = list(documents())
        run.monitor.stop()
        run.output.tell_rows("evaluation", listed, lambda screen: _draw(screen, seen), ids=_ids(listed))
    return all(one.passed for one in seen)


def _document(found: "Evaluation") -> dict[str, Any]:
    held = found.subject.held
    return {
        "id": None if held is None else str(held.version.id),
        "ref": found.subject.ref,
        "file": found.subject.chosen.path,
        "baseline": found.beside,
        "passed": found.passed,
        "gates": [
            {"name": gate.name, "passed": gate.passed, "says": gate.says, "value": gate.value} for gate in found.gates
        ],
        "tasks": [_task(score, found.against) for score in found.scores],
        "metrics": found.metrics,
    }


def _task(score: "Score", against: "dict[str, Paired] | Any") -> dict[str, Any]:
    return {
        "task": score.task,
        "count": score.count,
        "values": {name: {"value": one.value, "stderr": one.stderr} for name, one in score.values.items()},
        "against": {
            name: {
                "difference": one.difference,
                "stderr": one.stderr,
                "better": one.better,
                "worse": one.worse,
                "differs": one.differs,
            }
            for name, one in against.items()
            if name in score.items
        },
    }


def _ids(documents: Sequence[dict[str, Any]]) -> list[str]:
    return [document["id"] for document in documents if document["id"]]


_GATES = (Column("gate", style="cyan"), Column("result"), Column("what was found", wrap=True))
_VALUES = (
    *(Column("metric", style="cyan"), Column("value", right=True), Column("±", right=True)),
    *(Column("less baseline", right=True), Column("±", right=True), Column("better", right=True)),
    *(Column("worse", right=True), Column("verdict")),
)
_RESULTS = {True: "passed", False: "FAILED", None: "not asked"}


def _draw(screen: Screen, found: "Sequence[Evaluation]") -> None:
    for one in found:
        beside = f"  beside {one.beside}" if one.beside else ""
        screen.line(f"{one.subject.ref}  {one.subject.chosen.path}{beside}")
        if one.gates:
            rows = [(gate.name, _RESULTS[gate.passed], gate.says) for gate in one.gates]
            styles = ["bold red" if gate.passed is False else "" for gate in one.gates]
            screen.table(_GATES, rows, styles=styles)
        for score in one.scores:
            screen.line(f"{score.task}: {plural(score.count, 'item')}")
            screen.table(_VALUES, _values(score, one.against))


def _values(score: "Score", against: "dict[str, Paired] | Any") -> list[tuple[str, ...]]:
    rows: list[tuple[str, ...]] = [
        (name, number(one.value), _error(one.stderr), *_pair(against.get(name))) for name, one in score.values.items()
    ]
    others = [name for name in score.items if name in against and name not in score.values]
    return rows + [(name, "", "", *_pair(against[name])) for name in others]


def _pair(found: "Paired | None") -> tuple[str, str, str, str, str]:
    if found is None:
        return "", "", "", "", ""
    verdict = "differs" if found.differs else "may be chance"
    return f"{found.difference:+.6g}", _error(found.stderr), str(found.better), str(found.worse), verdict


def _error(value: float | None) -> str:
    return "" if value is None else f"{value:.2g}"


def _tell_likeness(run: Invocation, named: dict[str, Any], found: list[float]) -> None:
    document = {**named, "cosines": found}

    def show(screen: Screen) -> None:
        rows = [(number(one), text) for one, text in zip(found, named["prompts"][1:], strict=True)]
        screen.table((Column("cosine", right=True), Column("to", wrap=True)), rows)

    run.output.tell(document, show)


def _tell_written(run: Invocation, named: dict[str, Any], pieces: Iterator[str]) -> None:
    if run.output.form is not Form.TEXT:
        run.output.tell({**named, "text": "".join(pieces)}, lambda _: None)
        return
    # as it comes, and as it is: line breaks are the model's own, what would steer the terminal is not shown
    for piece in pieces:
        sys.stdout.write(
            "".join(char if char.isprintable() or char in "\n\t" else "\N{REPLACEMENT CHARACTER}" for char in piece)
        )
        sys.stdout.flush()
    write("")


_VARIANTS = (
    *(Column("variant", style="cyan"), Column("size", right=True), Column("bits/weight", right=True)),
    *(Column("load", right=True), Column("read/s", right=True), Column("write/s", right=True)),
    *(Column("memory", right=True), Column("KL", right=True), Column("top-1", right=True)),
    *(Column("perplexity", right=True), Column("cosine", right=True)),
)


def _tell_variants(run: Invocation, found: "Sequence[Variant]", picture: Path | None) -> None:
    documents = [one.to_json() for one in found]

    def show(screen: Screen) -> None:
        screen.table(_VARIANTS, [_variant(document) for document in documents])
        if documents[0]["baseline"]:
            screen.line(f"KL, top-1 and cosine are to {documents[0]['baseline']}")
        if picture is not None:
            screen.line(f"Drawn in {picture}")

    run.output.tell_rows("variant", documents, show, ids=_ids(documents))


def _variant(document: dict[str, Any]) -> tuple[str, ...]:
    quality, bits, writes = document["quality"], document["bits_per_weight"], document["write_tokens_per_second"]
    return (
        document["ref"],
        format_size(document["bytes"]),
        "" if bits is None else f"{bits:.2f}",
        took(document["load_seconds"]),
        f"{document['read_tokens_per_second']:,.0f}",
        "" if writes is None else f"{writes:,.1f}",
        "" if document["peak_rss_bytes"] is None else format_size(document["peak_rss_bytes"]),
        *("" if name not in quality else f"{quality[name]['value']:.4g}" for name in ("kl", "kl.top1", "perplexity")),
        "" if "cosine" not in quality else f"{quality['cosine']['value']:.4f}",
    )
