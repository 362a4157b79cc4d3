"""What WarmStartSettings chooses, from where, and what it refuses."""

import logging
from collections import namedtuple
from types import SimpleNamespace

import numpy as np
import pytest

import warmstart as ws
from warmstart.errors import NoSuchTensor, RestoreMismatch, RuleError
from warmstart.spec import TensorSpec
from warmstart.testing.memory import MemorySession

ARRAYS = {
    "enc/w:0": np.ones((2, 3), np.float32),
    "enc/b": np.full(3, 2, np.float32),
    "enc/mean": np.full(3, 3, np.float32),
    "fc/w": np.full((3, 4), 4, np.float32),
    "enc/w/Adam": np.full((2, 3), 5, np.float32),
    "step": np.int64(6),
}


@pytest.fixture
def checkpoint(tmp_path):
    ws.save_vars(ARRAYS, tmp_path / "base.npz")
    return tmp_path / "base.npz"


@pytest.mark.parametrize(
    ("choice", "chosen"),
    [
        (".*", {"enc/w", "enc/b", "fc/w"}),
        ("enc", {"enc/w", "enc/b"}),
        ("enc/b:0", {"enc/b"}),
        ("enc/b$", {"enc/b"}),
        (["enc/w"], {"enc/w", "enc/w/Adam"}),
        (["enc/w:0"], {"enc/w"}),
        (["enc/w.*"], {"enc/w", "enc/w/Adam"}),
        (["enc/m", "fc/w"], {"enc/mean", "fc/w"}),
        ([".*"], {"enc/w", "enc/b", "enc/mean", "fc/w", "enc/w/Adam", "step"}),
        (["step"], {"step"}),
        ([SimpleNamespace(name="enc/mean:0")], {"enc/mean"}),
        (None, set()),
        ("", set()),
        ([], set()),
    ],
)
def test_choices(choice, chosen, checkpoint, session):
    report = ws.WarmStartSettings(checkpoint, choice).init(session)
    assert set(report.loaded) == chosen
    assert set(report.initialized) == set(session.specs) - chosen


def test_no_word_about_what_was_not_chosen(checkpoint, session, caplog):
    ws.WarmStartSettings(checkpoint, ["enc/w:0"]).init(session)
    assert [r for r in caplog.records if r.levelno >= logging.WARNING] == []


def test_previous_names(checkpoint, session):
    settings = ws.WarmStartSettings(
        checkpoint,
        ["enc/w", "enc/b", "enc/mean"],
        var_name_to_prev_var_name={"enc/mean": "enc/b:0", "enc/w:0": "enc/w"},
    )
    report = settings.init(session)
    assert report.renamed == {"enc/mean": "enc/b"}
    assert session.arrays["enc/mean"].tolist() == session.arrays["enc/b"].tolist() == [2, 2, 2]


def test_a_folder_means_its_latest_checkpoint(tmp_path, session):
    ws.save_vars(ARRAYS, tmp_path / "model-1")
    (tmp_path / "checkpoint").write_text('model_checkpoint_path: "model-1"\n')
    assert ws.WarmStartSettings(tmp_path, ["fc/w"]).init(session).loaded == ("fc/w",)


def test_items_that_mean_nothing_are_all_named(checkpoint, session):
    with pytest.raises(RuleError) as caught:
        ws.WarmStartSettings(checkpoint, ["enc/w", "enc/x", "head/.*"]).init(session)
    assert str(caught.value).splitlines() == [
        "vars_to_warm_start means no variable of the model by:",
        "  enc/x    near it: enc/w, enc/b, enc/mean",
        "  head/.*",
    ]


def test_a_variable_of_another_model_is_named(checkpoint, session):
    with pytest.raises(RuleError, match="by:\n  other:0"):
        ws.WarmStartSettings(checkpoint, [SimpleNamespace(name="other:0")]).init(session)


def test_names_the_checkpoint_lacks_are_all_named(tmp_path, session):
    ws.save_vars({"enc/w": ARRAYS["enc/w:0"], "encoder/b": ARRAYS["enc/b"]}, tmp_path / "m.npz")
    with pytest.raises(NoSuchTensor) as caught:
        ws.WarmStartSettings(tmp_path / "m.npz", ".*", None, {"fc/w": "head/w"}).init(session)
    assert str(caught.value).splitlines() == [
        f"variables to warm-start that {tmp_path / 'm.npz'} lacks:",
        "  enc/b    near it: enc/w, encoder/b",
        "  head/w (for fc/w)",
    ]
    assert session.order == []


