"""Carrying a plan out.  Nothing is half done: whatever can fail is tried before the first variable
is set.

    specs     every misfit, in one error                       no value read yet
    values    every tensor asked for is read once: checksums, casts, the equality of tied tensors
    assign    one variable at a time, in the order of the file; in memory is what its recipe takes
    initial   variables without a value get their initial one
    warn      both one-sided lists, once each

Values are read twice, then, where a source is a file: it is mapped, and a reader that verifies does
so once.  What is left: a file that another program changes between the two passes, or a framework
that fails to set a variable of the right shape and dtype.  The error then says how many were set.
"""

import logging
from collections.abc import Collection, Iterator, Sequence
from functools import partial
from itertools import chain
from typing import TYPE_CHECKING

from ..errors import NameConflict, RestoreMismatch, noting
from ..sessions.base import Session
from ..source import DictSource, Source
from ..spec import TensorSpec
from .explain import mismatch_error, warnings_of
from .pieces import (
    Piece,
    assigned,
    refuse_damaged,
    said_of_parts,
    values_of,
    without_pieces,
)
from .plan import Match, Part, Plan
from .recipe import forget, value_from
from .report import Report
from .slot_fates import slot_fates
from .steps import in_dtype

if TYPE_CHECKING:
    import numpy as np

log = logging.getLogger("warmstart")

#: What is asked for of one part, in the order of its file.
Wanted = Sequence[Match]


def carry_out(plan: Plan, parts: Sequence[Part], session: Session) -> Report:
    """Fill *session* as *plan* says, from the *parts* it was made of."""
    error = mismatch_error(plan)
    if error is not None:
        raise error
    in_order = [wanted_of(plan, index, part.source) for index, part in enumerate(parts)]
    divided = [without_pieces(matches, session) for matches in in_order]
    wanted, pieces = [whole for whole, _ in divided], [pieces for _, pieces in divided]

    def check() -> bytes:
        check_ties(plan, parts)
        check_values(wanted, pieces, parts)
        session.check_initial([name for name in session.specs if name not in plan.matches])
        return said_of_parts(parts)

    if session.pieces:  # and so in every process of the model
        what = "checking what the model starts from"
        session.processes.settle(what, check, partial(refuse_damaged, parts))
    else:
        check()
    slots = slot_fates(plan, parts, session)
    begun = session.initialize([name for name, match in plan.matches.items() if match.onto])
    session.tell(begun)  # what stays behind a checkpoint's values must be there before them
    assign(wanted, pieces, parts, session)
    unfilled = [name for name in session.specs if name not in plan.matches]
    initialized = tuple(session.initialize(unfilled))
    held = session.frozen()
    frozen = tuple(name for name in plan.targets if name in held)
    report = Report(plan, initialized, slots, session.model, frozen)
    session.tell(report.initialized)
    if log.isEnabledFor(logging.WARNING):  # to find suggestions may take seconds
        for text in warnings_of(plan):
            log.warning("%s", text)
    log.info("%s", report.summary())
    return report


def wanted_of(plan: Plan, part: int, source: Source) -> Wanted:
    """Return what is read of one part, by where the first tensor of each lies."""
    wanted = [match for match in plan.matches.values() if match.part == part]
    place = {name: rank for rank, name in enumerate(source.read_order() if wanted else ())}
    return sorted(wanted, key=lambda match: place[match.source.name])


def check_ties(plan: Plan, parts: Sequence[Part]) -> None:
    """Raise if two tensors for one tied variable differ, naming all such."""
    conflicts = []
    for tie in plan.ties:
        part = parts[tie.match.part]
        if not same_bits(*(array for _, array in made([tie.match, tie.other], part))):
            conflicts.append(
                f"  {tie.match.old!r} and {tie.other.old!r} differ, "
                f"and both are {tie.match.target.name!r}"
            )
    if conflicts:
        raise NameConflict(
            "\n".join(
                ["the model ties variables that the checkpoint does not; drop one of:", *conflicts]
            )
        )


