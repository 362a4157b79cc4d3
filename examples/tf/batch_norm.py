"""Batch norm for TensorFlow graphs, filling the UPDATE_OPS collection as tf.layers once did."""

import tensorflow.compat.v1 as tf


def batch_norm(x, training, name, momentum=0.9, epsilon=1e-5):
    """Return *x* (n, channels) normalised; the moving statistics move through UPDATE_OPS."""
    zeros, ones = tf.zeros_initializer(), tf.ones_initializer()
    with tf.variable_scope(name):
        gamma = tf.get_variable("gamma", x.shape[-1:], initializer=ones)
        beta = tf.get_variable("beta", x.shape[-1:], initializer=zeros)
        mean = tf.get_variable("moving_mean", x.shape[-1:], initializer=zeros, trainable=False)
        var = tf.get_variable("moving_variance", x.shape[-1:], initializer=ones, trainable=False)
    if not training:
        return tf.nn.batch_normalization(x, mean, var, beta, gamma, epsilon)
    batch_mean, batch_var = tf.nn.moments(x, [0])
    for moving, batch in ((mean, batch_mean), (var, batch_var)):
        tf.add_to_collection(tf.GraphKeys.MODEL_VARIABLES, moving)
        update = moving.assign_sub((moving - batch) * (1 - momentum))
        tf.add_to_collection(tf.GraphKeys.UPDATE_OPS, update)
    return tf.nn.batch_normalization(x, batch_mean, batch_var, beta, gamma, epsilon)
