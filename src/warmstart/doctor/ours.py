"""A run that this library saved: its run state says which pieces there are."""

import hashlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ..binary.urls import url_of
from ..errors import number_of
from ..source import Source
from ..spec import TensorSpec
from .findings import Piece
from .variables import (
    kind_of,
    kinds_of_slots,
    shortly,
    slots_of,
    variables,
    variables_of,
    without_slots,
)

#: Parts of the run state that are pieces of their own; what else there is, is told by its name.
TOLD = frozenset(
    ("version", "step", "epoch", "step_in_epoch", "steps_per_epoch", "metrics", "data", "random",
     "model", "session", "callbacks", "also", "not_saved")
)  # fmt: skip
MODEL_TOLD = frozenset(("scheduler", "accumulation", "key", "implementation"))
SESSION_TOLD = frozenset(
    ("rng", "accelerators", "generator", "seeds", "torch", "optimizer", "not_saved", "threads",
     "backend", "platform", "devices", "tensorflow", "eager")
)  # fmt: skip

NO_PLACE = "the data could not say its place"
MAX_SHOWN = 4  # values of a state, in a line


def pieces_of(source: Source, state: Mapping[str, Any], folder: Path) -> Iterator[Piece]:
    """Yield the findings on a run with the run state *state*, whose files are in *folder*."""
    yield variables(variables_of(source.specs))
    yield optimizer_piece(source.specs, state["session"].get("optimizer"))
    yield schedule(state["model"].get("scheduler"))
    yield from accumulation(state["model"].get("accumulation"))
    yield Piece("step", True, str(state["step"]))
    place = f"{state['step_in_epoch']} of {state['steps_per_epoch']} steps of it done"
    yield Piece("epoch", True, f"{state['epoch']}, {place}")
    data = state["data"]
    yield Piece("data", data is not None, NO_PLACE if data is None else shown(data))
    yield Piece("random states", True, ", ".join(random_states(state)) + of_processes(state))
    callbacks = state["callbacks"]
    written = {key: each for key, each in callbacks.items() if is_written_file(each)}
    others = ", ".join(key for key in callbacks if key not in written)
    yield Piece("callbacks", bool(others) or None, others or "none had a state")
    yield monitors(written, folder)
    yield from further(state)
    not_saved = {**state.get("not_saved", {}), **state["session"].get("not_saved", {})}
    for name, why in not_saved.items():
        yield Piece(name, False, why)


def optimizer_piece(specs: Mapping[str, TensorSpec], recorded: Any) -> Piece:
    """Return the finding on slots, and on what is *recorded* of the optimizer beside them."""
    slots = slots_of(specs)
    name = str(recorded["class"]) if isinstance(recorded, Mapping) and "class" in recorded else ""
    if not slots:
        return Piece("optimizer", True, f"{name or 'one'} that kept no slots")
    kinds = kinds_of_slots(slots)
    lacking = without_slots(specs, slots)
    none = f"; none yet for {shortly(lacking)}" if lacking else ""
    return Piece(
        "optimizer", True, f"{name or kind_of(kinds) or 'slots'}: {', '.join(kinds)}{none}"
    )


def schedule(scheduler: Any) -> Piece:
    """Return the finding on a scheduler; where there is none, rates go by the step."""
    if not isinstance(scheduler, Mapping):
        return Piece("schedule", None, "none beside the optimizer's own, which goes by the step")
    values = scheduler.get("values", {})
    return Piece("schedule", True, f"{scheduler.get('class')} at {values.get('last_epoch')}")


def accumulation(state: Any) -> Iterator[Piece]:
    """Yield the findings on PyTorch's gradient scaler and accumulated gradients, where used."""
    if not isinstance(state, Mapping):
        return
    if "scaler" in state:
        yield Piece("gradient scaler", True, shown(state["scaler"]))
    if state.get("every", 1) != 1:
        done = f"{state.get('done')} of {state['every']} batches of the step are in them"
        yield Piece("accumulated gradients", True, done)


