"""Plot: variants as points and bars in one picture"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from artifactstore.core.errors import Denied, Invalid, Unavailable
from artifactstore.derive.benchmark.run import Variant
from artifactstore.derive.extras import need

# What is on the ordinate of the first panel: the first that every variant has.
_QUALITY = (
    ("kl", "KL to the source, nats a token"),
    ("perplexity", "perplexity"),
    ("cosine", "cosine to the source"),
)


def check_plot(path: Path) -> None:
    """Raise Invalid, before the work, for a picture that could not be drawn there, Unavailable without matplotlib"""
    if path.suffix.lower() not in {".png", ".svg", ".pdf"}:
        raise Invalid(f"{path} is no picture; name it ….png, ….svg or ….pdf", code="plot", path=str(path))
    if not path.parent.is_dir():
        raise Invalid(f"There is no folder {path.parent} to draw {path.name} in", code="plot", path=str(path))
    need("matplotlib")


def plot(variants: Sequence[Variant], path: Path) -> None:
    """Size against quality, speed, and memory; raise Denied or Unavailable where it cannot be written"""
    figure = need("matplotlib.figure").Figure(figsize=(11, 4), layout="constrained")
    sizes, speeds, memory = figure.subplots(1, 3)
    colours = [f"C{number % 10}" for number in range(len(variants))]
    _sizes(sizes, variants, colours)
    writes = all(one.measured.writes is not None for one in variants)
    rates = [one.measured.writes if writes else one.measured.reads for one in variants]
    rooms = [(one.measured.rss or 0) / 2**20 for one in variants]
    names = [one.subject.ref for one in variants]
    _bars(speeds, names, rates, colours, f"tokens a second, {'writing' if writes else 'reading'}")
    _bars(memory, [], rooms, colours, "peak memory, MiB")
    try:
        figure.savefig(path, dpi=150)
    except PermissionError as e:
        raise Denied(f"Cannot write {path}: {e.strerror}") from e
    except OSError as e:
        raise Unavailable(f"Cannot write {path}: {e.strerror}", code="io") from e


def _bars(panel: Any, names: Sequence[str], values: Sequence[Any], colours: Sequence[str], title: str) -> None:
    """The names tell whose colour is whose in all panels"""
    panel.barh(range(len(values)), values, color=colours)
    panel.set_yticks(range(len(names)), names)
    panel.invert_yaxis()
    panel.set_xlabel(title)


def _sizes(panel: Any, variants: Sequence[Variant], colours: Sequence[str]) -> None:
    metric, title = next(
        (one for one in _QUALITY if all(one[0] in variant.measured.quality for variant in variants)), ("", "")
    )
    values = [one.measured.quality[metric].value if metric else 0.0 for one in variants]
    panel.scatter([one.subject.nbytes / 1e6 for one in variants], values, c=colours)
    panel.set_xlabel("size, MB")
    panel.set_ylabel(title)
    if metric == "kl":
        # linear near nothing, where the source itself lies
        panel.set_yscale("symlog", linthresh=1e-4)
