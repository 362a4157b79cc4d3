"""What each processor does to gradients, which are arrays here, and which are meant."""

import logging

import ml_dtypes
import numpy as np
import pytest

import warmstart as ws
from warmstart.errors import RuleError

NAMES = ["conv0/W", "conv0/b", "conv01/W", "fc/W"]


@pytest.mark.parametrize(
    ("multipliers", "factors"),
    [
        (("conv0/.*", 0.5), {"conv0/W": 0.5, "conv0/b": 0.5}),
        (("conv0/.*$", 0), {"conv0/W": 0.0, "conv0/b": 0.0}),
        ([(".*/b", 2), ("conv0/.*", 3)], {"conv0/b": 2.0, "conv0/W": 3.0}),
        (("fc/W|conv0/b", -1), {"conv0/b": -1.0, "fc/W": -1.0}),
    ],
)
def test_the_first_regex_that_matches_the_whole_name_counts(multipliers, factors):
    assert ws.ScaleGradient(multipliers).factors(NAMES) == factors


def test_a_regex_that_matches_nothing_is_named():
    with pytest.raises(RuleError) as caught:
        ws.ScaleGradient([("conv0", 0), ("fc/.*", 0), ("bn/.*", 1)]).factors(NAMES)
    assert str(caught.value).splitlines() == [
        "these regexes match none of 4 variables with a gradient:",
        "  conv0    near it: conv0/b, conv0/W, conv01/W",
        "  bn/.*",
    ]


def test_each_factor_is_logged(caplog):
    caplog.set_level(logging.INFO, "warmstart")
    ws.ScaleGradient(("conv0/.*", 0.5)).factors(NAMES)
    ws.ScaleGradient(("fc/.*", 0.5), verbose=False).factors(NAMES)
    assert caplog.messages == [
        "the gradient of conv0/W is multiplied by 0.5",
        "the gradient of conv0/b is multiplied by 0.5",
    ]


def test_a_regex_that_cannot_be_read_is_refused():
    with pytest.raises(RuleError, match=r"the regex '\(' cannot be read"):
        ws.ScaleGradient(("(", 1))


def test_a_factor_is_a_number():
    with pytest.raises(TypeError, match="the factor of 'fc' is a number, not '0'"):
        ws.ScaleGradient(("fc", "0"))


@pytest.mark.parametrize("multipliers", ["fc/.*", ["fc/.*"], (("fc/.*", 0), ("bn/.*", 1))])
def test_what_is_no_pair_is_refused(multipliers):
    with pytest.raises(TypeError, match=r"ScaleGradient takes pairs \(regex, factor\), not "):
        ws.ScaleGradient(multipliers)


class ArrayOps:
    """Gradients as arrays; the variable of each is its name in capitals."""

    def scaled(self, gradient, factor):
        return gradient * factor

    def clipped(self, gradients, norm):
        whole = np.sqrt(sum(np.sum(g**2) for g in gradients))
        return [g * (norm / max(norm, whole)) for g in gradients]

    def watched(self, gradient, watcher):
        watcher(gradient)
        return gradient

    def variable(self, name):
        return name.upper()


def processed(processor, **gradients):
    """Return what becomes of *gradients*, as lists."""
    given = {name: None if g is None else np.asarray(g) for name, g in gradients.items()}
    processor.check(list(given))
    found = processor.process(given, ArrayOps())
    return {name: None if g is None else g.tolist() for name, g in found.items()}


@pytest.mark.parametrize(("factor", "w"), [(0.5, [1.0]), (0, None), (1, [2.0])])
def test_a_factor_of_zero_takes_the_gradient_away(factor, w):
    found = processed(ws.ScaleGradient(("w", factor)), w=[2.0], b=[3.0], none=None)
    assert found == {"w": w, "b": [3.0], "none": None}


@pytest.mark.parametrize(("norm", "w", "b"), [(10, [3.0], [4.0]), (2.5, [1.5], [2.0])])
def test_all_gradients_are_clipped_together(norm, w, b):
    assert processed(ws.GlobalNormClip(norm), w=[3.0], none=None, b=[4.0]) == {
        "w": w, "none": None, "b": b,
    }  # fmt: skip


def test_without_any_gradient_nothing_is_clipped():
    assert processed(ws.GlobalNormClip(1.0), w=None) == {"w": None}


@pytest.mark.parametrize("norm", [0, -1, float("nan")])
def test_a_norm_is_above_zero(norm):
    with pytest.raises(ValueError, match=f"global_norm is {norm}; expected a number above 0"):
        ws.GlobalNormClip(norm)


