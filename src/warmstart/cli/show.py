"""`warmstart show`: values and statistics."""

import sys
from typing import TYPE_CHECKING, Any

import click

from ..errors import RuleError
from ..names import is_name, printable
from ..source import Index, Source
from ..spec import size_text
from .choosing import matching
from .opening import opening_options
from .output import json_option, print_json

if TYPE_CHECKING:
    import numpy as np

THRESHOLD = 1000  # values shown without --full; NumPy's own


@click.command("show", epilog="Example: warmstart show model.npz 'fc/*' --slice '0:2,:'")
@click.argument("path")
@click.argument("patterns", nargs=-1)
@click.option("--full", is_flag=True, help="Show every value.")
@click.option("--slice", "index", metavar="INDEX", help="Show a part, as '0:2,:' or '...,0'.")
@opening_options
@json_option
def command(
    path: str,
    patterns: tuple[str, ...],
    full: bool,
    index: str | None,
    as_json: bool,
    **reading: Any,
) -> None:
    """Show the values and statistics of the tensors that a PATTERN matches, of all without one.

    Statistics are of all values that are finite: of magnitudes for complex numbers, of lengths in
    bytes for strings.  With --slice they are of the slice.
    """
    wanted = None if index is None else parsed_index(index)
    from ..files.views import opened

    with opened(path, **reading) as source:
        names = shown(source, patterns)
        if as_json:
            print_json([as_dict(source, name, wanted, full) for name in names])
            return
        for name in names:
            click.echo(as_text(source, name, wanted, full))


def shown(source: Source, patterns: tuple[str, ...]) -> list[str]:
    """Return the names that *patterns* match; without a pattern each tensor is there once."""
    if len(patterns) == 1 and is_name(patterns[0]):
        (name,) = patterns
        if name in source.specs or name in source.aliases:  # found without a look at all others
            return [name]
    others = source.aliases if patterns else ()
    return matching([*source.specs, *others], patterns, metadata=source.metadata)


def parsed_index(text: str) -> Index:
    """Return what stands between brackets as an index.

    >>> parsed_index("0:2, :, ...,-1")
    (slice(0, 2, None), slice(None, None, None), Ellipsis, -1)
    """
    try:
        return tuple(parsed_part(part.strip()) for part in text.split(","))
    except ValueError as error:
        raise click.BadParameter(
            f"{text!r} is no index; expected integers, slices and ... with commas between",
            param_hint="--slice",
        ) from error


def parsed_part(part: str) -> Any:
    """Return one dimension of an index."""
    if part == "...":
        return ...
    if ":" not in part:
        return int(part)
    ends = [int(end) if end.strip() else None for end in part.split(":")]
    if len(ends) > 3 or ends[2:] == [0]:
        raise ValueError("a slice has at most three parts, and no step of 0")
    return slice(*ends)


def values_of(source: Source, name: str, index: Index | None) -> "np.ndarray":
    """Return the values to show."""
    if index is None:
        return source.read(name)
    try:
        return source.read_slice(name, index)
    except IndexError as error:
        spec = source.specs[source.aliases.get(name, name)]
        raise RuleError(f"the slice does not fit {name}, {spec}: {error}") from error


def as_text(source: Source, name: str, index: Index | None, full: bool) -> str:
    """Return a tensor's description, statistics and values as lines."""
    import numpy as np

    from ..files.statistics import statistics

    array = values_of(source, name, index)
    spec = source.specs[source.aliases.get(name, name)]
    role = f"  {spec.role}" if spec.role else ""
    size = size_text(spec.nbytes) if spec.dtype != "string" else f"{spec.size} strings"
    values = np.array2string(
        array, threshold=sys.maxsize if full else THRESHOLD, separator=", ", max_line_width=100
    )
    title = printable(f"{name}  {spec}{role}  {size}")
    return f"{title}\n{statistics(array)}\n{values}\n"


def as_dict(source: Source, name: str, index: Index | None, full: bool) -> dict[str, Any]:
    """Return the same as JSON holds it; values beyond the threshold only with *full*."""
    from ..files.statistics import statistics

    array = values_of(source, name, index)
    spec = source.specs[source.aliases.get(name, name)]
    return {
        "name": name,
        "dtype": spec.dtype,
        "shape": spec.shape,
        "role": spec.role,
        "statistics": statistics(array).to_dict(),
        "values": listed(array) if full or array.size <= THRESHOLD else None,
    }


def listed(array: "np.ndarray") -> Any:
    """Return values as nested lists of Python's own numbers."""
    import numpy as np

    if array.dtype.kind == "V":  # bfloat16 and its like
        array = array.astype(np.float32)
    return array.tolist()
