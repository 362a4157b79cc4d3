"""A file of `save_weights`, or several that an index joins, as a source."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from ...errors import CorruptCheckpoint
from ...names import last as last_part
from ...names import parent as scope_of
from ..hdf5.opened import Hdf5File
from ..hdf5.source import Found, Hdf5Source
from ..notes import Notes, checked
from .names import Lender, Naming, borrowed, unique
from .naming import Model, named
from .notes import noted, parsed, text_of

#: Keys of the metadata under which a model's description is kept, also in other formats.
CONFIG, METADATA, GROUPS = "keras.config", "keras.metadata", "keras.groups"


def opened(
    place: str,
    files: Sequence[Hdf5File],
    members: Mapping[str, str] | None = None,
    like: Lender | None = None,
) -> Hdf5Source:
    """Return the source of *files*; *members* are what an archive holds beside them, as text."""
    where = {path: file for file in files for path in file.datasets}
    if len(where) != sum(len(file.datasets) for file in files):
        raise CorruptCheckpoint("a variable is in more than one of the shards")
    note = noted(files[0])
    metadata = described(files, members or {}) | (dict(note[0].metadata) if note else {})
    shapes = {path: file.datasets[path].shape for path, file in where.items()}
    naming = named(shapes, model_of(files, metadata))
    naming = by_note(naming, note[1]) if note else naming
    if like is not None:
        naming = borrowed(naming, shapes, like)
    links = {a: naming.names[p] for file in files for a, p in file.links.items()}
    notes = combined(naming, links, metadata, note and note[0])
    datasets = {name: (where[path], path) for path, name in naming.names.items()}
    derived = frozenset(naming.aliases) - set(links)
    return Hdf5Source(place, files, Found(datasets, checked(notes, datasets), derived))


def combined(
    naming: Naming, links: Mapping[str, str], metadata: Mapping[str, str], note: Notes | None
) -> Notes:
    """Return the notes of a source: what a note of ours says counts before what was found out."""
    aliases = {**naming.aliases, **links}
    roles = {naming.names[path]: role for path, role in naming.roles.items()}
    if note is None:
        return Notes(roles, aliases, metadata)
    return Notes(note.roles, {**aliases, **note.aliases}, metadata)


def by_note(naming: Naming, given: Mapping[str, str]) -> Naming:
    """Return the names that a note of ours gives, in the order of *naming*."""
    names = unique({path: given.get(path, path) for path in naming.names})
    taken = set(names.values())
    return Naming(names, {}, {path: name for path, name in names.items() if path not in taken})


def described(files: Sequence[Hdf5File], members: Mapping[str, str]) -> dict[str, str]:
    """Return what the files say beside their values, as metadata."""
    found = dict(members)
    stated = {g: n for file in files for g, n in group_names(file).items() if n}
    if stated:
        found[GROUPS] = json.dumps(stated, sort_keys=True, ensure_ascii=False)
    return found | {path: text for file in files for path, text in file.others.items()}


def group_names(file: Hdf5File) -> dict[str, str]:
    """Return every group of variables with the name it states, "" where it states none."""
    found = {}
    for group in file.groups:
        path = scope_of(group)
        if last_part(group) == "vars":
            found[path] = text_of(file.attribute(group, "name") or "")
    return found


def model_of(files: Sequence[Hdf5File], metadata: Mapping[str, str]) -> Model:
    """Return what is known of the model whose variables these are."""
    pairs = [pair for file in files for pair in group_names(file).items()]
    groups = dict(sorted(pairs))  # of a group in several files one states the name: it is last
    config = configuration(metadata)
    about = parsed(metadata.get(METADATA, "{}"), "metadata.json")
    version = str(about.get("keras_version", "")) if isinstance(about, dict) else ""
    return Model(groups, config, version.startswith("2."))


def configuration(metadata: Mapping[str, str]) -> dict[str, Any] | None:
    """Return the model's configuration, None where there is none."""
    if CONFIG not in metadata:
        return None
    config = parsed(metadata[CONFIG], "config.json")
    match config:
        case {"class_name": str(), "config": {}}:
            found: dict[str, Any] = config
            return found
    raise CorruptCheckpoint("config.json describes no model")
