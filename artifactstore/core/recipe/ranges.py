"""Ranges: parameters that only together are out of bounds, known once they are those of one tensor"""

from artifactstore.core.recipe.blueprint import Output
from artifactstore.core.recipe.document import refusal
from artifactstore.core.recipe.recipe import Recipe, Slice

_DELLA = frozenset(("della", "della_linear"))


def check_params(recipe: Recipe, part: Slice, output: Output) -> None:
    """Raise Invalid where weights to be normalized sum to 0, or della's chances leave (0, 1)"""
    if output.method == "linear" and output.params["normalize"]:
        weights = [source.params["weight"] for source in output.sources]
        if sum(weights) == 0:
            why = (
                f"the weights of {output.name} sum to 0, which cannot be normalized; write normalize: false, or others"
            )
            raise refusal(recipe.path, part.line, why)
    if output.method in _DELLA:
        for source in output.sources:
            density, epsilon = source.params["density"], source.params["epsilon"]
            if 0 < density < 1 and not epsilon < density < 1 - epsilon:
                why = f"density ± epsilon of {output.name} should be inside 0..1, found {density:g} ± {epsilon:g}"
                raise refusal(recipe.path, part.line, why)
