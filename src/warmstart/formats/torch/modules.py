"""Modules saved whole, as their state dicts: parameters and buffers under dotted names.

A pickled `torch.nn.Module` is an object with the attributes _parameters, _buffers and _modules,
whatever its class; one of TorchScript has all in one, and its code says which are which:

    class Linear(Module):
      __parameters__ = ["weight", "bias", ]
      __buffers__ = []

What else a module has becomes attributes beside them: "fc.in_features", "fc.__class__".
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from ...binary.pickle import Call, Global
from ...errors import CorruptCheckpoint
from ..pickled import CLASS, Folder, Special, attributes
from .nodes import Composite, Storage, Tensor

TABLES = ("_parameters", "_buffers", "_modules")
MAX_DEPTH = 60

#: Attributes that say nothing of the model's state: hooks, and parameters under a second name.
LEFT_OUT = frozenset((
    *TABLES, "_non_persistent_buffers_set", "_backward_pre_hooks", "_backward_hooks",
    "_is_full_backward_hook", "_forward_hooks", "_forward_hooks_with_kwargs",
    "_forward_hooks_always_called", "_forward_pre_hooks", "_forward_pre_hooks_with_kwargs",
    "_state_dict_hooks", "_state_dict_pre_hooks", "_load_state_dict_pre_hooks",
    "_load_state_dict_post_hooks", "_flat_weights", "_flat_weight_refs", "_all_weights",
    "_backend",
))  # fmt: skip

#: What PyTorch makes of calls that are values: they stay as they are.
KEPT = (Global("torch", "device"),)

CLASS_LINE = re.compile(r"^class (\w+)\(Module\):\n((?:  __\w+__ = .*\n)*)", re.MULTILINE)
LIST_LINE = re.compile(r"^  __(parameters|buffers)__ = \[(.*)\]$", re.MULTILINE)


class State(dict[str, Any]):
    """A module: its state dict, and its attributes among the tensors."""


@dataclass(slots=True)
class Modules:
    """Folds modules; at most *limit* values come out of one file's."""

    limit: int
    sources: Mapping[str, str] = field(default_factory=dict)
    _declared: dict[str, dict[str, dict[str, str]]] = field(default_factory=dict)
    _count: int = 0

    def special(self, call: Call) -> Special | None:
        """Return how *call* is folded if it is a module."""
        if is_script(call):
            return lambda folder, found: State(self.scripted(folder, found, "", MAX_DEPTH))
        if is_module(call):
            return lambda folder, found: State(self.entries(folder, found, "", MAX_DEPTH))
        return keep if call.function in KEPT else None

    def entries(
        self, folder: Folder, call: Call, prefix: str, depth: int
    ) -> Iterator[tuple[str, Any]]:
        """Yield what a module has, in the order of its state dict and then the rest."""
        self.count()
        state = attributes(call)
        hidden = state.get("_non_persistent_buffers_set")
        hidden = hidden if isinstance(hidden, set) else set()
        for name, value in table(state, "_parameters"):
            yield prefix + name, folder.folded(value)
        for name, value in table(state, "_buffers"):
            kept = {} if name not in hidden else {"persistent": False}
            yield prefix + name, as_buffer(folder.folded(value), kept)
        for name, value in table(state, "_modules"):
            if isinstance(value, Call) and is_module(value) and depth:
                yield from self.entries(folder, value, f"{prefix}{name}.", depth - 1)
            else:
                yield prefix + name, folder.folded(value)
        yield prefix + CLASS, str(call.function) if isinstance(call.function, Global) else "?"
        for name, value in state.items():
            if name not in LEFT_OUT:
                yield f"{prefix}{name}", folder.folded(value)

    def scripted(
        self, folder: Folder, call: Call, prefix: str, depth: int
    ) -> Iterator[tuple[str, Any]]:
        """Yield what a module of TorchScript has."""
        self.count()
        kinds = self.declared(call.function)
        for name, value in attributes(call).items():
            self.count()
            if isinstance(value, Call) and is_script(value) and depth:
                yield from self.scripted(folder, value, f"{prefix}{name}.", depth - 1)
            elif isinstance(value, Tensor):
                yield f"{prefix}{name}", with_kind(value, kinds.get(name))
            elif name not in LEFT_OUT:
                yield f"{prefix}{name}", folder.folded(value)
        yield prefix + CLASS, str(call.function)

    def declared(self, cls: Global) -> dict[str, str]:
        """Return what the code of *cls* calls each tensor: "parameters" or "buffers"."""
        if cls.module not in self._declared:
            code = self.sources.get(cls.module, "")
            self._declared[cls.module] = {
                name: declared_in(lines) for name, lines in CLASS_LINE.findall(code)
            }
        return self._declared[cls.module].get(cls.name, {})

    def count(self) -> None:
        """Refuse modules that share others until they unfold without end."""
        self._count += 1
        if self._count > self.limit:
            raise CorruptCheckpoint(f"the modules unfold to more than {self.limit} values")


def declared_in(lines: str) -> dict[str, str]:
    """Return what the first lines of a class call each of its tensors."""
    return {
        name: kind
        for kind, listed in LIST_LINE.findall(lines)
        for name in re.findall(r'"([^"]*)"', listed)
    }


def is_module(call: Call) -> bool:
    """Return whether *call* is an object with the three tables of a module."""
    return isinstance(call.state, dict) and all(
        isinstance(call.state.get(name), dict) for name in TABLES
    )


def is_script(call: Call) -> bool:
    """Return whether *call* is an object of a class that TorchScript compiled."""
    return isinstance(call.function, Global) and call.function.module.startswith("__torch__")


def table(state: Mapping[Any, Any], name: str) -> Iterator[tuple[str, Any]]:
    """Yield the entries of one of a module's tables; None stands for what it does without."""
    for key, value in state[name].items():
        if value is not None:
            yield str(key) if isinstance(key, str | int) else "?", value


def as_buffer(value: Any, kept: Mapping[str, Any]) -> Any:
    """Return a buffer: kept for inference, not trained."""
    return replace(value, role="model", attributes=kept) if isinstance(value, Tensor) else value


def with_kind(value: Tensor, kind: str | None) -> Tensor:
    """Return a tensor of TorchScript as the parameter or the buffer that its class has."""
    if kind == "parameters":
        role = "trainable" if value.requires_grad else "model"
        return replace(value, parameter=True, role=role)
    return replace(value, role="model") if kind == "buffers" else value


def fold_storage(folder: Folder, storage: Storage) -> Tensor:
    """A storage saved by itself is a tensor with one dimension."""
    return Tensor(storage, storage.dtype, (storage.nbytes // storage.itemsize,), (1,))


def fold_composite(folder: Folder, value: Composite) -> Any:
    return folder.object_of(value.kind, value.parts)


def keep(folder: Folder, call: Call) -> Call:
    return call
