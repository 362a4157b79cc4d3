"""The parent's side: a source whose values come from a child."""

import contextlib
import mmap
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import weakref
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from ... import errors
from ...errors import CheckpointError, CorruptCheckpoint, UnsupportedCheckpoint, noting
from ...source import Index, ListedSource, Source
from ...spec import ITEMSIZES, ROLES, TensorSpec, checked_nbytes
from ..arrays import array_over
from .frames import Ended, encoded_index, receive, receive_into, received, send
from .limits import Limits, limits_for, size_of

if TYPE_CHECKING:
    import numpy as np

MIB = 1 << 20
#: Bytes a second that a child is expected to read at least, when much is asked of it.
SLOWEST = 20 * MIB


def open_in_child(
    format_: Any,
    path: Path,
    files: Iterable[Path],
    *,
    verify: bool,
    options: Mapping[str, Any],
    limits: Limits | None = None,
) -> Source:
    """Open *path* with the module *format_* in a child process; see the package.

    The size of its *files* says what the child may use.
    """
    if not isinstance(format_, ModuleType):
        raise UnsupportedCheckpoint(
            f"the format of {path} cannot be read in a child process: it is no module that "
            "another process could import"
        )
    if options.get("like") is not None:  # a path, and the child works in a folder of its own
        options = {**options, "like": os.path.abspath(Path(options["like"]).expanduser())}
    size = size_of(files)
    start = {"module": format_.__name__, "path": os.path.abspath(path), "verify": verify,
             "options": dict(options)}  # fmt: skip
    library = getattr(format_, "C_LIBRARY", "a library")
    return ChildSource(Child(library, limits or limits_for(size), size), start, path)


class Child:
    """A running child, and how it ended."""

    def __init__(self, library: str, limits: Limits, size: int) -> None:
        self.library = library
        self.limits = limits
        self._max_message = 16 * MIB + 16 * size
        self._lock = threading.Lock()
        self._end = ""  # why no more can be asked of it
        folder = tempfile.mkdtemp(prefix="warmstart-")
        self._wire, theirs = socket.socketpair()
        life, self._life = os.pipe()
        try:
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-m", __package__, str(theirs.fileno()), str(life)],
                stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                cwd=folder, env=environment(), pass_fds=(theirs.fileno(), life),
            )  # fmt: skip
        finally:
            theirs.close()
            os.close(life)
        self._finalizer = weakref.finalize(self, end, self._process, self._wire, self._life, folder)

    def ask(self, request: Mapping[str, Any], nbytes: int = 0) -> dict[str, Any]:
        """Return the child's answer to a request for which it has to read some *nbytes*."""
        with self._lock:
            return self._answer(request, nbytes)

    def ask_bytes(self, request: Mapping[str, Any], expected: int | None, most: int) -> memoryview:
        """Return the bytes that answer a request: as many as *expected*, or up to *most*."""
        with self._lock:
            n = self._answer(request, most)["nbytes"]
            if n > self.limits.memory or n not in (n if expected is None else expected,):
                said = f"the process that read it sent {n} bytes where "
                raise self._failed(f"{said}{'no more' if expected is None else expected} belong")
            with self._watched():
                return self._taken(n)

    def _answer(self, request: Mapping[str, Any], nbytes: int) -> dict[str, Any]:
        if self._end:
            raise CorruptCheckpoint(self._end)
        self._wire.settimeout(self.limits.patience + nbytes / SLOWEST)
        with self._watched():
            send(self._wire, request)
            answer = receive(self._wire, self._max_message)
        if "error" in answer:
            raise raised(answer, self.library)
        return answer

    def _taken(self, n: int) -> memoryview:
        """Return the next *n* bytes; room that is not filled costs no memory."""
        if n < MIB:
            return memoryview(received(self._wire, n)).toreadonly()
        room = memoryview(mmap.mmap(-1, n))
        receive_into(self._wire, room)
        return room.toreadonly()

    @contextlib.contextmanager
    def _watched(self) -> Iterator[None]:
        """Turn what can befall a child in the block into a CorruptCheckpoint that says so."""
        try:
            yield
        except Ended:
            raise self._failed(
                f"the process that read it by {self.library} {self._ending()}"
            ) from None
        except TimeoutError:
            silence = f"hung: it said nothing for {self._wire.gettimeout():.0f} seconds"
            raise self._failed(f"the process that read it by {self.library} {silence}") from None
        except (OSError, MemoryError, CorruptCheckpoint) as error:
            raise self._failed(f"the process that read it sent nonsense: {error}") from error

    def _ending(self) -> str:
        """Return in words how the child ended."""
        try:
            code = self._process.wait(5)
        except subprocess.TimeoutExpired:
            return "went silent"
        if code == -signal.SIGXCPU:
            return f"took more than {self.limits.seconds} s of processor time"
        if code == -signal.SIGKILL:
            return "was killed, as happens when there is no memory left"
        if code < 0:
            return f"crashed: {signal.strsignal(-code) or -code}"
        return f"ended with code {code}"

    def _failed(self, why: str) -> CorruptCheckpoint:
        """End the child, and return the error for this and every later question."""
        self._end = why
        self._finalizer()
        return CorruptCheckpoint(why)

    def close(self) -> None:
        """End the child."""
        with self._lock:
            self._end = self._end or "the source is closed"
            self._finalizer()


