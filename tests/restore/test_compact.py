"""Drafts made short: a few rules for scopes and leaves in place of one for each suggestion."""

import pytest

from warmstart.restore.compact import compacted, leads_to, leaf_lines, scope_lines
from warmstart.restore.drafts import drafts_of
from warmstart.restore.sessinit import SourceRestore
from warmstart.restore.stand_in import StandIn
from warmstart.source import ListedSource
from warmstart.spec import TensorSpec

NORM = {"gamma": "weight", "beta": "bias", "moving_mean": "running_mean"}
DENSE = {"kernel": "weight", "bias": "bias"}


class Shapes(ListedSource):
    """Names and shapes without values."""

    def __init__(self, shapes):
        self._specs = {name: TensorSpec(name, "float32", shape) for name, shape in shapes.items()}

    def read(self, name):
        raise AssertionError(f"{name} was read")


def keras():
    """Return the shapes of three blocks as Keras has them, and what PyTorch calls each."""
    shapes, names = {}, {}
    for i, block in enumerate(("stem", "middle", "tail")):
        for layer, leaves in (("fc", DENSE), ("bn", NORM)):
            for leaf, other in leaves.items():
                old = f"net/{block}/{layer}/{leaf}"
                shapes[old] = (4, 8 + i) if leaf == "kernel" else (8 + i,)
                names[old] = f"{block}.{layer}.{other}"
    return shapes, names


def planned(source, target):
    return SourceRestore(Shapes(source)).plan(StandIn(Shapes(target)))


def short(plan):
    return compacted(plan.near, drafts_of(plan.near))


def turned(shapes, names):
    return {names[name]: shape[::-1] for name, shape in shapes.items()}


LINES = [
    "scope net/ -> .",
    "rename *.kernel -> *.weight",
    "rename *.gamma -> *.weight",
    "rename *.beta -> *.bias",
    "rename *.moving_mean -> *.running_mean",
    "transpose stem.fc.weight: 1 0",
    "transpose middle.fc.weight: 1 0",
    "transpose tail.fc.weight: 1 0",
]


def test_scopes_then_leaves_then_axes():
    shapes, names = keras()
    plan = planned(shapes, turned(shapes, names))
    assert len(plan.near) == 15
    assert short(plan) == LINES
    done = SourceRestore(Shapes(shapes), rules=LINES).plan(StandIn(Shapes(turned(shapes, names))))
    assert {name: match.recipe for name, match in done.matches.items()} == {
        name: near.recipe for name, near in plan.near.items()
    }


def test_a_leaf_with_several_names_says_where():
    shapes, names = keras()
    near = planned(turned(shapes, names), shapes).near
    drafts = drafts_of(near)
    lines = leaf_lines(drafts)
    assert "rename net/tail/bn/bias -> net/tail/bn/beta" in lines
    assert lines[-1] == "rename */running_mean -> */moving_mean"
    steps = [line for draft in drafts for line in draft.lines[1:]]
    assert leads_to(near, ["scope . -> net/", *lines, *steps])
    assert not leads_to(near, ["scope . -> net/", *reversed(lines), "rename */w -> */v", *steps])


@pytest.mark.parametrize(
    ("more", "taken"),
    [
        ({"head.kernel": (3,)}, {"head.kernel": (3,)}),  # is matched, and would be renamed
        ({"net/head/w": (3,)}, {"head.w": (5,)}),  # would be filled, with another shape
        ({"stem.fc.kernel": (9,), "net/x": (1,)}, {}),  # two would end on one name
    ],
)
def test_rules_that_would_do_more_than_is_suggested_are_not_written(more, taken):
    shapes, names = keras()
    plan = planned(shapes | more, turned(shapes, names) | taken)
    assert len(plan.near) == 15
    assert short(plan) is None


def test_numbers_that_go_alike_are_one_scope():
    moves = [(f"a.{i}.bn.w", f"b{i}_norm/w") for i in range(3)]
    assert scope_lines([*moves, ("c.w", "d/w")]) == ["scope a.*.bn. -> b*_norm/", "scope c. -> d/"]
    assert scope_lines([("a.1.w", "b.2.w"), ("a.2.w", "b.1.w")]) == [
        "scope a.1. -> b.2.", "scope a.2. -> b.1.",
    ]  # fmt: skip


def test_names_that_need_care_stay_rules_of_their_own():
    shapes, names = keras()
    odd = {name.replace("net", "n[0]"): shape for name, shape in shapes.items()}
    assert short(planned(odd, turned(shapes, names))) is None
    assert short(planned({"w": (1,)}, {"w": (1,)})) is None
