"""Data of other libraries that cannot say its place the way the training loop asks for it.

A module here has `data_for(data)`, which returns what goes through *data* and has `state()` and
`load_state()`, or None for data that is not its own.  It is asked only once the library it needs
has been imported by somebody.
"""

import sys
from importlib import import_module
from typing import Any

#: The package that the data comes from -> the module that knows it.
SOURCES: dict[str, str] = {
    "torch": "warmstart.sessions.torch.loader",
    "grain": "warmstart.sessions.grain_data",
}


def data_for(data: Any) -> Any | None:
    """Return *data* as what can say and regain its place; None when nobody here knows how."""
    for package, module in SOURCES.items():
        if package in sys.modules:
            found = import_module(module).data_for(data)
            if found is not None:
                return found
    return None
