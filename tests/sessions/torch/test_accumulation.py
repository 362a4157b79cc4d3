"""Several batches to a step of the optimizer, and a gradient scaler."""

from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import warmstart as ws


def model(seed: int = 0, **options: Any) -> ws.TorchModel:
    torch.manual_seed(seed)
    module = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 1))
    optimizer = torch.optim.AdamW(module.parameters(), lr=0.1)
    scheduler = torch.optim.lr_scheduler.StepLR(optimizer, 1, 0.5)
    return ws.TorchModel(
        module, loss=nn.functional.mse_loss, optimizer=optimizer, scheduler=scheduler, **options
    )


def batches(count: int) -> list[Any]:
    numbers = np.random.default_rng(0).standard_normal((count, 6, 4)).astype("float32")
    return [(each, each[:, :1]) for each in numbers]


def weights(trained: ws.TorchModel) -> list[bytes]:
    return [p.detach().numpy().tobytes() for p in trained.module.parameters()]


def test_the_step_is_that_of_the_mean_loss_over_the_batches() -> None:
    summed, whole = model(accumulate=3), model()
    three = batches(3)
    before = weights(summed)
    for batch in three[:2]:
        summed.train_step(batch)
        assert weights(summed) == before
    summed.train_step(three[2])
    whole.train_step(tuple(np.concatenate(each) for each in zip(*three, strict=True)))
    for a, b in zip(summed.module.parameters(), whole.module.parameters(), strict=True):
        torch.testing.assert_close(a, b)
    assert summed.scheduler.last_epoch == whole.scheduler.last_epoch == 1


def test_the_scaled_step_is_that_of_pytorch() -> None:
    scaler = torch.amp.GradScaler("cpu", init_scale=8.0, growth_interval=2)
    ours = model(scaler=scaler)
    theirs, same = model(), torch.amp.GradScaler("cpu", init_scale=8.0)
    same.load_state_dict(scaler.state_dict())
    for inputs, targets in batches(3):
        ours.train_step((inputs, targets))
        theirs.optimizer.zero_grad()
        loss = nn.functional.mse_loss(theirs.module(torch.tensor(inputs)), torch.tensor(targets))
        same.scale(loss).backward()
        same.step(theirs.optimizer)
        same.update()
        theirs.scheduler.step()
    assert weights(ours) == weights(theirs)
    assert scaler.state_dict() == same.state_dict()
    assert scaler.get_scale() == 16.0


def test_processors_see_the_whole_unscaled_gradient_of_a_step() -> None:
    seen: list[float] = []
    look = ws.MapGradient(lambda gradient: (seen.append(float(gradient.abs().sum())), gradient)[1])
    plain = model(gradprocs=[look])
    both = tuple(np.concatenate(each) for each in zip(*batches(2), strict=True))
    plain.train_step(both)
    options = {"accumulate": 2, "scaler": torch.amp.GradScaler("cpu", init_scale=1024.0)}
    summed = model(gradprocs=[look], **options)
    for batch in batches(2):
        summed.train_step(batch)
    assert len(seen) == 8
    np.testing.assert_allclose(seen[:4], seen[4:], rtol=1e-4)


def test_a_run_goes_on_between_two_batches_of_a_step(tmp_path: Any) -> None:
    def run(seed: int, **more: Any) -> ws.TorchModel:
        scaler = torch.amp.GradScaler("cpu", init_scale=8.0, growth_interval=2)
        trained = model(seed, accumulate=4, scaler=scaler)
        inputs = np.random.default_rng(0).standard_normal((30, 4)).astype("float32")
        data = ws.Batches((inputs, inputs[:, :1]), 2)
        saver = ws.ModelSaver(every_steps=1, checkpoint_dir=tmp_path, max_to_keep=None)
        ws.Trainer(trained).train(data=data, callbacks=[saver], max_epoch=1, **more)
        return trained

    ws.logger.set_logger_dir(tmp_path / "log")
    whole = run(0)
    for step in (1, 6, 8):
        resumed = run(step, resume_from=tmp_path / f"model-{step}")
        assert weights(resumed) == weights(whole)
        assert resumed.state()["accumulation"]["scaler"] == whole.state()["accumulation"]["scaler"]


@pytest.mark.parametrize(
    ("saved", "here", "message"),
    [
        ({"accumulate": 3}, {"accumulate": 2}, "after 1 of the 3 batches of a step; here a step"),
        ({"accumulate": 3}, {}, "after 1 of the 3 batches of a step; here a step has 1: acc"),
        ({"scaler": 1}, {}, "checkpoint has state of a gradient scaler, and this model has none"),
        ({}, {"scaler": 1}, "checkpoint has no state of a gradient scaler, and this model has one"),
    ],
    ids=str,
)
def test_a_state_that_does_not_fit_is_refused(saved: Any, here: Any, message: str) -> None:
    def made(options: dict[str, Any]) -> ws.TorchModel:
        scaler = {"scaler": torch.amp.GradScaler("cpu")} if "scaler" in options else {}
        return model(**{**options, **scaler})

    before = made(saved)
    before.train_step(batches(1)[0])
    with pytest.raises(ws.ResumeError, match=message):
        made(here).load_state(before.state())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"accumulate": 0}, "accumulate is 0; expected the batches of a step, 1 or more"),
        ({"accumulate": 1.5}, r"accumulate is 1\.5; expected"),
        ({"scaler": 8.0}, r"the scaler is 8\.0; expected a torch\.amp\.GradScaler"),
    ],
)
def test_what_makes_no_step_is_refused(options: Any, message: str) -> None:
    with pytest.raises((ValueError, TypeError), match=message):
        model(**options)


def test_an_optimizer_that_asks_for_losses_takes_one_batch_a_step() -> None:
    module = nn.Linear(4, 1)
    optimizer = torch.optim.LBFGS(module.parameters())
    with pytest.raises(ValueError, match="LBFGS computes the losses as it likes: no accumulate="):
        ws.TorchModel(module, loss=nn.functional.mse_loss, optimizer=optimizer, accumulate=2)
