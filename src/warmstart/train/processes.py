"""What each of several processes of one run has of its own, in a checkpoint of all.

    _RUN/processes/1/state         what of the run state is other in process 1 than in process 0:
                                   random states, its place in the data, the sums behind its metrics
    _RUN/processes/1/...           the arrays of it
    _RUN/processes/1/values/NAME   a variable that every process has, where process 1 has other
                                   values: statistics of the batches that it alone has seen

Process 0's stand where those of a single process would, so that a checkpoint of many processes is
one of one process as well, and the other way round.
"""

import json
import logging
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ..binary.checksum import crc32c_of
from ..errors import CorruptCheckpoint
from ..processes import Processes
from ..sessions.base import Session
from ..source import ListedSource, Source, View
from ..spec import RUN_PREFIX, spec_of
from .run_state import pack, unpack

if TYPE_CHECKING:
    from .epoch_metrics import EpochMetrics

log = logging.getLogger("warmstart")

#: Where a run state is kept that is not process 0's.
ROOT = "processes"

#: Pieces of a run state that every process needs its own of, whatever their number.
RANDOM = (("random",), ("session", "rng"), ("session", "accelerators"))

#: A piece of a run state: its key, or that and one below it.
Path = tuple[str, ...]


class OwnPart(ListedSource):
    """What a process other than 0 adds to a checkpoint: its session, and what is its own."""

    def __init__(
        self, session: Session, rank: int, state: Mapping[str, Any], values: Iterable[str]
    ) -> None:
        """Show *session*, with the own *state* and the own *values* of variables of *rank*."""
        text, self._arrays = pack({ROOT: {str(rank): state}})
        self._arrays[state_name(rank)] = np.array(text.encode(), object)
        self._session = session
        self._renamed = {value_name(rank, name): name for name in values}
        specs = dict(session.specs.items())
        own = {new: specs.pop(old)._replace(name=new, role="run")
               for new, old in self._renamed.items()}  # fmt: skip
        run = {name: spec_of(name, array, "run") for name, array in self._arrays.items()}
        self._specs = {**specs, **own, **run}

    @property
    def aliases(self) -> Mapping[str, str]:
        return {a: n for a, n in self._session.aliases.items() if n in self._specs}

    @property
    def pieces(self) -> Mapping[str, Any]:
        return self._session.pieces

    def read(self, name: str) -> np.ndarray:
        if name in self._arrays:
            return self._arrays[name]
        return self._session.read(self._renamed.get(name, name))

    def read_slice(self, name: str, index: Any) -> np.ndarray:
        return self._session.read_slice(name, index)


def state_name(rank: int) -> str:
    """Return the name under which the own state of a process is kept."""
    return f"{RUN_PREFIX}{ROOT}/{rank}/state"


def value_name(rank: int, name: str) -> str:
    """Return the name under which the own values of a variable are kept."""
    return f"{RUN_PREFIX}{ROOT}/{rank}/values/{name}"


def own_part(session: Session, state: Mapping[str, Any], processes: Processes) -> OwnPart | None:
    """Return what this process adds to a checkpoint; None in process 0, whose state is the first.

    Every process calls it, to learn what of its state and values is other than process 0's.
    """
    here = fingerprints(session, state)
    told = processes.agree("comparing run states", lambda: json.dumps(here).encode())
    if processes.first:
        return None
    there = json.loads(told)
    values = [n for n, crc in here["values"].items() if there["values"].get(n, crc) != crc]
    own: dict[str, Any] = {}
    for path, piece in pieces_of(state):
        if there["state"].get("/".join(path)) != here["state"]["/".join(path)]:
            put(own, path, piece)
    return OwnPart(session, processes.rank, own, values)


def fingerprints(session: Session, state: Mapping[str, Any]) -> dict[str, dict[str, int]]:
    """Return checksums of the pieces of *state*, and of the variables that are here as a whole."""
    specs, elsewhere = session.specs, session.pieces
    with session.reading():
        values = {
            name: crc32c_of(np.ascontiguousarray(session.read(name)).reshape(-1).view(np.uint8))
            for name, spec in specs.items()
            if name not in elsewhere and spec.dtype != "string"
        }
    return {
        "state": {"/".join(path): checksum(piece) for path, piece in pieces_of(state)},
        "values": values,
    }


def checksum(piece: Any) -> int:
    """Return a checksum of one piece of a run state."""
    text, arrays = pack({"": piece})
    crc = crc32c_of(text.encode())
    for array in arrays.values():
        crc = crc32c_of(b"%d %s" % (crc, np.ascontiguousarray(array).tobytes()))
    return crc


def pieces_of(state: Mapping[str, Any]) -> Iterator[tuple[Path, Any]]:
    """Yield every piece of a run state: what stands under each key, or under two of them."""
    for key, value in state.items():
        if isinstance(value, dict) and key in ("session", "callbacks"):
            yield from (((key, inner), item) for inner, item in value.items())
        else:
            yield (key,), value


