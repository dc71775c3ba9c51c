"""A store against plain dictionaries: saves, lineage, retention, leases, damage, crashes and lost catalogs"""

import os
import secrets

import pytest
from hypothesis import HealthCheck, seed, settings
from hypothesis.stateful import run_state_machine_as_test

from tests.faults.scale import SEED, choose
from tests.machines.machine import RetentionMachine
from tests.machines.places import Maker
from tests.servers import S3_BUCKET

# in parts, so that every core has some
PARTS = {"sqlite and disk": 8, "postgres and disk": 2, "sqlite and s3": 2, "postgres and s3": 2}
EXAMPLES = {"sqlite and disk": 25}
FEW = 10
STEPS = 50
LONGER = 20


# the slowest first
@pytest.fixture(params=[*enumerate(place for place, parts in PARTS.items() for _ in range(parts))][::-1], ids=str)
def part(request):
    return request.param


@pytest.fixture
def place(part):
    return part[1]


@pytest.fixture
def maker(request, place):
    postgres = request.getfixturevalue("postgres_server") if "postgres" in place else None
    s3 = None
    if "s3" in place:
        endpoint = request.getfixturevalue("rclone_endpoint")
        s3 = f"s3://{S3_BUCKET}/{secrets.token_hex(6)}?endpoint_url={endpoint}&region=us-east-1"
    made = Maker(postgres=postgres, s3=s3)
    yield made
    made.close()


def test_a_store_is_what_its_model_says(maker, part):
    """What fails is seen again with its seed in MACHINE_SEED, or by the lines that Hypothesis prints"""
    number, place = part

    class Machine(RetentionMachine):
        pass

    Machine.maker = maker
    number = int(os.environ.get("MACHINE_SEED", SEED + number))
    print(f"MACHINE_SEED={number}")
    wanted = settings(
        max_examples=EXAMPLES.get(place, FEW) * choose(1, LONGER),
        stateful_step_count=STEPS,
        deadline=None,
        derandomize=False,
        print_blob=True,
        suppress_health_check=list(HealthCheck),
    )
    run_state_machine_as_test(seed(number)(Machine), settings=wanted)
