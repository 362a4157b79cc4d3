"""An archive of arrays, and a single array, as sources."""

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ...binary.checksum import crc32_of
from ...binary.window import FileBytes, file_bytes
from ...binary.zip import Member, inflated, member_bytes, read_members, runs_between
from ...errors import CorruptCheckpoint, UnsupportedCheckpoint, noting
from ...source import ListedSource, Source
from ...spec import ITEMSIZES, RUN_PREFIX, TensorSpec
from ..arrays import array_over, settled
from ..notes import Notes, checked, decode
from .npy import MAX_HEAD, STATED, Npy, parse_npy

if TYPE_CHECKING:
    import numpy as np

    from .objects import Objects

NOTE = RUN_PREFIX + "state"

#: Bytes that a header can take in a member, deflated however badly.
MAX_PACKED_HEAD = 1 << 16


@dataclass(frozen=True, slots=True)
class Entry:
    """One array: its spec, its header, and the member it is in."""

    spec: TensorSpec
    npy: Npy
    member: Member


class NpySource(ListedSource):
    """The one array of an .npy file, mapped, under the name of the file; there is no checksum."""

    def __init__(self, file: FileBytes, npy: Npy, name: str, place: str) -> None:
        self._place = place
        self._specs = {name: spec_of_npy(name, npy, Notes())}
        self._npy, self._file = npy, file

    def unclaimed(self) -> Iterator[str]:
        return iter(())  # the values end where the file does, or it is refused

    def read(self, name: str) -> "np.ndarray":
        spec = self._specs[self._own(name)]
        with noting(self._place):
            return values(self._file[self._npy.begin :], self._npy, spec)


def open_npy(path: Path, *, mmap: bool = True) -> Source:
    """Open an .npy file: its one array, or where that is of objects the arrays in these."""
    place = f"while reading {path}"
    file = file_bytes(path, mmap=mmap)
    with noting(place):
        npy = parse_npy(bytes(file[:MAX_HEAD]), len(file))
        if not npy.pickled:
            return NpySource(file, npy, path.stem, place)
        from .objects import ObjectsSource

        return ObjectsSource(file[npy.begin : len(file)], path.stem, place)


class NpzSource(ListedSource):
    """An archive: stored members are read-only views of the mapped file, deflated ones unpacked.

    A stored member that NumPy wrote may lie unaligned; NumPy's flags say so, and it can be used.
    """

    def __init__(self, path: Path, *, verify: bool, mmap: bool = True) -> None:
        self._place = f"while reading {path}"
        self._file = file_bytes(path, mmap=mmap)
        self._unchecked = set[str]()
        with noting(self._place):
            self._members = read_members(self._file)
            members = by_name(self._members)
            headers = read_headers(self._file, members)
            pickled = {name: npy for name, npy in headers.items() if npy.pickled}
            plain = {name: npy for name, npy in headers.items() if not npy.pickled}
            self._notes = self._read_notes(plain, members)
            self._entries = entries(plain, members, self._notes)
            self._objects = self._read_objects(pickled, members, verify=verify)
        self._specs = {name: entry.spec for name, entry in self._entries.items()}
        if self._objects is not None:
            self._specs |= self._objects.specs
        self._aliases, self._derived = self._notes.aliases, self._notes.derived
        if verify:
            self._unchecked.update(self._entries)

    @property
    def metadata(self) -> Mapping[str, str]:
        found = {} if self._objects is None else self._objects.metadata
        return {**found, **self._notes.metadata}

    def read(self, name: str) -> "np.ndarray":
        name = self._own(name)
        if self._objects is not None and name in self._objects.specs:
            return self._objects.read(name)
        entry = self._entries[name]
        with noting(self._place), noting(f"in the member {entry.member.name!r}"):
            raw = bytes_of(self._file, entry.member, verify=name in self._unchecked)
            self._unchecked.discard(name)
            return values(raw[entry.npy.begin :], entry.npy, entry.spec)

    def unclaimed(self) -> Iterator[str]:
        return runs_between(self._file, self._members)

    def _read_objects(
        self, headers: Mapping[str, Npy], members: Mapping[str, Member], *, verify: bool
    ) -> "Objects | None":
        """Return what the members hold that are pickles; None where there are none."""
        if not headers:
            return None
        from .objects import Objects, refuse_bomb

        objects = Objects()
        for name, npy in headers.items():
            member = members[name]
            with noting(f"in the member {member.name!r}"):
                if member.deflated:
                    refuse_bomb(member.end - member.begin, member.size)
                raw = bytes_of(self._file, member, verify=verify)
                objects.add(raw[npy.begin :], name, name)
        twice = sorted({*objects.specs, *objects.metadata} & self._entries.keys())
        if twice:
            raise CorruptCheckpoint(f"arrays that are there twice: {', '.join(map(repr, twice))}")
        return objects

    def _read_notes(self, headers: dict[str, Npy], members: dict[str, Member]) -> Notes:
        npy = headers.pop(NOTE, None)
        if npy is None:
            return Notes()
        raw = bytes_of(self._file, members[NOTE], verify=True)
        return checked(decode(bytes(raw[npy.begin :])), headers)


