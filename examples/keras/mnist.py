"""Train a small network on handwritten digits.  Checkpoints and statistics go to ./model.

It runs on any backend of Keras: KERAS_BACKEND=tensorflow, jax or torch.  Kill it at any moment:
the same command goes on where it stopped, bit for bit.
"""

import argparse

import keras
from keras import layers
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

import warmstart as ws


def digits():
    """Return images (n, 64) in 0..1 and labels: 1437 to train on, then 360 held out."""
    images, labels = load_digits(return_X_y=True)
    images = (images / 16).astype("float32")
    return train_test_split(images, labels, test_size=360, random_state=0, stratify=labels)


def mnist():
    return keras.Sequential(
        [
            layers.Input((64,)),
            layers.Dense(64, name="hidden"),
            layers.BatchNormalization(name="norm"),
            layers.ReLU(),
            layers.Dense(10, name="logits"),
        ]
    )


def compiled(model, learning_rate=3e-3):
    """Return *model* with AdamW; XLA takes longer to compile so small a network than it saves."""
    model.compile(
        keras.optimizers.AdamW(learning_rate, weight_decay=0.05),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        jit_compile=keras.config.backend() == "jax",
    )
    return model


def main(folder):
    keras.utils.set_random_seed(1)
    ws.logger.set_logger_dir(folder)
    images, _, labels, _ = digits()
    config = ws.AutoResumeTrainConfig(
        model=ws.KerasModel(compiled(mnist())),
        data=ws.Batches((images, labels), batch_size=32),
        callbacks=[ws.ModelSaver(), ws.JSONWriter()],
        max_epoch=12,
    )
    ws.launch_train(config)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model-dir", default="model")
    main(parser.parse_args().model_dir)
