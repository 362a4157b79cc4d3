"""Arrays of Python objects: pickles, read without running them.

`np.save(path, {"conv1": {"weights": W}})` was how model zoos kept their weights.  The one object
in such an array, or the list of several, is taken apart: the arrays in it are tensors under the
names of their places, "conv1/weights", and what else there is becomes metadata.
Source: NumPy 2.4, numpy/lib/format.py, `write_array`: a pickle of the whole array, protocol 2 or 3.
"""

from collections.abc import Iterator
from typing import TYPE_CHECKING

from ...binary.pickle import RawArray, loads
from ...errors import UnsupportedCheckpoint, noting
from ...names import joined
from ...source import ListedSource
from ...spec import TensorSpec
from ..leaf_text import all_shown
from ..pickled import Folder
from ..pickled_arrays import is_array, spec_of_array, values_of_array
from ..trees import flat

if TYPE_CHECKING:
    import numpy as np

#: Bytes that a member unpacks to at most, for each of its own and once, when it is a pickle: of
#: these a byte can take many in memory.
UNPACKED, UNPACKED_ONCE = 100, 1 << 20


class Objects:
    """What the pickles of a file hold: arrays and other leaves by name."""

    def __init__(self) -> None:
        self._arrays: dict[str, RawArray] = {}
        self.specs: dict[str, TensorSpec] = {}
        self.metadata: dict[str, str] = {}

    def add(self, pickle: memoryview, prefix: str, name: str) -> None:
        """Add what *pickle* holds under *prefix*; what has no name of its own is called *name*."""
        folded = Folder().folded(loads(pickle, views=True))
        leaves = flat(folded, limit=max(len(pickle), 1000))
        named = {joined(prefix, place) if place else name: leaf for place, leaf in leaves.items()}
        arrays = {full: leaf for full, leaf in named.items() if is_array(leaf)}
        self._arrays |= arrays
        self.specs |= {full: spec_of_array(full, leaf) for full, leaf in arrays.items()}
        others = ((full, leaf) for full, leaf in named.items() if full not in arrays)
        self.metadata |= all_shown(others, len(pickle))[0]

    def read(self, name: str) -> "np.ndarray":
        """Return the array called *name*."""
        return values_of_array(self._arrays[name])


def refuse_bomb(packed: int, size: int) -> None:
    """Refuse a pickle of *size* bytes that was packed into far fewer."""
    allowed = UNPACKED_ONCE + UNPACKED * packed
    if size > allowed:
        raise UnsupportedCheckpoint(
            f"it holds a pickle of {size} bytes out of {packed}; {allowed} are allowed"
        )


class ObjectsSource(ListedSource):
    """An .npy file that holds objects; there is no checksum."""

    def __init__(self, pickle: memoryview, stem: str, place: str) -> None:
        self._place = place
        self._objects = Objects()
        with noting(place):
            self._objects.add(pickle, "", stem)
        self._specs, self._metadata = self._objects.specs, self._objects.metadata

    def unclaimed(self) -> Iterator[str]:
        return iter(())  # the pickle ends where the file does, or it is refused

    def read(self, name: str) -> "np.ndarray":
        own = self._own(name)
        with noting(self._place):
            return self._objects.read(own)
