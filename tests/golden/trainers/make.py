"""Make the golden files of trainers, with torch 2.13.0, lightning 2.6.6, transformers 5.23.0,
accelerate 1.15.0, torchdata 0.11.0, numpy 2.4 on Python 3.11:

lightning-mid-epoch.ckpt   after step 3, in the first epoch of 4 steps
lightning-stateful.ckpt    the same, with torchdata's StatefulDataLoader
lightning-weights.ckpt     `save_checkpoint(weights_only=True)`
transformers/checkpoint-2  of Trainer
accelerate                 `Accelerator.save_state`

Run in an empty folder: paths stand in some of the files.
"""

import shutil
import sys
from pathlib import Path

import lightning
import torch
from accelerate import Accelerator
from lightning.pytorch.callbacks import EarlyStopping, ModelCheckpoint
from torch import nn
from torch.utils.data import DataLoader, TensorDataset
from torchdata.stateful_dataloader import StatefulDataLoader
from transformers import Trainer, TrainingArguments

HERE = Path(sys.argv[1])
DATA = TensorDataset(torch.randn(16, 2), torch.randn(16, 1))


class Module(lightning.LightningModule):
    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(2, 1)

    def training_step(self, batch, index):
        loss = nn.functional.mse_loss(self.fc(batch[0]), batch[1])
        self.log("loss", loss)
        return loss

    def configure_optimizers(self):
        optimizer = torch.optim.AdamW(self.parameters(), lr=0.1)
        return [optimizer], [torch.optim.lr_scheduler.StepLR(optimizer, 2)]


def with_lightning(name, loader):
    quiet = {"logger": False, "enable_progress_bar": False, "enable_model_summary": False}
    callbacks = [ModelCheckpoint("lightning", filename=name, every_n_train_steps=3),
                 EarlyStopping("loss")]  # fmt: skip
    trainer = lightning.Trainer(max_steps=3, accelerator="cpu", callbacks=callbacks, **quiet)
    trainer.fit(Module(), loader)
    shutil.copy(f"lightning/{name}.ckpt", HERE / f"lightning-{name}.ckpt")
    return trainer


class Scored(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(2, 1)

    def forward(self, x, labels):
        return {"loss": nn.functional.mse_loss(self.fc(x), labels)}


def with_transformers():
    arguments = TrainingArguments(
        "out", max_steps=2, save_steps=1, per_device_train_batch_size=4, report_to=[], use_cpu=True
    )
    data = [{"x": x, "labels": y} for x, y in DATA]
    Trainer(Scored(), arguments, train_dataset=data).train()
    left_out = shutil.ignore_patterns("training_args.bin")  # names of machines are in it
    shutil.copytree("out/checkpoint-2", HERE / "transformers/checkpoint-2", ignore=left_out)


def with_accelerate():
    accelerator = Accelerator(cpu=True)
    model = nn.Linear(2, 1)
    optimizer = torch.optim.SGD(model.parameters(), 0.1, momentum=0.9)
    model, optimizer, loader = accelerator.prepare(model, optimizer, DataLoader(DATA, 4))
    for inputs, _ in loader:
        accelerator.backward(model(inputs).sum())
        optimizer.step()
    accelerator.save_state("accelerate")
    shutil.copytree("accelerate", HERE / "accelerate")


with_lightning("stateful", StatefulDataLoader(DATA, 4, shuffle=True))
trainer = with_lightning("mid-epoch", DataLoader(DATA, 4, shuffle=True))
trainer.save_checkpoint(HERE / "lightning-weights.ckpt", weights_only=True)
with_transformers()
with_accelerate()
