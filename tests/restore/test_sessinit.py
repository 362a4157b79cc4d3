"""SmartInit and its family on a session in memory: values, reports, warnings and refusals."""

import datetime
import json
import logging

import numpy as np
import pytest

import warmstart as ws
from warmstart.errors import (
    CheckpointNotFound,
    CorruptCheckpoint,
    NameConflict,
    RestoreError,
    RestoreMismatch,
    RuleError,
)
from warmstart.spec import TensorSpec
from warmstart.testing.memory import MemorySession

ENC_W = np.arange(6, dtype=np.float32).reshape(2, 3)
WHOLE = {
    "enc/w": ENC_W,
    "enc/b": np.ones(3, np.float32),
    "enc/mean": np.full(3, 2, np.float32),
    "fc/w": np.full((3, 4), 3, np.float32),
}


@pytest.fixture
def npz(tmp_path):
    """A checkpoint file with the whole model."""
    np.savez(tmp_path / "whole.npz", **WHOLE)
    return tmp_path / "whole.npz"


@pytest.fixture
def warnings(caplog):
    """The texts of what was warned about so far."""
    caplog.set_level(logging.WARNING, "warmstart")
    return lambda: [record.getMessage() for record in caplog.records]


def model(*names, shape=(2,), dtype="float32"):
    return MemorySession(TensorSpec(name, dtype, shape, "trainable") for name in names)


@pytest.mark.parametrize(
    "kind",
    [str, lambda path: path, lambda path: dict(np.load(path)), ws.open, ws.SaverRestore,
     lambda path: [{"enc/b": np.zeros(3)}, str(path)], ws.get_model_loader],
    ids=["text", "path", "dict", "source", "itself", "list", "get_model_loader"],
)  # fmt: skip
def test_smart_init_takes(kind, npz, session, warnings):
    report = ws.SmartInit(kind(npz)).init(session)
    assert set(report.loaded) == set(WHOLE)
    assert {n: a.tolist() for n, a in session.arrays.items() if n in WHOLE} == {
        n: a.tolist() for n, a in WHOLE.items()
    }
    assert session.arrays["enc/w/Adam"].tolist() == [[-1] * 3] * 2  # its initial value
    assert session.arrays["step"] == -1
    assert report.initialized == ("enc/w/Adam", "step")
    assert warnings() == []


@pytest.mark.parametrize("nothing", [None, [], ()])
def test_smart_init_of_nothing_initializes(nothing, session, warnings):
    report = ws.SmartInit(nothing).init(session)
    assert set(report.initialized) == set(session.specs)
    assert (report.loaded, report.missing, warnings()) == ((), (), [])


def test_smart_init_leaves_what_has_a_value(session):
    ws.SmartInit(WHOLE).init(session)
    assert ws.SmartInit(None).init(session).initialized == ()
    assert session.arrays["enc/w"].tolist() == ENC_W.tolist()


def test_smart_init_refuses_what_it_does_not_know():
    with pytest.raises(TypeError, match=r"a model can start from a path, .*, not from 3$"):
        ws.SmartInit(3)


def test_saver_restore_refuses_a_dict():
    with pytest.raises(TypeError, match="SaverRestore takes the path of a checkpoint, not a dict"):
        ws.SaverRestore(WHOLE)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"prefix": 5}, "prefix is 5; expected a string, such as 'tower0', or None"),
        ({"ignore": 5}, "ignore takes the names of tensors, a list of strings; not 5"),
        ({"ignore": ["w", b"v"]}, "ignore takes the names of tensors, a list of strings; not b'v'"),
        ({"ignore": None}, "a list of strings; not None"),
    ],
)
def test_saver_restore_refuses_what_is_no_name(options, message, tmp_path):
    with pytest.raises(TypeError, match=message):
        ws.SaverRestore(tmp_path / "m", **options)


def test_a_path_without_a_checkpoint_is_refused_at_once(tmp_path):
    with pytest.raises(CheckpointNotFound, match="nothing is at"):
        ws.SmartInit(tmp_path / "none")


def test_dict_restore_refuses_a_path():
    with pytest.raises(TypeError, match="DictRestore takes a dict of arrays by name, not a str"):
        ws.DictRestore("model.npz")


