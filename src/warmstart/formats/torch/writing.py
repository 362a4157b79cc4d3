"""Writing one file that `torch.load(weights_only=True)` loads, mapped too."""

from pathlib import Path
from typing import Any

from ...binary.atomic import replacing
from ...binary.garbage import collection_paused
from ...binary.pickle.keys import MAX_TEXT
from ...binary.pickle.nodes import Attributed, Call, Global
from ...binary.pickling import ORDERED, Persistent, dumps
from ...binary.stream import Stream
from ...names import inside
from ...source import Source
from ...spec import TensorSpec
from ..arrays import bytes_of, encodable, note_faults, refuse_unheld, values_to_write
from ..notes import Notes, encode, notes_of, parse_json
from .archive import TorchArchive
from .reading import TREE
from .tree import TensorLeaf, leaf_names, names_in, rebuilt

ADVICE = "An .npz or a TensorFlow bundle may hold them."

#: dtype -> the class of its storages
STORAGES = {
    dtype: Global("torch", name + "Storage")
    for dtype, name in {
        "float64": "Double", "float32": "Float", "float16": "Half", "bfloat16": "BFloat16",
        "int64": "Long", "int32": "Int", "int16": "Short", "int8": "Char", "uint8": "Byte",
        "bool": "Bool", "complex64": "ComplexFloat", "complex128": "ComplexDouble",
    }.items()
}  # fmt: skip
#: Those that came after storages had a type: the tensor says its own.
UNTYPED = Global("torch.storage", "UntypedStorage")
DTYPES = {
    dtype: Global("torch", dtype)
    for dtype in ("uint16", "uint32", "uint64", "float8_e4m3fn", "float8_e4m3fnuz", "float8_e5m2",
                  "float8_e5m2fnuz", "float8_e8m0fnu")
}  # fmt: skip

TENSOR = Global("torch._utils", "_rebuild_tensor_v2")
TENSOR_WITH_DTYPE = Global("torch._utils", "_rebuild_tensor_v3")
PARAMETER = Global("torch._utils", "_rebuild_parameter")


def write_file(source: Source, path: Path) -> None:
    """Write *source* to *path*: a dict of tensors, or nested as the file it came from was."""
    refuse_unheld("PyTorch", faults_of(source), ADVICE)
    with collection_paused():
        tree, notes = content_of(source)
        filling = Filling(source)
        pickle = dumps(filling.filled(tree))
    with replacing(path) as file:
        stream = Stream(file, expected=len(pickle) + sum(s.nbytes for s in source.specs.values()))
        archive = TorchArchive(stream, pickle)
        for spec in filling.order:
            archive.add_storage(bytes_of(values_to_write(source, spec)))
        archive.finish(encode(notes))
        stream.flush()


def content_of(source: Source) -> tuple[Any, Notes]:
    """Return the tree to write, tensors as `TensorLeaf`, and what is to be noted beside it.

    Other names of a tensor are in the tree, so that they are not noted; neither is what the tree
    says by itself.
    """
    said = notes_of(source)
    metadata = {key: text for key, text in said.metadata.items() if key != TREE}
    tree = None
    if TREE in said.metadata:
        tree = nested_again(said.metadata[TREE], source)
    if tree is not None:
        leaves = leaf_names(said.metadata[TREE])
        metadata = {key: text for key, text in metadata.items() if key not in leaves}
    else:
        tied = source.aliases.keys() - set(source.derived)  # the others are no keys of a module
        tree = {name: TensorLeaf(name) for name in (*sorted(source.specs), *sorted(tied))}
    return tree, Notes(said.roles, {}, metadata)


def nested_again(skeleton: str, source: Source) -> Any:
    """Return the tree of *skeleton* with the tensors that *source* still has, or None.

    A tensor that the skeleton has no place for was renamed, or is new: it comes into the deepest
    dict that its name begins with.  None where something else stands in its place, or where a
    tensor that is gone was in a list.
    """
    placed = set(names_in(parse_json(skeleton)))
    known = source.specs.keys() | source.aliases.keys()
    tree = rebuilt(skeleton, known & placed)
    fresh = sorted(source.specs.keys() - placed)
    return tree if all(put_in(tree, name) for name in fresh) else None


