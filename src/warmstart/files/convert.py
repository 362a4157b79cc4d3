"""One checkpoint written as another: another format, other names, fewer tensors."""

from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass, replace
from os.path import realpath
from pathlib import Path
from typing import Any, Unpack

from ..binary.urls import looking_once
from ..errors import RuleError, SaveError, number_of
from ..formats import expanded, locate, save_source
from ..restore.recipe import Recipe, tensors_in
from ..restore.slots import OBJECT_GRAPH
from ..source import Source, filtered
from ..spec import ROLES
from .destination import check_destination, format_like, found_as
from .fitting import fitted
from .inverse import applied, joined
from .options import Reading, divided, reader, writer
from .remade import Remade
from .views import Input, Progress, asked_for, counted, opened, read_ahead, selected, tied_view

#: Formats that can hold the graph of objects of a TensorFlow 2 checkpoint, for the way back.
HOLD_STRINGS = ("tf-bundle", "npz")


@dataclass(frozen=True, slots=True)
class Conversion:
    """What was written, and what of the source was not."""

    path: str
    format: str
    tensors: int
    nbytes: int
    left_out: tuple[str, ...]  # names in the source
    under_others: tuple[str, ...] = ()  # the same, of what is there under another of its names
    from_original: tuple[str, ...] = ()  # what rules that were taken back had dropped

    def with_original(self, source: Source | None) -> "Conversion":
        """Return the summary with the tensors of *source*, the original, if there is one."""
        if source is None:
            return self
        specs = dict(source.specs.items())
        return replace(
            self,
            tensors=self.tensors + len(specs),
            nbytes=self.nbytes + sum(spec.nbytes for spec in specs.values()),
            from_original=tuple(specs),
        )

    def to_dict(self) -> dict[str, Any]:
        """Return the summary as JSON holds it."""
        return asdict(self)

    def __str__(self) -> str:
        without = f", {len(self.left_out)} left out" if self.left_out else ""
        others = (
            f", {len(self.under_others)} by another of their names" if self.under_others else ""
        )
        before = f", {len(self.from_original)} from the original" if self.from_original else ""
        return (
            f"wrote {self.path} ({self.format}): {number_of(self.tensors, 'tensor')}"
            f"{without}{others}{before}"
        )


@looking_once()
def convert(
    src: Input,
    dst: str | Path,
    *,
    rules: Any = (),
    inverse: bool = False,
    original: Input | None = None,
    format: str | None = None,
    roles: str | Collection[str] | None = None,
    progress: Progress | None = None,
    **options: Unpack[Reading],
) -> Conversion:
    """Write the checkpoint *src* to *dst*, one tensor in memory at a time.

    All is kept by default: metadata, roles, tied names and run state included.  *roles*
    ("trainable", "model", "slot", "run") keeps tensors of these roles only, as *src* records them;
    *rules* rename, drop and change tensors.  A checkpoint at *dst* is replaced at once, or kept if
    anything fails; *src* itself is not replaced.  *options* are those of `open`; *like* is for
    reading *src* or writing *dst*, whichever can use it, or both.

    With *inverse* the rules are taken back.  How they are written says enough for some; the
    *original*, a checkpoint with the names and shapes from before, for nearly all, and what they
    dropped is taken from there.
    """
    name = destination(src, dst, format)
    if isinstance(original, str | Path):
        refuse_same(original, dst, name)
    reading, writing = divided(options, reader(src), writer(name))
    given: Any = {"inverse": inverse, "original": original, **options}
    with opened(src, **reading) as source, applied(rules, **given) as (wanted, dropped):
        chosen = without_object_graph(with_roles(source, roles), name)
        names = asked_for(chosen, wanted)
        view = tied_view(chosen, names)
        before = None if dropped is None else of_roles(dropped, roles)
        whole = joined(view, before)
        with read_ahead(src, source, view):
            save_source(counted(fitted(whole, source), progress), dst, format=name, **writing)
        done = summary(source, view, dst, name)
        return replace(done, under_others=outliving(chosen, names)).with_original(before)


def destination(src: Input, dst: str | Path, format: str | None = None) -> str:
    """Return the name of the format to write *dst* in, having looked that it may be written."""
    if not isinstance(src, str | Path):
        return check_destination(dst, format)
    name = check_destination(dst, format or format_like(Path(src), dst))
    refuse_same(src, dst, name)
    return name


def summary(source: Source, view: Remade, dst: str | Path, format: str) -> Conversion:
    """Return what became of *source*, of which *view* was written to *dst*."""
    nbytes = sum(spec.nbytes for spec in view.specs.values())
    kept = view.tensors
    left_out = tuple(name for name in source.specs if name not in kept)
    return Conversion(str(dst), format, len(view.specs), nbytes, left_out)


def outliving(source: Source, origin: Mapping[str, Recipe]) -> tuple[str, ...]:
    """Return the tensors of *source* that only another of their names led to, by *origin*.

    What a rule drops by one name alone is still there.
    """
    kept = tensors_in(origin.values())
    found = {source.aliases[old] for old in kept if old in source.aliases}
    return tuple(sorted(found - kept))


def refuse_same(src: str | Path, dst: str | Path, format: str) -> None:
    """Refuse to write to *dst* the checkpoint that *src* is, or the folder that holds it.

    However they are spelled: what a link leads to is compared.
    """
    name, path = locate(src)
    there = found_as(format, expanded(dst))
    if name != format or there is None:
        return
    here = Path(realpath(path))
    if Path(realpath(there)) in (here, *here.parents):
        raise SaveError(f"{dst} is the checkpoint to read from; save under another name")


def without_object_graph(source: Source, format: str) -> Source:
    """Return *source* as *format* can hold it: without the graph of a TensorFlow 2 checkpoint.

    It is a string that says where TensorFlow finds what in a bundle; names that it told stay.
    NumPy strips the NUL that some of them end in.
    """
    graph = source.specs.get(OBJECT_GRAPH)
    if graph is None or graph[1:3] != ("string", ()) or format == "tf-bundle":
        return source
    if format in HOLD_STRINGS and not source.read(OBJECT_GRAPH).item().endswith(b"\0"):
        return source
    return filtered(source, lambda spec: spec.name != OBJECT_GRAPH)


def with_roles(source: Source, roles: str | Collection[str] | None) -> Source:
    """Return the tensors of *source* that have one of *roles*; None keeps all.

    Raise RuleError where there is none.
    """
    view = of_roles(source, roles)
    if not view.specs and roles is not None:
        known = sorted({spec.role or "none recorded" for spec in source.specs.values()})
        wanted = " or ".join(sorted({roles} if isinstance(roles, str) else roles))
        raise RuleError(
            f"no tensor has the role {wanted}; roles there: {', '.join(known)}; dump leaves out "
            "what inference does not need, whatever is recorded"
        )
    return view


def of_roles(source: Source, roles: str | Collection[str] | None) -> Source:
    """Return those tensors of *source* that have one of *roles*; None keeps all."""
    if roles is None:
        return source
    wanted = {roles} if isinstance(roles, str) else set(roles)
    if unknown := sorted(wanted.difference(ROLES)):
        raise RuleError(f"no role is called {', '.join(unknown)}; the roles: {', '.join(ROLES)}")
    return selected(source, lambda spec: spec.role in wanted, run_state="run" in wanted)
