"""Vocabularies: which row of a variable belongs to which word.

    VocabInfo("new.txt", 4, 2, "old.txt")      rows 0..3 are the words of new.txt, 4 and 5 are for
                                               words that are in none of it

A file has a word a line, which ends in "\\n" or "\\r\\n"; words are bytes, and a blank at the end
belongs to the word.  An empty line, a word that an old vocabulary has twice, and a size beyond the
end of a file are faults.  All this is as TensorFlow's GenerateVocabRemapping has it (2.21), but for
the mark of UTF-8 at the beginning of a file, which is no part of a word here.
"""

import os
from collections.abc import Iterable, Mapping, Sequence, Set
from dataclasses import dataclass
from itertools import repeat
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import RuleError, number_of
from ..sessions.base import Session
from ..spec import TensorSpec, shape_text
from .arguments import is_whole
from .encodings import utf8
from .remap import Drawn, Filling, First, Own, Places, Remap, Zeros

if TYPE_CHECKING:
    import numpy as np

#: A file with a word a line, or the words.
Vocabulary = str | os.PathLike[str] | Sequence[str | bytes]

#: What is the path of one.
PATHS = (str, os.PathLike)

#: What tells a VocabInfo, TensorFlow's own as well as this one.
FIELDS = ("new_vocab", "new_vocab_size", "num_oov_buckets", "old_vocab", "old_vocab_size",
          "backup_initializer", "axis")  # fmt: skip


@dataclass(frozen=True, slots=True)
class VocabInfo:
    """How a variable follows its vocabulary along one axis, in TensorFlow's words.

    Row i of the new variable is the old one's row of the same word.  *new_vocab* and *old_vocab*
    are files with a word a line, or lists of words; of the new one the first *new_vocab_size*
    words count, of the old one the first *old_vocab_size* (-1: all).  The variable has
    *num_oov_buckets* rows more, which are always new.

    *backup_initializer* makes the rows of words that the old vocabulary lacks, and of the buckets:
    None is zeros; "model" leaves the rows that the model itself has there; a function of
    (shape, dtype) of NumPy, or an initializer of the engine's framework, is asked for all of them
    together, as a tensor of the variable's shape with so many rows.

    *axis* is any axis of a variable of any rank and dtype, counted from the end when negative.
    """

    new_vocab: Vocabulary
    new_vocab_size: int
    num_oov_buckets: int
    old_vocab: Vocabulary
    old_vocab_size: int = -1
    backup_initializer: Any = None
    axis: int = 0

    def __post_init__(self) -> None:
        for field in ("new_vocab", "old_vocab"):
            object.__setattr__(self, field, checked_vocabulary(field, getattr(self, field)))
        refuse_small("new_vocab_size", self.new_vocab_size, 0)
        refuse_small("num_oov_buckets", self.num_oov_buckets, 0)
        if self.old_vocab_size != -1:
            refuse_small("old_vocab_size", self.old_vocab_size, 1, " or -1 for all of it")
        if not is_whole(self.axis):
            raise TypeError(f"axis is a whole number, not {self.axis!r}")
        backup = self.backup_initializer
        if not (backup is None or backup == "model" or callable(backup)):
            raise TypeError(
                'backup_initializer is None, "model", or a function of (shape, dtype), '
                f"not {backup!r}"
            )

    @property
    def size(self) -> int:
        """How many places the variable has along the axis, buckets included."""
        return self.new_vocab_size + self.num_oov_buckets


def as_vocab_infos(value: Any) -> tuple[VocabInfo, ...]:
    """Return one VocabInfo, ours or TensorFlow's, or a list with one for each axis, as a tuple."""
    if all(hasattr(value, field) for field in FIELDS):  # TensorFlow's is a tuple too
        return (as_vocab_info(value),)
    if isinstance(value, list | tuple) and value:
        return tuple(as_vocab_info(each) for each in value)
    raise TypeError(f"a vocabulary is a VocabInfo or a list of them, not {value!r}")


def as_vocab_info(value: Any) -> VocabInfo:
    """Return *value*, a VocabInfo of this library or of TensorFlow, as one of this library."""
    if isinstance(value, VocabInfo):
        return value
    if not all(hasattr(value, field) for field in FIELDS):
        raise TypeError(f"a vocabulary is a VocabInfo or a list of them, not {value!r}")
    return VocabInfo(*(getattr(value, field) for field in FIELDS))


