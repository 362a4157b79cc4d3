"""What sources of data share: a place in one order that all processes have in common.

Each process takes its piece of every batch, so that the place does not depend on how many there
are:

    batch 0: | rank 0 | rank 1 |   batch 1: | rank 0 | rank 1 |   ...          part=(rank, count)
"""

from collections.abc import Mapping
from typing import Any

from ..errors import ResumeError

Part = tuple[int, int]
WHOLE: Part = (0, 1)


def checked_part(part: Part | None) -> Part:
    """Return *part*, (rank, count), the whole for None; raise ValueError for one that is none."""
    match part:
        case None:
            return WHOLE
        case (int(rank), int(count)) if 0 <= rank < count:
            return rank, count
    raise ValueError(f"part is {part!r}; expected (rank, count), a process and how many there are")


def piece_of(size: int, part: Part) -> slice:
    """Return which of the *size* examples of a batch belong to *part*.

    >>> [piece_of(10, (rank, 3)) for rank in range(3)]
    [slice(0, 3, None), slice(3, 6, None), slice(6, 10, None)]
    """
    rank, count = part
    if size < count:
        raise ValueError(
            f"a batch of {size} examples makes no pieces for {count} processes; batches need at "
            "least one for each, the last of a pass too (drop_last=True leaves that one out)"
        )
    return slice(size * rank // count, size * (rank + 1) // count)


def check_pieces(examples: int, batch_size: int, drop_last: bool, part: Part) -> None:
    """Raise ValueError when a batch of a pass would have no example for one of the processes."""
    piece_of(batch_size, part)
    rest = examples % batch_size
    if rest and not drop_last:
        piece_of(rest, part)


def refuse_other_data(found: Mapping[str, Any], state: Mapping[str, Any]) -> None:
    """Raise ResumeError when the data that a state is a place in is not what was *found* here."""
    expected = {name: state.get(name) for name in found}
    if found != expected:
        raise ResumeError(
            f"the data is not that of the checkpoint: here {said(found)}; there {said(expected)}"
        )


def said(values: Mapping[str, Any]) -> str:
    """Return *values* as a message shows them."""
    return ", ".join(f"{name}={value}" for name, value in values.items())