def put_in(tree: Any, name: str, rest: str | None = None) -> bool:
    """Put the tensor *name* into the deepest dict that it lies in; False where its place is taken.

    *rest* is what of the name is left in *tree*.
    """
    key = name if rest is None else rest
    if not isinstance(tree, dict):
        return False
    for level, box in tree.items():
        below = inside(key, str(level))
        if below is not None and isinstance(box, dict):
            return put_in(box, name, below)
    if key in tree:
        return False
    tree[key] = TensorLeaf(name)
    return True


class Filling:
    """A tree with its tensors, on storages numbered in the order of the pickle."""

    def __init__(self, source: Source) -> None:
        self.order: list[TensorSpec] = []
        self._source = source
        self._made: dict[str, Call] = {}

    def filled(self, value: Any) -> Any:
        """Return *value* with what makes a tensor for each `TensorLeaf` in it."""
        if isinstance(value, TensorLeaf):
            return self._tensor(value)
        if isinstance(value, dict):
            items = {key: self.filled(item) for key, item in value.items()}
            if not isinstance(value, Attributed):
                return items
            ordered = Attributed(items)
            ordered.state = value.state
            return ordered
        if isinstance(value, list | tuple):
            return type(value)(map(self.filled, value))
        return value

    def _tensor(self, leaf: TensorLeaf) -> Call:
        name = self._source.aliases.get(leaf.name, leaf.name)
        spec = self._source.specs[name]
        if name not in self._made:
            self._made[name] = tensor(spec, len(self.order))
            self.order.append(spec)
        made = self._made[name]
        if not leaf.parameter:
            return made
        return Call(PARAMETER, (made, spec.role != "model", Call(ORDERED)))


def tensor(spec: TensorSpec, number: int) -> Call:
    """Return what makes a tensor of the whole of a storage.

    Each has an empty dict of hooks to itself: hooks in a shared one would run for all.
    """
    typed = STORAGES.get(spec.dtype)
    size = spec.nbytes if typed is None else spec.size
    storage = Persistent(("storage", typed or UNTYPED, str(number), "cpu", size))
    parts = (storage, 0, spec.shape, strides(spec.shape), False, Call(ORDERED))
    if typed is None:
        return Call(TENSOR_WITH_DTYPE, (*parts, DTYPES[spec.dtype]))
    return Call(TENSOR, parts)


def strides(shape: tuple[int, ...]) -> tuple[int, ...]:
    """Return by how many elements a step along each axis of a packed tensor goes.

    >>> strides((2, 3, 4)), strides((2, 0, 4))
    ((12, 4, 1), (4, 4, 1))
    """
    found = [1] * len(shape)
    for axis in range(len(shape) - 2, -1, -1):
        found[axis] = found[axis + 1] * max(shape[axis + 1], 1)
    return tuple(found)


def faults_of(source: Source) -> dict[str, str]:
    """Return by name what this format cannot hold of *source*."""
    faults = note_faults(source)
    for spec in source.specs.values():
        fault = name_fault(spec.name) or dtype_fault(spec)
        if fault is not None:
            faults[spec.name] = fault
    return faults


def name_fault(name: str) -> str | None:
    """Return why no key of a state dict can be called *name*, None when one can."""
    if not encodable(name):
        return "is not Unicode text"
    return f"has {len(name)} characters, of {MAX_TEXT} at most" if len(name) > MAX_TEXT else None


def dtype_fault(spec: TensorSpec) -> str | None:
    """Return why PyTorch has no tensor like *spec*, None when it has."""
    if spec.dtype not in STORAGES and spec.dtype not in DTYPES:
        return f"{spec}: no such dtype in PyTorch"
    return None
