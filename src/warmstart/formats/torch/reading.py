"""A PyTorch file as a source: names, roles and aliases of what its pickle describes."""

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

from ...binary.pickle import RawArray
from ...boxes import bounded, box_shape
from ...errors import CorruptCheckpoint, UnsupportedCheckpoint, noting
from ...names import joined
from ...source import Index, ListedSource
from ...spec import RUN_PREFIX, TensorSpec
from .. import pickled_arrays
from ..leaf_text import all_shown
from ..notes import Notes, checked, decode
from ..pickled import Folder
from ..trees import flat
from .contents import Contents
from .modules import Modules, fold_composite, fold_storage
from .nodes import DTYPES, PAIRS, Composite, Storage, Tensor
from .optimizers import slot_aliases, slots

if TYPE_CHECKING:
    import numpy as np

TREE = "torch.tree"

#: Bytes that tensors may ask of one storage, for each byte of it and once: views may overlap or
#: repeat, but a few bytes do not become a petabyte.
CLAIMED, CLAIMED_ONCE = 64, 1 << 20


class TorchSource(ListedSource):
    """The tensors of a file; `read` returns read-only views of it where they lie in C order."""

    def __init__(self, contents: Contents, place: str, stem: str) -> None:
        self._contents = contents
        self._place = place
        self._tree = folded(contents)
        leaves = flat(self._tree, limit=max(contents.pickled, 1000)) | constants_of(contents)
        bare = not self._tree or not isinstance(self._tree, dict | list | tuple)
        self._sort_out({name or (stem if bare else ""): leaf for name, leaf in leaves.items()})
        self._note = self._read_note(contents.note)
        self._specs = {name: self._spec(name, leaf) for name, leaf in self._tensors.items()}
        self._greedy = greedy(self._tensors.values())

    def _sort_out(self, leaves: Mapping[str, Any]) -> None:
        """Part tensors from other leaves, and tied tensors from the first of their names."""
        self._tensors: dict[str, Tensor | RawArray] = {}
        self._aliases: dict[str, str] = {}
        self._others: dict[str, Any] = {}
        first: dict[Any, str] = {}
        for name, leaf in leaves.items():
            is_tensor = isinstance(leaf, Tensor)
            if is_tensor and not leaf.storage.missing:
                known = first.setdefault(leaf.place, name)
                if known != name:
                    self._aliases[name] = known
                    self._tensors[known] = joint(self._tensors[known], leaf)
                    continue
            if is_tensor or pickled_arrays.is_array(leaf):
                self._tensors[name] = leaf
            else:
                self._others[name] = leaf
        for name, _, _ in slots(self._tree):
            found = self._tensors.get(name)
            if isinstance(found, Tensor) and found.role is None:
                self._tensors[name] = replace(found, role="slot")
        owners = slot_aliases(self._tree, self._tensors)
        self._derived = owners.keys() - self._aliases.keys()
        self._aliases = owners | self._aliases

    def _read_note(self, note: bytes | None) -> Notes:
        return Notes() if note is None else checked(decode(note), [*self._tensors, *self._aliases])

    def _spec(self, name: str, leaf: Tensor | RawArray) -> TensorSpec:
        role = "run" if name.startswith(RUN_PREFIX) else self._note.roles.get(name)
        if isinstance(leaf, RawArray):
            return pickled_arrays.spec_of_array(name, leaf)._replace(role=role)
        shape = (*leaf.shape, 2) if leaf.dtype in PAIRS else leaf.shape
        return TensorSpec(name, DTYPES[leaf.dtype][0], shape, role or leaf.role)

    @property
    def stored(self) -> Mapping[str, str]:
        return {
            name: f"{'meta ' if leaf.storage.missing else ''}{leaf.dtype} {leaf.shape}"
            for name, leaf in self._tensors.items()
            if isinstance(leaf, Tensor)
            and (leaf.dtype != DTYPES[leaf.dtype][0] or leaf.storage.missing)
        }

    @cached_property
    def metadata(self) -> Mapping[str, str]:
        """What is beside the tensors, and the structure; made when it is first asked for."""
        found, whole = all_shown(self._beside(), self._contents.pickled)
        if whole and not is_plain(self._tree):
            from .tree import skeleton_of

            found[TREE] = skeleton_of(self._tree)
        return found | dict(self._note.metadata)

    def _beside(self) -> Iterator[tuple[str, Any]]:
        """Yield every leaf that is no tensor, and the attributes of those that are."""
        yield from self._others.items()
        for name, leaf in self._tensors.items():
            if isinstance(leaf, Tensor):
                yield from ((joined(name, str(k)), value) for k, value in leaf.attributes.items())

    def unclaimed(self) -> Iterator[str]:
        return self._contents.unclaimed()

    def check(self, names: Iterable[str]) -> None:
        with noting(self._place):
            refuse_unreadable({name: self._fault(name) for name in names})

    def _leaf(self, name: str) -> Tensor | RawArray:
        return self._tensors[self._own(name)]

    def _fault(self, name: str) -> str | None:
        """Return why a tensor cannot be read, None when it can."""
        leaf = self._leaf(name)
        if isinstance(leaf, RawArray):
            return None
        if leaf.storage.missing:
            return 'has no values: it was saved from the device "meta"'
        claimed = self._greedy.get(leaf.storage.key)
        if claimed is None:
            return None
        return f"shares a storage of which tensors of {claimed} bytes in all are made"

    def read(self, name: str) -> "np.ndarray":
        leaf = self._leaf(name)
        with noting(self._place):
            refuse_unreadable({name: self._fault(name)})
            if isinstance(leaf, RawArray):
                return pickled_arrays.values_of_array(leaf)
            return self._values(leaf)

    def read_slice(self, name: str, index: Index) -> "np.ndarray":
        """Return a part of a tensor, reading the bytes from its first value to its last."""
        import numpy as np

        leaf = self._leaf(name)
        if isinstance(leaf, RawArray) or leaf.dtype in PAIRS or self._fault(name):
            return np.asarray(self.read(name)[index])
        box, rest = bounded(index, leaf.shape)
        steps = zip(box, leaf.strides, strict=True)
        begin = leaf.offset + sum(side.start * stride for side, stride in steps)
        with noting(self._place):
            part = self._values(replace(leaf, offset=begin, shape=box_shape(box)))
        return np.asarray(part[rest])

    def _values(self, tensor: Tensor) -> "np.ndarray":
        from .values import values

        itemsize = DTYPES[tensor.dtype][1]
        begin = tensor.offset * itemsize if tensor.extent else 0
        raw = self._contents.part_of(tensor.storage, begin, tensor.extent)
        return values(raw, tensor, self._contents.byteorder)


