"""Writing weights as Keras 1 and 2 did, and as Keras 3 still reads them.

The layers, their order and the model's configuration are those of a file of the same model
(*like*), or those that the source brings along because it was read from such a file.  Without
either, the part of a name before its last "/" is taken for the layer.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

from ...binary.atomic import replacing
from ...errors import CorruptCheckpoint, UnsupportedCheckpoint
from ...names import last, parent, without_output
from ...names import parts as parts_of
from ...source import Source
from ..arrays import refuse_unheld
from ..hdf5.writing import Layout, refuse_long, write_hdf5
from ..keras.kinds import LAYERS as KINDS
from ..keras.notes import NAMES, NOTE, attributes_of, parsed
from ..keras.writing import unheld
from .opening import open_layout
from .reading import LAYERS, OPTIMIZER, TOP, WEIGHTS, Weight

#: Attributes of a model: of its file, and of the group of its weights.
OF_FILE = ("keras_version", "backend", "model_config", "training_config")
OF_WEIGHTS = ("keras_version", "backend")

#: Groups that mean something of their own; a tensor below one is called by an escaped name.
RESERVED = (WEIGHTS, OPTIMIZER, TOP, NOTE, NAMES)

#: The variables of a layer in the order in which Keras has them, as far as their names tell.
USUAL = list(dict.fromkeys(item.partition("?")[0] for kind in KINDS.values() for item in kind))


@dataclass(frozen=True, slots=True)
class Structure:
    """The layers by path, each with its weights; names in the source by path of the dataset."""

    layers: Mapping[str, list[Weight]]
    names: Mapping[str, str]
    attributes: Mapping[str, str]


def save_legacy(source: Source, path: Path, like: str | Path | None = None) -> None:
    """Write *source* to *path*."""
    refuse_unheld("an HDF5 file", unheld(source), "Rename them, or drop them.")
    structure = structure_of(source, like)
    refuse_long([w.name for weights in structure.layers.values() for w in weights])
    with replacing(path) as file:
        write_hdf5(file, source, layout_of(source, structure))


def structure_of(source: Source, like: str | Path | None) -> Structure:
    """Return the structure of *like*, or the one that *source* brings along, or a derived one."""
    if like is not None:
        return structure_like(source, Path(like))
    return recorded(source) or derived(source)


def structure_like(source: Source, like: Path) -> Structure:
    """Return the structure of *like*, or raise with all that does not fit it."""
    with open_layout(like, verify=False) as other:
        metadata, specs = other.metadata, other.specs
    if LAYERS not in metadata:
        raise UnsupportedCheckpoint(
            f"{like} is no .h5 file in which Keras lists layers; give one for like="
        )
    lists = lists_in(metadata)
    known = {**source.aliases, **{name: name for name in source.specs}}
    wanted = {name for pairs in lists.values() for _, name in pairs}
    if not any(name in known for _, name in lists.get(OPTIMIZER, ())):
        wanted -= {name for _, name in lists.pop(OPTIMIZER, ())}
    faults = {n: f"{specs[n]}: the source has nothing of that name"
              for n in wanted if n not in known}  # fmt: skip
    faults |= {
        n: f"{specs[n]}: the source has {source.specs[known[n]]}"
        for n in wanted
        if n in known and source.specs[known[n]].shape != specs[n].shape
    }
    placed = {known[name] for name in wanted if name in known}
    faults |= {n: f"{s}: has no place there" for n, s in source.specs.items() if n not in placed}
    refuse_unheld(f"the structure of {like.name}", faults, "Give a file of the same model.")
    return from_lists(lists, known, metadata)


def recorded(source: Source) -> Structure | None:
    """Return the structure that *source* brings along, None if its names are others by now."""
    if LAYERS not in source.metadata:
        return None
    lists = lists_in(source.metadata)
    if not any(name in source.specs for _, name in lists.get(OPTIMIZER, ())):
        lists.pop(OPTIMIZER, None)
    if {name for pairs in lists.values() for _, name in pairs} != set(source.specs):
        return None
    return from_lists(lists, {name: name for name in source.specs}, source.metadata)


def lists_in(metadata: Mapping[str, str]) -> dict[str, list[list[str]]]:
    """Return the weights of each layer, [name in the file, name of the tensor]."""
    lists: dict[str, list[list[str]]] = parsed(metadata[LAYERS], f"the metadata {LAYERS}")
    try:
        if all(
            isinstance(text, str) for pairs in lists.values() for a, b in pairs for text in (a, b)
        ):
            return lists
    except (AttributeError, TypeError, ValueError) as error:
        raise CorruptCheckpoint(f"the metadata {LAYERS} are no lists of weights") from error
    raise CorruptCheckpoint(f"the metadata {LAYERS} are no lists of weights")


def from_lists(
    lists: Mapping[str, list[list[str]]], known: Mapping[str, str], metadata: Mapping[str, str]
) -> Structure:
    """Return the structure in *lists*; *known* has the name in the source."""
    layers = {layer: [Weight(layer, w) for w, _ in pairs] for layer, pairs in lists.items()}
    names = {Weight(layer, w).path: known[name] for layer, pairs in lists.items()
             for w, name in pairs}  # fmt: skip
    return Structure(layers, names, {k: metadata[k] for k in OF_FILE if k in metadata})


def derived(source: Source) -> Structure:
    """Return a structure from the names alone; those that no path can be are escaped."""
    layers: dict[str, list[Weight]] = {}
    names = {}
    escaped = odd_names(source)
    for name in sorted(source.specs, key=usual_order):
        shown = one_part(name) if name in escaped else name
        weight = Weight(parent(shown) or TOP, shown)
        layers.setdefault(weight.layer, []).append(weight)
        names[weight.path] = name
    return Structure(dict(sorted(layers.items())), names, {})


def one_part(name: str) -> str:
    """Return *name* as one part of a path, another for every name.

    >>> one_part("a//b"), one_part("."), one_part("")
    ('a%2F%2Fb', '%2E', '%')
    """
    return quote(name, safe="").replace(".", "%2E") or "%"


def usual_order(name: str) -> tuple[str, int, str]:
    """Return what sorts a layer's kernel before its bias, and else by name."""
    own = without_output(last(name))
    return parent(name), USUAL.index(own) if own in USUAL else len(USUAL), name


