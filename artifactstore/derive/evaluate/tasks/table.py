"""Table: the tasks by their names, and the data each is read from"""

from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any, Protocol

from artifactstore.core.errors import Invalid, NotFound
from artifactstore.derive.evaluate.tasks import arc, hellaswag, own
from artifactstore.derive.evaluate.tasks.passages import Diverging, Passage, Reading
from artifactstore.derive.evaluate.tasks.questions import Choosing, Question
from artifactstore.derive.evaluate.tasks.rows import parse_rows

Task = Choosing | Reading | Diverging


class _Parser(Protocol):
    def __call__(self, row: Mapping[str, Any], /) -> Question: ...


@dataclass(frozen=True, slots=True)
class _Benchmark:
    """globs: how its files are called, the first that some file matches is taken"""

    parse: _Parser
    globs: tuple[str, ...]


_BENCHMARKS = {
    "hellaswag": _Benchmark(hellaswag.parse, ("hellaswag*val*.jsonl", "hellaswag*.jsonl", "hellaswag/*val*.jsonl")),
    "arc": _Benchmark(arc.parse, ("[Aa][Rr][Cc]*.jsonl", "[Aa][Rr][Cc]*/*.jsonl")),
}
NAMES = ("perplexity", "kl", *_BENCHMARKS)
_TEXT = {".txt", ".md", ".raw"}


def load(name: str, data: Path | None = None, limit: int | None = None) -> Task:
    """The task of a name, or the one in a file `….jsonl`

    data: a file, or a folder in which its file is found; without it perplexity and kl read the text that is shipped.
    limit: items at most, from the first. Raise NotFound without data, Invalid for data of another form.
    """
    if name in _BENCHMARKS:
        benchmark = _BENCHMARKS[name]
        return Choosing(name, tuple(parse_rows(_file(name, benchmark, data), benchmark.parse, limit)))
    if name in {"perplexity", "kl"}:
        passages = shipped() if data is None else passages_of(data, limit)
        return Reading(name, passages) if name == "perplexity" else Diverging(name, passages)
    if name.endswith(".jsonl"):
        return _own(Path(name), limit)
    raise Invalid(
        f"Unknown task {name!r:.60}; use one of {', '.join(NAMES)}, or a file of your own, such as items.jsonl",
        code="task",
    )


def shipped() -> tuple[Passage, ...]:
    """A text that nobody trained on, for a look without data"""
    text = files("artifactstore.derive.evaluate").joinpath("data/passage.txt").read_text(encoding="utf-8")
    return (Passage(text),)


def passages_of(data: Path, limit: int | None = None) -> tuple[Passage, ...]:
    """Of a text, or of lines with texts; raise NotFound, Invalid"""
    if data.suffix == ".jsonl":
        items = parse_rows(data, own.parse, limit)
        if not all(isinstance(one, Passage) for one in items):
            raise Invalid(f'{data} has items that are no texts; write {{"text": …}}', code="item", path=str(data))
        return tuple(one for one in items if isinstance(one, Passage))
    if data.is_dir() or data.suffix not in _TEXT:
        raise Invalid(f"{data} is no text; give a file such as text.txt or texts.jsonl", code="data", path=str(data))
    try:
        return (Passage(data.read_text(encoding="utf-8")),)
    except UnicodeDecodeError as e:
        raise Invalid(f"{data} is not UTF-8: {e.reason} at byte {e.start}", code="data", path=str(data)) from e
    except OSError as e:
        raise NotFound(f"Cannot read {data}: {e.strerror}", code="data", path=str(data)) from e
    except Invalid as e:
        raise Invalid(f"{data} holds no text", code="data", path=str(data)) from e


def _own(path: Path, limit: int | None) -> Task:
    items = parse_rows(path, own.parse, limit)
    questions = tuple(one for one in items if isinstance(one, Question))
    passages = tuple(one for one in items if isinstance(one, Passage))
    if questions and passages:
        raise Invalid(f"{path} has both questions and texts; make two files of it", code="item", path=str(path))
    return Choosing(path.stem, questions) if questions else Reading(path.stem, passages)


def _file(name: str, benchmark: _Benchmark, data: Path | None) -> Path:
    if data is None:
        raise NotFound(
            f"The data set of {name} is not shipped; say where it lies: --data FOLDER or {name}.jsonl", code="data"
        )
    if not data.is_dir():
        return data
    for glob in benchmark.globs:
        found = sorted(data.glob(glob))
        if len(found) > 1:
            shown = ", ".join(path.name for path in found)
            raise Invalid(f"{data} has several files for {name}: {shown:.200}; give one with --data", code="data")
        if found:
            return found[0]
    raise NotFound(f"{data} has no file of {name}, such as {name}.jsonl", code="data", path=str(data))
