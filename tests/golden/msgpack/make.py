"""Makes the golden files: python tests/golden/msgpack/make.py

train_state.msgpack and chunked.msgpack were made with flax 0.12.8, jax 0.10.2, optax 0.2.8 and
msgpack 1.2.4; checkpoint_20, by `flax.training.checkpoints` with `old` given, with flax 0.6.11 and
jax 0.4.13.  expected.json holds what the library that wrote them reads from them.
"""

import json
import sys
from pathlib import Path

import flax
import jax.numpy as jnp
import numpy as np
from flax import serialization

HERE = Path(__file__).parent
PARAMS = {
    "Dense_0": {
        "kernel": jnp.arange(6.0).reshape(2, 3) / 4,
        "bias": jnp.array([1, -0.5, 3e38], jnp.bfloat16),
    }
}


def train_state() -> bytes:
    """Return a TrainState in the middle of training."""
    import optax
    from flax.training.train_state import TrainState

    state = TrainState.create(apply_fn=None, params=PARAMS, tx=optax.adam(1e-3))
    return serialization.to_bytes(state.apply_gradients(grads=PARAMS).replace(step=jnp.array(7)))


def chunked() -> bytes:
    """Return a tree of odd leaves, its array cut as those above a gigabyte are."""
    serialization.MAX_CHUNK_SIZE = 20
    tree = {
        "large": np.arange(12, dtype=np.int32).reshape(3, 4), "scalar": np.float32(2.5),
        "lr": 0.1, "name": "ü", "none": None, "complex": 1 - 2j, "empty": np.zeros((0, 2), bool),
    }  # fmt: skip
    return serialization.msgpack_serialize(tree)


def leaves(tree: object, name: str = "") -> dict[str, object]:
    """Return every leaf of *tree* by name."""
    if isinstance(tree, dict) and tree:
        below = (leaves(v, f"{name}/{k}" if name else str(k)) for k, v in tree.items())
        return {n: leaf for part in below for n, leaf in part.items()}
    return {name: tree}


def described(raw: bytes) -> dict[str, object]:
    """Return what Flax reads from *raw*, as the tests compare it."""
    found = leaves(serialization.msgpack_restore(raw))
    arrays = {n: np.asarray(a) for n, a in found.items() if hasattr(a, "dtype")}
    plain = {n: v for n, v in found.items() if n not in arrays}
    return {
        "metadata": {
            n: str(v) if isinstance(v, complex) else json.dumps(v, ensure_ascii=False)
            for n, v in plain.items()
        },
        "tensors": {n: [f"{a.dtype.name} {a.shape}", a.tolist()] for n, a in arrays.items()},
    }


def main() -> None:
    """Write the files of this version of Flax."""
    if sys.argv[1:] == ["old"]:
        from flax.training import checkpoints

        flax.config.update("flax_use_orbax_checkpointing", False)
        tree = {"params": PARAMS, "step": 20}
        checkpoints.save_checkpoint(str(HERE), tree, step=20)
        return
    (HERE / "train_state.msgpack").write_bytes(train_state())
    (HERE / "chunked.msgpack").write_bytes(chunked())
    files = [path for path in sorted(HERE.iterdir()) if path.suffix not in (".py", ".json")]
    expected = {path.name: described(path.read_bytes()) for path in files}
    text = json.dumps(expected, indent=1, sort_keys=True, ensure_ascii=False)
    (HERE / "expected.json").write_text(text + "\n")


if __name__ == "__main__":
    main()
