"""Sharing: push, pull, bundles and fetches of 2 GB, against rclone, tar and hf in the same run"""

import contextlib
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from benchmarks import measure
from benchmarks.ingest import ARTSTORE
from benchmarks.measure import Sample
from tests.servers import S3_BUCKET, S3_KEY, S3_SECRET, answers, await_ready, free_port, running, start_rclone

ROOT = Path(__file__).parent.parent
RCLONE = Path(sys.executable).with_name("rclone")
HF = Path(sys.executable).with_name("hf")
REPO = "org/model"


class Sharing:
    """A store with one model of 2 GB and, after a change, with a second one of which a hundredth differs"""

    def __init__(self, root: Path, endpoint: str, hub: str) -> None:
        self.root, self.endpoint, self.hub = root, endpoint, hub
        self.plain, self.changed = root / "plain", root / "changed"
        for folder, share in ((self.plain, "0"), (self.changed, "0.01")):
            folder.mkdir()
            models = Path(__file__).with_name("models.py")
            measure.run([sys.executable, models, folder / "model.safetensors", share])
        self.nbytes = (self.plain / "model.safetensors").stat().st_size
        self.round = 0
        self.environment = {
            "AWS_ACCESS_KEY_ID": S3_KEY,
            "AWS_SECRET_ACCESS_KEY": S3_SECRET,
            "AWS_EC2_METADATA_DISABLED": "true",
            "RCLONE_CONFIG": os.devnull,
            "RCLONE_CONFIG_PEER_TYPE": "s3",
            "RCLONE_CONFIG_PEER_PROVIDER": "Rclone",
            "RCLONE_CONFIG_PEER_ENDPOINT": endpoint,
            "RCLONE_CONFIG_PEER_ACCESS_KEY_ID": S3_KEY,
            "RCLONE_CONFIG_PEER_SECRET_ACCESS_KEY": S3_SECRET,
            "XDG_CACHE_HOME": str(root / "cache"),
            "HOME": str(root / "home"),
        }

    def artstore(self, *words: str | Path, store: str = "store") -> Sample:
        return measure.run([ARTSTORE, *words, "--store", self.root / store], **self.environment)

    def rclone(self, source: str | Path, target: str | Path) -> Sample:
        os.sync()
        return measure.run([RCLONE, "copy", source, target], **self.environment)

    def begin(self) -> None:
        """A new round: a fresh store of one model, and nothing of it elsewhere"""
        self.round += 1
        for name in ("store", "pulled", "applied", "untarred", "downloaded", "fetched", "cache", "home", "hf"):
            shutil.rmtree(self.root / name, ignore_errors=True)
        (self.root / "home").mkdir()
        self.artstore("init", self.root / "store")
        self.artstore("add", self.plain, "--as", "model")
        os.sync()

    def url(self, name: str = "mirror") -> str:
        return f"s3://{S3_BUCKET}/{name}-{self.round}?endpoint_url={self.endpoint}&region=us-east-1"

    def push_first(self) -> Sample:
        self.begin()
        self.artstore("remote", "add", "mirror", self.url())
        os.sync()
        return self.artstore("push", "mirror")

    def push_unchanged(self) -> Sample:
        return self.artstore("push", "mirror")

    def push_changed(self) -> Sample:
        self.artstore("add", self.changed, "--as", "model")
        os.sync()
        return self.artstore("push", "mirror")

    def pull_first(self) -> Sample:
        self.artstore("init", self.root / "pulled", store="pulled")
        self.artstore("remote", "add", "mirror", self.url(), store="pulled")
        os.sync()
        return self.artstore("pull", "mirror", "model:1", store="pulled")

    def pull_changed(self) -> Sample:
        os.sync()
        return self.artstore("pull", "mirror", store="pulled")

    def rclone_first(self) -> Sample:
        return self.rclone(self.plain, f"peer:{S3_BUCKET}/plain-{self.round}")

    def rclone_changed(self) -> Sample:
        return self.rclone(self.changed, f"peer:{S3_BUCKET}/plain-{self.round}")

    def rclone_blobs(self) -> Sample:
        return self.rclone(self.root / "store" / "blobs", f"peer:{S3_BUCKET}/blobs-{self.round}")

    def rclone_down(self) -> Sample:
        return self.rclone(f"peer:{S3_BUCKET}/plain-{self.round}", self.root / "downloaded")

    def bundle_create(self) -> Sample:
        (self.root / "bundle.tar").unlink(missing_ok=True)
        os.sync()
        return self.artstore("bundle", "create", "model:1", "-o", self.root / "bundle.tar")

    def bundle_apply(self) -> Sample:
        self.artstore("init", self.root / "applied", store="applied")
        os.sync()
        return self.artstore("bundle", "apply", self.root / "bundle.tar", store="applied")

    def tar_create(self, *, synced: bool = False) -> Sample:
        (self.root / "peer.tar").unlink(missing_ok=True)
        os.sync()
        words = f"tar cf {self.root}/peer.tar -C {self.plain} ." + " && sync" * synced
        return measure.run(["sh", "-c", words])

    def tar_extract(self, *, synced: bool = False) -> Sample:
        shutil.rmtree(self.root / "untarred", ignore_errors=True)
        (self.root / "untarred").mkdir()
        os.sync()
        return measure.run(["sh", "-c", f"tar xf {self.root}/peer.tar -C {self.root}/untarred" + " && sync" * synced])

    def fetch(self) -> Sample:
        self.artstore("init", self.root / "fetched", store="fetched")
        os.sync()
        return self.artstore("fetch", f"hf://{REPO}", "--endpoint", self.hub, store="fetched")

    def hf_download(self, *, synced: bool = False) -> Sample:
        shutil.rmtree(self.root / "hf", ignore_errors=True)
        os.sync()
        environment = self.environment | {
            "HF_ENDPOINT": self.hub,
            "HF_HOME": str(self.root / "hf"),
            "HF_HUB_DISABLE_TELEMETRY": "1",
            "HF_HUB_DISABLE_UPDATE_CHECK": "1",
        }
        words = f"{HF} download {REPO}" + " && sync" * synced
        return measure.run(["sh", "-c", words], **environment)


