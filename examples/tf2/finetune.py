"""Fine-tune a tf.Module from a checkpoint of tf.train.Checkpoint, with a frozen encoder.

python finetune.py FOLDER          again after a kill: it goes on where it was
"""

import sys
from pathlib import Path

import numpy as np
import tensorflow as tf

import warmstart as ws


class Dense(tf.Module):
    def __init__(self, inputs, outputs):
        super().__init__()
        self.w = tf.Variable(tf.random.normal([inputs, outputs], stddev=inputs**-0.5))
        self.b = tf.Variable(tf.zeros([outputs]))

    def __call__(self, x):
        return x @ self.w + self.b


class Net(tf.Module):
    def __init__(self, classes):
        super().__init__()
        self.encoder = Dense(8, 16)
        self.head = Dense(16, classes)

    def __call__(self, x):
        return self.head(tf.nn.relu(self.encoder(x)))


def loss(logits, labels):
    return tf.nn.sparse_softmax_cross_entropy_with_logits(labels, logits)


def main(folder):
    pretrained = folder / "pretrained"
    if not pretrained.with_suffix(".index").exists():  # what somebody else trained
        tf.train.Checkpoint(model=Net(classes=10)).write(str(pretrained))

    net = Net(classes=2)
    model = ws.TFModule(net, loss=loss, optimizer=tf.keras.optimizers.AdamW(0.01))
    frozen = ws.freeze(model, "encoder/*")

    inputs = np.random.default_rng(0).standard_normal((512, 8)).astype("float32")
    labels = (inputs.sum(1) > 0).astype("int64")
    ws.logger.set_logger_dir(folder / "log")
    trainer = ws.launch_train(
        ws.AutoResumeTrainConfig(
            model=model,
            data=ws.Batches((inputs, labels), 32),
            session_init=ws.SmartInit(pretrained, ignore_mismatch=True),  # the head is another
            callbacks=[ws.ModelSaver(), ws.MinSaver("loss")],
            max_epoch=5,
        )
    )
    frozen.verify()
    print(f"{trainer.step} steps; the encoder is as it was")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
