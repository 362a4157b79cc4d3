"""Blocks of quantised values to float32, with the roundings of the reference.

A block is a record: scales as small floats, then the bits of its elements.  `RECORDS` says how each
type's lies; where elements are taken from bytes, the low bits come first, and elements half a block
apart share a byte:

    Q4_0    16 bytes of 4 bits: elements 0 to 15 in the low halves, 16 to 31 in the high ones
    Q5_*    the same, the fifth bits in a 32-bit number
    *_K     256 elements in 8 or 16 groups, each with a scale (and a least) of 4 or 6 bits

Each function fills *out*, float32 (blocks, elements), in the order of operations of the reference,
so that the bits are the same.  Source: ggml/src/ggml-quants.c, `dequantize_row_*`; gguf 0.19,
`gguf/quants.py`.
"""

from collections.abc import Callable

import numpy as np

from .types import Type

Array = np.ndarray

#: type -> the fields of its block.
RECORDS: dict[str, list[tuple[str, str] | tuple[str, str, int]]] = {
    "Q4_0": [("d", "f2"), ("qs", "u1", 16)],
    "Q4_1": [("d", "f2"), ("m", "f2"), ("qs", "u1", 16)],
    "Q5_0": [("d", "f2"), ("qh", "u4"), ("qs", "u1", 16)],
    "Q5_1": [("d", "f2"), ("m", "f2"), ("qh", "u4"), ("qs", "u1", 16)],
    "Q8_0": [("d", "f2"), ("qs", "i1", 32)],
    "Q2_K": [("scales", "u1", 16), ("qs", "u1", 64), ("d", "f2"), ("m", "f2")],
    "Q3_K": [("qh", "u1", 32), ("qs", "u1", 64), ("scales", "u1", 12), ("d", "f2")],
    "Q4_K": [("d", "f2"), ("m", "f2"), ("scales", "u1", 12), ("qs", "u1", 128)],
    "Q5_K": [("d", "f2"), ("m", "f2"), ("scales", "u1", 12), ("qh", "u1", 32), ("qs", "u1", 128)],
    "Q6_K": [("qs", "u1", 128), ("qh", "u1", 64), ("scales", "i1", 16), ("d", "f2")],
    "Q8_K": [("d", "f4"), ("qs", "i1", 256), ("sums", "i2", 16)],
    "IQ4_NL": [("d", "f2"), ("qs", "u1", 16)],
    "IQ4_XS": [("d", "f2"), ("sh", "u2"), ("sl", "u1", 4), ("qs", "u1", 128)],
    "MXFP4": [("e", "u1"), ("qs", "u1", 16)],
}

#: What the 16 codes of IQ4_NL and IQ4_XS mean.
CURVE = np.array(
    [-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113], np.float32
)
#: What the 16 codes of MXFP4 mean, twice.
E2M1 = np.array([0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12], np.float32)

#: Elements that are turned at once: they stay in the cache.
AT_ONCE = 1 << 16


