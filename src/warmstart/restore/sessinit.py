"""Starting a model from what was trained before: each of these is one way to say from what.

    report = SmartInit("runs/base").init(session)      alone
    Trainer(model).train(session_init="runs/base")     or by the trainer, which calls the same

Variables are matched by exact name.  Run state is never restored here; that is resuming.
"""

import os
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping
from contextlib import ExitStack
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from ..binary.garbage import collection_paused
from ..errors import RuleError, described
from ..formats import locate, open_source
from ..names import inside, without_output
from ..sessions import session_for
from ..sessions.base import Session
from ..source import DictSource, Source, Variables, as_array
from .explain import nothing_error
from .grammar import parse
from .layouts import carried
from .layouts.rules import Layout, said_layout
from .matching import make_plan
from .plan import Part, Plan
from .recipe import (
    Recipe,
    first_name,
    spec_from,
    specs_by_every_name,
    taken,
    with_inputs,
    without_aliases,
)
from .remap import refuse_unfit
from .report import Report
from .rule_kinds import Prefix, Rule, Table
from .rules import Ruled, Seen, fellows_of, near_text, refuse_faults, refuse_idle, trace
from .run import carry_out
from .slots import slots_in

if TYPE_CHECKING:
    import numpy as np


class SessionInit(ABC):
    """Where a model's first values come from."""

    @abstractmethod
    def parts(self, session: Session, stack: ExitStack) -> list[Part]:
        """Return the sources, the last of which wins, opened on *stack*."""

    def plan(self, session_or_model: Any) -> Plan:
        """Return what `init` would do; nothing is changed, and misfits are listed, not raised."""
        session = session_for(session_or_model)
        with ExitStack() as stack, collection_paused():
            return make_plan(self.prepared(session, stack), session)

    def init(self, session_or_model: Any) -> Report:
        """Give the model its values and say what became of every name.

        Raise RuleError, NameConflict or RestoreMismatch, each naming all there are, RestoreError if
        nothing at all would be loaded, or the fault of a file, before anything is assigned.
        """
        session = session_for(session_or_model)
        with ExitStack() as stack:
            with collection_paused():  # a plan is many small objects, and all are kept
                parts = self.prepared(session, stack)
                plan = make_plan(parts, session)
            if (error := nothing_error(plan)) is not None:
                raise error
            return carry_out(plan, parts, session)

    def prepared(self, session: Session, stack: ExitStack) -> list[Part]:
        """Return `parts` as *session* needs them: layers of other frameworks in its own layout.

        Raise RuleError naming every tensor that does not reach as far as its old vocabulary.
        """
        parts = carried(self.parts(session, stack), session)
        for part in parts:
            refuse_unfit(part.origin.values(), part.source)
        return parts


class ChainInit(SessionInit):
    """Several, planned as a whole: where more than one has a variable, the later one wins.

    *rules* come after the rules of each member and must match in one of them at least.
    """

    def __init__(
        self,
        session_inits: Iterable[Any],
        *,
        ignore_mismatch: bool = False,
        rules: Any = (),
        layout: str | None = None,
    ) -> None:
        self.members = tuple(SmartInit(member) for member in session_inits)
        self._ignore_mismatch = ignore_mismatch
        self._layout = said_layout(layout)
        self._rules = parse(rules)

    def parts(self, session: Session, stack: ExitStack) -> list[Part]:
        parts = [
            replace(part, layout=part.layout or self._layout)
            for member in self.members
            for part in member.parts(session, stack)
        ]
        return under_rules(parts, self._rules, self._ignore_mismatch)


class SourceRestore(SessionInit):
    """From an open source, which stays open."""

    def __init__(
        self,
        source: Source,
        *,
        label: str = "",
        ignore_mismatch: bool = False,
        rules: Any = (),
        layout: str | None = None,
    ) -> None:
        self._source = source
        self._label = label or f"a {type(source).__name__}"
        self._layout = said_layout(layout)
        self._ignore_mismatch = ignore_mismatch
        self._rules = parse(rules)

    def parts(self, session: Session, stack: ExitStack) -> list[Part]:
        part = Part(self._source, every_name(self._source), self._label, layout=self._layout)
        return under_rules([part], self._rules, self._ignore_mismatch)


class DictRestore(SessionInit):
    """From a dictionary of arrays, which is not changed: load, edit, restore."""

    def __init__(
        self,
        variable_dict: Mapping[str, Any],
        *,
        ignore_mismatch: bool = False,
        rules: Any = (),
        layout: str | None = None,
    ) -> None:
        self._source = DictSource(as_arrays(variable_dict))
        self._layout = said_layout(layout)
        self._ignore_mismatch = ignore_mismatch
        self._rules = parse(rules)

    def parts(self, session: Session, stack: ExitStack) -> list[Part]:
        part = Part(self._source, every_name(self._source), "the dict", layout=self._layout)
        return under_rules([part], self._rules, self._ignore_mismatch)


