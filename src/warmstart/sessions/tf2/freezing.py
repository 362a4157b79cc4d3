"""Variables of eager TensorFlow held still, whatever the training loop does.

    a variable       is guarded itself, and optimizers pass over it (guard.py)
    its statistics   what else is kept in the scope of a layer whose weights are all held: moving
                     means, counts; the layer computes as it was told to, and they stay
    tf.function      one that was traced before is traced anew (traces.py)

Nothing of an optimizer is changed, so its slots are what they were when the variables are thawed.
"""

from collections.abc import Collection, Iterator, Mapping

import numpy as np

from ...errors import FreezeError
from ...names import parent, scopes
from ...source import Index, no_such_tensor
from ..masks import mask_of
from ..tf_graph.freezing import refuse_state
from . import guard, optimizer_hooks, traces
from .variables import Variable, Variables


class TF2Freezing:
    """Variables held still until `thaw`."""

    def __init__(self, variables: list[Variable], regions: Mapping[str, Index]) -> None:
        """Hold *variables*, checked before; those in *regions* where the index says."""
        self.names = tuple(v.name for v in variables)
        self.regions: Mapping[str, Index] = {
            name: index for name, index in regions.items() if name in self.names
        }
        self._holds = [(v, guard.Hold(mask(v, self.regions))) for v in variables]
        self._thawed = False
        optimizer_hooks.watch()
        for v, hold in self._holds:
            guard.add(v.value, hold)

    def thaw(self) -> None:
        """Let the variables be trained again, but for those that another freezing holds."""
        if self._thawed:
            return
        self._thawed = True
        traces.forget([v.inner for v, _ in self._holds])
        for v, hold in self._holds:
            guard.remove(v.value, hold)


def mask(variable: Variable, regions: Mapping[str, Index]) -> np.ndarray | None:
    """Return where *variable* is to be held, None for everywhere."""
    if variable.name not in regions:
        return None
    found = mask_of(variable.spec.shape, regions[variable.name])
    return None if found.all() else found


def freeze(
    variables: Variables,
    names: Collection[str],
    *,
    train_statistics: bool,
    regions: Mapping[str, Index],
) -> TF2Freezing:
    """Hold the variables *names* still, and the statistics that belong to them."""
    asked = variables_called(names, variables)
    chosen = {v.name for v in asked}
    if train_statistics:
        chosen -= {name for names in layers_of(variables).values() for name in names}
    else:
        chosen |= set(statistics_of(variables, chosen - regions.keys()))
    if not chosen:
        raise FreezeError(
            f"{', '.join(v.name for v in asked)}: statistics, and train_statistics=True lets "
            "them move"
        )
    kept = [v for v in variables.by_name.values() if v.name in chosen]
    inner = [v.inner for v in kept]
    traces.forget(inner)
    traces.refuse_writers(inner, names)
    return TF2Freezing(kept, regions)


def variables_called(names: Collection[str], variables: Variables) -> list[Variable]:
    """Return the variables called *names*; raise for state, which optimizers move as they like."""
    found = []
    for name in names:
        variable = variables.find(name)
        if variable is None:
            raise no_such_tensor(name, variables.by_name)
        found.append(variable)
    refuse_state([v.spec for v in found])
    return found


def statistics_of(variables: Variables, names: Collection[str]) -> Iterator[str]:
    """Yield the statistics of the layers that *names* complete: all that is trained is held."""
    still = set(names) | {v.name for v in variables.trained if is_whole(v)}
    for weights, statistics in layers_of(variables).items():
        if still.issuperset(weights) and not weights.isdisjoint(names):
            yield from statistics


def layers_of(variables: Variables) -> dict[frozenset[str], list[str]]:
    """Return the statistics of each layer, by all its weights.

    A layer is a scope with trained variables.  What else is kept in that scope, or below it where
    nothing is trained, it moves itself: there is nobody else to.
    """
    weights: dict[str, set[str]] = {}
    for v in variables.trained:
        weights.setdefault(parent(v.name), set()).add(v.name)
    trained = {v.name for v in variables.trained}
    found: dict[frozenset[str], list[str]] = {}
    for v in variables.by_name.values():
        scope = next((scope for scope in scopes(v.name) if scope in weights), None)
        if v.role == "model" and v.name not in trained and scope is not None:
            found.setdefault(frozenset(weights[scope]), []).append(v.name)
    return found


def is_whole(variable: Variable) -> bool:
    """Return whether all of *variable* is held already."""
    mask = guard.held(variable.value)
    return mask is not None and bool(mask.all())
