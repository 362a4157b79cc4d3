"""Shapes that differ, and what rules say to do about them: to variables, to slots, in reports."""

import logging

import numpy as np
import pytest

import warmstart as ws
from warmstart.errors import NameConflict, RestoreMismatch, RuleError
from warmstart.source import DictSource
from warmstart.spec import TensorSpec
from warmstart.testing.memory import MemorySession

OLD = np.arange(12, dtype=np.float32).reshape(4, 3)
FULL = {"emb": OLD, "emb/m": OLD + 50, "emb/v": OLD + 90, "emb/step": np.float32(7)}


def source(arrays):
    return DictSource(arrays, roles={name: "slot" for name in arrays if "/" in name})


def model(shape, *slots, **others):
    """A model with an embedding, whose slots are still to be made where they are not named."""
    specs = [TensorSpec("emb", "float32", shape, "trainable")]
    specs += [TensorSpec(f"emb/{slot}", "float32", shape, "slot") for slot in slots]
    specs += [TensorSpec(name, "float32", s, "trainable") for name, s in others.items()]
    return MemorySession(specs, slots_to_come=["emb/m", "emb/v", "emb/step", "emb/row"])


def restored(shape, rules, arrays=FULL, slots=("m",), **more):
    session = model(shape, *slots)
    return session, ws.SmartInit(source(arrays), rules=rules, **more).init(session)


def test_behind_what_is_padded_the_variable_keeps_its_own():
    session, report = restored((6, 3), "fit emb: pad")
    assert session.arrays["emb"].tolist() == [*OLD.tolist(), [-1] * 3, [-1] * 3]  # its initial ones
    assert session.arrays["emb/m"].tolist() == [*(OLD + 50).tolist(), [0] * 3, [0] * 3]
    assert session.arrays["emb/v"].shape == (6, 3)  # made as the variable is
    assert session.arrays["emb/step"] == 7
    assert report.transformed == {
        "emb": "behind them the model's own", "emb/m": "pad axis 0 0:2 with 0",
        "emb/v": "pad axis 0 0:2 with 0",
    }  # fmt: skip
    assert report.initialized == ()


def test_a_value_that_is_there_already_stays_behind():
    session = model((6, 5))
    session.arrays["emb"] = np.full((6, 5), 9, np.float32)
    ws.SmartInit({"emb": OLD}, rules="fit *: pad").init(session)
    assert session.arrays["emb"][:4, :3].tolist() == OLD.tolist()
    assert session.arrays["emb"].sum() == OLD.sum() + 9 * 18


def test_what_is_too_long_is_cut():
    session, report = restored((3, 2), "fit emb: slice")
    assert session.arrays["emb"].tolist() == OLD[:3, :2].tolist()
    assert session.arrays["emb/v"].tolist() == (OLD[:3, :2] + 90).tolist()
    assert report.transformed["emb"] == "slice axis 0 0:3, slice axis 1 0:2"
    assert report.renamed == {}


def test_slots_of_what_is_interpolated_begin_anew():
    session, report = restored((8, 3), "fit e*: interpolate")
    column = session.arrays["emb"][:, 0].tolist()
    assert column == [0, 0.75, 2.25, 3.75, 5.25, 6.75, 8.25, 9]
    assert session.arrays["emb/m"].tolist() == [[-1] * 3] * 8  # its initial value
    assert "emb/step" not in session.arrays
    assert report.to_dict()["sources"][0]["tensors"]["emb/m"] == "kept"
    why = "begins anew, since its variable is interpolated"
    assert report.plan.left == (dict.fromkeys(["emb/m", "emb/v", "emb/step"], why),)
    assert "slots in a DictSource: begins anew, since its variable is" in str(report)


