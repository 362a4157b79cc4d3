"""What samplers keep in attributes: a count of passes, weights, an order that is shuffled anew.

    made = kept_by(samplers)                  # as the program made them
    later = changed(made, kept_by(samplers))  # what a pass depends on beside its seed and number
    put_back(samplers, later)                 # in a new process

Samplers of PyTorch keep nothing.  What is no number, text, array or flat list of these is not seen.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from torch import Tensor

from .order import KNOWN

PLAIN = (type(None), bool, int, float, str)


def kept_by(samplers: Iterable[Any]) -> dict[str, Any]:
    """Return copies of what *samplers* keep, as {"0.epoch": 3}: by their number and the name."""
    return {
        f"{number}.{name}": copy_of(value)
        for number, sampler in enumerate(samplers)
        if type(sampler) not in KNOWN
        for name, value in getattr(sampler, "__dict__", {}).items()
        if is_kept(value)
    }


def is_kept(value: Any) -> bool:
    """Return whether *value* is of a kind that is looked at."""
    if isinstance(value, list):
        return all(type(each) in PLAIN for each in value)
    return type(value) in PLAIN or isinstance(value, np.ndarray | Tensor)


def copy_of(value: Any) -> Any:
    """Return what *value* is now, which goes on changing."""
    if isinstance(value, Tensor):
        return value.detach().clone()
    return value.copy() if isinstance(value, list | np.ndarray) else value


def changed(before: Mapping[str, Any], now: Mapping[str, Any]) -> dict[str, Any]:
    """Return what of *now* is not as it was *before*."""
    return {n: v for n, v in now.items() if n not in before or not same(before[n], v)}


def same(one: Any, other: Any) -> bool:
    """Return whether two kept values are the same."""
    if isinstance(one, np.ndarray | Tensor) or isinstance(other, np.ndarray | Tensor):
        return type(one) is type(other) and np.array_equal(one, other)
    return type(one) is type(other) and bool(one == other)


def put_back(samplers: Sequence[Any], kept: Mapping[str, Any]) -> None:
    """Let *samplers* have again what they kept."""
    for key, value in kept.items():
        number, _, name = key.partition(".")
        setattr(samplers[int(number)], name, value)
