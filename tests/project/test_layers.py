"""Imports go one way, frameworks stay in their place, and names are cut in one module only.

The source is read, not run: an import inside a function or under TYPE_CHECKING counts as well.
"""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import warmstart

PACKAGE = Path(warmstart.__file__).parent

#: A module imports only from its own layer and from those above it.
LAYERS = (
    {"errors"},
    {"spec"},
    {"names", "braces"},
    {"binary"},
    {"source", "layer", "keras_names", "boxes", "processes"},
    {"formats"},
    {"sessions"},
    {"restore"},
    {"freezing"},
    {"files"},
    {"train"},
    {"doctor", "proving"},
    {"testing", "demo"},
    {"cli", "__main__"},
)
RANKS = {name: rank for rank, layer in enumerate(LAYERS) for name in layer}
FRAMEWORKS = {"tensorflow", "torch", "keras", "jax", "flax", "optax"}
WITH_FRAMEWORKS = {"sessions", "demo"}
CUTTERS = {"split", "rsplit", "partition", "rpartition"}
MODULES = sorted(PACKAGE.rglob("*.py"))


def relative(path: Path) -> str:
    return path.relative_to(PACKAGE).as_posix()


def layer_of(module: str) -> str:
    """Return the layer of a file inside the package: "binary/atomic.py" is in "binary"."""
    return module.partition("/")[0].removesuffix(".py")


def imported(module: str, tree: ast.AST) -> Iterator[str]:
    """Yield every dotted name that *module* imports; the package's own begin with "warmstart"."""
    folder = ["warmstart", *module.split("/")[:-1]]
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        if isinstance(node, ast.ImportFrom):
            base = folder[: len(folder) - node.level + 1] if node.level else []
            dotted = ".".join([*base, *filter(None, [node.module])])
            yield from (f"{dotted}.{alias.name}" for alias in node.names)


def wrong_imports(module: str, code: str) -> list[str]:
    """Return what *module* imports from a layer below its own, or a framework out of place."""
    wrong = []
    layer = layer_of(module)
    for name in imported(module, ast.parse(code)):
        top, _, rest = name.partition(".")
        target = rest.partition(".")[0]
        if top in FRAMEWORKS and layer not in WITH_FRAMEWORKS:
            wrong.append(f"{module} imports {name}; only {WITH_FRAMEWORKS} may")
        if top == "warmstart" and target in RANKS and RANKS[target] > RANKS[layer]:
            wrong.append(f"{module} imports {name}, of a later layer")
    return wrong


def cut_names(module: str, code: str) -> list[str]:
    """Return where *module* cuts a string at the separators of names."""
    return [
        f"{module}:{node.lineno} cuts at {node.args[0].value!r}; see names.py"
        for node in ast.walk(ast.parse(code))
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and node.func.attr in CUTTERS
        and node.args
        and isinstance(node.args[0], ast.Constant)
        and node.args[0].value == "/"
    ]


def test_every_module_has_a_layer() -> None:
    known = {*RANKS, "__init__", "__main__"}
    assert {layer_of(relative(path)) for path in MODULES} == known


@pytest.mark.parametrize("path", [p for p in MODULES if p.parent != PACKAGE or p.stem in RANKS],
                         ids=relative)  # fmt: skip
def test_imports_go_one_way(path: Path) -> None:
    assert wrong_imports(relative(path), path.read_text()) == []


@pytest.mark.parametrize("path", [p for p in MODULES if p.name != "names.py"], ids=relative)
def test_only_names_cuts_names(path: Path) -> None:
    assert cut_names(relative(path), path.read_text()) == []


@pytest.mark.parametrize(
    ("module", "code"),
    [
        ("spec.py", "from .names import parent"),
        ("spec.py", "from . import names"),
        ("formats/npz.py", "from ..sessions import session_for"),
        ("formats/npz.py", "from ..sessions.base import Session"),
        ("formats/npz.py", "import warmstart.sessions"),
        ("formats/npz/reader.py", "from ...sessions import base"),
        ("restore/plan.py", "def f():\n    from ..train.saver import ModelSaver"),
        ("restore/plan.py", "if TYPE_CHECKING:\n    from ..files import diff"),
        ("files/diff.py", "import torch.nn"),
        ("files/diff.py", "def f():\n    from tensorflow.compat import v1"),
    ],
)
def test_a_wrong_import_is_caught(module: str, code: str) -> None:
    assert len(wrong_imports(module, code)) == 1


@pytest.mark.parametrize(
    ("module", "code"),
    [
        ("restore/plan.py", "from ..names import matcher\nfrom .rules import rename"),
        ("sessions/torch/model.py", "import torch\nfrom ..base import Session"),
        ("cli/__init__.py", "def f():\n    from ..demo import run"),
    ],
)
def test_a_right_import_is_not(module: str, code: str) -> None:
    assert wrong_imports(module, code) == []


def test_a_cut_name_is_caught() -> None:
    assert len(cut_names("restore/plan.py", "top = name.split('/')[0]")) == 1
