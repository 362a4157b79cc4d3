"""Checkpoints of other libraries: the pieces of a run that can be recognised in them."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

from ..errors import number_of
from ..names import leaf_of, parent
from ..source import Source
from ..spec import TensorSpec
from .findings import PIECES, Piece
from .signs import Sign, counter, signs_in
from .tree import is_tensor, tree_of
from .variables import (
    kind_of,
    kinds_of_slots,
    others_of,
    shortly,
    slots_of,
    variables,
    variables_of,
    without_slots,
)

ITERATOR_STATE = "ITERATOR_STATE"  # TensorFlow 2.21, data/ops/iterator_ops.py
VALUE = "/.ATTRIBUTES/VARIABLE_VALUE"

#: What is said of a piece that only some runs have.
UNLESS_NONE = "none saved, which is right if the run had none"
OPTIONAL = ("schedule", "gradient scaler", "callbacks")


def signs_of(source: Source, file: str = "") -> list[Sign]:
    """Return every piece of a run that is recognised in *source*, the values of counters read."""
    seen = [*signs_in(tree_of(source), file), *iterators_of(source)]
    known = {sign.value.name for sign in seen if is_tensor(sign.value)}
    seen += [sign for sign in counters_of(source) if sign.value.name not in known]
    return [counted(source, sign) for sign in seen]


def iterators_of(source: Source) -> Iterator[Sign]:
    """Yield the iterators of tf.data in a checkpoint of objects, whose states are no arrays."""
    for name in source.no_arrays:
        if leaf_of(name) == ITERATOR_STATE:
            yield Sign("data", name, "a tf.data iterator")


def counted(source: Source, sign: Sign) -> Sign:
    """Return *sign*, of a counter that is a tensor with its value."""
    if sign.what or not is_tensor(sign.value):
        return sign
    return replace(sign, what=str(source.read(sign.value.name).reshape(-1)[0]))


def counters_of(source: Source) -> Iterator[Sign]:
    """Yield the step counters of *source* that only another of their names tells.

    Objects of TensorFlow 2 that are kept at the top count too: "step/.ATTRIBUTES/VARIABLE_VALUE".
    """
    others = others_of(source.aliases)
    for name, spec in source.specs.items():
        path = name.removesuffix(VALUE)
        names = [path] if path != name and not parent(path) else []
        names += others.get(name, []) if spec.role == "run" else []
        if sign := first_counter(names, spec):
            yield sign


def first_counter(names: Iterable[str], spec: TensorSpec) -> Sign | None:
    """Return the sign that the tensor *spec* is a counter by one of *names*."""
    return next((sign for name in names if (sign := counter(name, spec))), None)


def pieces_of(
    specs: Mapping[str, TensorSpec],
    signs: Iterable[Sign],
    aliases: Mapping[str, str] = MappingProxyType({}),
) -> Iterator[Piece]:
    """Yield the findings on tensors *specs* and the *signs* beside them."""
    by_piece: dict[str, list[Sign]] = {}
    for sign in signs:
        by_piece.setdefault(sign.piece, []).append(sign)
    yield variables(without_state(specs, by_piece))
    yield optimizer_piece(specs, by_piece.get("optimizer", []), aliases)
    for name in list(PIECES)[2:-1]:
        found = by_piece.get(name)
        if found:
            yield Piece(name, True, told(found))
        elif name in OPTIONAL:
            yield Piece(name, None, UNLESS_NONE)
        else:
            yield Piece(name, False)


def without_state(
    specs: Mapping[str, TensorSpec], by_piece: Mapping[str, list[Sign]]
) -> dict[str, str]:
    """Return the variables of the model, with roles: tensors that belong to no other piece."""
    taken = {
        spec.name for spec in tensors_in([s.value for each in by_piece.values() for s in each])
    }
    return {name: role for name, role in variables_of(specs).items() if name not in taken}


def tensors_in(value: Any) -> Iterator[TensorSpec]:
    """Yield every tensor in *value*."""
    if is_tensor(value):
        yield value
    elif isinstance(value, Mapping):
        for item in value.values():
            yield from tensors_in(item)
    elif isinstance(value, list):
        for item in value:
            yield from tensors_in(item)


def told(signs: list[Sign]) -> str:
    """Return what *signs* of one piece say, and under which names."""
    lines = [s.what if s.name in ("", s.piece) else f"{s.what} ({s.name})" for s in signs]
    return ", ".join(dict.fromkeys(lines))


def optimizer_piece(
    specs: Mapping[str, TensorSpec], signs: list[Sign], aliases: Mapping[str, str]
) -> Piece:
    """Return the finding on optimizers: slots, and the state dicts they lie in."""
    slots = slots_of(specs)
    if not slots and not signs:
        return Piece("optimizer", False)
    kinds = kinds_of_slots(slots, others_of(aliases))
    kind = " and ".join(dict.fromkeys(s.what for s in signs if s.what)) or kind_of(kinds)
    if not slots:
        return Piece("optimizer", True, f"{kind or 'one'} that kept no slots")
    what = f"{kind or 'slots'}: {', '.join(kinds)}"
    if signs:
        return Piece("optimizer", True, what + of_parameters([sign.value for sign in signs]))
    lacking = without_slots(specs, slots)
    return Piece("optimizer", True, what + (f"; none for {shortly(lacking)}" if lacking else ""))


def of_parameters(optimizers: list[Mapping[str, Any]]) -> str:
    """Return of how many parameters there are slots in the state dicts of *optimizers*."""
    groups = [group for optimizer in optimizers for group in optimizer["param_groups"]]
    total = sum(len(group["params"]) for group in groups if isinstance(group["params"], list))
    number = sum(len(optimizer["state"]) for optimizer in optimizers)
    return f", of {number:,} of {number_of(total, 'parameter')}"


def signs_beside(found: Path) -> Iterator[Sign]:
    """Yield what lies in the folder of a checkpoint of Orbax beside its arrays.

    Grain's handler keeps a loader's state as `ITEM/process_0-of-1.json` (grain 0.2).
    """
    for folder in {found, found.parent} if found.is_dir() else ():
        for file in sorted(folder.glob("*/process_*-of-*.json"))[:1]:
            yield Sign("data", f"{file.parent.name}/{file.name}", "a Grain iterator")
