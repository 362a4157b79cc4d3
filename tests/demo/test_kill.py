"""A script is killed for real, after the step that was asked for."""

import subprocess
import sys
from pathlib import Path

SCRIPT = """
import sys
import torch
import warmstart as ws

module = torch.nn.Linear(2, 1)
config = ws.TrainConfig(
    model=ws.TorchModel(
        module, loss=torch.nn.MSELoss(), optimizer=torch.optim.SGD(module.parameters(), 0.1)
    ),
    data=ws.Batches((torch.zeros(8, 2).numpy(), torch.zeros(8, 1).numpy()), batch_size=2),
    callbacks=[ws.Callback(after_step=lambda trainer, metrics: print(trainer.step, flush=True))],
    max_epoch=3,
)
ws.logger.set_logger_dir(sys.argv[1])
ws.launch_train(config)
print("not killed")
"""


def test_it_dies_by_sigkill_after_the_step(tmp_path: Path) -> None:
    (tmp_path / "train.py").write_text(SCRIPT)
    done = subprocess.run(
        [sys.executable, "-m", "warmstart.demo.kill", "6", "train.py", "log"],
        cwd=tmp_path, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stdout.split()) == (-9, ["1", "2", "3", "4", "5", "6"]), (
        done.stderr
    )