def test_dict_restore_refuses_names_that_are_not_text():
    with pytest.raises(TypeError, match="names of variables are strings; found 3"):
        ws.DictRestore({3: np.ones(1)})


def test_dict_restore_refuses_objects():
    with pytest.raises(TypeError, match="arrays of numbers or bytes; found 'w': dict, 'v': NoneT"):
        ws.DictRestore({"w": {"inner": 1}, "v": None, "b": np.ones(1)})


def test_dict_restore_refuses_times():
    when = datetime.datetime(2026, 1, 2)
    arrays = {"a": when, "b": np.datetime64(when), "c": np.zeros(2, "m8[s]"), "d": np.ones(1)}
    found = "found 'a': datetime, 'b': datetime64, 'c': timedelta64$"
    with pytest.raises(TypeError, match=found):
        ws.DictRestore(arrays)


def test_dict_restore_takes_text_as_bytes():
    session = MemorySession([TensorSpec("s", "string", (2,), "model")])
    ws.DictRestore({"s": np.array(["a", "é"])}).init(session)
    assert session.arrays["s"].tolist() == [b"a", "é".encode()]


def test_load_edit_restore(npz, session):
    variables = ws.load_vars(npz)
    variables["enc/b"] += 1
    del variables["fc/w"]
    before = dict(variables)
    report = ws.DictRestore(variables).init(session)
    assert session.arrays["enc/b"].tolist() == [2, 2, 2]
    assert report.missing == ("fc/w",)
    assert variables.keys() == before.keys()


def test_loaded_variables_keep_their_other_names(tmp_path):
    source = ws.DictSource({"key/w": np.ones(2)}, aliases={"fc/w": "key/w"})
    ws.save_vars(source, tmp_path / "m.npz")
    session = model("fc/w")
    report = ws.DictRestore(ws.load_vars(tmp_path / "m.npz")).init(session)
    assert (report.missing, report.unused) == ((), ())
    assert session.arrays["fc/w"].tolist() == [1, 1]


def test_prefix_puts_the_checkpoint_under_a_scope(npz, warnings):
    session = model("tower/enc/b", "tower2/enc/b", shape=(3,))
    report = ws.SaverRestore(npz, prefix="tower", ignore=["enc/w", "fc/w:0", "enc/mean"]).init(
        session
    )
    assert report.renamed == {"tower/enc/b": "enc/b"}
    assert report.missing == ("tower2/enc/b",)
    assert report.dropped == ("enc/w", "enc/mean", "fc/w")


@pytest.mark.parametrize("prefix", ["tower", "tower.", "tower/"])
def test_a_prefix_takes_the_separator_of_the_model(prefix, tmp_path):
    np.savez(tmp_path / "m.npz", w=np.ones(2))
    separator = "/" if prefix == "tower/" else "."
    report = ws.SaverRestore(tmp_path / "m.npz", prefix=prefix).init(model(f"tower{separator}w"))
    assert report.loaded == (f"tower{separator}w",)


def test_a_prefix_without_variables_is_refused(npz):
    with pytest.raises(RuleError, match=r"under the prefix 'towr'    near it: tower/enc/b"):
        ws.SaverRestore(npz, prefix="towr").init(model("tower/enc/b"))


def test_what_is_ignored_is_not_warned_about(npz, session, warnings):
    report = ws.SaverRestore(npz, ignore=["fc/w:0"]).init(session)
    assert (report.dropped, report.missing, warnings()) == (("fc/w",), (), [])


def test_one_ignored_name_is_not_taken_letter_by_letter(npz, session):
    assert ws.SaverRestore(npz, ignore="fc/w").init(session).dropped == ("fc/w",)


def test_ignored_names_that_do_not_exist_are_refused(npz, session):
    with pytest.raises(RuleError) as caught:
        ws.SaverRestore(npz, ignore=["fc/v", "fc/w", "learning_rate:0"]).init(session)
    assert str(caught.value).splitlines() == [
        f"ignored names that {npz} does not have:",
        "  fc/v    near it: fc/w",
        "  learning_rate:0",
    ]


