"""Running a pickle on the machine."""

from struct import Struct
from struct import error as StructError
from typing import Any

from ...errors import CheckpointError, CorruptCheckpoint
from .builders import COMMON, BuilderTable, Unfit
from .machine import Data, Machine, Persistent, cut_short
from .opcodes import OPCODES

unpack_long = Struct("<I").unpack_from


def load_at(
    data: Data,
    begin: int,
    *,
    builders: BuilderTable = COMMON,
    persistent: Persistent | None = None,
    views: bool = False,
) -> tuple[Any, int]:
    """Return the value of the pickle that begins at byte *begin*, and the byte where it ends.

    *persistent* returns what the pickle keeps outside of it, by its key.  With *views* bytes of at
    least `LARGE` are views of *data*.
    """
    machine = Machine(data, begin, builders=builders, persistent=persistent, views=views)
    try:
        return run(machine), machine.at
    except CheckpointError as error:
        error.add_note(f"in the pickle, at its byte {machine.at - begin}")
        raise
    except (*Unfit, MemoryError) as error:
        raise CorruptCheckpoint(
            f"the pickle makes no sense at its byte {machine.at - begin}: {error}"
        ) from error


def run(machine: Machine) -> Any:  # noqa: PLR0912  (an interpreter's loop)
    """Return the value that the machine's pickle makes.

    What nine opcodes in ten of a checkpoint do is done here, each in its own few lines: a function
    for each would take three times as long.  The rest is in the table.
    """
    data, memo, at, stack = machine.data, machine.memo, machine.at, machine.stack
    try:
        while machine.running:
            code = data[at]
            at += 1
            if code == 0x94:  # MEMOIZE
                memo[len(memo)] = stack[-1]
            elif code == 0x68:  # BINGET
                stack.append(memo[data[at]])
                at += 1
            elif code == 0x6A:  # LONG_BINGET
                stack.append(memo[unpack_long(data, at)[0]])
                at += 4
            elif code == 0x4B:  # BININT1
                stack.append(data[at])
                at += 1
            elif code == 0x71:  # BINPUT
                memo[data[at]] = stack[-1]
                at += 1
            elif code == 0x72:  # LONG_BINPUT
                memo[unpack_long(data, at)[0]] = stack[-1]
                at += 4
            elif code == 0x86:  # TUPLE2
                second = stack.pop()
                stack[-1] = (stack[-1], second)
            elif code == 0x85:  # TUPLE1
                stack[-1] = (stack[-1],)
            else:
                machine.at = at
                OPCODES[code](machine)
                at, stack = machine.at, machine.stack
    except StructError:
        raise cut_short(len(data)) from None
    except IndexError:  # an opcode's byte is not there, or the stack is empty
        if max(at, machine.at) >= len(data):
            raise cut_short(len(data)) from None
        raise
    finally:
        machine.at = max(at, machine.at)
    return machine.stack.pop()


def loads(
    data: Data,
    *,
    builders: BuilderTable = COMMON,
    persistent: Persistent | None = None,
    views: bool = False,
) -> Any:
    """Return the value of the pickle that *data* is, to the last byte; see `load_at`."""
    value, end = load_at(data, 0, builders=builders, persistent=persistent, views=views)
    if end != len(data):
        raise CorruptCheckpoint(f"{len(data) - end} bytes follow the pickle, which ends at {end}")
    return value
