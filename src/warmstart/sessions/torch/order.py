"""The order of a pass over a PyTorch loader's data: which examples make up each batch.

It depends on the seed and the pass alone.  Samplers that take a generator are given one, those
that count epochs are told the pass, and any other runs with random numbers of its own.  Going to a
place means leaving out indices; no example is loaded for it.
"""

from collections.abc import Iterator
from itertools import islice
from typing import Any

import torch
from torch.utils.data import (
    BatchSampler,
    DataLoader,
    DistributedSampler,
    RandomSampler,
    SequentialSampler,
    SubsetRandomSampler,
    WeightedRandomSampler,
)

from .dice import Dice, generators_in, words

#: What else than batches takes random numbers: the first number after seed and pass.
SAMPLER, SAMPLERS_GENERATOR, WORKERS = -1, -2, -3

#: Samplers that draw from no other generator than the one they are given.
KNOWN = {
    BatchSampler, DistributedSampler, RandomSampler, SequentialSampler, SubsetRandomSampler,
    WeightedRandomSampler,
}  # fmt: skip


def samplers_of(loader: "DataLoader[Any]") -> list[Any]:
    """Return the samplers of *loader*, from the outermost inwards."""
    found: list[Any] = []
    each: Any = loader.batch_sampler if loader.batch_sampler is not None else loader.sampler
    while each is not None and not any(each is one for one in found):
        found.append(each)
        each = getattr(each, "sampler", None) or getattr(each, "batch_sampler", None)
    return found


def generator_for(*numbers: int) -> torch.Generator:
    """Return a generator whose numbers depend on *numbers* alone."""
    high, low, *_ = words(numbers).tolist()
    return torch.Generator().manual_seed(high << 32 | low)


def order_of(loader: "DataLoader[Any]", seed: int, passes: int, begin: int) -> Iterator[Any]:
    """Yield what each batch of a pass is made of, from the batch *begin* on.

    An index, or whatever else the sampler of *loader* yields, where it makes no batches.
    """
    begin_pass(loader, seed, passes)
    samplers = samplers_of(loader)
    outer = samplers[0]
    if type(outer) is BatchSampler:
        indices = indices_of(outer.sampler, begin * outer.batch_size)
        batches = chunks(indices, outer.batch_size, outer.drop_last)
    else:
        batches = indices_of(outer, begin)
    if {type(each) for each in samplers} <= KNOWN:
        return batches
    return drawn(batches, Dice((seed, passes, SAMPLER), generators_in(samplers)))


def begin_pass(loader: "DataLoader[Any]", seed: int, passes: int) -> None:
    """Tell the samplers of *loader* which pass it is that they are asked for next."""
    for number, sampler in enumerate(samplers_of(loader)):
        if hasattr(sampler, "generator"):
            sampler.generator = generator_for(seed, passes, SAMPLERS_GENERATOR, number)
        set_epoch = getattr(sampler, "set_epoch", None)
        if callable(set_epoch):
            set_epoch(passes)


def indices_of(sampler: Any, begin: int) -> Iterator[Any]:
    """Yield what *sampler* yields, from the element *begin* on."""
    if type(sampler) is SequentialSampler:
        yield from range(begin, len(sampler))
    elif type(sampler) is RandomSampler and is_permutation(sampler):
        order = torch.randperm(len(sampler), generator=sampler.generator)
        yield from order[begin:].tolist()
    else:
        yield from islice(sampler, begin, None)


def is_permutation(sampler: RandomSampler) -> bool:
    """Return whether a pass of *sampler* has each example once."""
    return not sampler.replacement and sampler.num_samples == len(sampler.data_source)


def chunks(indices: Iterator[Any], size: int, drop_last: bool) -> Iterator[list[Any]]:
    """Yield *indices* in lists of *size*."""
    while chunk := list(islice(indices, size)):
        if len(chunk) == size or not drop_last:
            yield chunk


def drawn(batches: Iterator[Any], dice: Dice) -> Iterator[Any]:
    """Yield *batches*, each made with the random numbers of *dice*."""
    while True:
        with dice:
            batch = list(islice(batches, 1))
        if not batch:
            return
        yield batch[0]
