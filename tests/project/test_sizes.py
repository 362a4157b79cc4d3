"""No file over 400 lines, no function over 40, in the package itself."""

import ast
from pathlib import Path

import pytest

import warmstart

PACKAGE = Path(warmstart.__file__).parent
MODULES = sorted(PACKAGE.rglob("*.py"))
MAX_FILE = 400  # lines
MAX_BODY = 40  # lines, without the docstring


def relative(path: Path) -> str:
    return path.relative_to(PACKAGE).as_posix()


def body_lines(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """Return how many lines the body of *function* takes, without its docstring."""
    body = function.body[1:] if ast.get_docstring(function) else function.body
    return body[-1].end_lineno - body[0].lineno + 1 if body else 0


def too_long(code: str) -> dict[str, int]:
    """Return the functions in *code* that are too long, with their lines."""
    functions = [
        node
        for node in ast.walk(ast.parse(code))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    ]
    return {f.name: body_lines(f) for f in functions if body_lines(f) > MAX_BODY}


@pytest.mark.parametrize("path", MODULES, ids=relative)
def test_files_are_short(path: Path) -> None:
    assert len(path.read_text().splitlines()) <= MAX_FILE


@pytest.mark.parametrize("path", MODULES, ids=relative)
def test_functions_are_short(path: Path) -> None:
    assert too_long(path.read_text()) == {}


def test_a_long_function_is_caught() -> None:
    assert too_long("def f():\n" + "    x = 1\n" * 41) == {"f": 41}