def random_states(state: Mapping[str, Any]) -> Iterator[str]:
    """Yield whose random states there are."""
    session = state["session"]
    yield from ("Python", "NumPy")
    on_torch = session.get("torch", session)
    if "rng" in on_torch:
        yield "PyTorch"
        for kind, devices in on_torch.get("accelerators", {}).items():
            yield number_of(len(devices), f"{kind} device")
    if session.get("seeds") is not None:
        yield "Keras"
    on_tensorflow = session.get("tensorflow", session)
    if "generator" in on_tensorflow:
        yield "TensorFlow's global Generator"
    if "eager" in on_tensorflow:
        yield "TensorFlow's seeds"
    if "key" in state["model"]:
        yield "JAX's key of the next step"


def of_processes(state: Mapping[str, Any]) -> str:
    """Return how many processes trained together, where it was not one alone."""
    count = state.get("processes", 1)
    return f"; of {count} processes" if count != 1 else ""


def further(state: Mapping[str, Any]) -> Iterator[Piece]:
    """Yield what else the run state has, under the names it has there."""
    for part, told in (("model", MODEL_TOLD), ("session", SESSION_TOLD)):
        for key, value in state[part].items():
            if key not in told:
                yield Piece(f"{part}'s {key}", True, shown(value))
    for name, value in state.get("also", {}).items():
        yield Piece(name, True, shown(value))
    for key, value in state.items():
        if key not in TOLD:
            yield Piece(key, True, shown(value))


def shown(state: Any) -> str:
    """Return the first plain values of a *state*, in a line.

    >>> shown({"pass": 2, "position": 0, "shuffle": True, "seed": 0, "drop_last": False})
    'pass 2, position 0, shuffle True, seed 0, ...'
    >>> shown({"module.weight": np.ones((2, 3)), "module.bias": np.ones(3)})
    '2 values'
    """
    if isinstance(state, np.ndarray):
        return f"an array {state.shape}"
    if not isinstance(state, Mapping):
        return str(state)[:40]
    plain = {k: v for k, v in state.items() if isinstance(v, int | float | str)}
    few = [f"{key} {str(value)[:40]}" for key, value in list(plain.items())[:MAX_SHOWN]]
    if state and not few:
        return number_of(len(state), "value")
    return ", ".join([*few, *(["..."] if len(state) > len(few) else [])]) or "empty"


def is_written_file(state: Any) -> bool:
    """Return whether a callback's *state* says what a file of statistics must begin with."""
    return isinstance(state, Mapping) and {"length", "sha256"} <= state.keys()


def monitors(written: Mapping[str, Mapping[str, Any]], folder: Path) -> Piece:
    """Return the finding on the files of statistics that belong to the run."""
    if not written:
        return Piece("monitors", None, "no file of statistics belongs to the run")
    if url_of(folder) and not any((folder / key).exists() for key in written):
        return Piece("monitors", None, f"{', '.join(written)}: on the machine that trained")
    faults = [fault for key, each in written.items() if (fault := fault_of(folder / key, each))]
    if faults:
        return Piece("monitors", False, "; ".join(faults))
    lines = ", ".join(f"{key} ({each['length']} bytes of it)" for key, each in written.items())
    return Piece("monitors", True, lines)


def fault_of(path: Path, state: Mapping[str, Any]) -> str | None:
    """Return what is wrong with a file of statistics, None when it begins as the run left it."""
    if not state["length"]:
        return None
    try:
        with path.open("rb") as file:
            begin = file.read(state["length"])
    except OSError as error:
        return f"{path.name} is not beside the checkpoint ({error.strerror})"
    if hashlib.sha256(begin).hexdigest() == state["sha256"]:
        return None
    return f"{path.name} does not begin with the {state['length']} bytes that the run had written"