def remap_of(infos: Sequence[VocabInfo], target: TensorSpec, session: Session) -> Remap:
    """Return how *target*, a variable of *session*, is made of an old one by *infos*.

    Raise RuleError when the variable is not as large as they say, or of a vocabulary's faults.
    """
    refuse_sizes(infos, target)
    places = tuple(places_of(info, filling(info, target, session)) for info in infos)
    return Remap(places, of_model=True)


def refuse_sizes(infos: Sequence[VocabInfo], target: TensorSpec) -> None:
    """Raise unless *target* has each axis of *infos* once, of the size that is said."""
    rank, shape = len(target.shape), shape_text(target.shape)
    axes = [info.axis for info in infos]
    absent = [axis for axis in axes if not -rank <= axis < rank]
    if absent:
        raise RuleError(f"{target.name!r} is {shape} and has no axis {absent[0]}")
    if len({axis % rank for axis in axes}) < len(axes):
        raise RuleError(f"{target.name!r} has two vocabularies for one axis: {axes}")
    for info in infos:
        if target.shape[info.axis] != info.size:
            raise RuleError(
                f"{target.name!r} is {shape}, so {target.shape[info.axis]} along axis {info.axis}; "
                f"new_vocab_size {info.new_vocab_size} and num_oov_buckets "
                f"{info.num_oov_buckets} make {info.size}"
            )


def places_of(info: VocabInfo, rows: Filling) -> Places:
    """Return which old row each new one is, new ones being made by *rows*."""
    known = places_in(info.new_vocab, info.new_vocab_size, info.old_vocab, info.old_vocab_size)
    origin = f"{called(info.old_vocab)} -> {called(info.new_vocab)}"
    return Places(info.axis, with_buckets(known, info.num_oov_buckets), rows, origin)


def places_between(old: Vocabulary, new: Vocabulary, axis: int, buckets: int) -> Places:
    """Return which old row each new one is, by all words of both; new ones are zeros."""
    old, new = checked_vocabulary("old", old), checked_vocabulary("new", new)
    known = places_in(new, None, old)
    return Places(axis, with_buckets(known, buckets), Zeros(), f"{called(old)} -> {called(new)}")


def with_buckets(places: "np.ndarray", count: int) -> "np.ndarray":
    """Return *places* with *count* new ones behind them."""
    import numpy as np

    return np.concatenate([places, np.full(count, -1, np.int64)])


def is_another_order(places: Places, old: Vocabulary) -> bool:
    """Return whether the new rows are those of all words of *old*, in another order."""
    return sorted(places.old.tolist()) == list(range(len(words_of(old))))


def filling(info: VocabInfo, target: TensorSpec, session: Session) -> Filling:
    """Return what the new rows of *target* hold."""
    if info.backup_initializer is None:
        return Zeros()
    if info.backup_initializer == "model":
        return Own(session, target.name)
    return Drawn(info.backup_initializer, session, target.name)


def following(remap: Remap, owner: TensorSpec, slot: TensorSpec, session: Session) -> Remap | None:
    """Return how *slot* follows its variable *owner*, which is made anew by *remap*.

    A slot is remapped along the axes that it shares with its variable; its new rows hold what the
    slot begins with.  None is for one that shares none: a number of steps.
    """
    rank = len(owner.shape)
    if len(slot.shape) != rank:
        return None
    shared = [p for p in remap.places if slot.shape[p.axis] == owner.shape[p.axis]]
    first = First(session, slot.name)
    places = tuple(Places(p.axis, p.old, first, p.origin) for p in shared)
    return Remap(places, of_model=True) if shared else None


def places_in(
    new: Vocabulary, new_size: int | None, old: Vocabulary, old_size: int = -1
) -> "np.ndarray":
    """Return for each of the first *new_size* words of *new* its place in *old*, or -1.

    Raise RuleError when a file cannot be read, is too short, or has what no vocabulary may have.
    """
    every = words_of(new)
    refuse_empty(every, new)
    words = first_of(every, len(every) if new_size is None else new_size, new, "new_vocab_size")
    known = words_of(old)
    known = first_of(known, len(known) if old_size == -1 else old_size, old, "old_vocab_size")
    refuse_empty(known, old)
    found = by_hash(words, known) if known else None
    return by_word(words, known, old) if found is None else found


