"""Progress: what a running verb tells, as a bar, as events, or as a line on stderr"""

import json
import sys
import threading
import time
from types import TracebackType
from typing import TYPE_CHECKING, Self

from artifactstore.core.events import Event, Progress, Warn
from artstore.failure import one_line
from artstore.output import Form, Output

if TYPE_CHECKING:
    from rich.progress import Progress as Bars
    from rich.progress import TaskID

_INTERVAL = 0.2


class Reporter:
    """A monitor that shows what it hears: warnings always, progress where somebody or something reads it"""

    def __init__(self, output: Output) -> None:
        self._output = output
        self._lock = threading.Lock()
        self._drawn = output.form in {Form.TEXT, Form.JSON} and sys.stderr.isatty()
        self._bars: Bars | None = None
        self._tasks: dict[str, TaskID] = {}
        self._told = 0.0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def __call__(self, event: Event, /) -> None:
        """Take an event, from any thread"""
        if isinstance(event, Warn):
            self._warn(event.message)
        elif isinstance(event, Progress) and event.total:
            with self._lock:
                if self._drawn:
                    self._draw(event)
                elif self._output.form is Form.JSONL:
                    self._tell(event)

    def stop(self) -> None:
        """Take the bars away, before the answer is told"""
        with self._lock:
            self._drawn = False
            if self._bars is not None:
                self._bars.stop()
                self._bars = None

    def _warn(self, message: str) -> None:
        if self._output.form is Form.JSONL:
            with self._lock:
                self._output.event("warning", {"message": message})
            return
        line = json.dumps({"warning": message}) if self._output.form is Form.JSON else f"warning: {one_line(message)}"
        if self._bars is not None:
            self._bars.console.print(line, markup=False, highlight=False, soft_wrap=True)
        else:
            print(line, file=sys.stderr)  # noqa: T201  # the command speaks on stderr

    def _tell(self, event: Progress) -> None:
        now = time.monotonic()
        if event.done < event.total and now - self._told < _INTERVAL:
            return
        self._told = now
        self._output.event("progress", {"phase": event.phase, "done": event.done, "total": event.total})

    def _draw(self, event: Progress) -> None:
        if self._bars is None:
            self._bars = _bars()
            self._bars.start()
        if event.phase not in self._tasks:
            self._tasks[event.phase] = self._bars.add_task(event.phase, total=event.total)
        self._bars.update(self._tasks[event.phase], completed=event.done, total=event.total)


def _bars() -> "Bars":
    # rich takes longer to import than most commands take to run
    from rich import progress  # noqa: PLC0415
    from rich.console import Console  # noqa: PLC0415

    return progress.Progress(
        progress.TextColumn("{task.description}"),
        progress.BarColumn(),
        progress.DownloadColumn(),
        progress.TransferSpeedColumn(),
        progress.TimeRemainingColumn(),
        console=Console(stderr=True),
        transient=True,
    )
