"""Succession: recipes that merge what others make, each after those"""

from collections.abc import Mapping
from graphlib import CycleError, TopologicalSorter

from artifactstore.core.errors import Invalid
from artifactstore.core.recipe.recipe import ModelRef, Recipe

_NEWEST = (None, "latest")


def in_order(recipes: Mapping[str, Recipe]) -> dict[str, frozenset[str]]:
    """The names of what recipes make, in an order in which they can be made, each with those that it takes

    Raises Invalid where they go round in a circle, or a recipe takes what it makes itself.
    """
    takes = {
        name: frozenset(ref.path for ref in recipe.models if _is_made(ref, recipes)) for name, recipe in recipes.items()
    }
    for name, recipe in recipes.items():
        if name in takes[name]:
            raise Invalid(
                f"{recipe.path}: {name} would be made of itself; give the product another name",
                code="cycle",
                names=[name],
            )
    try:
        return {name: takes[name] for name in TopologicalSorter(takes).static_order()}
    except CycleError as e:
        # each is taken by the one after it
        circle = list(e.args[1])
        shown = " of ".join(reversed(circle))
        raise Invalid(f"Recipes go round in a circle: {shown}", code="cycle", names=circle) from e


def _is_made(ref: ModelRef, recipes: Mapping[str, Recipe]) -> bool:
    return ref.path in recipes and ref.revision in _NEWEST
