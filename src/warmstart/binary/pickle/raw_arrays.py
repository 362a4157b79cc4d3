"""Arrays of NumPy as their pickles describe them; NumPy itself is not needed to read that.

    dtype  = numpy.dtype("f4", align, copy), state (3, "<", ...)
    array  = _reconstruct(ndarray, (0,), b"b"), state (1, shape, dtype, fortran_order, data)
           | _frombuffer(data, dtype, shape, "C" or "F")            (NumPy 2, protocol 5)
    scalar = scalar(dtype, data)

Source: NumPy 2.4, numpy/_core/src/multiarray/{methods,descriptor,scalartypes}.c, numeric.py.
"""

from dataclasses import dataclass
from typing import Any

from ...errors import CorruptCheckpoint
from .nodes import brief


@dataclass(eq=False, slots=True)
class RawDtype:
    """A dtype by NumPy's code for it ("f4", "U3", "O8") and its byte order: one of `<>|=`."""

    code: str
    byteorder: str = "="
    fields: Any = None  # of a structured dtype

    def set_state(self, state: Any) -> None:
        """Take what NumPy saves beside the code: (version, byteorder, subarray, names, ...)."""
        match state:
            case (int(), str() | b"<" | b">" | b"|" | b"=" as order, subarray, names, *_):
                order = order if isinstance(order, str) else order.decode()
            case _:
                raise CorruptCheckpoint(f"a NumPy dtype {self.code!r} has no state like NumPy's")
        if order not in ("<", ">", "|", "="):
            raise CorruptCheckpoint(f"a NumPy dtype has the byte order {order!r}")
        self.byteorder = order
        self.fields = names or subarray

    @property
    def descr(self) -> str:
        """The dtype as NumPy writes it, "<f4"; a pickle made before NumPy had states is native."""
        return ("<" if self.byteorder == "=" else self.byteorder) + self.code


@dataclass(eq=False, slots=True)
class RawArray:
    """An array: its bytes lie in `data`, or for objects `data` is the list of them."""

    shape: tuple[int, ...] = (0,)
    dtype: RawDtype | None = None
    fortran_order: bool = False
    data: Any = b""
    scalar: bool = False

    def set_state(self, state: Any) -> None:
        """Take what NumPy saves of an array."""
        match state:
            case (int(), tuple(shape), RawDtype() as dtype, bool() | int() as order, data):
                pass
            case (tuple(shape), RawDtype() as dtype, bool() | int() as order, data):
                pass
            case _:
                raise CorruptCheckpoint("a NumPy array has no state like NumPy's")
        self.shape, self.dtype = checked_shape(shape), dtype
        self.fortran_order, self.data = bool(order), as_bytes(data)


def checked_shape(shape: Any) -> tuple[int, ...]:
    """Return *shape* if it is one."""
    if isinstance(shape, tuple) and all(type(n) is int and n >= 0 for n in shape):
        return shape
    raise CorruptCheckpoint(f"a NumPy array has {brief(shape)} for a shape, not whole numbers")


def as_bytes(data: Any) -> Any:
    """Return the bytes of an array; Python 2's come as text where they are ASCII."""
    if isinstance(data, str):
        return data.encode("latin-1")
    if isinstance(data, bytes | bytearray | memoryview | list):
        return data
    raise CorruptCheckpoint(f"the bytes of a NumPy array are {brief(data)}")


def dtype_called(code: Any, *_: Any) -> RawDtype:
    """Return the dtype called *code*, as numpy.dtype is called by a pickle."""
    text = code.decode("ascii") if isinstance(code, bytes) else code
    if not isinstance(text, str) or len(text) > 100:
        raise CorruptCheckpoint(f"a NumPy dtype is called {brief(code)}")
    return RawDtype(text)


def array_begun(*_: Any) -> RawArray:
    """Return an array of which all is to come as its state."""
    return RawArray()


def array_from_buffer(data: Any, dtype: Any, shape: Any, order: Any, *axes: Any) -> RawArray:
    """Return an array as NumPy 2 saves one with protocol 5."""
    if not isinstance(dtype, RawDtype) or order not in ("C", "F") or axes not in ((), (None,)):
        raise CorruptCheckpoint("a NumPy array is not described as NumPy does it")
    return RawArray(checked_shape(shape), dtype, order == "F", as_bytes(data))


def scalar_of(dtype: Any, data: Any = b"") -> RawArray:
    """Return one value of *dtype*."""
    if not isinstance(dtype, RawDtype):
        raise CorruptCheckpoint("a NumPy scalar has no dtype")
    data = data if isinstance(data, bytes | memoryview | str) else [data]
    return RawArray((), dtype, False, as_bytes(data), scalar=True)
