"""A PyTorch module with all that a training step needs.

    model = TorchModel(module, loss=F.cross_entropy, optimizer=optimizer)
    model.prepare()
    metrics = model.train_step((images, labels))        {"loss": 0.53}

It refuses to know the loop, its callbacks and its checkpoints.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import LBFGS, Optimizer
from torch.optim.lr_scheduler import ReduceLROnPlateau

from ...errors import ResumeError, described
from ..arguments import check_model, checked_processors
from ..losses import check_one_of, inputs_and_target
from ..processing import Processor
from .accumulation import Accumulation
from .batches import first_tensor, tensors
from .gradients import ProcessedGradients
from .grouped import regrouped
from .losses import as_float, check_losses, refuse_backward
from .optimizer import check_kind, named
from .portable import pack, part, unpack
from .session import TorchSession
from .variables import variables_of

Losses = Mapping[str, Any]


class TorchModel:
    """A module, how its loss is computed, and what moves it."""

    def __init__(
        self,
        module: nn.Module,
        *,
        loss: Callable[[Any, Any], Tensor] | None = None,
        step: Callable[[nn.Module, Any], Losses] | None = None,
        optimizer: Optimizer,
        scheduler: Any = None,
        scheduler_every: str = "step",
        gradprocs: Iterable[Processor] = (),
        accumulate: int = 1,
        scaler: Any = None,
    ) -> None:
        """Train *module* with *optimizer* on `loss(module(*inputs), target)`.

        A batch is then `(input, ..., target)`.  For anything else, *step* is given the module and
        the batch, and returns at least {"loss": tensor}.  *gradprocs* change the gradients, in the
        order given, before the optimizer sees them.  With *accumulate*, that many batches make
        one step of the optimizer and of the scheduler, by the mean of their losses; *scaler* is a
        `torch.amp.GradScaler`.
        """
        check_model(module, "TorchModel", "a torch.nn.Module", fits=isinstance(module, nn.Module))
        check_one_of(loss, step)
        check_kind(optimizer)
        processors = checked_processors(gradprocs)
        if scheduler_every not in ("step", "epoch"):
            raise ValueError(f"scheduler_every is {scheduler_every!r}; expected 'step' or 'epoch'")
        if scheduler is not None:
            check_scheduler(scheduler)
        refuse_foreign(module, optimizer)
        self.module = module
        self.optimizer = optimizer
        self.scheduler = scheduler
        self.session = TorchSession(module, optimizer)
        self._losses = step or supervised(loss)
        self._after_step = scheduler is not None and scheduler_every == "step"
        self._after_epoch = scheduler is not None and scheduler_every == "epoch"
        self.gradprocs = processors
        self._sum = Accumulation(optimizer, accumulate, scaler)
        self._gradients: ProcessedGradients | None = None  # until prepared
        self._first = torch.empty(0)  # a tensor that tells where the module is

    def prepare(self) -> None:
        """Find the parameters whose gradients are processed; RuleError for a rule that has none.

        What is looked for here once would take longer than all else that a step adds.
        """
        self._first = first_tensor(self.module)
        self._gradients = ProcessedGradients(self.gradprocs, variables_of(self.session.module))

    def train_step(self, batch: Any) -> dict[str, float]:
        """Take one step on *batch*; return "loss" and whatever else `step` computed."""
        if self._gradients is None:
            self.prepare()
        if not self.module.training:
            self.module.train()
        batch = tensors(batch, self._first.device)
        if isinstance(self.optimizer, LBFGS):
            losses, moves = self._step_with_closure(self.optimizer, batch), True
        else:
            losses = self._backward(batch)
            moves = self._sum.complete
            if moves:
                self._sum.step()
        if self._after_step and moves:
            self.scheduler.step()
        return {name: as_float(name, value) for name, value in losses.items()}

    def _backward(self, batch: Any) -> Losses:
        """Compute the losses and the gradients, and process these."""
        losses = self._losses(self.module, batch)
        check_losses(losses)
        try:
            self._sum.backward(losses["loss"])
        except RuntimeError:
            refuse_backward(losses["loss"], self.module)
            raise
        if self._gradients is not None and self.gradprocs and self._sum.complete:
            self._sum.unscale()
            try:
                self._gradients.process()
            except BaseException:
                self._sum.done = 0  # who goes on all the same begins with gradients of its own
                raise
        return losses

    def _step_with_closure(self, optimizer: LBFGS, batch: Any) -> Losses:
        """Let *optimizer* compute the losses as often as it likes; return the first."""
        computed: list[Losses] = []

        def closure() -> Any:
            self._sum.done = 0
            computed.append(self._backward(batch))
            return computed[-1]["loss"]

        optimizer.step(closure)  # type: ignore[no-untyped-call]
        return computed[0]

    def after_epoch(self) -> None:
        """Step a scheduler that counts epochs."""
        if self._after_epoch:
            self.scheduler.step()

    def state(self) -> dict[str, Any]:
        """Return the state of the scheduler, the scaler and the gradients that wait for a step.

        Functions in the scheduler are the program's and left out.
        """
        found: dict[str, Any] = {}
        if self._sum.every > 1 or self._sum.scaler is not None:
            found["accumulation"] = self._sum.state(self._names())
        if self.scheduler is None:
            return found
        values = self.scheduler.state_dict().items()
        held = {key: pack(v, f"the scheduler's {key}") for key, v in values if not callable(v)}
        groups = {"groups": self._groups()}
        return {
            **found,
            "scheduler": {"class": self._scheduler_class(), "values": held, **groups},
        }

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Take back what `state` returned."""
        saved = state.get("scheduler", {"class": None})
        if saved["class"] != self._scheduler_class():
            raise ResumeError(
                f"the checkpoint has the state of the scheduler {saved['class']}; "
                f"here it is {self._scheduler_class()}"
            )
        self._sum.load_state(state.get("accumulation", {}), self._names())
        if self.scheduler is not None:
            values = unpack(part(saved, "values", dict, "the scheduler"))
            here, before = self._groups(), saved.get("groups")
            if before is not None and before != here:
                values = regrouped(values, self.scheduler.state_dict(), before, here)
            self.scheduler.load_state_dict(values)

    def _names(self) -> dict[int, str]:
        return variables_of(self.session.module).names_of_tensors()

    def _groups(self) -> list[list[str]]:
        """Return the names of the parameters of each group of the optimizer."""
        optimizer = named(self.optimizer, self._names())
        return [optimizer.names_in(group) for group in self.optimizer.param_groups]

    def _scheduler_class(self) -> str | None:
        return None if self.scheduler is None else type(self.scheduler).__qualname__


