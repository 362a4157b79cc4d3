"""Makes the golden folders: python tests/golden/orbax/make.py new|old NAME

`new` was run with orbax-checkpoint 0.12.8, jax 0.10.2 and tensorstore 0.1.86; `old` with
orbax-checkpoint 0.2.7, jax 0.4.13 and flax 0.6.11 (v027), and with orbax-checkpoint 0.5.3,
jax 0.4.25 and flax 0.8.1 (v053).  All hold the same tree; what a layout leaves out is said in the
tests.
"""

import shutil
import sys
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import orbax.checkpoint as ocp

HERE = Path(__file__).parent
TREE = {
    "params": {
        "Dense_0": {
            "kernel": jnp.arange(6, dtype=jnp.float32).reshape(2, 3) / 4,
            "bias": jnp.array([1, -0.5, 3e38], jnp.bfloat16),
        }
    },
    "opt_state": [{"mu": np.arange(3)}, (jnp.int32(4),)],
    "step": 7,
    "none": None,
    "empty": {},
}


def make_new(root: Path) -> None:
    """Write the layouts of today."""
    for name, options in {
        "ocdbt": {},
        "ocdbt_zarr3": {"use_zarr3": True},
        "files": {"use_ocdbt": False},
        "files_zarr3": {"use_ocdbt": False, "use_zarr3": True},
    }.items():
        with ocp.PyTreeCheckpointer(**options) as checkpointer:
            checkpointer.save(root / name, {**TREE, "name": "first"})
    with ocp.StandardCheckpointer() as checkpointer:
        checkpointer.save(root / "standard", TREE)
    with ocp.CheckpointManager(root / "manager") as manager:
        for step in (9, 20):
            items = ocp.args.Composite(
                state=ocp.args.StandardSave(TREE), meta=ocp.args.JsonSave({"a": 1})
            )
            manager.save(step, args=items, custom_metadata={"lr": 0.1})
        manager.wait_until_finished()
    from orbax.checkpoint.experimental import v1

    v1.save_checkpointables(root / "v1", {"params": TREE["params"], "step": {"step": 7}})


def make_old(root: Path) -> None:
    """Write the layouts of versions before 0.6, which have the tree in a msgpack file."""
    import jax
    from flax.training import checkpoints

    checkpointer = ocp.PyTreeCheckpointer()
    checkpointer.save(root / "default", TREE)
    aggregated = jax.tree_util.tree_map(lambda _: ocp.SaveArgs(aggregate=True), TREE)
    checkpointer.save(root / "aggregated", TREE, save_args=aggregated)
    manager = ocp.CheckpointManager(root / "manager", {"state": checkpointer})
    for step in (9, 20):
        manager.save(step, {"state": TREE})
    checkpoints.save_checkpoint(str(root / "flax"), TREE, 100, orbax_checkpointer=checkpointer)


def without_places(root: Path) -> None:
    """Take the folder of this machine out of the marks of success."""
    for mark in root.rglob("commit_success.txt"):
        mark.write_text(mark.read_text().replace(f"{HERE}/", ""))


if __name__ == "__main__":
    which, name = sys.argv[1:]
    shutil.rmtree(HERE / name, ignore_errors=True)
    (HERE / name).mkdir()
    {"new": make_new, "old": make_old}[which](HERE / name)
    without_places(HERE / name)
