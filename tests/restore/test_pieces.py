"""Pieces of variables: what is made for all of them together is let go of behind the last."""

import numpy as np

from warmstart.restore.pieces import Piece, assigned
from warmstart.restore.plan import Match, Part
from warmstart.restore.recipe import made
from warmstart.restore.remap import Drawn, Places, Remap
from warmstart.source import DictSource
from warmstart.spec import TensorSpec
from warmstart.testing.memory import MemorySession


class Drawing(MemorySession):
    """A session that draws other numbers each time."""

    def __init__(self, specs):
        super().__init__(specs)
        self.drawn = 0

    def draw(self, initializer, shape, dtype):
        self.drawn += 1
        return np.full(shape, self.drawn, dtype)


def test_new_rows_are_drawn_once_for_all_pieces_and_not_kept():
    target = TensorSpec("w", "float32", (3, 4))
    session = Drawing([target])
    drawn = Drawn(np.zeros, session, "w")
    recipe = made(Remap((Places(0, np.array([1, -1, -1]), drawn, "old -> new"),)), "w")
    source = DictSource({"w": np.zeros((2, 4), np.float32)})
    match = Match(target, target, "w", 0, recipe)
    pieces = [Piece(match, (slice(row, row + 1), slice(0, 4))) for row in range(3)]
    part = Part(source, {"w": recipe}, "the dict")
    found = [array[0, 0] for _, _, array in assigned([pieces], [part], session, [])]
    assert found == [0, 1, 1]
    assert drawn.kept == {}
