"""One pass over the groups of a file: what is there, and refusing what leads out of it."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache
from typing import TYPE_CHECKING, Any, NamedTuple

from ...errors import CorruptCheckpoint, UnsupportedCheckpoint
from ...names import parts as parts_of
from ...spec import ITEMSIZES, TensorSpec, checked_nbytes

if TYPE_CHECKING:
    import numpy as np

MAX_DEPTH = 100
MAX_RATIO = 1032  # bytes that one byte of a file can stand for: deflate's limit

#: The filters that come with HDF5 and h5py.  For any other HDF5 would search folders for a plug-in
#: and run it.
FILTERS = {1: "deflate", 2: "shuffle", 3: "fletcher32", 4: "szip", 5: "nbit", 6: "scaleoffset",
           32000: "lzf"}  # fmt: skip

#: The attribute in which a dataset of raw values says its dtype, as Keras 3 does for bfloat16.
DTYPE = "dtype"


class Dataset(NamedTuple):
    """One dataset: what it holds, and where, if its values lie in one piece of the file."""

    path: str
    dtype: str
    shape: tuple[int, ...]
    stored: Any  # the NumPy dtype of the values in the file
    begin: int | None = None

    def spec(self, name: str, role: str | None = None) -> TensorSpec:
        """Return the spec of this dataset under *name*."""
        return TensorSpec(name, self.dtype, self.shape, role)


@dataclass(frozen=True, slots=True)
class Contents:
    """What the groups of a file hold; `links` are second paths of a dataset: path -> first path."""

    datasets: dict[str, Dataset] = field(default_factory=dict)
    groups: list[str] = field(default_factory=list)
    links: dict[str, str] = field(default_factory=dict)
    others: dict[str, str] = field(default_factory=dict)  # no arrays: path -> what it is


class Walk:
    """One pass over all groups of a file, following no link that leads anywhere else."""

    def __init__(self, file: Any, size: int) -> None:
        import h5py

        self._h5 = h5py
        self._file = file
        self._room = size * MAX_RATIO
        self._stored_room = size
        self._first: dict[Any, str] = {}  # address -> the path under which it was met first
        self._faults: dict[str, str] = {}
        self._soft: dict[str, str] = {}
        self.contents = Contents()
        self._groups(file.id)
        self._follow_soft_links()
        if self._faults:
            lines = [f"  {path!r} {fault}" for path, fault in self._faults.items()]
            raise UnsupportedCheckpoint("\n".join(["what HDF5 is not asked to follow:", *lines]))

    def _groups(self, root: Any) -> None:
        """Go through the groups from *root* on, each once, the first child first."""
        self._first[self._h5.h5o.get_info(root).addr] = ""
        pending = [("", root, 0)]
        while pending:
            path, group, depth = pending.pop()
            self.contents.groups.append(path)
            if depth > MAX_DEPTH:
                raise CorruptCheckpoint(f"groups lie more than {MAX_DEPTH} deep at {path[:100]!r}")
            below = list(self._members(path, group))
            pending += [(name, child, depth + 1) for name, child in reversed(below)]

    def _members(self, path: str, group: Any) -> Iterator[tuple[str, Any]]:
        """Take note of the datasets in *group*, and yield the groups in it that are new."""
        links: list[tuple[bytes, int, int]] = []
        group.links.iterate(lambda raw, info: links.append((raw, info.type, info.u)), info=True)
        for raw, kind, address in links:
            name = str(raw, "utf-8") if path == "" else path + "/" + str(raw, "utf-8")
            if kind == self._h5.h5l.TYPE_SOFT:
                self._soft[name] = joined(path, str(group.links.get_val(raw), "utf-8"))
            elif kind != self._h5.h5l.TYPE_HARD:
                self._faults[name] = "is a link to another file"
            elif self._first.setdefault(address, name) != name:
                self._again(name, self._first[address])
            else:
                child = self._h5.h5o.open(group, raw)
                if isinstance(child, self._h5.h5g.GroupID):
                    yield name, child
                elif isinstance(child, self._h5.h5d.DatasetID):  # else a dtype with a name
                    self._dataset(name, child)

    def _again(self, name: str, before: str) -> None:
        """Take note of a second path to what was met as *before*."""
        if before in self.contents.datasets:
            self.contents.links[name] = before
        elif before not in self.contents.others:
            self._faults[name] = f"is the same group as {before or '/'!r}"

    def _dataset(self, path: str, item: Any) -> None:
        """Take note of a dataset, or of why it is not read."""
        creation = item.get_create_plist()  # asked first: a shape may need other files
        layout = creation.get_layout()
        if layout == self._h5.h5d.VIRTUAL:
            self._faults[path] = "is a virtual dataset, whose values are in other files"
        elif creation.get_external_count():
            self._faults[path] = "has its values in another file"
        elif unknown := unknown_filters(creation):
            self._faults[path] = f"is packed by HDF5 filters that are not known here: {unknown}"
        elif item.get_space().get_simple_extent_type() == self._h5.h5s.NULL:
            self.contents.others[path] = "nothing"
        else:
            self._array(path, item, creation, layout)

    def _array(self, path: str, item: Any, creation: Any, layout: int) -> None:
        """Take note of an array; what is none (records, references) is only named."""
        stored = stored_dtype(item)
        dtype = dtype_of(path, item, stored)
        if dtype is None:
            self.contents.others[path] = f"no array of numbers: {stored or 'of no known type'}"
            return
        shape = item.shape
        self._refuse_bomb(path, item, checked_nbytes(dtype, shape))
        if layout == self._h5.h5d.CHUNKED:
            chunk = checked_nbytes(dtype, creation.get_chunk())
            self._refuse_bomb(path, item, max(chunk - checked_nbytes(dtype, shape), 0), again=True)
        whole = layout == self._h5.h5d.CONTIGUOUS and dtype != "string"
        begin = item.get_offset() if whole else None  # None as well if nothing was written there
        self.contents.datasets[path] = Dataset(path, dtype, shape, stored, begin)

    def _refuse_bomb(self, path: str, item: Any, nbytes: int, *, again: bool = False) -> None:
        """Refuse a file whose datasets lie over one another, or could not be packed so small."""
        self._room -= nbytes
        self._stored_room -= 0 if again else item.get_storage_size()
        if self._room < 0 or self._stored_room < 0:
            raise CorruptCheckpoint(
                f"the datasets up to {path!r} claim more than the file can hold"
                + ("" if self._room < 0 else ": they lie over one another")
            )

    def _follow_soft_links(self) -> None:
        """Take a soft link to a dataset as another path of it; refuse what leads elsewhere."""
        for path, target in self._soft.items():
            if target in self.contents.datasets:
                self.contents.links[path] = target
            elif target not in self.contents.others:
                self._faults[path] = f"is a link to {target!r}, which is no dataset"


def joined(group: str, target: str) -> str:
    """Return the path that a soft link in *group* names.

    >>> joined("a", "b/c"), joined("a", "/b//./c"), joined("", "b")
    ('a/b/c', 'b/c', 'b')
    """
    whole = target if target.startswith("/") else f"{group}/{target}"
    return "/".join(part for part in parts_of(whole) if part not in ("", "."))


def unknown_filters(creation: Any) -> str:
    """Return the filters of a dataset that are not known, as words; "" if there are none."""
    filters = [creation.get_filter(i) for i in range(creation.get_nfilters())]
    return ", ".join(
        f"{number} ({str(name, 'utf-8', 'replace')})"
        for number, _, _, name in filters
        if number not in FILTERS
    )


def stored_dtype(item: Any) -> "np.dtype | None":
    """Return the NumPy dtype of a dataset, None where NumPy has none like it."""
    try:
        dtype: np.dtype = item.dtype
    except TypeError:
        return None
    return dtype


def dtype_of(path: str, item: Any, stored: "np.dtype | None") -> str | None:
    """Return the name of a dataset's dtype, None if it holds no numbers and no strings."""
    if stored is None:
        return None
    if stored.kind in "SO":
        return "string" if stored.kind == "S" or holds_strings(stored) else None
    if stored.kind == "V":
        return raw_dtype(path, item, stored)
    return number_dtype(stored)


@cache
def number_dtype(stored: "np.dtype") -> str | None:
    """Return the name of a dtype of numbers, None for one that no tensor has."""
    return stored.name if stored.subdtype is None and stored.name in ITEMSIZES else None


def holds_strings(stored: "np.dtype") -> bool:
    """Return whether objects are strings, or bytes of varying number, as h5py marks them."""
    import h5py

    return bool(h5py.check_string_dtype(stored) or h5py.check_vlen_dtype(stored) == "uint8")


def raw_dtype(path: str, item: Any, stored: "np.dtype") -> str | None:
    """Return the dtype of raw values, which an attribute states; records have none."""
    import h5py

    stated = h5py.AttributeManager(h5py.Dataset(item)).get(DTYPE)
    if stored.names is not None or stored.subdtype is not None or stated is None:
        return None
    dtype = stated if isinstance(stated, str) else str(bytes(stated), "utf-8", "replace")
    if ITEMSIZES.get(dtype) != stored.itemsize:
        raise CorruptCheckpoint(f"{path!r} is said to be {dtype}, of {stored.itemsize} bytes each")
    return dtype
