"""A callback with a state: it goes on counting where a killed run stopped."""

import math

import warmstart as ws


class StopEarly(ws.Callback):
    """End the training when a metric has not fallen for *patience* epochs."""

    key = "stop-early"  # what its state is saved under

    def __init__(self, metric="loss", patience=3):
        self.metric, self.patience = metric, patience
        self.best, self.waited = math.inf, 0

    def start(self, trainer):
        trainer.stopping = self.waited >= self.patience  # a run that it ended stays ended

    def after_epoch(self, trainer):
        value = trainer.metrics[self.metric]
        self.waited = 0 if value < self.best else self.waited + 1
        self.best = min(value, self.best)
        trainer.put("epochs-waited", self.waited)
        trainer.stopping = self.waited >= self.patience

    def state(self):
        return {"best": self.best, "waited": self.waited}

    def load_state(self, state):
        self.best, self.waited = state["best"], state["waited"]
