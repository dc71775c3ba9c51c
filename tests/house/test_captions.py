"""Captions: each room says what it is, and none is called after nothing"""

import ast
import re

import pytest

from tests.house.tree import PARTS, modules, parsed

NAMELESS = re.compile(r"_*(utils?|helpers?|common|misc|stuff|impl)")


@pytest.mark.parametrize("path", modules(*PARTS), ids=str)
def test_a_module_begins_with_a_caption(path):
    docstring = ast.get_docstring(parsed(path))
    assert docstring, "the first line of a module is its caption"
    caption = docstring.splitlines()[0]
    assert 0 < len(caption) <= 110
    assert not caption.endswith(".")


@pytest.mark.parametrize(
    "path", [path for path in modules("artifactstore") if path.name == "__init__.py" and len(path.parts) > 2], ids=str
)
def test_an_inner_init_holds_one_docstring(path):
    (only,) = parsed(path).body
    assert isinstance(only, ast.Expr)


@pytest.mark.parametrize("path", modules(*PARTS), ids=str)
def test_no_room_is_without_a_name(path):
    assert not [part for part in path.with_suffix("").parts if NAMELESS.fullmatch(part)]
    classes = [node.name for node in ast.walk(parsed(path)) if isinstance(node, ast.ClassDef)]
    assert not [name for name in classes if re.search(r"(Helper|Utils?|Impl|Mixin)$", name)]


def public(body, prefix=""):
    """Public functions, classes and methods, as (dotted name, node); overloads are told by what they overload"""
    for node in body:
        if any(ast.unparse(one) == "overload" for one in getattr(node, "decorator_list", ())):
            continue
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef) and not node.name.startswith("_"):
            yield prefix + node.name, node
            if isinstance(node, ast.ClassDef):
                yield from public(node.body, f"{prefix}{node.name}.")


@pytest.mark.parametrize("path", modules("artifactstore", "cli", "models"), ids=str)
def test_what_is_public_says_what_it_does(path):
    assert not [name for name, node in public(parsed(path).body) if not ast.get_docstring(node)] or private(path)


def private(path):
    return any(part.startswith("_") and part != "__init__.py" for part in path.parts)
