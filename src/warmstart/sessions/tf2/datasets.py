"""A `tf.data.Dataset`, or an iterator of one, that can say and regain its place.

    {"elements": "TensorSpec(...)", "batches": 5, "seeds": [(0, 3)],        what it is a place in
     "iterator": array of uint8}         the iterator as TensorFlow serialises it: what is shuffled
                                         and what was prefetched is in it

A dataset that ends is repeated, since only one iterator over all passes knows what comes after
this one.
"""

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import tensorflow as tf

from ...errors import ResumeError
from ..places import refuse_other_data

raw = tf.raw_ops
KINDS = (tf.data.Dataset, tf.data.Iterator)

#: What TensorFlow is to do about state outside of the dataset: not to save in spite of it.
FAIL = 2


def data_for(data: Any) -> "TFData | None":
    """Return *data* as what has a place; None unless it is of tf.data and can have one."""
    return TFData(data) if isinstance(data, KINDS) and reason(data) is None else None


def reason(data: Any) -> str | None:
    """Return why *data*, if it is of tf.data, can have no place."""
    return why_not(data) if isinstance(data, KINDS) else None


def why_not(data: Any) -> str | None:
    """Return why a dataset or an iterator of one can have no place, None when it can."""
    if not tf.executing_eagerly():
        return "a dataset in a graph belongs to the graph; feed batches from Python instead"
    if isinstance(data, tf.data.Dataset):
        if (0, 0) in seeds_of(data):
            return "it is shuffled without a seed: dataset.shuffle(size, seed=...)"
        if data.options().deterministic is False:
            return "by its options it need not keep its order: options.deterministic"
    iterator = data if isinstance(data, tf.data.Iterator) else iter(data)
    try:
        serialised(iterator)
    except tf.errors.FailedPreconditionError as error:
        return f"TensorFlow cannot save its iterator: {one_line(error)}"
    return None


def one_line(error: Exception) -> str:
    """Return what TensorFlow says of an *error*, without where in itself it was.

    >>> one_line(ValueError("{{function_node f}} PyFunc is stateful. [Op:Save] name: "))
    'PyFunc is stateful.'
    """
    text = str(error)
    begin, end = text.find("}} ") + 3 if "}} " in text else 0, text.find(" [Op:")
    return text[begin : end if end > 0 else None]


def inputs_of(dataset: Any) -> Iterator[Any]:
    """Yield *dataset* and the datasets that it is made of."""
    yield dataset
    for each in dataset._inputs():
        yield from inputs_of(each)


def seeds_of(dataset: Any) -> list[tuple[int, int]]:
    """Return the seeds of whatever in *dataset* draws random numbers; (0, 0) for none."""
    return [
        (int(each._seed), int(each._seed2))
        for each in inputs_of(dataset)
        if hasattr(each, "_seed") and hasattr(each, "_seed2")
    ]


def serialised(iterator: Any) -> np.ndarray:
    """Return the state of *iterator* as bytes."""
    variant = raw.SerializeIterator(
        resource_handle=iterator._iterator_resource, external_state_policy=FAIL
    )
    return np.frombuffer(tf.io.serialize_tensor(variant).numpy(), np.uint8)


class TFData:
    """The batches of a dataset, pass after pass, or of an iterator."""

    def __init__(self, data: Any) -> None:
        self.data = data
        self._iterator: Any = data if isinstance(data, tf.data.Iterator) else None

    def __len__(self) -> int:
        """Return the batches of one pass; TypeError where TensorFlow does not know."""
        return len(self.data)

    def __iter__(self) -> Iterator[Any]:
        return iter(self._begun())

    def _begun(self) -> Any:
        if self._iterator is None:
            ends = self.data.cardinality() != tf.data.INFINITE_CARDINALITY
            self._iterator = iter(self.data.repeat() if ends else self.data)
        return self._iterator

    def state(self) -> dict[str, Any]:
        """Return the place, and what it is a place in."""
        return {**self._identity(), "iterator": serialised(self._begun())}

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Go to a place that `state` returned; raise ResumeError when it is one in other data."""
        refuse_other_data(self._identity(), state)
        if not isinstance(self.data, tf.data.Iterator):
            self._iterator = None
        handle = self._begun()._iterator_resource
        try:
            variant = tf.io.parse_tensor(state["iterator"].tobytes(), tf.variant)
            raw.DeserializeIterator(resource_handle=handle, serialized=variant)
        except tf.errors.OpError as error:
            raise ResumeError(
                f"the dataset is not made as the checkpoint's was: {one_line(error)}"
            ) from error

    def _identity(self) -> dict[str, Any]:
        found: dict[str, Any] = {"elements": str(self.data.element_spec)}
        if isinstance(self.data, tf.data.Dataset):
            found["batches"] = int(self.data.cardinality())
            found["seeds"] = seeds_of(self.data)
        return found
