"""What other formats ask of an index; it has moved to `formats.sharded`."""

from ..sharded import refuse_escape, stays_inside

__all__ = ["refuse_escape", "stays_inside"]
