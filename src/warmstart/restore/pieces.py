"""Filling variables of which this process has only pieces: no more is read than belongs to them.

Every process plans for whole variables, alike, and then reads and assigns what is its own.  None
assigns before all have checked theirs, so that nothing is half done in any of them.
"""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

from ..binary.checksum import combine
from ..boxes import Box, box_shape, box_text, common, moved, whole_box
from ..errors import CorruptCheckpoint, noting
from ..sessions.base import Session
from ..source import PartRead, Source
from ..spec import TensorSpec
from .cutting import value_at
from .plan import Match, Part
from .recipe import forget, names_in
from .steps import in_dtype

if TYPE_CHECKING:
    import numpy as np


class Piece(NamedTuple):
    """A piece of a variable that is in this process."""

    match: Match
    box: Box


def without_pieces(matches: Iterable[Match], session: Session) -> tuple[list[Match], list[Piece]]:
    """Return those of *matches* whose variables are here as a whole, and the pieces of the rest."""
    where: Mapping[str, Sequence[Box]] = session.pieces
    whole: list[Match] = []
    pieces: list[Piece] = []
    for match in matches:
        boxes = where.get(match.target.name)
        if boxes is None:
            whole.append(match)
        else:
            pieces += [Piece(match, box) for box in boxes]
    return whole, pieces


def values_of(
    pieces: Iterable[Piece], part: Part, otherwise: str = ""
) -> "Iterator[tuple[Piece, Box, np.ndarray]]":
    """Yield each of *pieces*, made of *part*: where its values stand, and they.

    An error in reading ends with *otherwise*.
    """
    import numpy as np

    for piece in pieces:
        match = piece.match
        if 0 in box_shape(piece.box):  # nothing to read, but a slot to be made
            yield piece, piece.box, np.empty(box_shape(piece.box), match.target.numpy_dtype)
            continue
        box = common(piece.box, whole_box(match.source.shape))  # less than it of values put *onto*
        if box is None:
            continue
        with (
            noting(f"while reading {part.label}{otherwise}"),
            noting(f"while making {box_text(box)} of {match.target.name!r}"),
        ):
            specs = {name: part.source.specs[name] for name in names_in(match.recipe)}
            array = value_at(match.recipe, box, specs, partial(read_part, part.source))
        yield piece, box, array


def read_part(source: Source, name: str, box: Box | None) -> "np.ndarray":
    """Return *box* of the tensor *name*, all of it for None."""
    return source.read(name) if box is None else source.read_piece(name, box)


def assigned(
    pieces: Sequence[Sequence[Piece]], parts: Sequence[Part], session: Session, done: list[str]
) -> "Iterator[tuple[str, Box, np.ndarray]]":
    """Yield every piece of a variable with its values, adding the name to *done*."""
    for of_part, part in zip(pieces, parts, strict=True):
        for piece, box, array in values_of(of_part, part):
            target = piece.match.target
            done.append(target.name)
            yield target.name, piece.box, filled(piece, box, array, session)
        for piece in of_part:  # not before: all pieces of a variable are made of what was kept
            forget(piece.match.recipe)


def filled(piece: Piece, box: Box, array: "np.ndarray", session: Session) -> "np.ndarray":
    """Return the values of *piece*: *array* at *box*, and elsewhere what the model has."""
    import numpy as np

    target: TensorSpec = piece.match.target
    values = np.asarray(in_dtype(array, target.dtype), order="C")
    if box == piece.box:
        return values
    own = np.array(session.read_slice(target.name, piece.box))
    own[moved(box, piece.box)] = values
    return own.reshape(box_shape(piece.box))


def said_of_parts(parts: Sequence[Part]) -> bytes:
    """Return what this process has read of tensors that others read the rest of, for all of them.

    A checksum is one of a whole tensor: together they can tell whether it is right.
    """
    return json.dumps([part.source.parts_read() for part in parts]).encode()


def refuse_damaged(parts: Sequence[Part], said: Sequence[bytes]) -> bytes:
    """Raise CorruptCheckpoint naming every tensor that the processes together found damaged."""
    by_process = [json.loads(text) for text in said]
    rows = []
    for number, part in enumerate(parts):
        read = [PartRead(*each) for of_one in by_process for each in of_one[number]]
        rows += [f"  {part.label}: {tensor}" for tensor in damaged(read)]
    if rows:
        raise CorruptCheckpoint(
            "\n".join(
                ["checksums are not those that were written; nothing was assigned, the data of "
                 "these are damaged:", *rows]
            )
        )  # fmt: skip
    return b""


def damaged(read: Iterable[PartRead]) -> list[str]:
    """Return the tensors whose parts, where all are there, have another checksum than they should.

    >>> from warmstart.binary.checksum import crc32c
    >>> a, b = PartRead("w", 0, 2, crc32c(b"ab"), 3, crc32c(b"abc")), PartRead("w", 2, 1, 0, 3, 0)
    >>> damaged([b, a, a]), damaged([a, a])
    (['w'], [])
    """
    by_tensor: dict[str, dict[tuple[int, int], PartRead]] = {}
    for part in read:
        by_tensor.setdefault(part.tensor, {})[part.begin, part.size] = part
    found = []
    for tensor, parts in by_tensor.items():
        crc = end = 0
        for _, part in sorted(parts.items()):
            if part.begin == end:
                crc, end = combine(crc, part.crc, part.size), end + part.size
        if end == part.total and crc != parts[min(parts)].expected:
            found.append(tensor)
    return found
