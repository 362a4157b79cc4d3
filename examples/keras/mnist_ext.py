"""Stack a second hidden layer on the one trained by mnist.py, which stays frozen.

The layer and its batch norm are found in ./model by their names; the rest starts anew.
Checkpoints and statistics go to ./model_ext.
"""

import argparse

import keras
from keras import layers
from mnist import compiled, digits

import warmstart as ws

PRETRAINED = ["hidden/*", "norm/*"]


def mnist_ext():
    return keras.Sequential(
        [
            layers.Input((64,)),
            layers.Dense(64, name="hidden"),
            layers.BatchNormalization(name="norm"),
            layers.ReLU(),
            layers.Dense(64, name="hidden2"),
            layers.BatchNormalization(name="norm2"),
            layers.ReLU(),
            layers.Dropout(0.2, name="drop"),
            layers.Dense(10, name="logits"),
        ]
    )


def main(pretrained, folder):
    keras.utils.set_random_seed(2)
    ws.logger.set_logger_dir(folder)
    images, _, labels, _ = digits()
    schedule = keras.optimizers.schedules.ExponentialDecay(3e-3, 100, 0.7, staircase=True)
    model = ws.KerasModel(compiled(mnist_ext(), schedule))
    frozen = ws.freeze(model, PRETRAINED)
    config = ws.AutoResumeTrainConfig(
        model=model,
        data=ws.Batches((images, labels), batch_size=32),
        session_init=ws.SmartInit(pretrained, rules=[ws.keep(*PRETRAINED)]),
        callbacks=[ws.ModelSaver(every_steps=20), ws.JSONWriter()],
        max_epoch=8,
    )
    ws.launch_train(config)
    frozen.verify()  # raises if a bit of the frozen layer has moved


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model-dir", default="model")
    parser.add_argument("--model-ext-dir", default="model_ext")
    arguments = parser.parse_args()
    main(arguments.model_dir, arguments.model_ext_dir)
