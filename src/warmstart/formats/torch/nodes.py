"""Storages and tensors of a PyTorch file, as its pickle describes them: without their bytes."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

from ...errors import CorruptCheckpoint
from ...spec import ITEMSIZES

#: PyTorch's dtype -> (ours, bytes of an element of its storage).  What NumPy has no dtype for is
#: read as the numbers it is made of, and its own dtype said beside it.
DTYPES: Mapping[str, tuple[str, int]] = {
    **{name: (name, ITEMSIZES[name]) for name in (
        "float32", "float64", "float16", "bfloat16", "int8", "int16", "int32", "int64", "uint8",
        "uint16", "uint32", "uint64", "bool", "complex64", "complex128", "float8_e4m3fn",
        "float8_e5m2", "float8_e4m3fnuz", "float8_e5m2fnuz", "float8_e8m0fnu",
    )},
    "float": ("float32", 4), "double": ("float64", 8), "half": ("float16", 2),
    "int": ("int32", 4), "long": ("int64", 8), "short": ("int16", 2),
    "cfloat": ("complex64", 8), "cdouble": ("complex128", 16),
    "complex32": ("float16", 4), "chalf": ("float16", 4),
    "quint8": ("uint8", 1), "qint8": ("int8", 1), "qint32": ("int32", 4),
    "quint4x2": ("uint8", 1), "quint2x4": ("uint8", 1), "float4_e2m1fn_x2": ("uint8", 1),
    "bits8": ("uint8", 1), "bits1x8": ("uint8", 1), "bits2x4": ("uint8", 1),
    "bits4x2": ("uint8", 1), "bits16": ("uint16", 2),
}  # fmt: skip

#: Elements of these are halves in pairs: (real, imaginary).
PAIRS = ("complex32", "chalf")

#: The class of a storage -> the dtype of its elements.
STORAGES: Mapping[str, str] = {
    "FloatStorage": "float32", "DoubleStorage": "float64", "HalfStorage": "float16",
    "BFloat16Storage": "bfloat16", "ByteStorage": "uint8", "CharStorage": "int8",
    "ShortStorage": "int16", "IntStorage": "int32", "LongStorage": "int64",
    "BoolStorage": "bool", "ComplexFloatStorage": "complex64",
    "ComplexDoubleStorage": "complex128", "QUInt8Storage": "quint8", "QInt8Storage": "qint8",
    "QInt32Storage": "qint32", "QUInt4x2Storage": "quint4x2", "QUInt2x4Storage": "quint2x4",
    "UntypedStorage": "uint8", "_UntypedStorage": "uint8",
}  # fmt: skip


@dataclass(slots=True, eq=False)  # a frozen one takes three times as long to make
class Storage:
    """A run of elements: what tensors are views of; `begin` counts bytes in the storage `key`.

    An untyped one has bytes; the tensor says what they are.
    """

    key: str
    dtype: str
    nbytes: int
    begin: int = 0
    missing: bool = False  # on the device "meta": it never had values

    @property
    def itemsize(self) -> int:
        return DTYPES[self.dtype][1]


@dataclass(slots=True, eq=False)
class Tensor:
    """A view of a storage: shape, strides and offset in elements of `dtype`, PyTorch's name."""

    storage: Storage
    dtype: str
    shape: tuple[int, ...]
    strides: tuple[int, ...]
    offset: int = 0
    requires_grad: bool = False
    parameter: bool = False
    conj: bool = False
    neg: bool = False
    role: str | None = None
    attributes: Mapping[str, Any] = field(default_factory=dict)

    def set_state(self, state: Any) -> None:
        """Take what PyTorch 0.1 saved of a Parameter: (requires_grad, volatile, hooks)."""
        match state:
            case (bool(requires_grad), *_):
                self.requires_grad = requires_grad
                self.role = "trainable" if requires_grad else "model"
            case _:
                raise CorruptCheckpoint("a parameter has no state like PyTorch's")

    @property
    def place(self) -> tuple[Any, ...]:
        """What two names of the same tensor have in common."""
        bits = self.conj, self.neg
        place = self.storage.key, self.storage.begin, self.offset
        return place, self.dtype, self.shape, self.strides, bits

    @property
    def extent(self) -> int:
        """Bytes of the storage up to the end of the last element."""
        elements = span(self.shape, self.strides)
        return (self.offset + elements) * DTYPES[self.dtype][1] if elements else 0


@lru_cache(1000)  # most tensors of a file have one of a few shapes
def span(shape: tuple[int, ...], strides: tuple[int, ...]) -> int:
    """Return how many elements of a storage lie from the first of a view to its last."""
    if 0 in shape:
        return 0
    return sum((n - 1) * stride for n, stride in zip(shape, strides, strict=True)) + 1


@dataclass(frozen=True, slots=True, eq=False)
class Composite:
    """A tensor that is several: quantised, sparse; `parts` by PyTorch's names for them."""

    kind: str
    parts: Mapping[str, Any]
