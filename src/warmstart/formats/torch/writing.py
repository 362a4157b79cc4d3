"""Writing one file that `torch.load(weights_only=True)` loads, mapped too."""

from collections.abc import Mapping
from pathlib import Path

from ...binary.atomic import replacing
from ...binary.pickle.keys import MAX_TEXT
from ...binary.pickle.nodes import Call, Global
from ...binary.pickling import ORDERED, Persistent, dumps
from ...binary.stream import Stream
from ...source import Source
from ...spec import TensorSpec
from ..arrays import bytes_of, encodable, note_faults, refuse_unheld, values_to_write
from ..notes import encode, notes_of
from .archive import TorchArchive

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


def save_source(source: Source, path: Path) -> None:
    """Write *source* to *path*: a dict of tensors, tied ones on one storage."""
    refuse_unheld("PyTorch", faults_of(source), ADVICE)
    specs = [source.specs[name] for name in sorted(source.specs)]
    pickle = dumps(state_dict(specs, source.aliases))
    with replacing(path) as file:
        stream = Stream(file, expected=len(pickle) + sum(spec.nbytes for spec in specs))
        archive = TorchArchive(stream, pickle)
        for spec in specs:
            archive.add_storage(bytes_of(values_to_write(source, spec)))
        archive.finish(encode(notes_of(source)))
        stream.flush()


def state_dict(specs: list[TensorSpec], aliases: Mapping[str, str]) -> dict[str, Call]:
    """Return what makes each tensor by name, the n-th of *specs* on storage n."""
    tensors = {spec.name: tensor(spec, number) for number, spec in enumerate(specs)}
    return tensors | {alias: tensors[name] for alias, name in sorted(aliases.items())}


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
