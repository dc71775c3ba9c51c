"""Page: the figures of every benchmark as docs/benchmarks.md"""

import json
from pathlib import Path

from benchmarks import command, foundry, gpu_page, loading, retention, saving, sharing

DOCS = Path(__file__).parent.parent / "docs"
MIB = 1 << 20


def write(results: dict) -> str:
    """docs/benchmarks.md from its figures, and those of docs/benchmarks-gpu.json where they were taken; the text"""
    text = page(results)
    (DOCS / "benchmarks.md").write_text(text)
    return text


def page(results: dict) -> str:
    """All figures there are"""
    lines = [
        "# Benchmarks",
        "",
        "Written by `make bench`. Every ratio is against a contender of the same run; contenders take turns within",
        "each round and the median round counts, so that a slow minute of the disk hits all of them. `raw` and `Store`",
        "are timed inside their process, commands from start to end.",
        "",
        "Machine: " + ", ".join(f"{key} {value}" for key, value in results["machine"].items()) + ".",
        "Measured: " + ", ".join(f"{part} {results[part]['date']}" for part in SECTIONS if part in results) + ".",
        "",
    ]
    for part, section in SECTIONS.items():
        # one that was never measured has no figures yet
        lines += section(results[part]) if part in results else []
    lines += gpu_page.page(json.loads(gpu_page.FIGURES.read_text())) if gpu_page.FIGURES.exists() else []
    return "\n".join(lines) + "\n"


RATIOS = [
    ("Store.add, first", "raw read+blake3+write+fsync", "≤ 1.15"),
    ("Store.add, first", "raw read+blake3+sha256+write+fsync", "≤ 1.15"),
    ("Store.add, 10 % changed", "raw read+blake3", "≤ 1.15"),
    ("Store.add, 10 % changed", "raw read+blake3+sha256", "≤ 1.15"),
    ("artstore add, first", "restic backup, first", "< 1"),
    ("artstore add, first", "dvc add, first", "< 1"),
    ("artstore add, 10 % changed", "restic backup, 10 % changed", "< 1"),
    ("artstore add, 10 % changed", "dvc add, 10 % changed", "< 1"),
    ("artstore checkout", "restic restore", "< 1"),
    ("artstore checkout", "cp", ""),
    ("artstore checkout", "cp, synced", ""),
]


def _ingest(found: dict) -> list[str]:
    samples = found["samples"]
    lines = [
        f"## A model of {found['bytes'] / 1e9:.2f} GB in, and out again",
        "",
        "| what | seconds | GB/s | peak RSS, MiB |",
        "|---|---|---|---|",
    ]
    for name, sample in samples.items():
        speed = found["bytes"] / 1e9 / sample["seconds"]
        lines.append(f"| {name} | {sample['seconds']:.2f} | {speed:.2f} | {sample['peak_rss'] / MIB:.0f} |")
    lines += ["", "| ratio of seconds | to | figure | aim |", "|---|---|---|---|"]
    for ours, theirs, aim in RATIOS:
        if ours in samples and theirs in samples:
            lines.append(f"| {ours} | {theirs} | {samples[ours]['seconds'] / samples[theirs]['seconds']:.2f} | {aim} |")
    stored = ", ".join(f"{name} {nbytes / 1e9:.2f} GB" for name, nbytes in found["stored"].items())
    return [*lines, "", f"Both models ({2 * found['bytes'] / 1e9:.2f} GB) take: {stored}.", ""]


def _loading(found: dict) -> list[str]:
    lines = [
        "## Tensors into memory of the CPU",
        "",
        "`into` fills memory that exists and was touched; `fresh` makes tensors and reads all of them; `lazy` may",
        "leave them on the disk; `switch` fills what differs. `times` are of one thread that reads the files into",
        "memory that exists, in the same run. `cold`: the guest's page cache was dropped, the host's was not.",
        "",
    ]
    for name in loading.SETS:
        lines += _loads(found, name)
    return lines