def dequantized(raw: memoryview, type_: Type, shape: tuple[int, ...], order: str) -> Array:
    """Return the values, of *shape*, of the blocks in *raw*; *order* is that of their bytes."""
    record = np.dtype(RECORDS[type_.name]).newbyteorder("<" if order == "<" else ">")
    blocks = np.ndarray(len(raw) // type_.nbytes, record, raw)
    values = np.empty((len(blocks), type_.elements), np.float32)
    step = AT_ONCE // type_.elements
    with np.errstate(invalid="ignore", over="ignore"):  # a scale may be infinite, or no number
        for at in range(0, len(blocks), step):
            KERNELS[type_.name](blocks[at : at + step], values[at : at + step])
    return values.reshape(shape)


def halves(qs: Array, out: Array) -> None:
    """Fill *out* with the 4 bits each of *qs*; the high ones follow all the low ones of a run.

    A run is the last axis of *qs*, *out* has the same axes with twice the last.
    """
    both = out.reshape(*qs.shape[:-1], 2, qs.shape[-1])
    both[..., 0, :] = qs & 15
    both[..., 1, :] = qs >> 4


def scale(blocks: Array, field: str = "d") -> Array:
    """Return a scale of each block as float32 (blocks, 1)."""
    return blocks[field].astype(np.float32)[:, None]


def q4_0(blocks: Array, out: Array) -> None:
    halves(blocks["qs"], out)
    out -= 8
    out *= scale(blocks)


def q4_1(blocks: Array, out: Array) -> None:
    halves(blocks["qs"], out)
    out *= scale(blocks)
    out += scale(blocks, "m")


def fifth_bits(blocks: Array) -> Array:
    """Return what the fifth bits add, 0 or 16, as uint8 (blocks, 32)."""
    raw = blocks["qh"].astype("<u4").view(np.uint8).reshape(len(blocks), 4)
    return np.unpackbits(raw, axis=1, bitorder="little") << 4


def q5_0(blocks: Array, out: Array) -> None:
    halves(blocks["qs"], out)
    out += fifth_bits(blocks)
    out -= 16
    out *= scale(blocks)


def q5_1(blocks: Array, out: Array) -> None:
    halves(blocks["qs"], out)
    out += fifth_bits(blocks)
    out *= scale(blocks)
    out += scale(blocks, "m")


def q8_0(blocks: Array, out: Array) -> None:
    np.multiply(blocks["qs"], scale(blocks), out=out)


def q2_k(blocks: Array, out: Array) -> None:
    n = len(blocks)
    quarters(blocks["qs"].reshape(n, 2, 32), out.reshape(n, 2, 4, 32))
    groups = out.reshape(n, 16, 16)
    groups *= (scale(blocks) * (blocks["scales"] & 15))[:, :, None]
    groups -= (scale(blocks, "m") * (blocks["scales"] >> 4))[:, :, None]


def quarters(qs: Array, out: Array) -> None:
    """Fill *out* (..., 4, n) with the 2 bits each of *qs* (..., n)."""
    for i in range(4):
        out[..., i, :] = qs >> 2 * i & 3


def q3_k(blocks: Array, out: Array) -> None:
    n = len(blocks)
    raw = blocks["scales"]
    low = np.concatenate([raw[:, :8] & 15, raw[:, :8] >> 4], axis=1)
    high = np.concatenate([raw[:, 8:] >> 2 * i & 3 for i in range(4)], axis=1)
    scales = scale(blocks) * ((low | high << 4).astype(np.float32) - 32)
    qs, eights, bits = blocks["qs"], out.reshape(n, 8, 32), blocks["qh"]
    for i in range(8):  # without its third bit an element is 4 less
        half = qs[:, i // 4 * 32 : i // 4 * 32 + 32]
        eights[:, i] = half >> 2 * (i % 4) & 3 | (bits >> i & 1) << 2
    out -= 4
    groups = out.reshape(n, 16, 16)
    groups *= scales[:, :, None]


def six_bits(raw: Array) -> tuple[Array, Array]:
    """Return 8 scales and 8 leasts of 6 bits each, packed in 12 bytes (blocks, 12).

    The first four of each have bytes of their own, whose upper two bits belong to the last four.
    """
    first, second, third = raw[:, :4], raw[:, 4:8], raw[:, 8:]
    scales = np.concatenate([first & 63, third & 15 | first >> 6 << 4], axis=1)
    leasts = np.concatenate([second & 63, third >> 4 | second >> 6 << 4], axis=1)
    return scales, leasts


def scaled_groups(blocks: Array, out: Array) -> None:
    """Scale and shift each of the 8 groups of *out*, in place."""
    scales, leasts = six_bits(blocks["scales"])
    groups = out.reshape(len(blocks), 8, 32)
    groups *= (scale(blocks) * scales)[:, :, None]
    groups -= (scale(blocks, "m") * leasts)[:, :, None]


def q4_k(blocks: Array, out: Array) -> None:
    halves(blocks["qs"].reshape(len(blocks), 4, 32), out)
    scaled_groups(blocks, out)


def q5_k(blocks: Array, out: Array) -> None:
    n = len(blocks)
    qs, eights, bits = blocks["qs"].reshape(n, 4, 32), out.reshape(n, 8, 32), blocks["qh"]
    for i in range(8):
        eights[:, i] = qs[:, i // 2] >> 4 * (i % 2) & 15 | (bits >> i & 1) << 4
    scaled_groups(blocks, out)


def q6_k(blocks: Array, out: Array) -> None:
    n = len(blocks)
    low, high = blocks["qs"].reshape(n, 2, 2, 32), blocks["qh"].reshape(n, 2, 32)
    parts = out.reshape(n, 2, 4, 32)
    for i in range(4):
        parts[:, :, i] = low[:, :, i % 2] >> 4 * (i // 2) & 15 | (high >> 2 * i & 3) << 4
    out -= 32
    groups = out.reshape(n, 16, 16)
    groups *= (scale(blocks) * blocks["scales"])[:, :, None]


def q8_k(blocks: Array, out: Array) -> None:
    np.multiply(blocks["qs"], scale(blocks), out=out)


def iq4_nl(blocks: Array, out: Array) -> None:
    coded(CURVE, blocks["qs"], out)
    out *= scale(blocks)


def coded(table: Array, qs: Array, out: Array) -> None:
    """Fill *out* with what the 4 bits each of *qs* mean in *table*, in the order of `halves`."""
    both = out.reshape(*qs.shape[:-1], 2, qs.shape[-1])
    both[..., 0, :] = table[qs & 15]
    both[..., 1, :] = table[qs >> 4]


def iq4_xs(blocks: Array, out: Array) -> None:
    n = len(blocks)
    low = np.stack([blocks["sl"] & 15, blocks["sl"] >> 4], axis=2).reshape(n, 8)
    high = (blocks["sh"][:, None] >> np.arange(0, 16, 2, dtype=np.uint16) & 3).astype(np.uint8)
    scales = scale(blocks) * ((low | high << 4).astype(np.float32) - 32)
    coded(CURVE, blocks["qs"].reshape(n, 8, 16), out)
    groups = out.reshape(n, 8, 32)
    groups *= scales[:, :, None]


def mxfp4(blocks: Array, out: Array) -> None:
    coded(E2M1, blocks["qs"], out)
    out *= np.ldexp(np.float32(1), blocks["e"].astype(np.int32) - 128)[:, None]


#: type -> what fills float32 from its blocks.
KERNELS: dict[str, Callable[[Array, Array], None]] = {
    "Q4_0": q4_0, "Q4_1": q4_1, "Q5_0": q5_0, "Q5_1": q5_1, "Q8_0": q8_0,
    "Q2_K": q2_k, "Q3_K": q3_k, "Q4_K": q4_k, "Q5_K": q5_k, "Q6_K": q6_k, "Q8_K": q8_k,
    "IQ4_NL": iq4_nl, "IQ4_XS": iq4_xs, "MXFP4": mxfp4,
}  # fmt: skip
