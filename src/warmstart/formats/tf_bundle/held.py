"""What a bundle can hold: the key of every name, and what keeps a source from being written."""

from collections.abc import Collection, Iterator, Mapping
from typing import TYPE_CHECKING

from ...names import without_output
from ...source import Source
from ...spec import MAX_RANK, TensorSpec
from ..arrays import encodable, note_faults, refuse_unheld
from ..notes import Notes
from .index import NOTE
from .protos import NUMBERS

if TYPE_CHECKING:
    import numpy as np

#: What tensors of one kind have in common: dtype and shape.
SpecKind = tuple[str, tuple[int, ...]]

ADVICE = "Rename or leave out these tensors, or save to .npz."


def keys_of(names: Collection[str]) -> dict[str, str]:
    """Return the key of each name: without a final `:0`, unless the shorter name is taken.

    >>> keys_of(["w:0", "b", "b:0"])
    {'w:0': 'w', 'b': 'b', 'b:0': 'b:0'}
    """
    keys = dict(zip(names, names, strict=True))
    taken = {"", *names}
    for name in names:
        if name.endswith(":0") and without_output(name) not in taken:
            keys[name] = without_output(name)
    return keys


def check(source: Source, keys: Mapping[str, str], kinds: Collection[SpecKind]) -> None:
    """Refuse *source* when a bundle cannot hold all of it, naming every tensor concerned."""
    specs, faults = source.specs, note_faults(source)
    if any_odd(keys.values()):
        faults |= {name: fault for name, key in keys.items() if (fault := name_fault(key))}
    if any(dtype not in NUMBERS or len(shape) > MAX_RANK for dtype, shape in kinds):
        faults |= dict(kind_faults(specs))
    if any(dtype == "string" for dtype, _ in kinds):
        faults |= dict(string_faults(source, specs))
    refuse_unheld("a TensorFlow bundle", faults, ADVICE)


def any_odd(keys: Collection[str]) -> bool:
    """Return whether one of *keys* might have a fault, without looking at each."""
    text = "".join(keys)
    return "\0" in text or not encodable(text) or not {"", NOTE}.isdisjoint(keys)


def name_fault(key: str) -> str | None:
    """Return what keeps *key* from being a key of a bundle."""
    if not key:
        return "an empty name is that of the header"
    if key[0] == "\0":
        return "begins with a zero byte, as only pieces of tensors do"
    if key == NOTE:
        return "is the name of this library's own note"
    return None if encodable(key) else "is not Unicode text"


def kind_faults(specs: Mapping[str, TensorSpec]) -> Iterator[tuple[str, str]]:
    """Yield the name of each tensor that TensorFlow has no dtype or no rank for, and which."""
    for name, spec in specs.items():
        if spec.dtype not in NUMBERS:
            yield name, f"{spec}: TensorFlow has no such dtype"
        elif len(spec.shape) > MAX_RANK:
            yield name, f"{len(spec.shape)} dimensions, where {MAX_RANK} can be"


def string_faults(source: Source, specs: Mapping[str, TensorSpec]) -> Iterator[tuple[str, str]]:
    """Yield the name of each string tensor that holds something else, and what."""
    for name, spec in specs.items():
        array = source.read(name) if spec.dtype == "string" else None
        if array is not None and array.dtype.kind == "O":
            odd = {type(item).__name__ for item in array.flat if not isinstance(item, bytes | str)}
            if odd:
                yield name, f"holds {', '.join(sorted(odd))} where bytes or text should be"


def strings_in(array: "np.ndarray") -> list[bytes]:
    """Return the items of an *array* of strings as they are stored: text as UTF-8."""
    return [item if isinstance(item, bytes) else str(item).encode() for item in array.flat]


def under_keys(note: Notes, keys: Mapping[str, str]) -> Notes:
    """Return *note* with the names that the tensors have in the file."""
    return Notes(
        {keys[name]: role for name, role in note.roles.items()},
        {keys[alias]: keys[kept] for alias, kept in note.aliases.items()},
        note.metadata,
        derived={keys[alias] for alias in note.derived},
    )
