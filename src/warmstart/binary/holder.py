"""Which process holds something, in words that another process can judge."""

import json
import os
import socket
import time
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any


@dataclass(frozen=True, slots=True)
class Holder:
    """A process, and the save that it may not have brought to its end."""

    host: str
    pid: int
    since: str
    boot: str = ""  # another one each time the machine is started
    space: str = ""  # in which its number counts: containers have their own
    started: str = ""  # when the process was, as the system counts; numbers are used again
    token: str = ""
    saving: str = ""  # the checkpoint being saved
    after: str = ""  # the latest one when that began
    note: str = ""  # what is to be known of it once it is saved

    def __str__(self) -> str:
        return f"process {self.pid} on host {self.host}, since {self.since}"


def this_process() -> Holder:
    """Return this process as one that holds something from now on."""
    now = time.strftime("%Y-%m-%d %H:%M:%S %z")
    pid, token = os.getpid(), os.urandom(8).hex()
    return Holder(socket.gethostname(), pid, now, boot(), space(), started(pid), token)


def parsed(raw: bytes) -> Holder | None:
    """Return the holder in the first line of *raw*; None when it is none, such as half of one."""
    try:
        words: Any = json.loads(raw.partition(b"\n")[0])
        holder = Holder(**words)
    except (ValueError, TypeError, RecursionError):
        return None
    texts = (getattr(holder, name) for name in holder.__slots__ if name != "pid")
    return holder if type(holder.pid) is int and all(type(t) is str for t in texts) else None


def is_here(holder: Holder) -> bool:
    """Return whether *holder* is a process that would be seen from here if it ran."""
    known = boot() != "" or holder.host == socket.gethostname()
    return known and (holder.boot, holder.space) == (boot(), space())


def is_gone(holder: Holder, rebooted: bool) -> bool:
    """Return whether *holder* can be told not to run any more.

    That this host was started anew since then tells it where *rebooted* allows that to count.
    """
    if is_here(holder):
        return not runs(holder.pid) or started(holder.pid) != holder.started
    return rebooted and holder.host == socket.gethostname() and holder.boot != boot()


def runs(pid: int) -> bool:
    """Return whether there is a process *pid*."""
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except OSError:
        return True  # somebody else's
    return True


@cache
def boot() -> str:
    """Return what names this start of the machine, empty where the system does not tell."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return ""


@cache
def space() -> str:
    """Return what names the processes that are numbered together."""
    try:
        return os.readlink("/proc/self/ns/pid")
    except OSError:
        return ""


def started(pid: int) -> str:
    """Return when the process *pid* was started, in ticks of the system.

    Empty where it is unknown, and of a process that has ended and was not yet asked how.
    """
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return ""
    return "" if fields[0] in ("Z", "X") else fields[19]
