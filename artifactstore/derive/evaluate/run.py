"""Evaluate: models held against gates and tasks, one after the other, each with its source or a baseline"""

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any, Self

from artifactstore.core.errors import Invalid, StoreError
from artifactstore.core.events import Warn
from artifactstore.core.lineage import Relation
from artifactstore.derive.evaluate.base import Encoder, LanguageModel
from artifactstore.derive.evaluate.gates import Beside, Gate, of_files, of_model
from artifactstore.derive.evaluate.models.config import Config, read_config
from artifactstore.derive.evaluate.models.opening import open_model
from artifactstore.derive.evaluate.models.torch_model import Use
from artifactstore.derive.evaluate.statistics import Paired, Score, compare
from artifactstore.derive.evaluate.subject import Subject, find, opened, source_of
from artifactstore.derive.evaluate.tasks.passages import Diverging, Turning
from artifactstore.derive.evaluate.tasks.table import Task
from artifactstore.finding import Finds
from artifactstore.ops import annotate


@dataclass(frozen=True, slots=True)
class Evaluation:
    """What was found of one model. beside: what it was held against; against: by metric, on the same items

    metrics: what the version carries from now on.
    """

    subject: Subject
    beside: str | None
    gates: tuple[Gate, ...]
    scores: tuple[Score, ...]
    against: Mapping[str, Paired]

    @property
    def passed(self) -> bool:
        """Whether no gate failed"""
        return all(gate.passed is not False for gate in self.gates)

    @property
    def metrics(self) -> dict[str, float]:
        """By name; what is not finite is no metric"""
        found: dict[str, float | None] = {}
        if self.gates:
            found["gates.failed"] = float(sum(gate.passed is False for gate in self.gates))
            found |= {f"gates.{gate.name}": gate.value for gate in self.gates}
        for score in self.scores:
            for name, value in score.values.items():
                found |= {name: value.value, f"{name}.stderr": value.stderr}
        return {name: value for name, value in found.items() if value is not None and math.isfinite(value)}


def evaluate(
    store: Finds,
    refs: Sequence[str],
    tasks: Sequence[Task] = (),
    *,
    baseline: str | None = None,
    path: str | None = None,
    use: Use | None = None,
) -> Iterator[Evaluation]:
    """Each in its turn; without tasks the gates. What was found becomes metrics of a version that is held here

    baseline: what tasks are compared with item by item, and what `kl` is measured to; by default `kl` takes what a
    version was made of. path: which model, where there are several. Raise NotFound before anything is opened; Invalid
    for a task that a model cannot do.
    """
    subjects = [find(store, ref, path) for ref in refs]
    with _Bench(use or Use()) as bench:
        known = None if baseline is None else find(store, baseline)
        if known is not None and tasks:
            bench.measure(known, tasks)
        for subject in subjects:
            found = bench.gates(subject, known) if not tasks else bench.scores(subject, tasks, known)
            keep(store, subject, found.metrics)
            yield found


class _Bench:
    """What is open: a model that others are held against stays, as long as it is the same one"""

    def __init__(self, use: Use) -> None:
        self._use = use
        self._stack = ExitStack()
        self._beside: tuple[Subject, Beside] | None = None
        self._baseline: dict[str, Score] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self._beside = None
        self._stack.close()

    def measure(self, baseline: Subject, tasks: Sequence[Task]) -> None:
        """What the baseline makes of the tasks, once for all models"""
        model = self._held(baseline, None).model
        self._baseline = {
            task.name: task.run(_writer(baseline, model)) for task in tasks if not isinstance(task, Diverging)
        }

    def gates(self, subject: Subject, baseline: Subject | None) -> Evaluation:
        """Of its files, then of what it does; a source that cannot be opened is told of and no failure of the model"""
        found: list[Gate] = []
        try:
            beside = self._beside_of(subject, baseline)
        except StoreError as e:
            if baseline is not None:
                raise
            found.append(Gate("source", None, e.message))
            beside = None
        with subject.laid() as folder:
            try:
                config = _config(folder, subject)
                found += of_files(folder, subject.chosen, config)
                model = open_model(folder, subject.chosen, self._use)
                found.append(Gate("loads", True, f"{subject.chosen.format}, {_size(model)}"))
                found += of_model(model, beside, config)
            except Invalid as e:
                loaded = any(one.name == "loads" for one in found)
                found.append(Gate("calculates" if loaded else "loads", False, e.message))
        return Evaluation(subject, None if beside is None else beside.ref, tuple(found), (), {})

    def scores(self, subject: Subject, tasks: Sequence[Task], baseline: Subject | None) -> Evaluation:
        """Of each task, beside what the baseline made of the same items"""
        diverging = any(isinstance(task, Diverging) for task in tasks)
        beside = self._beside_of(subject, baseline) if diverging else None
        if diverging and beside is None:
            raise Invalid(
                f"kl tells how far a model is from another, and {subject.ref} has no source here; name one: --baseline",
                code="baseline",
            )
        with opened(subject, self._use) as (_, model):
            found = [_ask(task, subject, model, beside) for task in tasks]
        against = {
            name: pair
            for score in found
            if score.task in self._baseline
            for name, pair in compare(score, self._baseline[score.task]).items()
        }
        ref = baseline.ref if baseline is not None else beside.ref if beside is not None else None
        return Evaluation(subject, ref, (), tuple(found), against)

    def _beside_of(self, subject: Subject, baseline: Subject | None) -> Beside | None:
        source = (baseline, None) if baseline is not None else source_of(subject)
        return None if source is None else self._held(*source)

    def _held(self, subject: Subject, relation: Relation | None) -> Beside:
        if self._beside is None or self._beside[0] != subject:
            self.__exit__()
            folder, model = self._stack.enter_context(opened(subject, self._use))
            self._beside = (subject, Beside(subject.ref, model, _config(folder, subject), relation))
        held = self._beside[1]
        return Beside(held.ref, held.model, held.config, relation)


def _ask(task: Task, subject: Subject, model: LanguageModel | Encoder, beside: Beside | None) -> Score:
    if not isinstance(task, Diverging):
        return task.run(_writer(subject, model))
    assert beside is not None
    if isinstance(model, Encoder) and isinstance(beside.model, Encoder):
        return Turning(task.passages).run(model, beside.model)
    if isinstance(model, Encoder) or isinstance(beside.model, Encoder):
        raise Invalid(
            f"One of {subject.ref} and {beside.ref} writes texts, the other makes vectors; nothing compares them",
            code="model",
        )
    return task.run(model, beside.model)


def _writer(subject: Subject, model: LanguageModel | Encoder) -> LanguageModel:
    if isinstance(model, LanguageModel):
        return model
    raise Invalid(
        f"{subject.ref} makes vectors and no text, so it can do none of these tasks; evaluate it without --task",
        code="model",
    )


def _config(folder: Any, subject: Subject) -> Config | None:
    home = (folder / subject.chosen.path).parent
    for place in (home, folder):
        if (place / "config.json").is_file():
            return read_config(place)
    return None


def _size(model: LanguageModel | Encoder) -> str:
    count = f"{model.params:,} weights, " if model.params is not None else ""
    return f"{count}{model.vocabulary:,} tokens, a context of {model.context:,}"


def keep(store: Finds, subject: Subject, metrics: Mapping[str, float]) -> None:
    """As metrics of a version, with a warning where it is not held here or this store may not be written to"""
    if subject.held is None or not metrics:
        return
    try:
        annotate.set_metrics(subject.held.depot, subject.held.version, metrics)
    except StoreError as e:
        store.depot.monitor(Warn(f"The metrics of {subject.ref} were not kept: {e.message}"))
