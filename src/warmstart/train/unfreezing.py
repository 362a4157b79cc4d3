"""Layers that begin to train one group after another."""

import logging
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from ..errors import CheckpointError, described
from ..freezing.frozen import Frozen, refuse_idle, texts
from ..names import Pattern, as_patterns, idle, selected
from ..sessions.base import Session
from .callback import Callback

if TYPE_CHECKING:
    from .trainer import Trainer

log = logging.getLogger("warmstart")

#: The epoch of what never trains.
NEVER = 0


class GradualUnfreezing(Callback):
    """Let variables train from an epoch on, and hold all others still until then.

        GradualUnfreezing({1: ["head/*"], 3: ["block4/*"], 5: ["block3/*", "block2/*"]})

    What no pattern matches never trains; the statistics of a frozen normalisation layer are held
    as well.  Every group is proved unmoved when its epoch begins, and the rest at the end of the
    run, when all is thawed.  Optimizer state stays what it is while a variable is frozen, and a
    resumed run goes on with what was frozen then.
    """

    key = "gradual-unfreezing"

    def __init__(self, epochs: Mapping[int, Pattern | Iterable[Pattern]]) -> None:
        """Take the patterns of what begins to train in which epoch, counted from 1."""
        if not isinstance(epochs, Mapping):
            raise TypeError(
                f"GradualUnfreezing takes epoch -> patterns, not {described(epochs)}; such as "
                '{1: "head/*", 3: "encoder/*"}'
            )
        wrong = [epoch for epoch in epochs if not isinstance(epoch, int) or epoch < 1]
        if wrong or not epochs:
            raise ValueError(
                f"GradualUnfreezing takes epoch -> patterns, of epochs from 1 on; not {wrong}"
            )
        self.epochs = {epoch: tuple(as_patterns(epochs[epoch])) for epoch in sorted(epochs)}
        self._held: dict[int, Frozen] = {}  # by the epoch that ends it

    def start(self, trainer: "Trainer") -> None:
        begin = first_epochs(trainer.session, self.epochs)
        groups: dict[int, list[str]] = {}
        for name, epoch in begin.items():
            groups.setdefault(epoch, []).append(name)
        try:
            for epoch, names in sorted(groups.items()):
                if epoch == NEVER or epoch > trainer.epoch:
                    self._held[epoch] = Frozen(trainer.session, trainer.session.freeze(names))
        except CheckpointError:
            self._thaw()
            raise

    def after_epoch(self, trainer: "Trainer") -> None:
        held = self._held.get(trainer.epoch + 1)
        if held is not None:
            held.verify()
            del self._held[trainer.epoch + 1]
            held.thaw()
            log.info("from epoch %d on train: %s", trainer.epoch + 1, ", ".join(held.names))

    def stop(self, trainer: "Trainer") -> None:
        for held in self._held.values() if trainer.finished else ():
            held.verify()
        self._thaw()

    def _thaw(self) -> None:
        """Let all train again that is held."""
        held, self._held = self._held, {}
        for each in held.values():
            each.thaw()

    def state(self) -> dict[str, Any]:
        return {"epochs": {str(epoch): texts(each) for epoch, each in self.epochs.items()}}

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Warn when the run that goes on had other patterns: what they say counts from here on."""
        if state != self.state():
            log.warning(
                "another schedule of unfreezing: the checkpoint has %s, and from here on it is %s",
                state["epochs"],
                self.state()["epochs"],
            )


def first_epochs(session: Session, epochs: Mapping[int, tuple[Pattern, ...]]) -> dict[str, int]:
    """Return trainable variable -> the epoch in which it begins to train, or NEVER.

    Raise FreezeError naming every pattern that matches none.
    """
    names = {name: name for name, spec in session.specs.items() if spec.role == "trainable"}
    names |= {alias: name for alias, name in session.aliases.items() if name in names}
    every = [pattern for each in epochs.values() for pattern in each]
    refuse_idle(idle(names, every), names, "trainable variables")
    begin = dict.fromkeys(names.values(), NEVER)
    for epoch, patterns in epochs.items():
        for name in selected(names, patterns):
            begin[names[name]] = begin[names[name]] or epoch
    return begin
