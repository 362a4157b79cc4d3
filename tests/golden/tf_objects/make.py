"""Make the checkpoints beside this file again, and `expected.json`, which is what TensorFlow says.

Made by TensorFlow 2.21.0, tf_keras 2.21.0 (Keras 2) and Keras 3.15.0 on Linux, x86-64.

keras2-weights       `save_weights(save_format="tf")` of a model trained with Keras 2's new Adam
keras2-legacy-1      tf.train.Checkpoint of a model and its optimizer with slots, of Keras 2 of old
keras3-1             tf.train.Checkpoint of a model and its optimizer of Keras 3
keras3-export/...    the variables of the SavedModel that Keras 3's `export` writes, each twice
"""

import json
import shutil
from pathlib import Path
from tempfile import mkdtemp

HERE = Path(__file__).parent


def trained(keras, optimizer):
    """Return a small model after one step of training."""
    import numpy as np

    keras.utils.set_random_seed(3)
    model = keras.Sequential([
        keras.layers.Input((3,)),
        keras.layers.Dense(2, name="d1"),
        keras.layers.BatchNormalization(name="bn"),
        keras.layers.Dense(1, name="d2"),
    ])  # fmt: skip
    model.compile(optimizer=optimizer, loss="mse", metrics=["mae"])
    model.fit(np.arange(12.0).reshape(4, 3), np.ones((4, 1)), verbose=0)
    return model


def as_tensorflow_says(prefix):
    """Return every numeric tensor of the checkpoint *prefix*, and own names by key."""
    import tensorflow as tf
    from tensorflow.core.protobuf.trackable_object_graph_pb2 import TrackableObjectGraph

    reader = tf.train.load_checkpoint(str(prefix))
    graph = TrackableObjectGraph.FromString(reader.get_tensor("_CHECKPOINTABLE_OBJECT_GRAPH"))
    dtypes = reader.get_variable_to_dtype_map()
    return {
        "own_names": {a.checkpoint_key: a.full_name for n in graph.nodes for a in n.attributes},
        "values": {
            key: reader.get_tensor(key).tolist()
            for key, dtype in sorted(dtypes.items())
            if dtype != tf.string
        },
    }


def main() -> None:
    import keras
    import tensorflow as tf
    import tf_keras

    model = trained(tf_keras, "adam")
    model.save_weights(HERE / "keras2-weights", save_format="tf")
    model = trained(tf_keras, tf_keras.optimizers.legacy.Adam())
    tf.train.Checkpoint(model=model, optimizer=model.optimizer).save(str(HERE / "keras2-legacy"))
    model = trained(keras, "adam")
    tf.train.Checkpoint(model=model, optimizer=model.optimizer).save(str(HERE / "keras3"))
    exported = Path(mkdtemp()) / "model"
    model.export(exported, verbose=False)
    (HERE / "keras3-export").mkdir(exist_ok=True)
    for file in (exported / "variables").iterdir():
        shutil.copy(file, HERE / "keras3-export" / file.name)
    (HERE / "checkpoint").unlink()
    prefixes = ("keras2-weights", "keras2-legacy-1", "keras3-1", "keras3-export/variables")
    said = {prefix: as_tensorflow_says(HERE / prefix) for prefix in prefixes}
    (HERE / "expected.json").write_text(json.dumps(said, sort_keys=True))


if __name__ == "__main__":
    main()
