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
    names = [one.subject.ref for one in variants]
    _sizes(sizes, variants)
    writes = all(one.measured.writes is not None for one in variants)
    speeds.barh(names, [one.measured.writes if writes else one.measured.reads for one in variants])
    speeds.set_xlabel(f"tokens a second, {'writing' if writes else 'reading'}")
    memory.barh(names, [(one.measured.rss or 0) / 2**20 for one in variants])
    memory.set_xlabel("peak memory, MiB")
    for panel in (speeds, memory):
        panel.invert_yaxis()
    try:
        figure.savefig(path, dpi=150)
    except PermissionError as e:
        raise Denied(f"Cannot write {path}: {e.strerror}") from e
    except OSError as e:
        raise Unavailable(f"Cannot write {path}: {e.strerror}", code="io") from e


def _sizes(panel: Any, variants: Sequence[Variant]) -> None:
    metric, title = next(
        (one for one in _QUALITY if all(one[0] in variant.measured.quality for variant in variants)), ("", "")
    )
    for one in variants:
        value = one.measured.quality[metric].value if metric else 0.0
        at = (one.subject.nbytes / 1e6, value)
        panel.scatter(*at)
        panel.annotate(one.subject.ref, at, textcoords="offset points", xytext=(4, 4), fontsize=8)
    panel.set_xlabel("size, MB")
    panel.set_ylabel(title)
    if metric == "kl":
        # linear near nothing, where the source itself lies
        panel.set_yscale("symlog", linthresh=1e-4)
