"""How often the right name is suggested: the same models in two frameworks, whole.

`renamed_models.json` says where its names and shapes are from.
"""

import json
import math
from itertools import product
from pathlib import Path

import pytest

from warmstart.files.match import is_complete
from warmstart.restore.draft_files import draft_text
from warmstart.restore.drafts import drafts_of
from warmstart.restore.near_misses import Nearest, nearest
from warmstart.restore.plan import Verdict
from warmstart.restore.recipe import spec_from
from warmstart.restore.report import Report
from warmstart.restore.sessinit import SourceRestore
from warmstart.restore.stand_in import StandIn
from warmstart.source import ListedSource
from warmstart.spec import TensorSpec

FOUND = json.loads((Path(__file__).parent / "renamed_models.json").read_text())
CASES = [(m["target"], m["source"], m["of"]) for m in FOUND["matches"]]
IDS = [f"{target} from {source}" for target, source, _ in CASES]

#: Models whose layers have nothing to do with each other's.
CONVOLUTIONS = ("torchvision resnet18", "torchvision vgg16", "torchvision mobilenet_v2")
TRANSFORMERS = ("Google BERT", "OpenAI GPT-2", "mesh-tensorflow T5", "Flax Whisper", "Keras")


def side(title):
    specs = {}
    for line in FOUND["sides"][title]:
        name, _, shape = line.rpartition(" ")
        dtype = "int64" if name.endswith("num_batches_tracked") else "float32"
        specs[name] = TensorSpec(name, dtype, tuple(map(int, shape.split("x"))) if shape else ())
    return specs


def pairs_of(target, source, of):
    names = list(source)
    return {new: names[place] for new, place in zip(target, of, strict=True) if place is not None}


def right_and_wrong(target, source, pairs):
    near = {name: found.old for name, found in nearest(target, source).items()}
    right = sum(near.get(name) == old for name, old in pairs.items())
    return right, sum(pairs.get(name) != old for name, old in near.items())


@pytest.mark.parametrize("back", [False, True], ids=["there", "back"])
@pytest.mark.parametrize(("target", "source", "of"), CASES, ids=IDS)
def test_the_right_name_comes_first(target, source, of, back):
    target, source = side(target), side(source)
    pairs = pairs_of(target, source, of)
    if back:
        target, source, pairs = source, target, {old: new for new, old in pairs.items()}
    right, wrong = right_and_wrong(target, source, pairs)
    assert right >= 0.75 * len(pairs)
    assert wrong <= 2


def test_in_all_it_comes_first_in_more_than_nine_of_ten():
    counts = []
    for target, source, of in CASES:
        sides = side(target), side(source)
        pairs = pairs_of(*sides, of)
        counts.append((*right_and_wrong(*sides, pairs), len(pairs)))
    right, wrong, total = map(sum, zip(*counts, strict=True))
    print(f"{right} of {total} right, {wrong} wrong")
    assert total > 2500
    assert right / total > 0.97
    assert wrong <= 5


@pytest.mark.parametrize(("target", "source"), [*product(CONVOLUTIONS, TRANSFORMERS)])
def test_hardly_anything_is_suggested_between_models_that_have_nothing_to_do(target, source):
    target, source = side(target), side(source)
    assert len(nearest(target, source)) <= 0.03 * len(target)


@pytest.mark.parametrize(("target", "source", "of"), CASES, ids=IDS)
def test_what_is_suggested_fits(target, source, of):
    target, source = side(target), side(source)
    for name, near in nearest(target, source).items():
        assert spec_from(near.recipe, source).shape == target[name].shape
        assert math.prod(source[near.old].shape) == target[name].size


class Shapes(ListedSource):
    """A checkpoint of which only the names and shapes matter."""

    def __init__(self, specs):
        self._specs = specs

    def read(self, name):
        raise AssertionError("a plan reads nothing")


@pytest.mark.parametrize(("target", "source", "of"), CASES, ids=IDS)
def test_the_drafted_file_loads_all_that_is_suggested(target, source, of, tmp_path):
    source, model = Shapes(side(source)), StandIn(Shapes(side(target)))
    plan = SourceRestore(source).plan(model)
    suggested = {name: near.old for name, near in plan.near.items()}
    (tmp_path / "d.toml").write_text(draft_text(plan, "a b", beside=tmp_path), "utf-8")
    done = SourceRestore(source, rules=tmp_path / "d.toml").plan(model)
    assert not done.misfits
    assert {name: match.old for name, match in done.matches.items()} == suggested
    assert {*done.named(Verdict.LOADED)} == {*suggested}


