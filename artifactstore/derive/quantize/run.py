"""Run of a quantization: the tensors of a plan, encoded and stored one after another"""

from artifactstore.depot import Depot
from artifactstore.derive.models import holding
from artifactstore.derive.product import ProductReport, produce
from artifactstore.derive.quantize.plan import QuantizePlan


def run(depot: Depot, plan: QuantizePlan) -> ProductReport:
    """Make the version that a plan says; once more, and it is the version that is there

    Raise NoSpace before any work, Invalid naming a tensor whose values have no code.
    """
    with holding((plan.model,)):
        return produce(depot, plan.product)