def test_slots_follow_all_or_not_at_all():
    arrays = FULL | {"emb/row": np.ones(4, np.float32)}
    session = model((6, 3), "m", "row")
    report = ws.SmartInit(source(arrays), rules="fit emb: pad").init(session)
    assert report.loaded == ("emb",)
    assert set(report.slots.why.values()) == {
        "begins anew, since not all slots of its variable can be made to fit"
    }


def test_a_slot_whose_variable_fits_may_be_asked_for_by_its_own_name():
    session = model((4, 3))
    session._specs["emb/m"] = TensorSpec("emb/m", "float32", (5, 3), "slot")
    ws.SmartInit(source(FULL), rules="fit emb/m: pad").init(session)
    assert session.arrays["emb/m"][4].tolist() == [0] * 3


def test_what_is_skipped_keeps_its_value_and_says_so(caplog):
    caplog.set_level(logging.WARNING, "warmstart")
    session, report = restored((6, 3), "fit emb: skip")
    assert session.arrays["emb"].tolist() == [[-1] * 3] * 6
    assert report.initialized == ("emb", "emb/m")
    assert report.skipped.keys() == {"emb"}
    assert "model float32 (6, 3), checkpoint float32 (4, 3), by fit emb: skip" in str(report)
    assert "1 variable left out since the shapes differ (fit emb: skip):" in caplog.text


def test_the_last_rule_counts():
    session, _ = restored((2, 3), ["fit *: error", "fit emb: slice"])
    assert session.arrays["emb"].tolist() == OLD[:2].tolist()
    with pytest.raises(RestoreMismatch, match="despite fit emb: error"):
        restored((2, 3), ["fit emb: slice", "fit emb: error"], ignore_mismatch=True)


@pytest.mark.parametrize(
    ("shape", "rule"),
    [
        ((6, 3), "fit emb: slice"),
        ((6, 2), "fit emb: pad"),
        ((12,), "fit emb: interpolate"),
        ((9, 3), "fit emb: interpolate grid 1"),
        ((9, 9), "fit emb: interpolate grid 0"),
    ],
)
def test_a_rule_that_does_not_help_is_named(shape, rule):
    with pytest.raises(RestoreMismatch, match=rf"checkpoint float32 \(4, 3\) +despite {rule}"):
        restored(shape, rule)
    _, report = restored(shape, rule, ignore_mismatch=True)
    assert set(report.mismatched) == {"emb"}


def test_a_rule_on_what_the_model_does_not_have_is_a_mistake():
    with pytest.raises(
        RuleError, match="these rules match nothing:\n  fit embb: pad    near it: emb"
    ):
        restored((4, 3), ["fit embb: pad", "fit emb: pad"])


def test_rules_on_shapes_come_after_the_others():
    session = model((6, 3))
    ws.SmartInit({"old": OLD.T}, rules=["fit emb: pad", {"old": "emb"}, "transpose emb"]).init(
        session
    )
    assert session.arrays["emb"][:4].tolist() == OLD.tolist()


def test_a_dtype_that_does_not_fit_still_does_not():
    with pytest.raises(RestoreMismatch, match="int64"):
        restored((6, 3), "fit emb: pad", {"emb": OLD.astype(int)})


def test_a_chain_may_pad_what_the_earlier_part_filled():
    session = model((6, 3))
    chain = [{"emb": np.full((6, 3), 5.0)}, {"emb": OLD}]
    ws.ChainInit(chain, rules="fit emb: pad").init(session)
    assert session.arrays["emb"][:4].tolist() == OLD.tolist()


def test_what_ties_must_be_equal_when_it_fits():
    session = MemorySession([TensorSpec("emb", "float32", (2, 3), "trainable")], {"head": "emb"})
    ws.SmartInit({"emb": OLD, "head": OLD.copy()}, rules="fit emb: slice").init(session)
    assert session.arrays["emb"].tolist() == OLD[:2].tolist()
    with pytest.raises(NameConflict, match="'emb' and 'head' differ"):
        ws.SmartInit({"emb": OLD, "head": OLD + 1}, rules="fit emb: slice").init(session)
