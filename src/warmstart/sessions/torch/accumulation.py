"""Gradients of several batches summed up to one step of the optimizer, scaled for half precision.

    {"every": 4, "done": 2, "gradients": {"fc.weight": array}, "scaler": {"scale": 65536.0, ...}}

is the state: gradients are kept while they wait for the batches that are still to come.
"""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor
from torch.optim import LBFGS, Optimizer

from ...errors import ResumeError, described
from .arrays import array_of, tensor_of
from .portable import pack, part, unpack


class Accumulation:
    """What lies between a loss and a step of *optimizer*, which *every* so many batches make."""

    def __init__(self, optimizer: Optimizer, every: int, scaler: Any) -> None:
        if type(every) is not int or every < 1:
            raise ValueError(f"accumulate is {every!r}; expected the batches of a step, 1 or more")
        if scaler is not None and not callable(getattr(scaler, "unscale_", None)):
            raise TypeError(f"the scaler is {described(scaler)}; expected a torch.amp.GradScaler")
        if isinstance(optimizer, LBFGS) and (every > 1 or scaler is not None):
            raise ValueError("LBFGS computes the losses as it likes: no accumulate=, no scaler=")
        self.optimizer = optimizer
        self.every = every
        self.scaler = scaler
        self.done = 0  # batches whose gradients wait for the step

    @property
    def complete(self) -> bool:
        """Whether the gradients are those of all batches of a step."""
        return self.done == self.every

    def backward(self, loss: Tensor) -> None:
        """Add the gradients of *loss*, whose mean over the batches of a step is what counts."""
        if self.done == 0:
            self.optimizer.zero_grad(set_to_none=True)
        mean = loss / self.every if self.every > 1 else loss
        scaled = mean if self.scaler is None else self.scaler.scale(mean)
        scaled.backward()
        self.done += 1

    def unscale(self) -> None:
        """Make the gradients those of the loss itself."""
        if self.scaler is not None:
            self.scaler.unscale_(self.optimizer)

    def step(self) -> None:
        """Let the optimizer take its step."""
        self.done = 0
        if self.scaler is None:
            self.optimizer.step()
            return
        self.scaler.step(self.optimizer)
        self.scaler.update()

    def state(self, names: Mapping[int, str]) -> dict[str, Any]:
        """Return what the next batch depends on; *names* are those of parameters, by their id."""
        found: dict[str, Any] = {"every": self.every, "done": self.done}
        if self.scaler is not None:
            found["scaler"] = pack(self.scaler.state_dict(), "the scaler's state")
        if self.done:
            found["gradients"] = {
                name: array_of(name, p.grad)
                for name, p in self._parameters(names).items()
                if p.grad is not None
            }
        return found

    def load_state(self, state: Mapping[str, Any], names: Mapping[int, str]) -> None:
        """Take back what `state` returned; raise ResumeError, changing nothing, if it does not fit.

        Without a *state* there was one step a batch, and no scaler.
        """
        self.check(state)
        if self.scaler is not None:
            self.scaler.load_state_dict(unpack(part(state, "scaler", dict, "the scaler")))
        self.done = state.get("done", 0)
        saved = state.get("gradients", {})
        for name, parameter in self._parameters(names).items():
            parameter.grad = None
            if name in saved:
                parameter.grad = tensor_of(saved[name]).to(parameter.device)

    def check(self, state: Mapping[str, Any]) -> None:
        """Raise ResumeError when *state* cannot be taken back."""
        if ("scaler" in state) != (self.scaler is not None):
            sides = ("has", "has none") if "scaler" in state else ("has no", "has one")
            raise ResumeError(
                f"the checkpoint {sides[0]} state of a gradient scaler, and this model {sides[1]}"
            )
        if state.get("done", 0) and state["every"] != self.every:
            raise ResumeError(
                f"the checkpoint was saved after {state['done']} of the {state['every']} batches "
                f"of a step; here a step has {self.every}: accumulate={state['every']}"
            )

    def _parameters(self, names: Mapping[int, str]) -> dict[str, Tensor]:
        groups: list[dict[str, Any]] = self.optimizer.param_groups
        found: list[torch.Tensor] = [each for group in groups for each in group["params"]]
        return {names[id(each)]: each for each in found if id(each) in names}
