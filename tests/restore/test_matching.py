"""Plans: who fills whom, decided from specs alone."""

from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from warmstart.errors import NameConflict
from warmstart.restore.matching import make_plan
from warmstart.restore.plan import Part, Verdict
from warmstart.restore.recipe import Taken
from warmstart.restore.sessinit import every_name
from warmstart.source import DictSource
from warmstart.spec import TensorSpec
from warmstart.testing.memory import MemorySession


def part(arrays, **more):
    source = DictSource(arrays, roles=more.pop("roles", None), aliases=more.pop("aliases", None))
    return Part(source, every_name(source), more.pop("label", "a dict"), **more)


def verdicts(plan, index=0):
    return {name: str(verdict) for name, verdict in plan.sources[index].items()}


def targets(plan):
    return {name: str(verdict) for name, verdict in plan.targets.items()}


ENC_W = np.ones((2, 3), np.float32)


def test_every_name_has_its_verdict(session):
    arrays = {
        "enc/w": ENC_W,
        "enc/b": np.ones(3),
        "fc/w": np.ones((3, 5)),
        "extra": np.ones(1),
        "extra/Adam": np.ones(1),
        "enc/w/Adam": ENC_W,
        "step": np.int64(3),
        "_RUN/state": np.ones(2),
    }
    plan = make_plan([part(arrays, ignore_mismatch=True)], session)
    assert targets(plan) == {
        "enc/w": "loaded",
        "enc/b": "loaded",
        "enc/mean": "missing",
        "fc/w": "mismatched",
        "enc/w/Adam": "loaded",
        "step": "kept",
    }
    assert verdicts(plan) == {
        "enc/w": "loaded",
        "enc/b": "loaded",
        "fc/w": "mismatched",
        "extra": "unused",
        "extra/Adam": "kept",
        "enc/w/Adam": "loaded",
        "step": "kept",
        "_RUN/state": "kept",
    }


def test_the_output_number_is_no_part_of_the_name(session):
    plan = make_plan([part({"enc/w:0": ENC_W})], session)
    assert plan.matches["enc/w"].old == "enc/w:0"
    assert not plan.matches["enc/w"].renamed


def test_two_spellings_of_one_name_are_refused(session):
    with pytest.raises(NameConflict) as caught:
        make_plan([part({"enc/w:0": ENC_W, "enc/w": ENC_W})], session)
    assert str(caught.value).splitlines() == [
        "two tensors of a dict end on one name; drop one of them:",
        "  'enc/w:0' and 'enc/w' are both 'enc/w'",
    ]


def test_run_state_is_filled_only_on_demand(session):
    arrays = part({"step": np.int64(3)})
    assert targets(make_plan([arrays], session))["step"] == "kept"
    assert targets(make_plan([arrays], session, with_run=True))["step"] == "loaded"


def test_either_name_of_a_tied_tensor_will_do():
    session = MemorySession([TensorSpec("emb", "float32", (2,), "trainable")], {"head": "emb"})
    for arrays in ({"emb": np.ones(2)}, {"head": np.ones(2)}):
        assert targets(make_plan([part(arrays)], session)) == {"emb": "loaded"}


def test_a_tied_tensor_fills_both_of_an_untied_model():
    session = MemorySession([TensorSpec(n, "float64", (2,), "model") for n in ("emb", "head")])
    plan = make_plan([part({"emb": np.ones(2)}, aliases={"head": "emb"})], session)
    assert {t: m.old for t, m in plan.matches.items()} == {"emb": "emb", "head": "head"}
    assert verdicts(plan) == {"emb": "loaded"}


def test_two_tensors_for_a_tied_variable_are_a_tie_to_be_checked():
    session = MemorySession([TensorSpec("emb", "float32", (2,), "trainable")], {"head": "emb"})
    plan = make_plan([part({"head": np.ones(2), "emb": np.ones(2)})], session)
    assert [(tie.match.old, tie.other.old) for tie in plan.ties] == [("emb", "head")]
    assert verdicts(plan) == {"head": "loaded", "emb": "loaded"}


def test_the_later_part_wins(session):
    plan = make_plan([part({"enc/w": ENC_W}), part({"enc/w": ENC_W})], session)
    assert plan.matches["enc/w"].part == 1
    assert [m.part for m in plan.overridden["enc/w"]] == [0]
    assert (verdicts(plan, 0), verdicts(plan, 1)) == (
        {"enc/w": "overridden"},
        {"enc/w": "loaded"},
    )


