"""Run every benchmark, one after another, and keep what they print in bench/results/.

python bench/run.py               all
python bench/run.py io trainer    these
"""

import subprocess
import sys
import time
from pathlib import Path

FOLDER = Path(__file__).parent
RESULTS = FOLDER / "results"


def scripts(names):
    """Return the scripts called *names*, or all there are, in order of name."""
    found = {path.stem: path for path in sorted(FOLDER.glob("*.py")) if path != Path(__file__)}
    unknown = [name for name in names if name not in found]
    if unknown:
        raise SystemExit(f"no benchmark is called {unknown}; there are {list(found)}")
    return [found[name] for name in names or found]


def run(script):
    """Run *script*, show what it prints as it comes, and keep it; return its exit code."""
    print(f"\n== {script.name}", flush=True)
    began = time.monotonic()
    with (RESULTS / f"{script.stem}.txt").open("w") as kept:
        process = subprocess.Popen(
            [sys.executable, script], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        for line in process.stdout:
            print(line, end="", flush=True)
            kept.write(line)
    print(f"== {script.name}: {time.monotonic() - began:.0f} s", flush=True)
    return process.wait()


if __name__ == "__main__":
    RESULTS.mkdir(exist_ok=True)
    failed = [script.name for script in scripts(sys.argv[1:]) if run(script)]
    raise SystemExit(f"failed: {failed}" if failed else 0)
