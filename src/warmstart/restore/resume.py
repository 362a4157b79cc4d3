"""Restoring all that a run had, strictly: for going on exactly where it stopped.

Beside `SessionInit` this fills step counters and slots too, casts nothing, and lets nothing be
missing, left over or unfit, unless it is accepted by name.
"""

from collections.abc import Iterable
from dataclasses import replace

from ..errors import ResumeError
from ..names import Pattern, matcher
from ..sessions.base import Session
from ..source import Source
from ..spec import RUN_PREFIX
from .matching import make_plan
from .plan import Part, Plan, Verdict
from .report import Report, misfit_text
from .run import carry_out
from .sessinit import every_name
from .table import aligned


def resume(session: Session, source: Source, accept: Iterable[Pattern] = ()) -> Report:
    """Give every variable and slot of *session* the value that *source* has for it.

    Slots that the optimizer has not made yet are created.  Raise ResumeError naming everything
    that is not there bit for bit, before anything is assigned; what matches a pattern in *accept*
    is left as it is, or cast, with a warning.
    """
    parts = [Part(source, every_name(source), "the checkpoint")]
    plan = make_plan(parts, session, with_run=True)
    faults = faults_of(plan, session, source)
    accepted = [matcher(pattern) for pattern in accept]
    refused = {n: why for n, why in faults.items() if not any(test(n) for test in accepted)}
    if refused:
        raise resume_error(refused)
    spared = tuple(replace(m, fatal=False) for m in plan.misfits)  # all of them were accepted
    return carry_out(replace(plan, misfits=spared), parts, session)


def faults_of(plan: Plan, session: Session, source: Source) -> dict[str, str]:
    """Return what keeps the run from going on exactly, by name, with the reason.

    Tensors without a counterpart in the session count where the file states roles, so was written
    for resuming; the file of another program may hold more.
    """
    missing = [name for name in session.specs if name not in plan.matches]
    faults = dict.fromkeys(missing, "not in the checkpoint")
    faults |= {m.match.target.name: misfit_text(m.match) for m in plan.misfits}
    faults |= {name: misfit_text(match) for name, match in plan.matches.items() if match.cast}
    for name, verdict in plan.sources[0].items():
        left = verdict in (Verdict.UNUSED, Verdict.KEPT) and not name.startswith(RUN_PREFIX)
        if left and source.specs[name].role is not None:
            faults.setdefault(name, "in the checkpoint, and not in the model or its optimizer")
    return faults


def resume_error(refused: dict[str, str]) -> ResumeError:
    """Return one error on everything that is *refused*."""
    names = ", ".join(map(repr, list(refused)[:3])) + (", ..." if len(refused) > 3 else "")
    return ResumeError(
        "\n".join(
            [
                f"{len(refused)} variables cannot be restored exactly; nothing was assigned",
                *aligned(refused.items()),
                f"To go on all the same: accept=[{names}]; patterns will do.",
            ]
        )
    )