def check_scheduler(scheduler: Any) -> None:
    """Raise TypeError for what cannot be stepped and saved as schedulers are."""
    if isinstance(scheduler, ReduceLROnPlateau):
        raise TypeError("ReduceLROnPlateau needs a metric: step it in a callback of your own")
    if isinstance(scheduler, type) or not callable(getattr(scheduler, "state_dict", None)):
        raise TypeError(
            f"the scheduler is {described(scheduler)}; expected one of torch.optim.lr_scheduler, "
            "made with the optimizer"
        )


def refuse_foreign(module: nn.Module, optimizer: Optimizer) -> None:
    """Raise when *optimizer* would move nothing of *module*, as one made for another does."""
    ours = {id(parameter) for parameter in module.parameters()}
    moved = (id(p) for group in optimizer.param_groups for p in group["params"])
    if ours.isdisjoint(moved):
        raise ValueError(
            "the optimizer has none of the module's parameters; make it from module.parameters()"
        )


def supervised(loss: Any) -> Callable[[nn.Module, Any], Losses]:
    """Return the step that computes `loss(module(*inputs), target)` of `(*inputs, target)`."""

    def step(module: nn.Module, batch: Any) -> Losses:
        inputs, target = inputs_and_target(batch)
        return {"loss": loss(module(*inputs), target)}

    return step
