"""Files whose attributes name the layers and their weights, and files of plain datasets."""

import json
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ...errors import CorruptCheckpoint
from ...names import inside as inside_scope
from ...names import last, without_output
from ...names import parts as parts_of
from ..hdf5.opened import Hdf5File
from ..hdf5.source import Found, Hdf5Source
from ..keras.kinds import UNTRAINED
from ..keras.names import Lender, Naming, borrowed, unique
from ..keras.notes import NAMES, NOTE, noted, text_of
from ..notes import Notes, checked

WEIGHTS, OPTIMIZER, TOP = "model_weights", "optimizer_weights", "top_level_model_weights"
#: The metadata in which the order of layers and weights goes along, also in other formats.
LAYERS = "keras.layers"
#: Counters of an optimizer, by the last name: run state, and no slot of a variable.
COUNTERS = frozenset(("iteration", "iterations", "iter", "learning_rate", "beta_1_power",
                      "beta_2_power", "decay", "momentum_cache"))  # fmt: skip


@dataclass(frozen=True, slots=True)
class Weight:
    """One weight as an attribute lists it."""

    layer: str  # the path of the layer's group
    name: str

    @property
    def path(self) -> str:
        """Where its dataset is."""
        parts = [*parts_of(self.layer), *parts_of(self.name)]
        return "/".join(part for part in parts if part not in ("", "."))


def open_legacy(path: Path, file: Hdf5File, like: Lender | None = None) -> Hdf5Source:
    """Return the source of *file*."""
    lists = listed(file)
    weights = [each for several in lists.values() for each in several]
    absent = [each.path for each in weights if dataset_at(file, each.path) is None]
    if absent:
        raise CorruptCheckpoint(
            f"the file lists {len(absent)} weights that it does not hold: "
            + ", ".join(map(repr, absent[:10]))
        )
    note = noted(file)
    naming = by_note(file, weights, note[1]) if note else by_lists(file, weights)
    if like is not None:
        shapes = {p: file.datasets[p].shape for p in naming.names}
        naming = borrowed(naming, shapes, like)
    datasets = {name: (file, p) for p, name in naming.names.items()}
    links = {a: naming.names[p] for a, p in file.links.items() if a not in datasets}
    if note:
        notes = Notes(note[0].roles, {**links, **note[0].aliases}, note[0].metadata)
    else:
        roles = {naming.names[p]: role for p, role in naming.roles.items()}
        metadata = described(file, lists, naming)
        notes = Notes(roles, {**links, **naming.aliases}, metadata)
    derived = frozenset(notes.aliases) & set(naming.aliases) - set(links)
    return Hdf5Source(str(path), [file], Found(datasets, checked(notes, datasets), derived))


def dataset_at(file: Hdf5File, path: str) -> str | None:
    """Return the first path of the dataset at *path*, None if there is none."""
    path = file.links.get(path, path)
    return path if path in file.datasets else None


def listed(file: Hdf5File) -> dict[str, list[Weight]]:
    """Return every weight that the attributes list, in their order, by the path of its layer."""
    root = WEIGHTS if WEIGHTS in file.groups else ""
    groups = set(file.groups)
    layers = [inside(root, name) for name in texts(file, root, "layer_names")]
    extra = [inside(root, TOP), OPTIMIZER]
    found = {}
    for layer in [*layers, *(each for each in extra if each in groups)]:
        if layer not in groups:
            raise CorruptCheckpoint(f"the file lists a layer {layer!r} that it does not hold")
        found[layer] = [Weight(layer, name) for name in texts(file, layer, "weight_names")]
    return found


def inside(root: str, name: str) -> str:
    """Return the path of the group *name* in *root*."""
    return f"{root}/{name}" if root else name


def texts(file: Hdf5File, group: str, key: str) -> list[str]:
    """Return the list in an attribute, or in several numbered ones; [] where there is none."""
    whole = file.attribute(group, key)
    if whole is not None:
        return [text_of(item) for item in np.ravel(whole).tolist()]
    found: list[str] = []
    for number in range(len(file.groups) + len(file.datasets)):
        part = file.attribute(group, f"{key}{number}")
        if part is None:
            break
        found += [text_of(item) for item in np.ravel(part).tolist()]
    return found


def by_lists(file: Hdf5File, weights: list[Weight]) -> Naming:
    """Return the names that the lists give; what is in none of them is called by its path."""
    plain = {each.path: without_output(each.name) for each in weights}
    counts = Counter(plain.values())
    names, roles = {}, {}
    for each in weights:
        name = plain[each.path]
        path = file.links.get(each.path, each.path)
        layer = each.layer.removeprefix(WEIGHTS + "/")
        own = counts[name] == 1 or inside_scope(name, layer) is not None
        names[path] = name if own else f"{layer}/{name}"
        role = role_of(each, name)
        if role:
            roles[path] = role
    names |= {path: path for path in file.datasets if path not in names}
    return Naming(unique(names), roles, {})


def by_note(file: Hdf5File, weights: list[Weight], given: dict[str, str]) -> Naming:
    """Return the names in a file of ours: as listed, but for those that the note spells."""
    names = {each.path: each.name for each in weights}
    names |= {path: path for path in file.datasets if path not in names}
    return Naming({path: given.get(path, name) for path, name in names.items()}, {}, {})


def role_of(weight: Weight, name: str) -> str | None:
    """Return the role of a weight, None where the file does not tell."""
    if weight.layer == OPTIMIZER:
        return "run" if last(name) in COUNTERS else "slot"
    return "model" if last(name) in UNTRAINED else None


def root_attributes(file: Hdf5File) -> list[tuple[str, object]]:
    """Return the attributes of the model, which are of two groups in a whole model's file."""
    groups = ["", *(group for group in file.groups if group == WEIGHTS)]
    return [item for group in groups for item in file.attributes(group).items()]


def described(file: Hdf5File, lists: dict[str, list[Weight]], naming: Naming) -> dict[str, str]:
    """Return the attributes of the model that are text, and the order of layers and weights."""
    found = {
        key: text_of(value)
        for key, value in root_attributes(file)
        if isinstance(value, str | bytes) and key not in (NOTE, NAMES)
    }
    if lists:
        pairs = {
            layer: [[w.name, naming.names[file.links.get(w.path, w.path)]] for w in weights]
            for layer, weights in lists.items()
        }
        found[LAYERS] = json.dumps(pairs, ensure_ascii=False)
    return found | dict(file.others)
