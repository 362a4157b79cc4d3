"""The name of a layer by its place in the model, which is the same in every process.

    blocks/dense_1       the attribute, and the place in a list or dict, as Keras' saving counts
    head                 a layer of a Sequential or functional model that was given a name
    dense_1              one that was not: the second such of its class
    encoder/query_dense  an attribute `_query_dense`

Keras' own names count all layers that a process ever made, so those of two models, or of two runs,
need not agree.  A name of the form that Keras gives counts as not given.
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from .names import joined, parts

#: The attribute of a Sequential or functional model that holds its layers; it is in no name.
LAYERS = "layers"
LISTS = (LAYERS, "_layer_checkpoint_dependencies")  # today's and that of Keras 2


class Member(NamedTuple):
    """A layer in a model's list of layers: its group in the file, and its name or ""."""

    group: str  # its class in snake case, numbered from the second of the class on
    name: str


def own_scope(group: str, names_in: Mapping[str, Mapping[str, str]]) -> str:
    """Return the name of the layer whose group in the file is *group*, "" for the model.

    *names_in* has the names of the members of the list of layers at each path.

    >>> own_scope("layers/dense/_cell", {"layers": {"dense": "head"}})
    'head/cell'
    """
    scope, path = "", ""
    for step in parts(group) if group else []:
        name = names_in.get(path, {}).get(step)
        path = joined(path, step)
        if step not in LISTS:
            scope = joined(scope, name or public(step))
    return scope


def names_of_members(members: Iterable[Member]) -> dict[str, str]:
    """Return the names of the members of a model's list of layers, by their groups, in order.

    >>> names_of_members([Member("dense", "head"), Member("dense_1", "dense_7")])
    {'dense': 'head', 'dense_1': 'dense'}
    """
    unnamed: Counter[str] = Counter()
    names = {}
    for group, name in members:
        kind, _ = numbered(group)
        if name and not is_automatic(name, kind):
            names[group] = name
            continue
        names[group] = f"{kind}_{unnamed[kind]}" if unnamed[kind] else kind
        unnamed[kind] += 1
    return names


def is_automatic(name: str, kind: str) -> bool:
    """Return whether *name* is of the form that Keras gives a layer of class *kind*.

    >>> is_automatic("dense_3", "dense"), is_automatic("dense_a", "dense")
    (True, False)
    """
    return numbered(name)[0] == kind


def numbered(name: str) -> tuple[str, int]:
    """Return *name* without its number, and the number, 0 where there is none.

    >>> numbered("dense_12"), numbered("conv2d"), numbered("w_01")
    (('dense', 12), ('conv2d', 0), ('w_01', 0))
    """
    stem, separator, number = name.rpartition("_")
    if separator and stem and number.isascii() and number.isdigit() and number[0] != "0":
        return stem, int(number)
    return name, 0


def public(attribute: str) -> str:
    """Return the name that a private attribute would have as a public one.

    >>> public("_query_dense"), public("cell"), public("_")
    ('query_dense', 'cell', '_')
    """
    return attribute.lstrip("_") or attribute
