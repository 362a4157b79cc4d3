"""Optimizer state in a checkpoint: which tensors are slots, and of which parameters.

    {"state": {0: {"step": ..., "exp_avg": tensor}, ...},
     "param_groups": [{"lr": ..., "params": [0, 1], "param_names": [...]}, ...]}

PyTorch counts parameters through all groups.  Whose they are is known where the groups say it
(`param_names`, since PyTorch 2.6), or where one state dict lies beside, and all in it that is no
buffer fits, one by one.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from ...names import joined
from .nodes import Tensor

MAX_LEVELS = 6  # how deep optimizers are looked for
BUFFERS = ("running_mean", "running_var", "num_batches_tracked")


def optimizers(tree: Any) -> Iterator[tuple[str, Any]]:
    """Yield the name and the state dict of each optimizer in *tree*; a shared one once."""
    is_level = isinstance(tree, (dict, list, tuple))
    waiting, seen = [("", tree, MAX_LEVELS)] if is_level else [], set[int]()
    while waiting:
        name, value, levels = waiting.pop()
        if id(value) in seen:
            continue
        seen.add(id(value))
        if is_optimizer(value):
            yield name, value
        elif levels:
            items = value.items() if isinstance(value, dict) else enumerate(value)
            waiting += [
                (joined(name, str(key)), item, levels - 1)
                for key, item in items
                if isinstance(item, (dict, list, tuple))
            ]


def is_optimizer(value: Any) -> bool:
    """Return whether *value* is the state dict of an optimizer."""
    return (
        isinstance(value, dict)
        and isinstance(value.get("state"), dict)
        and isinstance(value.get("param_groups"), list | tuple)
        and all(isinstance(g, dict) and "params" in g for g in value["param_groups"])
    )


def slots(tree: Any) -> Iterator[tuple[str, str, str]]:
    """Yield (name of a slot tensor, the key of its parameter, the slot) for all optimizers."""
    for name, optimizer in optimizers(tree):
        for key, state in optimizer["state"].items():
            for slot, value in state.items() if isinstance(state, dict) else ():
                if isinstance(value, Tensor):
                    yield "/".join(filter(None, (name, "state", str(key), str(slot)))), key, slot


def slot_aliases(tree: Any, tensors: Mapping[str, Any]) -> dict[str, str]:
    """Return <parameter>/<slot> -> name, for the slots whose parameter is certain."""
    found: dict[str, str] = {}
    models = [model for model in state_dicts(tree) if model[1]]
    for name, optimizer in optimizers(tree):
        owners = named_owners(optimizer) or matched_owners(optimizer, models)
        prefix = models[0][0] if len(models) == 1 else ""
        for key, state in optimizer["state"].items():
            owner = owners.get(key) if isinstance(key, str | int) else None
            if owner is None or not isinstance(state, dict):
                continue
            full = joined(prefix, owner)
            for slot in state:
                slot_name = joined(name, f"state/{key}/{slot}")
                alias = f"{full if full in tensors else owner}/{slot}"
                if slot_name in tensors and alias not in tensors:
                    found.setdefault(alias, slot_name)
    return found


def state_dicts(tree: Any) -> list[tuple[str, dict[str, Any]]]:
    """Return the name and the tensors of each dict of tensors at the first two levels."""
    if not isinstance(tree, dict):
        return []
    return [
        (str(key), {str(k): v for k, v in value.items()})
        for key, value in tree.items()
        if isinstance(value, dict) and value and all(isinstance(v, Tensor) for v in value.values())
    ]


def named_owners(optimizer: Mapping[str, Any]) -> dict[Any, str]:
    """Return parameter by key, as the groups name them; nothing if one of them does not."""
    found: dict[Any, str] = {}
    for group in optimizer["param_groups"]:
        keys, names = group["params"], group.get("param_names")
        if not isinstance(keys, list) or not isinstance(names, list) or len(keys) != len(names):
            return {}
        pairs = zip(keys, names, strict=True)
        found |= {k: n for k, n in pairs if isinstance(k, str | int) and isinstance(n, str)}
    return found


def matched_owners(
    optimizer: Mapping[str, Any], models: list[tuple[str, dict[str, Any]]]
) -> dict[Any, str]:
    """Return parameter by key where the one model's fit them all, in order; else nothing."""
    lists = [g["params"] for g in optimizer["param_groups"]]
    if len(models) != 1 or not all(isinstance(keys, list) for keys in lists):
        return {}
    keys = [key for group in lists for key in group if isinstance(key, str | int)]
    tensors = {n: t for n, t in models[0][1].items() if not n.endswith(BUFFERS)}
    if len(keys) != len(tensors) or keys != sorted(keys, key=str_last):
        return {}
    owners = dict(zip(keys, tensors, strict=True))
    fits = all(
        slot.shape in ((), (1,), tensors[owners[key]].shape)
        for key, state in optimizer["state"].items()
        if key in owners and isinstance(state, dict)
        for slot in state.values()
        if isinstance(slot, Tensor)
    )
    return owners if fits else {}


def str_last(key: str | int) -> tuple[int, str]:
    """Return what sorts numbers first, in order."""
    return (key, "") if isinstance(key, int) else (2**63, key)
