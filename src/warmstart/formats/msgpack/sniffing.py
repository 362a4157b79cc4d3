"""Whether a file is Flax's msgpack, told from its first bytes."""

from pathlib import Path

from ...binary.msgpack import EXT, FIXEXT, MAP, TEXT
from ...binary.window import opened

#: Bytes looked at: a file whose first array begins later is not known by its content.
LOOKED_AT = 1 << 16
MAX_STEPS = 1000


def begins_like_a_map(path: Path) -> bool:
    """Return whether the first byte of *path* begins a map or an extension."""
    with opened(path) as file:
        first = file.read(1)
    return bool(first) and (is_map(first[0]) or is_extension(first[0]))


def is_map(kind: int) -> bool:
    """Return whether *kind* begins a map."""
    return 0x80 <= kind < 0x90 or kind in (MAP, MAP + 1)


def is_extension(kind: int) -> bool:
    """Return whether *kind* begins an extension."""
    return EXT <= kind < EXT + 3 or FIXEXT <= kind < FIXEXT + 5


def looks_like(path: Path) -> bool:
    """Return whether *path* begins with maps from text, and the first array in them is Flax's."""
    with opened(path) as file:
        start = file.read(1)
        if not start or not is_map(start[0]):
            return False
        return has_array(start + file.read(LOOKED_AT))


def has_array(start: bytes) -> bool:
    """Return whether *start*, the start of a map, leads through keys and texts to an array."""
    at = 0
    for _ in range(MAX_STEPS):
        kind = start[at : at + 1]
        if not kind:
            return False
        if is_extension(kind[0]):
            return is_array(start, at)
        if is_map(kind[0]):
            at += {MAP: 3, MAP + 1: 5}.get(kind[0], 1)
        else:
            nbytes = plain_nbytes(start, at)
            if nbytes is None:
                return False
            at += nbytes
    return False


def is_array(start: bytes, at: int) -> bool:
    """Return whether the extension at *at* has the code of an array or a scalar, and its begin."""
    kind = start[at]
    header = 1 if kind >= FIXEXT else 1 + (1 << kind - EXT)
    code, inner = start[at + header : at + header + 1], start[at + header + 1 : at + header + 2]
    return code in (b"\1", b"\3") and inner == b"\x93"


def plain_nbytes(start: bytes, at: int) -> int | None:
    """Return the bytes of the text, number or nil at *at*; None for anything else."""
    kind = start[at]
    if kind < 0x80 or kind >= 0xE0 or kind in (0xC0, 0xC2, 0xC3):
        return 1
    if 0xA0 <= kind < 0xC0:
        return 1 + (kind & 0x1F)
    if 0xCA <= kind < FIXEXT:
        return 1 + {0xCA: 4, 0xCB: 8}.get(kind, 1 << (kind & 3))
    if TEXT <= kind < TEXT + 3:
        size = 1 << kind - TEXT
        return 1 + size + int.from_bytes(start[at + 1 : at + 1 + size], "big")
    return None
