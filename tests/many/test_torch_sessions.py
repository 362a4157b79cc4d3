"""Modules of torch.distributed, saved by some processes and loaded by others."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

Run = Callable[..., list[Any]]

#: How many processes have a module, and how.
WAYS = [(2, "ddp"), (2, "fsdp"), (4, "hsdp"), (4, "tensor-parallel")]


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
        ((2, "fsdp"), (4, "tensor-parallel")),
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
        if loaded[1] != "tensor-parallel":  # columns: of a map their pages, which is not counted
            assert result["read"] <= 1.05 * result["needed"]


def test_damage_that_no_process_sees_alone_is_found(
    together: Run, outcomes: Run, tmp_path: Path
) -> None:
    together("save", 2, tmp_path, kind="fsdp")
    data = tmp_path / "m.data-00000-of-00002"
    content = bytearray(data.read_bytes())
    content[0] ^= 1  # in the first of the four rows of 0.bias that the file has
    data.write_bytes(content)
    first, *others = outcomes("load", 4, tmp_path, kind="fsdp")
    assert first["raised"] == "CorruptCheckpoint"
    assert first["text"] == (
        "checksums are not those that were written; nothing was assigned, the data of these are "
        f"damaged:\n  {tmp_path}/m: float32 (4,) at byte 0 of data file 0"
    )
    for each in others:
        assert each["raised"] == "ProcessError"
        assert "process 0 of 4 failed: checksums are not those" in each["text"]


@pytest.mark.parametrize("optimizer", ["SGD", "Adagrad"])
def test_slots_of_any_layout(optimizer: str, together: Run, tmp_path: Path) -> None:
    for result in together("save", 2, tmp_path, kind="fsdp", optimizer=optimizer):
        assert result["differing"] == []
    for result in together("load", 2, tmp_path, kind="fsdp", optimizer=optimizer):
        assert result["differing"] == []
        assert result["loaded"] == result["variables"]


@pytest.mark.parametrize("meta", ["kept", "emptied"])
def test_modules_on_the_meta_device(meta: str, together: Run, tmp_path: Path) -> None:
    together("save", 1, tmp_path, kind="plain")
    for result in together("load", 2, tmp_path, kind="fsdp", meta=meta):
        assert result["differing"] == []


def test_rules_fill_pieces_too(together: Run, tmp_path: Path) -> None:
    generator = np.random.default_rng(0)
    shapes = {"k": (5, 7), "two": (10,), "w": (3, 7)}
    values = {n: generator.standard_normal(s).astype("float32") for n, s in shapes.items()}
    np.savez(tmp_path / "whole.npz", **values)
    rules = [
        "transpose k",
        "rename k -> 0.weight",
        "rename w -> 3.weight",
        "split two -> 0.bias, 3.bias: axis 0 sizes 7 3",
    ]
    assert together("start", 2, tmp_path, rules=rules) == [[], []]


@pytest.mark.parametrize("kind", ["ddp", "fsdp"])
def test_what_is_frozen_stays_in_every_process(kind: str, together: Run, tmp_path: Path) -> None:
    for result in together("freeze", 2, tmp_path, kind=kind):
        assert [name for name in result["moved"] if name.startswith("0.")] == []
        assert "3.weight" in result["moved"]
    if kind == "fsdp":
        assert result["refused"] == (
            "'3.weight': of these each process has a part, and a part cannot be frozen in part; "
            "freeze them as a whole"
        )


def test_what_needs_all_of_a_tensor_is_refused(together: Run, tmp_path: Path) -> None:
    first, second = together("refusals", 2, tmp_path)
    assert first["read"] == (
        "CheckpointError: '0.weight' is in several processes, and only part of it in this one: "
        "read_slice gives that, and saving the model saves all of it"
    )
    assert second["slice"] == (
        "CheckpointError: '0.weight' is in several processes: [0:7, 0:5] was asked for, and this "
        "one has [4:7, 0:5]"
    )
    assert first["npz"].startswith("CannotHold: the model is in 2 processes, of which each writes")
    assert first["piece"] == (
        "CheckpointError: '0.weight' is in several processes: this one has [0:4, 0:5], not [0:1]"
    )
    assert "RestoreMismatch" in first["mismatch"]
    assert "would become infinite" in second["overflow"]
    assert first["overflow"].startswith("ProcessError: process 1 of 2 failed: values would become")
    assert first["own"] == [4, 5]
    assert first["odd"].splitlines() == [
        "UnsupportedCheckpoint: 'sums' is a tensor of sums that are still to be added up over "
        "processes, (Partial(sum),)",
        "'torn' is a tensor whose part in this process has no one place in it, (Shard(dim=0),)",
    ]
