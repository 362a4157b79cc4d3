"""Going on exactly where a run stopped.

    path = checkpoint_to_resume(folder)        # of `newest`; None: nothing is there, begin anew
    resume(trainer, path)                      # all checked first, then restored

Every piece that cannot be restored has a name: a variable, a callback's key, "data",
"steps_per_epoch", an op.  They raise one ResumeError together, unless accepted by name or pattern.
"""

import logging
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..binary.urls import by_url
from ..errors import ResumeError, full_text, noting
from ..formats import locate, open_source
from ..names import grouped
from ..restore.resume import resume as restore_variables
from ..sessions.base import Session
from ..sessions.data import reason
from ..source import Source
from .beside import lost_by
from .data import place_in
from .processes import count_in, state_of, values_of
from .run_state import random_states
from .snapshot import saved_state
from .tensorpack import Place, tensorpack_place

if TYPE_CHECKING:
    from .trainer import Trainer

log = logging.getLogger("warmstart")


@by_url()
def resume(trainer: "Trainer", path: Path) -> None:
    """Restore the run in the checkpoint *path*.

    Nothing is changed when something is missing that the trainer does not accept.
    """
    _, found = locate(path)
    with how_to_begin(), noting(f"while resuming from {found}"), open_source(found) as source:
        saved = saved_state(source)
        if saved is None:
            resume_without_state(trainer, tensorpack_place(found, trainer.accepts("epoch")))
            restore_variables(trainer.session, source, trainer.accept)
        else:
            resume_with_state(trainer, source, saved)
    trainer.resumed_from = found
    log.info("resumed from %s at step %d", found, trainer.step)


def resume_with_state(trainer: "Trainer", source: Source, saved: Mapping[str, Any]) -> None:
    """Restore the run in *source*, whose process 0 had the run state *saved*."""
    here = {"random": random_states(), "session": trainer.session.state()}
    state = state_of(source, saved, trainer.processes, here)
    refuse(faults_of(trainer, state), trainer.accepts)
    trainer.lost = {**trainer.session.unresumable(), **lost_by(trainer.also)}
    load_place(trainer, state["data"])
    own = values_of(source, trainer.processes, count_in(saved))
    restore_variables(trainer.session, own, trainer.accept)
    trainer.load_state(state)
    trainer.trained_before = trained_in(source)


def trained_in(source: Source) -> dict[str, bool]:
    """Return of each variable of *source* whether it was trained."""
    roles = {"trainable": True, "model": False}
    return {n: roles[spec.role] for n, spec in source.specs.items() if spec.role in roles}


def warn_of_other_trained(before: Mapping[str, bool], session: Session) -> None:
    """Warn when other variables are trained than in the run so far.

    Callbacks have started, so that those that freeze or thaw have had their turn.
    """
    now = trained_in(session)
    both = [name for name in now if before.get(name, now[name]) != now[name]]
    for there, text in (
        (True, "trained in the run so far, and not here"),
        (False, "trained here, and not in the run so far"),
    ):
        if names := [name for name in both if before[name] is there]:
            log.warning(
                "%s: %s; what a callback freezes or thaws during the training, its start() has to "
                "do again in a run that is resumed",
                text,
                ", ".join(grouped(names)),
            )


def faults_of(trainer: "Trainer", state: Mapping[str, Any]) -> dict[str, str]:
    """Return the pieces that cannot be restored, by name, with the reason."""
    session = trainer.session
    faults = {**state["session"].get("not_saved", {}), **session.unresumable()}
    faults |= session.misfits(state["session"])
    if trainer.steps_per_epoch != state["steps_per_epoch"]:
        faults["steps_per_epoch"] = (
            f"here {trainer.steps_per_epoch}, in the checkpoint's run {state['steps_per_epoch']}"
        )
    if place_in(trainer.data) is None:
        faults["data"] = no_place(trainer.data)
    elif state["data"] is None:
        faults["data"] = "the checkpoint does not have its place"
    if state["model"] and not hasattr(trainer.model, "load_state"):
        faults["model"] = "it has a state in the checkpoint, and no load_state() here"
    here = {callback.key for callback in trainer.callbacks if callback.key}
    faults |= one_sided(here, state["callbacks"], "callback of that key")
    return faults | one_sided(trainer.also, state.get("also", {}), "object of that name in also=")


