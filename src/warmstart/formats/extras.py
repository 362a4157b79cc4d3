"""Packages that a format is read through, imported when a file of it is opened."""

from importlib import import_module
from typing import Any

from ..errors import MissingDependency


def needed(package: str, extra: str, what: str) -> Any:
    """Return the module *package*, or raise that *what* needs it and which *extra* brings it."""
    try:
        return import_module(package)
    except ModuleNotFoundError as error:
        if error.name != package.partition(".")[0]:  # installed, and itself broken
            raise
        raise MissingDependency(
            f"{what} needs {package}: pip install 'warmstart[{extra}]'"
        ) from error
