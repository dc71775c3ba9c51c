"""Gpu: loading, switching, hashing and saving on a GPU, and the loaders of others there; `make bench-gpu`

Needs torch and this project only; who else can be imported takes part. Every measurement has a process of its own and a
time by which it ends; what fails is told, and the others go on. Figures are in the file after each, and on stdout.
"""

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from importlib.util import find_spec
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))

from benchmarks import device, gpu_page, loading, peers  # noqa: E402  # the folder is no installed package
from benchmarks.device import Job  # noqa: E402

# with fewer seconds left nothing is begun
_LEAST = 5.0
# seconds that one measurement may take, and one of a peer, as some wait for ever
_LONGEST, _PEER = 150.0, 45.0


@dataclass
class Run:
    """What was found until now, and when to end"""

    found: dict[str, Any]
    out: Path
    until: float

    def child(self, what: str, job: Job, longest: float = _LONGEST) -> dict[str, Any]:
        """Measure in a process of its own; `absent` or `failed` say why there are no figures"""
        left = self.until - time.monotonic()
        if left < _LEAST:
            return {"failed": "no time was left"}
        command = [sys.executable, str(Path(device.__file__)), what, json.dumps(asdict(job))]
        limit = min(left, longest)
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=limit, check=False)
        except subprocess.TimeoutExpired:
            return {"failed": f"it was not done after {limit:.0f} s"}
        if done.returncode:
            why = done.stderr.strip() or f"it ended with {done.returncode}"
            return {"failed": peers.reason(why), "trace": why[-3000:]}
        figures: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
        return figures

    def note(self, where: dict[str, Any], what: str, figures: dict[str, Any]) -> None:
        """One more, in the file and told"""
        trace = figures.pop("trace", "")
        where[what] = figures
        self.out.write_text(json.dumps(self.found, indent=2) + "\n")
        shown = {key: round(one, 3) if isinstance(one, float) else one for key, one in figures.items()}
        print(f"  {what:<48} {json.dumps(shown)}", flush=True)
        if trace:
            print(trace, flush=True)


def main() -> int:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--device", default="cuda:0", help="with cpu the script is tried, its figures mean nothing")
    options.add_argument("--folder", type=Path, help="where to work; about 15 GB")
    options.add_argument("--out", type=Path, default=gpu_page.FIGURES)
    options.add_argument("--repeats", type=int, default=7)
    options.add_argument("--piece", type=int, default=64 << 20, help="bytes that limits and hashes are measured with")
    options.add_argument("--seconds", type=float, default=420, help="what is not measured by then is left out")
    chosen = options.parse_args()
    job = Job("", device=chosen.device, repeats=chosen.repeats, piece=chosen.piece)
    run = Run({}, chosen.out, time.monotonic() + chosen.seconds)
    about = run.child("probe", job)
    if why := about.get("absent") or about.get("failed"):
        print(f"There is no GPU to measure on: {why}")
        return 0
    run.found |= {"date": datetime.now(UTC).strftime("%Y-%m-%d"), "machine": about, "sets": {}}
    print(json.dumps(about), flush=True)
    with tempfile.TemporaryDirectory(dir=chosen.folder, prefix="artstore-bench-", ignore_cleanup_errors=True) as folder:
        _measure(run, job, Path(folder))
    print("\n".join(gpu_page.page(run.found)))
    if chosen.out == gpu_page.FIGURES:
        subprocess.run([sys.executable, ROOT / "benchmarks/run.py", "--only"], check=False, stdout=subprocess.DEVNULL)
    return 1 if _failed(run.found) else 0


def _measure(run: Run, job: Job, folder: Path) -> None:
    for name in loading.SETS:
        place = folder / ("large" if name == loading.LARGE else "small")
        found = run.found["sets"].setdefault(name, {"loads": {}})
        of_set = replace(job, place=str(place), of=name)
        run.note(found, "prepared", run.child("prepare", of_set))
        if "failed" not in found["prepared"]:
            made = found["prepared"]
            _measure_set(run, replace(of_set, old=made["old"], new=made["new"]), found)
        shutil.rmtree(place, ignore_errors=True)


def _measure_set(run: Run, job: Job, found: dict[str, Any]) -> None:
    large = job.of == loading.LARGE
    if large:
        # first, as what it compiles is kept for the others
        run.note(run.found, "hashing", run.child("hashing", job))
        run.note(run.found, "saving", run.child("saving", job))
    run.note(found, "switch", run.child("switch", job))
    for what in device.LOADS:
        if not _is_ours(what):
            run.note(found["loads"], what, _peer(run, what, job))
        elif large or what not in device.MORE:
            run.note(found["loads"], what, run.child(what, job))


def _is_ours(what: str) -> bool:
    return what.startswith(("store", "plain"))


def _peer(run: Run, what: str, job: Job) -> dict[str, Any]:
    """Its figures, or why it is absent"""
    module = peers.MODULES.get(what.partition(" ")[0], "safetensors")
    if what != peers.PREFETCH and find_spec(module) is None:
        return {"absent": f"{module} cannot be imported"}
    found = run.child(what, job, _PEER)
    return {"absent": found["failed"]} if "failed" in found else found


def _failed(found: dict[str, Any]) -> bool:
    """Whether one of ours has no figures"""
    figures = [found.get("hashing", {}), found.get("saving", {})]
    for of in found["sets"].values():
        figures += [of["prepared"], of.get("switch", {}), *of["loads"].values()]
    return any("failed" in each for each in figures)


if __name__ == "__main__":
    sys.exit(main())
