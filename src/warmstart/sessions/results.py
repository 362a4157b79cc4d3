"""What goes into inference and comes out of it, by name, in every engine that calls a model."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import chain
from typing import Any


def arguments(
    inputs: tuple[Any, ...], names: Sequence[str] | None
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Return *inputs* as positional and keyword arguments."""
    if names is None:
        return inputs, {}
    if len(inputs) != len(names):
        raise TypeError(f"the inputs are {', '.join(names)}; {len(inputs)} given")
    return (), dict(zip(names, inputs, strict=True))


def flattened(output: Any) -> Iterator[Any]:
    """Yield the leaves of nested mappings, lists and tuples, in order."""
    match output:
        case Mapping():
            output = output.values()
        case list() | tuple():
            pass
        case _:
            yield output
            return
    for each in output:
        yield from flattened(each)


def chosen(
    output: Any,
    names: Sequence[str] | None,
    leaves: Callable[[Any], Iterable[Any]] = flattened,
) -> Iterable[Any]:
    """Return the outputs called *names*, or all in order, taken apart by *leaves*."""
    if names is None:
        return leaves(output)
    by_name = output._asdict() if hasattr(output, "_asdict") else output
    if not isinstance(by_name, Mapping):
        raise ValueError(
            f"the outputs {', '.join(names)} were asked for by name, and the model returns a "
            f"{type(output).__name__}; expected a mapping or a named tuple"
        )
    absent = [name for name in names if name not in by_name]
    if absent:
        raise ValueError(
            f"the model returns no {', '.join(absent)}; it returns "
            f"{', '.join(by_name) or 'outputs without names'}"
        )
    return chain.from_iterable(leaves(by_name[name]) for name in names)
