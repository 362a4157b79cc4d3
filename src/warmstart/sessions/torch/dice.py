"""Random numbers that depend on a few integers alone: on the seed, the pass and the batch.

    dice = Dice((seed, 3, 17))
    with dice: ...            # the generators of Python, NumPy and PyTorch begin as those say
    with dice: ...            # and go on from where the first block left them

After a block they are as they were before it.
"""

import random
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from types import BuiltinFunctionType, CodeType, FunctionType, ModuleType
from typing import Any

import numpy as np
import torch

#: The generators that code uses that was given none.
GLOBAL: tuple[Any, ...] = (
    random.random.__self__,  # type: ignore[attr-defined]
    np.random.random_sample.__self__,  # type: ignore[attr-defined]
    torch.default_generator,
)
KINDS = (random.Random, np.random.Generator, np.random.RandomState, torch.Generator)

#: Nothing in these is looked into for generators.
OPAQUE = (str, bytes, int, float, type, ModuleType, BuiltinFunctionType, np.ndarray, torch.Tensor)
SMALL = 64  # elements; in a longer container there are examples, not what makes them
ENOUGH = 10_000  # objects looked at


class Dice:
    """The global generators, and *more* of them, each with a state of its own within a block."""

    def __init__(self, numbers: Iterable[int], more: Sequence[Any] = ()) -> None:
        self._numbers = tuple(numbers)
        self._generators = (*GLOBAL, *more)
        self._inside: list[Any] | None = None
        self._outside: list[Any] = []

    def __enter__(self) -> None:
        self._outside = states_of(self._generators)
        if self._inside is None:
            seed_all(self._generators, self._numbers)
        else:
            set_states(self._generators, self._inside)

    def __exit__(self, *error: object) -> None:
        self._inside = states_of(self._generators)
        set_states(self._generators, self._outside)


@contextmanager
def drawing(numbers: Sequence[int], more: Sequence[Any]) -> Iterator[None]:
    """Do as `Dice` does for one block, a third faster."""
    generators = (*GLOBAL, *more)
    outside = states_of(generators)
    seed_all(generators, numbers)
    try:
        yield
    finally:
        set_states(generators, outside)


def states_of(generators: Iterable[Any]) -> list[Any]:
    """Return the states of *generators*."""
    return [state_of(each) for each in generators]


def set_states(generators: Iterable[Any], states: Iterable[Any]) -> None:
    """Take back what `states_of` returned."""
    for generator, state in zip(generators, states, strict=True):
        set_state(generator, state)


def seed_all(generators: Sequence[Any], numbers: Sequence[int]) -> None:
    """Let each of *generators* begin as *numbers* say, no two of them alike."""
    chosen = words(numbers, 4 * len(generators))
    for index, generator in enumerate(generators):
        seed(generator, chosen[4 * index : 4 * index + 4])


def words(numbers: Sequence[int], count: int = 4) -> np.ndarray:
    """Return words of 32 bits that *numbers*, each of 64 bits at most, are mixed into."""
    mixed = np.random.SeedSequence([number & (1 << 64) - 1 for number in numbers])
    return mixed.generate_state(count)


def seed(generator: Any, chosen: np.ndarray) -> None:
    """Let *generator* begin as 4 *chosen* words say."""
    match generator:
        case random.Random():
            generator.seed(chosen.tobytes())
        case np.random.RandomState():
            generator.seed(chosen)
        case np.random.Generator():
            bits = generator.bit_generator
            bits.state = type(bits)(np.random.SeedSequence(chosen.tolist())).state
        case torch.Generator():
            generator.manual_seed(int(chosen[0]) << 32 | int(chosen[1]))


def state_of(generator: Any) -> Any:
    """Return the state of a generator of any kind."""
    match generator:
        case random.Random():
            return generator.getstate()
        case np.random.RandomState():
            return generator.get_state(legacy=False)
        case np.random.Generator():
            return generator.bit_generator.state
    return generator.get_state()


def set_state(generator: Any, state: Any) -> None:
    """Take back what `state_of` returned."""
    match generator:
        case random.Random():
            generator.setstate(state)
        case np.random.Generator():
            generator.bit_generator.state = state
        case _:
            generator.set_state(state)


def generators_in(root: Any) -> list[Any]:
    """Return the generators that *root* has, as attributes of what it is made of, in an order.

    Those in variables of a module are found where a function names them; what is in long containers
    is not.
    """
    found: list[Any] = []
    seen: set[int] = set()
    waiting = [root]
    while waiting and len(seen) < ENOUGH:
        value = waiting.pop()
        if id(value) in seen or isinstance(value, OPAQUE):
            continue
        seen.add(id(value))
        if not isinstance(value, KINDS):
            waiting += inside(value)
        elif not any(value is each for each in GLOBAL) and not isinstance(
            value, random.SystemRandom
        ):
            found.append(value)
    return found


def inside(value: Any) -> Iterator[Any]:
    """Yield what *value* is made of."""
    if isinstance(value, Mapping):
        if len(value) <= SMALL:
            yield from value.values()
    elif isinstance(value, list | tuple | set | frozenset):
        if len(value) <= SMALL:
            yield from value
    elif isinstance(value, partial):
        yield from (value.func, value.args, value.keywords)
    for cell in getattr(value, "__closure__", None) or ():
        yield from contents(cell)
    if isinstance(code := getattr(value, "__code__", None), CodeType):
        known = getattr(value, "__globals__", {})
        yield from drawn_from(map(known.get, names_in(code)))
    for kind in type(value).__mro__[:-1]:
        yield from drawn_from(vars(kind).values())
        slots = vars(kind).get("__slots__", ())
        yield from (getattr(value, n, None) for n in ([slots] if isinstance(slots, str) else slots))
    yield from getattr(value, "__dict__", {}).values()
    if hasattr(value, "__self__"):
        yield value.__self__


def drawn_from(values: Iterable[Any]) -> Iterator[Any]:
    """Yield those of *values* that are generators, or functions that may name some."""
    return (each for each in values if isinstance(each, (*KINDS, FunctionType)))


def names_in(code: CodeType) -> Iterator[str]:
    """Yield the names of modules' variables in *code*, and in the functions that it makes."""
    yield from code.co_names
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from names_in(constant)


def contents(cell: Any) -> Iterator[Any]:
    """Yield what a function's cell holds, if it does yet."""
    try:
        yield cell.cell_contents
    except ValueError:
        return