def odd_names(source: Source) -> set[str]:
    """Return the names that cannot stand in a path, or where others need a group to be."""
    odd = {name for name in source.specs if is_odd(name)}
    paths = {Weight(parent(n) or TOP, n).path: n for n in source.specs if n not in odd}
    groups = {above for path in paths for above in groups_above(path)}
    return odd | {name for path, name in paths.items() if path in groups}


def is_odd(name: str) -> bool:
    """Return whether a path could not be *name*, or would mean something else."""
    parts = parts_of(name)
    return "%" in name or "\0" in name or parts[0] in RESERVED or any(p in ("", ".") for p in parts)


def groups_above(path: str) -> list[str]:
    """Return the groups that a dataset at *path* is in.

    >>> groups_above("a/b/c")
    ['a', 'a/b']
    """
    parts = parts_of(path)
    return ["/".join(parts[:n]) for n in range(1, len(parts))]


def layout_of(source: Source, structure: Structure) -> Layout:
    """Return the file to write."""
    is_model = any(layer.startswith(WEIGHTS + "/") for layer in structure.layers)
    root = WEIGHTS if is_model else ""
    own = {Weight(w.layer, w.name).path: w.name for ws in structure.layers.values() for w in ws}
    attributes: dict[str, dict[str, Any]] = {
        layer: {"weight_names": [w.name for w in weights]}
        for layer, weights in structure.layers.items()
    }
    shown = [layer.removeprefix(root + "/") if root else layer for layer in structure.layers]
    attributes.setdefault(root, {})["layer_names"] = [
        name for name in shown if name not in (TOP, OPTIMIZER)
    ]
    stated = structure.attributes
    attributes[root] |= {key: stated[key] for key in OF_WEIGHTS if key in stated}
    if is_model:
        attributes.setdefault("", {}).update(stated)
    different = {p: n for p, n in structure.names.items() if own[p] != n}
    attributes.setdefault("", {}).update(attributes_of(source, different))
    return Layout(dict(structure.names), [root, *structure.layers], attributes)
