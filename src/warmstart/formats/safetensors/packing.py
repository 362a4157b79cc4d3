"""Elements smaller than a byte: side by side in the file, one to a byte in memory.

The first element takes the lowest bits of the first byte, as PyTorch's `float4_e2m1fn_x2` does;
six-bit elements go on the same way, four of them in three bytes.
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np


def unpack(packed: "np.ndarray", bits: int) -> "np.ndarray":
    """Return the elements of *packed*, bytes of which each element takes *bits*: 4 or 6."""
    import numpy as np

    values = np.empty(packed.size * 8 // bits, np.uint8)
    if bits == 4:
        values[0::2] = packed & 0xF
        values[1::2] = packed >> 4
        return values
    first, second, third = packed[0::3], packed[1::3], packed[2::3]
    values[0::4] = first & 0x3F
    values[1::4] = first >> 6 | (second & 0xF) << 2
    values[2::4] = second >> 4 | (third & 0x3) << 4
    values[3::4] = third >> 2
    return values


def pack(values: "np.ndarray", bits: int) -> "np.ndarray":
    """Return what `unpack` takes back to *values*, bytes whose upper bits are not used."""
    import numpy as np

    packed = np.empty(values.size * bits // 8, np.uint8)
    if bits == 4:
        packed[:] = values[0::2] & 0xF | values[1::2] << 4
        return packed
    first, second, third, fourth = (values[i::4] & 0x3F for i in range(4))
    packed[0::3] = first | second << 6
    packed[1::3] = second >> 2 | third << 4
    packed[2::3] = third >> 4 | fourth << 2
    return packed
