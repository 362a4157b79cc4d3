"""Whose names and axis orders a source has: said, known, or told by the ends of its names.

The ends of some names tell more than the format: a file of PyTorch may have been converted from
Keras, and keeps `kernel` in Keras' order of axes.
"""

from collections.abc import Iterable

from ...layer import CONVENTIONS
from ...names import leaf_of, without_output
from ...source import Source

TORCH, KERAS, FLAX = ({convention} for convention in CONVENTIONS)

#: What a variable is called only by those conventions.
DECISIVE: dict[str, set[str]] = {
    **dict.fromkeys(("weight", "running_mean", "running_var", "num_batches_tracked"), TORCH),
    **dict.fromkeys(("in_proj_weight", "in_proj_bias", "weight_ih", "weight_hh"), TORCH),
    **dict.fromkeys(("weight_ih_l0", "weight_hh_l0", "bias_ih_l0", "bias_hh_l0"), TORCH),
    "kernel": KERAS | FLAX,
    **dict.fromkeys(("embeddings", "moving_mean", "moving_variance", "recurrent_kernel"), KERAS),
    **dict.fromkeys(("depthwise_kernel", "pointwise_kernel", "EMA"), KERAS),  # EMA: Tensorpack
    "embedding": FLAX,
}

#: What others call their own variables too, so that it counts only where the rest says nothing.
HINTS: dict[str, set[str]] = {
    **dict.fromkeys(("gamma", "beta"), KERAS),
    **dict.fromkeys(("scale", "mean", "var"), FLAX),
}


def conventions_told_by(names: Iterable[str]) -> set[str]:
    """Return the conventions that may have given *names*; none where they contradict or are silent.

    >>> sorted(conventions_told_by(["fc.weight", "fc.bias"]))
    ['torch']
    >>> sorted(conventions_told_by(["fc/kernel", "norm/scale"])), conventions_told_by(["w", "b"])
    (['flax'], set())
    """
    ends = {leaf_of(without_output(name)) for name in names}
    told = [DECISIVE[end] for end in ends if end in DECISIVE]
    if not told:
        return set()
    found = set.intersection(*told)
    for hinted in sorted((HINTS[end] for end in ends if end in HINTS), key=sorted):
        found = found & hinted or found
    return found


def conventions_of(source: Source, said: str | None) -> set[str]:
    """Return the conventions that *source* may have; *said* is what its user said of it."""
    own = said or getattr(source, "convention", None)
    if own is not None:
        return {own}
    return conventions_told_by(n for n, spec in source.specs.items() if spec.role != "slot")
