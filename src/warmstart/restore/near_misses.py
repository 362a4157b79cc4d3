"""Names that were nearly equal: which unused tensor a missing variable may have been meant to get.

Only tensors of the same shape come into question.  Equal words win (`fc.weight` for `fc/kernel`),
then one name ending in the other (`module.fc.weight`), then an equal last word (`head.weight` for
`out.weight`), then likeness in spelling; a suggestion is made only when it is the best by itself.
"""

from collections.abc import Callable, Iterable, Mapping
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
    whole = indexed(unused, lambda own: [own])
    ends = indexed(unused, shorter_ends)
    alone = {key for key, names in indexed(missing, last_word).items() if len(names) == 1}
    lasts = {key: n for key, n in indexed(unused, last_word).items() if key in alone}
    found = {name: by_words(name, spec, whole, ends, lasts) for name, spec in missing.items()}
    for name in [name for name in missing if found[name] is None][:MAX_COMPARED]:
        alike = [n for n, spec in unused.items() if spec.shape == missing[name].shape]
        found[name] = by_spelling(name, alike[:MAX_COMPARED])
    return {name: old for name, old in found.items() if old is not None}


def indexed(specs: Specs, keys: Callable[[Words], Iterable[Words]]) -> Index:
    """Return the names in *specs* by shape and by what *keys* makes of their words."""
    index: Index = {}
    for name, spec in specs.items():
        for key in keys(plain_words(name)):
            index.setdefault((spec.shape, key), []).append(name)
    return index


def by_words(name: str, spec: TensorSpec, whole: Index, ends: Index, lasts: Index) -> str | None:
    """Return the only tensor with the words of *name*, or others in front of their end."""
    own = plain_words(name)
    candidates = [whole.get((spec.shape, own)), ends.get((spec.shape, own))]
    candidates += [whole.get((spec.shape, end)) for end in shorter_ends(own)]
    candidates.append(lasts.get((spec.shape, own[-1:])))
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


def last_word(own: Words) -> list[Words]:
    """Return the last word of *own* by itself."""
    return [own[-1:]]
