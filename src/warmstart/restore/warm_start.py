"""TensorFlow's warm start: the variables asked for, each from a checkpoint, under an earlier name.

`WarmStartSettings` takes the arguments and gives the values of `tf.compat.v1.train.warm_start`
(tensorflow/python/training/warm_starting_util.py, 2.21), for every engine.
"""

import os
from collections.abc import Collection, Iterable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import NoSuchTensor, RuleError
from ..formats import locate, open_source
from ..names import compiled, without_output
from ..sessions.base import Session
from ..source import Source
from .plan import Part
from .recipe import Recipe, Taken
from .rules import near_text
from .sessinit import SessionInit, every_name


@dataclass(frozen=True, slots=True)
class VocabInfo:
    """How the rows or columns of a variable follow a vocabulary, in TensorFlow's words."""

    new_vocab: str
    new_vocab_size: int
    num_oov_buckets: int
    old_vocab: str
    old_vocab_size: int = -1
    backup_initializer: Any = None
    axis: int = 0

    def __post_init__(self) -> None:
        if self.axis not in (0, 1):
            raise ValueError(f"axis is 0 or 1, not {self.axis!r}")


@dataclass(frozen=True)
class WarmStartSettings(SessionInit):
    """Start the chosen variables from a checkpoint, and say no word about any other.

    *ckpt_to_initialize_from* is a checkpoint or a folder with one.  *vars_to_warm_start* chooses:

    - a string is a regex over the trainable variables, matched from the start of the name;
    - a list of strings goes over all variables: an item that is the name of one means just that,
      any other is such a regex (which leaves step counters alone);
    - a list of variables (anything with a `.name`) means these;
    - None means those with a vocabulary, so none.

    *var_name_to_prev_var_name* says under which name the checkpoint has a variable.  A name chosen
    and absent from the checkpoint is an error, like an item or an entry that nothing uses.
    *var_name_to_vocab_info* is refused: remapping vocabularies is not supported yet.
    """

    ckpt_to_initialize_from: str | os.PathLike[str]
    vars_to_warm_start: Any = ".*"
    var_name_to_vocab_info: Mapping[str, VocabInfo] | None = None
    var_name_to_prev_var_name: Mapping[str, str] | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.ckpt_to_initialize_from, str | os.PathLike):
            kind = type(self.ckpt_to_initialize_from).__name__
            raise TypeError(f"ckpt_to_initialize_from is a path, not a {kind}")
        if self.var_name_to_vocab_info:
            raise ValueError(
                "var_name_to_vocab_info is not supported yet and nothing is done in its place; to "
                "carry rows over by vocabulary: ws.load_vars, reorder the rows, ws.DictRestore"
            )
        checked_choice(self.vars_to_warm_start)

    def parts(self, session: Session, stack: ExitStack) -> list[Part]:
        path = locate(Path(self.ckpt_to_initialize_from))[1]
        source = stack.enter_context(open_source(path))
        chosen = chosen_names(self.vars_to_warm_start, session)
        before = dict(self.var_name_to_prev_var_name or {})
        origin = origin_of(chosen, before, session)
        return [Part(source, found_in(source, origin, str(path)), str(path), explicit=True)]


def checked_choice(choice: Any) -> None:
    """Raise TypeError unless *choice* is of a kind that `WarmStartSettings` takes."""
    if choice is None or isinstance(choice, str):
        return
    if isinstance(choice, list | tuple):
        strings = [isinstance(item, str) for item in choice]
        named = all(isinstance(getattr(item, "name", None), str) for item in choice)
        if all(strings) or (named and not any(strings)):
            return
    raise TypeError(
        "vars_to_warm_start is a regex, a list of names or regexes, a list of variables, or None, "
        f"not {choice!r}"
    )


def chosen_names(choice: Any, session: Session) -> list[str]:
    """Return the variables of *session* that *choice* means, each once, in the order chosen.

    Raise RuleError naming every item that means none.
    """
    specs, aliases = session.specs, session.aliases
    known = {**{name: name for name in specs}, **aliases}
    if choice is None:
        return []
    if isinstance(choice, str):
        trainable = {n: own for n, own in known.items() if specs[own].role == "trainable"}
        return of_items([choice], {}, trainable)
    if all(isinstance(item, str) for item in choice):
        saved = {n: own for n, own in known.items() if specs[own].role != "run"}
        return of_items(choice, known, saved)
    return of_items([str(item.name) for item in choice], known, {})


def of_items(
    items: Iterable[str], by_name: Mapping[str, str], by_regex: Mapping[str, str]
) -> list[str]:
    """Return what *items* mean: a name in *by_name*, else a regex over *by_regex*."""
    chosen: dict[str, None] = {}
    idle = []
    for item in items:
        exact = by_name.get(without_output(item))
        found = [exact] if exact is not None else begun_by(item, by_regex)
        chosen |= dict.fromkeys(found)
        if not found:
            idle.append(f"  {item}{near_text(without_output(item), {**by_name, **by_regex})}")
    if idle:
        raise RuleError("\n".join(["vars_to_warm_start means no variable of the model by:", *idle]))
    return list(chosen)


def begun_by(regex: str, names: Mapping[str, str]) -> list[str]:
    """Return the variables whose name, with `:0` or without, *regex* matches from the start."""
    if not names:
        return []
    pattern = compiled(regex)
    return [own for name, own in names.items() if pattern.match(name) or pattern.match(f"{name}:0")]


def origin_of(
    chosen: Collection[str], before: Mapping[str, str], session: Session
) -> dict[str, str]:
    """Return for each of the *chosen* the name the checkpoint is said to have it under.

    Raise RuleError naming every entry of *before* that no chosen variable uses.
    """
    own = {without_output(name): name for name in before}
    origin = {name: name for name in chosen}
    unused = []
    for bare, written in own.items():
        target = session.aliases.get(bare, bare)
        if target in origin:
            origin[target] = before[written]
        else:
            unused.append(f"  {written}{near_text(bare, chosen)}")
    if unused:
        raise RuleError(
            "\n".join(["var_name_to_prev_var_name names what is not warm-started:", *unused])
        )
    return origin


def found_in(source: Source, origin: Mapping[str, str], label: str) -> dict[str, Recipe]:
    """Return *origin* as what *source* has under those names, with or without `:0`.

    Raise NoSuchTensor naming every variable that *source* does not have.
    """
    there = {without_output(name): name for name in every_name(source)}
    absent = [
        f"  {old}" + (f" (for {new})" if old != new else "") + near_text(without_output(old), there)
        for new, old in origin.items()
        if without_output(old) not in there
    ]
    if absent:
        raise NoSuchTensor("\n".join([f"variables to warm-start that {label} lacks:", *absent]))
    return {new: Taken(there[without_output(old)]) for new, old in origin.items()}