def test_a_misfit_that_is_overridden_does_no_harm(session):
    plan = make_plan([part({"enc/w": np.ones(9)}), part({"enc/w": ENC_W})], session)
    assert [m.fatal for m in plan.misfits] == [False]
    assert targets(plan)["enc/w"] == "loaded"


def test_a_later_misfit_does_harm(session):
    plan = make_plan([part({"enc/w": ENC_W}), part({"enc/w": np.ones(9)})], session)
    assert [m.fatal for m in plan.misfits] == [True]


def test_a_later_misfit_that_is_ignored_leaves_the_earlier_value(session):
    later = part({"enc/w": np.ones(9)}, ignore_mismatch=True)
    plan = make_plan([part({"enc/w": ENC_W}), later], session)
    assert plan.matches["enc/w"].part == 0


def test_a_dtype_is_never_ignored(session):
    plan = make_plan([part({"enc/w": ENC_W.astype(int)}, ignore_mismatch=True)], session)
    assert [(m.reason, m.fatal) for m in plan.misfits] == [("dtype", True)]


def test_slots_that_would_be_made_are_filled():
    w = TensorSpec("w", "float32", (2,), "trainable")
    session = MemorySession([w], slots_to_come=["w/exp_avg"])
    arrays = {"w": np.ones(2), "w/exp_avg": np.ones(2), "w/other": np.ones(2)}
    plan = make_plan([part(arrays)], session)
    assert targets(plan) == {"w": "loaded", "w/exp_avg": "loaded"}
    assert verdicts(plan)["w/other"] == "kept"


def test_a_slot_stays_behind_with_its_variable(session):
    arrays = {"enc/w": np.ones(9), "enc/w/Adam": ENC_W}
    plan = make_plan([part(arrays, ignore_mismatch=True)], session)
    assert targets(plan)["enc/w/Adam"] == "kept"
    assert verdicts(plan)["enc/w/Adam"] == "kept"


def test_a_slot_of_overridden_weights_is_not_mixed_with_others(session):
    parts = [part({"enc/w": ENC_W, "enc/w/Adam": ENC_W}), part({"enc/w": ENC_W})]
    assert targets(make_plan(parts, session))["enc/w/Adam"] == "kept"


def test_a_slot_alone_is_filled(session):
    assert targets(make_plan([part({"enc/w/Adam": ENC_W})], session))["enc/w/Adam"] == "loaded"


def test_an_explicit_part_leaves_the_rest_unasked(session):
    source = DictSource({"enc/w": ENC_W, "extra": ENC_W, "step": np.int64(1)})
    plan = make_plan(
        [Part(source, {n: Taken(n) for n in ("enc/w", "step")}, "chosen", explicit=True)], session
    )
    counted = Counter(targets(plan).values())
    assert counted == {"loaded": 2, "kept": 4}
    assert verdicts(plan)["extra"] == "kept"


SHAPES = st.sampled_from([(), (1,), (2,)])
SOURCE = st.dictionaries(st.sampled_from(["a", "b", "c", "a/s", "d:0", "_RUN/x"]), SHAPES)
MODEL = st.dictionaries(
    st.sampled_from(["a", "b", "d", "a/s"]),
    st.tuples(SHAPES, st.sampled_from(["trainable", "model", "slot", "run"])),
)


@given(sources=st.lists(SOURCE, max_size=3), model=MODEL, ignoring=st.booleans())
def test_every_name_of_both_sides_has_exactly_one_verdict(sources, model, ignoring):
    session = MemorySession(TensorSpec(n, "float64", s, r) for n, (s, r) in model.items())
    parts = [
        part({name: np.zeros(shape) for name, shape in arrays.items()}, ignore_mismatch=ignoring)
        for arrays in sources
    ]
    plan = make_plan(parts, session)
    assert plan.targets.keys() == model.keys()
    assert [verdicts.keys() for verdicts in plan.sources] == [arrays.keys() for arrays in sources]
    assert set(plan.named(Verdict.LOADED)) == plan.matches.keys()
    used = {(m.part, m.source.name) for m in plan.matches.values()}
    assert used <= set(plan.source_names(Verdict.LOADED))
    assert all(m.source.shape == m.target.shape for m in plan.matches.values())
    assert all(model[name][1] != "run" for name in plan.matches)
