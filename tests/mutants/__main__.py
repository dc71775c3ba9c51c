"""Run every mutant against the test that must catch it, each in a copy of the tree: `make mutants`"""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from tests.mutants.mutants import MUTANTS, Mutant

ROOT = Path(__file__).parents[2]
_LEFT_OUT = shutil.ignore_patterns(".git", ".venv", "__pycache__", ".*_cache", ".demo", ".hypothesis", "docs")
_LONGEST = 300  # seconds
_FAILED = 1  # pytest: tests ran and some failed; anything else proves nothing


def main() -> int:
    parser = argparse.ArgumentParser(description="Seed each mutant and see it caught")
    parser.add_argument("names", nargs="*", help="only these")
    names = parser.parse_args().names
    chosen = [mutant for mutant in MUTANTS if not names or mutant.name in names]
    if missing := set(names) - {mutant.name for mutant in MUTANTS}:
        parser.error(f"no such mutant: {', '.join(sorted(missing))}")
    survivors = []
    with tempfile.TemporaryDirectory(prefix="mutants-") as name:
        copy = Path(name) / "tree"
        shutil.copytree(ROOT, copy, ignore=_LEFT_OUT, symlinks=True)
        sound = _pytest(copy, sorted({mutant.test for mutant in chosen}))
        if sound.returncode:
            print(sound.stdout[-4000:], "\nThe tests fail without any mutant", sep="")
            return 1
        for mutant in chosen:
            begin = time.monotonic()
            verdict = _try(copy, mutant)
            survivors += [mutant.name] if verdict == "SURVIVED" else []
            print(f"{verdict:8}  {mutant.name:34} {time.monotonic() - begin:5.1f} s  {mutant.test}", flush=True)
    print(
        f"{len(chosen) - len(survivors)} of {len(chosen)} caught" + "".join(f"\nnot caught: {one}" for one in survivors)
    )
    return 1 if survivors else 0


def _try(copy: Path, mutant: Mutant) -> str:
    file = copy / mutant.file
    sound = file.read_text()
    file.write_text(mutant.seed(sound))
    try:
        return "caught" if _pytest(copy, [mutant.test]).returncode == _FAILED else "SURVIVED"
    except subprocess.TimeoutExpired:
        return "hung"  # a test that does not end has noticed as well
    finally:
        file.write_text(sound)


def _pytest(copy: Path, tests: list[str]) -> "subprocess.CompletedProcess[str]":
    path = os.pathsep.join(str(copy / part) for part in ("", "cli", "models"))
    command = [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", *tests]
    environment = {**os.environ, "PYTHONPATH": path, "PYTHONDONTWRITEBYTECODE": "1"}
    return subprocess.run(command, cwd=copy, env=environment, capture_output=True, text=True, timeout=_LONGEST)


if __name__ == "__main__":
    sys.exit(main())