def put(state: dict[str, Any], path: Path, piece: Any) -> None:
    """Set the *piece* at *path* of *state*."""
    *above, last = path
    for key in above:
        state = state.setdefault(key, {})
    state[last] = piece


def state_of(
    source: Source, state: Mapping[str, Any], processes: Processes, here: Mapping[str, Any]
) -> dict[str, Any]:
    """Return the run state of this process in *source*, whose process 0 had *state*.

    Where another number of processes was saved, a process takes what all had in common, and of the
    random states those of its own number; one that was not there keeps those it has *here*, so that
    no two have the same.
    """
    saved, rank = count_in(state), processes.rank
    found = copied(state)
    own = here if rank >= saved else own_state(source, rank) if rank else {}
    if saved == processes.count:
        for path, piece in pieces_of(own):
            put(found, path, piece)
        return found
    log.warning(
        "the run so far had %d processes, now it has %d: it goes on with the same data in the same "
        "order, and not to the same bits", saved, processes.count,
    )  # fmt: skip
    for path, piece in pieces_of(own):
        if path in RANDOM:
            put(found, path, piece)
    return found


def count_in(state: Mapping[str, Any]) -> int:
    """Return how many processes the run of *state* had."""
    count = state.get(ROOT, 1)
    if not isinstance(count, int) or count < 1:
        raise CorruptCheckpoint(f"the run state says that the run had {count!r} processes")
    return count


def own_state(source: Source, rank: int) -> dict[str, Any]:
    """Return the own state of the process *rank* in *source*."""
    text = source.read(state_name(rank))
    if text.dtype != object or text.shape:
        raise CorruptCheckpoint(f"{state_name(rank)!r} is not one string, as it should be")
    try:
        said = unpack(str(text.item(), "utf-8"), source.read)
    except UnicodeDecodeError as error:
        raise CorruptCheckpoint(f"{state_name(rank)!r} is not UTF-8 text") from error
    match said:
        case {"processes": {**ranks}} if isinstance(found := ranks.get(str(rank)), dict):
            return found
    raise CorruptCheckpoint(f"{state_name(rank)!r} is not the state of process {rank}")


def copied(state: Mapping[str, Any]) -> dict[str, Any]:
    """Return *state* with dictionaries of its own, where `put` may change them."""
    return {key: dict(value) if isinstance(value, dict) else value for key, value in state.items()}


def values_of(source: Source, processes: Processes, saved: int) -> Source:
    """Return *source* as this process sees it: its own values in place of process 0's."""
    prefix = value_name(processes.rank, "")
    if saved != processes.count or processes.first:
        return source
    own = {name[len(prefix) :]: name for name in source.specs if name.startswith(prefix)}
    if not own:
        return source
    origin = {name: own.get(name, name) for name in source.specs}
    roles = {name: source.specs[name].role for name in own}
    return OwnView(source, origin, roles)


class OwnView(View):
    """A checkpoint in which one process finds its own values under the names of variables."""

    def __init__(
        self, source: Source, origin: Mapping[str, str], roles: Mapping[str, str | None]
    ) -> None:
        super().__init__(source, origin, aliases=source.aliases)
        self._specs = {
            name: spec._replace(role=roles.get(name, spec.role))
            for name, spec in self._specs.items()
        }


def mean_over(processes: Processes, metrics: "EpochMetrics", stopping: bool) -> bool:
    """Make *metrics* of an epoch those of all processes: every step of each counts as one.

    Return whether the run is *stopping* in one of them.
    """
    if processes.count == 1:
        return stopping

    def add_up(said: Sequence[bytes]) -> bytes:
        sums: dict[str, float] = {}
        counts: dict[str, int] = {}
        states = [json.loads(text) for text in said]
        for state in states:
            for name, value in state["sums"].items():
                sums[name] = sums.get(name, 0.0) + value
                counts[name] = counts.get(name, 0) + state["counts"][name]
        any_stopping = any(state["stopping"] for state in states)
        return json.dumps({"sums": sums, "counts": counts, "stopping": any_stopping}).encode()

    state = {**metrics.state(), "stopping": stopping}
    text = processes.settle("ending the epoch", lambda: json.dumps(state).encode(), add_up)
    answer: dict[str, Any] = json.loads(text)
    metrics.load_state({**state, **answer})
    return bool(answer["stopping"])


def agree_on(processes: Processes, metrics: "EpochMetrics") -> None:
    """Make *metrics* those of process 0, where callbacks put what only some have measured."""
    if processes.count > 1:
        text = processes.agree("ending the epoch", lambda: json.dumps(metrics.state()).encode())
        metrics.load_state(json.loads(text))


def do_together(processes: Processes, what: str, do: Callable[[], object]) -> None:
    """Do something in every process; where it raises in one, all raise."""

    def say() -> bytes:
        do()
        return b""

    processes.settle(what, say)
