import numpy as np
import tensorflow as tf

import warmstart as ws
from warmstart.sessions.tf_graph.adamw import AdamW
from warmstart.testing.sessions import SessionContract

v1 = tf.compat.v1


class GraphContract(SessionContract):
    """A TFGraph of two layers, one partitioned; the batch is always the same."""

    optimizer = staticmethod(lambda: v1.train.MomentumOptimizer(0.05, 0.9))
    resource = True

    def make(self):
        with tf.Graph().as_default(), v1.variable_scope("", use_resource=self.resource):
            v1.set_random_seed(0)
            x = v1.placeholder(tf.float32, [None, 4])
            parts = v1.fixed_size_partitioner(2)
            hidden = tf.nn.tanh(tf.matmul(x, v1.get_variable("a", [4, 3], partitioner=parts)))
            cost = tf.reduce_mean(tf.matmul(hidden, v1.get_variable("b", [3, 1])) ** 2 + hidden)
            model = ws.TFGraph(inputs=[x], cost=cost, optimizer=self.optimizer())
        model.prepare()
        batch = np.linspace(-1, 1, 20, dtype="float32").reshape(5, 4)

        def train(steps):
            for _ in range(steps):
                model.train_step((batch,))

        return model.session, train


class TestMomentum(GraphContract):
    pass


class TestMomentumOnReferences(GraphContract):
    resource = False


class TestAdamW(GraphContract):
    optimizer = staticmethod(lambda: AdamW(0.05, 0.1))
