"""The processes of one run, and the little they say to each other: never a tensor.

    answer = processes.settle("saving model-8", say, decide)

Every process says something; process 0 makes one answer of all that was said, and every process
gets it.  Where one fails, or does not come, all of them raise, and say which one it was.

An engine that runs in several processes has a store of small values that all of them see; that is
all that is asked of it.  A program of one process needs none: it says and decides by itself.
"""

import time
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from typing import Protocol

from .errors import CheckpointError, ProcessError, first_line, full_text

#: Seconds that a process may take longer than the others.
TIMEOUT = 600.0
#: Seconds that process 0 has for an answer beyond the time it waits for the others.
MARGIN = 15.0
#: Seconds that process 0 stays at most so that the others hear what it said last.
FAREWELL = 2.0
#: Bytes of one value in a store: more are put as several.
CHUNK = 1 << 20

SAID, FAILED = b"+", b"-"


class Store(Protocol):
    """Small values by key, seen by every process of a run."""

    def put(self, key: str, value: bytes) -> None:
        """Set *key*, once."""

    def get(self, key: str, timeout: float) -> bytes | None:
        """Return the value of *key*, waiting for it; None when it has not come in *timeout* s.

        Raise ConnectionError when the store itself is gone.
        """

    def delete(self, key: str) -> None:
        """Forget *key*."""


class NoStore:
    """What a program of one process has."""

    def put(self, key: str, value: bytes) -> None:
        """Do nothing: nobody else is there."""

    def get(self, key: str, timeout: float) -> bytes | None:
        """Return None."""
        return None

    def delete(self, key: str) -> None:
        """Do nothing."""


@contextmanager
def asking(store: str) -> Iterator[None]:
    """Turn the RuntimeError of a framework whose *store* is gone into a ConnectionError."""
    try:
        yield
    except RuntimeError as error:
        raise ConnectionError(f"{store} does not answer: {first_line(error)}") from error


@dataclass
class Rounds:
    """How often the processes have settled something, which tells the keys of one from another."""

    done: int = 0
    beside: int = 0  # how many others were begun beside this one
    answers: list[str] = field(default_factory=list)  # in the store, and read by everybody


