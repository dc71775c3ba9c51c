"""Fixtures that many rooms of the suite share"""

import functools
import os
import secrets
import shutil
import subprocess
import tempfile
from collections.abc import Iterator

import botocore.loaders
import pytest
from hypothesis import HealthCheck, settings

from tests.beside import Beside
from tests.faults.scale import choose
from tests.servers import S3_BUCKET, S3_KEY, S3_SECRET, postgres_database, start_moto, start_postgres, start_rclone

# of a property that says nothing else itself; no test fails because a machine is slow
settings.register_profile(
    "suite",
    settings.default,
    max_examples=choose(50, 1_000),
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile("suite")

# where a sync costs nothing, and how much must be free
_MEMORY, _ROOM = "/dev/shm", 4 << 30
_FOLDER = pytest.StashKey[str]()

# what takes many seconds a test, the longest first
_LONG = ("soak", "machines", "faults", "crash")


def pytest_configure(config: pytest.Config) -> None:
    """Temporary files are in memory where there is room, unless TMPDIR says where, and go with the run"""
    # what distributes tests to workers has been here before them
    if "TMPDIR" in os.environ or not os.access(_MEMORY, os.W_OK) or shutil.disk_usage(_MEMORY).free < _ROOM:
        return
    # short, as sockets are bound below it
    config.stash[_FOLDER] = os.environ["TMPDIR"] = tempfile.tempdir = tempfile.mkdtemp(prefix="art-", dir=_MEMORY)
    # some tests are other users
    os.chmod(config.stash[_FOLDER], 0o1777)
    config.option.basetemp = config.option.basetemp or os.path.join(config.stash[_FOLDER], "t")


def pytest_unconfigure(config: pytest.Config) -> None:
    """What killed children left goes too"""
    if _FOLDER in config.stash:
        shutil.rmtree(config.stash[_FOLDER], ignore_errors=True)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Long tests first in what each worker begins with, so that none is left over when all others are done"""
    count = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
    long = [item for room in _LONG for item in items if room in item.path.parts]
    short = [item for item in items if not set(_LONG) & set(item.path.parts)]
    ends = [len(short) * worker // count for worker in range(count + 1)]
    items[:] = [item for at in range(count) for item in (*long[at::count], *short[ends[at] : ends[at + 1]])]


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[str]:
    with start_postgres() as url:
        yield url


@pytest.fixture
def postgres_url(postgres_server) -> Iterator[str]:
    with postgres_database(postgres_server) as url:
        yield url


@pytest.fixture(scope="session")
def s3_credentials() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_ACCESS_KEY_ID", S3_KEY)
        patch.setenv("AWS_SECRET_ACCESS_KEY", S3_SECRET)
        patch.setenv("AWS_EC2_METADATA_DISABLED", "true")
        patch.setenv("AWS_CONFIG_FILE", "/dev/null")
        patch.setenv("AWS_SHARED_CREDENTIALS_FILE", "/dev/null")
        # what S3 is described by takes longer to parse than all that a short test asks of it
        patch.setattr("botocore.session.create_loader", functools.cache(botocore.loaders.create_loader))
        yield


@pytest.fixture(scope="session")
def moto_endpoint(s3_credentials) -> Iterator[str]:
    with start_moto() as endpoint:
        yield endpoint


@pytest.fixture(scope="session")
def rclone_endpoint(s3_credentials) -> Iterator[str]:
    with start_rclone() as endpoint:
        yield endpoint


@pytest.fixture(params=["moto", "rclone"])
def s3_url(request) -> str:
    """A store URL under a fresh prefix, once per S3 server"""
    endpoint = request.getfixturevalue(f"{request.param}_endpoint")
    return f"s3://{S3_BUCKET}/{secrets.token_hex(6)}?endpoint_url={endpoint}&region=us-east-1"


@pytest.fixture
def mounted(tmp_path):
    """Mount a tmpfs with options; skip where that is not permitted"""
    points = []

    def mount(options):
        point = tmp_path / f"mount{len(points)}"
        point.mkdir()
        done = (
            subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", point], capture_output=True, text=True)
            if shutil.which("mount")
            else None
        )
        if done is None or done.returncode != 0:
            pytest.skip(f"mounting is not permitted here: {done.stderr.strip() if done else 'no mount'}")
        points.append(point)
        return point

    yield mount
    for point in points:
        subprocess.run(["umount", "-l", point], check=True)


@pytest.fixture
def beside(request, tmp_path):
    """Stores beside each other, with no trace of them outside the test's folder"""
    made = Beside(tmp_path, request)
    yield made
    made.close()
