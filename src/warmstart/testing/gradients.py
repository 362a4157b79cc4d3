"""What a model that takes gradient processors owes, as tests that the test of an engine inherits.

    class TestMyModel(GradientContract):
        def make(self, gradprocs):
            return MyModel(..., optimizer=plain gradient descent, gradprocs=gradprocs), batch

Plain gradient descent shows what the optimizer was given: it is what the variables moved by.
"""

import re
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pytest

from ..errors import RuleError
from ..freezing.frozen import freeze
from ..freezing.gradients import (
    FilterNoneGrad,
    GlobalNormClip,
    GradientProcessor,
    MapGradient,
    ScaleGradient,
)
from ..freezing.watching import CheckGradient, PrintGradient, SummaryGradient
from ..train.trainer import Model


class GradientContract(ABC):
    """The tests."""

    #: How exactly two ways to compute the same agree.
    rtol = 1e-4

    @abstractmethod
    def make(self, gradprocs: Sequence[GradientProcessor]) -> tuple[Model, Any]:
        """Return a new model trained by plain gradient descent, and a batch of float arrays.

        It is the same each time, and has two trainable variables or more, all with a gradient.
        """

    def moves(self, *gradprocs: GradientProcessor) -> dict[str, np.ndarray]:
        """Return by how much a step moves each trainable variable."""
        return moves_of(*self.make(gradprocs))

    def test_scaling_multiplies_and_zero_takes_away(self) -> None:
        plain = self.moves()
        first, second, *rest = plain
        found = self.moves(ScaleGradient([(re.escape(first), 0), (re.escape(second), 0.5)], False))
        assert not found[first].any()
        self.same(found[second], plain[second] / 2)
        for name in rest:
            self.same(found[name], plain[name])

    def test_clipping_bounds_the_norm_of_all_together(self) -> None:
        summary = SummaryGradient()
        plain = self.moves(summary)
        norm = norm_of(summary.arrays())
        assert norm > 0
        for bound, expected in ((norm / 4, 0.25), (norm * 4, 1)):
            for name, move in self.moves(GlobalNormClip(bound)).items():
                self.same(move, plain[name] * expected)

    def test_functions_are_mapped_over_those_that_match(self) -> None:
        plain = self.moves()
        first, *rest = plain
        found = self.moves(
            MapGradient(lambda gradient: -gradient, re.escape(first)),
            MapGradient(lambda gradient, variable: gradient + 0 * variable + gradient),
        )
        self.same(found[first], -2 * plain[first])
        for name in rest:
            self.same(found[name], 2 * plain[name])

    def test_a_function_that_returns_none_leaves_the_variable(self) -> None:
        first = next(iter(self.moves()))
        assert not self.moves(MapGradient(lambda gradient: None, re.escape(first)))[first].any()

    def test_processors_have_their_turn_in_order(self) -> None:
        summary = SummaryGradient()
        self.moves(summary)
        clip = GlobalNormClip(norm_of(summary.arrays()) / 2)
        double = MapGradient(lambda gradient: gradient * 2)
        clipped = self.moves(clip)
        self.same(norm_of(self.moves(double, clip)), norm_of(clipped))
        self.same(norm_of(self.moves(clip, double)), 2 * norm_of(clipped))

    def test_what_is_not_finite_stops_the_step_before_anything_moves(self) -> None:
        model, batch = self.make([CheckGradient()])
        before = values_of(model)
        with pytest.raises(FloatingPointError, match=r"the gradient of '.*' has .* NaN and"):
            model.train_step(tuple(np.full_like(array, np.nan) for array in batch))
        after = values_of(model)
        assert {n: a.tobytes() for n, a in before.items()} == {
            n: a.tobytes() for n, a in after.items()
        }
        model.train_step(batch)  # and it can go on
        assert any(before[name].tobytes() != a.tobytes() for name, a in values_of(model).items())

    def test_summaries_are_of_every_step(self) -> None:
        summary, kept = SummaryGradient(), SummaryGradient()
        model, batch = self.make([summary, MapGradient(lambda gradient: gradient * 2), kept])
        measured = []
        for _ in range(2):
            moves = moves_of(model, batch)
            measured.append(summary.measured())
        assert set(measured[1]) == {f"{name}-grad/rms" for name in moves}
        assert measured[0] != measured[1]
        for name, move in moves.items():
            rms, doubled = summary.measured()[f"{name}-grad/rms"], kept.arrays()[f"{name}-grad"]
            self.same(np.sqrt(np.mean(np.square(doubled))), 2 * rms)
            assert doubled.size == move.size

    def test_gradients_are_printed_in_every_step(self, capfd: pytest.CaptureFixture[str]) -> None:
        model, batch = self.make([PrintGradient()])
        names = list(values_of(model))
        for _ in range(2):
            model.train_step(batch)
        printed = capfd.readouterr().err
        assert [printed.count(f"{name}-grad: ") for name in names] == [2] * len(names)

    def test_a_frozen_variable_has_no_gradient_to_process(
        self, caplog: pytest.LogCaptureFixture
    ) -> None:
        summary = SummaryGradient()
        model, batch = self.make([FilterNoneGrad(), summary])
        first, *rest = values_of(model)
        freeze(model, first)
        assert not moves_of(model, batch, [first])[first].any()
        assert set(summary.measured()) == {f"{name}-grad/rms" for name in rest}
        assert caplog.messages == []

    def test_what_has_no_gradient_is_told_once(self, caplog: pytest.LogCaptureFixture) -> None:
        first = next(iter(self.moves()))
        model, batch = self.make([ScaleGradient((re.escape(first), 0), False), FilterNoneGrad()])
        for _ in range(2):
            model.train_step(batch)
        assert caplog.messages == [f"no gradient for 1 variables: {first}"]

    def test_a_regex_that_matches_nothing_is_refused_before_training(self) -> None:
        model, batch = self.make([ScaleGradient(("no such variable", 0))])
        before = values_of(model)
        with pytest.raises(RuleError, match="  no such variable"):
            model.train_step(batch)
        assert all(before[n].tobytes() == a.tobytes() for n, a in values_of(model).items())

    def same(self, found: Any, expected: Any) -> None:
        np.testing.assert_allclose(found, expected, self.rtol, 1e-7)


def moves_of(model: Model, batch: Any, names: Sequence[str] = ()) -> dict[str, np.ndarray]:
    """Return by how much a step moves the variables *names*, or every trainable one."""
    before = values_of(model, names)
    model.train_step(batch)
    return {name: np.array(model.session.read(name)) - array for name, array in before.items()}


def values_of(model: Model, names: Sequence[str] = ()) -> dict[str, np.ndarray]:
    """Return copies of the variables *names*, or of every trainable one."""
    model.session.initialize(list(model.session.specs))
    specs = model.session.specs
    wanted = names or [name for name, spec in specs.items() if spec.role == "trainable"]
    return {name: np.array(model.session.read(name)) for name in wanted}


def norm_of(moves: Mapping[str, np.ndarray]) -> float:
    """Return the norm of all *moves* together."""
    return float(np.sqrt(sum(np.square(move.astype(np.float64)).sum() for move in moves.values())))
