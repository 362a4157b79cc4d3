"""A scheduler's state where it has a value for each parameter group, for groups in another order.

    base_lrs    [0.1, 0.2]    of the groups {a, b} and {c}
    base_lrs    [0.2, 0.1]    of the groups {c} and {b, a, d}

PyTorch knows groups by their place.  A group is known here by the first of its parameters that was
in one before; one whose parameters are all new keeps what the scheduler has for it.
"""

from collections.abc import Mapping, Sequence
from typing import Any

#: What schedulers keep a list of, a value for each group.
PER_GROUP = ("base_lrs", "_last_lr", "max_lrs", "base_momentums", "max_momentums", "lr_lambdas")

Groups = Sequence[Sequence[str]]  # the names of the parameters of each group


def regrouped(
    values: Mapping[str, Any], live: Mapping[str, Any], saved: Groups, here: Groups
) -> dict[str, Any]:
    """Return the state *values* of a scheduler on the groups *saved* for those *here*.

    *live* is the state that the scheduler has.
    """
    group_of = {name: index for index, names in enumerate(saved) for name in names}
    places = [next((group_of[n] for n in names if n in group_of), None) for names in here]
    return in_places(values, live, places, len(saved))


def in_places(
    values: Mapping[str, Any], live: Mapping[str, Any], places: Sequence[int | None], count: int
) -> dict[str, Any]:
    """Return *values* with the lists of *count* in the order of *places*, as of *live* for None."""

    def ordered(key: str, value: Any) -> Any:
        own = live.get(key)
        if key == "_schedulers" and isinstance(own, list) and len(own) == len(value):
            pairs = zip(value, own, strict=True)  # of a chain of schedulers
            return [in_places(each, inner, places, count) for each, inner in pairs]
        if key in PER_GROUP and isinstance(own, list) and len(value) == count:
            return [
                own[index] if place is None else value[place] for index, place in enumerate(places)
            ]
        return value

    return {key: ordered(key, value) for key, value in values.items()}
