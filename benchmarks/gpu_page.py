"""Gpu page: the figures of benchmarks/gpu.py, for people; imports nothing that a bare machine lacks"""

from pathlib import Path

from benchmarks import loading

FIGURES = Path(__file__).parent.parent / "docs/benchmarks-gpu.json"
MIB = 1 << 20


def page(found: dict) -> list[str]:
    """What benchmarks/gpu.py found, or what of it there is"""
    about = found["machine"]
    lines = [
        "## On a GPU",
        "",
        f"{about['device']}, {about['cores']} cores, torch {about['torch']}, {found['date']}; files in the page cache.",
        "The limit is pinned memory copied to the device in pieces of 64 MiB, measured in the process of each. Later:",
        "the median load of a process that has loaded before. Memory: what a load takes, the tensors included.",
        "",
    ]
    for name, of in found["sets"].items():
        if "failed" not in of["prepared"]:
            lines += _loads(name, of)
    return [*lines, *_rest(found)]


def _loads(name: str, of: dict) -> list[str]:
    lines = [
        f"{of['prepared']['bytes'] / 1e9:.2f} GB, {name}:",
        "",
        "| what | first, s | later, s | GB/s | of the limit | aim | host memory, MiB | of the device, MiB |",
        "|---|---|---|---|---|---|---|---|",
    ]
    without = []
    for what, one in of["loads"].items():
        if "later" not in one:
            without.append(f"{what} ({one.get('absent') or one.get('failed')})")
            continue
        ours = what.startswith("store") and name == loading.LARGE
        aim = "" if not ours else "≥ 0.85" if "verified on" in what else "≥ 0.9"
        lines.append(
            f"| {what} | {one['first']:.3f} | {one['later']:.3f} | {one['gbps']:.1f} | {one['of_limit']:.2f} | {aim} "
            f"| {one['host'] / MIB:.0f} | {one['device'] / MIB:.0f} |"
        )
    if "switch" in (switch := of.get("switch", {})):
        share = switch["read_bytes"] / switch["bytes"]
        lines += [
            "",
            f"Switching to a version of which {share:.0%} of the bytes are read takes {switch['switch'] * 1e3:.1f} ms:",
            f"{switch['of_load']:.2f} of a load, {switch['of_into']:.2f} of one into tensors that exist (aim ≤ 0.15).",
        ]
    return [*lines, "", *([f"Without {'; '.join(without)}.", ""] if without else [])]


def _rest(found: dict) -> list[str]:
    lines, hashing, saving = [], found.get("hashing", {}), found.get("saving", {})
    if "together_gbps" in hashing:
        together, one_by_one, thread = (hashing[f"{key}_gbps"] for key in ("together", "one_by_one", "cpu_thread"))
        lines += [
            f"BLAKE3 on the GPU, pieces of 64 MiB: {together:.0f} GB/s side by side, {one_by_one:.0f} GB/s one by one;",
            f"on a thread of the CPU {thread:.1f} GB/s.",
            "",
        ]
    if "copy" in saving:
        size, copy, limit = saving["bytes"] / 1e9, saving["copy"] * 1e3, saving["down_gbps"]
        lines += [
            f"A state of {size:.2f} GB out of a trainer, in copies of it to pinned memory ({copy:.0f} ms;",
            f"the limit is {limit:.1f} GB/s):",
            "",
            "| what changed | still, first save | later saves | aim | until durable, s |",
            "|---|---|---|---|---|",
            f"| all of it | {saving['first']:.2f} | {saving['all']:.2f} | ≤ 1.1 | {saving['durable_all']:.2f} |",
            f"| a tenth of it | | {saving['tenth']:.2f} | | {saving['durable_tenth']:.2f} |",
            f"| nothing | | {saving['nothing']:.2f} | | {saving['durable_nothing']:.2f} |",
            "",
            f"Saving took {saving['host'] / MIB:.0f} MiB of host memory.",
            "",
        ]
    return lines
