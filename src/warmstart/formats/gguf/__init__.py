"""GGUF: the files of llama.cpp; read, not written.

    "GGUF" | u32 version | u64 tensors | u64 pairs | pair* | tensor* | padding | data
    pair = text key | u32 kind | value          tensor = text name | u32 rank | u64 size*rank
    text = u64 n | n bytes                               | u32 type | u64 offset in the data
    array = u32 kind | u64 n | value*n

All little-endian; in a big-endian file (version 3) everything is the other way round but the first
four bytes.  Version 1 has u32 for every u64 but the offset.  Sizes are written innermost first, the
reverse of NumPy's shape; an offset, and the begin of the data, is a multiple of the pair
"general.alignment" (32).  A model may be split into NAME-00001-of-00003.gguf and so on.

Quantised types hold 32 to 256 elements of a row in a block of bytes (`blocks`).  Such a tensor is
read as the bytes of its blocks, uint8, its last axis in bytes; with *dequantize* as float32.  There
are no checksums.
Sources: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md, ggml/src/gguf.cpp, and the
packages gguf 0.19 (versions 2 and 3) and gguf 0.2.1 (version 1).
"""

from pathlib import Path

from ...binary.window import opened
from ...source import Source
from .types import MAGIC

EXTENSIONS = (".gguf",)
OPTIONS = frozenset({"mmap", "dequantize"})
CHECKS = (
    "structure, and that all bytes belong to a tensor: the format has no checksums, so changed "
    "values go unnoticed"
)


def locate(path: Path) -> Path | None:
    """Return the file, or for a folder its only one; of a split model the first part."""
    if path.is_dir():
        found = sorted(path.glob("*.gguf"))
        first = [p for p in found if "-00001-of-" in p.name] if len(found) > 1 else found
        return first[0] if len(first) == 1 else None
    if not path.is_file():
        return None
    if path.name.lower().endswith(EXTENSIONS):
        return path
    with opened(path) as file:
        return path if file.read(4) == MAGIC else None


def open_source(path: Path, *, verify: bool, mmap: bool = True, dequantize: bool = False) -> Source:
    """Open a file, or all parts of the model that it is one part of."""
    from .reading import GGUFSource

    return GGUFSource(path, mmap=mmap, dequantize=dequantize)
