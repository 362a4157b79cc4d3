"""Pickles read without running them: no name in one is ever imported, no function called.

    value = loads(data)                                   # one pickle
    value, end = load_at(data, begin)                     # one of several, back to back
    value = loads(data, builders={**COMMON, ("torch", "Size"): size}, persistent=storage_of)

Numbers, text, bytes, lists, dicts, tuples and sets come back as they are.  What a pickle asks to be
imported becomes a `Global`, what it asks to be called a `Call`: inert nodes that keep the function,
its arguments and the state that would be set.  Only the closed table *builders*, by (module, name),
turns calls into values; `COMMON` has those that every kind of checkpoint shares.

Memory and work are bounded by the bytes of the pickle: at most some 250 bytes of memory for each,
and no way for a shared container to be copied again and again.
Source: CPython 3.11, Lib/pickletools.py.
"""

from .builders import COMMON, Builder, BuilderTable, Unfit
from .loading import load_at, loads
from .machine import LARGE, Truncated
from .nodes import Attributed, Call, Global, brief
from .raw_arrays import RawArray, RawDtype

__all__ = [
    "COMMON",
    "LARGE",
    "Attributed",
    "Builder",
    "BuilderTable",
    "Call",
    "Global",
    "RawArray",
    "RawDtype",
    "Truncated",
    "Unfit",
    "brief",
    "load_at",
    "loads",
]
