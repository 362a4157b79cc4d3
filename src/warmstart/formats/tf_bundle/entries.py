"""The encoded entries of a bundle, by key, gathered from those of its data files.

Every data file that is written gives the entries of what it holds.  A tensor in pieces has one
entry for the whole, which says only what it is and where its pieces stand, and one for each piece,
under a key of its own (see `slices`); what each data file knows of the whole is joined.
"""

from collections.abc import Iterable, Mapping

from ...boxes import Box, box_shape, check_covered, whole_box
from ...errors import CorruptCheckpoint, SaveError
from .protos import Entry, Heads, Slice, decode_entry, encode_entry
from .slices import box_of, slice_key

Entries = Mapping[bytes, bytes]


def slice_at(box: Box, shape: tuple[int, ...]) -> Slice:
    """Return *box* of a tensor of *shape* as it is stored: a dimension taken whole as (0, -1).

    >>> slice_at((slice(2, 4), slice(0, 3)), (4, 3))
    Slice(starts=(2, 0), lengths=(2, -1))
    """
    sides = list(zip(box, shape, strict=True))
    whole = [side.start == 0 and side.stop == size for side, size in sides]
    lengths = zip(whole, box_shape(box), strict=True)
    return Slice(tuple(side.start for side in box), tuple(-1 if all_ else n for all_, n in lengths))


def piece_key(key: str, box: Box, shape: tuple[int, ...]) -> bytes:
    """Return the key of the piece at *box* of the tensor *key*, which is of *shape* as a whole."""
    return slice_key(key.encode(), slice_at(box, shape))


def whole_entry(dtype: str, shape: tuple[int, ...], boxes: Iterable[Box]) -> bytes:
    """Return the entry of a tensor of which this data file has the pieces at *boxes*."""
    return encode_entry(Entry(dtype, shape, slices=tuple(slice_at(box, shape) for box in boxes)))


def merged(parts: Iterable[Entries]) -> dict[bytes, bytes]:
    """Return the entries of all *parts*, each those of one data file, as one bundle's.

    Raise SaveError naming what two parts both hold, and tensors whose pieces are not all there.
    """
    entries, heads, split = dict[bytes, bytes](), Heads(), dict[bytes, Entry]()
    twice: list[bytes] = []
    for part in parts:
        for key in entries.keys() & part.keys():
            first = split.get(key) or decode_entry(entries[key], heads)
            second = decode_entry(part[key], heads)
            if not (first.slices and second.slices and first[:2] == second[:2]):
                twice.append(key)
            split[key] = first._replace(slices=first.slices + second.slices)
        entries |= part
    entries |= {key: encode_entry(entry) for key, entry in split.items()}
    refuse("two data files of one bundle both hold", map(shown, sorted(twice)))
    refuse("not all pieces were written of", incomplete(entries))
    return entries


def incomplete(entries: Entries) -> list[str]:
    """Return a line for each tensor whose pieces do not make the whole."""
    heads, faults = Heads(), list[str]()
    for key, message in entries.items():
        entry = decode_entry(message, heads) if key[:1] != b"\0" else Entry("", ())
        if entry.slices:
            try:
                boxes = [box_of(piece, entry.shape) for piece in entry.slices]
                check_covered(whole_box(entry.shape), boxes)
            except CorruptCheckpoint as error:
                faults.append(f"{shown(key)}: {error}")
    return faults


def shown(key: bytes) -> str:
    """Return *key* for a message."""
    return repr(key.decode(errors="replace"))


def refuse(what: str, rows: Iterable[str]) -> None:
    """Raise SaveError when there are *rows*, a line for each tensor at fault."""
    lines = list(rows)
    if lines:
        raise SaveError("\n  ".join([f"{what}:", *lines]))


def with_aliases(entries: Entries, aliases: Mapping[str, str]) -> dict[bytes, bytes]:
    """Return *entries* and those of other names: *aliases* is their key -> the tensor's own."""
    found, heads = dict(entries), Heads()
    for alias, kept in aliases.items():
        message = found[alias.encode()] = entries[kept.encode()]
        for piece in decode_entry(message, heads).slices:
            found[slice_key(alias.encode(), piece)] = entries[slice_key(kept.encode(), piece)]
    return found
