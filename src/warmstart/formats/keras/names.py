"""What the datasets of a file are called, and that no two are called alike."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

from ...errors import UnsupportedCheckpoint
from ...spec import TensorSpec


@dataclass(frozen=True, slots=True)
class Naming:
    """Names and roles by path, in the order of the model; `aliases` are alias -> name."""

    names: dict[str, str] = field(default_factory=dict)
    roles: dict[str, str] = field(default_factory=dict)
    aliases: dict[str, str] = field(default_factory=dict)


def unique(names: Mapping[str, str]) -> dict[str, str]:
    """Return *names* by path, those that several paths have replaced by the paths themselves."""
    counts = Counter(names.values())
    taken = set(names)
    return {
        path: path if counts[name] > 1 or (name != path and name in taken) else name
        for path, name in names.items()
    }


@dataclass(frozen=True, slots=True)
class Lender:
    """A file to borrow names from: what it is called, and its tensors by their paths in it."""

    path: str
    specs: Mapping[str, TensorSpec]


def borrowed(naming: Naming, shapes: Mapping[str, tuple[int, ...]], lender: Lender) -> Naming:
    """Return *naming* with the names that another file has at the same paths, of the same shape."""
    theirs = lender.specs
    shared = [path for path in naming.names if path in theirs]
    if not shared:
        raise UnsupportedCheckpoint(
            f"{lender.path} has no variable at any path of this file, so there is no name to "
            f"borrow; here: {', '.join(list(naming.names)[:3])}; "
            f"there: {', '.join(list(theirs)[:3])}"
        )
    unlike = [path for path in shared if theirs[path].shape != shapes[path]]
    if unlike:
        lines = [f"  {p!r} {shapes[p]} here, {theirs[p].shape} there" for p in unlike]
        raise UnsupportedCheckpoint("\n".join([f"{lender.path} has other shapes:", *lines]))
    names = unique({p: theirs[p].name if p in theirs else n for p, n in naming.names.items()})
    roles = naming.roles | {p: role for p in shared if (role := theirs[p].role)}
    taken = set(names.values())
    aliases = {path: name for path, name in names.items() if path not in taken}
    return Naming(names, roles, aliases)
