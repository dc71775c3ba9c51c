"""The source tree as the house rules see it"""

import ast
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PARTS = ("artifactstore", "cli", "models", "migrations", "tests", "benchmarks")


def modules(*parts: str) -> list[Path]:
    """Every Python file of these top-level folders, relative to the root"""
    return sorted(path.relative_to(ROOT) for part in parts for path in (ROOT / part).rglob("*.py"))


def parsed(path: Path) -> ast.Module:
    """Its syntax tree"""
    return ast.parse((ROOT / path).read_bytes(), filename=str(path))


def functions(path: Path) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    """Every function and method of a file, nested ones too"""
    return (node for node in ast.walk(parsed(path)) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef))


def length(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """Lines from `def` to its end"""
    return function.end_lineno - function.lineno + 1