def by_hash(words: list[bytes], known: list[bytes]) -> "np.ndarray | None":
    """Return the place of each of *words* in *known*, or -1; None if two of *known* hash alike.

    A million words take 0.4 s so, and 1.1 s by a dictionary, whose entries lie all over memory.
    """
    import numpy as np

    hashes = np.fromiter(map(hash, known), np.int64, len(known))
    order = np.argsort(hashes)
    hashes = hashes[order]
    wanted = np.fromiter(map(hash, words), np.int64, len(words))
    by_value = np.argsort(wanted)  # so that the search goes through memory once
    near = np.searchsorted(hashes, wanted[by_value]) % len(known)
    hit = hashes[near] == wanted[by_value]
    places = np.full(len(words), -1, np.int64)
    places[by_value[hit]] = order[near[hit]]
    (met,) = np.nonzero(places >= 0)
    same = np.array(known, object)[places[met]] == np.array(words, object)[met]
    return places if np.all(same) and not (hashes[1:] == hashes[:-1]).any() else None


def by_word(words: list[bytes], known: list[bytes], old: Vocabulary) -> "np.ndarray":
    """Return the place of each of *words* in *known*, or -1; raise if *known* has a word twice."""
    import numpy as np

    place = dict(zip(known, range(len(known)), strict=True))
    if len(place) < len(known):
        refuse_repeated(known, old)
    return np.fromiter(map(place.get, words, repeat(-1)), np.int64, len(words))


def words_of(vocabulary: Vocabulary) -> list[bytes]:
    """Return all words of *vocabulary*, in order."""
    if not isinstance(vocabulary, PATHS):
        return [as_bytes(word) if isinstance(word, str) else word for word in vocabulary]
    try:
        data = Path(vocabulary).read_bytes()
    except OSError as error:
        raise RuleError(f"the vocabulary {vocabulary} cannot be read: {error.strerror}") from error
    lines = utf8(data, f"the vocabulary {vocabulary}").split(b"\n")
    if not lines[-1]:
        lines.pop()
    return [line.removesuffix(b"\r") for line in lines] if b"\r" in data else lines


def as_bytes(word: str) -> bytes:
    """Return *word* as a file has it; what Python escaped of one that is not UTF-8 comes back."""
    try:
        return word.encode(errors="surrogateescape")
    except UnicodeEncodeError as error:
        raise RuleError(f"the word {word!a} of a vocabulary is no text: {error.reason}") from error


def first_of(words: list[bytes], size: int, vocabulary: Vocabulary, field: str) -> list[bytes]:
    """Return the first *size* of *words*, which must be so many."""
    if size > len(words):
        raise RuleError(
            f"the vocabulary {called(vocabulary)} has {number_of(len(words), 'word')}; "
            f"{field} is {size}"
        )
    return words[:size]


def refuse_empty(words: list[bytes], vocabulary: Vocabulary) -> None:
    """Raise if a line of a file is empty; a list may have an empty word."""
    if isinstance(vocabulary, PATHS) and b"" in words:
        raise RuleError(
            f"line {words.index(b'') + 1} of the vocabulary {called(vocabulary)} is empty; "
            "each line is a word"
        )


def refuse_repeated(words: list[bytes], vocabulary: Vocabulary) -> None:
    """Raise naming words that an old vocabulary has twice: which of the rows is meant is open."""
    first: dict[bytes, int] = {}
    twice = [
        f"{word.decode(errors='backslashreplace')!r} in {first[word]} and {line}"
        for line, word in enumerate(words, 1)
        if first.setdefault(word, line) != line
    ]
    more = ", ..." if len(twice) > 3 else ""
    raise RuleError(
        f"the old vocabulary {called(vocabulary)} has {number_of(len(twice), 'word')} in two "
        f"lines: {', '.join(twice[:3])}{more}"
    )


def called(vocabulary: Vocabulary) -> str:
    """Return what messages call *vocabulary*."""
    if isinstance(vocabulary, PATHS):
        return os.fspath(vocabulary)
    return f"a list of {len(vocabulary)} words"


def checked_vocabulary(field: str, value: Any) -> Vocabulary:
    """Return *value* as a vocabulary that cannot change any more, or raise TypeError."""
    if isinstance(value, PATHS):
        return value
    if isinstance(value, Mapping | Set):
        raise TypeError(
            f"{field} is a list of words in the order of their rows, and a {type(value).__name__} "
            "has none; of a dict from words to rows: sorted(words, key=words.get)"
        )
    words = tuple(value) if isinstance(value, Iterable) and not isinstance(value, bytes) else None
    if words is None or not all(isinstance(word, str | bytes) for word in words):
        raise TypeError(
            f"{field} is the path of a file with a word a line, or a list of words, not {value!r}"
        )
    return words


def refuse_small(field: str, value: Any, least: int, otherwise: str = "") -> None:
    """Raise unless *value* is a whole number of at least *least*."""
    if not is_whole(value):
        raise TypeError(f"{field} is a whole number, not {value!r}")
    if value < least:
        raise ValueError(f"{field} is at least {least}{otherwise}, not {value}")
