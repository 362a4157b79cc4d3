"""Damage checkpoints and read them, for as long as wished.

    python fuzz/run.py [FORMAT ...] --seconds 600           edits at random, every format in turn
    python fuzz/run.py gguf --seconds 600 --guided          atheris: whatever reaches new code

A finding is kept in fuzz/findings/ with what is needed to try it again, and counted once for each
place in the code that raises it:

    python fuzz/run.py --again fuzz/findings/gguf-1234
"""

import argparse
import hashlib
import json
import random
import resource
import sys
import tempfile
import time
import traceback
from collections import Counter
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

FINDINGS = Path(__file__).parent / "findings"
MOST_MEMORY = 6 << 30


def main() -> int:
    arguments = parsed()
    resource.setrlimit(resource.RLIMIT_AS, (MOST_MEMORY, MOST_MEMORY))
    if arguments.guided:
        return guided(arguments)
    import harness
    import seeds

    if arguments.again:
        seed = json.loads((arguments.again / "input.json").read_text())
        seeds.seeds_of(seed["format"])  # so that modules are imported before, and are no findings
        print(harness.tried(arguments.again / "files" / seed["path"], seed["format"]))
        return 0
    chosen = arguments.formats or seeds.formats.format_names()
    return at_random(chosen, arguments.seconds, arguments.seed)


def parsed() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Damage checkpoints and read them.")
    parser.add_argument("formats", nargs="*", help="names of formats; all without any")
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--seed", type=int, default=None, help="of the random edits")
    parser.add_argument("--guided", action="store_true", help="use atheris; one format")
    parser.add_argument("--again", type=Path, help="a folder in fuzz/findings to try again")
    return parser.parse_args()


class Tally:
    """What came of all inputs; findings are kept, each place in the code once."""

    def __init__(self) -> None:
        self.outcomes: dict[str, Counter[str]] = {}
        self.places: set[str] = set()

    def add(
        self, seed, files: dict[str, bytes], folder: Path, *, verify: bool, traced: bool
    ) -> None:
        """Try *files*, which were made of *seed*."""
        import harness
        import seeds

        seeds.put(files, folder)
        outcomes = self.outcomes.setdefault(seed.format, Counter())
        try:
            outcomes[
                harness.tried(folder / seed.path, seed.format, verify=verify, traced=traced)
            ] += 1
        except harness.Finding as finding:
            outcomes["FOUND"] += 1
            self.keep(seed, files, finding)

    def keep(self, seed, files: dict[str, bytes], finding: Exception) -> None:
        """Keep an input that a reader did not bear."""
        import seeds

        cause = finding.__cause__ or finding
        frames = traceback.extract_tb(cause.__traceback__)
        ours = [
            f"{Path(f.filename).name}:{f.lineno}" for f in frames if "/warmstart/" in f.filename
        ]
        place = f"{seed.format} {type(cause).__name__} {ours[-1:] or str(finding)[:60]}"
        if place in self.places:
            return
        self.places.add(place)
        digest = hashlib.sha256(repr(sorted(files.items())).encode()).hexdigest()[:8]
        folder = FINDINGS / f"{seed.format}-{digest}"
        seeds.put(files, folder / "files")
        told = {"format": seed.format, "path": seed.path, "finding": str(finding)[:2000],
                "where": ours}  # fmt: skip
        (folder / "input.json").write_text(json.dumps(told, indent=1))
        print(
            f"FOUND {folder.name}: {finding}\n      at {' < '.join(reversed(ours[-4:]))}",
            flush=True,
        )

    def told(self) -> str:
        """Return a line for each format."""
        total = sum(sum(each.values()) for each in self.outcomes.values())
        lines = [
            f"{name:12} {sum(each.values()):>9,} inputs: "
            + ", ".join(f"{n:,} {what}" for what, n in sorted(each.items()))
            for name, each in self.outcomes.items()
        ]
        return "\n".join([*lines, f"{'all':12} {total:>9,} inputs, {len(self.places)} findings"])


def at_random(chosen: list[str], seconds: float, seed: int | None) -> int:
    """Try edits at random; what a child reads gets few, for each takes it half a second."""
    import mutations
    import seeds

    number = random.randrange(2**32) if seed is None else seed
    rng, tally = random.Random(number), Tally()
    print(f"--seed {number}", flush=True)
    every = [each for name in chosen for each in seeds.seeds_of(name)]
    quick = [each for each in every if not each.in_child] or every
    end = time.monotonic() + seconds
    with tempfile.TemporaryDirectory() as folder:
        count = 0
        while time.monotonic() < end:
            count += 1
            each = rng.choice(every if count % 400 == 0 else quick)
            files = mutations.edited(each.files, mutations.random_edits(rng))
            tally.add(
                each, files, Path(folder) / "x", verify=rng.random() < 0.5, traced=count % 8 == 0
            )
    print(tally.told())
    return 1 if tally.places else 0


def guided(arguments: argparse.Namespace) -> int:
    """Let atheris choose: the bytes of the main file for a format of one, else a list of edits."""
    import atheris

    with atheris.instrument_imports(include=["warmstart"]):
        import harness  # noqa: F401
        import mutations
        import seeds

        for name in seeds.formats.format_names():
            seeds.formats.format_named(name)
        every = [s for name in arguments.formats for s in seeds.seeds_of(name)]
    tally = Tally()
    folder = Path(tempfile.mkdtemp())
    FINDINGS.mkdir(exist_ok=True)

    def one(data: bytes) -> None:
        each = every[data[0] % len(every)] if data else every[0]
        if len(each.files) == 1:
            files = dict.fromkeys(each.files, data[1:])
        else:
            edits = [
                mutations.Edit(
                    d[0], d[1], int.from_bytes(d[2:6], "big"), int.from_bytes(d[6:], "big")
                )
                for d in (data[i : i + 10] for i in range(1, len(data) - 9, 10))
            ]
            files = mutations.edited(each.files, edits[:8])
        tally.add(each, files, folder, verify=False, traced=False)

    corpus = Path(tempfile.mkdtemp())
    for i, each in enumerate(every):
        raw = next(iter(each.files.values())) if len(each.files) == 1 else random.randbytes(20)
        (corpus / str(i)).write_bytes(bytes([i]) + raw)
    atheris.Setup(
        [sys.argv[0], str(corpus), f"-max_total_time={int(arguments.seconds)}",
         "-rss_limit_mb=6000", "-timeout=60", "-verbosity=1", f"-artifact_prefix={FINDINGS}/"],
        one,
    )  # fmt: skip
    atheris.Fuzz()
    return 0


if __name__ == "__main__":
    sys.exit(main())
