"""JAX arrays as NumPy arrays and back; random keys as the integers they are made of.

A leaf is a variable's value as the model holds it:

    jax.Array                 read without a copy where it lies in main memory
    a typed random key        uint32, by `jax.random.key_data`; its implementation stays the leaf's
    jax.ShapeDtypeStruct      of an abstract model: a shape without a value, until one is assigned
    numpy.ndarray, a number   stay what they are
"""

from collections.abc import Iterable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ...binary.room import array_room
from ...boxes import Box, bounded, box_text
from ...errors import CheckpointError, RestoreMismatch
from ...source import Index
from ...spec import TensorSpec, dtype_name
from ..base import not_whole, refuse_misfit
from . import shards


def is_array(leaf: object) -> bool:
    """Return whether *leaf* is a value that a checkpoint can hold, or stands for one."""
    return isinstance(leaf, jax.Array | jax.ShapeDtypeStruct | np.ndarray | np.generic)


def is_number(leaf: object) -> bool:
    """Return whether *leaf* is a number of Python's; a bool is an option, not a number."""
    return isinstance(leaf, int | float) and not isinstance(leaf, bool)


def is_of_jax(leaf: object) -> bool:
    """Return whether *leaf* tells that a tree is a model of JAX's and no dict of plain arrays."""
    return isinstance(leaf, jax.Array | jax.ShapeDtypeStruct)


def is_abstract(leaf: object) -> bool:
    """Return whether *leaf* has a shape and no value."""
    return isinstance(leaf, jax.ShapeDtypeStruct)


def is_key(leaf: Any) -> bool:
    """Return whether *leaf* is a typed random key, or several."""
    return is_of_jax(leaf) and jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key)


def is_inexact(leaf: Any) -> bool:
    """Return whether *leaf* is an array of floating or complex numbers, which can be trained."""
    return is_array(leaf) and not is_key(leaf) and bool(jnp.issubdtype(leaf.dtype, jnp.inexact))


def data_of_key(leaf: Any) -> Any:
    """Return the integers of a random key: their shape alone, for one that has no value."""
    if is_abstract(leaf):
        return jax.eval_shape(jax.random.key_data, leaf)
    return jax.random.key_data(leaf)


def leaf_specs(leaves: Mapping[str, tuple[Any, str]]) -> dict[str, TensorSpec]:
    """Return the specs of *leaves*, given with their roles."""
    return {name: leaf_spec(name, leaf, role) for name, (leaf, role) in leaves.items()}


def leaf_spec(name: str, leaf: Any, role: str) -> TensorSpec:
    """Return the spec of *leaf* under *name*."""
    if is_number(leaf):
        return TensorSpec(name, dtype_name(np.dtype(jnp.result_type(leaf))), (), role)
    shown = data_of_key(leaf) if is_key(leaf) else leaf
    return TensorSpec(name, dtype_name(np.dtype(shown.dtype)), tuple(shown.shape), role)


def array_of(name: str, leaf: Any) -> np.ndarray:
    """Return the values of *leaf*; what lies in main memory is not copied."""
    check_has_value(name, leaf)
    if shards.is_divided(leaf):
        raise not_whole(name)
    if is_number(leaf):
        return np.asarray(leaf, np.dtype(jnp.result_type(leaf)))
    leaf = data_of_key(leaf) if is_key(leaf) else leaf
    return np.asarray(shards.whole_of(leaf) if isinstance(leaf, jax.Array) else leaf, order="C")


def piece(name: str, leaf: Any, index: Index) -> np.ndarray:
    """Return what *index* cuts out of a divided *leaf*, which has to be in this process."""
    check_has_value(name, leaf)
    box, rest = bounded(index, tuple(leaf.shape))
    part: np.ndarray = shards.part_of(name, leaf, box)[rest]
    return part


def check_has_value(name: str, leaf: Any) -> None:
    """Refuse a leaf whose value is not there yet, or not any more."""
    if is_abstract(leaf):
        raise CheckpointError(
            f"{name!r} has no value: the model is abstract, and nothing was restored into it yet"
        )
    if isinstance(leaf, jax.Array) and leaf.is_deleted():
        raise CheckpointError(
            f"{name!r} was donated to a jitted function, which has its memory now; give the "
            "session what that function returned"
        )


def leaf_like(name: str, leaf: Any, array: np.ndarray) -> Any:
    """Return a new leaf with the values of *array*, of the kind and in the place of *leaf*.

    *array* is copied: it may be a view of a file, or change later.
    """
    expected = leaf_spec(name, leaf, "model")
    refuse_misfit(name, array, expected)
    if is_number(leaf):
        return type(leaf)(array.item())
    if isinstance(leaf, np.ndarray | np.generic):
        return np.array(array)
    if is_key(leaf):
        return jax.random.wrap_key_data(jnp.array(array), impl=implementation(leaf))
    made = placed(array, leaf)
    if made.dtype != leaf.dtype:
        raise RestoreMismatch(
            f"{name!r} is {expected}, and JAX makes {made.dtype} of it: it needs "
            "jax.config.update('jax_enable_x64', True)"
        )
    return made


def leaf_of_pieces(name: str, leaf: Any, pieces: Iterable[tuple[Box, np.ndarray]]) -> jax.Array:
    """Return a new leaf, divided as *leaf* is, of *pieces*; what they leave out keeps its value."""
    given = {box_text(box): array for box, array in pieces}

    def part(box: Box) -> np.ndarray:
        array = given.get(box_text(box))
        return shards.part_of(name, leaf, box) if array is None else array

    return shards.made_of(leaf, part).block_until_ready()


def implementation(key: Any) -> Any:
    """Return the name of the algorithm of a random *key*."""
    return str(key.dtype._impl.name) if is_abstract(key) else jax.random.key_impl(key)


def placed(array: np.ndarray, leaf: Any) -> jax.Array:
    """Return *array* on the devices that *leaf* is on; where it is on none, on the default one.

    `jax.device_put` may keep the memory it is given, so that is a copy of its own.
    """
    sharding = getattr(leaf, "sharding", None) if getattr(leaf, "committed", True) else None
    if (
        sharding and not sharding.is_fully_addressable
    ):  # device_put would compare the array with the others'
        return shards.made_of(leaf, array.__getitem__).block_until_ready()
    made: jax.Array = jax.device_put(copied(array), sharding)
    return made.block_until_ready()


def copied(array: np.ndarray) -> np.ndarray:
    """Return a copy of *array* that lies so that JAX need not copy it once more."""
    copy = array_room(array.shape, array.dtype)
    copy[...] = array
    return copy