def run(root: Path, rounds: int) -> dict[str, object]:
    """Everything once a round, in the order in which a thing needs what is before it"""
    with _servers(root) as (endpoint, hub):
        work = Sharing(root, endpoint, hub)
        samples = measure.interleaved(
            {
                "artstore push, first": work.push_first,
                "rclone copy, first": work.rclone_first,
                "rclone copy of the blobs": work.rclone_blobs,
                "artstore push, unchanged": work.push_unchanged,
                "artstore pull, first": work.pull_first,
                "rclone copy back": work.rclone_down,
                "artstore push, 1 % changed": work.push_changed,
                "artstore pull, 1 % changed": work.pull_changed,
                "rclone copy, 1 % changed": work.rclone_changed,
                "artstore bundle create": work.bundle_create,
                "tar cf": work.tar_create,
                "tar cf, synced": lambda: work.tar_create(synced=True),
                "artstore bundle apply": work.bundle_apply,
                "tar xf": work.tar_extract,
                "tar xf, synced": lambda: work.tar_extract(synced=True),
                "artstore fetch": work.fetch,
                "hf download": work.hf_download,
                "hf download, synced": lambda: work.hf_download(synced=True),
            },
            rounds,
        )
        return {"bytes": work.nbytes, "samples": measure.as_json(samples)}


RATIOS = [
    ("rclone copy, first", "artstore push, first", "≥ 1.0"),
    ("rclone copy of the blobs", "artstore push, first", "≥ 1.0"),
    ("rclone copy, 1 % changed", "artstore push, 1 % changed", "≥ 10"),
    ("rclone copy back", "artstore pull, first", "≥ 1.0"),
    ("rclone copy, 1 % changed", "artstore pull, 1 % changed", "≥ 10"),
    ("tar cf", "artstore bundle create", "≥ 1.0"),
    ("tar cf, synced", "artstore bundle create", "≥ 1.0"),
    ("tar xf", "artstore bundle apply", "≥ 1.0"),
    ("tar xf, synced", "artstore bundle apply", "≥ 1.0"),
    ("hf download", "artstore fetch", "≥ 1.0"),
    ("hf download, synced", "artstore fetch", "≥ 1.0"),
]


@contextlib.contextmanager
def _servers(root: Path) -> Iterator[tuple[str, str]]:
    """An S3 server and a hub, each in a process of its own"""
    shards = root / "hub" / REPO
    script = "import sys; from pathlib import Path; from benchmarks import models; "
    script += "models.write_shards(Path(sys.argv[1]), models.shapes(), 4)"
    subprocess.run([sys.executable, "-c", script, shards], check=True, cwd=ROOT)
    (shards / "config.json").write_text('{"model_type": "bert"}')
    (shards / "tokenizer.json").write_text("{}")
    port = free_port()
    hub = f"http://127.0.0.1:{port}"
    serve = [sys.executable, "-m", "tests.hub", root / "hub", "--port", str(port)]
    with start_rclone() as endpoint, running(serve, cwd=ROOT) as process:
        await_ready(process, lambda: answers(hub), 120)
        yield endpoint, hub
