"""Which factor each gradient gets."""

import logging

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