def test_rules_rename_and_drop(npz, warnings):
    session = model("bert/b", "bert/mean", shape=(3,))
    report = ws.SmartInit(npz, rules=["drop */w", "rename enc/* -> bert/*"]).init(session)
    assert report.renamed == {"bert/b": "enc/b", "bert/mean": "enc/mean"}
    assert set(report.dropped) == {"enc/w", "fc/w"}
    assert warnings() == []


def test_rules_that_match_nothing_are_refused_before_anything_is_assigned(npz, session):
    with pytest.raises(RuleError, match="these rules match nothing:\n  drop bert/"):
        ws.SmartInit(npz, rules="drop bert/*").init(session)
    assert session.order == []


def test_rules_that_end_on_one_name_are_refused(npz, session):
    with pytest.raises(NameConflict, match="'enc/w' and 'fc/w' are both 'enc/w'"):
        ws.SmartInit(npz, rules={"fc/w": "enc/w"}).init(session)


def test_rules_of_a_chain_need_to_match_in_one_member(session):
    first, second = {"enc/bias": np.ones(3)}, {"fc/kernel": np.ones((3, 4))}
    rules = {"enc/bias": "enc/b", "fc/kernel": "fc/w"}
    report = ws.SmartInit([first, second], rules=rules).init(session)
    assert set(report.renamed) == {"enc/b", "fc/w"}
    with pytest.raises(RuleError, match="the mapping's 'gone'"):
        ws.ChainInit([first, second], rules={"gone": "x", "fc/kernel": "fc/w"}).init(session)


def test_rules_are_read_at_once():
    with pytest.raises(RuleError, match="cannot be read"):
        ws.SmartInit(WHOLE, rules="delete fc/*")


def test_options_given_with_a_session_init_come_on_top_of_its_own(session):
    inner = ws.DictRestore({"a": ENC_W}, rules="rename a -> b")
    assert ws.SmartInit(inner, rules="rename b -> enc/w").init(session).renamed == {"enc/w": "a"}


def test_rules_given_with_a_session_init_may_be_any_iterable(session):
    rules = iter(["rename a -> enc/w"])
    assert ws.SmartInit(ws.DictRestore({"a": ENC_W}), rules=rules).init(session).renamed == {
        "enc/w": "a"
    }


def test_one_tensor_fills_several_variables():
    session = model("a", "b")
    report = ws.DictRestore({"w": np.ones(2)}, rules={"w": ["a", "b"]}).init(session)
    assert report.loaded == ("a", "b")
    assert session.arrays["a"].tolist() == session.arrays["b"].tolist() == [1, 1]


def test_the_later_member_of_a_chain_wins_and_the_report_says_so(npz, session):
    report = ws.ChainInit([str(npz), {"enc/b": np.zeros(3)}]).init(session)
    assert session.arrays["enc/b"].tolist() == [0, 0, 0]
    assert session.order.count("enc/b") == 1
    assert report.overridden == {"enc/b": (str(npz),)}
    assert f"from the dict, float64 -> float32, over {npz}" in str(report)


def test_every_misfit_is_in_one_error_and_nothing_is_assigned(session):
    arrays = {"enc/w": ENC_W, "enc/b": np.ones(4), "fc/w": np.ones((5, 6), np.float32)}
    with pytest.raises(RestoreMismatch) as caught:
        ws.DictRestore(arrays).init(session)
    assert str(caught.value).splitlines() == [
        "2 of 6 variables do not fit the checkpoint",
        "  enc/b  model float32 (3,)    checkpoint float64 (4,)",
        "  fc/w   model float32 (3, 4)  checkpoint float32 (5, 6)",
        'To keep their initial values: ignore_mismatch=True, or rules=["drop enc/b", "drop fc/w"].',
        "while restoring from the dict; nothing was assigned",
    ]
    assert session.order == []


def test_what_fits_when_turned_around_is_said_and_can_be_followed(session):
    arrays = {"enc/w": np.arange(6, dtype="f4").reshape(3, 2), "fc/w": np.zeros((4, 3), "f4")}
    with pytest.raises(RestoreMismatch) as error:
        ws.DictRestore(arrays).init(session)
    assert str(error.value).splitlines()[3] == (
        "The axes of {enc,fc}/w are in another order. If the checkpoint's layers are those of "
        'another framework, say whose: layout="torch", "keras" or "flax"; if only these are, turn '
        'them around: rules=["transpose enc/w: 1 0", "transpose fc/w: 1 0"].'
    )
    ws.DictRestore(arrays, rules=["transpose enc/w: 1 0", "transpose fc/w: 1 0"]).init(session)
    assert session.arrays["enc/w"].tolist() == [[0, 2, 4], [1, 3, 5]]


