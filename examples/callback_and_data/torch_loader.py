"""A torch DataLoader that says and regains its place, so that a run over it can be resumed."""

import math

import torch
from torch.utils.data import DataLoader, Subset


class ResumableLoader:
    """Batches of *dataset*, in an order that depends on the seed and the pass alone."""

    def __init__(self, dataset, batch_size, *, seed=0, **options):
        self.dataset, self.batch_size, self.seed, self.options = dataset, batch_size, seed, options
        self.passes, self.position = 0, 0  # position: batches of this pass already handed out

    def __len__(self):
        return math.ceil(len(self.dataset) / self.batch_size)

    def __iter__(self):
        """Go on from the place it is at to the end of the pass."""
        generator = torch.Generator().manual_seed(self.seed * 1_000_003 + self.passes)
        order = torch.randperm(len(self.dataset), generator=generator).tolist()
        rest = Subset(self.dataset, order[self.position * self.batch_size :])
        for batch in DataLoader(rest, self.batch_size, generator=generator, **self.options):
            more, self.position = divmod(self.position + 1, len(self))
            self.passes += more
            yield batch

    def state(self):
        """Return the next batch to train on, not the next to prefetch."""
        return {"passes": self.passes, "position": self.position}

    def load_state(self, state):
        self.passes, self.position = state["passes"], state["position"]
