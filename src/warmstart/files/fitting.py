"""The graph of objects of a TensorFlow 2 checkpoint, made to fit what is written of it.

TensorFlow restores what the graph names, and fails when it is not there: a dump without the count
of saves would not load.
"""

from collections.abc import Collection
from typing import TYPE_CHECKING

from ..errors import CorruptCheckpoint
from ..formats.tf_bundle.object_graph import OBJECT_GRAPH, without_keys
from ..source import Source
from .views import Wrapper

if TYPE_CHECKING:
    import numpy as np


class Fitted(Wrapper):
    """Another source whose graph of objects leaves out the keys that are *gone*."""

    def __init__(self, source: Source, gone: Collection[str]) -> None:
        super().__init__(source)
        self._gone = gone

    def read(self, name: str) -> "np.ndarray":
        array = self._source.read(name)
        return less(array, self._gone) if name == OBJECT_GRAPH else array


def less(graph: "np.ndarray", gone: Collection[str]) -> "np.ndarray":
    """Return the *graph* of objects, an array of one string, without the keys that are *gone*."""
    import numpy as np

    try:
        return np.array(without_keys(graph.item(), gone), object)
    except (CorruptCheckpoint, ValueError, AttributeError):
        return graph  # it means nothing to TensorFlow either; opening it has warned of it


def fitted(view: Source, source: Source) -> Source:
    """Return *view* with a graph of objects, if it has one, of what it has of *source* only."""
    gone = source.specs.keys() - view.specs.keys()
    return Fitted(view, gone) if gone and OBJECT_GRAPH in view.specs else view