def test_the_advice_of_a_misfit_can_be_followed(session):
    arrays = {"fc/w": np.ones(1), "fc/b": np.ones(1), "enc/b": np.ones(3)}
    session = model("fc/w", "fc/b")
    with pytest.raises(RestoreMismatch, match=r'rules=\["drop fc/\*"\]'):
        ws.DictRestore(arrays).init(session)
    assert set(ws.DictRestore(arrays, rules="drop fc/*").init(session).dropped) == {"fc/w", "fc/b"}


def test_shapes_and_dtypes_are_advised_on_apart():
    arrays = {"a": np.ones(3), "b": np.ones(2, bool)}
    with pytest.raises(RestoreMismatch) as caught:
        ws.DictRestore(arrays).init(model("a", "b"))
    assert str(caught.value).splitlines()[3:5] == [
        'To keep their initial values: ignore_mismatch=True, or rules=["drop a"].',
        "Integers are only widened and never become floats: convert the values, or leave them out "
        'with rules=["drop b"].',
    ]


def test_the_advice_on_very_many_is_short():
    names = [f"x{i}" for i in range(12)]
    with pytest.raises(RestoreMismatch, match=r'"drop x7", \.\.\.\]'):
        ws.DictRestore(dict.fromkeys(names, np.ones(3))).init(model(*names))


def test_a_misfit_in_a_chain_names_its_file(npz, session):
    with pytest.raises(RestoreMismatch, match=r"checkpoint float64 \(9,\)  in the dict"):
        ws.SmartInit([str(npz), {"enc/b": np.ones(9)}]).init(session)


def test_misfits_that_are_ignored_are_warned_about_and_get_their_initial_value(session, warnings):
    arrays = WHOLE | {"fc/w": np.ones((4, 3))}
    report = ws.DictRestore(arrays, ignore_mismatch=True).init(session)
    assert report.mismatched == {"fc/w": "model float32 (3, 4), checkpoint float64 (4, 3)"}
    assert "fc/w" in report.initialized
    assert warnings() == [
        "1 variable left out since the shapes differ (ignore_mismatch=True):\n"
        "  fc/w  model float32 (3, 4)  checkpoint float64 (4, 3)"
    ]


def test_no_silent_reshape():
    with pytest.raises(RestoreMismatch, match=r"model float32 \(2,\)  checkpoint float64 \(1, 2\)"):
        ws.DictRestore({"w": np.ones((1, 2))}).init(model("w"))


def test_floats_are_cast_and_the_report_says_so():
    session = model("w", dtype="bfloat16")
    report = ws.DictRestore({"w": np.array([1.5, 2.0])}).init(session)
    assert report.cast == {"w": "float64 -> bfloat16"}
    assert session.arrays["w"].dtype.name == "bfloat16"
    assert session.arrays["w"].astype(float).tolist() == [1.5, 2.0]


def test_integers_are_widened():
    session = model("w", dtype="int32")
    ws.DictRestore({"w": np.array([-3, 4], np.int8)}).init(session)
    assert session.arrays["w"].dtype == np.int32
    assert session.arrays["w"].tolist() == [-3, 4]


@pytest.mark.parametrize("ignore_mismatch", [True, False])
def test_other_dtypes_are_refused_together(ignore_mismatch):
    arrays = {"a": np.ones(2, int), "b": np.ones(2, bool)}
    with pytest.raises(RestoreMismatch) as caught:
        ws.DictRestore(arrays, ignore_mismatch=ignore_mismatch).init(model("a", "b"))
    assert str(caught.value).splitlines() == [
        "2 of 2 variables do not fit the checkpoint",
        "  a  model float32 (2,)  checkpoint int64 (2,)",
        "  b  model float32 (2,)  checkpoint bool (2,)",
        "Integers are only widened and never become floats: convert the values, or leave them out "
        'with rules=["drop a", "drop b"].',
        "while restoring from the dict; nothing was assigned",
    ]


