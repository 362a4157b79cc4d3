"""TensorFlow's warm start: the variables asked for, each from a checkpoint, under an earlier name.

`WarmStartSettings` takes the arguments and gives the values of `tf.compat.v1.train.warm_start`
(tensorflow/python/training/warm_starting_util.py, 2.21), for every engine.
"""

import os
from collections.abc import Collection, Iterable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

from ..errors import NoSuchTensor, RuleError
from ..formats import locate, open_source
from ..names import without_output
from ..sessions.base import Session
from ..source import Source
from ..spec import TensorSpec
from .choice import (
    Choice,
    checked_choice,
    chosen_by,
    fellow_slots,
    followed,
    known_variables,
    other_names,
    own_name,
    owner_of,
)
from .plan import Part
from .recipe import Made, Recipe, Taken
from .remap import Remap
from .rules import near_text
from .sessinit import SessionInit, every_name
from .vocab import VocabInfo, as_vocab_infos, following, remap_of


@dataclass(frozen=True)
class WarmStartSettings(SessionInit):
    """Start the chosen variables from a checkpoint, and say no word about any other.

    *ckpt_to_initialize_from* is a checkpoint or a folder with one.  *vars_to_warm_start* chooses:

    - a string is a regex over the trainable variables, matched from the start of the name;
    - a list of strings is of such regexes over all variables, slots and step counters too; an item
      that is a name letter for letter needs no escaping;
    - a list of variables means these;
    - None means the trainable ones with a vocabulary.

    *var_name_to_vocab_info* says which variables follow a vocabulary: a VocabInfo for each, or a
    list with one for each axis.  A slot that is warm-started and stands under such a variable
    follows its rows, unless it has a VocabInfo of its own.

    *var_name_to_prev_var_name* says under which name the checkpoint has a variable.  With *slots*
    the optimizer's slots of every chosen variable are warm-started too, where the checkpoint has
    them.

    An item that chooses nothing, an entry of either mapping that nothing uses, and a variable that
    the checkpoint lacks are errors.  Slots and counters that are chosen beside a variable, by the
    same item, may be absent.
    """

    ckpt_to_initialize_from: str | os.PathLike[str]
    vars_to_warm_start: Any = ".*"
    var_name_to_vocab_info: Mapping[str, Any] | None = None
    var_name_to_prev_var_name: Mapping[str, str] | None = None
    slots: bool = False

    def __post_init__(self) -> None:
        if not isinstance(self.ckpt_to_initialize_from, str | os.PathLike):
            kind = type(self.ckpt_to_initialize_from).__name__
            raise TypeError(f"ckpt_to_initialize_from is a path, not a {kind}")
        self.vocabularies()
        checked_choice(self.vars_to_warm_start)

    def vocabularies(self) -> dict[str, tuple[VocabInfo, ...]]:
        """Return the vocabularies of each variable, by its name as it is written."""
        infos = self.var_name_to_vocab_info or {}
        return {name: as_vocab_infos(info) for name, info in infos.items()}

    def parts(self, session: Session, stack: ExitStack) -> list[Part]:
        path = locate(os.fspath(self.ckpt_to_initialize_from))[1]
        source = stack.enter_context(open_source(path))
        before = dict(self.var_name_to_prev_var_name or {})
        known = known_variables(session, source, before)
        infos = own_names(self.vocabularies(), session)
        choice = chosen_by(self.vars_to_warm_start, session, known, infos)
        if self.slots:
            choice = choice.with_optional(fellow_slots(choice.names, known))
        refuse_unused("var_name_to_vocab_info", self.vocabularies(), choice.names, session)
        refuse_unused("var_name_to_prev_var_name", before, choice.usable, session)
        earlier = earlier_names(choice, before, session, follow=self.slots)
        origin = found_in(source, choice, earlier, str(path))
        remaps = remaps_of(infos, origin, known, session)
        recipes = {
            new: Made(remaps[new], (old,)) if new in remaps else old for new, old in origin.items()
        }
        return [Part(source, recipes, str(path), explicit=True)]


def own_names(by_name: Mapping[str, Any], session: Session) -> dict[str, Any]:
    """Return *by_name* under the names of `session.specs`: without `:0`, no other names."""
    others = other_names(session)
    return {own_name(name, others): value for name, value in by_name.items()}


def refuse_unused(
    argument: str, entries: Iterable[str], used: Collection[str], session: Session
) -> None:
    """Raise RuleError naming every name in *entries* that is not among those *used*."""
    others, known = other_names(session), set(used)
    unused = [
        f"  {name}{near_text(without_output(name), used)}"
        for name in entries
        if own_name(name, others) not in known
    ]
    if unused:
        raise RuleError("\n".join([f"{argument} names what is not warm-started:", *unused]))


def earlier_names(
    choice: Choice, before: Mapping[str, str], session: Session, *, follow: bool
) -> dict[str, tuple[str, ...]]:
    """Return for each chosen variable the names the checkpoint may have it under, the best first.

    Any name of the variable will do.  A slot without an entry in *before* may stand under the
    earlier name of its variable, and with *follow* that goes before its own.
    """
    stated = own_names(before, session)
    others: dict[str, list[str]] = {}
    for other, name in other_names(session).items():
        others.setdefault(name, []).append(other)
    names: dict[str, tuple[str, ...]] = {}
    for name in choice.names:
        own, under_owner = (name, *others.get(name, ())), followed(name, stated)
        free = (*under_owner, *own) if follow else (*own, *under_owner)
        names[name] = (stated[name],) if name in stated else free
    return names


def found_in(
    source: Source, choice: Choice, earlier: Mapping[str, tuple[str, ...]], label: str
) -> dict[str, Recipe]:
    """Return what *source* has of the chosen variables, with or without `:0`.

    Raise NoSuchTensor naming every variable that *source* must have and does not.
    """
    there = {without_output(name): name for name in every_name(source)}
    found: dict[str, Recipe] = {}
    absent = []
    for new, olds in earlier.items():
        bare = [without_output(old) for old in olds]
        old = next((there[name] for name in bare if name in there), None)
        if old is not None:
            found[new] = Taken(old)
        elif new not in choice.optional:
            written = f"{olds[0]} (for {new})" if olds[0] != new else new
            absent.append(f"  {written}{near_text(bare[0], there)}")
    if absent:
        raise NoSuchTensor("\n".join([f"variables to warm-start that {label} lacks:", *absent]))
    return found


def remaps_of(
    infos: Mapping[str, tuple[VocabInfo, ...]],
    chosen: Iterable[str],
    known: Mapping[str, TensorSpec],
    session: Session,
) -> dict[str, Remap]:
    """Return how each of the *chosen* that has a vocabulary, or is a slot of one, is remapped.

    Raise RuleError saying all that is wrong with vocabularies.
    """
    remaps: dict[str, Remap] = {}
    faults = []
    for name, of_name in infos.items():
        try:
            remaps[name] = remap_of(of_name, known[name], session)
        except RuleError as error:
            faults.append(str(error))
    if faults:
        raise RuleError("\n".join(dict.fromkeys(faults)))
    for name in chosen:
        owner = owner_of(name, known)
        if owner in remaps and name not in remaps:
            follower = following(remaps[owner], known[owner], known[name], session)
            remaps |= {name: follower} if follower else {}
    return remaps
