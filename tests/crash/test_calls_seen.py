"""The crash harness sees every system call by which a run changes its folder.

strace tells which there were; where it is not installed, or not allowed, nothing is compared.
"""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = """
import json, sys
import numpy as np
import warmstart as ws
from warmstart.formats.tf_bundle import increment
from warmstart.testing import crashes, toy

folder, mode, way = sys.argv[1:]
increment.LEAST = 4096
toy.ROLES["frozen"] = "model"


def train(max_epoch):
    np.random.seed(0)
    ws.logger.set_logger_dir(folder)
    model = toy.ToyModel()
    model.session.arrays["frozen"] = np.arange(3000.0)
    best = ws.Best("noise")
    saver = ws.ModelSaver(max_to_keep=1, keep_best=best, asynchronous=way == "beside")
    data = ws.Batches((np.ones((20, 3)), np.ones(20)), 4)
    callbacks = [ws.MinSaver("noise"), saver]
    ws.launch_train(ws.AutoResumeTrainConfig(
        model=model, data=data, callbacks=callbacks, max_epoch=max_epoch))


train(2)
if mode == "record":
    points = crashes.record(lambda: train(5))
    print(json.dumps([[p.call, p.path] for p in points]))
else:
    open(folder + "/marker", "w").close()
    train(5)
"""
#: System call -> what the harness calls it.
CALLS = {
    "openat": "open", "write": "write", "pwrite64": "write", "writev": "write", "rename": "replace",
    "link": "link", "unlink": "unlink", "rmdir": "rmdir", "mkdir": "mkdir", "fsync": "fsync",
    "fdatasync": "fsync", "ftruncate": "ftruncate", "truncate": "truncate",
    "fallocate": "fallocate", "copy_file_range": "copy", "sendfile": "copy",
    "renameat": "replace", "renameat2": "replace", "unlinkat": "unlink", "linkat": "link",
    "symlink": "symlink", "symlinkat": "symlink", "mkdirat": "mkdir", "creat": "open",
    "pwritev": "write", "pwritev2": "write", "mknod": "open", "mknodat": "open",
}  # fmt: skip
SAME = {"pwrite": "write", "writev": "write", "fdatasync": "fsync", "rename": "replace",
        "remove": "unlink", "posix_fallocate": "fallocate"}  # fmt: skip
CHANGING = re.compile(r"O_WRONLY|O_RDWR|O_CREAT|O_TRUNC")
TEMPORARY = re.compile(r"\d+-[0-9a-f]{8}\.warmstart-tmp")


def plain(path: str, folder: Path) -> str:
    """Return the name of *path* in *folder*, without what is other in every process."""
    return TEMPORARY.sub("TEMPORARY", str(Path(path).relative_to(folder)))


def recorded(folder: Path, way: str) -> list[tuple[str, str]]:
    """Return (call, name) of all that the harness sees of a run in *folder*."""
    command = [sys.executable, "-c", PROGRAM, str(folder), "record", way]
    done = subprocess.run(command, capture_output=True, check=True, text=True)
    points = [p for p in json.loads(done.stdout) if p[0] != "mkdir"]  # of what is there: it fails
    return [(SAME.get(call, call), plain(path, folder)) for call, path in points]


def traced(folder: Path, way: str, log: Path) -> list[tuple[str, str]]:
    """Return (call, name) of all that strace sees of a run in *folder*."""
    strace = ["strace", "-f", "-y", "-s", "8", "-e", f"trace={','.join(CALLS)}", "-o", str(log)]
    command = [*strace, sys.executable, "-c", PROGRAM, str(folder), "trace", way]
    if subprocess.run(command, capture_output=True, check=False).returncode:
        pytest.skip("strace may not trace here")
    lines = log.read_text().splitlines()
    begin = next(number for number, line in enumerate(lines) if "/marker" in line)
    found = []
    for line in lines[begin + 1 :]:
        match = re.match(r"\d+ +(\w+)\((.*)", line)
        if match is None or f"{folder}" not in line or "= -1" in line:
            continue
        call, rest = match.groups()
        if call == "openat" and not CHANGING.search(rest):
            continue
        place = re.search(rf"[<\"]({re.escape(str(folder))}[^>\"]*)[>\"]", rest)
        assert place is not None, line
        found.append((CALLS[call], plain(place[1], folder)))
    return found


@pytest.mark.skipif(shutil.which("strace") is None, reason="strace is not installed")
@pytest.mark.parametrize("way", ["at once", "beside"])
def test_no_call_goes_unseen(way: str, tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    by_harness = recorded(tmp_path / "a", way)
    by_system = traced(tmp_path / "b", way, tmp_path / "log")
    assert sorted(by_harness) == sorted(by_system)
    assert {"open", "write", "replace", "link", "unlink", "fsync"} <= {c for c, _ in by_system}