@pytest.mark.parametrize(
    ("func", "w"),
    [
        (lambda g: g + 1, [3.0]),
        (lambda g, v: np.array([g[0], ord(v)]), [2.0, 87.0]),
        (lambda g: None, None),
        (lambda g, scale=3.0: g * scale, [6.0]),
        (lambda *both: both[0], [2.0]),
        (np.negative, [-2.0]),
    ],
)
def test_a_function_is_mapped_over_the_gradients_that_match(func, w):
    found = processed(ws.MapGradient(func, "w|none"), w=[2.0], b=[2.0], none=None)
    assert found == {"w": w, "b": [2.0], "none": None}


@pytest.mark.parametrize("func", [lambda: None, lambda g, v, step: g])
def test_a_function_takes_a_gradient_and_perhaps_its_variable(func):
    with pytest.raises(TypeError, match=r"takes \d arguments; MapGradient gives it a gradient, or"):
        ws.MapGradient(func)


@pytest.mark.parametrize(
    "processor",
    [ws.MapGradient(abs, "conv0"), ws.SummaryGradient("conv0"), ws.PrintGradient("conv0")],
)
def test_a_regex_of_any_processor_that_matches_nothing_is_named(processor):
    with pytest.raises(RuleError, match="  conv0    near it: conv0/b, conv0/W"):
        processor.check(NAMES)


def test_what_has_no_gradient_is_told_once(caplog):
    processor = ws.FilterNoneGrad()
    for _ in range(2):
        assert processed(processor, w=[2.0], b=None, c=None) == {"w": [2.0], "b": None, "c": None}
    processed(ws.FilterNoneGrad(verbose=False), b=None)
    assert caplog.messages == ["no gradient for 2 variables: b, c"]


@pytest.mark.parametrize("dtype", ["float32", ml_dtypes.bfloat16, "float16"])
def test_a_gradient_that_is_not_finite_is_named(dtype):
    bad = np.array([1, np.nan, np.inf, -np.inf], dtype)
    assert processed(ws.CheckGradient(), w=bad[:1]) == {"w": [1.0]}
    with pytest.raises(FloatingPointError) as caught:
        processed(ws.CheckGradient(), w=bad[:1], b=bad)
    assert str(caught.value) == "the gradient of 'b' has 1 NaN and 2 infinities among 4 values"


def test_summaries_are_of_the_last_step():
    processor = ws.SummaryGradient("w|empty|none", collections=["mine"])
    assert (processor.measured(), processor.arrays()) == ({}, {})
    for w in ([9.0, 9.0], [3.0, 4.0]):
        processed(processor, w=w, b=[1.0], empty=[], none=None)
    assert processor.measured() == {"w-grad/rms": 12.5**0.5, "empty-grad/rms": 0.0}
    assert processor.arrays()["w-grad"].tolist() == [3.0, 4.0]


def test_a_summary_keeps_no_memory_that_is_used_again():
    processor = ws.SummaryGradient()
    gradient = np.array([1.0])
    processor.process({"w": gradient}, ArrayOps())
    gradient += 1
    assert processor.arrays()["w-grad"].tolist() == [1.0]


@pytest.mark.parametrize(
    ("gradient", "line"),
    [
        (np.array([[3, 4]], ml_dtypes.bfloat16), "w-grad: (1, 2) mean 3.5 rms 3.536 [3 4]"),
        (np.zeros(0), "w-grad: (0,) mean 0 rms 0 []"),
        (np.array([3 + 4j]), "w-grad: (1,) mean 3+4j rms 5 [3+4j]"),
        (np.ones(21), f"w-grad: (21,) mean 1 rms 1 [{'1 ' * 20}...]"),
    ],
    ids=["bfloat16", "empty", "complex", "long"],
)
def test_gradients_are_printed(gradient, line, capsys):
    ws.PrintGradient("w").process({"w": gradient, "b": gradient}, ArrayOps())
    assert capsys.readouterr().err == line + "\n"


def test_what_measures_nothing_has_no_metrics():
    assert (ws.CheckGradient().measured(), ws.CheckGradient().arrays()) == ({}, {})


def test_what_is_no_number_or_function_is_refused():
    with pytest.raises(ValueError, match="global_norm is '1'; expected a number above 0"):
        ws.GlobalNormClip("1")
    with pytest.raises(TypeError, match="MapGradient takes a function, not 'abs'"):
        ws.MapGradient("abs")
