"""Run of a merge: the outputs of a plan, made and stored one after another"""

from artifactstore.depot import Depot
from artifactstore.derive.merge.plan import MergePlan
from artifactstore.derive.models import holding
from artifactstore.derive.product import ProductReport, produce
from artifactstore.derive.threads import one_thread


def run(depot: Depot, plan: MergePlan) -> ProductReport:
    """Make the version that a plan says; once more, and it is the version that is there"""
    try:
        with holding(plan.models), one_thread():
            return produce(depot, plan.product)
    finally:
        plan.arena.close()
