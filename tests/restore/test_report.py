"""What a restore tells: as a table, in colours, as JSON, as a page."""

import io
import json
import re
from html.parser import HTMLParser

import numpy as np
import pytest

import warmstart as ws
from warmstart.restore.page import MAX_ROWS
from warmstart.restore.report import Report
from warmstart.spec import TensorSpec
from warmstart.testing.memory import MemorySession

HOSTILE = '<script>alert("1")</script>\x1b[2J\u202e&amp;'
VOID = {"meta", "input", "br"}


class Page(HTMLParser):
    """A page as a browser reads it: its elements, its text, and whether they are nested well."""

    def __init__(self, text):
        super().__init__()
        self.elements, self.open, self.texts = [], [], []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open and self.open[-1] not in ("script", "style"):
            self.texts.append(data)

    def of(self, tag):
        return [attrs for name, attrs in self.elements if name == tag]


def model(*names, shape=(2,)):
    return MemorySession(TensorSpec(name, "float32", shape, "trainable") for name in names)


@pytest.fixture
def report(session):
    arrays = {
        "enc/w": np.zeros((2, 3)),
        "enc/b": np.zeros(3, np.float32),
        "fc/W": np.zeros((3, 4), np.float32),
        "enc/mean": np.zeros(4, np.float32),
        HOSTILE: np.zeros(7),
    }
    frozen = ws.freeze(session, "enc/b")
    done = ws.DictRestore(arrays, rules={"fc/W": "fc/w"}, ignore_mismatch=True).init(session)
    frozen.thaw()
    return done


def test_what_is_frozen_at_that_moment_is_said(report, session):
    assert report.frozen == ("enc/b",)
    assert "  loaded   enc/b" in str(report)
    assert "from the dict, frozen" in str(report)
    assert json.loads(report.to_json())["variables"]["enc/b"]["frozen"]
    assert ws.SmartInit(None).init(session).frozen == ()  # it was thawed


def test_a_plan_says_what_would_be(session):
    plan = ws.DictRestore({"enc/w": np.zeros((2, 3)), "FC/W": np.zeros((4, 3))}).plan(session)
    assert str(plan).splitlines() == [
        "6 variables: 1 would be loaded, 3 missing, 2 kept",
        "  would load  enc/w         from the dict, float64 -> float32",
        "  missing     enc/{b,mean}",
        "  missing     fc/w",
        "  kept        enc/w/Adam",
        "  kept        step",
        "  unused      FC/W          in the dict",
        "  perhaps: rename FC/W -> fc/w, then transpose 1 0",
    ]
    assert json.loads(Report(plan, done=False).to_json())["suggestions"] == {
        "fc/w": {"tensor": "FC/W", "steps": ["transpose 1 0"], "doubt": ""}
    }


def test_what_was_allowed_not_to_fit_is_skipped(report, session):
    assert report.skipped == {"enc/mean": "model float32 (3,), checkpoint float32 (4,)"}
    assert report.summary() == "6 variables: 3 loaded, 1 skipped, 2 kept"
    assert "  skipped  enc/mean" in str(report)
    plan = ws.DictRestore({"enc/mean": np.zeros(4, np.float32)}).plan(session)
    assert "1 mismatched" in str(plan)
    assert Report(plan, done=False).skipped == {}


def test_a_table_is_short():
    names = [f"{chr(97 + i % 26)}{chr(97 + i // 26)}" * (i + 1) for i in range(60)]
    arrays = {name: np.zeros(2, np.float32 if i % 2 else float) for i, name in enumerate(names)}
    rules = {name: f"x/{i}y/{name}" for i, name in enumerate(names)}
    report = ws.DictRestore(arrays, rules=rules).init(model(*rules.values()))
    lines = str(report).splitlines()
    assert len(lines) == 42
    assert lines[-1] == "  ... and 20 more rows; to_json() has every name"


def test_the_table_is_in_colours_on_a_terminal(report, monkeypatch):
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("FORCE_COLOR", "1")
    coloured = io.StringIO()
    report.show(coloured)
    assert "\x1b[32m  loaded" in coloured.getvalue()
    assert re.sub(r"\x1b\[[0-9;]*m", "", coloured.getvalue()) == str(report) + "\n"


@pytest.mark.parametrize("setting", ["NO_COLOR", None])
def test_the_table_is_plain_elsewhere(setting, report, monkeypatch):
    for variable in ("NO_COLOR", "FORCE_COLOR"):
        monkeypatch.delenv(variable, raising=False)
    if setting:
        monkeypatch.setenv(setting, "1")
    plain = io.StringIO()
    report.show(plain)
    assert plain.getvalue() == str(report) + "\n"


def test_names_do_not_move_the_cursor(report):
    assert "\x1b" not in str(report)
    assert "<script>" in str(report)


