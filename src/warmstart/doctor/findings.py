"""What is found: the pieces of a run, each saved or not, and what the lack of one means."""

from dataclasses import asdict, dataclass
from typing import Any

from ..errors import number_of

#: The pieces of a run, in the order they are told -> what it means when one is not there.
PIECES = {
    "variables": "there is no model to go on with",
    "optimizer": "momentum and the like begin at zero: the next steps are others, often worse",
    "schedule": "the learning rate begins its schedule anew",
    "gradient scaler": "the loss scale begins anew, and the first steps may be skipped",
    "step": "steps are counted from 0 again: warm-up, schedules and saves move",
    "epoch": "epochs are counted from 1 again, so that the run trains longer than it was to",
    "data": "the data begins with its first batch: some of it is seen again, some later or never",
    "random states": "shuffles, dropout and augmentation draw other numbers from here on",
    "callbacks": "the best value so far, patience and the like begin anew",
    "monitors": "lines of statistics are doubled, missing or refused",
}

WORDS = {True: "yes", False: "NO", None: "-"}


@dataclass(frozen=True, slots=True)
class Piece:
    """One piece of a run.

    `saved` is None where it is not there and need not be: nobody knows of a run that had it, or the
    framework makes it of others.
    """

    name: str
    saved: bool | None
    what: str = ""  # what is there, or why it is not

    @property
    def means(self) -> str:
        """Return what it means for the run that this piece is not saved; "" when it is."""
        return PIECES.get(self.name, "") if self.saved is False else ""

    def row(self) -> tuple[str, str, str]:
        """Return the cells of a table: name, whether it is saved, what or what its lack means."""
        return self.name, WORDS[self.saved], ": ".join(filter(None, (self.what, self.means)))


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """What the checkpoint at `path` would resume."""

    path: str
    format: str
    written_by: str
    pieces: tuple[Piece, ...]
    passed_over: tuple[str, ...] = ()  # newer ones of its folder that a resume does not take, why

    @property
    def missing(self) -> tuple[Piece, ...]:
        """Return the pieces that an exact resume needs and that are not there."""
        return tuple(piece for piece in self.pieces if piece.saved is False)

    @property
    def exact(self) -> bool:
        """Return whether a run would go on exactly where it stopped."""
        return not self.missing

    def to_dict(self) -> dict[str, Any]:
        """Return the diagnosis as JSON holds it."""
        return {
            "path": self.path,
            "format": self.format,
            "written_by": self.written_by,
            "exact": self.exact,
            "pieces": [{**asdict(piece), "means": piece.means} for piece in self.pieces],
            "passed_over": list(self.passed_over),
        }

    def verdict(self) -> str:
        """Return the conclusion in a line."""
        place = f"{self.path} ({self.format}, written by {self.written_by})"
        if self.exact:
            return f"{place}: would resume exactly"
        names = ", ".join(piece.name for piece in self.missing)
        count = number_of(len(self.missing), "piece")
        return f"{place}: would NOT resume exactly, {count} missing: {names}"
