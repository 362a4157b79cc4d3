"""Carrying what a chain's parts ask for into the layers of a live model.

For every layer of the model: which of the part's names stand in its scope, what its variables are
made of, and which names have thereby found their place.  Pure; nothing is read.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from ...errors import RuleError
from ...layer import BATCHES, CONVENTIONS, Layer
from ...names import dotted, parent
from ...sessions.base import Session
from ...spec import TensorSpec
from ..plan import Part
from ..recipe import (
    Made,
    Recipe,
    Taken,
    first_name,
    made,
    names_in,
    spec_from,
    specs_by_every_name,
    tensors_in,
    with_inputs,
)
from ..remap import is_of_model
from ..steps import Cast
from . import kinds
from .convention import conventions_of
from .index import Index
from .side import CannotCarryError, Recipes, Side

#: Why slots of what is carried over are not restored.
SLOTS_STAY = "begins anew, since its variable has other axes here"


@dataclass(frozen=True, slots=True)
class Place:
    """A layer of the model with its variables under the leaves of its kind."""

    layer: Layer
    scopes: Sequence[str]  # in which the layer's tensors may stand
    names: Mapping[str, str]  # leaf -> the session's own name
    side: Side
    others: Mapping[str, str]  # the session's own name of a tied variable -> what it is called here


@dataclass(frozen=True, slots=True)
class Carried:
    """What becomes of a part's names in one layer."""

    origin: Recipes  # the model's name -> what it is made of
    used: frozenset[str]  # names of the part that have found their place
    idle: frozenset[str]  # names of either side that have no counterpart and need none


@dataclass(frozen=True, slots=True)
class Offer:
    """What a part has for layers, by the names it is asked for under."""

    origin: Mapping[str, Recipe]
    specs: Mapping[str, TensorSpec]
    index: Index
    options: Mapping[str, Mapping[str, Any]]  # of a live source: its name -> its layer's options
    settled: frozenset[str]  # names that rules have made something of


def carried(parts: Sequence[Part], session: Session) -> list[Part]:
    """Return *parts* with what they are asked for as the layers of *session* lie.

    A part in the session's own convention, or in one that nothing tells, is left as it is.  What a
    rule has changed in more than its dtype is taken to be as its writer wants it.
    Raise RuleError naming every layer that has no equal in the other convention, and why.
    """
    if session.convention not in CONVENTIONS:
        return list(parts)
    given = [conventions_of(part.source, part.layout) for part in parts]
    foreign = [bool(found) and session.convention not in found for found in given]
    places = places_of(session) if any(foreign) else []
    faults: list[str] = []
    result = [
        carry(part, found, places, faults) if other else part
        for part, found, other in zip(parts, given, foreign, strict=True)
    ]
    if faults:
        lines = ["these layers cannot be carried over:", *dict.fromkeys(faults)]
        raise RuleError("\n".join([*lines, "To leave one out, drop its names by a rule."]))
    return result


def places_of(session: Session) -> list[Place]:
    """Return the layers of *session* whose kind is known, with what their variables are."""
    specs, aliases = dict(session.specs.items()), session.aliases
    result = []
    for layer in session.layers():
        accepted = kinds.leaves(layer.kind, str(session.convention), layer.options)
        own = {dotted(leaf): name for leaf, name in layer.variables.items()}
        names = {
            leaf: aliases.get(own[spelling], own[spelling])
            for leaf, spellings in accepted.items()
            for spelling in spellings
            if spelling in own
        }
        names = {leaf: name for leaf, name in names.items() if name in specs}
        others = {aliases[name]: name for name in own.values() if name in aliases}
        side = Side(
            str(session.convention), {n: specs[name] for n, name in names.items()}, layer.options
        )
        result.append(Place(layer, scopes_of(layer), names, side, others))
    return result


def carry(part: Part, conventions: set[str], places: Sequence[Place], faults: list[str]) -> Part:
    """Return *part*, of one of *conventions*, as *places* lie; tell *faults* what cannot.

    Vocabularies that a model's variables follow count along the axes they have there: rows are put
    in their places at the end.
    """
    rows = {name: recipe for name, recipe in part.origin.items() if is_of_model(recipe)}
    whole = {name: recipe.inputs[0] for name, recipe in rows.items()}
    lying = laid(replace(part, origin={**part.origin, **whole}), conventions, places, faults)
    if not rows:
        return lying
    tied = {other: name for place in places for name, other in place.others.items()}
    own = {name: tied.get(name, name) for name in lying.origin}
    there = {*own.values()}
    faults += [
        f"  {name} of {part.label}: the model's variable that follows its vocabulary is not found"
        for name, recipe in rows.items()
        if name not in there and first_name(recipe) not in lying.left
    ]
    origin = {
        name: made(rows[own[name]].step, recipe) if own[name] in rows else recipe
        for name, recipe in lying.origin.items()
    }
    return replace(lying, origin=origin)


