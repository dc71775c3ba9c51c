"""Plan of a build: which recipes are merged in which order, and what becomes of each product"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from artifactstore.core.errors import Invalid, NotFound
from artifactstore.core.names import ArtifactName
from artifactstore.core.recipe.recipe import Recipe
from artifactstore.core.recipe.succession import in_order
from artifactstore.derive.merge.plan import read_recipe
from artifactstore.derive.quantize.levels import Target, form, parse_level
from artifactstore.derive.web.levels import web_level
from artifactstore.ops.transfer.source import looking_at

SUFFIXES = (".yml", ".yaml")


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is to become of merged models. level: None for as they are; out: None for versions alone

    ceiling: most bytes of a file, None for as they are. several: whether `out` holds a folder for each. entry: the key
    in models.json, by default the folder's name. base: the address of the folder in which models.json lies. measured:
    whether how far a quantized model is from what was merged becomes metrics of it.
    """

    level: str | None = None
    target: Target = Target.WEB
    ceiling: int | None = None
    out: Path | None = None
    several: bool = False
    entry: str | None = None
    base: str | None = None
    made_by: str = "artstore"
    force: bool = False
    measured: bool = True


@dataclass(frozen=True, slots=True)
class Step:
    """One recipe. merged: the artifact of the merge, product: that of what is written out; takes: steps before it"""

    path: Path
    recipe: Recipe
    merged: ArtifactName
    product: ArtifactName
    takes: frozenset[str]
    out: Path | None
    entry: str | None

    def to_json(self) -> dict[str, Any]:
        """For people and programs to read before it runs"""
        return {
            "recipe": str(self.path),
            "method": self.recipe.method.name,
            "models": [str(ref) for ref in self.recipe.models],
            "takes": sorted(self.takes),
            "merged": str(self.merged),
            "product": str(self.product),
            "out": None if self.out is None else str(self.out),
            "entry": self.entry,
        }


def recipes_in(folder: Path) -> list[Path]:
    """The recipes of a folder, by name; raise NotFound for none, Invalid for a file"""
    with looking_at(folder):
        if folder.exists() and not folder.is_dir():
            raise Invalid(f"{folder} is not a folder; leave out --all for single recipes", code="folder")
        found = sorted(path for path in folder.iterdir() if path.suffix in SUFFIXES and path.is_file())
    if not found:
        raise NotFound(
            f"{folder} holds no recipes, which end in {' or '.join(SUFFIXES)}", code="recipe", path=str(folder)
        )
    return found


def plan(paths: Sequence[Path], wanted: Wanted) -> tuple[Step, ...]:
    """Read recipes and put them in order; raise Invalid for what is wrong in one, two of one name, and circles"""
    _check(wanted)
    found: dict[str, tuple[Path, Recipe]] = {}
    for path in paths:
        recipe, _ = read_recipe(path)
        name = recipe.name or path.stem
        if name in found:
            raise Invalid(
                f"{found[name][0]} and {path} both make {name}; name one of them anew", code="recipe", name=name
            )
        found[name] = path, recipe
    order = in_order({name: recipe for name, (_, recipe) in found.items()})
    return tuple(_step(name, *found[name], takes, wanted) for name, takes in order.items())


def _check(wanted: Wanted) -> None:
    """Raise Invalid for a level that the target has not, before anything is done"""
    if wanted.level is not None and wanted.target is Target.WEB:
        web_level(wanted.level)
    elif wanted.level is not None:
        form(parse_level(wanted.level), wanted.target)


def _step(name: str, path: Path, recipe: Recipe, takes: frozenset[str], wanted: Wanted) -> Step:
    product = _product(name, wanted)
    folder = product.rpartition("/")[2]
    out = None if wanted.out is None else wanted.out / folder if wanted.several else wanted.out
    entry = None if out is None else wanted.entry or out.resolve().name
    return Step(path, recipe, ArtifactName(name), ArtifactName(product), takes, out, entry)


def _product(name: str, wanted: Wanted) -> str:
    if wanted.level is None:
        return name
    target = "" if wanted.target is Target.WEB else f"-{wanted.target}"
    return f"{name}-{wanted.level}{target}"


def describe(
    step: Step, wanted: Wanted, said: Mapping[str, Any], files: Sequence[tuple[str, int, str]]
) -> dict[str, Any]:
    """The entry of models.json. said: of the version, its metadata; files: (path, size, sha256)"""
    assert step.out is not None
    folder = step.out.resolve().name
    fusion = {
        "method": step.recipe.method.name,
        "sources": [str(ref) for ref in step.recipe.models],
        "created_by": wanted.made_by,
    }
    return {
        "id": step.entry,
        "name": step.recipe.name or step.path.stem,
        "size_mb": round(sum(size for _, size, _ in files) / 1e6, 2),
        "urls": {"base": f"{wanted.base.rstrip('/')}/{folder}" if wanted.base else folder},
        "metadata": {"fusion": fusion, **said},
        "files": [{"path": path, "size": size, "sha256": sha256} for path, size, sha256 in files],
    }
