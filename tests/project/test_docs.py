"""What README and docs/ show is what happens; blocks that are not run say why and are counted."""

import importlib.util
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
RUNNER = Path(__file__).with_name("run_page.py")

#: How many blocks are not run; each says why above itself.
NOT_RUN = 8


def runner() -> Any:
    """Return run_page.py as a module."""
    spec = importlib.util.spec_from_file_location("run_page", RUNNER)
    module = importlib.util.module_from_spec(spec)
    sys.modules["run_page"] = module
    spec.loader.exec_module(module)
    return module


run_page = runner()


def run_in(folder: Path, page: Path) -> subprocess.CompletedProcess[str]:
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    return subprocess.run(
        [sys.executable, RUNNER, page], cwd=folder, capture_output=True, text=True, check=False,
        env=os.environ | {"PATH": path, "TF_CPP_MIN_LOG_LEVEL": "3", "COLUMNS": "100"},
    )  # fmt: skip


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_the_page_is_true(page: Path, tmp_path: Path) -> None:
    done = run_in(tmp_path, page)
    assert done.returncode == 0, done.stderr


def test_blocks_that_are_not_run_are_counted() -> None:
    reasons = [
        f"{page.name}:{block.line}: {block.reason}"
        for page in PAGES
        for block in run_page.blocks(page.read_text())
        if block.reason is not None
    ]
    assert len(reasons) == NOT_RUN, "\n".join(reasons)


@pytest.mark.parametrize(
    ("page", "message"),
    [
        ("```python\nx = 1\n```\n\n```python\nprint(x)\n```\n```text\n2\n```", "printed:\n1"),
        ("```python\n1 / 0\n```", "ZeroDivisionError"),
        ("```console\n$ echo one\ntwo\n```", "printed:\none"),
        ("```console\n$ false\n```", "ends with 1"),
        ("```console\n$ false\n$ echo $?\n0\n```", "printed:\n1"),
        ("```console\necho\n```", "begins with"),
        ("```cobol\n```", "'cobol' is neither"),
        ("```python title\n```", "opens no block"),
    ],
)
def test_a_wrong_page_is_caught(page: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "page.md").write_text(page)
    done = run_in(tmp_path, tmp_path / "page.md")
    assert done.returncode == 1
    assert message in done.stderr


@pytest.mark.parametrize(
    "page",
    [
        "```python\nprint(1.25)\n```\n\n```text\n1...\n```",
        "<!-- not run: it would take an hour -->\n```python\n1 / 0\n```",
        "```console\n$ false\n$ echo $?\n1\n$ echo a \\\n  b\na b\n```",
        "```text\nno code\n```",
    ],
)
def test_a_right_page_passes(page: str, tmp_path: Path) -> None:
    (tmp_path / "page.md").write_text(page)
    assert run_in(tmp_path, tmp_path / "page.md").returncode == 0


def test_every_page_is_listed_in_the_index() -> None:
    index = (ROOT / "docs/index.md").read_text()
    pages = {page.name for page in (ROOT / "docs").glob("*.md")} - {"index.md"}
    assert {page for page in pages if f"({page})" not in index} == set()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_its_links_lead_somewhere(page: Path) -> None:
    links = re.findall(r"\]\((?!https?:)([^)#]+)", page.read_text())
    assert [link for link in links if not (page.parent / link).exists()] == []
