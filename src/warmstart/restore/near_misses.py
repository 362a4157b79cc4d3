"""Names that were nearly equal: which unused tensor a missing variable may have been meant to get.

Only tensors of the same shape come into question.  Equal words win (`fc.weight` for `fc/kernel`),
then one name ending in the other (`module.fc.weight`), then likeness in spelling; a suggestion is
made only when it is the best by itself.
"""

from collections.abc import Iterable, Mapping
from difflib import SequenceMatcher

from ..names import words
from ..spec import TensorSpec

#: Words for one thing in different frameworks.
SYNONYMS = {
    "weight": "kernel", "weights": "kernel", "w": "kernel",
    "biases": "bias", "b": "bias",
    "scale": "gamma", "beta": "bias",
    "running": "moving", "var": "variance",
    "embedding": "embeddings",
}  # fmt: skip

#: Spelling is compared for this many names with this many others: each takes some 50 microseconds.
MAX_COMPARED = 40

#: How alike spellings must be, from 0 to 1.
LIKENESS = 0.75

Words = tuple[str, ...]


Specs = Mapping[str, TensorSpec]
Index = dict[tuple[tuple[int, ...], Words], list[str]]  # by shape and words


def nearest(missing: Specs, unused: Specs) -> dict[str, str]:
    """Return for those of *missing* that have one the nearest of *unused*."""
    whole: Index = {}
    ends: Index = {}
    for name, spec in unused.items():
        whole.setdefault((spec.shape, plain_words(name)), []).append(name)
        for end in shorter_ends(plain_words(name)):
            ends.setdefault((spec.shape, end), []).append(name)
    found = {name: by_words(name, spec, whole, ends) for name, spec in missing.items()}
    for name in [name for name in missing if found[name] is None][:MAX_COMPARED]:
        alike = [n for n, spec in unused.items() if spec.shape == missing[name].shape]
        found[name] = by_spelling(name, alike[:MAX_COMPARED])
    return {name: old for name, old in found.items() if old is not None}


def by_words(name: str, spec: TensorSpec, whole: Index, ends: Index) -> str | None:
    """Return the only tensor with the words of *name*, or with more or fewer in front of them."""
    own = plain_words(name)
    candidates = [whole.get((spec.shape, own)), ends.get((spec.shape, own))]
    candidates += [whole.get((spec.shape, end)) for end in shorter_ends(own)]
    found = next(filter(None, candidates), [])
    return found[0] if len(found) == 1 else None


def by_spelling(name: str, others: Iterable[str]) -> str | None:
    """Return the one of *others* whose spelling is most like that of *name*, if it is enough."""
    own = " ".join(plain_words(name))
    likeness = {o: SequenceMatcher(None, own, " ".join(plain_words(o))).ratio() for o in others}
    best = max(likeness.values(), default=0.0)
    winners = [other for other, ratio in likeness.items() if ratio == best]
    return winners[0] if best >= LIKENESS and len(winners) == 1 else None


def plain_words(name: str) -> Words:
    """Return the words of *name*, the last two of them in one framework's words."""
    own = words(name)
    return own[:-2] + tuple(SYNONYMS.get(word, word) for word in own[-2:])


def shorter_ends(own: Words) -> list[Words]:
    """Return the ends of *own* that still have two words, the longest first."""
    return [own[i:] for i in range(1, len(own) - 1)]
