"""The stack machine that a pickle is a program for.

    while the opcode is not STOP: take the next byte, and do what it says to stack and memo

Protocols 0 to 5.  Nothing is recursive, each opcode takes time for its own bytes and operands only.
What a checkpoint has no use for is refused: the extension registry and out-of-band buffers.
Source: CPython 3.11, Lib/pickletools.py and Lib/pickle.py.
"""

from collections.abc import Callable, Mapping
from typing import Any

from ...errors import CorruptCheckpoint, UnsupportedCheckpoint
from .builders import COMMON, Builder, BuilderTable, Unfit
from .keys import Keys
from .nodes import Attributed, Call, Global, brief

Data = bytes | bytearray | memoryview

#: Bytes from this size on stay views of the pickle, where that is asked for.
LARGE = 4096
MAX_INTEGER = 1024  # bytes; Python itself writes no longer one out in digits
MAX_MEMO = 2**32
HIGHEST_PROTOCOL = 5

#: Bytes that builders may copy, for each byte of the pickle read so far, and once.
COPIED, COPIED_ONCE = 64, 1 << 16

#: Modules by the names they have in pickles of Python 2 and protocols below 3.
RENAMED = {"__builtin__": "builtins", "copy_reg": "copyreg"}

Persistent = Callable[[Any], Any]


class Truncated(CorruptCheckpoint):
    """The bytes end before the pickle does; with more of them it may be sound."""


class Memo(dict[int, Any]):
    """Values by the number that the pickle gave them."""

    def __missing__(self, index: int) -> Any:
        raise CorruptCheckpoint(f"the pickle recalls value {index}, which it never remembered")


