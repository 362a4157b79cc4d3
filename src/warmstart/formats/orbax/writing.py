"""Writing one item: zarr 2, uncompressed, in an OCDBT database of one data file."""

import hashlib
import json
from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from dataclasses import replace
from io import FileIO
from pathlib import Path
from typing import Any

from ...binary.folder import refuse_strangers, replacing_folder
from ...binary.ocdbt import MANIFEST, MAX_KEY, Value, encoded_leaf, encoded_manifest
from ...binary.stream import Stream
from ...source import Source
from ...spec import NUMPY_CODES, TensorSpec
from ..arrays import bytes_of, encodable, note_faults, refuse_unheld, values_to_write
from ..msgpack.leaves import roles_by_layout
from ..msgpack.writing import containers_of, plain_leaves
from ..notes import encode, notes_of
from ..trees import IS_CONTAINER, MAX_DEPTH, SEPARATOR, as_metadata
from .tree import EMPTY, NOTE

#: Names of dtypes to zarr's codes; the others go by their names.
HELD = {dtype: ("|" if code[1:] == "1" else "<") + code for code, dtype in NUMPY_CODES.items()}
HELD |= {
    name: name
    for name in (
        "bfloat16", "int2", "int4", "float4_e2m1fn", "float8_e3m4", "float8_e4m3fn",
        "float8_e4m3fnuz", "float8_e4m3b11fnuz", "float8_e5m2", "float8_e5m2fnuz",
        "float8_e8m0fnu",
    )
}  # fmt: skip
SEQUENCE, DICT = 1, 2  # kinds of keys
ALIGNMENT = 64
MAX_RANK = 32  # tensorstore's
ADVICE = "An .npz or a TensorFlow bundle may hold them."
#: What else Orbax puts beside the arrays of an item.
OURS = frozenset(
    ("_METADATA", "_CHECKPOINT_METADATA", "_sharding", "_strings.json", "array_metadatas", "d",
     MANIFEST, "checkpoint", "commit_success.txt")
)  # fmt: skip


def write(source: Source, path: Path) -> None:
    """Write *source* to the folder *path*."""
    refuse_unheld("orbax", faults_of(source), ADVICE)
    refuse_strangers(path, lambda name: is_ours(path, name))
    tree = json.dumps(metadata_of(source))
    specs = sorted(source.specs.values(), key=lambda spec: spec.name)
    with replacing_folder(path) as folder:
        (folder / "_METADATA").write_text(tree, "utf-8")
        if specs:
            write_database(source, specs, folder)


def is_ours(path: Path, name: str) -> bool:
    """Return whether *name* in the folder *path* is part of an item."""
    arrays = ((path / name / file).is_file() for file in (".zarray", "zarr.json"))
    return name in OURS or name.startswith("ocdbt.process_") or any(arrays)


def faults_of(source: Source) -> dict[str, str]:
    """Return by name what an item cannot hold of *source*."""
    containers = containers_of(source.specs)
    params = Counter(map(param_of, source.specs))
    faults = note_faults(source)
    for name, spec in source.specs.items():
        fault = fault_of(spec)
        if name in containers:
            fault = IS_CONTAINER
        elif params[param_of(name)] > 1:
            fault = f"is stored as {param_of(name)!r}, and so is another"
        faults |= {name: fault} if fault else {}
    return faults


def fault_of(spec: TensorSpec) -> str | None:
    """Return why *spec* has no place in an item, None when it has."""
    if spec.dtype not in HELD:
        return f"{spec}: no such dtype in tensorstore"
    if not encodable(spec.name):
        return "is not Unicode text"
    if spec.name.count(SEPARATOR) >= MAX_DEPTH:
        return f"lies more than {MAX_DEPTH} levels deep"
    if len(spec.name.encode()) > MAX_KEY // 2:
        return f"has a name of more than {MAX_KEY // 2} bytes"
    return f"{spec}: more than {MAX_RANK} dimensions" if len(spec.shape) > MAX_RANK else None


def param_of(name: str) -> str:
    """Return what an array is called in the store, where Orbax joins the keys by dots."""
    return name.replace(SEPARATOR, ".")


def metadata_of(source: Source) -> dict[str, Any]:
    """Return the JSON of `_METADATA`: arrays, empty leaves, and custom metadata."""
    empty = empty_leaves(source)
    kinds = dict.fromkeys(source.specs, "np.ndarray") | empty
    lists = lists_of(kinds)
    leaves = {name: leaf_of(name, kinds[name], lists) for name in sorted(kinds)}
    return {
        "tree_metadata": {str(tuple(name.split(SEPARATOR))): leaves[name] for name in leaves},
        "use_ocdbt": True,
        "use_zarr3": False,
        "store_array_data_equal_to_fill_value": True,
        "custom_metadata": custom_of(source, empty) or None,
    }


