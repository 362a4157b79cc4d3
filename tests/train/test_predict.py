from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import warmstart as ws
from warmstart.testing.toy import ToySession
from warmstart.train.trainer import Trainer

INPUTS = np.arange(6.0).reshape(2, 3)


@pytest.mark.parametrize("kind", ["folder", "bundle", "npz", "dict"])
def test_a_predictor_takes_its_variables_from_anywhere(
    folder: Path, train: Callable[..., Trainer], kind: str
) -> None:
    weights = train().session.read("w")
    ws.convert(folder / "model-15", folder / "w.npz")
    sources = {
        "folder": folder,
        "bundle": folder / "model-15",
        "npz": folder / "w.npz",
        "dict": {"w": weights, "w/momentum": weights},
    }
    predict = ws.OfflinePredictor(ws.PredictConfig(model=ToySession(3), session_init=sources[kind]))
    np.testing.assert_array_equal(predict(INPUTS), [INPUTS @ weights])
    assert "w" in predict.report.plan.matches


class Net(torch.nn.Module):
    """Layers that act otherwise in training, and two inputs."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = torch.nn.BatchNorm1d(3)
        self.drop = torch.nn.Dropout(0.5)
        self.fc = torch.nn.Linear(3, 2)

    def forward(self, left: Any, right: Any) -> Any:
        return self.fc(self.drop(self.norm(left + right)))


def test_a_module_predicts_as_in_evaluation_mode(folder: Path) -> None:
    torch.manual_seed(0)
    inputs = np.random.default_rng(0).standard_normal((8, 3)).astype(np.float32)
    net = Net()
    ws.Trainer(
        ws.TorchModel(
            net, loss=torch.nn.functional.mse_loss, optimizer=torch.optim.SGD(net.parameters(), 0.1)
        )
    ).train(data=ws.Batches((inputs, inputs, inputs[:, :2]), 4), max_epoch=2)
    net.eval()
    with torch.no_grad():
        expected = net(torch.from_numpy(inputs), torch.from_numpy(inputs)).numpy()
    predict = ws.OfflinePredictor(ws.PredictConfig(model=Net(), session_init=folder))
    (found,) = predict(inputs, inputs)
    np.testing.assert_array_equal(found, expected)


def test_what_is_no_config_is_refused() -> None:
    with pytest.raises(TypeError, match=r"OfflinePredictor takes a configuration, not 5: ws.Offl"):
        ws.OfflinePredictor(5)  # type: ignore[arg-type]
