"""The calls in a PyTorch pickle that make tensors: a closed table.

    _rebuild_tensor(storage, offset, size, stride)
    _rebuild_tensor_v2(..., requires_grad, backward_hooks, metadata=None)
    _rebuild_tensor_v3(..., requires_grad, backward_hooks, dtype, metadata=None)
    _rebuild_parameter(tensor, requires_grad, backward_hooks)
    persistent id = ("storage", class, key, location, elements[, view])

Offset and strides count elements.
Source: PyTorch 2.13, torch/_utils.py, torch/_tensor.py, torch/serialization.py.
"""

from collections.abc import Mapping
from dataclasses import replace
from functools import lru_cache
from typing import Any

from ...binary.pickle import COMMON, Builder, BuilderTable, Global, RawArray, brief
from ...errors import CorruptCheckpoint, UnsupportedCheckpoint
from ...spec import MAX_RANK, checked_nbytes
from .nodes import DTYPES, STORAGES, Composite, Storage, Tensor


def dtype_of(value: Any) -> str:
    """Return PyTorch's name of a dtype, which a pickle has as a name to import."""
    if isinstance(value, Global) and value.module == "torch" and value.name in DTYPES:
        return value.name
    raise UnsupportedCheckpoint(f"a tensor has the dtype {brief(value)}, which is not known")


def storage_of(
    cls: Any, key: Any, elements: Any, location: Any = "cpu", *, folder: str = ""
) -> Storage:
    """Return the storage of a persistent id, its key below that of a *folder*."""
    name = cls.name if isinstance(cls, Global) else ""
    if name not in STORAGES:
        raise UnsupportedCheckpoint(f"a storage is of the class {brief(cls)}, which is not known")
    if type(elements) is not int or not 0 <= elements < 2**62 or not isinstance(key, str | int):
        raise CorruptCheckpoint(
            f"a storage has the key {brief(key)} and {brief(elements)} elements"
        )
    dtype = STORAGES[name]
    return Storage(f"{folder}{key}", dtype, elements * DTYPES[dtype][1], missing=location == "meta")


def numbers(values: Any, what: str) -> tuple[int, ...]:
    """Return a shape or strides, or refuse what is none."""
    found = tuple(values) if isinstance(values, (tuple, list)) else (-1,)
    for n in found:
        if type(n) is not int or not 0 <= n < 2**62 or len(found) > MAX_RANK:
            raise CorruptCheckpoint(
                f"a tensor has {brief(values)} for its {what}, not whole numbers from 0 on"
            )
    return found


def tensor(  # noqa: PLR0917  (as PyTorch calls it)
    storage: Any, offset: Any = None, size: Any = None, stride: Any = None,
    requires_grad: Any = None, _hooks: Any = None, metadata: Any = None,
) -> Tensor:  # fmt: skip
    """Return a view of a typed storage; older files leave the last arguments out."""
    dtype = storage.dtype if isinstance(storage, Storage) else ""
    return view(storage, dtype, (offset, size, stride), requires_grad, metadata)


def tensor_with_dtype(  # noqa: PLR0917  (as PyTorch calls it)
    storage: Any, offset: Any = None, size: Any = None, stride: Any = None,
    requires_grad: Any = None, _hooks: Any = None, dtype: Any = None, metadata: Any = None,
) -> Tensor:  # fmt: skip
    """Return a view of bytes as the dtype that is given."""
    return view(storage, dtype_of(dtype), (offset, size, stride), requires_grad, metadata)


def view(
    storage: Any, dtype: str, place: tuple[Any, Any, Any], requires_grad: Any, metadata: Any
) -> Tensor:
    """Return a tensor, proved to lie inside its storage."""
    if not isinstance(storage, Storage):
        raise CorruptCheckpoint(f"a tensor is a view of {brief(storage)}, not of a storage")
    (offset,), shape, strides = (
        numbers((place[0],), "offset"),
        numbers(place[1], "shape"),
        numbers(place[2], "strides"),
    )
    check_view(dtype, shape, strides)
    found = Tensor(storage, dtype, shape, strides, offset, requires_grad is True)
    if isinstance(metadata, dict):
        found.conj, found.neg = metadata.get("conj") is True, metadata.get("neg") is True
    if found.extent > storage.nbytes and not storage.missing:
        raise CorruptCheckpoint(
            f"a tensor {dtype} {shape} goes up to byte {found.extent} of the storage "
            f"{storage.key!r}, which has {storage.nbytes}"
        )
    return found


@lru_cache(1000)  # most tensors of a file have one of a few shapes
def check_view(dtype: str, shape: tuple[int, ...], strides: tuple[int, ...]) -> None:
    """Refuse a *shape* that nothing has, and strides that are not its own."""
    if len(shape) != len(strides):
        raise CorruptCheckpoint(f"a tensor has the shape {shape} and the strides {strides}")
    checked_nbytes(DTYPES[dtype][0], shape)


def parameter(data: Any, requires_grad: Any = True, _hooks: Any = None, state: Any = None) -> Any:
    """Return a tensor as the parameter that it is; a composite one stays as it is."""
    if not isinstance(data, Tensor):
        return data
    trained = requires_grad is True
    found = replace(data, parameter=True, requires_grad=trained)
    found.role = "trainable" if trained else "model"
    found.attributes = state if isinstance(state, dict) else {}
    return found