def test_the_page_is_whole_and_says_everything(report):
    page = Page(report.to_html())
    text = " ".join(page.texts)
    assert page.open == []
    assert page.texts[1].strip() in ("3 of 6 variables loaded", "")
    assert "3 of 6 variables loaded" in text
    assert "enc/mean: model float32 (3,), checkpoint float32 (4,)" in text
    assert "float64 -&gt; float32" in report.to_html()
    assert "frozen" in text
    assert all(name in text for name in report.plan.targets)


def test_the_page_escapes_names(report):
    html = report.to_html()
    page = Page(html)
    assert len(page.of("script")) == 1
    assert "\x1b" not in html
    assert "\u202e" not in html
    assert r'<script>alert("1")</script>\x1b[2J\u202e&amp;' in "".join(page.texts)


def test_names_cannot_leave_an_attribute():
    name = "\"><img src=x onerror=alert(1)>' {style}"
    page = Page(ws.DictRestore({name: np.zeros(2)}).init(model(name)).to_html())
    assert page.of("img") == []
    assert name in "".join(page.texts)


def test_the_page_fetches_nothing(report):
    html = report.to_html()
    page = Page(html)
    assert not any({"src", "href"} & attrs.keys() for _, attrs in page.elements)
    assert "http" not in html.replace("http-equiv", "")
    policies = [attrs["content"] for attrs in page.of("meta") if "http-equiv" in attrs]
    assert policies == ["default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'"]


def test_the_page_can_be_read_by_everybody(report):
    page = Page(report.to_html())
    assert page.of("html") == [{"lang": "en"}]
    assert all(attrs.get("scope") in ("row", "col") for attrs in page.of("th"))
    assert len(page.of("label")) == len(page.of("input"))
    assert any(attrs.get("aria-live") == "polite" for attrs in page.of("output"))
    assert "prefers-color-scheme: dark" in report.to_html()
    assert ("form", {"class": "filter", "hidden": None}) in page.elements  # until the script runs


def test_the_rows_can_be_filtered_by_what_became_of_them(report):
    page = Page(report.to_html())
    boxes = {a["value"] for a in page.of("input") if a["type"] == "checkbox"}
    assert {a["data-verdict"] for a in page.of("tr") if "data-verdict" in a} == boxes
    assert boxes == {"loaded", "mismatched", "kept"}


def test_the_page_says_the_size_of_the_file(tmp_path, session):
    np.savez(tmp_path / "m.npz", **{"fc/w": np.zeros((3, 4), np.float32)})
    html = ws.SmartInit(tmp_path / "m.npz").init(session).to_html()
    assert f"{(tmp_path / 'm.npz').stat().st_size} B" in html
    assert ">48 B<" in html


def test_the_page_says_what_became_of_slots(session):
    arrays = {name: np.zeros(spec.shape, np.float32) for name, spec in session.specs.items()}
    arrays |= {"old/w": np.zeros(2), "old/w/Adam": np.zeros(2)}
    text = " ".join(Page(ws.DictRestore(arrays).init(session).to_html()).texts)
    assert "Optimizer state old/w/Adam: lost, slots in the dict" in text


def test_the_page_of_what_is_complete():
    page = ws.DictRestore({"w": np.zeros(2, np.float32)}).init(model("w")).to_html()
    assert "1 of 1 variable loaded" in page
    assert "Nothing is left over on either side." in page


def test_the_page_of_very_many_is_bounded():
    names = [f"w{i}" for i in range(MAX_ROWS + 5)]
    html = Report(ws.SmartInit({}).plan(model(*names)), done=False).to_html()
    assert "... and 5 more; to_json() has every name" in html
    assert html.count("<tr data-verdict") == MAX_ROWS


def test_the_page_is_written_whole(report, tmp_path):
    report.save_html(tmp_path / "r.html")
    assert (tmp_path / "r.html").read_text("utf-8") == report.to_html()
    with pytest.raises(ws.SaveError, match="was not written"):
        report.save_html(tmp_path / "no" / "r.html")


def test_a_plan_and_its_report_are_asked_alike(session):
    init = ws.SmartInit({"enc/w": np.ones((2, 3)), "old": np.ones(1), "x": np.ones(1)},
                        rules="drop x")  # fmt: skip
    plan = init.plan(session)
    report = init.init(session)
    for found in (plan, report):
        assert found.loaded == ("enc/w",)
        assert found.missing == ("enc/b", "enc/mean", "fc/w")
        assert (found.unused, found.dropped) == (("old",), ("x",))
        assert found.named("kept") == ["enc/w/Adam", "step"]
        with pytest.raises(ValueError, match="no verdict is 'load'; the verdicts: loaded, mismat"):
            found.named("load")
