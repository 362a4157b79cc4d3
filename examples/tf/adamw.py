"""Adam with decoupled weight decay for TensorFlow graphs."""

import tensorflow.compat.v1 as tf


class AdamW(tf.train.AdamOptimizer):
    """Adam that also shrinks every trained variable by learning_rate * weight_decay a step."""

    def __init__(self, learning_rate, weight_decay):
        super().__init__(learning_rate)
        self.shrinkage = learning_rate * weight_decay

    def _resource_apply_dense(self, grad, var):
        with tf.control_dependencies([var.assign_sub(self.shrinkage * var)]):
            return super()._resource_apply_dense(grad, var)