def end(process: "subprocess.Popen[bytes]", wire: socket.socket, life: int, folder: str) -> None:
    """End a child for good and remove its folder."""
    process.kill()
    process.wait()
    wire.close()
    os.close(life)
    shutil.rmtree(folder, ignore_errors=True)


def environment() -> dict[str, str]:
    """Return all that a child knows of the environment: where modules are; no plugins of HDF5."""
    paths = [os.path.abspath(path or ".") for path in sys.path]
    return {
        "PYTHONPATH": os.pathsep.join(paths),
        "PYTHONDONTWRITEBYTECODE": "1",
        "HDF5_PLUGIN_PRELOAD": "::",
        "OPENBLAS_NUM_THREADS": "1",
        "OMP_NUM_THREADS": "1",
    }


def raised(answer: Mapping[str, Any], library: str) -> CheckpointError:
    """Return the error that a child tells of, of the same class if it is one of ours."""
    text, notes = str(answer.get("text"))[:100_000], answer.get("notes")
    class_ = getattr(errors, str(answer["error"]), None)
    if not (isinstance(class_, type) and issubclass(class_, CheckpointError)):
        return CorruptCheckpoint(f"{library} could not read it in its process: {text}")
    error: CheckpointError = class_(text)
    for note in notes if isinstance(notes, list) else ():
        error.add_note(str(note))
    return error