def test_entries_that_nothing_uses_are_all_named(checkpoint, session):
    before = {"fc/w": "fc/w", "enc/m": "x", "enc/b": "enc/b"}
    infos = {"fc/w": ws.VocabInfo(["a"], 1, 0, ["a"])}
    with pytest.raises(RuleError) as caught:
        ws.WarmStartSettings(checkpoint, "enc", infos).init(session)
    assert str(caught.value).splitlines() == [
        "var_name_to_vocab_info names what is not warm-started:",
        "  fc/w    near it: enc/w",
    ]
    with pytest.raises(RuleError) as caught:
        ws.WarmStartSettings(checkpoint, "enc", None, before).init(session)
    assert str(caught.value).splitlines() == [
        "var_name_to_prev_var_name names what is not warm-started:",
        "  fc/w    near it: enc/w",
        "  enc/m    near it: enc/w, enc/b",
    ]


def test_a_shape_that_does_not_fit_is_refused(checkpoint, session):
    settings = ws.WarmStartSettings(checkpoint, ["fc/w"], None, {"fc/w": "enc/w"})
    with pytest.raises(RestoreMismatch, match=r"fc/w  model float32 \(3, 4\)"):
        settings.init(session)


def test_with_none_any_trainable_variable_may_have_an_entry(checkpoint, session):
    """As TensorFlow has it, although nothing is done with the entry."""
    settings = ws.WarmStartSettings(checkpoint, None, None, {"fc/w": "gone"})
    assert settings.init(session).loaded == ()
    with pytest.raises(RuleError, match="not warm-started:\n  enc/mean"):
        ws.WarmStartSettings(checkpoint, None, None, {"enc/mean": "gone"}).init(session)


def test_slots_and_counters_beside_a_variable_may_be_absent(tmp_path, session):
    bare = {n: a for n, a in ARRAYS.items() if n not in ("enc/w/Adam", "step")}
    ws.save_vars(bare, tmp_path / "m.npz")
    report = ws.WarmStartSettings(tmp_path / "m.npz", [".*"]).init(session)
    assert set(report.loaded) == {"enc/w", "enc/b", "enc/mean", "fc/w"}
    for choice in (["enc/w/Adam"], [".*/Adam"], ["enc/w/A", "enc/w:0"], [".*", "enc/w/Adam"]):
        with pytest.raises(NoSuchTensor, match="lacks:\n  enc/w/Adam"):
            ws.WarmStartSettings(tmp_path / "m.npz", choice).init(session)


def test_the_settings_of_an_estimator_will_do(checkpoint, session):
    Settings = namedtuple(
        "WarmStartSettings",
        "ckpt_to_initialize_from vars_to_warm_start var_name_to_vocab_info "
        "var_name_to_prev_var_name",
    )
    report = ws.SmartInit(Settings(checkpoint, "enc/w", {}, {})).init(session)
    assert report.loaded == ("enc/w",)


def test_a_name_that_is_no_regex_means_itself(tmp_path):
    ws.save_vars({"w[": np.ones(2, np.float32)}, tmp_path / "m.npz")
    session = MemorySession([TensorSpec("w[", "float32", (2,), "trainable")])
    assert ws.WarmStartSettings(tmp_path / "m.npz", ["w["]).init(session).loaded == ("w[",)


@pytest.mark.parametrize("choice", [3, ["a", SimpleNamespace(name="b")], [3]])
def test_other_choices_are_type_errors(choice):
    with pytest.raises(TypeError, match="vars_to_warm_start is a regex, a list of names"):
        ws.WarmStartSettings("base", choice)


def test_a_checkpoint_is_a_path():
    with pytest.raises(TypeError, match="ckpt_to_initialize_from is a path, not a dict"):
        ws.WarmStartSettings({})


def test_a_regex_that_cannot_be_read_is_refused(checkpoint, session):
    with pytest.raises(RuleError, match=r"the regex '\(' cannot be read"):
        ws.WarmStartSettings(checkpoint, "(").init(session)