def bn_net(scope, **more):
    """Return the specs of two norms and a head of PyTorch under a *scope*, and *more* by shape."""
    leaves = dict.fromkeys(("weight", "bias", "running_mean", "running_var"), (4,))
    shapes = {f"{scope}bn{i}.{leaf}": shape for i in (1, 2) for leaf, shape in leaves.items()}
    shapes |= {f"{scope}fc.weight": (5, 4), f"{scope}fc.bias": (5,), **more}
    counters = {f"{scope}bn{i}.num_batches_tracked": "int64" for i in (1, 2)}
    return {n: TensorSpec(n, counters.get(n, "float32"), shapes.get(n, ())) for n in
            [*shapes, *counters]}  # fmt: skip


def drafted(source, target, folder):
    """Return the lines of the rules drafted from one model for another, and the plan with them."""
    plan = SourceRestore(Shapes(source)).plan(StandIn(Shapes(target)))
    (folder / "d.toml").write_text(draft_text(plan, "a b", beside=folder), "utf-8")
    lines = (folder / "d.toml").read_text().splitlines()
    rules = [line.strip(' ",') for line in lines if line.startswith('  "')]
    return rules, SourceRestore(Shapes(source), rules=folder / "d.toml").plan(
        StandIn(Shapes(target))
    )


def test_a_scope_is_one_rule_though_there_is_more_in_it(tmp_path):
    source = bn_net("model.", **{"model.extra": (7,), "model.more.scale": ()})
    rules, plan = drafted(source, bn_net(""), tmp_path)
    assert rules == ["rename model.* -> *"]
    assert not plan.named(Verdict.MISSING)
    assert [name for _, name in plan.source_names(Verdict.UNUSED)] == [
        "model.extra", "model.more.scale",
    ]  # fmt: skip


@pytest.mark.parametrize(
    "more",
    [
        {"fc.weight": (9, 9)},  # would be there twice
        {f"model.x{i}": (7,) for i in range(20)},  # most have nothing to do with it
    ],
)
def test_a_scope_is_not_one_rule_where_more_would_go_wrong(more, tmp_path):
    source = bn_net("model.", **more)
    rules, plan = drafted(source, bn_net(""), tmp_path)
    assert "rename model.* -> *" not in rules
    assert len(plan.matches) >= 10


def test_the_page_suggests_what_a_draft_has():
    source = bn_net("model.", **{"model.extra": (7,)})
    plan = SourceRestore(Shapes(source)).plan(StandIn(Shapes(bn_net(""))))
    assert "<code>rename model.* -&gt; *</code>" in Report(plan, done=False).to_html()


def test_counters_that_the_model_has_not_are_dropped(tmp_path):
    target = {"n/gamma": (4,), "n/beta": (4,), "n/moving_mean": (4,), "n/moving_variance": (4,)}
    source = {name: spec for name, spec in bn_net("").items() if "bn1" in name}
    rules, plan = drafted(
        source, {n: TensorSpec(n, "float32", shape) for n, shape in target.items()}, tmp_path
    )
    assert rules[-1] == "drop *num_batches_tracked"
    assert plan.source_names(Verdict.DROPPED) == [(0, "bn1.num_batches_tracked")]
    assert is_complete(plan)


def test_many_that_go_alike_are_one_rule():
    target, source = side("transformers BertModel"), side("Google BERT")
    drafts = drafts_of(Nearest(lambda: (target, source, ())))
    assert len(drafts) < 30
    lines = [line for draft in drafts for line in draft.lines]
    assert (
        "rename bert/encoder/layer_*/intermediate/dense/kernel"
        " -> encoder.layer.*.intermediate.dense.weight"
    ) in lines
    assert "transpose encoder.layer.*.intermediate.dense.weight: 1 0" in lines
    assert (
        r"rename re:bert/encoder/layer_(\d+)/output/dense/bias"
        r" -> encoder.layer.\g<1>.output.dense.bias"
    ) in lines
    assert r"transpose re:encoder\.layer\.\d+\.output\.dense\.weight: 1 0" in lines
