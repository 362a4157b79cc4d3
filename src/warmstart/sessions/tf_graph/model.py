"""A TensorFlow graph as a model for the training loop."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import tensorflow as tf

from ...errors import FreezeError, described
from ..arguments import checked_processors
from ..processing import Processor
from . import freezing
from .session import GraphSession
from .train_op import Optimizer, TrainOp
from .walk import operation

v1 = tf.compat.v1


class TFGraph:
    """A graph with a cost, trained by an optimizer or a ready train op; one session.run a step.

    The train op is built by `prepare`, over TRAINABLE_VARIABLES as they are then, and built anew
    when some are frozen or thawed later; it counts the global step up.  UPDATE_OPS are no part of
    it: the trainer's RunUpdateOps runs them in the same session.run.
    """

    def __init__(
        self,
        *,
        inputs: Any,
        cost: Any,
        optimizer: Optimizer | None = None,
        train_op: Any = None,
        session: Any = None,
        gradprocs: Iterable[Processor] = (),
        metrics: Mapping[str, Any] | None = None,
    ) -> None:
        """Take *inputs* (tensors to feed, in a batch's order) and what to do with them.

        *optimizer* is a `tf.compat.v1.train.Optimizer` or has its `compute_gradients` and
        `apply_gradients`; without it and *train_op* the model can only predict.  *session* is made
        on the cost's graph unless given.  *metrics* are further scalars to report, by name.
        """
        self.inputs = tuple(inputs) if isinstance(inputs, Sequence) else (inputs,)
        self.graph = graph_of(cost)
        self._fetches = checked_fetches(cost, metrics or {})
        self.gradprocs = checked_processors(gradprocs)
        check_trained_by(optimizer, train_op, self.gradprocs)
        tf_session = v1.Session(graph=self.graph) if session is None else session
        if tf_session.graph is not self.graph:
            raise ValueError(
                "session= is on another graph than cost=; make it with graph=cost.graph"
            )
        self.session = GraphSession(tf_session, optimizer=optimizer, inputs=self.inputs)
        self._own = None if optimizer is None else TrainOp(cost, optimizer, self.gradprocs)
        self._given = None if train_op is None else operation(train_op)
        self._update_ops: list[Any] | None = None  # None: nobody asked for any
        self._run: Any = None
        if self._given is not None and self._given not in map(
            operation, self.graph.get_collection(v1.GraphKeys.TRAIN_OP)
        ):
            self.graph.add_to_collection(v1.GraphKeys.TRAIN_OP, self._given)
        freezing.add_trainer(self.graph, self)

    def prepare(self) -> None:
        """Build the train op unless it is there."""
        if self._own is not None and self._own.operation is None:
            if self.graph.finalized:
                raise ValueError(
                    "the graph is finalized, so no train op can be built; pass train_op="
                )
            self._own.build()
        elif self._own is None and self._given is None:
            raise ValueError("this TFGraph cannot be trained: pass optimizer= or train_op=")

    def train_step(self, batch: Any) -> dict[str, float]:
        """Train on *batch*, one array for each of the inputs; return the loss and the metrics."""
        arrays = batch if isinstance(batch, tuple | list) else (batch,)
        if len(arrays) != len(self.inputs):
            names = ", ".join(tensor.name for tensor in self.inputs)
            raise ValueError(
                f"a batch of {len(arrays)} arrays for {len(self.inputs)} inputs: {names}"
            )
        if self._run is None:
            self._run = self._made_callable()
        try:
            values = self._run(*arrays)
        except tf.errors.OpError as error:
            if self._own is not None:
                self._own.looking.raise_kept(error)
            raise
        return {name: float(value) for name, value in zip(self._fetches, values, strict=False)}

    def _made_callable(self) -> Any:
        """Return the function that runs a step; whatever has no value yet gets its initial one."""
        self.prepare()
        self.session.initialize(list(self.session.specs))
        beside = freezing.left_out(self.graph, self._update_ops or ())
        train_op = self._given if self._own is None else self._own.operation
        fetches = [*self._fetches.values(), train_op, *beside]
        return self.session.tf_session.make_callable(fetches, feed_list=list(self.inputs))

    def update_ops(self) -> list[Any]:
        """Return the operations in UPDATE_OPS, without those of frozen variables."""
        return freezing.update_ops(self.graph)

    def run_with_step(self, ops: Iterable[Any]) -> None:
        """Run *ops* with every training step from now on, in the same session.run."""
        self._update_ops = list(ops)
        self._run = None

    @property
    def operations(self) -> set[str]:
        """The names of what this model built itself and can do without."""
        return set() if self._own is None else self._own.operations

    @property
    def builds(self) -> bool:
        """Whether the train op is built here, from the cost and the optimizer."""
        return self._own is not None

    def check_rebuild(self) -> None:
        """Raise FreezeError if the train op is built and the graph is finalized."""
        if self._own is not None and self._own.operation is not None and self.graph.finalized:
            raise FreezeError(
                "the graph is finalized, so its train op cannot be built anew over other "
                "variables; freeze and thaw before graph.finalize()"
            )

    def rebuild(self, returned: Iterable[Any] = ()) -> None:
        """Train what is trainable now; *returned* update ops are run again if any are."""
        self._run = None
        if self._update_ops is not None:
            self._update_ops += returned
        if self._own is not None and self._own.operation is not None:
            self._own.build()


def graph_of(cost: Any) -> Any:
    """Return the graph that *cost* is a tensor of; TypeError for what has none."""
    if not tf.is_symbolic_tensor(cost):
        raise TypeError(
            f"cost= is {described(cost)}; expected a tensor of a graph, which is built under "
            "tf.compat.v1.disable_eager_execution() or in `with tf.Graph().as_default():`"
        )
    return cost.graph


def check_trained_by(optimizer: Any, train_op: Any, gradprocs: Sequence[Processor]) -> None:
    """Raise for ways to train that contradict each other or cannot be honoured."""
    if optimizer is not None and train_op is not None:
        raise ValueError(
            "optimizer= and train_op= were both given; a ready train op needs no other"
        )
    if train_op is not None and gradprocs:
        raise ValueError(
            "gradprocs= cannot change a train op already built; pass optimizer= in place of it"
        )
    kind = f"{type(optimizer).__module__}.{type(optimizer).__qualname__}"
    lacking = [
        method
        for method in ("compute_gradients", "apply_gradients")
        if optimizer is not None and not hasattr(optimizer, method)
    ]
    if lacking:
        raise TypeError(
            f"a {kind} cannot train a graph: it has no {' and no '.join(lacking)}; use one of "
            "tf.compat.v1.train, or warmstart.sessions.tf_graph.adamw.AdamW"
        )


def checked_fetches(cost: Any, metrics: Mapping[str, Any]) -> dict[str, Any]:
    """Return what to fetch by name, all of it scalars and no metric called as the cost is."""
    if "loss" in metrics:
        raise ValueError('the cost is reported as "loss"; give that metric another name')
    fetches = {"loss": cost, **metrics}
    wrong = [f"{name} {t.shape}" for name, t in fetches.items() if t.shape.rank not in (None, 0)]
    if wrong:
        raise ValueError(f"cost and metrics are scalars, these are not: {', '.join(wrong)}")
    return fetches
