"""Screen: what a person sees on stdout; colours and boxes on a terminal, plain aligned columns elsewhere"""

import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from artstore.failure import one_line

if TYPE_CHECKING:
    from rich.console import Console

_WORD = 24  # cells a word may ask for before it is folded


@dataclass(frozen=True, slots=True)
class Column:
    """A column of a table. style: of its cells on a terminal. wrap: its cells may take several lines there"""

    title: str
    right: bool = False
    style: str = ""
    wrap: bool = False


class Screen:
    """Writes lines, fields and tables to stdout"""

    def __init__(self) -> None:
        self.rich = sys.stdout.isatty()

    @cached_property
    def _console(self) -> "Console":
        # rich takes longer to import than a redirected command takes to run
        from rich.console import Console  # noqa: PLC0415

        return Console(file=sys.stdout, highlight=False, markup=False, emoji=False)

    def line(self, text: str = "", style: str = "") -> None:
        """One line, never cut"""
        if self.rich:
            self._console.print(one_line(text), style=style or None, soft_wrap=True)
        else:
            write(one_line(text))

    def fields(self, pairs: Iterable[tuple[str, str]]) -> None:
        """Names with their values, one a line, without those that are empty"""
        shown = [(name, one_line(value)) for name, value in pairs if value]
        width = max((len(name) for name, _ in shown), default=0)
        for name, value in shown:
            if self.rich:
                self._console.print(f"{name:<{width}} ", style="dim", end=" ")
                self._console.print(value, soft_wrap=True)
            else:
                write(f"{name:<{width}}  {value}")

    def table(self, columns: Sequence[Column], rows: Sequence[Sequence[str]], *, styles: Sequence[str] = ()) -> None:
        """Rows under their titles; columns that are empty in every row are left out. styles: of whole rows"""
        if not rows:
            return
        used = [at for at in range(len(columns)) if any(row[at] for row in rows)]
        kept = [columns[at] for at in used]
        # asked of a row as a whole, since most need no escape
        chosen = ([row[at] for at in used] for row in rows)
        cells = [row if "".join(row).isprintable() else [one_line(cell) for cell in row] for row in chosen]
        if self.rich:
            self._boxed(kept, cells, styles or [""] * len(rows))
        else:
            _plain(kept, cells)

    def _boxed(self, columns: Sequence[Column], rows: Sequence[Sequence[str]], styles: Sequence[str]) -> None:
        from rich import box  # noqa: PLC0415  # as above
        from rich.cells import cell_len  # noqa: PLC0415  # as above
        from rich.table import Table  # noqa: PLC0415

        table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False, padding=(0, 1, 0, 0), header_style="bold")
        need = 2 * len(columns) - 2
        for at, column in enumerate(columns):
            words = (word for row in rows for word in row[at].split())
            cells = (column.title, *(row[at] for row in rows))
            least = min(max(map(len, words), default=0), _WORD) if column.wrap else None
            need += least or max(map(cell_len, cells))
            table.add_column(
                column.title,
                justify="right" if column.right else "left",
                style=column.style or None,
                no_wrap=not column.wrap,
                min_width=least,
                overflow="fold",
            )
        for row, style in zip(rows, styles, strict=True):
            table.add_row(*row, style=style or None)
        # a table that is too wide is folded by the terminal: a number that is cut is another number
        if need > self._console.width:
            table.width = need
        self._console.print(table, crop=False)


def write(line: str) -> None:
    """A line of data; flushed, so that a closed pipe is found here and not when the process ends"""
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def write_all(lines: Iterable[str]) -> None:
    """Lines of data, flushed once"""
    sys.stdout.writelines(f"{line}\n" for line in lines)
    sys.stdout.flush()


def _plain(columns: Sequence[Column], rows: Sequence[Sequence[str]]) -> None:
    titles = [column.title.upper() for column in columns]
    widths = [max(map(len, cells)) for cells in zip(titles, *rows, strict=True)]
    marks = (">" if column.right else "<" for column in columns)
    layout = "  ".join(f"{{:{mark}{width}}}" for mark, width in zip(marks, widths, strict=True))
    lines = [layout.format(*row).rstrip() for row in (titles, *rows)]
    write("\n".join(lines))