def test_a_cast_that_would_make_values_infinite_is_refused():
    session = model("a", "b", dtype="float16")
    arrays = {"a": np.array([1.0, np.inf]), "b": np.array([1e30, 0])}
    with pytest.raises(RestoreMismatch, match=r"infinite.*\n  b: float64 .2,. is beyond float16"):
        ws.DictRestore(arrays).init(session)
    assert session.order == []


def test_both_one_sided_lists_are_warned_about_once_grouped_with_what_was_meant(warnings):
    session = model(
        *(f"block{i}/attn/{part}" for i in range(12) for part in "qkv"), "fc/kernel", "b"
    )
    arrays = {"b": np.ones(2)} | {
        f"layer{i}/{part}": np.ones(7) for i in range(3) for part in ("a", "b")
    }
    ws.DictRestore(arrays | {"fc/weight": np.ones(2)}).init(session)
    assert warnings() == [
        "37 variables of the model not found in the dict; they keep their initial values:\n"
        "  block{0..11}/attn/{k,q,v}\n"
        "  fc/kernel\n"
        "  perhaps: rename fc/weight -> fc/kernel",
        "7 tensors of the dict not found in the model:\n  layer{0..2}/{a,b}\n  fc/weight",
    ]


def test_one_rule_is_suggested_for_a_model_inside_a_training_checkpoint(warnings):
    arrays = {f"model/{name}": np.ones(2) for name in ("fc.weight", "fc.bias")}
    arrays |= {"optimizer/state/0/step": np.ones(()), "b": np.ones(2)}
    ws.DictRestore(arrays).init(model("fc.weight", "fc.bias", "b"))
    hint = "  perhaps: rename model/* -> *"
    assert [line for line in warnings()[0].splitlines() if "perhaps" in line] == [hint]


def test_each_copy_of_the_model_in_a_training_checkpoint_is_suggested(warnings):
    scopes = ("state_dict/", "ema/module.")
    arrays = {f"{s}{name}": np.ones(2) for s in scopes for name in ("fc.weight", "fc.bias")}
    arrays |= {"other/fc.bias": np.ones(2), "b": np.ones(2)}
    ws.DictRestore(arrays).init(model("fc.weight", "fc.bias", "b"))
    assert [line for line in warnings()[0].splitlines() if "perhaps" in line] == [
        "  perhaps: rename ema/module.* -> *",
        "  perhaps: rename state_dict/* -> *",
    ]


def test_nothing_at_all_is_an_error_that_says_what_both_have(warnings):
    session = model("enc/0/w", "enc/0/b", "step")
    other = {"module/enc/0/w": np.ones(2), "module/enc/0/b": np.ones(2)}
    with pytest.raises(RestoreError) as caught:
        ws.SmartInit([other, {"more": np.ones(2)}, {"gone": np.ones(2)}]).init(session)
    assert str(caught.value).splitlines() == [
        "nothing can be loaded: no tensor of the dict has the name of a variable of the model",
        "the model has",
        "  enc/0/{b,w}",
        "  step",
        "the dict has",
        "  module/enc/0/{b,w}",
        "  {gone,more}",
        "  perhaps: rename module/* -> *",
        "To draft rules: warmstart match CHECKPOINT package.module:make_model --draft FILE",
        'Nothing was assigned. To begin with initial values all the same: rules="drop *".',
    ]
    assert (session.order, warnings()) == ([], [])
    assert ws.SmartInit(other, rules="drop *").init(session).loaded == ()
    assert ws.SmartInit([other, {"step": np.ones(2)}]).init(session).loaded == ("step",)


def test_a_long_list_is_counted(warnings):
    names = [f"{chr(97 + i // 26)}{chr(97 + i % 26)}{i}/{i * 'x'}y" for i in range(40)]
    ws.DictRestore({}).init(model(*names))
    assert warnings()[0].splitlines()[-1] == "  ... and 10 more"


def test_slots_and_run_state_clutter_no_warning(session, warnings):
    extra = {"gone/Adam": ENC_W, "gone": ENC_W, "_RUN/state": ENC_W, "beta1_power": np.ones(())}
    ws.DictRestore(WHOLE | extra).init(session)
    assert warnings() == ["1 tensor of the dict not found in the model:\n  gone"]


