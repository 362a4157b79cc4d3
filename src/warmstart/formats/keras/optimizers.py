"""The variables of an optimizer: `dense/kernel/momentum`, as Keras calls it
`adam/dense_kernel_momentum`."""

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from ...names import last as last_part
from .kinds import KEPT_FIRST, OLD_OPTIMIZERS, OPTIMIZERS, chosen, snake_case
from .layers import below

if TYPE_CHECKING:
    from .naming import Model

OPTIMIZER = "optimizer"


class OptimizerVariable(NamedTuple):
    """What a variable of an optimizer is called, by Keras and here, and what it is for."""

    shown: str
    own: str
    role: str


def optimizer_names(
    group: str,
    paths: list[str],
    *,
    shapes: Mapping[str, tuple[int, ...]],
    names: Mapping[str, str],
    own: Mapping[str, str],
    roles: Mapping[str, str],
    model: "Model",
) -> dict[str, OptimizerVariable]:
    """Return the names and the role of each variable of the optimizer saved in *group*.

    *names*, *own* and *roles* are those of the model's variables, in their order.  The step and the
    rate come first; slots are named where the configuration says which there are and all shapes
    agree, and numbered where not.
    """
    compiled = compiled_optimizer(model) if group == OPTIMIZER else None
    scope = model.groups.get(group) or (compiled and compiled[1].get("name")) or group
    counters = len([path for path in paths[:2] if shapes[path] == ()])
    found = {}
    for path, name in zip(paths, ("iteration", "learning_rate")[:counters], strict=False):
        shown = name if model.old else f"{scope}/{name}"
        found[path] = OptimizerVariable(shown, below(group, name), "run")
    rest = paths[counters:]
    trained = [path for path in names if roles.get(path) == "trainable"]
    slots = list(slots_of(compiled, trained, old=model.old)) if compiled else []
    if [shapes[path] for path in rest] == [shapes[variable] for variable, _ in slots]:
        for path, (variable, slot) in zip(rest, slots, strict=True):
            flat = names[variable].replace("/", "_")
            shown = f"{scope}/{slot}/{names[variable]}" if model.old else f"{scope}/{flat}_{slot}"
            found[path] = OptimizerVariable(shown, below(own[variable], slot), "slot")
        return found
    for path in rest:
        number = last_part(path)
        found[path] = OptimizerVariable(below(scope, number), below(group, number), "slot")
    return found


def compiled_optimizer(model: "Model") -> tuple[str, Mapping[str, Any]] | None:
    """Return kind and configuration of the optimizer that the model was compiled with."""
    match model.config:
        case {"compile_config": {"optimizer": {"class_name": str(name), "config": dict(config)}}}:
            return snake_case(name), config
    return None


def slots_of(
    compiled: tuple[str, Mapping[str, Any]], trained: list[str], *, old: bool
) -> Iterator[tuple[str, str]]:
    """Yield (path of the variable, slot) for each slot, in the order of saving."""
    kind, config = compiled
    kept = OLD_OPTIMIZERS.get(kind, ()) if old else (*KEPT_FIRST, *OPTIMIZERS.get(kind, ()))
    for group in kept:
        slots = [slot for slot in (chosen(item, config) for item in group) if slot]
        yield from ((variable, slot) for variable in trained for slot in slots)
