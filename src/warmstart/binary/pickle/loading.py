"""Running a pickle on the machine."""

from typing import Any

from ...errors import CheckpointError, CorruptCheckpoint
from .builders import COMMON, BuilderTable, Unfit
from .machine import Data, Machine, Persistent, cut_short
from .opcodes import OPCODES


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


def run(machine: Machine) -> Any:
    """Return the value that the machine's pickle makes."""
    data, size = machine.data, len(machine.data)
    while machine.running:
        if machine.at >= size:
            raise cut_short(size)
        code = data[machine.at]
        machine.at += 1
        try:
            OPCODES[code](machine)
        except IndexError:  # an opcode's byte is not there, or the stack is empty
            if machine.at >= size:
                raise cut_short(size) from None
            raise
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