@dataclass(frozen=True, slots=True)
class Processes:
    """This process, number *rank* of *count*, and the *store* that all of them see.

    Each of them calls `settle` for the same things in the same order.
    """

    rank: int
    count: int
    store: Store
    timeout: float = TIMEOUT  # seconds
    rounds: Rounds = field(default_factory=Rounds, repr=False)
    name: str = "warmstart"  # what the keys in the store begin with

    def beside(self) -> "Processes":
        """Return the same processes for what a thread of each settles, beside this one.

        Every process calls it at the same place.
        """
        self.rounds.beside += 1
        return replace(self, rounds=Rounds(), name=f"{self.name}-{self.rounds.beside}")

    @property
    def first(self) -> bool:
        """Whether this is process 0, which decides and writes what there is one of."""
        return self.rank == 0

    def settle(
        self,
        what: str,
        say: Callable[[], bytes],
        decide: Callable[[Sequence[bytes]], bytes] = lambda said: b"",
    ) -> bytes:
        """Return what *decide* makes, in process 0, of what every process says, by rank.

        Where one raises, it raises that in its own process and ProcessError in the others; so do
        those that find one missing after `timeout` seconds.  *what* is being done, for messages.
        """
        if self.count == 1:
            return decide([say()])
        self.rounds.done += 1
        place = f"{self.name}/{self.rounds.done}"
        try:
            if self.first:
                return self._decided(place, what, say, decide)
            return self._answered(place, what, say)
        except ConnectionError as error:
            raise ProcessError(
                f"the processes cannot reach each other while {what}: {error}"
            ) from error

    def agree(self, what: str, say: Callable[[], bytes]) -> bytes:
        """Return what process 0 says, in all of them."""
        return self.settle(what, say if self.first else bytes, lambda said: said[0])

    def on_first(self, what: str, do: Callable[[], object]) -> None:
        """Let process 0 do something; all wait for it, and raise if it does."""

        def decide(said: Sequence[bytes]) -> bytes:
            do()
            return b""

        self.settle(what, bytes, decide)

    def leave(self) -> None:
        """Let process 0 stay until the others have heard all that it said.

        It may be the one that has the store, which is gone when it ends.  Every process calls it
        when nothing is left to settle.
        """
        if self.count == 1:
            return
        self.rounds.done += 1
        place = f"{self.name}/{self.rounds.done}"
        if self.first:
            self._stay(place)
        else:
            self._heard_all(place)

    def _heard_all(self, place: str) -> None:
        """Let process 0 know that it need not stay for this one."""
        with suppress(ConnectionError):  # it did not, and nothing more is asked of it
            self.store.put(f"{place}/{self.rank}/heard", b"")

    def _stay(self, place: str, lost: Collection[int] = ()) -> None:
        """Wait until the others, but for those *lost*, have heard what was said last."""
        deadline = time.monotonic() + FAREWELL
        with suppress(ConnectionError):
            for rank in (each for each in range(1, self.count) if each not in lost):
                self.store.get(f"{place}/{rank}/heard", max(0.0, deadline - time.monotonic()))

    def _decided(
        self,
        place: str,
        what: str,
        say: Callable[[], bytes],
        decide: Callable[[Sequence[bytes]], bytes],
    ) -> bytes:
        """Return the answer, made here, having told it to the others."""
        self.store.put(f"{place}/here", b"")  # whoever waits knows that it is not for this process
        try:
            answer = decide([say(), *self._heard(place, what)])
        except BaseException as error:
            self._send(f"{place}/answer", FAILED + told(self, error))
            self._stay(place, getattr(error, "lost", ()))
            raise
        for key in self.rounds.answers:  # all have spoken since, so they have read it
            self.store.delete(key)
        self.rounds.answers = self._send(f"{place}/answer", SAID + answer)
        self.rounds.answers.append(f"{place}/here")
        return answer

    def _heard(self, place: str, what: str) -> list[bytes]:
        """Return what every other process said."""
        deadline = time.monotonic() + self.timeout
        said: list[bytes] = []
        missing: list[int] = []
        for rank in range(1, self.count):
            message = self._receive(f"{place}/{rank}", deadline, forget=True)
            if message is None:
                missing.append(rank)
            else:
                said.append(self._content(message, what, rank))
        if missing:
            raise self._lost(missing, what)
        return said

    def _answered(self, place: str, what: str, say: Callable[[], bytes]) -> bytes:
        """Return the answer of process 0, having said something."""
        try:
            said = SAID + what.encode() + b"\0" + say()
        except BaseException as error:
            self._send(f"{place}/{self.rank}", FAILED + told(self, error))
            raise
        self._send(f"{place}/{self.rank}", said)
        begun = time.monotonic()
        answer = self._receive(f"{place}/answer", begun + self.timeout)
        if answer is None and self.store.get(f"{place}/here", 0) is not None:
            answer = self._receive(f"{place}/answer", begun + 2 * self.timeout + MARGIN)
        if answer is None:
            raise self._lost([0], what)
        if answer[:1] == FAILED:
            self._heard_all(place)
            refusal = ProcessError(answer[1:].decode(errors="replace"))
            refusal.answered = True
            raise refusal
        return answer[1:]

    def _content(self, message: bytes, what: str, rank: int) -> bytes:
        """Return what the process *rank* said, or raise what kept it from speaking."""
        if message[:1] == FAILED:
            failure = ProcessError(message[1:].decode(errors="replace"))
            failure.lost = (rank,)
            raise failure
        doing, _, content = message[1:].partition(b"\0")
        if doing != what.encode():
            raise ProcessError(
                f"process {rank} is {doing.decode()} while process 0 is {what}: every process has "
                "to do the same, callbacks that save or stop the run included"
            )
        return content

    def _lost(self, ranks: Sequence[int], what: str) -> ProcessError:
        error = ProcessError(
            f"{listed(ranks)} of {self.count} did not answer within {self.timeout:g} s while "
            f"{what}: {'it' if len(ranks) == 1 else 'they'} died, or cannot go on"
        )
        error.lost = tuple(ranks)
        return error

    def _send(self, key: str, value: bytes) -> list[str]:
        """Put *value* under *key* and, where it is long, others; return all of them."""
        chunks = [value[at : at + CHUNK] for at in range(0, len(value), CHUNK)] or [b""]
        keys = [key, *(f"{key}/{number}" for number in range(1, len(chunks)))]
        for other, chunk in zip(keys[1:], chunks[1:], strict=True):
            self.store.put(other, chunk)
        self.store.put(key, b"%d " % len(chunks) + chunks[0])
        return keys

    def _receive(self, key: str, deadline: float, *, forget: bool = False) -> bytes | None:
        """Return what `_send` put under *key*; None when it has not come by the *deadline*."""
        value = self.store.get(key, max(0.0, deadline - time.monotonic()))
        if value is None:
            return None
        number, _, first = value.partition(b" ")
        keys = [f"{key}/{n}" for n in range(1, int(number))]
        rest = [self.store.get(other, self.timeout) for other in keys]
        for other in (key, *keys) if forget else ():
            self.store.delete(other)
        return None if None in rest else b"".join([first, *filter(None, rest)])


#: What a program of one process is.
ALONE = Processes(0, 1, NoStore())


def told(processes: Processes, error: BaseException) -> bytes:
    """Return what the other processes say of *error*, which was raised in this one."""
    if isinstance(error, ProcessError):
        return str(error).encode()
    text = full_text(error) if isinstance(error, CheckpointError) else f"{error!r}"
    return f"process {processes.rank} of {processes.count} failed: {text}".encode()


def listed(ranks: Iterable[int]) -> str:
    """Return *ranks* as a message names them.

    >>> listed([1]), listed([1, 3])
    ('process 1', 'processes 1, 3')
    """
    numbers = list(map(str, ranks))
    return ("process " if len(numbers) == 1 else "processes ") + ", ".join(numbers)
