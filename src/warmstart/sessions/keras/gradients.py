"""What gradient processors do to the gradients of a Keras model, on each backend.

They have their turn in `Optimizer.apply` (guard.py), which every training loop ends in.  Where
steps are compiled, a watcher is called from within: on JAX by a callback of the runtime, in
TensorFlow by one that XLA does not have, so that `jit_compile=False` is needed.  An error it raises
stops the step before anything is assigned.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import TYPE_CHECKING, Any

import keras
from keras import ops

from ..processing import Looking, Processor, processed
from .arrays import BACKEND

if TYPE_CHECKING:
    import numpy as np

#: A gradient with its variable.
Pairs = list[tuple[Any, Any]]


class ProcessedGradients:
    """The gradients of a model's variables, under their names; called with pairs."""

    def __init__(
        self, processors: Iterable[Processor], variables: Mapping[str, Any], *, xla: bool
    ) -> None:
        """Take the trainable *variables* by name; RuleError for what a processor says of none."""
        self._processors = tuple(processors)
        self._names = {id(live): name for name, live in variables.items()}
        self._variables = dict(variables)
        self._xla = xla
        self._looking = Looking()
        self._watched: list[Any] = []  # operations of TensorFlow
        for processor in self._processors:
            processor.check(list(variables))

    def __call__(self, optimizer: Any, pairs: Pairs) -> Pairs:
        """Return *pairs* with what the processors make of each gradient; without those with none.

        The loss may have been scaled for *optimizer*; gradients are processed without that.
        """
        scale = optimizer.loss_scale_factor
        named = {self._names.get(id(v), v.path): unscaled(gradient, scale) for gradient, v in pairs}
        live = {self._names.get(id(v), v.path): v for _, v in pairs}
        operations = KerasOps(live, self._looking, xla=self._xla)
        found = processed(self._processors, named, operations)
        left = [(gradient, live[name]) for name, gradient in found.items() if gradient is not None]
        self._watched = operations.watched_by
        return left

    def after_watchers(self) -> AbstractContextManager[Any]:
        """Let what the block does come after the looks at the gradients of the last call."""
        if not self._watched:
            return nullcontext()
        import tensorflow as tf

        control: AbstractContextManager[Any] = tf.control_dependencies(self._watched)
        return control

    def own_operations(self) -> set[str]:
        """Return the names of the operations that look at gradients, of the last call."""
        return {operation.name for operation in self._watched}

    @contextmanager
    def raising(self) -> Iterator[None]:
        """Let what a watcher raises in the block come out of it as it is."""
        self._looking.errors.clear()
        try:
            yield
        except Exception:
            self._looking.raise_kept(None)
            raise


def unscaled(gradient: Any, scale: float | None) -> Any:
    """Return *gradient* of a loss that was not multiplied by *scale*."""
    return gradient if gradient is None or scale is None else gradient / scale


class KerasOps:
    """What processors ask for, of dense gradients and of TensorFlow's of single rows."""

    def __init__(self, variables: Mapping[str, Any], looking: Looking, *, xla: bool) -> None:
        self._variables = variables
        self._looking = looking
        self._xla = xla
        self.watched_by: list[Any] = []  # operations of TensorFlow

    def scaled(self, gradient: Any, factor: float) -> Any:
        gradient = rows_once(gradient)
        return with_values(gradient, values_of(gradient) * factor)

    def clipped(self, gradients: Sequence[Any], norm: float) -> list[Any]:
        gradients = [rows_once(gradient) for gradient in gradients]
        squares = [ops.sum(ops.square(wide(values_of(gradient)))) for gradient in gradients]
        whole = ops.sqrt(ops.sum(ops.stack(squares)))
        factor = norm / ops.maximum(whole, norm)
        return [
            with_values(each, values * ops.cast(factor, values.dtype))
            for each in gradients
            for values in [values_of(each)]
        ]

    def watched(self, gradient: Any, watcher: "Callable[[np.ndarray], None]") -> Any:
        values = values_of(rows_once(gradient))
        if BACKEND == "torch":
            from ..torch.arrays import array_of

            watcher(array_of("a gradient", values))
        elif BACKEND == "jax":
            watch_in_jax(values, self._looking.function(watcher))
        else:
            self.watched_by.append(
                watch_in_tensorflow(values, self._looking.function(watcher), self._xla)
            )
        return gradient

    def variable(self, name: str) -> Any:
        return self._variables[name]


def watch_in_jax(values: Any, watcher: "Callable[[np.ndarray], None]") -> None:
    """Show *values* to *watcher* in every step."""
    import jax
    import numpy as np

    jax.debug.callback(lambda array: watcher(np.array(array)), values, ordered=True)


def watch_in_tensorflow(values: Any, watcher: "Callable[[np.ndarray], None]", xla: bool) -> Any:
    """Return an operation that shows *values* to *watcher*."""
    import numpy as np
    import tensorflow as tf

    if tf.inside_function() and xla:
        raise ValueError(
            "this gradient processor looks at values in every step, which TensorFlow cannot do in "
            "a step that XLA compiles: model.compile(..., jit_compile=False)"
        )

    def watch(tensor: Any) -> None:
        watcher(np.array(tensor))

    return tf.py_function(watch, [values], [])


def wide(values: Any) -> Any:
    """Return *values* in float32 at least, in which the sum of squares does not overflow."""
    narrow = keras.backend.standardize_dtype(values.dtype) in ("float16", "bfloat16")
    return ops.cast(values, "float32") if narrow else values


def is_sparse(gradient: Any) -> bool:
    """Return whether *gradient* is TensorFlow's of single rows, a tf.IndexedSlices."""
    return hasattr(gradient, "dense_shape")


def rows_once(gradient: Any) -> Any:
    """Return *gradient*, in which each row stands once, their sum where it stood several times."""
    if not is_sparse(gradient):
        return gradient
    import tensorflow as tf

    rows, places = tf.unique(gradient.indices)
    values = tf.math.unsorted_segment_sum(gradient.values, places, tf.shape(rows)[0])
    return tf.IndexedSlices(values, rows, gradient.dense_shape)


def values_of(gradient: Any) -> Any:
    """Return the values of a dense or sparse *gradient*."""
    return gradient.values if is_sparse(gradient) else gradient


def with_values(gradient: Any, values: Any) -> Any:
    """Return a gradient like *gradient* with other *values*."""
    if not is_sparse(gradient):
        return values
    import tensorflow as tf

    return tf.IndexedSlices(values, gradient.indices, gradient.dense_shape)