class Machine:
    """One run over one pickle."""

    def __init__(
        self,
        data: Data,
        begin: int = 0,
        *,
        builders: BuilderTable = COMMON,
        persistent: Persistent | None = None,
        views: bool = False,
    ) -> None:
        self.data = memoryview(data)
        self.begin = self.at = begin
        self.views = views
        self.stack: list[Any] = []
        self.memo = Memo()
        self.keys = Keys()
        self.running = True
        self._builders = builders
        self._persistent = persistent
        self._marked: list[list[Any]] = []
        self._globals: dict[tuple[str, str], Global] = {}
        self._known: dict[int, Builder] = {}  # by the id of one of those globals
        self._copied = 0

    # --- bytes ----------------------------------------------------------------------------------

    def take(self, n: int) -> memoryview:
        """Return the next *n* bytes, which must be there."""
        end = self.at + n
        if end > len(self.data):
            raise cut_short(len(self.data))
        part = self.data[self.at : end]
        self.at = end
        return part

    def number(self, n: int) -> int:
        """Return the unsigned number in the next *n* bytes."""
        return int.from_bytes(self.take(n), "little")

    def line(self) -> bytes:
        """Return the bytes up to the next line feed, and go past it."""
        room = 256
        while (end := bytes(self.data[self.at : self.at + room]).find(b"\n")) < 0:
            if self.at + room > len(self.data):
                raise cut_short(len(self.data))
            room *= 4
        found = bytes(self.take(end))
        self.at += 1
        return found

    def raw(self, n: int) -> bytes | memoryview:
        """Return the next *n* bytes as a value."""
        part = self.take(n)
        return part if self.views and n >= LARGE else bytes(part)

    # --- stack and memo -------------------------------------------------------------------------

    def mark(self) -> None:
        """Begin a stack above the stack."""
        self._marked.append(self.stack)
        self.stack = []

    def since_mark(self) -> list[Any]:
        """Return what stands above the mark, and take both away."""
        found = self.stack
        self.stack = self._marked.pop()
        return found

    def pop(self) -> None:
        """Take the uppermost value away, or the mark where there is none."""
        if self.stack:
            self.stack.pop()
        else:
            self.since_mark()

    def remember(self, index: int) -> None:
        """Put the uppermost value in the memo."""
        if index > MAX_MEMO or index < 0:
            raise CorruptCheckpoint(f"the pickle remembers a value as number {index}")
        self.memo[index] = self.stack[-1]

    def recall(self, index: int) -> None:
        """Push a value of the memo."""
        self.stack.append(self.memo[index])

    # --- names and calls ------------------------------------------------------------------------

    def named(self, module: str, name: str) -> Global:
        """Return the node for a name to import; one for each name."""
        key = (RENAMED.get(module, module), name)
        if key not in self._globals:
            found = self._globals[key] = Global(*key)
            builder = FORWARDED.get(key) or self._builders.get(key)
            if builder is not None:
                self._known[id(found)] = builder
        return self._globals[key]

    def called(self, function: Any, args: Any, kwargs: Any = None) -> Any:
        """Return the value of a call that the table knows and whose arguments fit, else a node."""
        if not isinstance(args, tuple) or (kwargs and not isinstance(kwargs, dict)):
            raise CorruptCheckpoint(
                f"{brief(function)} is to be called with {brief(args)}, not a tuple"
            )
        builder = self._known.get(id(function))
        if builder is None:
            return Call(function, args, kwargs)
        self._charge(args)
        if builder in FORWARDS:
            function, args, *more = builder(*args)
            if self._known.get(id(function)) in FORWARDS:
                raise CorruptCheckpoint(f"{brief(function)} is to be called by another like it")
            return self.called(function, args, *more)
        try:
            return builder(*args, **kwargs) if kwargs else builder(*args)
        except Unfit:
            return Call(function, args, kwargs)

    def _charge(self, args: tuple[Any, ...]) -> None:
        """Refuse a pickle whose calls copy the same large values again and again."""
        self._copied += len(args)
        for arg in args:
            if type(arg) in SIZED:
                self._copied += len(arg)
        if self._copied > COPIED_ONCE + COPIED * (self.at - self.begin):
            raise CorruptCheckpoint(
                f"the pickle's calls copy {self._copied} values, out of {self.at - self.begin} "
                "bytes: it makes the same large one again and again"
            )

    def persistent(self, key: Any) -> Any:
        """Return what the pickle keeps elsewhere under *key*."""
        if self._persistent is None:
            raise UnsupportedCheckpoint(f"the pickle refers to {brief(key)} outside of it")
        return self._persistent(key)

    # --- changes to the uppermost value ---------------------------------------------------------

    def append(self, values: list[Any]) -> None:
        """Append *values* to the uppermost value."""
        target = self.stack[-1]
        if isinstance(target, list):
            target.extend(values)
        elif isinstance(target, Call):
            target.append(values)
        else:
            raise CorruptCheckpoint(f"values are appended to a {type(target).__name__}")

    def add(self, values: list[Any]) -> None:
        """Add *values* to the uppermost value, a set."""
        target = self.stack[-1]
        if isinstance(target, set):
            target.update(self.keys.checked(values))
        elif isinstance(target, Call):
            target.append(values)
        else:
            raise CorruptCheckpoint(f"values are added to a {type(target).__name__}")

    def set_items(self, flat: list[Any]) -> None:
        """Set items of the uppermost value: key, value, key, value."""
        target, keys = self.stack[-1], flat[::2]
        if len(flat) % 2:
            raise CorruptCheckpoint("the last key of a dict has no value")
        if isinstance(target, dict):
            self.keys.check(keys)
            target.update(zip(keys, flat[1::2], strict=True))
        elif isinstance(target, Call):
            target.set_items(list(zip(keys, flat[1::2], strict=True)))
        else:
            raise CorruptCheckpoint(f"items are set on a {type(target).__name__}")

    def build(self, state: Any) -> None:
        """Give the uppermost value its *state*."""
        target = self.stack[-1]
        set_state = getattr(target, "set_state", None)
        if set_state is None:
            raise CorruptCheckpoint(f"a {type(target).__name__} is given a state")
        set_state(state)


SIZED = frozenset(
    (str, bytes, bytearray, memoryview, list, tuple, dict, set, frozenset, Attributed)
)


def cut_short(at: int) -> Truncated:
    """Return the error for a pickle that goes on where the bytes end."""
    return Truncated(f"the pickle is cut short: it goes on at byte {at}, where the bytes end")


def reconstructed(cls: Any, base: Any, _state: Any) -> tuple[Any, tuple[Any, ...]]:
    """Return the call that makes an object of protocol 0 or 1; a base beside object has a value."""
    return cls, () if base == Global("builtins", "object") else (_state,)


#: What only calls another function: arguments -> that function, its arguments (and keywords).
FORWARDED: Mapping[tuple[str, str], Callable[..., tuple[Any, ...]]] = {
    ("copyreg", "_reconstructor"): reconstructed,
    ("copyreg", "__newobj__"): lambda cls, *args: (cls, args),
    ("copyreg", "__newobj_ex__"): lambda cls, args, kwargs: (cls, args, kwargs),
}
FORWARDS = frozenset(FORWARDED.values())