def sparse(layout: Any, data: Any) -> Composite:
    """Return a sparse tensor as what it consists of."""
    kind = layout if isinstance(layout, str) else brief(layout)
    names = {
        "sparse_coo": ("indices", "values", "size", "is_coalesced"),
        "sparse_csr": ("crow_indices", "col_indices", "values", "size"),
        "sparse_bsr": ("crow_indices", "col_indices", "values", "size"),
        "sparse_csc": ("ccol_indices", "row_indices", "values", "size"),
        "sparse_bsc": ("ccol_indices", "row_indices", "values", "size"),
    }.get(kind.removeprefix("torch."))
    if names is None or not isinstance(data, tuple):
        raise UnsupportedCheckpoint(
            f"a sparse tensor has the layout {kind[:80]!r}, which is not known"
        )
    return Composite(kind, dict(zip(names, data, strict=False)))


def layout(name: Any) -> str:
    """Return the layout called *name*, as its name."""
    return name[:100] if isinstance(name, str) else brief(name)


def quantised(
    storage: Any, offset: Any, size: Any, stride: Any, quantizer: Any, *_: Any
) -> Composite:
    """Return a quantised tensor as its integers and what turns them into numbers."""
    integers = tensor(storage, offset, size, stride)
    match quantizer:
        case (Global() as scheme, scale, zero_point):
            more = {"scale": scale, "zero_point": zero_point}
        case (Global() as scheme, scales, zero_points, axis):
            more = {"scales": scales, "zero_points": zero_points, "axis": axis}
        case _:
            raise CorruptCheckpoint("a quantised tensor does not say how it is quantised")
    return Composite(f"{scheme} {integers.dtype}", {"int_repr": integers, **more})


def without_values(dtype: Any, size: Any, stride: Any, requires_grad: Any) -> Tensor:
    """Return a tensor on the device "meta", which has a shape and no values."""
    storage = Storage("meta", dtype_of(dtype), 0, missing=True)
    return view(storage, storage.dtype, (0, size, stride), requires_grad, None)


def subclass(cls: Any, dtype: Any, size: Any, stride: Any, *_: Any) -> Composite:
    """Return a tensor that wraps others: its values are not in the file under this name."""
    return Composite(brief(cls), {"wraps": without_values(dtype, size, stride, False)})


def from_type(function: Any, cls: Any, args: Any, state: Any = None) -> Any:
    """Return a tensor of a subclass of Tensor, as the tensor it was made from."""
    key = (function.module, function.name) if isinstance(function, Global) else ("", "")
    if key not in REBUILDS or not isinstance(args, tuple):
        raise TypeError("a tensor made by a function that is not known")
    found = REBUILDS[key](*args)
    if isinstance(found, Tensor) and isinstance(state, dict):
        found.attributes = state
    return found


def from_numpy(data: Any, *_: Any) -> Any:
    """Return the array that a tensor of another device was saved as."""
    if not isinstance(data, RawArray | Tensor):
        raise CorruptCheckpoint(f"a tensor is made from {brief(data)}, not from an array")
    return data


def nested(buffer: Any, sizes: Any, strides: Any, offsets: Any) -> Composite:
    """Return a nested tensor as its buffer and where the tensors are in it."""
    parts = {"buffer": buffer, "sizes": sizes, "strides": strides, "storage_offsets": offsets}
    return Composite("torch.nested", parts)


def size_of(size: Any = ()) -> tuple[int, ...]:
    """Return a torch.Size as the tuple it is."""
    return numbers(size, "size")


def same(value: Any, *_: Any) -> Any:
    """Return the first argument; for calls that only say what it is."""
    return value


UTILS: Mapping[str, Builder] = {
    "_rebuild_tensor": tensor,
    "_rebuild_tensor_v2": tensor,
    "_rebuild_tensor_v3": tensor_with_dtype,
    "_rebuild_parameter": parameter,
    "_rebuild_parameter_with_state": parameter,
    "_rebuild_sparse_tensor": sparse,
    "_rebuild_sparse_csr_tensor": sparse,
    "_rebuild_qtensor": quantised,
    "_rebuild_meta_tensor_no_storage": without_values,
    "_rebuild_wrapper_subclass": subclass,
    "_rebuild_device_tensor_from_numpy": from_numpy,
    "_rebuild_device_tensor_from_cpu_tensor": from_numpy,
    "_rebuild_xla_tensor": from_numpy,
    "_rebuild_nested_tensor": nested,
}

REBUILDS: BuilderTable = {("torch._utils", name): builder for name, builder in UTILS.items()}

#: TorchScript's lists and the values whose type it notes.
SCRIPT = ("build_intlist", "build_doublelist", "build_boollist", "build_tensorlist")

TORCH: BuilderTable = {
    **COMMON,
    **REBUILDS,
    ("torch.nn.parameter", "Parameter"): parameter,
    ("torch.nn.parameter", "Buffer"): parameter,
    ("torch.autograd.variable", "Variable"): same,
    ("torch._tensor", "_rebuild_from_type"): from_type,
    ("torch._tensor", "_rebuild_from_type_v2"): from_type,
    ("torch.tensor", "_rebuild_from_type"): from_type,
    ("torch.tensor", "_rebuild_from_type_v2"): from_type,
    ("torch", "Size"): size_of,
    ("torch.serialization", "_get_layout"): layout,
    ("torch.jit._pickle", "restore_type_tag"): same,
    **{("torch.jit._pickle", name): same for name in SCRIPT},
}
