"""Objects beside the model that a run takes along: moving averages, gradient scalers, metrics.

    Trainer(model).train(..., also={"average": average, "scaler": scaler})

Each says and takes back its state in one of the ways that data does (`data.PLACES`).  In a
checkpoint it goes by its name, and so it does where it is accepted to be lost.
"""

from collections.abc import Iterable, Mapping
from typing import Any

from ..errors import described
from .data import PLACES, Place, place_in

LEAVES_OUT = "its state_dict leaves out what torchmetrics keeps; call {}.persistent(True) first"


def places_of(also: Any, keys: Iterable[str]) -> dict[str, Place]:
    """Return how each of *also* says and takes back its state; *keys* are those of callbacks."""
    if not isinstance(also, Mapping):
        raise TypeError(f'also is {described(also)}; expected objects by name: {{"average": ...}}')
    twice = sorted(also.keys() & set(keys))
    if twice:
        raise ValueError(f"callbacks and also= both have the names {twice}; rename those in also=")
    found = {name: place_in(each) for name, each in also.items()}
    without = [f"{name}, {described(also[name])}" for name, place in found.items() if place is None]
    if without:
        ways = "; ".join(f"{say}() and {take}()" for say, take in PLACES)
        raise TypeError(f"also= takes objects with {ways}; these have none: {'; '.join(without)}")
    return {name: place for name, place in found.items() if place is not None}


def lost_by(also: Mapping[str, Any]) -> dict[str, str]:
    """Return those of *also* that leave something out of their state, with the reason."""
    return {name: LEAVES_OUT.format(name) for name, each in also.items() if is_forgetful(each)}


def is_forgetful(value: Any) -> bool:
    """Return whether *value* is a metric, or has one, that keeps its state out of state_dict."""
    modules = getattr(value, "modules", None)
    parts = modules() if callable(modules) else (value,)
    kept = (getattr(part, "_persistent", None) for part in parts)
    return any(not all(each.values()) for each in kept if isinstance(each, Mapping))
