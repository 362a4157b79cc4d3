"""The types of tensors, by their number in a file.

Source: ggml/include/ggml.h (`enum ggml_type`) and ggml/src/ggml-common.h, as of gguf 0.19.
"""

from typing import NamedTuple

#: What every file begins with.
MAGIC = b"GGUF"


class Type(NamedTuple):
    """A type: its name, and the elements and bytes of a block; *dtype* where it is one element."""

    name: str
    elements: int
    nbytes: int
    dtype: str | None = None


#: Q8_1 (9) is left out: it is never in a file.  The blocks of repacked ones (31 to 33, 36 to 38),
#: which are no longer written, lie interleaved.
TYPES: dict[int, Type] = {
    0: Type("F32", 1, 4, "float32"),
    1: Type("F16", 1, 2, "float16"),
    2: Type("Q4_0", 32, 18),
    3: Type("Q4_1", 32, 20),
    6: Type("Q5_0", 32, 22),
    7: Type("Q5_1", 32, 24),
    8: Type("Q8_0", 32, 34),
    10: Type("Q2_K", 256, 84),
    11: Type("Q3_K", 256, 110),
    12: Type("Q4_K", 256, 144),
    13: Type("Q5_K", 256, 176),
    14: Type("Q6_K", 256, 210),
    15: Type("Q8_K", 256, 292),
    16: Type("IQ2_XXS", 256, 66),
    17: Type("IQ2_XS", 256, 74),
    18: Type("IQ3_XXS", 256, 98),
    19: Type("IQ1_S", 256, 50),
    20: Type("IQ4_NL", 32, 18),
    21: Type("IQ3_S", 256, 110),
    22: Type("IQ2_S", 256, 82),
    23: Type("IQ4_XS", 256, 136),
    24: Type("I8", 1, 1, "int8"),
    25: Type("I16", 1, 2, "int16"),
    26: Type("I32", 1, 4, "int32"),
    27: Type("I64", 1, 8, "int64"),
    28: Type("F64", 1, 8, "float64"),
    29: Type("IQ1_M", 256, 56),
    30: Type("BF16", 1, 2, "bfloat16"),
    31: Type("Q4_0_4_4", 32, 18),
    32: Type("Q4_0_4_8", 32, 18),
    33: Type("Q4_0_8_8", 32, 18),
    34: Type("TQ1_0", 256, 54),
    35: Type("TQ2_0", 256, 66),
    36: Type("IQ4_NL_4_4", 32, 18),
    37: Type("IQ4_NL_4_8", 32, 18),
    38: Type("IQ4_NL_8_8", 32, 18),
    39: Type("MXFP4", 32, 17),
    40: Type("NVFP4", 64, 36),
    41: Type("Q1_0", 128, 18),
}
