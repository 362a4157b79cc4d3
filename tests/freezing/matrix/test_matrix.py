"""In every cell of engine, optimizer, way of freezing, batch norm and rows the frozen stays."""

import pytest

from . import run
from .cells import OPTIMIZERS, WAYS
from .page import Results, holds, lines_of, page

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def results() -> Results:
    """What came of all cells."""
    return run.run_all()


def test_what_is_frozen_stays_and_the_rest_moves(results: Results) -> None:
    found = lines_of(results, "cell")
    assert len(found) == len(run.ENGINES) * len(OPTIMIZERS) * len(WAYS) * 4
    assert [cell for cell in found if not holds(cell)] == []


def test_most_cells_run_and_the_others_say_why_not(results: Results) -> None:
    left_out = [cell for cell in lines_of(results, "cell") if cell["reason"]]
    assert len(left_out) <= 0.2 * len(lines_of(results, "cell"))


def test_each_common_recipe_fails_somewhere(results: Results) -> None:
    followed = lines_of(results, "followed")
    failed = {
        each["recipe"]
        for each in followed
        if not (each["weights_stay"] and each["statistics_stay"])
    }
    assert failed == {each["recipe"] for each in followed}


def test_the_documentation_says_what_came_of_it(results: Results) -> None:
    text = run.PAGE.read_text()
    assert page(text, results) == text, (
        "run `python -m tests.freezing.matrix.run --write` from the root of the repository"
    )
