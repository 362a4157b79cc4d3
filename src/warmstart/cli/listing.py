"""`warmstart ls`: tensors without their values, so without NumPy."""

import sys
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import click

from ..binary.urls import looking_once, shown
from ..errors import noting, number_of
from ..formats import expanded, locate, open_as
from ..source import Source
from ..spec import TensorSpec, shape_text, size_text
from .choosing import matching
from .opening import opening_options
from .output import columns, json_option, print_json, print_lines, shortened

HEADER = ("NAME", "DTYPE", "SHAPE", "ROLE", "SIZE")

#: Characters that a name may have before it can be too long for its column.
WIDE = 80

#: The orders of --sort.
SORTS: Mapping[str, Callable[[TensorSpec], Any]] = {
    "name": lambda spec: spec.name,
    "size": lambda spec: (-spec.nbytes, spec.name),
    "shape": lambda spec: (len(spec.shape), spec.shape, spec.name),
    "dtype": lambda spec: (spec.dtype, spec.name),
}


@click.command("ls", epilog="Example: warmstart ls runs/model-300 'fc/*' --sort size")
@click.argument("path")
@click.argument("patterns", nargs=-1)
@click.option("--sort", type=click.Choice(list(SORTS)), default="name", show_default=True)
@click.option("--all", "run_state", is_flag=True, help="Include run state (_RUN/) and metadata.")
@click.option("--graph", is_flag=True, help="Show the graph that goes with it instead.")
@opening_options
@json_option
@looking_once()
def command(
    *,
    path: str,
    patterns: tuple[str, ...],
    sort: str,
    run_state: bool,
    graph: bool,
    as_json: bool,
    **reading: Any,
) -> None:
    """List the tensors of the checkpoint at PATH, or those that a PATTERN matches.

    A pattern is a glob on the whole name, with braces as they are shown ('block{0..11}/{q,k}'), or
    a regex after `re:`.  Sizes are in bytes in a pipe.

    Of a folder that holds several checkpoints, or the file `checkpoint`, the checkpoints are
    listed: step, age, size, and whether they are whole.  FOLDER/checkpoint stands for its latest.
    """
    if graph:
        show_graph_of(path, patterns, as_json, reading)
        return
    if not patterns and expanded(path).is_dir() and listed_as_folder(path, as_json, reading):
        return
    format, found = locate(path)
    with noting(f"while reading {shown(found)}"), open_as(format, found, **reading) as s:
        by_name = dict(s.specs.items())  # one pass: a lazy mapping finds single names slowly
        known = [*by_name, *s.aliases]
        names = matching(known, patterns, run_state=run_state, metadata=s.metadata)
        tensors = dict.fromkeys(s.aliases.get(name, name) for name in names)
        specs = sorted((by_name[name] for name in tensors), key=SORTS[sort])
        if as_json:
            print_json(as_dict(s, specs, found, format, run_state))
            return
        print_lines(listing(s, specs, patterns, run_state))
        hidden = 0 if run_state or patterns else len(s.specs) - len(specs)
    if hidden:
        are = "is" if hidden == 1 else "are"
        text = f"{number_of(hidden, 'tensor')} of run state {are} not shown; --all shows"
        click.echo(f"{text} {'it' if hidden == 1 else 'them'}", err=True)


def listed_as_folder(path: str, as_json: bool, reading: Mapping[str, Any]) -> bool:
    """Print the checkpoints in the folder *path*, unless it is itself one or has none."""
    from ..files.folder import survey
    from . import folder

    found = survey(path, **reading)
    if found.is_one or not (found.checkpoints or found.leftovers):
        return False
    if as_json:
        print_json(found.to_dict())
    else:
        print_lines(folder.listing(found))
    if found.warning:
        click.echo(f"{path} stands for none of them: {found.warning}", err=True)
    return True


def show_graph_of(
    path: str, patterns: tuple[str, ...], as_json: bool, reading: Mapping[str, Any]
) -> None:
    """Print the graph that goes with the checkpoint at *path*."""
    if patterns:
        raise click.UsageError("--graph shows the whole graph: it takes no pattern")
    from .graph import show_graph

    show_graph(path, as_json=as_json, **reading)


def listing(
    source: Source, specs: list[TensorSpec], patterns: tuple[str, ...], metadata: bool
) -> Iterator[str]:
    """Yield the lines of the listing: tensors with their other names, metadata, totals."""
    yield from table(specs, size_text if sys.stdout.isatty() else str, *more(source, specs))
    if metadata:
        text = shortened if sys.stdout.isatty() else str
        yield from (f"metadata {k}: {text(value)}" for k, value in sorted(source.metadata.items()))
    yield ""
    yield from totals_lines(specs)


