"""Parse: a recipe in mergekit's YAML, checked so that nothing in it is passed over in silence

The schema is mergekit 0.1.5's. `name`, `seed` and `license` are ours; `modules`, for models of several parts, is not
read. A key or parameter that is not known, or stands where it has no effect, is an error with its line.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace

from artifactstore.core.recipe import dtypes
from artifactstore.core.recipe.chat import check_template
from artifactstore.core.recipe.document import Value, hint, read
from artifactstore.core.recipe.methods import ELSEWHERE, METHODS, SYNONYMS, Base, Method
from artifactstore.core.recipe.recipe import Recipe, Slice, Source, check_models
from artifactstore.core.recipe.refs import parse_ref
from artifactstore.core.recipe.settings import parse_settings
from artifactstore.core.recipe.tokenizer import parse_tokenizer

_KEYS = frozenset(("base_model", "chat_template", "dtype", "license", "merge_method", "models", "modules", "name"))
_KEYS |= frozenset(("out_dtype", "parameters", "seed", "slices", "tokenizer", "tokenizer_source"))
_SLICE = frozenset(("base_model", "parameters", "residual_weight", "sources"))
_MAX_MODELS = 64

_Found = Mapping[str, Value]
_Tell = Callable[[str], None]


def parse(text: str, path: str) -> Recipe:
    """The recipe of a text; raise Invalid, whose message begins with `path: line N:`

    path: what the recipe is called in messages.
    """
    document = read(text, path)
    found = {key: value for key, value in document.mapping("a recipe", _KEYS).items() if value.found is not None}
    notes: list[str] = []
    method = _method(document, found, notes.append)
    settings = parse_settings(found.get("parameters"), method, notes.append)
    base = parse_ref(found["base_model"], "base_model") if "base_model" in found else None
    slices = _slices(document, found, method, notes.append)
    recipe = Recipe(
        path=path,
        method=method,
        slices=slices,
        base=base,
        settings=settings,
        dtype=_dtype(found, "dtype"),
        out_dtype=_dtype(found, "out_dtype"),
        name=found["name"].text("name") if "name" in found else None,
        seed=found["seed"].integer("seed") if "seed" in found else 0,
        license=found["license"].text("license") if "license" in found else None,
        chat_template=check_template(found["chat_template"]) if "chat_template" in found else None,
    )
    recipe = _with_base(recipe, document, notes.append)
    check_models(recipe)
    tokenizer = parse_tokenizer(found, recipe)
    return replace(recipe, tokenizer=tokenizer, notes=tuple(notes))


def _method(document: Value, found: _Found, tell: _Tell) -> Method:
    if "merge_method" not in found:
        raise document.refuse(f"a recipe should have a merge_method, one of {', '.join(sorted(METHODS))}")
    value = found["merge_method"]
    name = value.text("merge_method")
    if name in SYNONYMS:
        tell(f"line {value.line}: {name} is taken as {SYNONYMS[name]}")
        name = SYNONYMS[name]
    if name in ELSEWHERE:
        raise value.refuse(f"merge_method {name} is not made here; there are {', '.join(sorted(METHODS))}")
    if name not in METHODS:
        raise value.refuse(f"there is no merge_method {name!r}{hint(name, METHODS)}")
    return METHODS[name]


def _dtype(found: _Found, key: str) -> str | None:
    if key not in found:
        return None
    name = found[key].text(key).removeprefix("torch.")
    if name not in dtypes.BY_NAME:
        raise found[key].refuse(f"{key} should be one of {', '.join(dtypes.BY_NAME)}, found {name!r}")
    return dtypes.BY_NAME[name]


def _slices(document: Value, found: _Found, method: Method, tell: _Tell) -> tuple[Slice, ...]:
    kinds = [key for key in ("models", "slices", "modules") if key in found]
    if len(kinds) != 1:
        what = f"found {' and '.join(kinds)}" if kinds else "found neither"
        line = found[kinds[1]] if kinds else document
        raise line.refuse(f"a recipe should have either models or slices, {what}")
    value = found[kinds[0]]
    if kinds == ["modules"]:
        raise value.refuse("modules, for models of several parts, are not read; write models, or slices of one part")
    items = value.items(kinds[0])
    if kinds == ["slices"]:
        slices = tuple(_slice(item, method, tell) for item in items)
    else:
        sources = tuple(_source(item, method, tell, sliced=False) for item in items)
        slices = (Slice(sources, None, parse_settings(None, method, tell), value.line),)
    if len({source.model for each in slices for source in each.sources}) > _MAX_MODELS:
        raise value.refuse(f"a recipe takes from at most {_MAX_MODELS} models")
    return slices


def _slice(value: Value, method: Method, tell: _Tell) -> Slice:
    found = value.mapping("a slice", _SLICE)
    if "sources" not in found:
        raise value.refuse("a slice should have sources")
    if "residual_weight" in found:
        tell(f"line {found['residual_weight'].line}: residual_weight has no effect, nor has it in mergekit")
    sources = tuple(_source(item, method, tell, sliced=True) for item in found["sources"].items("sources"))
    counts = {source.layers[1] - source.layers[0] for source in sources if source.layers}
    if len(counts) > 1:
        raise value.refuse(f"all sources of a slice should have as many layers, found {_listed(counts)}")
    base = found.get("base_model")
    named = None if base is None or base.found is None else parse_ref(base, "base_model")
    return Slice(sources, named, parse_settings(found.get("parameters"), method, tell), value.line)


def _source(value: Value, method: Method, tell: _Tell, *, sliced: bool) -> Source:
    what = "a source" if sliced else "a model"
    found = value.mapping(what, ("model", "layer_range", "parameters") if sliced else ("model", "parameters"))
    if "model" not in found:
        raise value.refuse(f"{what} should have a key model")
    settings = parse_settings(found.get("parameters"), method, tell, of_source=True)
    return Source(parse_ref(found["model"], "model"), _layers(value, found) if sliced else None, settings, value.line)


def _layers(value: Value, found: _Found) -> tuple[int, int]:
    if "layer_range" not in found:
        raise value.refuse("a source should have a layer_range, such as [0, 12]")
    place = found["layer_range"]
    items = place.items("layer_range")
    ends = [item.integer("layer_range") for item in items]
    if len(ends) != 2 or ends[0] >= ends[1]:
        raise place.refuse(f"layer_range should be [first, end), end beyond first, found {ends}")
    return ends[0], ends[1]


def _with_base(recipe: Recipe, document: Value, tell: _Tell) -> Recipe:
    """With a base in every slice, and whole models with the base among them, as mergekit puts it last"""
    method, base = recipe.method, recipe.base
    if method.name == "slerp" and base is None and all(one.base is None for one in recipe.slices):
        base = recipe.slices[0].sources[0].model
        tell(f"slerp without a base_model starts from the first model, {base}")
    slices = tuple(replace(one, base=one.base or base) for one in recipe.slices)
    lacking = next((one for one in slices if one.base is None), None)
    if method.base is Base.NEEDED and lacking is not None:
        raise document.refuse(f"{method.name} should have a base_model, the one that the others were made from")
    if recipe.whole and base is not None:
        (one,) = slices
        if base not in [source.model for source in one.sources]:
            added = Source(base, None, parse_settings(None, method, tell), one.line)
            slices = (replace(one, sources=(*one.sources, added)),)
    return replace(recipe, base=base, slices=slices)


def _listed(numbers: set[int]) -> str:
    return " and ".join(map(str, sorted(numbers)))
