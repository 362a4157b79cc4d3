"""What the next step depends on beside variables, slots and the states of seeds.

    {"backend": "torch",
     "seeds": array or None                of the generator behind random operations without a seed
     "optimizer": {"class": "Adam", "options": {"beta_1": 0.9, ...}},
     "torch": {"rng": array, "accelerators": ..., "threads": 2},       on PyTorch, whose own
                                           generator Dropout uses
     "tensorflow": {"generator": ..., "eager": ..., "threads": 2},     on TensorFlow
     "not_saved": {"lambda/random_uniform": "..."}}     what a step uses that is in no checkpoint

An optimizer's options are the program's: a change is said and kept.  Its rate is a variable.
"""

import logging
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any

import numpy as np
from keras.src.backend.common import global_state
from keras.src.random.seed_generator import GLOBAL_SEED_GENERATOR, global_seed_generator

from ..base import refuse_misfits
from .arrays import BACKEND, array_of, variable_spec, write
from .variables import Variables

log = logging.getLogger("warmstart")


def state(optimizer: Any, not_saved: Mapping[str, str]) -> dict[str, Any]:
    """Return the run state; *not_saved* goes with it, for whoever resumes to know."""
    generator = global_state.get_global_attribute(GLOBAL_SEED_GENERATOR)
    found: dict[str, Any] = {
        "backend": BACKEND,
        "seeds": None if generator is None else np.array(array_of("seeds", generator.state)),
    }
    if optimizer is not None:
        found["optimizer"] = {"class": type(optimizer).__name__, "options": options_of(optimizer)}
    if BACKEND == "torch":
        from ..torch.run_state import process_state

        found["torch"] = process_state()
    if BACKEND == "tensorflow":
        from ..tf2 import run_state as of_tensorflow

        found["tensorflow"] = of_tensorflow.state({})
    if not_saved:
        found["not_saved"] = dict(not_saved)
    return found


def options_of(optimizer: Any) -> dict[str, Any]:
    """Return the options of *optimizer* that are plain values; the rate is a variable."""
    config = optimizer.get_config()
    left = {key: value for key, value in config.items() if key not in ("learning_rate", "name")}
    return {k: v for k, v in left.items() if isinstance(v, bool | int | float | str | None)}


def load_state(optimizer: Any, state: Mapping[str, Any], accepts: Callable[[str], bool]) -> None:
    """Take back *state*; raise one ResumeError naming all that does not fit, changing nothing."""
    changes, faults = what_changes(optimizer, state)
    refuse_misfits(faults, accepts)
    for change in changes:
        change()
    warn_of_changed(optimizer, state)


def what_changes(
    optimizer: Any, state: Mapping[str, Any]
) -> tuple[list[Callable[[], object]], dict[str, str]]:
    """Return what takes back all of *state* that fits, and by name why the rest does not."""
    faults = dict(faults_of(optimizer, state))
    changes: list[Callable[[], object]] = []
    if state.get("seeds") is not None and "seeds" not in faults:
        seeds = global_seed_generator().state
        changes.append(partial(write, "seeds", seeds, state["seeds"]))
    if state.get("backend") != BACKEND:
        return changes, faults
    of_backend = state.get(BACKEND)
    if BACKEND == "torch" and of_backend is not None:
        from ..torch.resuming import generator_changes, warn_of_threads

        changes += [*generator_changes(of_backend, faults), partial(warn_of_threads, of_backend)]
    if BACKEND == "tensorflow" and of_backend is not None:
        from ..tf2 import run_state as of_tensorflow

        changes.append(partial(of_tensorflow.load_state, of_backend))
    return changes, faults


def faults_of(optimizer: Any, state: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield what of *state* does not fit, by name, with the reason."""
    if state.get("backend") != BACKEND:
        yield "backend", f"{state.get('backend')} in the checkpoint, {BACKEND} here (KERAS_BACKEND)"
    saved = state.get("optimizer", {}).get("class")
    here = None if optimizer is None else type(optimizer).__name__
    if saved != here:
        yield "optimizer", f"{saved} in the checkpoint, {here} here"
    seeds = state.get("seeds")
    if seeds is not None:
        expected = variable_spec("seeds", global_seed_generator().state, "run")
        if (seeds.dtype.name, seeds.shape) != (expected.dtype, expected.shape):
            yield "seeds", f"{seeds.dtype} {seeds.shape} in the checkpoint, {expected} here"
    if BACKEND == "torch" and not isinstance(state.get("torch"), Mapping):
        yield "torch", "the states of PyTorch's generators are not in the checkpoint"


def warn_of_changed(optimizer: Any, state: Mapping[str, Any]) -> None:
    """Warn of options that are not those that the run had so far."""
    if optimizer is None:
        return
    saved, here = state.get("optimizer", {}).get("options", {}), options_of(optimizer)
    lines = [
        f"{key} was {saved[key]!r} and is {here[key]!r}"
        for key in sorted(saved.keys() & here.keys())
        if saved[key] != here[key]
    ]
    if lines:
        log.warning(
            "the run goes on with this program's options of the optimizer, which are not those it "
            "had so far: %s",
            "; ".join(lines),
        )


def unresumable(model: Any, optimizer: Any, variables: Variables) -> dict[str, str]:
    """Return what neither variables nor `state` hold, by name, with the reason."""
    found: dict[str, str] = {}
    if BACKEND == "torch":
        found |= unknown_to_either(model, variables)
    if optimizer is not None:
        known = {id(each.live) for each in variables.by_name.values()}
        strangers = [v.path for v in optimizer.variables if id(v) not in known]
        found |= dict.fromkeys(strangers, "a variable of the optimizer that it keeps nowhere")
    return found


def unknown_to_either(model: Any, variables: Variables) -> dict[str, str]:
    """Return what PyTorch's modules have and Keras does not know, or the other way round."""
    found = dict.fromkeys(
        (name for name, _ in model.named_buffers()),
        "a buffer of a PyTorch module, which is no variable of Keras",
    )
    parameters = {id(each) for each in model.parameters()}
    for name, each in variables.by_name.items():
        if each.role is None and each.live.trainable and id(each.live._value) not in parameters:
            found[name] = (
                f"another variable of its layer is called {each.live.path!r} too, so that PyTorch "
                "knows one of them, and never clears the gradient of the other: name them"
            )
    return found