def more(source: Source, specs: Iterable[TensorSpec]) -> tuple[str, Mapping[str, str]]:
    """Return the heading of a last column, and its texts by name.

    It tells how tensors are stored, where the format says more of that, or else their other names.
    """
    stored = source.stored
    texts = {spec.name: stored[spec.name] for spec in specs if spec.name in stored}
    return ("STORED AS", texts) if texts else ("ALSO CALLED", others(source, specs))


def others(source: Source, specs: Iterable[TensorSpec]) -> dict[str, str]:
    """Return the other names of each of *specs* that has any, as one text."""
    names: dict[str, list[str]] = {}
    for alias, name in sorted(source.aliases.items()):
        names.setdefault(name, []).append(alias)
    return {s.name: ", ".join(names[s.name]) for s in specs if s.name in names} if names else {}


def table(
    specs: list[TensorSpec],
    text: Callable[[int], str],
    heading_of_last: str,
    others: Mapping[str, str],
) -> Iterator[str]:
    """Yield a line of columns for each of *specs*, under a heading; *others* end some of them.

    What a line says beside the names is put in words once for all tensors that are alike.
    """
    end = ("",) if others else ()  # a last column is not padded
    alike = {spec[1:]: spec for spec in specs}
    rows = ((*described(spec, text), *end) for spec in alike.values())
    heading, *tails = columns([(*HEADER[1:], *end), *rows])
    tail_of = dict(zip(alike, tails, strict=True))
    width = width_of([HEADER[0], *(spec.name for spec in specs)])
    yield f"{HEADER[0]:{width}}  {heading}{heading_of_last if others else ''}"
    lines = [f"{spec[0]:{width}}  {tail_of[spec[1:]]}" for spec in specs]
    named = zip(lines, (others.get(spec.name, "") for spec in specs), strict=True)
    yield from [(line + other).rstrip(" ") for line, other in named] if others else lines


def width_of(names: Sequence[str]) -> int:
    """Return how wide a column of *names* is: a name far longer than most stands out of it.

    >>> width_of(["fc.weight", "fc.bias"]), width_of(["fc.weight", "fc.bias", "long" * 30])
    (9, 9)
    """
    lengths = sorted(map(len, names))
    most = max(WIDE, 2 * lengths[len(lengths) // 2])
    return max((length for length in lengths if length <= most), default=0)


def described(spec: TensorSpec, text: Callable[[int], str]) -> tuple[str, ...]:
    """Return what a line says of a tensor beside its name; only reading tells a string's length."""
    size = "-" if spec.dtype == "string" else text(spec.nbytes)
    return spec.dtype, shape_text(spec.shape), spec.role or "-", size


def totals_lines(specs: Iterable[TensorSpec]) -> Iterator[str]:
    """Yield what each role takes, if roles are recorded, and what all take."""
    totals = totals_of(specs)
    roles = totals.pop("roles")
    for role, part in (roles if len(roles) > 1 else {}).items():
        yield f"{role}: {total_text(part)}"
    yield total_text(totals)


def total_text(part: Mapping[str, int]) -> str:
    """Return a total in words."""
    return (
        f"{number_of(part['tensors'], 'tensor')}, {number_of(part['parameters'], 'parameter')}, "
        f"{size_text(part['nbytes'])}"
    )


def totals_of(specs: Iterable[TensorSpec]) -> dict[str, Any]:
    """Return how many tensors, elements and bytes there are, in all and by role."""
    roles: dict[str, dict[str, int]] = {}
    for (dtype, shape, role), count in Counter(spec[1:] for spec in specs).items():
        alike = TensorSpec("", dtype, shape)
        part = roles.setdefault(role or "no role", {"tensors": 0, "parameters": 0, "nbytes": 0})
        part["tensors"] += count
        part["parameters"] += count * alike.size
        part["nbytes"] += count * alike.nbytes
    keys = ("tensors", "parameters", "nbytes")
    return {**{key: sum(part[key] for part in roles.values()) for key in keys}, "roles": roles}


def as_dict(
    source: Source, specs: list[TensorSpec], path: Path, format: str, metadata: bool
) -> dict[str, Any]:
    """Return the listing as JSON holds it."""
    tensors = [
        {"name": s.name, "dtype": s.dtype, "shape": s.shape, "role": s.role, "nbytes": s.nbytes}
        for s in specs
    ]
    shown = {spec.name for spec in specs}
    return {
        "path": str(path),
        "format": format,
        "tensors": tensors,
        "aliases": {alias: name for alias, name in source.aliases.items() if name in shown},
        "stored": {name: text for name, text in source.stored.items() if name in shown},
        **({"metadata": dict(source.metadata)} if metadata else {}),
        "totals": totals_of(specs),
    }