def one_sided(here: Collection[str], saved: Collection[str], what: str) -> dict[str, str]:
    """Return the names that are only *here*, or only in the checkpoint, with the reason."""
    article = "an" if what[0] in "aeiou" else "a"
    new = (name for name in sorted(here) if name not in saved)
    lost = (name for name in sorted(saved) if name not in here)
    return {
        **dict.fromkeys(new, f"{article} {what} has no state in the checkpoint"),
        **dict.fromkeys(
            lost, f"the checkpoint has the state of {article} {what}, and none has it here"
        ),
    }


def no_place(data: Any) -> str:
    """Return why *data* cannot be resumed, and what could."""
    why = reason(data)
    return f"a {type(data).__qualname__} cannot say and regain its place; " + (
        why or "data that can has state() and load_state(), such as ws.Batches"
    )


ANEW = "to begin anew: start in another folder"


def refuse(faults: Mapping[str, str], accepts: Callable[[str], bool]) -> None:
    """Raise for all *faults* whose names are not accepted."""
    refused = {name: why for name, why in faults.items() if not accepts(name)}
    if refused:
        raise ResumeError(
            f"{len(refused)} of the run's pieces cannot be restored\n"
            + listed(refused)
            + f"to go on without: {accepting(refused)}; {ANEW}"
        )


def listed(faults: Mapping[str, str]) -> str:
    """Return a line for each of *faults*."""
    return "".join(f"  {name}: {why}\n" for name, why in faults.items())


def accepting(names: Iterable[str]) -> str:
    """Return the argument that accepts to lose *names*."""
    return f"accept=({', '.join(map(repr, names))},)"


@contextmanager
def how_to_begin() -> Iterator[None]:
    """Say beside a ResumeError that leaves the block how a run begins anew."""
    try:
        yield
    except ResumeError as error:
        if ANEW not in full_text(error):
            error.add_note(ANEW)
        raise


@contextmanager
def taking_back(name: str) -> Iterator[None]:
    """Turn what the piece *name* raises, given a state it cannot use, into a ResumeError."""
    try:
        yield
    except (LookupError, TypeError, ValueError, AttributeError, RuntimeError) as error:
        raise ResumeError(
            f"{name}: its state in the checkpoint is not one it takes back: {error!r}"
        ) from error


@contextmanager
def taking_back_unless(name: str, accepts: Callable[[str], bool], anew: str) -> Iterator[None]:
    """Do as `taking_back` does, unless *name* is accepted, which is then said to begin *anew*."""
    try:
        with taking_back(name):
            yield
    except ResumeError as error:
        if not accepts(name):
            error.add_note(f"accept=({name!r},): {anew}")
            raise
        log.warning("%s: %s: %s", name, anew, error)


def load_place(trainer: "Trainer", state: Any) -> None:
    """Let the data go to its place; where "data" is accepted it may begin anew instead."""
    place = place_in(trainer.data)
    if place is None or state is None:
        return
    with taking_back_unless("data", trainer.accepts, "it begins with its first batch"):
        place.load_state(state)


def resume_without_state(trainer: "Trainer", place: Place | None) -> None:
    """Stand where a run of Tensorpack stood; its other pieces are not in its checkpoint."""
    if place is not None:
        trainer.step, trainer.epoch = place.step, place.epoch + 1
    anew = ["data", "random numbers", *(c.key for c in trainer.callbacks if c.key), *trainer.also]
    log.warning("the checkpoint has no run state; these begin anew: %s", ", ".join(anew))


def refuse_unresumable(trainer: "Trainer") -> None:
    """Raise at a first start for what no resume could restore; warn of data without a place."""
    refuse_lost(trainer, {**trainer.session.unresumable(), **lost_by(trainer.also)})
    if place_in(trainer.data) is None and not trainer.accepts("data"):
        why = no_place(trainer.data)
        log.warning("this run cannot be resumed exactly: data: %s", why)


def refuse_lost(trainer: "Trainer", lost: Mapping[str, str]) -> None:
    """Raise for all that no checkpoint of the run will hold and is not accepted."""
    refused = {name: why for name, why in lost.items() if not trainer.accepts(name)}
    if refused:
        raise ResumeError(
            f"no checkpoint of this run could bring back {len(refused)} of its pieces\n"
            + listed(refused)
            + "to train without, accept that a resumed run will not end with the same bits: "
            + accepting(refused)
        )
    trainer.lost = {**trainer.lost, **lost}
