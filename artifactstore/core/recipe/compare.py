"""Compare: whether two models can be merged at all, from their headers and configurations alone"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from artifactstore.core.errors import Invalid
from artifactstore.core.recipe.facts import COMPARED, ModelFacts, Shape, is_buffer, is_by_token, is_head
from artifactstore.core.recipe.layers import layout

_SHOWN = 3
_WIDEST = 48
_ANY_LAYER = "*"


@dataclass(frozen=True, slots=True)
class Row:
    """One thing in which two models differ, None where one is without it"""

    what: str
    a: str | None
    b: str | None


@dataclass(frozen=True, slots=True)
class Comparison:
    """Two models side by side. kind: why they cannot be merged; None when they can

    verdict: the same in one line. next: what can be done instead.
    """

    a: str
    b: str
    rows: tuple[Row, ...]
    kind: str | None = None
    verdict: str = ""
    next: tuple[str, ...] = ()

    def table(self) -> list[dict[str, str | None]]:
        """The rows, as they go into JSON"""
        return [{"what": row.what, "a": row.a, "b": row.b} for row in self.rows]


@dataclass(frozen=True, slots=True)
class _Pair:
    """Two models with the shapes of their tensors by name"""

    a: ModelFacts
    b: ModelFacts
    first: Mapping[str, Shape]
    second: Mapping[str, Shape]

    @property
    def missing(self) -> tuple[list[str], list[str]]:
        """What only the first has, and only the second"""
        return (
            [name for name in self.first if name not in self.second],
            [name for name in self.second if name not in self.first],
        )

    def reshaped(self, *, by_token: bool) -> list[str]:
        """What differs in shape: in the number of tokens only, or in any other way"""
        both = [name for name in self.first if self.second.get(name, self.first[name]) != self.first[name]]
        return [name for name in both if _only_rows(name, self.first[name], self.second[name]) is by_token]

    def shapes(self, name: str) -> str:
        """Of one tensor, in words"""
        return f"{list(self.first[name])} in {self.a.ref}, {list(self.second[name])} in {self.b.ref}"


def compare(a: ModelFacts, b: ModelFacts, *, sliced: bool = False) -> Comparison:
    """What differs between two models, and whether that keeps them from being merged

    sliced: layers are taken one by one, so that the models need not be equally deep.
    """
    pair = _Pair(a, b, _shapes(a, sliced=sliced), _shapes(b, sliced=sliced))
    if a.tied or b.tied:
        pair = _Pair(a, b, _headless(pair.first), _headless(pair.second))
    rows = (*_config_rows(a, b), *_missing_rows(*pair.missing), *_shape_rows(pair))
    return Comparison(a.ref, b.ref, rows, *_verdict(pair))


def check(models: Sequence[ModelFacts], *, sliced: bool, matched: bool) -> None:
    """Raise Invalid unless all models can be merged with the first

    matched: rows are matched by token, so that vocabularies may differ. The error's facts hold `models`, `table`
    (see `render`), `verdict` and `next`, lines that say what can be done instead.
    """
    for other in models[1:]:
        found = compare(models[0], other, sliced=sliced)
        if found.kind is None or (found.kind == "vocabulary" and matched):
            continue
        raise Invalid(
            found.verdict,
            code=f"merge-{found.kind}",
            models=[found.a, found.b],
            table=found.table(),
            next=list(found.next),
        )


def render(models: Sequence[str], table: Sequence[Mapping[str, str | None]]) -> list[str]:
    """A table as lines of text, under the names of the two models"""
    cells = [["", *models], *([row["what"] or "", row["a"] or "-", row["b"] or "-"] for row in table)]
    cells = [[_short(cell) for cell in row] for row in cells]
    widths = [max(len(row[column]) for row in cells) for column in range(3)]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in cells]


def _verdict(pair: _Pair) -> tuple[str | None, str, tuple[str, ...]]:
    a, b = pair.a, pair.b
    both, kinds = f"{a.ref} and {b.ref}", (a.architecture, b.architecture)
    if all(kinds) and kinds[0] != kinds[1]:
        why = f"{both} differ in architecture ({kinds[0]}, {kinds[1]}): weights of one mean nothing in the other"
        return "architecture", why, _INSTEAD
    missing = pair.missing
    if any(missing):
        lacking, having, names = (b, a, missing[0]) if missing[0] else (a, b, missing[1])
        more = f" and {len(names) - 1} more" if len(names) > 1 else ""
        return "tensors", f"{lacking.ref} has no tensor {names[0]}{more}, which {having.ref} has", _INSTEAD
    for name in pair.reshaped(by_token=False):
        return "shape", f"Tensor {name} is {pair.shapes(name)}; only models of one size can be merged", _INSTEAD
    for name in pair.reshaped(by_token=True):
        why = f"{both} differ in vocabulary: {name} is {pair.shapes(name)}"
        return "vocabulary", f"{why}; add tokenizer: {{source: base}} to the recipe", (_MATCH,)
    return None, f"{both} can be merged", ()


_MATCH = "Add `tokenizer: {source: base}` to the recipe: rows are then matched by token"
_INSTEAD = (
    "Merge models that were made from one base: their tensors have the same names and shapes",
    "To carry what one of them knows into the other, distil it: train one on what the other says",
)


def _shapes(model: ModelFacts, *, sliced: bool) -> dict[str, Shape]:
    """Shapes by name; sliced: of one layer in place of all"""
    names = {name: shape for name, (_, shape) in model.tensors.items() if not is_buffer(name)}
    if not sliced:
        return names
    main = layout(model.tensors, model.config)
    places = {name: main.place(name) for name in names}
    return {
        name if place is None or place.stack != main.main else f"{place.stack}.{_ANY_LAYER}.{place.rest}": shape
        for (name, shape), place in zip(names.items(), places.values(), strict=True)
    }


def _headless(shapes: Mapping[str, Shape]) -> dict[str, Shape]:
    return {name: shape for name, shape in shapes.items() if not is_head(name)}


def _only_rows(name: str, a: Shape, b: Shape) -> bool:
    return is_by_token(name) and len(a) == len(b) > 0 and a[1:] == b[1:]


def _config_rows(a: ModelFacts, b: ModelFacts) -> Iterator[Row]:
    values: list[tuple[str, object, object]] = [("architecture", a.architecture, b.architecture)]
    values += [("model_type", a.config.get("model_type"), b.config.get("model_type"))]
    values += [(what, a.value(what), b.value(what)) for what in COMPARED]
    values += [("tensors", len(a.tensors), len(b.tensors))]
    for what, one, other in values:
        if one != other:
            yield Row(what, _text(one), _text(other))


def _missing_rows(only_a: Sequence[str], only_b: Sequence[str]) -> Iterator[Row]:
    for name in only_a[:_SHOWN]:
        yield Row(name, "there", None)
    if len(only_a) > _SHOWN:
        yield Row("…", f"{len(only_a) - _SHOWN} more", None)
    for name in only_b[:_SHOWN]:
        yield Row(name, None, "there")
    if len(only_b) > _SHOWN:
        yield Row("…", None, f"{len(only_b) - _SHOWN} more")


def _shape_rows(pair: _Pair) -> list[Row]:
    names = [*pair.reshaped(by_token=False), *pair.reshaped(by_token=True)]
    rows = [Row(name, str(list(pair.first[name])), str(list(pair.second[name]))) for name in names]
    more = len(rows) - _SHOWN
    return [*rows[:_SHOWN], Row("…", f"{more} more", f"{more} more")] if more > 0 else rows


def _text(value: object) -> str | None:
    return None if value is None else str(value)


def _short(text: str) -> str:
    return text if len(text) <= _WIDEST else f"{text[: _WIDEST // 2 - 1]}…{text[-_WIDEST // 2 :]}"
