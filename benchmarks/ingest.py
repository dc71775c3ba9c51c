"""Ingest: adding and restoring a 2 GB model, against raw I/O, restic and DVC in the same run"""

import os
import shutil
import sys
from pathlib import Path

from benchmarks import measure
from benchmarks.measure import Sample

ARTSTORE = Path(sys.executable).with_name("artstore")


def _fresh(folder: Path) -> Path:
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    os.sync()
    return folder


def tool(name: str) -> str | None:
    """A peer's command, from BENCH_RESTIC or BENCH_DVC where it lives outside PATH"""
    return os.environ.get(f"BENCH_{name.upper()}") or shutil.which(name)


class Adding:
    """Every tool takes in the base model first, then the one with a tenth of its tensors changed"""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.base, self.tenth = root / "base.safetensors", root / "tenth.safetensors"
        # In their own processes: a child's peak memory is at least what its parent had when it was born.
        for path, changed in ((self.base, "0"), (self.tenth, "0.1")):
            measure.run([sys.executable, Path(__file__).with_name("models.py"), path, changed])
        self.nbytes = self.base.stat().st_size
        self.store, self.restic, self.dvc = root / "store", root / "restic", root / "dvc"

    def raw(self, mode: str, source: Path) -> Sample:
        target = _fresh(self.root / "raw") / "copy"
        return measure.inside("raw", mode, source, *([target] if mode.startswith("copy") else []))

    def _new_store(self) -> None:
        _fresh(self.store).rmdir()
        measure.run([ARTSTORE, "init", self.store])
        os.sync()

    def library_first(self) -> Sample:
        self._new_store()
        return measure.inside("library", "add", self.store, self.base)

    def library_changed(self) -> Sample:
        os.sync()
        return measure.inside("library", "add", self.store, self.tenth)

    def artstore_first(self) -> Sample:
        self._new_store()
        return measure.run([ARTSTORE, "add", self.base, "--as", "model", "--store", self.store])

    def artstore_changed(self) -> Sample:
        os.sync()
        return measure.run([ARTSTORE, "add", self.tenth, "--as", "model", "--store", self.store])

    def restic_first(self) -> Sample | None:
        if not tool("restic"):
            return None
        _fresh(self.restic)
        self._restic("init")
        return self._restic("backup", str(self.base))

    def restic_changed(self) -> Sample | None:
        os.sync()
        return self._restic("backup", str(self.tenth)) if tool("restic") else None

    def _restic(self, *arguments: str) -> Sample:
        command = [tool("restic"), "--repo", self.restic, "--no-cache", "--quiet", *arguments]
        return measure.run(command, RESTIC_PASSWORD="benchmark")  # a throw-away repository

    def dvc_first(self) -> Sample | None:
        return self._dvc_add(self.base, fresh=True)

    def dvc_changed(self) -> Sample | None:
        return self._dvc_add(self.tenth, fresh=False)

    def _dvc_add(self, source: Path, *, fresh: bool) -> Sample | None:
        dvc = tool("dvc")
        if dvc is None:
            return None
        if fresh:
            _fresh(self.dvc)
            os.chdir(self.dvc)
            measure.run([dvc, "init", "--no-scm", "--quiet"])
        os.chdir(self.dvc)
        shutil.copyfile(source, self.dvc / "model.safetensors")
        os.sync()
        return measure.run([dvc, "add", "--quiet", "model.safetensors"], DVC_NO_ANALYTICS="1")

    def artstore_checkout(self) -> Sample:
        target = _fresh(self.root / "out")
        return measure.run([ARTSTORE, "checkout", "model:1", target, "--store", self.store])

    def restic_restore(self) -> Sample | None:
        target = _fresh(self.root / "out")
        return self._restic("restore", "latest", "--target", str(target)) if tool("restic") else None

    def cp(self, *, sync: bool) -> Sample:
        target = _fresh(self.root / "out")
        copy = f"cp {self.base} {target}/base.safetensors"
        return measure.run(["sh", "-c", f"{copy} && sync {target}/base.safetensors" if sync else copy])


def run(root: Path, rounds: int) -> dict[str, object]:
    """Seconds and peak memory of each contender"""
    adding = Adding(root)
    contenders = {
        "raw read+blake3+write+fsync": lambda: adding.raw("copy", adding.base),
        "raw read+blake3+sha256+write+fsync": lambda: adding.raw("copy+sha256", adding.base),
        "raw read+blake3": lambda: adding.raw("hash", adding.tenth),
        "raw read+blake3+sha256": lambda: adding.raw("hash+sha256", adding.tenth),
        "Store.add, first": adding.library_first,
        "Store.add, 10 % changed": adding.library_changed,
        "artstore add, first": adding.artstore_first,
        "artstore add, 10 % changed": adding.artstore_changed,
        "restic backup, first": adding.restic_first,
        "restic backup, 10 % changed": adding.restic_changed,
        "dvc add, first": adding.dvc_first,
        "dvc add, 10 % changed": adding.dvc_changed,
        "artstore checkout": adding.artstore_checkout,
        "restic restore": adding.restic_restore,
        "cp": lambda: adding.cp(sync=False),
        "cp, synced": lambda: adding.cp(sync=True),
    }
    samples = measure.interleaved(contenders, rounds)
    return {"bytes": adding.nbytes, "samples": measure.as_json(samples), "stored": _size_of(adding)}


def _size_of(adding: Adding) -> dict[str, int]:
    folders = {"artstore": adding.store, "restic": adding.restic, "dvc": adding.dvc / ".dvc" / "cache"}
    return {
        name: sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
        for name, folder in folders.items()
        if folder.exists()
    }
