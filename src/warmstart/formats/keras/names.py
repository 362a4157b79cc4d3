"""What the datasets of a file are called, and that no two are called alike."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field


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