def by_name(members: list[Member]) -> dict[str, Member]:
    """Return the members by the name of their array; `w` and `w.npy` are one name, as in NumPy.

    Folders, which archivers add, hold nothing and are no arrays.
    """
    arrays = [m for m in members if not (m.name.endswith("/") and m.size == 0)]
    found = {member.name.removesuffix(".npy"): member for member in arrays}
    if len(found) != len(arrays):
        counts = Counter(member.name.removesuffix(".npy") for member in arrays)
        twice = sorted(name for name, count in counts.items() if count > 1)
        raise CorruptCheckpoint(f"arrays that are there twice: {', '.join(map(repr, twice))}")
    return found


def read_headers(file: FileBytes, members: Mapping[str, Member]) -> dict[str, Npy]:
    """Return the header of every member; those that cannot be read are refused together."""
    headers, faults = {}, dict[str, UnsupportedCheckpoint]()
    for name, member in members.items():
        with noting(f"in the member {member.name!r}"):
            try:
                headers[name] = parse_npy(first_bytes(file, member), member.size)
            except UnsupportedCheckpoint as error:
                faults[member.name] = error
    refuse_unsupported({name: str(error) for name, error in faults.items()})
    return headers


def entries(
    headers: Mapping[str, Npy], members: Mapping[str, Member], notes: Notes
) -> dict[str, Entry]:
    """Return every array by name, with its true dtype and its role."""
    found, faults = {}, {}
    for name, npy in headers.items():
        try:
            found[name] = Entry(spec_of_npy(name, npy, notes), npy, members[name])
        except UnsupportedCheckpoint as error:
            faults[members[name].name] = str(error)
    refuse_unsupported(faults)
    return found


def refuse_unsupported(faults: Mapping[str, str]) -> None:
    """Raise one error for every member that cannot be read."""
    if faults:
        lines = [f"  {name!r}: {fault}" for name, fault in faults.items()]
        raise UnsupportedCheckpoint("\n".join([f"{len(faults)} members cannot be read:", *lines]))


def spec_of_npy(name: str, npy: Npy, notes: Notes) -> TensorSpec:
    """Return the spec of an array; raw bytes have a dtype only if the *notes* know it."""
    role = "run" if name.startswith(RUN_PREFIX) else notes.roles.get(name)
    dtype = npy.dtype or notes.dtypes.get(name)
    if dtype is None:
        raise UnsupportedCheckpoint(
            f"it holds raw values of {npy.itemsize} bytes ({npy.descr!r}), of no stated dtype.  "
            "NumPy saves bfloat16 and float8 so: array.view(ml_dtypes.bfloat16) gives them back, "
            "and an .npz saved by this library keeps them"
        )
    if npy.dtype is None and ITEMSIZES.get(dtype) != npy.itemsize:
        raise CorruptCheckpoint(f"{name!r} is noted as {dtype}, but has {npy.itemsize}-byte values")
    return TensorSpec(name, dtype, npy.shape, role)


def first_bytes(file: FileBytes, member: Member) -> bytes:
    """Return as much of *member* as its header can take."""
    start = file[member.begin : min(member.begin + MAX_PACKED_HEAD, member.end)]
    if not member.deflated:
        return bytes(start[:MAX_HEAD])
    head = b""
    for piece in inflated(start, member.size):
        head += piece
        if len(head) >= MAX_HEAD:
            break
    return head[:MAX_HEAD]


def bytes_of(file: FileBytes, member: Member, *, verify: bool) -> memoryview:
    """Return the bytes of *member*, with *verify* checked."""
    raw = member_bytes(file, member)
    if verify and crc32_of(raw) != member.crc:
        raise CorruptCheckpoint("its CRC-32 is not that of its bytes: they were changed")
    return raw


def values(raw: memoryview, npy: Npy, spec: TensorSpec) -> "np.ndarray":
    """Return the array in *raw*, copied only where byte order or axis order ask for it."""
    import numpy as np

    dtype = np.dtype(npy.descr) if npy.dtype in STATED else spec.numpy_dtype
    array = array_over(raw, dtype, npy.shape, order="F" if npy.fortran_order else "C")
    return strings(array) if npy.dtype == "string" else settled(array)


def strings(array: "np.ndarray") -> "np.ndarray":
    """Return fixed-width bytes or text as an array of `bytes`, text in UTF-8."""
    import numpy as np

    found = np.empty(array.shape, object)
    try:
        items = array.ravel().tolist() if array.dtype.kind == "S" else list(texts_in_utf8(array))
    except UnicodeDecodeError as error:
        raise CorruptCheckpoint(f"an array of {array.dtype.str!r} holds what is no text") from error
    found.reshape(-1)[:] = items
    return found


def texts_in_utf8(array: "np.ndarray") -> Iterator[bytes]:
    """Yield each item of a text array, which NumPy would make a broken `str` of without a check."""
    width = array.dtype.itemsize
    raw = array.astype(array.dtype.newbyteorder("<")).tobytes()
    for begin in range(0, len(raw), width):
        yield raw[begin : begin + width].decode("utf-32-le").rstrip("\0").encode()
