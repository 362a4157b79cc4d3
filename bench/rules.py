"""Planning a restore of 100,000 tensors under 50 rules: names renamed, scopes moved, values turned.

Nothing is read.  Beside it what any library would pay at the least: 50 compiled regexes tried on
each name, in a loop.  The fastest of five, in seconds of this process.
"""

import re
import time
from contextlib import ExitStack

from warmstart import SmartInit
from warmstart.source import ListedSource
from warmstart.spec import TensorSpec
from warmstart.testing.memory import MemorySession

N, REPEATS, TARGET = 100_000, 5, 1.0

#: What is in a layer: name in the checkpoint, name in the model, shape in the checkpoint.
LEAVES = [
    ("attn/q/kernel", "attn.q.weight", (4, 4)), ("attn/q/bias", "attn.q.bias", (4,)),
    ("attn/k/kernel", "attn.k.weight", (4, 4)), ("attn/k/bias", "attn.k.bias", (4,)),
    ("mlp/up/kernel", "mlp.up.weight", (4, 8)), ("mlp/up/bias", "mlp.up.bias", (8,)),
    ("mlp/down/kernel", "mlp.down.weight", (8, 4)), ("mlp/down/bias", "mlp.down.bias", (4,)),
    ("ln/scale", "ln.weight", (4,)), ("ln/bias", "ln.bias", (4,)),
]  # fmt: skip

#: Fifty rules, of which each name meets two or three.
RULES = [
    *(f"scope model/stage_{i}/layer_* -> blocks.{i}.*" for i in range(20)),
    *(rf"rename re:(blocks\.{i}\.\d+)\.(.*)\.kernel -> \1.\2.weight" for i in range(20)),
    "rename *.ln.scale -> *.ln.weight", "drop *.up.bias",
    "transpose *.q.weight", "transpose *.k.weight: 1 0", "transpose *.up.weight",
    "transpose *.down.weight: 1 0", *(f"drop blocks.{i}.5.attn.k.bias" for i in range(4)),
]  # fmt: skip


class Listed(ListedSource):
    """A checkpoint of which only the names and shapes matter."""

    def __init__(self, specs):
        self._specs = specs

    def read(self, name):
        raise AssertionError("a plan reads nothing")


def both_sides():
    """Return the specs of the checkpoint and of the model."""
    checkpoint, model = {}, []
    for i in range(N // len(LEAVES)):
        for leaf, own, shape in LEAVES:
            name = f"model/stage_{i % 20}/layer_{i // 20}/{leaf}"
            checkpoint[name] = TensorSpec(name, "float32", shape)
            target = f"blocks.{i % 20}.{i // 20}.{own}"
            model.append(TensorSpec(target, "float32", shape[::-1], "trainable"))
    return checkpoint, model


def fastest(action):
    """Return the fewest seconds that *action* takes, and what it returned last."""
    best = float("inf")
    for _ in range(REPEATS):
        result = None  # what was made before takes no room
        began = time.process_time()
        result = action()
        best = min(best, time.process_time() - began)
    return best, result


def tried(names):
    """Return how many names match, each tried with as many regexes as there are rules."""
    regexes = [re.compile(rf"model/stage_{i}/.*/kernel") for i in range(len(RULES))]
    return sum(1 for regex in regexes for name in names if regex.fullmatch(name))


def main():
    checkpoint, model = both_sides()
    init, session = SmartInit(Listed(checkpoint), rules=RULES), MemorySession(model)
    with ExitStack() as stack:
        ruled, _ = fastest(lambda: init.parts(session, stack))
    planned, plan = fastest(lambda: init.plan(session))
    naive, _ = fastest(lambda: tried(list(checkpoint)))
    print(f"{len(checkpoint)} names, {len(RULES)} rules, {len(plan.matches)} variables filled")
    print(f"rules alone      {ruled:.2f} s")
    print(f"the whole plan   {planned:.2f} s  (target {TARGET} s)")
    print(f"a naive loop     {naive:.2f} s: the plan takes {planned / naive:.1f} times as long")


if __name__ == "__main__":
    main()
