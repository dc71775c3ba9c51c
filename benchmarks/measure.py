"""Measure: wall time and peak memory of a child process, medians over rounds"""

import os
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path


@dataclass(frozen=True)
class Sample:
    """Seconds of wall time and peak resident bytes of one run"""

    seconds: float
    peak_rss: int


def run(command: Sequence[str | Path], **environment: str) -> Sample:
    """Run to the end in its own process; raise when it fails"""
    began = time.perf_counter()
    pid = subprocess.Popen(
        [str(part) for part in command],
        env=os.environ | environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    )
    _, error = pid.stderr.read(), pid.stderr
    _, status, usage = os.wait4(pid.pid, 0)
    pid.returncode = os.waitstatus_to_exitcode(status)
    error.close()
    if pid.returncode:
        raise RuntimeError(f"{command[0]} ended with {pid.returncode}")
    return Sample(time.perf_counter() - began, usage.ru_maxrss * 1024)


def python(module: str, *arguments: str | Path) -> Sample:
    """Run a module of this folder in a fresh interpreter"""
    return run([sys.executable, Path(__file__).parent / f"{module}.py", *arguments])


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


def own_peak() -> int:
    """Peak resident bytes of this process"""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