def laid(part: Part, conventions: set[str], places: Iterable[Place], faults: list[str]) -> Part:
    """Return *part*, of one of *conventions*, as *places* lie; tell *faults* what cannot."""
    offer = offer_of(part)
    origin: Recipes = {}
    found_place: set[str] = set()
    idle: set[str] = set()
    turned: set[str] = set()  # variables of the model whose values lie otherwise in the part
    for place in places:
        try:
            one = the_only(
                [in_place(place, offer, each) for each in sorted(conventions)], conventions
            )
        except CannotCarryError as reason:
            faults.append(f"  {place.layer.path} ({place.layer.kind}) of {part.label}: {reason}")
            continue
        for name, recipe in one.origin.items():  # what is tied has a name for each layer, and all
            origin[place.others.get(name, name)] = recipe  # that is asked for by them is compared
            if not is_untouched(recipe):
                turned |= {name, place.others.get(name, name)}
        found_place |= one.used
        idle |= one.idle
    behind = [name for name in part.origin if parent(name) in turned]  # would fit if square
    gone = found_place.union(idle, behind)
    kept = {name: recipe for name, recipe in part.origin.items() if name not in gone}
    left = {first_name(part.origin[name]): SLOTS_STAY for name in behind}
    return replace(
        part, origin=kept | origin, withheld=part.withheld | idle, left={**part.left, **left}
    )


def the_only(found: Sequence[Carried], conventions: set[str]) -> Carried:
    """Return what *found*, one for each of *conventions*, agree on, but for those without anything.

    Raise CannotCarryError if they differ.
    """
    first, *others = [one for one in found if one.origin] or found[:1]
    if any(other != first for other in others):
        ways = " or ".join(f'layout="{each}"' for each in sorted(conventions))
        lies = " and ".join(sorted(conventions))
        raise CannotCarryError(f"it lies otherwise in {lies}: say {ways}")
    return first


def offer_of(part: Part) -> Offer:
    """Return what *part* has for layers: all but what rules have put into another order already."""
    every = specs_by_every_name(part.source)
    origin = {name: recipe for name, recipe in part.origin.items() if is_untouched(recipe)}
    specs = {name: spec_from(recipe, every) for name, recipe in origin.items()}
    layers = part.source.layers() if isinstance(part.source, Session) else ()
    options = {name: layer.options for layer in layers for name in layer.variables.values()}
    settled = frozenset(part.origin.keys() - origin.keys())
    return Offer(origin, specs, Index(origin), options, settled)


def is_untouched(recipe: Recipe) -> bool:
    """Return whether *recipe* leaves the order of values as it is in the source."""
    while isinstance(recipe, Made) and isinstance(recipe.step, Cast):
        (recipe,) = recipe.inputs
    return isinstance(recipe, Taken)


def in_place(place: Place, offer: Offer, convention: str) -> Carried:
    """Return what becomes of *offer*, in *convention*, in the layer at *place*."""
    layer = place.layer
    accepted = kinds.leaves(layer.kind, convention, layer.options)
    names = {
        leaf: name
        for leaf, spellings in accepted.items()
        if (name := named(leaf, spellings, place, offer.index))
    }
    specs = {leaf: offer.specs[name] for leaf, name in names.items()}
    have = Side(convention, specs, options_for(names.values(), offer))
    inputs = {leaf: offer.origin[name] for leaf, name in names.items()}
    found = kinds.convert(layer.kind, have, place.side) if names else {}
    made_of = {place.names[leaf]: recipe for leaf, recipe in found.items()}
    needed = tensors_in(made_of.values())
    return Carried(
        {n: with_inputs(r, inputs) for n, r in made_of.items() if n not in offer.settled},
        frozenset(names[leaf] for leaf in needed),
        frozenset(counters(place, offer.index)) if found else frozenset(),
    )


def named(leaf: str, spellings: Iterable[str], place: Place, index: Index) -> str | None:
    """Return the name of *leaf* among those in *index*.  Raise if there are several."""
    found = {
        name: None
        for spelling in spellings
        for scope in place.scopes
        for name in index.under(scope, spelling)
    }
    if len(found) > 1:
        raise CannotCarryError(f"{' and '.join(found)} are both its {leaf}: drop one of them")
    return next(iter(found), None)


def scopes_of(layer: Layer) -> list[str]:
    """Return the scopes in which a layer's tensors may stand: its path, and its variables' own.

    The statistics of a layer of linen stand in another collection than its weights.
    """
    scopes = [layer.path]
    for leaf, name in layer.variables.items():
        if dotted(name) == dotted(leaf):
            scopes.append("")
        elif dotted(name).endswith("." + dotted(leaf)):
            scopes.append(name[: -len(leaf) - 1])
    return list(dict.fromkeys(scopes))


def options_for(names: Iterable[str], offer: Offer) -> Mapping[str, Any]:
    """Return the options of the layer that a live model has *names* in; none for a file."""
    tensors = (tensor for name in names for tensor in names_in(offer.origin[name]))
    return next((offer.options[tensor] for tensor in tensors if tensor in offer.options), {})


def counters(place: Place, index: Index) -> list[str]:
    """Return the names of batch norm's counter of batches, which only PyTorch has, on its side."""
    if place.layer.kind != "batch_norm":
        return []
    own = [name for leaf, name in place.layer.variables.items() if leaf == BATCHES]
    return own or [name for scope in place.scopes for name in index.under(scope, BATCHES)]
