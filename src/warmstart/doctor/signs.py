"""Pieces of a run recognised by what they look like, wherever in a checkpoint they lie.

    {"optimizer": {"state": ..., "param_groups": ...},      an optimizer of PyTorch
     "sched": {"last_epoch": 3, "_step_count": 4, ...},     a schedule
     "amp": {"scale": ..., "growth_factor": ...},           a gradient scaler
     "rng": <uint8 (5056,)>, ("MT19937", ...),              states of generators
     "loader": {"_snapshot": ..., ...},                     a place in the data
     "epoch": 3}                                            a counter

Sources: PyTorch 2.13 (optim/optimizer.py, optim/lr_scheduler.py, amp/grad_scaler.py), NumPy 2.4
(random.get_state), Python 3.11 (random.getstate), torchdata 0.11 (stateful_dataloader), Keras 3.15
(random/seed_generator.py).
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from ..formats.torch.optimizers import is_optimizer
from ..names import joined, leaf_of, words
from .tree import is_tensor

MAX_DEPTH = 8
COUNTING_DEPTHS = (1, 2)  # below, a "step" is somebody else's

#: Keys of counters, as programs call them -> the piece.
COUNTERS = {
    **dict.fromkeys(
        ("step", "steps", "global_step", "global_steps", "iteration", "iterations", "iter",
         "it", "num_updates", "update", "total_steps", "num_steps"),
        "step",
    ),
    **dict.fromkeys(("epoch", "epochs", "current_epoch", "last_epoch", "start_epoch"), "epoch"),
}  # fmt: skip

#: Bytes of the state of PyTorch's Mersenne Twister, and of the generators of its accelerators.
TORCH_STATE, CUDA_STATE = (5056,), (16,)

RANDOM = frozenset(("rng", "rngs", "key", "keys", "prng", "random", "seed", "cuda", "generator"))
LOADERS = frozenset(
    ("dataloader", "loader", "dataloaders", "sampler", "samplers", "dataset", "datapipe", "grain")
)
CALLBACKS = ("callbacks", "stateful_callbacks")
PLACES = frozenset(
    ("step", "steps", "index", "indices", "position", "pos", "offset", "yielded", "seen",
     "batches", "consumed", "cursor", "epoch", "iteration", "state")
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Sign:
    """A piece of a run that was found under *name*."""

    piece: str
    name: str
    what: str
    value: Any = None


def optimizer(name: str, value: Any) -> str | None:
    """Return the kind of optimizer that *value* is the state of, "" if unknown, None if none."""
    if not is_optimizer(value):
        return None
    options = [set(group) for group in value["param_groups"]]
    if any(group.get("decoupled_weight_decay") for group in value["param_groups"]):
        return "AdamW"
    if any({"betas", "amsgrad"} <= each for each in options):
        return "Adam"
    return "SGD" if any({"dampening", "nesterov"} <= each for each in options) else ""


def schedule(name: str, value: Any) -> str | None:
    """Return where a schedule of PyTorch stands, None when *value* is none."""
    if not isinstance(value, Mapping) or not {"last_epoch", "_last_lr"}.issubset(value):
        return None
    rates = value["_last_lr"]
    rate = f", rate {rates[0]}" if isinstance(rates, list) and rates else ""
    return f"at {value['last_epoch']}{rate}"


def scaler(name: str, value: Any) -> str | None:
    """Return the scale of a gradient scaler, None when *value* is none."""
    if not isinstance(value, Mapping) or not {"scale", "growth_factor"}.issubset(value):
        return None
    return f"scale {value['scale']}"


def random_state(name: str, value: Any) -> str | None:
    """Return whose random state *value* is, None when it is none."""
    if is_tensor(value):
        return random_tensor(name, value)
    if isinstance(value, Mapping):
        return "NumPy" if "bit_generator" in value else None
    match value:
        case ["MT19937", *_]:
            return "NumPy"
        case [int(), [*numbers], _] if len(numbers) == 625:
            return "Python"
    return None


def random_tensor(name: str, spec: Any) -> str | None:
    """Return whose random state a tensor is, None when it is none."""
    named = RANDOM.intersection(words(name))
    if spec.dtype == "uint8" and spec.shape == TORCH_STATE:
        return "PyTorch"
    if spec.dtype == "uint8" and spec.shape == CUDA_STATE and named:
        return "CUDA"
    if "seed_generator_state" in name:
        return "Keras"
    if "_state_var" in name and spec.dtype in ("int64", "uint64"):
        return "TensorFlow's Generator"
    if spec.dtype == "uint32" and spec.shape[-1:] in ((2,), (4,)) and named:
        return "JAX"
    return None


def loader(name: str, value: Any) -> str | None:
    """Return whose place in the data *value* is, None when it is none."""
    if not isinstance(value, Mapping):
        return None
    if {"_snapshot", "_steps_since_snapshot"} <= value.keys() or "_num_yielded" in value:
        return "torchdata's StatefulDataLoader"
    named = LOADERS.intersection(words(leaf_of(name)))
    return f"{name!r}" if named and any(map(says_place, value)) else None


def says_place(key: str) -> bool:
    """Return whether *key* is that of a place: a dataset's configuration has none such."""
    return bool(PLACES.intersection(words(key)))


def callbacks(name: str, value: Any) -> str | None:
    """Return the names of callbacks whose states *value* has, None when it has none."""
    if leaf_of(name) not in CALLBACKS or not isinstance(value, Mapping) or not value:
        return None
    return ", ".join(key.partition("{")[0] for key in value)  # Lightning adds the arguments


#: What is looked for, in turn; the first that knows a value has it, and what lies below.
RECOGNISED: tuple[tuple[str, Callable[[str, Any], str | None]], ...] = (
    ("optimizer", optimizer),
    ("schedule", schedule),
    ("gradient scaler", scaler),
    ("data", loader),
    ("random states", random_state),
    ("callbacks", callbacks),
)


def signs_in(tree: Any, name: str = "", depth: int = 0) -> Iterator[Sign]:
    """Yield every piece of a run in *tree*, which stands under *name*, so deep in the whole."""
    for piece, recognise in RECOGNISED:
        what = recognise(name, tree)
        if what is not None:
            yield Sign(piece, name, what, tree)
            return
    if depth in COUNTING_DEPTHS and (sign := counter(name, tree)):
        yield sign
    if is_tensor(tree) or depth == MAX_DEPTH or not isinstance(tree, Mapping | list):
        return
    items = tree.items() if isinstance(tree, Mapping) else enumerate(tree)
    for key, value in items:
        if is_tensor(value) or isinstance(value, Mapping | list | int | float):
            yield from signs_in(value, joined(name, str(key)), depth + 1)


def counter(name: str, value: Any) -> Sign | None:
    """Return the sign of a counter, None when *value* is none."""
    piece = COUNTERS.get(leaf_of(name).lower())
    if piece is None or isinstance(value, bool):
        return None
    if is_tensor(value):
        counts = value.shape in ((), (1,)) and "int" in value.dtype
        return Sign(piece, name, "", value) if counts else None
    return Sign(piece, name, f"{value}", value) if isinstance(value, int | float) else None