class ChildSource(ListedSource):
    """A checkpoint that a child has open."""

    def __init__(self, child: Child, start: Mapping[str, Any], path: Path) -> None:
        self._child = child
        self._place = f"while reading {path}"
        try:
            with noting(self._place):
                told = child.ask({**start, "limits": child.limits.to_dict()})
                self._specs = specs_in(told.get("specs"))
                self._order = names_in(told.get("order"), self._specs)
                self._metadata = texts_in(told.get("metadata"), "metadata")
                self._aliases = texts_in(told.get("aliases"), "aliases")
                self._stored = texts_in(told.get("stored"), "words on how tensors are stored")
                self._derived = names_in(told.get("derived"), self._aliases, whole=False)
                names_in([*self._aliases.values(), *self._stored], self._specs, whole=False)
        except BaseException:
            child.close()
            raise

    @property
    def stored(self) -> Mapping[str, str]:
        return self._stored

    def read(self, name: str) -> "np.ndarray":
        spec = self._spec(name)
        with noting(self._place):
            return self._values(spec, None, spec.shape)

    def read_slice(self, name: str, index: Index) -> "np.ndarray":
        import numpy as np

        spec, items = self._spec(name), encoded_index(index)
        if items is None:
            return np.asarray(self.read(name)[index])
        with noting(self._place):
            return self._values(spec, items, shape_of_part(spec, index))

    def _spec(self, name: str) -> TensorSpec:
        return self._specs[self._own(name)]

    def _values(
        self, spec: TensorSpec, items: list[Any] | None, shape: tuple[int, ...]
    ) -> "np.ndarray":
        """Return the part *items* of a tensor, which has this *shape*."""
        request = {"read": spec.name, "index": items}
        if spec.dtype == "string":
            return strings_in(self._child.ask_bytes(request, None, 0), spec, shape)
        part = TensorSpec(spec.name, spec.dtype, shape)
        raw = self._child.ask_bytes(request, part.nbytes, spec.nbytes)
        return array_over(raw, spec.numpy_dtype, shape)

    def check(self, names: Iterable[str]) -> None:
        with noting(self._place):
            self._child.ask({"check": [self._spec(name).name for name in names]})

    def unclaimed(self) -> Iterable[str] | None:
        with noting(self._place):
            found = self._child.ask({"unclaimed": True}).get("unclaimed")
        return None if found is None else [str(item) for item in found]

    def read_order(self) -> Iterator[str]:
        yield from self._order

    def close(self) -> None:
        self._child.close()


# --- what a child says, checked ---------------------------------------------------------------


def specs_in(told: Any) -> dict[str, TensorSpec]:
    """Return the specs that a child tells of."""
    specs: dict[str, TensorSpec] = {}
    for item in told if isinstance(told, list) else [told]:
        match item:
            case [str(name), str(dtype), [*shape], None | str() as role] if (
                dtype in ITEMSIZES
                and all(type(n) is int for n in shape)
                and (role is None or role in ROLES)
                and name not in specs
            ):
                checked_nbytes(dtype, shape)
                specs[name] = TensorSpec(name, dtype, tuple(shape), role)
            case _:
                raise CorruptCheckpoint(
                    f"the process that read it tells of no tensor: {str(item)[:200]}"
                )
    return specs


def names_in(told: Any, specs: Mapping[str, object], *, whole: bool = True) -> list[str]:
    """Return the names that a child tells of, if there are tensors so called; all, if *whole*."""
    known = isinstance(told, list) and all(isinstance(n, str) and n in specs for n in told)
    if not known or (whole and sorted(told) != sorted(specs)):
        raise CorruptCheckpoint("the process that read it names tensors that it did not tell of")
    return list(told)


def texts_in(told: Any, what: str) -> dict[str, str]:
    """Return the texts by name that a child tells of."""
    if not isinstance(told, dict) or not all(isinstance(text, str) for text in told.values()):
        raise CorruptCheckpoint(f"the process that read it tells of no {what}")
    return told


def shape_of_part(spec: TensorSpec, index: Index) -> tuple[int, ...]:
    """Return the shape of a part; a wrong index raises as NumPy would."""
    import numpy as np

    part: tuple[int, ...] = np.broadcast_to(np.empty((), bool), spec.shape)[index].shape
    return part


def strings_in(raw: memoryview, spec: TensorSpec, shape: tuple[int, ...]) -> "np.ndarray":
    """Return the strings in *raw*: the length of each, then their bytes."""
    import numpy as np

    count = TensorSpec("", "uint8", shape).size
    if count * 8 > len(raw):
        raise CorruptCheckpoint(f"{spec.name!r} has no {count} strings in {len(raw)} bytes")
    lengths = np.frombuffer(raw, "<u8", count).tolist()
    if sum(lengths) != len(raw) - count * 8:
        raise CorruptCheckpoint(f"{spec.name!r} has strings of {sum(lengths)} bytes, not so many")
    array, at = np.empty(count, object), count * 8
    for i, length in enumerate(lengths):
        array[i] = bytes(raw[at : at + length])
        at += length
    return array.reshape(shape)
