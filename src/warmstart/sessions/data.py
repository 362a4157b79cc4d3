"""Data of other libraries that cannot say its place the way the training loop asks for it.

A module here has `data_for(data)`, which returns what goes through *data* and has `state()` and
`load_state()`, or None for data that is not its own or can have no place; and it may have
`reason(data)`, why that of its own can have none.  It is asked only once the library it needs has
been imported by somebody.
"""

import sys
from collections.abc import Iterator
from importlib import import_module
from typing import Any

#: The package that the data comes from -> the module that knows it.
SOURCES: dict[str, str] = {
    "torch": "warmstart.sessions.torch.loader",
    "tensorflow": "warmstart.sessions.tf2.datasets",
    "grain": "warmstart.sessions.grain_data",
}


def data_for(data: Any) -> Any | None:
    """Return *data* as what can say and regain its place; None when nobody here knows how."""
    found = (module.data_for(data) for module in live_sources())
    return next((each for each in found if each is not None), None)


def reason(data: Any) -> str | None:
    """Return why *data* of a library known here can have no place, None for other data."""
    asked = (getattr(module, "reason", None) for module in live_sources())
    found = (ask(data) for ask in asked if ask is not None)
    return next((each for each in found if each is not None), None)


def live_sources() -> Iterator[Any]:
    """Yield the module of every library that this process has imported."""
    for package, module in SOURCES.items():
        if package in sys.modules:
            yield import_module(module)
