"""Make the bundle beside this file again; it was made by TensorFlow 2.21.0 on Linux, x86-64."""

from pathlib import Path


def main() -> None:
    import tensorflow as tf

    v1 = tf.compat.v1
    with tf.Graph().as_default(), v1.Session() as session:
        rows = v1.fixed_size_partitioner(2)
        v1.get_variable("emb", [5, 2], initializer=v1.ones_initializer(), partitioner=rows)
        v1.get_variable("layer/kernel", initializer=tf.reshape(tf.range(6.0), [2, 3]))
        v1.get_variable("layer/bias", initializer=tf.constant([1.5, -2.5], tf.bfloat16))
        v1.get_variable("flags", initializer=tf.constant([True, False, True]))
        v1.get_variable("z", initializer=tf.constant([1 + 2j], tf.complex64))
        v1.get_variable("words", initializer=tf.constant(["hello", "", "tf"]))
        v1.get_variable("empty", initializer=tf.zeros([0, 4], tf.int64))
        v1.train.create_global_step()
        session.run(v1.global_variables_initializer())
        saver = v1.train.Saver(sharded=True, save_relative_paths=True)
        prefix = str(Path(__file__).with_name("model"))
        saver.save(session, prefix, global_step=7, write_meta_graph=False)


if __name__ == "__main__":
    main()
