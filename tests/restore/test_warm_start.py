"""What WarmStartSettings chooses, from where, and what it refuses."""

import logging
from types import SimpleNamespace

import numpy as np
import pytest

import warmstart as ws
from warmstart.errors import NoSuchTensor, RestoreMismatch, RuleError

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
        (["enc/w"], {"enc/w"}),
        (["enc/w:0"], {"enc/w"}),
        (["enc/w.*"], {"enc/w", "enc/w/Adam"}),
        (["enc/m", "fc/w"], {"enc/mean", "fc/w"}),
        ([".*"], {"enc/w", "enc/b", "enc/mean", "fc/w", "enc/w/Adam"}),
        (["step"], {"step"}),
        ([SimpleNamespace(name="enc/mean:0")], {"enc/mean"}),
        (None, set()),
        ([], set()),
    ],
)
def test_choices(choice, chosen, checkpoint, session):
    report = ws.WarmStartSettings(checkpoint, choice).init(session)
    assert set(report.loaded) == chosen
    assert set(report.initialized) == set(session.specs) - chosen


def test_no_word_about_what_was_not_chosen(checkpoint, session, caplog):
    ws.WarmStartSettings(checkpoint, ["enc/w"]).init(session)
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


def test_vocabularies_are_refused():
    info = ws.VocabInfo("new.txt", 3, 0, "old.txt")
    with pytest.raises(ValueError, match="var_name_to_vocab_info is not supported yet"):
        ws.WarmStartSettings("base", var_name_to_vocab_info={"emb": info})


def test_vocab_info_has_tensorflows_fields():
    info = ws.VocabInfo("new.txt", 3, 0, "old.txt")
    assert (info.old_vocab_size, info.backup_initializer, info.axis) == (-1, None, 0)
    with pytest.raises(ValueError, match="axis is 0 or 1, not 2"):
        ws.VocabInfo("new.txt", 3, 0, "old.txt", axis=2)


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
