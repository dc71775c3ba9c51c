"""Ranges: parameters that do not go together are named with the tensor"""

import pytest

from artifactstore.core.errors import Invalid
from artifactstore.core.recipe.parse import parse
from artifactstore.core.recipe.resolve import resolve
from tests.core.recipe.shelf import llama

LINEAR = (
    "merge_method: linear\nmodels:\n- {model: a, parameters: {weight: 1}}\n- {model: b, parameters: {weight: -1}}\n"
)
DELLA = "merge_method: della\nbase_model: b\nmodels:\n- {model: a, parameters: {weight: 1, density: DENSITY, epsilon: 0.2}}\n"


def planned(text):
    return resolve(parse(text, "r.yml"), [llama("a"), llama("b")])


def test_weights_that_sum_to_nothing_are_not_normalized():
    with pytest.raises(Invalid, match=r"^r.yml: line 2: the weights of model.embed_tokens.weight sum to 0"):
        planned(LINEAR)
    assert planned(LINEAR + "parameters: {normalize: false}").outputs


@pytest.mark.parametrize("density", ["0.2", "0.8", "0.1", "0.95", "[0.5, 0.9]"])
def test_chances_beyond_nothing_and_all_are_refused(density):
    with pytest.raises(Invalid, match=r"line 3: density ± epsilon of .+ should be inside 0\.\.1, found 0\.\d+ ± 0\.2"):
        planned(DELLA.replace("DENSITY", density))


@pytest.mark.parametrize("density", ["0", "1", "0.5", "[0.3, 0.7]"])
def test_chances_inside_are_taken(density):
    assert planned(DELLA.replace("DENSITY", density)).outputs