def test_counters_of_batches_are_nobodys_loss(warnings):
    counter = TensorSpec("bn.num_batches_tracked", "int64", (), "model")
    session = MemorySession([TensorSpec("bn.weight", "float32", (2,), "trainable"), counter])
    arrays = {"bn.weight": np.ones(2, "f4"), "old.num_batches_tracked": np.int64(3)}
    report = ws.DictRestore(arrays).init(session)
    assert (report.missing, report.unused, warnings()) == ((), (), [])
    assert report.to_dict()["variables"]["bn.num_batches_tracked"]["verdict"] == "kept"


def test_a_tied_variable_takes_equal_tensors_and_refuses_different_ones():
    session = MemorySession([TensorSpec("emb", "float32", (2,), "trainable")], {"head": "emb"})
    equal = {"emb": np.ones(2, np.float32), "head": np.ones(2, np.float32)}
    assert ws.DictRestore(equal).init(session).loaded == ("emb",)
    with pytest.raises(NameConflict) as caught:
        ws.DictRestore(equal | {"head": np.zeros(2, np.float32)}).init(session)
    assert str(caught.value).splitlines() == [
        "the model ties variables that the checkpoint does not; drop one of:",
        "  'emb' and 'head' differ, and both are 'emb'",
    ]


class Torn(ws.DictSource):
    """A source whose last tensor cannot be read."""

    broken = True

    def read(self, name):
        if name == "fc/w" and self.broken:
            raise CorruptCheckpoint("the checksum of 'fc/w' is wrong")
        return super().read(name)


def test_a_tensor_that_cannot_be_read_is_met_before_anything_is_assigned(session, monkeypatch):
    monkeypatch.setattr("warmstart.restore.run.DictSource", type("Other", (), {}))
    with pytest.raises(CorruptCheckpoint) as caught:
        ws.SmartInit(Torn(WHOLE)).init(session)
    assert caught.value.__notes__ == ["while reading a Torn; nothing was assigned"]
    assert session.order == []


def test_an_error_on_the_way_says_how_many_were_set(session):
    with pytest.raises(CorruptCheckpoint) as caught:
        ws.SmartInit(Torn(WHOLE)).init(session)  # in memory: not read beforehand
    assert caught.value.__notes__ == [
        "while reading a Torn",
        "3 of 4 variables may have been set before this",
    ]


def test_a_plan_changes_nothing_and_lists_misfits(npz, session):
    plan = ws.SmartInit([str(npz), {"fc/w": np.ones(1)}]).plan(session)
    assert [m.match.target.name for m in plan.misfits] == ["fc/w"]
    assert session.arrays == {}


def test_values_are_read_in_the_order_of_the_file(npz, session):
    ws.SmartInit(npz).init(session)
    assert session.order == list(WHOLE)


def test_the_report_as_a_table_and_as_json(session):
    arrays = {"enc/w": ENC_W.astype(float), "enc/b": np.ones(3, np.float32), "head": np.ones(1)}
    arrays |= {"fc/W": np.ones((3, 4), np.float32), "extra": np.ones(1)}
    report = ws.DictRestore(arrays, rules=[{"fc/W": "fc/w"}, "drop head"]).init(session)
    assert str(report).splitlines() == [
        "6 variables: 3 loaded, 1 missing, 2 kept",
        "  loaded   enc/w       from the dict, float64 -> float32",
        "  loaded   enc/b       from the dict",
        "  missing  enc/mean",
        "  loaded   fc/w        from the dict, renamed",
        "  kept     enc/w/Adam",
        "  kept     step",
        "  unused   extra       in the dict",
        "  dropped  head        in the dict",
    ]
    told = json.loads(report.to_json())
    assert told["variables"]["fc/w"] == {
        "verdict": "loaded",
        "file": "the dict",
        "old_name": "fc/W",
        "note": "",
        "frozen": False,
    }
    assert told["done"]
    assert told["sources"] == [
        {
            "file": "the dict",
            "tensors": {
                "enc/w": "loaded",
                "enc/b": "loaded",
                "head": "dropped",
                "fc/W": "loaded",
                "extra": "unused",
            },
        }
    ]
    assert told["initialized"] == ["enc/mean", "enc/w/Adam", "step"]
    assert report.unused == ("extra",)
