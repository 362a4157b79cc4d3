"""Modules of torch.distributed, saved by some processes and loaded by others."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Run = Callable[..., list[Any]]

#: How many processes have a module, and how.
WAYS = [(2, "ddp"), (2, "fsdp"), (4, "hsdp"), (4, "fsdp")]


@pytest.mark.parametrize(("count", "kind"), WAYS)
def test_what_processes_save_is_what_they_have(
    count: int, kind: str, together: Run, tmp_path: Path
) -> None:
    for result in together("save", count, tmp_path, kind=kind):
        assert result["differing"] == []
        assert result["roles"]["0.weight"] == "trainable"
        assert result["roles"]["0.weight/exp_avg"] == "slot"
    assert len(list(tmp_path.glob("m.data-*"))) == count


@pytest.mark.parametrize(
    ("saved", "loaded"),
    [
        ((2, "fsdp"), (4, "fsdp")),
        ((4, "hsdp"), (2, "fsdp")),
        ((2, "ddp"), (4, "hsdp")),
        ((2, "fsdp"), (1, "plain")),
        ((1, "plain"), (2, "fsdp")),
        ((4, "fsdp"), (2, "ddp")),
    ],
)
def test_any_number_of_processes_loads_it(
    saved: tuple[int, str], loaded: tuple[int, str], together: Run, tmp_path: Path
) -> None:
    together("save", saved[0], tmp_path, kind=saved[1])
    for result in together("load", loaded[0], tmp_path, kind=loaded[1]):
        assert result["differing"] == []
        assert result["loaded"] == result["variables"]
        assert result["read"] <= 1.05 * result["needed"]