def _loads(found: dict, name: str) -> list[str]:
    warm, cold = (found[f"{name}, {warmth}"] for warmth in loading.WARMTHS)
    lines = [
        f"{found[f'{name}, bytes'] / 1e9:.2f} GB, {name}:",
        "",
        "| what | warm, seconds | times | cold, seconds | times | peak RSS, MiB |",
        "|---|---|---|---|---|---|",
    ]
    for what in [one for one in warm if one in cold]:
        seconds, later = warm[what]["seconds"], cold[what]["seconds"]
        times = [each / of[loading.RAW]["seconds"] for each, of in ((seconds, warm), (later, cold))]
        rss = max(warm[what]["peak_rss"], cold[what]["peak_rss"]) / MIB
        lines.append(f"| {what} | {seconds:.3f} | {times[0]:.2f} | {later:.3f} | {times[1]:.2f} | {rss:.0f} |")
    lines += ["", "| ratio of seconds | to | warm | cold | aim |", "|---|---|---|---|---|"]
    for ours, theirs, *aims in loading.AIMS:
        if ours in warm and theirs in warm and theirs in cold:
            figures = [of[ours]["seconds"] / of[theirs]["seconds"] for of in (warm, cold)]
            aim = aims[name == loading.SMALL]
            lines.append(f"| {ours} | {theirs} | {figures[0]:.2f} | {figures[1]:.2f} | {aim} |")
    absent = "; ".join(f"{what} ({why})" for what, why in found[f"{name}, absent"].items())
    return [*lines, "", *([f"Without {absent}.", ""] if absent else [])]


def _saving(found: dict) -> list[str]:
    lines = [
        "## A state of 2 GB out of a trainer",
        "",
        "All of it changes from save to save. Still: how long the call takes, in copies of the state into memory that",
        "exists. Durable: from the call on, in plain writes of the same bytes with fsync. Steps: of a trainer that has",
        "one core of its own, while the save goes on. Both units are measured in the same process.",
        "",
        "| what | still, first save | later saves | until durable | a step meanwhile | peak RSS, MiB |",
        "|---|---|---|---|---|---|",
    ]
    for what, one in found.items():
        if isinstance(one, dict):
            figures = " | ".join(f"{one[key]:.2f}" for key in saving.MEASURED)
            lines.append(f"| {what} | {figures} | {one['peak_rss'] / MIB:.0f} |")
    return [*lines, ""]


def _command(found: dict) -> list[str]:
    lines = [
        f"## The command, with {command.VERSIONS:,} versions and {command.BLOBS:,} blob rows in the catalog",
        "",
        "| what | seconds | times `python -c pass` | aim |",
        "|---|---|---|---|",
    ]
    aims = {"artstore --help": "< 0.3 s", "artstore ls, 10,000 versions": "< 0.5 s"}
    floor = found["samples"]["python -c pass"]["seconds"]
    for name, sample in found["samples"].items():
        lines.append(f"| {name} | {sample['seconds']:.3f} | {sample['seconds'] / floor:.1f} | {aims.get(name, '')} |")
    return [*lines, ""]


