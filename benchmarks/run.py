"""Run every benchmark and write docs/benchmarks.md with docs/benchmarks.json beside it; `make bench`"""

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
from datetime import UTC, datetime
from pathlib import Path

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))

from benchmarks import command, foundry, ingest, lineage, loading, page, retention, saving, sharing  # noqa: E402  # the folder is no installed package

PARTS = {
    "ingest": ingest.run,
    "loading": loading.run,
    "saving": saving.run,
    "command": command.run,
    "retention": retention.run,
    "lineage": lineage.run,
    "sharing": sharing.run,
    "foundry": foundry.run,
}


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--rounds", type=int, default=3)
    options.add_argument("--folder", type=Path, help="where to work, on the disk to be measured; about 20 GB")
    told = "keep the other figures; of none, to write the page anew"
    options.add_argument("--only", nargs="*", choices=PARTS, default=list(PARTS), help=told)
    chosen = options.parse_args()
    figures = ROOT / "docs/benchmarks.json"
    results = json.loads(figures.read_text())
    for part in chosen.only:
        with tempfile.TemporaryDirectory(dir=chosen.folder, prefix="artstore-bench-") as folder:
            results[part] = PARTS[part](Path(folder), chosen.rounds) | {"date": _today()}
    if chosen.only:
        results["machine"] = _machine()
    figures.write_text(json.dumps(results, indent=2) + "\n")
    print(page.write(results))


def _machine() -> dict[str, object]:
    versions = {"python": platform.python_version()}
    for tool in ("restic", "dvc"):
        path = ingest.tool(tool)
        if path:
            found = subprocess.run([path, "version"], capture_output=True, text=True, check=False)
            versions[tool] = (
                found.stdout.split("\n")[0]
                .removeprefix("DVC version: ")
                .removeprefix("restic ")
                .split(" (")[0]
                .split(" compiled")[0]
            )
    return {"system": platform.platform(), "cores": os.cpu_count(), **versions}


def _today() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%d")


if __name__ == "__main__":
    main()
