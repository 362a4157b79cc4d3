"""What processes settle, with threads for processes and a dictionary for their store."""

import time
from typing import Any

import pytest

from warmstart import processes as module
from warmstart.errors import CorruptCheckpoint, ProcessError
from warmstart.processes import ALONE, Processes
from warmstart.testing.processes import MemoryStore, run_together


class GoneStore(MemoryStore):
    """A store that nobody can reach."""

    def put(self, key: str, value: bytes) -> None:
        raise ConnectionError("the store is gone")


class HostedStore(MemoryStore):
    """A store in process 0, by which others come late to its answers."""

    gone = False

    def get(self, key: str, timeout: float) -> bytes | None:
        if key.endswith("/answer"):
            time.sleep(0.05)
        if self.gone:
            raise ConnectionError("the store is gone")
        return super().get(key, timeout)


def joined(said: Any) -> bytes:
    return b", ".join(said)


def test_every_process_gets_the_one_answer() -> None:
    def do(processes: Processes) -> list[bytes]:
        def say() -> bytes:
            return b"%d" % processes.rank

        return [processes.settle("counting", say, joined) for _ in range(3)]

    assert run_together(do) == [[b"0, 1, 2"] * 3] * 3


def test_long_messages_come_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "CHUNK", 7)
    message = bytes(range(250))

    def do(processes: Processes) -> bytes:
        return processes.settle("sending", lambda: message, b"".join)

    assert run_together(do, 2) == [message * 2] * 2


def test_what_was_read_is_forgotten() -> None:
    store = MemoryStore()
    run_together(lambda p: [p.settle("counting", bytes, joined) for _ in range(20)], store=store)
    assert set(store.values) <= {f"warmstart/{n}/{what}" for n in (19, 20)
                                 for what in ("answer", "here")}  # fmt: skip


def test_process_0_may_say_it_for_all_and_do_it_for_all() -> None:
    done = []

    def do(processes: Processes) -> bytes:
        processes.on_first("pointing", lambda: done.append(processes.rank))
        return processes.agree("choosing", lambda: b"it is %d" % processes.rank)

    assert run_together(do) == [b"it is 0"] * 3
    assert done == [0]


def test_alone_nothing_is_waited_for() -> None:
    assert ALONE.settle("counting", lambda: b"me", joined) == b"me"
    assert ALONE.agree("choosing", lambda: b"me") == b"me"
    assert ALONE.first


@pytest.mark.parametrize("failing", [0, 1])
def test_one_that_fails_fails_all_and_is_named(failing: int) -> None:
    def do(processes: Processes) -> bytes:
        def say() -> bytes:
            if processes.rank == failing:
                error = CorruptCheckpoint("it is torn")
                error.add_note("while reading m")
                raise error
            return b""

        return processes.settle("reading", say)

    results = run_together(do)
    assert isinstance(results.pop(failing), CorruptCheckpoint)
    text = f"process {failing} of 3 failed: it is torn\nwhile reading m"
    assert [(type(e), str(e)) for e in results] == [(ProcessError, text)] * 2


def test_an_answer_that_cannot_be_made_fails_all() -> None:
    def decide(said: Any) -> bytes:
        raise ValueError("no")

    first, *others = run_together(lambda p: p.settle("deciding", bytes, decide))
    assert isinstance(first, ValueError)
    assert [str(e) for e in others] == ["process 0 of 3 failed: ValueError('no')"] * 2


@pytest.mark.parametrize(
    ("missing", "who"), [((1,), "process 1"), ((1, 2), "processes 1, 2"), ((0,), "process 0")]
)
def test_one_that_does_not_come_is_named_in_time(missing: tuple[int, ...], who: str) -> None:
    def do(processes: Processes) -> Any:
        return processes.settle("saving m", bytes) if processes.rank not in missing else None

    begun = time.monotonic()
    results = [r for rank, r in enumerate(run_together(do, timeout=0.2)) if rank not in missing]
    assert time.monotonic() - begun < 5
    they = "they" if len(missing) > 1 else "it"
    text = f"{who} of 3 did not answer within 0.2 s while saving m: {they} died, or cannot go on"
    assert [(type(e), str(e)) for e in results] == [(ProcessError, text)] * len(results)


def test_who_waits_for_a_slow_process_0_learns_who_is_missing() -> None:
    def do(processes: Processes) -> Any:
        if processes.rank == 0:
            time.sleep(0.3)  # so that its own wait ends after that of process 1
        return processes.settle("saving m", bytes) if processes.rank != 2 else None

    results = run_together(do, timeout=0.5)
    assert "process 2 of 3 did not answer within 0.5 s" in str(results[0])
    assert str(results[1]) == str(results[0])


def test_processes_that_do_different_things_are_told() -> None:
    results = run_together(lambda p: p.settle(f"saving model-{p.rank}", bytes), 2)
    text = (
        "process 1 is saving model-1 while process 0 is saving model-0: every process has to do "
        "the same, callbacks that save or stop the run included"
    )
    assert [str(e) for e in results] == [text] * 2


def test_a_store_that_is_gone() -> None:
    results = run_together(lambda p: p.settle("saving m", bytes), 2, store=GoneStore())
    text = "the processes cannot reach each other while saving m: the store is gone"
    assert [(type(e), str(e)) for e in results] == [(ProcessError, text)] * 2


def refused(said: Any) -> bytes:
    raise ValueError("no")


@pytest.mark.parametrize(
    ("decide", "heard"),
    [(joined, "b'ok, ok, ok'"), (refused, "process 0 of 3 failed: ValueError('no')")],
)
def test_process_0_stays_until_the_others_have_heard_what_it_said(decide: Any, heard: str) -> None:
    store = HostedStore()

    def do(processes: Processes) -> bytes:
        try:
            answer = processes.settle("ending", lambda: b"ok", decide)
            processes.leave()
            return answer
        finally:
            store.gone = store.gone or processes.first

    assert [str(each) for each in run_together(do, store=store)[1:]] == [heard] * 2


def test_process_0_does_not_stay_for_long(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "FAREWELL", 0.05)
    begun = time.monotonic()
    Processes(0, 3, MemoryStore()).leave()
    assert 0.05 <= time.monotonic() - begun < 2
