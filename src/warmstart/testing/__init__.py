"""What an extension owes, as tests that its own test inherits.

    from warmstart.testing import FormatContract

    class TestMyFormat(FormatContract):
        format = my_package.my_format

They need pytest.  Each contract stands in a module of its own, imported on first use.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .callbacks import CallbackContract as CallbackContract
    from .data import DataContract as DataContract
    from .formats import FormatContract as FormatContract
    from .gradients import GradientContract as GradientContract
    from .reading import ReadingContract as ReadingContract
    from .sessions import SessionContract as SessionContract

#: contract -> the module it stands in
CONTRACTS = {
    "FormatContract": "formats",
    "ReadingContract": "reading",
    "SessionContract": "sessions",
    "GradientContract": "gradients",
    "CallbackContract": "callbacks",
    "DataContract": "data",
}


def __getattr__(name: str) -> Any:
    """Import a contract on first use."""
    if name not in CONTRACTS:
        raise AttributeError(f"module 'warmstart.testing' has no attribute {name!r}")
    return getattr(import_module("." + CONTRACTS[name], __name__), name)


def __dir__() -> list[str]:
    return sorted(CONTRACTS)
