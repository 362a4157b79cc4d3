"""Which variables `vars_to_warm_start` means, by the rules of `tf.compat.v1.train.warm_start`."""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from ..errors import RuleError
from ..names import compiled, inside, joined, parent, without_output
from ..sessions.base import Session
from ..source import Source
from ..spec import RUN_PREFIX, TensorSpec
from .rules import near_text

#: What a variable is not warm-started for: it goes with others.
BESIDE = ("slot", "run")


@dataclass(frozen=True, slots=True)
class Choice:
    """The variables to warm-start."""

    names: tuple[str, ...]  # in the order chosen
    optional: frozenset[str] = frozenset()  # those of them that the checkpoint may lack
    #: Those that may be named in a mapping; with None TensorFlow lets all trainable ones be.
    usable: Collection[str] = field(default=())

    def with_optional(self, names: Iterable[str]) -> "Choice":
        """Return the choice with *names* too, if the checkpoint has them."""
        new = [name for name in names if name not in self.names]
        return replace(
            self,
            names=(*self.names, *new),
            optional=self.optional | set(new),
            usable={*self.usable, *new},
        )


def checked_choice(choice: Any) -> None:
    """Raise TypeError unless *choice* is of a kind that `WarmStartSettings` takes."""
    if choice is None or isinstance(choice, str):
        return
    if isinstance(choice, list | tuple):
        strings = [isinstance(item, str) for item in choice]
        plain = any(isinstance(item, PLAIN) for item in choice)
        if all(strings) or not (plain or any(strings)):
            return
    raise TypeError(
        "vars_to_warm_start is a regex, a list of names or regexes, a list of variables, or None, "
        f"not {choice!r}"
    )


#: What is no variable of any engine.
PLAIN = (bytes, int, float, dict, list, tuple, set, frozenset, type(None))


def chosen_by(
    choice: Any, session: Session, known: Mapping[str, TensorSpec], with_vocab: Collection[str]
) -> Choice:
    """Return the variables among *known* that *choice* means, each once, in the order chosen.

    Raise RuleError naming every item that means none.
    """
    trainable = [name for name, spec in known.items() if spec.role == "trainable"]
    if choice is None or choice == "":  # TensorFlow takes an empty regex for None
        names = tuple(name for name in trainable if name in with_vocab)
        return Choice(names, usable=trainable)
    if isinstance(choice, str):
        reach = reached([choice], every_name_of(trainable, session))
    elif all(isinstance(item, str) for item in choice):
        reach = reached(choice, every_name_of(known, session))
    else:
        reach = named(choice, known, session)
    names = tuple(dict.fromkeys(name for found in reach.values() for name in found))
    return Choice(names, optional_of(reach, known, session), usable=names)


def every_name_of(names: Iterable[str], session: Session) -> dict[str, str]:
    """Return *names* by themselves and by their other names."""
    own = {name: name for name in names}
    return {o: n for o, n in other_names(session).items() if n in own} | own


def other_names(session: Session) -> dict[str, str]:
    """Return the name of every variable by its other ones: aliases, and the framework's own."""
    return {**session.synonyms, **session.aliases}


def own_name(name: str, others: Mapping[str, str]) -> str:
    """Return the name that *name* stands for: without `:0`, none of *others*."""
    bare = without_output(name)
    return others.get(bare, bare)


def reached(regexes: Iterable[str], names: Mapping[str, str]) -> dict[str, list[str]]:
    """Return what each of *regexes* means: what it matches from the start of the name, as
    `tf.compat.v1.get_collection` does with `w:0`, and the name that it is.
    """
    found: dict[str, list[str]] = {}
    for regex in regexes:
        exact = [names[bare] for bare in (without_output(regex),) if bare in names]
        found[regex] = [*exact, *begun_by(regex, names, bool(exact))]
    refuse_idle({regex: names for regex, of_it in found.items() if not of_it})
    return found


def begun_by(regex: str, names: Mapping[str, str], is_name: bool) -> list[str]:
    """Return the variables whose name, with `:0` or without, *regex* matches from the start."""
    try:
        match = compiled(regex).match
    except RuleError:
        if is_name:
            return []
        raise
    return [own for name, own in names.items() if match(f"{name}:0") or match(name)]


