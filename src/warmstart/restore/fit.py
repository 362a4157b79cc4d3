"""Whether a tensor's values can be a variable's: equal shapes, and a dtype that loses no meaning.

float  -> any float                      a cast, noted in the report
int    -> int that holds all its values  int8 -> int32, uint8 -> int16
complex -> wider complex
anything else must be the same
"""

from ..spec import TensorSpec

#: Bits of the magnitude, and whether there is a sign.
INTEGERS: dict[str, tuple[int, bool]] = {
    **{f"int{bits}": (bits - 1, True) for bits in (2, 4, 8, 16, 32, 64)},
    **{f"uint{bits}": (bits, False) for bits in (2, 4, 8, 16, 32, 64)},
}


def misfit(source: TensorSpec, target: TensorSpec) -> str | None:
    """Return what of *source* does not fit *target*, "shape" before "dtype", or None."""
    if source.shape != target.shape:
        return "shape"
    return None if can_become(source.dtype, target.dtype) else "dtype"


def can_become(source: str, target: str) -> bool:
    """Return whether values of dtype *source* may be cast to *target*.

    >>> can_become("float64", "bfloat16"), can_become("uint8", "int16"), can_become("int8", "uint8")
    (True, True, False)
    """
    if source == target or (is_float(source) and is_float(target)):
        return True
    if source in INTEGERS and target in INTEGERS:
        (bits, signed), (target_bits, target_signed) = INTEGERS[source], INTEGERS[target]
        return bits <= target_bits and (target_signed or not signed)
    return (source, target) == ("complex64", "complex128")


def holds(wide: str, narrow: str) -> bool:
    """Return whether dtype *wide* has every value of *narrow*, so that a cast there can be undone.

    >>> holds("float32", "bfloat16"), holds("float16", "bfloat16"), holds("int16", "uint8")
    (True, False, True)
    """
    if is_float(wide) and is_float(narrow):
        return wide in (narrow, "float64") or (wide == "float32" and narrow != "float64")
    return can_become(narrow, wide)


def kind_of(dtype: str) -> str:
    """Return which kind of values *dtype* has: what stays close under a cast.

    >>> kind_of("bfloat16"), kind_of("uint8"), kind_of("bool")
    ('float', 'integer', 'bool')
    """
    if is_float(dtype):
        return "float"
    if dtype in INTEGERS:
        return "integer"
    return "complex" if dtype.startswith("complex") else dtype


def is_float(dtype: str) -> bool:
    """Return whether *dtype* is a floating type of any width."""
    return dtype.startswith(("float", "bfloat"))