def folded(contents: Contents) -> Any:
    """Return the value of a file as plain containers of tensors and leaves."""
    modules = Modules(max(contents.pickled, 1000), contents.sources)
    folder = Folder(
        modules.special,
        {Storage: fold_storage, Composite: fold_composite},
        lambda leaf: isinstance(leaf, Tensor),
    )
    return folder.folded(contents.value)


def constants_of(contents: Contents) -> dict[str, Any]:
    """Return the constants of TorchScript that are tensors: "constants/0" and so on."""
    constants = contents.constants if isinstance(contents.constants, tuple | list) else ()
    return {f"constants/{n}": c for n, c in enumerate(constants) if isinstance(c, Tensor)}


def joint(first: Tensor | RawArray, second: Tensor) -> Tensor | RawArray:
    """Return the *first* of two tied tensors, with the role that either of them has."""
    if isinstance(first, Tensor) and first.role is None and second.role is not None:
        return replace(first, role=second.role)
    return first


def greedy(tensors: Iterable[Tensor | RawArray]) -> dict[str, int]:
    """Return the storages of which far more bytes are asked than they have, and how many."""
    asked: dict[str, int] = {}
    sizes: dict[str, int] = {}
    for tensor in tensors:
        if isinstance(tensor, Tensor) and not tensor.storage.missing:
            key = tensor.storage.key
            asked[key] = asked.get(key, 0) + math.prod(tensor.shape) * DTYPES[tensor.dtype][1]
            sizes[key] = max(sizes.get(key, 0), tensor.storage.nbytes)
    return {k: n for k, n in asked.items() if n > CLAIMED_ONCE + CLAIMED * sizes[k]}


def refuse_unreadable(faults: Mapping[str, str | None]) -> None:
    """Raise one error for all tensors that cannot be read."""
    wrong = {name: fault for name, fault in faults.items() if fault}
    if not wrong:
        return
    lines = [f"  {name!r} {fault}" for name, fault in wrong.items()]
    text = "\n".join([f"{len(wrong)} tensors cannot be read:", *lines])
    if any("meta" in fault for fault in wrong.values()):
        raise UnsupportedCheckpoint(text)
    raise CorruptCheckpoint(text)


def is_plain(tree: Any) -> bool:
    """Return whether *tree* is a dict of tensors and no more, so that names say all of it."""
    return type(tree) is dict and all(
        isinstance(key, str) and isinstance(value, Tensor) and not value.parameter
        for key, value in tree.items()
    )
