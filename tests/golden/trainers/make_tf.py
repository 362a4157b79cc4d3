"""Make the golden checkpoint of TensorFlow with a place in the data, with tensorflow 2.21.0, keras
3.15.1:

tensorflow-1               tf.train.Checkpoint of a variable, Adam, an iterator of tf.data, a
                           generator, a step and an epoch
"""

import sys
from pathlib import Path

import tensorflow as tf

variable = tf.Variable(tf.ones(3))
optimizer = tf.keras.optimizers.Adam()
optimizer.apply_gradients([(tf.ones(3), variable)])
iterator = iter(tf.data.Dataset.range(10).shuffle(4))
next(iterator)
tf.train.Checkpoint(
    weights=variable,
    optimizer=optimizer,
    iterator=iterator,
    generator=tf.random.Generator.from_seed(1),
    step=tf.Variable(7, dtype=tf.int64),
    epoch=tf.Variable(2),
).save(str(Path(sys.argv[1], "tensorflow")))
Path(sys.argv[1], "checkpoint").unlink()
