"""Carrying a plan out.  Nothing is half done: whatever can fail is tried before the first variable
is set.

    specs     every misfit, in one error                       no value read yet
    values    every tensor asked for is read once: checksums, casts, the equality of tied tensors
    assign    one tensor in memory at a time, in the order of the file
    initial   variables without a value get their initial one
    warn      both one-sided lists, once each

Values are read twice, then, where a source is a file: it is mapped, and a reader that verifies does
so once.  What is left: a file that another program changes between the two passes, or a framework
that fails to set a variable of the right shape and dtype.  The error then says how many were set.
"""

import logging
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from ..errors import NameConflict, RestoreMismatch, noting
from ..sessions.base import Session
from ..source import DictSource
from ..spec import TensorSpec
from .explain import mismatch_error, warnings_of
from .plan import Match, Part, Plan
from .report import Report

if TYPE_CHECKING:
    import numpy as np

log = logging.getLogger("warmstart")

#: The tensors of one part that are asked for, each with the variables it fills.
Wanted = Mapping[str, list[Match]]


def carry_out(plan: Plan, parts: Sequence[Part], session: Session) -> Report:
    """Fill *session* as *plan* says, from the *parts* it was made of."""
    error = mismatch_error(plan)
    if error is not None:
        raise error
    wanted = [wanted_of(plan, index) for index in range(len(parts))]
    check_ties(plan, parts)
    check_values(wanted, parts)
    assign(wanted, parts, session)
    unfilled = [name for name in session.specs if name not in plan.matches]
    report = Report(plan, tuple(session.initialize(unfilled)))
    session.tell(report.initialized)
    for text in warnings_of(plan):
        log.warning("%s", text)
    log.info("%s", report.summary())
    return report


def wanted_of(plan: Plan, part: int) -> Wanted:
    """Return what is read of one part: tensor -> the matches it is read for."""
    wanted: dict[str, list[Match]] = {}
    for match in plan.matches.values():
        if match.part == part:
            wanted.setdefault(match.source.name, []).append(match)
    return wanted


def check_ties(plan: Plan, parts: Sequence[Part]) -> None:
    """Raise if two tensors for one tied variable differ, naming all such."""
    conflicts = []
    for tie in plan.ties:
        source = parts[tie.match.part].source
        if not same_bits(source.read(tie.match.source.name), source.read(tie.other.name)):
            conflicts.append(
                f"  {tie.match.old!r} and {tie.other.name!r} differ, "
                f"and both are {tie.match.target.name!r}"
            )
    if conflicts:
        raise NameConflict(
            "\n".join(
                ["the model ties variables that the checkpoint does not; drop one of:", *conflicts]
            )
        )


def check_values(wanted: Sequence[Wanted], parts: Sequence[Part]) -> None:
    """Read all that is asked for once, so that what cannot be read or cast is met beforehand."""
    overflows = []
    for tensors, part in zip(wanted, parts, strict=True):
        in_memory = isinstance(part.source, DictSource | Session)
        for name, matches in each(tensors, part):
            casts = [match for match in matches if match.cast]
            if in_memory and not casts:
                continue
            with noting(f"while reading {part.label}; nothing was assigned"):
                array = part.source.read(name)
            overflows += [m for m in casts if overflows_in(array, m.target)]
    if overflows:
        rows = [f"  {m.target.name}: {m.source} is beyond {m.target.dtype}" for m in overflows]
        raise RestoreMismatch("\n".join(["values would become infinite; nothing assigned:", *rows]))


def each(tensors: Wanted, part: Part) -> Iterator[tuple[str, list[Match]]]:
    """Yield the tensors of *part* that are asked for, in the order of its file."""
    for name in part.source.read_order() if tensors else ():
        if name in tensors:
            yield name, tensors[name]


def assign(wanted: Sequence[Wanted], parts: Sequence[Part], session: Session) -> None:
    """Set the variables; an error on the way says how many had been set."""
    done: list[str] = []
    try:
        session.assign(values(wanted, parts, done))
    except Exception as error:
        total = sum(len(matches) for tensors in wanted for matches in tensors.values())
        error.add_note(f"{len(done)} of {total} variables may have been set before this")
        raise


def values(
    wanted: Sequence[Wanted], parts: Sequence[Part], done: list[str]
) -> "Iterator[tuple[str, np.ndarray]]":
    """Yield every variable with its value, adding its name to *done*."""
    for tensors, part in zip(wanted, parts, strict=True):
        for name, matches in each(tensors, part):
            with noting(f"while reading {part.label}"):
                array = part.source.read(name)
            for match in matches:
                done.append(match.target.name)
                yield match.target.name, cast(array, match.target)


def cast(array: "np.ndarray", target: TensorSpec) -> "np.ndarray":
    """Return *array* in the dtype of *target*; strings stay as they are."""
    import numpy as np

    if target.dtype == "string":
        return array
    with np.errstate(over="ignore", invalid="ignore"):  # looked for in `overflows_in`
        return array.astype(target.numpy_dtype, copy=False)


def overflows_in(array: "np.ndarray", target: TensorSpec) -> bool:
    """Return whether a finite value of *array* is not finite in the dtype of *target*."""
    import numpy as np

    return bool(np.any(np.isfinite(array) & ~np.isfinite(cast(array, target))))


def same_bits(a: "np.ndarray", b: "np.ndarray") -> bool:
    """Return whether two arrays have the same dtype, shape and bits."""
    if a.dtype != b.dtype or a.shape != b.shape:
        return False
    return a.tolist() == b.tolist() if a.dtype == object else a.tobytes() == b.tobytes()
