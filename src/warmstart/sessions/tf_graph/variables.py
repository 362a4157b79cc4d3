"""The variables of a graph as a checkpoint knows them.

The name is that of the variable's operation, without `:0`.  The parts of a partitioned variable
are one variable under their full name, as `tf.compat.v1.train.Saver` has it: merged when read, cut
when assigned.
"""

import math
from dataclasses import dataclass
from typing import Any

from ...errors import NameConflict, UnsupportedCheckpoint
from ...spec import ITEMSIZES


@dataclass(frozen=True, slots=True)
class Part:
    """One tf.Variable, and where in the whole it stands (`...` for one that is the whole)."""

    variable: Any
    index: Any

    @property
    def op_name(self) -> str:
        """The name of the variable's operation."""
        return str(self.variable.op.name)


@dataclass(frozen=True, slots=True)
class Variable:
    """A variable by its full name; `shape` is None where only its value can tell."""

    name: str
    dtype: str
    shape: tuple[int, ...] | None
    parts: tuple[Part, ...]

    @property
    def nbytes(self) -> int:
        """Bytes of the value, 0 where unknown."""
        return math.prod(self.shape or ()) * ITEMSIZES[self.dtype]

    @property
    def op_names(self) -> tuple[str, ...]:
        """The operations of its parts by name."""
        return tuple(part.op_name for part in self.parts)


def variables_of(tf_variables: list[Any]) -> dict[str, Variable]:
    """Return *tf_variables* by full name, in the order they were made; each counts once.

    Raise UnsupportedCheckpoint for dtypes no checkpoint has, NameConflict for two of one name.
    """
    members: dict[str, dict[str, Part]] = {}
    for variable in tf_variables:
        name, index = place(variable)
        members.setdefault(name, {}).setdefault(variable.op.name, Part(variable, index))
    found = {name: merged(name, tuple(parts.values())) for name, parts in members.items()}
    refuse_dtypes([v for v in found.values() if v.dtype not in ITEMSIZES])
    return found


def place(variable: Any) -> tuple[str, Any]:
    """Return the full name of *variable* and its index in the whole."""
    info = variable._get_save_slice_info()
    if info is None:
        return str(variable.op.name), ...
    ends = [begin + n for begin, n in zip(info.var_offset, info.var_shape, strict=True)]
    index = tuple(slice(b, e) for b, e in zip(info.var_offset, ends, strict=True))
    return str(info.full_name), index


def merged(name: str, parts: tuple[Part, ...]) -> Variable:
    """Return the variable that *parts* make up."""
    first = parts[0].variable
    if len(parts) > 1 and any(part.index is ... for part in parts):
        raise NameConflict(
            f"the variables {', '.join(part.op_name for part in parts)} all go by the full name "
            f"{name!r}; rename one of them"
        )
    dtype = str(first.dtype.base_dtype.name)
    if parts[0].index is not ...:
        shape = first._get_save_slice_info().full_shape
        return Variable(name, dtype, tuple(map(int, shape)), parts)
    static = first.shape
    known = tuple(static.as_list()) if static.is_fully_defined() else None
    return Variable(name, dtype, known, parts)


def refuse_dtypes(variables: list[Variable]) -> None:
    """Raise for variables whose dtype no checkpoint can hold."""
    if variables:
        listed = ", ".join(f"{v.name!r} ({v.dtype})" for v in variables)
        raise UnsupportedCheckpoint(f"no checkpoint holds the dtype of: {listed}")
