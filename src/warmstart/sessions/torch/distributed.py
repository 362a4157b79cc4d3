"""The processes of torch.distributed, and modules wrapped for them."""

import time
from typing import Any

import torch.distributed as dist
from torch import nn

from ...processes import ALONE, Processes, asking

STORE = "the store of torch.distributed"

#: Seconds between two looks into the store: at first, and after a while.
SOON, LATER = 0.0005, 0.05


class C10dStore:
    """The store by which the processes of torch.distributed found each other."""

    def __init__(self, store: Any) -> None:
        self._store = store

    def put(self, key: str, value: bytes) -> None:
        with asking(STORE):
            self._store.set(key, value)

    def get(self, key: str, timeout: float) -> bytes | None:
        """Return the value of *key*; a wait inside the store would keep other threads out of it."""
        deadline, pause = time.monotonic() + timeout, SOON
        with asking(STORE):
            while not self._store.check([key]):
                if time.monotonic() >= deadline:
                    return None
                time.sleep(pause)
                pause = min(2 * pause, LATER)
            return bytes(self._store.get(key))

    def delete(self, key: str) -> None:
        with asking(STORE):
            self._store.delete_key(key)


#: The default group of processes, and what was made of it: another group counts anew.
_known: tuple[Any, Processes] = (None, ALONE)
_groups = 0


def processes() -> Processes:
    """Return the processes of the default group of torch.distributed, where there is one."""
    global _known, _groups  # noqa: PLW0603  (the group is global)
    if not dist.is_available() or not dist.is_initialized() or dist.get_world_size() == 1:
        return ALONE
    group = dist.group.WORLD
    if _known[0] is not group:
        store = C10dStore(dist.distributed_c10d._get_default_store())  # there is no public name
        _groups += 1  # a group made anew may find what the one before left in the store
        rank, count = dist.get_rank(), dist.get_world_size()
        _known = (group, Processes(rank, count, store, name=f"warmstart{_groups}"))
    return _known[1]


def unwrapped(module: nn.Module) -> nn.Module:
    """Return the module inside a DistributedDataParallel, whose names are those of the variables.

    Any other is itself: `fully_shard` changes a module in place and keeps its names.
    """
    inner: nn.Module = getattr(module, "module", module) if is_wrapped(module) else module
    return inner


def is_wrapped(module: nn.Module) -> bool:
    """Return whether *module* is a DistributedDataParallel, which takes a second to import."""
    kind = type(module)
    return (kind.__module__, kind.__qualname__) == (
        "torch.nn.parallel.distributed",
        "DistributedDataParallel",
    )