def lists_of(names: Iterable[str]) -> set[str]:
    """Return the containers in *names* whose keys are the numbers from 0 on.

    They are written as lists, which is what they nearly always were (an optimizer's state); Orbax
    restores a tuple from them too, but no dict.

    >>> lists_of(["opt/0/mu", "opt/1/nu", "layer/1/w"])
    {'opt'}
    """
    keys: dict[str, set[str]] = {}
    for name in names:
        above = ""
        for key in name.split(SEPARATOR):
            keys.setdefault(above, set()).add(key)
            above = f"{above}{SEPARATOR}{key}" if above else key
    numbered = {above for above, found in keys.items() if found == set(map(str, range(len(found))))}
    return numbered - {""}


def leaf_of(name: str, kind: str, lists: Collection[str]) -> dict[str, Any]:
    """Return the entry of one leaf, whose keys say whether they are of a list or a dict."""
    levels = name.split(SEPARATOR)
    above = [SEPARATOR.join(levels[:depth]) for depth in range(len(levels))]
    keys = [
        {"key": key, "key_type": SEQUENCE if container in lists else DICT}
        for key, container in zip(levels, above, strict=True)
    ]
    value = {"value_type": kind, "skip_deserialize": kind in EMPTY}
    return {"key_metadata": keys, "value_metadata": value}


def empty_leaves(source: Source) -> dict[str, str]:
    """Return the value types of those metadata that are leaves of the tree without a value.

    An optimizer's state has such leaves, and Orbax restores it only with them.
    """
    kinds = {"null": "None", "{}": "Dict", "[]": "List"}
    plain = plain_leaves(source.metadata, source.specs)
    return {key: kinds[source.metadata[key]] for key in plain if source.metadata[key] in kinds}


def custom_of(source: Source, empty: Mapping[str, str]) -> dict[str, Any]:
    """Return the custom metadata: JSON as what it is, everything else in this library's note."""
    notes = notes_of(source)
    others = {key: text for key, text in notes.metadata.items() if key not in empty}
    native = {k: t for k, t in others.items() if is_json(t) and k != NOTE}
    said = roles_by_layout([*source.specs, *empty], source.specs)
    roles = {name: role for name, role in notes.roles.items() if said.get(name) != role}
    rest = {key: text for key, text in others.items() if key not in native}
    note = encode(replace(notes, roles=roles, metadata=rest))
    custom = {key: json.loads(native[key]) for key in sorted(native)}
    return custom if note is None else {**custom, NOTE: note}


def is_json(text: str) -> bool:
    """Return whether *text* is what some JSON becomes as metadata, to the letter."""
    try:
        return as_metadata(json.loads(text)) == text
    except (ValueError, RecursionError):
        return False


def write_database(source: Source, specs: Iterable[TensorSpec], folder: Path) -> None:
    """Write the arrays, and the tree of their keys behind them, into one file of *folder*."""
    layouts = {spec.name: layout_of(spec) for spec in specs}
    name = "d/" + hashlib.blake2b(json.dumps(layouts).encode(), digest_size=16).hexdigest()
    values = []
    (folder / "d").mkdir()
    with FileIO(folder / name, "x") as file:
        stream = Stream(file, expected=sum(spec.nbytes for spec in specs))
        for spec in specs:
            param = param_of(spec.name)
            raw = layouts[spec.name].encode()
            values.append((f"{param}/.zarray", Value("", 0, len(raw), raw)))
            if spec.size:
                stream.pad(ALIGNMENT)
                key = ".".join("0" * len(spec.shape)) or "0"
                values.append((f"{param}/{key}", Value(name, stream.position, spec.nbytes)))
                stream.write(bytes_of(values_to_write(source, spec)))
        values.sort(key=lambda value: value[0].encode())
        node, begin = encoded_leaf(name, values), stream.position
        stream.write(node)
        stream.flush()
    manifest = encoded_manifest(name, begin, node, [value for _, value in values])
    (folder / MANIFEST).write_bytes(manifest)


def layout_of(spec: TensorSpec) -> str:
    """Return the `.zarray` of an array that is one chunk."""
    said = {
        "chunks": [max(n, 1) for n in spec.shape],
        "compressor": None,
        "dimension_separator": ".",
        "dtype": HELD[spec.dtype],
        "fill_value": None,
        "filters": None,
        "order": "C",
        "shape": spec.shape,
        "zarr_format": 2,
    }
    return json.dumps(said, separators=(",", ":"))
