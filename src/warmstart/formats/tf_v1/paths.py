"""The files of a checkpoint of version 1, and the one that a path means, as people type it.

PREFIX                             one file
PREFIX-00000-of-00002              shard 0 of 2
PREFIX-?????-of-00002              how TensorFlow calls all shards together, and so do we
"""

import re
from collections.abc import Collection
from contextlib import suppress
from pathlib import Path

from ...errors import CheckpointError, CheckpointNotFound
from ..tf_bundle.pointer import candidates, is_pointer, is_table, names_in
from ..tf_bundle.state import FILE_NAME

SHARD = re.compile(r"(?P<prefix>.+)-(?P<shard>\d{5,}|\?{5})-of-(?P<shards>\d{5,})", re.DOTALL)

#: What other tables are called: indexes of bundles, files of LevelDB.
OTHERS = (".index", ".ldb", ".sst")


def locate(path: Path) -> Path | None:
    """Return the file, or the pattern of the shards, that *path* means; None when it means none."""
    if path.is_dir():
        return latest(path)
    if is_pointer(path):
        return pointed(path)
    return named(path)


def named(path: Path) -> Path | None:
    """Return the checkpoint that is called *path*, by itself, by its prefix or by a shard."""
    match = SHARD.fullmatch(path.name)
    if match and (path.is_file() or "?" in match["shard"]):
        pattern = pattern_of(path.with_name(match["prefix"]), int(match["shards"]))
        if shards_of(pattern):
            return pattern
    if path.name and is_table(path):
        return path
    counts = {
        int(match["shards"])
        for match in map(SHARD.fullmatch, names_in(path.parent))
        if match and match["prefix"] == path.name and match["shard"].isdigit()
    }
    patterns = [pattern for n in sorted(counts) if shards_of(pattern := pattern_of(path, n))]
    if len(patterns) > 1:
        raise CheckpointNotFound(
            f"{path} is the prefix of {len(patterns)} sharded checkpoints; open one of them: "
            f"{', '.join(pattern.name for pattern in patterns)}"
        )
    return patterns[0] if patterns else None


def pattern_of(prefix: Path, count: int) -> Path:
    """Return the path that stands for all *count* shards of *prefix*."""
    return prefix.with_name(f"{prefix.name}-?????-of-{count:05d}")


def files_of(path: Path) -> list[Path]:
    """Return the file that *path* is, or all those that its pattern stands for, there or not."""
    match = SHARD.fullmatch(path.name)
    if not match or "?" not in match["shard"]:
        return [path]
    count = int(match["shards"])
    there = shards_of(path)
    missing = range(min(count, len(there) + MOST_MISSING))
    paths = {n: path.with_name(f"{match['prefix']}-{n:05d}-of-{count:05d}") for n in missing}
    return [path for _, path in sorted({**paths, **there}.items())]


#: How many missing shards are named at most: a file's name may claim any number.
MOST_MISSING = 1000


def shards_of(pattern: Path) -> dict[int, Path]:
    """Return by number the shards that are there of those that *pattern* stands for."""
    wanted = SHARD.fullmatch(pattern.name)
    found = {}
    for name in names_in(pattern.parent) if wanted else ():
        match = SHARD.fullmatch(name)
        if match and wanted and match["shard"].isdigit() and same_set(match, wanted):
            found[int(match["shard"])] = pattern.with_name(name)
    return {shard: path for shard, path in sorted(found.items()) if is_table(path)}


def same_set(a: re.Match[str], b: re.Match[str]) -> bool:
    """Return whether two shards, or a shard and a pattern, are of one checkpoint."""
    within = all(int(m["shard"]) < int(m["shards"]) for m in (a, b) if m["shard"].isdigit())
    return within and a.group("prefix", "shards") == b.group("prefix", "shards")


def found_in(folder: Path, names: Collection[str]) -> dict[Path, list[Path]]:
    """Return each sharded checkpoint in *folder* with its files; see `Format.found_in`."""
    shards = (match for match in map(SHARD.fullmatch, sorted(names)) if match)
    sets = dict.fromkeys((m["prefix"], int(m["shards"])) for m in shards)
    found: dict[Path, list[Path]] = {}
    for path in (pattern_of(folder / prefix, n) for prefix, n in sets):
        with suppress(CheckpointError):  # what cannot be read is told when it is opened
            found[path] = list(shards_of(path).values())
    return {path: files for path, files in found.items() if files}


def latest(folder: Path) -> Path | None:
    """Return the latest checkpoint in *folder*, as `tf_bundle.latest` does for bundles."""
    if is_pointer(folder / FILE_NAME):
        return pointed(folder / FILE_NAME)
    return max(checkpoints(folder), key=age, default=None)


def checkpoints(folder: Path) -> list[Path]:
    """Return every checkpoint of version 1 in *folder*."""
    names = [name for name in names_in(folder) if not name.endswith(OTHERS)]
    found = [named(folder / name) for name in names if is_table(folder / name)]
    return list(dict.fromkeys(path for path in found if path is not None))


def age(path: Path) -> tuple[int, float]:
    """Return what orders checkpoints by age: the step at the end of the name, then the time."""
    match = SHARD.fullmatch(path.name)
    step = re.search(r"(\d+)$", match["prefix"] if match else path.name)
    there = next(file for file in files_of(path) if file.exists())
    return int(step[1]) if step else -1, there.stat().st_mtime


def pointed(file: Path) -> Path | None:
    """Return the checkpoint that *file*, like `checkpoint`, points to, if it is one of these."""
    return next(filter(None, map(named, candidates(file))), None)
