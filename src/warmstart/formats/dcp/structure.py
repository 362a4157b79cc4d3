"""What of a distributed checkpoint tensors by name do not say, kept so that it is written again.

    metadata["dcp.tree"] = {"paths": {"opt.state.0.m": ["opt", "state", 0, "m"], ...},
                            "values": the skeleton (`torch.tree`) of {"opt.param_groups.0.lr": ...}}

Paths are left out where they are the name itself.
"""

import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

from ...errors import CorruptCheckpoint
from ..notes import parse_json
from ..torch.tree import rebuilt, skeleton_of

TREE = "dcp.tree"

Path = tuple[str | int, ...]


@dataclass(frozen=True, slots=True)
class Structure:
    """The nested keys of each name, and the values that are no tensors."""

    paths: Mapping[str, Path] = field(default_factory=dict)
    values: Mapping[str, Any] = field(default_factory=dict)

    def path(self, name: str) -> Path:
        """Return under which keys *name* is nested."""
        return self.paths.get(name, (name,))


def encoded(structure: Structure) -> str | None:
    """Return *structure* as text; None where the names of tensors say all of it."""
    paths = {name: path for name, path in structure.paths.items() if path != (name,)}
    if not paths and not structure.values:
        return None
    parts = {"paths": paths, "values": skeleton_of(dict(sorted(structure.values.items())))}
    return json.dumps(parts, ensure_ascii=False, sort_keys=True)


def decoded(text: str, tensors: Collection[str]) -> Structure:
    """Return the structure in *text*, of which values lose a name that a tensor has now."""
    try:
        match parse_json(text):
            case {"paths": dict(paths), "values": str(skeleton)}:
                values = rebuilt(skeleton, ())
            case _:
                raise ValueError("it has other parts")
        if not isinstance(values, dict) or not all(map(is_path, paths.values())):
            raise ValueError("its parts are not of their kinds")
    except (ValueError, RecursionError) as error:
        raise CorruptCheckpoint(f"the metadata {TREE!r} are no structure: {error}") from error
    kept = {name: value for name, value in values.items() if name not in tensors}
    return Structure({name: tuple(path) for name, path in paths.items()}, kept)


def is_path(value: object) -> bool:
    """Return whether *value* is a list of keys."""
    return isinstance(value, list) and all(type(key) in (str, int) for key in value)