def check_values(
    wanted: Sequence[Wanted], pieces: Sequence[Sequence[Piece]], parts: Sequence[Part]
) -> None:
    """Read all that is asked for once, so that what cannot be read or cast is met beforehand."""
    overflows = []
    otherwise = "; nothing was assigned"
    for matches, of_part, part in zip(wanted, pieces, parts, strict=True):
        whole = made([m for m in matches if is_doubtful(m, part)], part, otherwise)
        some = values_of([p for p in of_part if is_doubtful(p.match, part)], part, otherwise)
        for match, array in chain(whole, ((piece.match, array) for piece, _, array in some)):
            if match.cast and overflows_in(array, match.target):
                overflows.append(match)
    if overflows:
        rows = [f"  {m.target.name}: {m.source} is beyond {m.target.dtype}" for m in overflows]
        raise RestoreMismatch("\n".join(["values would become infinite; nothing assigned:", *rows]))


def is_doubtful(match: Match, part: Part) -> bool:
    """Return whether the values of *match* may turn out not to be readable, or not to fit."""
    in_memory = isinstance(part.source, DictSource | Session)
    return match.cast or match.transformed or not in_memory


def made(matches: Wanted, part: Part, otherwise: str = "") -> "Iterator[tuple[Match, np.ndarray]]":
    """Yield each of *matches* with its values; an error in reading ends with *otherwise*.

    What the next one takes as well is not read again.
    """
    held: dict[str, np.ndarray] = {}
    arrays = part.source.read_each(chain.from_iterable(tensors_read(matches)))
    for match, names in zip(matches, tensors_read(matches), strict=True):
        held = {name: held[name] for name in match.tensors if name in held}
        with noting(f"while reading {part.label}{otherwise}"):
            held |= zip(names, arrays, strict=False)  # names first: no array is taken beyond them
            with noting(f"while making {match.target.name!r}"):
                array = value_from(match.recipe, held.__getitem__)
        yield match, array


def tensors_read(matches: Wanted) -> Iterator[list[str]]:
    """Yield for each of *matches* the tensors that it takes and the one before it does not."""
    before: Collection[str] = ()
    for match in matches:
        yield [name for name in dict.fromkeys(match.tensors) if name not in before]
        before = match.tensors


def assign(
    wanted: Sequence[Wanted],
    pieces: Sequence[Sequence[Piece]],
    parts: Sequence[Part],
    session: Session,
) -> None:
    """Set the variables; an error on the way says how many had been set."""
    done: list[str] = []
    try:
        session.assign(values(wanted, parts, session, done))
        if any(pieces):
            session.assign_pieces(assigned(pieces, parts, session, done))
    except Exception as error:
        total = sum(map(len, [*wanted, *pieces]))
        error.add_note(f"{len(done)} of {total} variables may have been set before this")
        raise


def values(
    wanted: Sequence[Wanted], parts: Sequence[Part], session: Session, done: list[str]
) -> "Iterator[tuple[str, np.ndarray]]":
    """Yield every variable with its value, adding its name to *done*."""
    for matches, part in zip(wanted, parts, strict=True):
        for match, array in made(matches, part):
            done.append(match.target.name)
            value = cast(array, match.target)
            yield match.target.name, placed(value, match.target, session) if match.onto else value
            forget(match.recipe)


def placed(array: "np.ndarray", target: TensorSpec, session: Session) -> "np.ndarray":
    """Return the value that *target* has, with *array* over its beginning."""
    import numpy as np

    whole = np.array(session.read(target.name))
    whole[tuple(map(slice, array.shape))] = array
    return whole


def cast(array: "np.ndarray", target: TensorSpec) -> "np.ndarray":
    """Return *array* in the dtype of *target* and in C order; strings stay as they are."""
    import numpy as np

    if target.dtype == "string":
        return np.asarray(array, order="C")
    return np.asarray(in_dtype(array, target.dtype), order="C")  # `overflows_in` has looked


def overflows_in(array: "np.ndarray", target: TensorSpec) -> bool:
    """Return whether a finite value of *array* is not finite in the dtype of *target*."""
    import numpy as np

    return bool(np.any(np.isfinite(array) & ~np.isfinite(cast(array, target))))


def same_bits(a: "np.ndarray", b: "np.ndarray") -> bool:
    """Return whether two arrays have the same dtype, shape and bits."""
    if a.dtype != b.dtype or a.shape != b.shape:
        return False
    return a.tolist() == b.tolist() if a.dtype == object else a.tobytes() == b.tobytes()
