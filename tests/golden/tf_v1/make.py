"""Make the checkpoints beside this file again; TensorFlow 2.21.0 on Linux, x86-64, made them."""

from pathlib import Path

HERE = Path(__file__).parent


def main() -> None:
    import tensorflow as tf

    v1 = tf.compat.v1
    two_devices = v1.ConfigProto(device_count={"CPU": 2})
    with tf.Graph().as_default(), v1.Session(config=two_devices) as session:
        rows = v1.fixed_size_partitioner(2)
        with tf.device("/cpu:0"):
            v1.get_variable("emb", [5, 2], initializer=v1.ones_initializer(), partitioner=rows)
            v1.get_variable("layer/kernel", initializer=tf.reshape(tf.range(6.0), [2, 3]))
            v1.get_variable("layer/bias", initializer=tf.constant([1.5, -2.5], tf.half))
            v1.get_variable("scalar", initializer=tf.constant(-3))
        with tf.device("/cpu:1"):
            v1.get_variable("flags", initializer=tf.constant([True, False, True]))
            v1.get_variable("z", initializer=tf.constant([1 + 2j], tf.complex64))
            v1.get_variable("words", initializer=tf.constant(["hello", "", "tf"]))
            v1.get_variable("empty", initializer=tf.zeros([0, 4], tf.int64))
        session.run(v1.global_variables_initializer())
        for name, sharded in (("sharded", True), ("model", False)):
            saver = v1.train.Saver(sharded=sharded, save_relative_paths=True, write_version=1)
            saver.save(session, str(HERE / name), global_step=7, write_meta_graph=False)


if __name__ == "__main__":
    main()