def _retention(found: dict) -> list[str]:
    few, many = retention.SIZES
    gone, own = (few // 10, many // 10), retention.OWN
    lines = [
        f"## Retention: {few:,} and {many:,} versions of 1,000 blobs each, of which a tenth goes",
        "",
        "`plan` is `gc -n` of a keep rule with what removing frees; `collect` retires, condemns, journals and deletes,",
        f"{gone[0]:,} versions with {gone[0] * own:,} blobs of their own, and {gone[1]:,} with {gone[1] * own:,}.",
        "",
        "| what | catalog | seconds, few | seconds, many | times | aim | peak RSS, MiB | aim |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for kind in ("sqlite", "postgres"):
        small, large = (found[f"{kind}, {count:,} versions"] for count in retention.SIZES)
        for name, aims in (("plan", ("≤ 10 s", "≤ 500")), ("collect", ("≤ 10 times", ""))):
            before, after = small[name]["seconds"], large[name]["seconds"]
            lines.append(
                f"| {name} | {kind} | {before:.2f} | {after:.2f} | {after / before:.1f} | {aims[0]} "
                f"| {large[name]['peak_rss'] / MIB:.0f} | {aims[1]} |"
            )
    return [*lines, ""]


def _lineage(found: dict) -> list[str]:
    lines = [
        "## Lineage: 100,000 links",
        "",
        "Three lines of 10,000 resumed steps, two bases of 10,000 adapters, 100 layers of 250 merges; the median call.",
        "",
        "| question | versions found | SQLite, seconds | Postgres, seconds | aim |",
        "|---|---|---|---|---|",
    ]
    sqlite, postgres = (found[kind]["answers"] for kind in ("sqlite", "postgres"))
    for question, answer in sqlite.items():
        theirs = postgres[question]["seconds"]
        lines.append(f"| {question} | {answer['versions']:,} | {answer['seconds']:.3f} | {theirs:.3f} | < 0.2 s |")
    return lines


def _sharing(found: dict) -> list[str]:
    samples = found["samples"]
    lines = [
        f"## {found['bytes'] / 1e9:.2f} GB to other stores and from hubs",
        "",
        "A model over loopback S3 (`rclone serve s3`), as a bundle, and in four shards from a hub on loopback. rclone,",
        "tar and hf leave their bytes to be written later, `synced` waits for that as artstore does.",
        "",
        "| what | seconds | peak RSS, MiB |",
        "|---|---|---|",
    ]
    for name, sample in samples.items():
        lines.append(f"| {name} | {sample['seconds']:.2f} | {sample['peak_rss'] / MIB:.0f} |")
    lines += ["", "| peer | artstore | times as fast | aim |", "|---|---|---|---|"]
    for theirs, ours, aim in sharing.RATIOS:
        lines.append(f"| {theirs} | {ours} | {samples[theirs]['seconds'] / samples[ours]['seconds']:.2f} | {aim} |")
    return [*lines, ""]


def _foundry(found: dict) -> list[str]:
    samples = found["samples"]
    lines = [
        f"## Two models of {found['bytes'] / 1e9:.2f} GB merged",
        "",
        "Shapes of a TinyLlama in bf16, in folders, merged by `artstore merge` into an empty store and by mergekit",
        "0.1.5 into a folder; plain reads and writes of the same bytes beside them.",
        "",
        "| what | seconds | peak RSS, MiB |",
        "|---|---|---|",
    ]
    for name, sample in samples.items():
        lines.append(f"| {name} | {sample['seconds']:.2f} | {sample['peak_rss'] / MIB:.0f} |")
    lines += ["", "| method | artstore / plain | aim | mergekit / plain | aim for RSS, MiB |", "|---|---|---|---|---|"]
    for name, aim in foundry.AIMS.items():
        plain = samples[foundry.baseline(name)]["seconds"]
        ours, peer = samples[f"artstore {name}"]["seconds"], samples.get(f"mergekit {name}")
        theirs = "not run" if peer is None else f"{peer['seconds'] / plain:.1f}"
        lines.append(f"| {name} | {ours / plain:.1f} | ≤ {aim} | {theirs} | ≤ {foundry.RESIDENT // MIB} |")
    ours, plain = (samples[name]["seconds"] for name in ("artstore quantize to q4", "read one, write one"))
    many, one = (samples[name]["seconds"] for name in ("artstore slerp, five values of t", "artstore slerp, first"))
    lines.append(f"| quantize to q4 | {ours / plain:.1f} | ≤ {foundry.QUANTIZING} | | ≤ {foundry.RESIDENT // MIB} |")
    lines += [
        "",
        f"Five values of t in one sweep take {many / one:.1f} times as long as one merge (aim ≤ {foundry.SWEEPING}).",
    ]
    return [*lines, ""]


SECTIONS = {
    "ingest": _ingest,
    "loading": _loading,
    "saving": _saving,
    "command": _command,
    "retention": _retention,
    "lineage": _lineage,
    "sharing": _sharing,
    "foundry": _foundry,
}
