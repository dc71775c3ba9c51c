"""A forked child that dies at a named step, and what must hold afterwards"""

import json
import os
import signal
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

from artifactstore.core.events import Event, Step

Monitor = Callable[[Event], None]
Action = Callable[[Monitor], str]


@dataclass(frozen=True)
class Outcome:
    """What a child said before it ended: its answer when it was acknowledged, and the steps it went through"""

    answer: str | None
    steps: list[str]
    killed: bool


Point = tuple[str, int]


def points(outcome: Outcome) -> list[Point]:
    """Where to die: at each named step when it is first reached, and once more in the middle of many writes

    How many digests are asked for at once depends on timing, so later rounds of other steps may not come.
    """
    first = [(name, 0) for name in dict.fromkeys(outcome.steps)]
    return first + [(name, 1) for name, _ in first if ".write." in name and outcome.steps.count(name) > 1]


def run(action: Action, *, die_at: Point | None = None, within: float | None = None) -> Outcome:
    """Run the action in a forked child that is killed when it reaches a step for the n-th time, counted from 0

    within: it is killed after so many seconds, wherever it is.
    """
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        _child(action, die_at, writing)
    os.close(writing)
    if within is not None:
        time.sleep(within)  # the moment is what the test draws
        os.kill(pid, signal.SIGKILL)
    with os.fdopen(reading) as pipe:
        lines = [json.loads(line) for line in pipe]
    _, status = os.waitpid(pid, 0)
    killed = os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL
    failures = [line["failed"] for line in lines if "failed" in line]
    if failures or not (killed or os.waitstatus_to_exitcode(status) == 0):
        raise AssertionError(f"the child failed: {failures or status}")
    answers = [line["answer"] for line in lines if "answer" in line]
    return Outcome(answers[0] if answers else None, [line["step"] for line in lines if "step" in line], killed)


def _child(action: Action, die_at: Point | None, writing: int) -> None:
    reached: Counter[str] = Counter()

    def tell(document: dict[str, str]) -> None:
        os.write(writing, json.dumps(document).encode() + b"\n")

    def monitor(event: Event) -> None:
        if isinstance(event, Step):
            tell({"step": event.name})
            if (event.name, reached[event.name]) == die_at:
                os.kill(os.getpid(), signal.SIGKILL)
                signal.pause()
            reached[event.name] += 1

    try:
        tell({"answer": action(monitor)})
    except BaseException as e:
        tell({"failed": f"{type(e).__name__}: {e}"})
        os._exit(1)
    os._exit(0)
