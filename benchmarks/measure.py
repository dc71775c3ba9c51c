"""Measure: wall time and peak memory of a child process, medians over rounds"""

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Sample:
    """Seconds of wall time and peak resident bytes of one run"""

    seconds: float
    peak_rss: int


def run(command: Sequence[str | Path], **environment: str) -> Sample:
    """Run a command to its end in its own process; raise when it fails"""
    return _run(command, environment)[0]


def inside(module: str, *arguments: str | Path) -> Sample:
    """Run a module of this folder that prints the seconds of its work, without those of starting the interpreter"""
    sample, printed = _run([sys.executable, Path(__file__).parent / f"{module}.py", *arguments], {})
    return Sample(float(printed.splitlines()[-1]), sample.peak_rss)


def told(module: str, *arguments: str | Path) -> dict[str, Any]:
    """Run a module of this folder that prints what it measured, as JSON on its last line, also its peak where it can"""
    sample, printed = _run([sys.executable, Path(__file__).parent / f"{module}.py", *arguments], {})
    found: dict[str, Any] = json.loads(printed.splitlines()[-1])
    return {"peak_rss": sample.peak_rss} | found


def _run(command: Sequence[str | Path], environment: dict[str, str]) -> tuple[Sample, str]:
    began = time.perf_counter()
    with tempfile.TemporaryFile() as printed, tempfile.TemporaryFile() as failed:
        process = subprocess.Popen(
            [str(part) for part in command], env=os.environ | environment, stdout=printed, stderr=failed
        )
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        seconds = time.perf_counter() - began
        if process.returncode:
            failed.seek(0)
            raise RuntimeError(f"{command[0]} ended with {process.returncode}: {failed.read().decode()[-500:]}")
        printed.seek(0)
        return Sample(seconds, usage.ru_maxrss * 1024), printed.read().decode()


def median(samples: Sequence[Sample]) -> Sample:
    """The median time, the highest memory"""
    return Sample(statistics.median(sample.seconds for sample in samples), max(sample.peak_rss for sample in samples))


def interleaved(contenders: dict[str, Callable[[], Sample | None]], rounds: int) -> dict[str, Sample]:
    """Every contender once a round, so that a slow minute of the disk hits all of them; absent ones give None"""
    taken: dict[str, list[Sample]] = {}
    for number in range(rounds):
        for name, contender in contenders.items():
            sample = contender()
            if sample is not None:
                taken.setdefault(name, []).append(sample)
                print(
                    f"  round {number + 1}: {name:<44} {sample.seconds:7.2f} s  {sample.peak_rss >> 20:6d} MiB",
                    flush=True,
                )
    return {name: median(samples) for name, samples in taken.items()}


def as_json(samples: dict[str, Sample]) -> dict[str, dict[str, float]]:
    """For the JSON beside the page"""
    return {name: asdict(sample) for name, sample in samples.items()}