class SaverRestore(SessionInit):
    """From a checkpoint of any format, found now and opened when it is needed.

    With *prefix* the model's names are `prefix/` (or `prefix.`) and the checkpoint's; *rules* see
    them with the prefix.  *ignore* names tensors of the checkpoint, with or without `:0`, that are
    not to be loaded; one that the checkpoint does not have is an error.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        prefix: str | None = None,
        ignore: Iterable[str] = (),
        *,
        ignore_mismatch: bool = False,
        rules: Any = (),
        layout: str | None = None,
    ) -> None:
        if not isinstance(path, str | os.PathLike):
            raise TypeError(
                f"SaverRestore takes the path of a checkpoint, not a {type(path).__name__}; "
                "SmartInit takes dicts, lists and open checkpoints as well"
            )
        if not isinstance(prefix, str | None):
            raise TypeError(f"prefix is {prefix!r}; expected a string, such as 'tower0', or None")
        self.prefix = prefix
        self.ignore = ignored_names(ignore)
        self.path = locate(os.fspath(path))[1]
        self._layout = said_layout(layout)
        self._ignore_mismatch = ignore_mismatch
        self._rules = parse(rules)

    def parts(self, session: Session, stack: ExitStack) -> list[Part]:
        source = stack.enter_context(open_source(self.path))
        label = str(self.path)
        own: tuple[Rule, ...] = ()
        if self.ignore:
            refuse_unknown(self.ignore, source, label)
            own += (Table({without_output(name): () for name in self.ignore}),)
        if self.prefix:
            own += (Prefix(self.prefix, separator_below(self.prefix, session)),)
        part = Part(source, every_name(source), label, layout=self._layout)
        return under_rules(under_rules([part], own), self._rules, self._ignore_mismatch)


def SmartInit(
    obj: Any, *, ignore_mismatch: bool = False, rules: Any = (), layout: str | None = None
) -> SessionInit:
    """Return the SessionInit that *obj* stands for.

    A path is restored from, whatever its format, a dict or an open source likewise; a list is a
    chain whose later members win; None restores nothing; a SessionInit is itself, and TensorFlow's
    WarmStartSettings are this library's.  *layout* says whose names and axis orders its layers
    have: "torch", "keras" or "flax"; mostly its names tell.
    """
    options: dict[str, Any] = {"ignore_mismatch": ignore_mismatch, "rules": rules, "layout": layout}
    if hasattr(obj, "ckpt_to_initialize_from") and not isinstance(obj, SessionInit):
        obj = as_warm_start(obj)  # an Estimator's is a tuple, so not a chain
    if isinstance(obj, SessionInit):
        options["rules"] = parse(rules)  # once: there may be files to read
        return ChainInit([obj], **options) if any(options.values()) else obj
    if obj is None:
        return ChainInit(())
    for kinds, init in ROUTES:
        if isinstance(obj, kinds):
            return init(obj, **options)
    raise TypeError(
        "a model can start from a path, a dict of arrays, an open checkpoint, the "
        "ws.session_for(MODEL) of another model, a SessionInit, "
        f"a list of these, or None, not from {described(obj)}"
    )


def as_warm_start(settings: Any) -> SessionInit:
    """Return the WarmStartSettings that *settings*, those of an Estimator, say."""
    from .warm_start import WarmStartSettings  # which is a SessionInit, made of what stands here

    return WarmStartSettings(
        settings.ckpt_to_initialize_from,
        settings.vars_to_warm_start,
        settings.var_name_to_vocab_info,
        settings.var_name_to_prev_var_name,
    )


#: What `SmartInit` takes -> what it makes of it.
ROUTES: tuple[tuple[Any, Callable[..., SessionInit]], ...] = (
    (str | os.PathLike, SaverRestore),
    (Source, SourceRestore),
    (Mapping, DictRestore),
    (list | tuple, ChainInit),
)


def get_model_loader(filename: str | os.PathLike[str]) -> SessionInit:
    """Return the SessionInit for a file, whatever its format; see `SmartInit`."""
    return SaverRestore(filename)


def ignored_names(ignore: Any) -> tuple[str, ...]:
    """Return one name or several, as `ignore` takes them, as a tuple."""
    if isinstance(ignore, str):
        return (ignore,)
    names = tuple(ignore) if isinstance(ignore, Iterable) else (ignore,)
    wrong = [repr(name) for name in names if not isinstance(name, str)]
    if wrong:
        raise TypeError(f"ignore takes the names of tensors, a list of strings; not {wrong[0]}")
    return names


def every_name(source: Source) -> dict[str, Recipe]:
    """Return all names of *source* as those asked for, other names of tied tensors included."""
    return taken((*source.specs, *source.aliases))


def under_rules(
    parts: Iterable[Part], rules: tuple[Rule, ...], ignore_mismatch: bool = False
) -> list[Part]:
    """Return *parts* with *rules* applied to the names they are asked for.

    Raise RuleError naming every rule that matches in none of them, or cannot be done to a tensor.
    """
    said = next((rule.convention for rule in rules if isinstance(rule, Layout)), None)
    parts = [
        replace(
            part,
            ignore_mismatch=part.ignore_mismatch or ignore_mismatch,
            layout=part.layout or said,
        )
        for part in parts
    ]
    if not (rules and parts):
        return parts
    seen = [seen_of(part) for part in parts]
    done = [trace(rules, of_part) for of_part in seen]
    refuse_idle([line for line in done[0].idle if all(line in other.idle for other in done)])
    refuse_faults([line for of_part in done for line in of_part.faults])
    return [*map(ruled_part, parts, seen, [of_part.ruled for of_part in done])]


def seen_of(part: Part) -> Seen:
    """Return what rules see of *part*: what is asked for of it so far."""
    aliases, known = part.source.aliases, specs_by_every_name(part.source)
    slots, shared = slots_in(known, part.source.specs), fellows_of(part.source)
    origin = part.origin
    if not aliases and is_whole(part):
        return Seen(known, slots=slots, recipes=origin)
    own = {name: without_aliases(recipe, aliases) for name, recipe in origin.items()}
    return Seen(
        specs={name: spec_from(recipe, known) for name, recipe in own.items()},
        ties=one_name_each(own),
        slots={name for name, recipe in own.items() if first_name(recipe) in slots},
        fellows={name for name, recipe in origin.items() if first_name(recipe) in shared},
    )


def is_whole(part: Part) -> bool:
    """Return whether *part* is asked for all tensors of its source, each by its own name."""
    origin = part.origin
    same = len(origin) == len(part.source.specs)
    return same and list(origin.values()) == list(zip(origin, strict=True))  # of `Taken`, tuples


def ruled_part(part: Part, seen: Seen, ruled: Ruled) -> Part:
    """Return *part* asked for what rules, which saw it as *seen*, have made of its names."""
    before = part.origin
    same = seen.recipes is not None  # their recipes are of tensors already
    made = ruled.origin
    left = {first_name(before[name]): why for name, why in ruled.left.items()}
    return replace(
        part,
        origin=made if same else {n: with_inputs(r, before) for n, r in made.items()},
        withheld=part.withheld | ruled.withheld,
        fits=part.fits + ruled.fits,
        left={**part.left, **left},
    )


def one_name_each(origin: Mapping[str, Recipe]) -> dict[str, str]:
    """Return for each name in *origin* the first one that is made alike."""
    first: dict[Recipe, str] = {}
    return {name: first.setdefault(recipe, name) for name, recipe in origin.items()}


def refuse_unknown(ignore: Iterable[str], source: Source, label: str) -> None:
    """Raise naming everything in *ignore* that *source* does not have."""
    bare = {without_output(name) for name in every_name(source)}
    unknown = [name for name in ignore if without_output(name) not in bare]
    if unknown:
        rows = [f"  {name}{near_text(without_output(name), bare)}" for name in unknown]
        raise RuleError("\n".join([f"ignored names that {label} does not have:", *rows]))


def separator_below(prefix: str, session: Session) -> str:
    """Return what separates *prefix* from the names of *session* below it."""
    for separator in "/.":
        scope = prefix.removesuffix(separator)
        if any(inside(name, scope, separator) for name in session.specs):
            return separator
    raise RuleError(
        f"no variable of the model stands under the prefix {prefix!r}"
        f"{near_text(prefix, session.specs)}"
    )


def as_arrays(variables: Any) -> "dict[str, np.ndarray]":
    """Return a dict of what can be an array each; text and bytes become arrays of bytes."""
    import numpy as np

    if not isinstance(variables, Mapping):
        raise TypeError(
            f"DictRestore takes a dict of arrays by name, not a {type(variables).__name__}"
        )
    wrong = [repr(name) for name in variables if not isinstance(name, str)]
    if wrong:
        raise TypeError(f"names of variables are strings; found {', '.join(wrong)}")
    arrays = {name: as_array(name, value) for name, value in variables.items()}
    refuse_objects(arrays)
    held = {
        name: np.char.encode(array, "utf-8").astype(object) if array.dtype.kind == "U" else array
        for name, array in arrays.items()
    }
    if not isinstance(variables, Variables):
        return held
    return Variables(held, variables.aliases, variables.derived)


def refuse_objects(arrays: "Mapping[str, np.ndarray]") -> None:
    """Raise naming every array that holds times, or Python objects other than bytes."""
    wrong = [
        f"{name!r}: {type(item).__name__}"
        for name, array in arrays.items()
        if array.dtype.kind in "OmM"
        for item in array.ravel()[:1]
        if not isinstance(item, bytes)
    ]
    if wrong:
        raise TypeError(f"DictRestore takes arrays of numbers or bytes; found {', '.join(wrong)}")
