"""Models on the command line: `package.module:callable` or `file.py:callable`."""

import ast
import importlib
import os
import re
import sys
import traceback
from contextlib import redirect_stdout
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType
from typing import Any

import click

from ..names import near, parts
from ..sessions import session_for
from ..sessions.base import Session

#: What stands before and after the colon: a module or a file, and a name in it.
FORM = re.compile(r"(?P<module>[^:]+\.py|[A-Za-z_]\w*(\.\w+)*):(?P<name>[A-Za-z_]\w*(\.\w+)*)")


#: Variables that keep TensorFlow from telling of the processor while it is imported.  Its errors
#: are still said, and no value is computed that oneDNN would round otherwise.
QUIET = {"TF_CPP_MIN_LOG_LEVEL": "2", "TF_ENABLE_ONEDNN_OPTS": "0"}


class ModelError(click.ClickException):
    """A model could not be made."""

    exit_code = 2


def is_model(text: str) -> bool:
    """Return whether *text* names a model, and not the path of something that is there.

    >>> is_model("models.py:resnet"), is_model("zoo.bert:make"), is_model("runs/base")
    (True, True, False)
    """
    return FORM.fullmatch(text) is not None and not Path(text).exists()


def not_a_model(text: str) -> str:
    """Return *text*, the path of a checkpoint; raise ModelError where it was begun as a model."""
    path = Path(text)
    if path.suffix == ".py" and path.is_file():
        found = functions_in(path)
        named = f"; its functions: {', '.join(found)}" if found else ""
        raise ModelError(
            f"{text} is a module, and a model is what a callable in it makes, as "
            f"{text}:CALLABLE{named}"
        )
    if not path.exists() and (path.suffix == ".py" or ":" in text):
        raise ModelError(
            f"nothing is at {text}, and it names no model: that is file.py:callable or "
            "package.module:callable"
        )
    return text


def functions_in(path: Path) -> list[str]:
    """Return the functions at the top of the module at *path*, which is not run, that may do."""
    try:
        tree = ast.parse(path.read_bytes())
    except (SyntaxError, ValueError):
        return []
    names = [node.name for node in tree.body if isinstance(node, ast.FunctionDef)]
    return [name for name in names if not name.startswith("_")]


def model_named(text: str) -> Session:
    """Return the session on the model that *text* names.  Its code is run.

    The callable takes no arguments and returns a model, a model and its optimizer, or a session.
    What it prints goes to standard error.
    """
    words = FORM.fullmatch(text)
    assert words is not None
    for variable, value in QUIET.items():
        os.environ.setdefault(variable, value)
    with redirect_stdout(sys.stderr):
        module = guarded(text, loaded, words["module"])
        make = callable_in(module, words["name"], text)
        model = guarded(text, make)
    model, optimizer = model if is_pair(model) else (model, None)
    try:
        return session_for(model, optimizer=optimizer)
    except TypeError as error:
        raise ModelError(f"{text} returned what is no model: {error}") from error


def is_pair(model: Any) -> bool:
    """Return whether *model* is a model with its optimizer, not a pytree that is a plain tuple."""
    return type(model) is tuple and len(model) == 2


def loaded(module: str) -> ModuleType:
    """Return the module of that name, or in that file; the working folder is searched first."""
    for folder in (str(Path(module).resolve().parent), "") if module.endswith(".py") else ("",):
        if folder not in sys.path:
            sys.path.insert(0, folder)
    if not module.endswith(".py"):
        return importlib.import_module(module)
    if not Path(module).is_file():
        raise ModelError(f"there is no file {module}")
    name = Path(module).stem
    spec = spec_from_file_location(name, module)
    assert spec is not None
    assert spec.loader is not None
    found = module_from_spec(spec)
    sys.modules.setdefault(name, found)
    spec.loader.exec_module(found)
    return found


def callable_in(module: ModuleType, name: str, text: str) -> Any:
    """Return what is called *name* in *module*; raise if it is not there or cannot be called."""
    found: Any = module
    for part in parts(name, "."):
        if not hasattr(found, part):
            close = near(part, [n for n in dir(found) if not n.startswith("_")])
            hint = f"; near it: {', '.join(close)}" if close else ""
            raise ModelError(f"{text}: there is no {part!r} in {module.__name__}{hint}")
        found = getattr(found, part)
    if not callable(found):
        raise ModelError(f"{text} is a {type(found).__name__}; expected what makes the model")
    return found


def guarded(text: str, call: Any, *args: Any) -> Any:
    """Return what *call* returns; an error in the user's code ends the command with its place."""
    try:
        return call(*args)
    except ModelError:
        raise
    except (Exception, SystemExit) as error:  # one that ends as if all were loaded is none
        raise ModelError(
            f"{text} could not be made: {type(error).__name__}: {error}{place_of(error)}"
        ) from error


def place_of(error: BaseException) -> str:
    """Return where in the user's own code *error* was raised, in words, or nothing."""
    frames = traceback.extract_tb(error.__traceback__)
    others = (str(Path(__file__).parent), "<frozen", importlib.__path__[0])
    own = [frame for frame in frames if not frame.filename.startswith(others)]
    return f" (line {own[-1].lineno} of {own[-1].filename})" if own else ""
