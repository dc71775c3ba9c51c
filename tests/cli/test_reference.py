"""docs/cli.md, as the command writes it"""

from artstore.reference import page

from tests.cli.test_main import COMMANDS


def test_the_page_is_the_same_in_any_width(monkeypatch):
    first = page()
    monkeypatch.setenv("COLUMNS", "40")
    assert page() == first


def test_each_command_is_in_it_once_with_its_own_options():
    lines = page().splitlines()
    for words in COMMANDS:
        assert lines.count(f"## `artstore {' '.join(words)}`") == 1
    assert sum(line.startswith("| `--store URL`") for line in lines) == 1
    usage = (
        "artstore checkout REF DEST [--only GLOB…] [--force] [--format "
        "files|pth|safetensors] [--layout files|hf-cache] [--dry-run]"
    )
    assert usage in lines
    assert "artstore metric REF K=V…" in lines
    assert any(
        line.startswith("| `--format files\\|pth\\|safetensors` |") and line.endswith("Default: `files`. |")
        for line in lines
    )