def named(
    variables: Iterable[Any], known: Mapping[str, TensorSpec], session: Session
) -> dict[str, list[str]]:
    """Return the name of each of *variables*, objects of the engine or anything with a `.name`."""
    variables = list(variables)
    found = {
        name or f"a {type(variable).__name__} {getattr(variable, 'shape', '')}".rstrip(): name
        for variable, name in zip(variables, session.names_of(variables), strict=True)
    }
    names = every_name_of(known, session)
    own = {text: names.get(without_output(name or "")) for text, name in found.items()}
    refuse_idle({text: names for text, name in own.items() if name is None})
    return {text: [name] for text, name in own.items() if name is not None}


def refuse_idle(items: Mapping[str, Collection[str]]) -> None:
    """Raise naming *items* that mean none of the names they are given with."""
    if items:
        rows = [
            f"  {item}{near_text(without_output(item), names)}" for item, names in items.items()
        ]
        raise RuleError("\n".join(["vars_to_warm_start means no variable of the model by:", *rows]))


def optional_of(
    reach: Mapping[str, list[str]], known: Mapping[str, TensorSpec], session: Session
) -> frozenset[str]:
    """Return the slots and counters that are reached only beside a variable, by the same item."""
    asked: set[str] = set()
    others = other_names(session)
    for item, found in reach.items():
        beside = {name for name in found if known[name].role in BESIDE}
        own = own_name(item, others)
        asked |= {own} & beside if len(beside) < len(found) else beside
    names = {name for found in reach.values() for name in found}
    return frozenset(name for name in names - asked if known[name].role in BESIDE)


def known_variables(
    session: Session, source: Source, before: Mapping[str, str]
) -> dict[str, TensorSpec]:
    """Return every variable of *session*, and the slots that it would create of *source*'s.

    *before* is name -> name in the source.  A slot shares the sides of its variable here that it
    shares there.
    """
    specs, others = dict(session.specs), other_names(session)
    there = {without_output(name): spec for name, spec in source.specs.items()}
    later: dict[str, list[str]] = {}
    for new, old in before.items():
        later.setdefault(without_output(old), []).append(without_output(new))
    offered = {}
    for name, spec in there.items():
        old = parent(name)
        for new in (old, *later.get(old, ())) if not name.startswith(RUN_PREFIX) else ():
            owner = others.get(new, new)
            if owner in specs:
                shape = resized(spec, there.get(old, spec), specs[owner])
                slot = joined(owner, inside(name, old) or "")
                offered[slot] = spec._replace(name=slot, shape=shape)
    return dict(session.creatable({n: s for n, s in offered.items() if n not in specs})) | specs


def resized(slot: TensorSpec, old: TensorSpec, new: TensorSpec) -> tuple[int, ...]:
    """Return the shape that *slot*, of a variable that was as *old* says, has for the *new* one."""
    if not len(slot.shape) == len(old.shape) == len(new.shape):
        return slot.shape
    sides = zip(slot.shape, old.shape, new.shape, strict=True)
    return tuple(after if side == before else side for side, before, after in sides)


def owner_of(name: str, known: Mapping[str, TensorSpec]) -> str | None:
    """Return the variable that the slot *name* belongs to; None if it is no slot of one."""
    owner = parent(name)
    return owner if known[name].role == "slot" and owner in known else None


def fellow_slots(names: Collection[str], known: Mapping[str, TensorSpec]) -> list[str]:
    """Return the slots of *names*."""
    chosen = set(names)
    return [name for name in known if owner_of(name, known) in chosen]


def followed(name: str, earlier: Mapping[str, str]) -> tuple[str, ...]:
    """Return the name of the slot *name* under the earlier name of its variable, if it has one.

    >>> followed("emb/Adam", {"emb": "words:0"}), followed("emb", {"emb": "words"})
    (('words/Adam',), ())
    """
    owner = parent(name)
    if owner not in earlier:
        return ()
    return (joined(without_output(earlier[owner]), inside(name, owner) or ""),)
