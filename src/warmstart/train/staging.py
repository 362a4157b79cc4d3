"""Memory that holds the state of a run as it was when it was last saved.

    staging.make_room(specs)                    # before the first save: fresh memory is slow
    staged, unchanged = staging.take(source)    # what a save beside the training may read

Taking is one pass over memory: a tensor that is as it was is only compared, any other is copied.
"""

from collections.abc import Iterable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor

import numpy as np

from ..binary.same import take_over
from ..formats.tf_bundle.ledger import ALIGNMENT, Ledger
from ..source import ListedSource, Source
from ..spec import TensorSpec

#: Bytes from which on a tensor is copied by a thread while the next one is read.
LARGE = 1 << 20


class Staged(ListedSource):
    """What was taken of a source; it holds until the next is taken."""

    def __init__(self, source: Source, arrays: Mapping[str, np.ndarray]) -> None:
        """Hold *arrays*, the values of *source*, and what it says besides."""
        self._specs = dict(source.specs)
        self._aliases = dict(source.aliases)
        self._derived = frozenset(source.derived)
        self._metadata = dict(source.metadata)
        self._arrays = arrays

    def read(self, name: str) -> np.ndarray:
        return self._arrays[self._own(name)]


class Staging:
    """Memory for one state, used again by every save."""

    def __init__(self) -> None:
        self._rooms: dict[str, np.ndarray] = {}
        self._buffers: dict[str, np.ndarray] = {}  # the bytes of the rooms, in the file's order
        self._specs: dict[str, TensorSpec] = {}
        self._kinds = Ledger()

    def make_room(self, specs: Mapping[str, TensorSpec]) -> None:
        """Allocate memory for those of *specs* that have none yet, and touch all of it."""
        known = self._specs.get
        new = {n: spec for n, spec in specs.items() if alike(known(n)) != alike(spec)}
        rooms = allocated(spec for spec in new.values() if spec.dtype != "string")
        for name, room in rooms.items():
            self._buffers[name] = self._kinds[alike(new[name])].packed(name, room)
        self._rooms |= rooms
        self._specs |= new

    def load(self, source: Source) -> None:
        """Hold the tensors of *source*, a checkpoint, as if they had been taken."""
        specs = {n: spec for n, spec in source.specs.items() if spec.dtype != "string"}
        self.make_room(specs)
        for name in source.read_order():
            if name in specs:
                self._rooms[name][...] = source.read(name)

    def take(self, source: Source) -> tuple[Staged, set[str]]:
        """Return a copy of *source*, and which tensors are as they were when last taken or loaded.

        SaveError names the first tensor whose values are not what its spec says.
        """
        specs = source.specs
        self._forget(self._specs.keys() - specs.keys())
        before = {n for n, spec in specs.items() if alike(self._specs.get(n)) == alike(spec)}
        self.make_room(specs)
        arrays, changed = self._copied(source, specs)
        return Staged(source, arrays), before - changed

    def _copied(
        self, source: Source, specs: Mapping[str, TensorSpec]
    ) -> tuple[dict[str, np.ndarray], set[str]]:
        """Return the values of *source*, and which are not what was there before."""
        arrays, changed = dict(self._rooms), set[str]()
        copying: dict[str, Future[bool]] = {}
        with source.reading(), ThreadPoolExecutor(2) as threads:
            for name, spec in specs.items():
                values = source.read(name)
                if spec.dtype == "string":
                    arrays[name] = values.copy()
                    changed.add(name)
                    continue
                new = self._kinds[spec.dtype, spec.shape].packed(name, values)
                if new.nbytes >= LARGE:
                    copying[name] = threads.submit(take_over, self._buffers[name], new)
                elif take_over(self._buffers[name], new):
                    changed.add(name)
        return arrays, changed | {name for name, done in copying.items() if done.result()}

    def _forget(self, names: Iterable[str]) -> None:
        for name in names:
            del self._specs[name]
            self._rooms.pop(name, None)
            self._buffers.pop(name, None)


def alike(spec: TensorSpec | None) -> tuple[str, tuple[int, ...]]:
    """Return what a tensor of *spec* has in common with others that fit its room."""
    return ("", ()) if spec is None else (spec.dtype, spec.shape)


def allocated(specs: Iterable[TensorSpec]) -> dict[str, np.ndarray]:
    """Return an array of zeros for each of *specs*; small ones share one piece of memory."""
    large, small = dict[str, np.ndarray](), list[TensorSpec]()
    for spec in specs:
        if spec.nbytes >= LARGE:
            large[spec.name] = shaped(touched(spec.nbytes), spec)
        else:
            small.append(spec)
    step = [-(-spec.nbytes // ALIGNMENT) * ALIGNMENT for spec in small]
    memory, begin = touched(sum(step)), 0
    for spec, nbytes in zip(small, step, strict=True):
        large[spec.name] = shaped(memory[begin : begin + spec.nbytes], spec)
        begin += nbytes
    return large


def touched(nbytes: int) -> np.ndarray:
    """Return *nbytes* of memory that the system has really given."""
    memory = np.empty(nbytes, np.uint8)
    memory.fill(0)
    return memory


def shaped(memory: np.ndarray, spec: TensorSpec) -> np.ndarray:
    """Return *memory* as an array of *spec*."""
    return memory.view(spec.numpy_dtype).reshape(spec.shape)
