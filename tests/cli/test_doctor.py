"""`warmstart doctor`: the table, JSON, and the exit code."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

GOLDEN = Path(__file__).parents[1] / "golden/trainers"


def test_a_table_and_a_verdict(warmstart: Callable[..., Any], tmp_path: Path) -> None:
    shutil.copy(GOLDEN / "lightning-mid-epoch.ckpt", tmp_path / "last.ckpt")
    done = warmstart("doctor", "last.ckpt")
    lines = done.out.splitlines()
    assert done.code == 1
    assert lines[0] == "PIECE            SAVED  WHAT IS THERE, OR WHAT ITS LACK MEANS"
    assert lines[1] == "variables        yes    2 variables"
    assert lines[7].startswith("data             NO     the data begins with its first batch")
    assert lines[-1] == (
        "last.ckpt (torch, written by Lightning 2.6.6): would NOT resume exactly, 2 pieces "
        "missing: data, random states"
    )


def test_json(warmstart: Callable[..., Any]) -> None:
    done = warmstart("doctor", str(GOLDEN / "transformers"), "--json")
    found = json.loads(done.out)
    assert done.code == 0
    assert (found["exact"], found["written_by"]) == (True, "transformers' Trainer")
    assert found["pieces"][0] == {
        "name": "variables", "saved": True, "what": "2 variables", "means": "",
    }  # fmt: skip


def test_what_cannot_be_read_is_said(warmstart: Callable[..., Any], tmp_path: Path) -> None:
    (tmp_path / "bad.pt").write_bytes(b"PK\3\4 no zip")
    done = warmstart("doctor", "bad.pt")
    assert done.code == 2
    assert done.err.startswith("error: ")
    assert done.err.endswith("while reading bad.pt\n")
