"""The story, step by step; each is a function that is given the telling and the engine."""

import random
import re
import shutil
from contextlib import suppress
from signal import SIGKILL

from ..files.diff import diff
from ..formats import locate
from .engines import Engine, engine_named, examples, installed
from .telling import StoryEnds, Telling, ended

SAVE_EVERY = 20  # steps, as in mnist_ext.py
STEPS = 45  # an epoch
EPOCHS = 8
KILLS = 3
LEAST_ACCURACY = 95.0  # per cent


def tell(telling: Telling, name: str, seed: int | None) -> None:
    """Tell all of it, and say at the end what was proved."""
    engine = engine_named(name)
    seed = random.SystemRandom().randrange(100_000) if seed is None else seed
    make_ready(telling, engine)
    with suppress(StoryEnds):
        train_base(telling)
        look_into(telling, engine)
        train_killed(telling, kill_steps(seed), seed)
        compare_runs(telling)
        compare_models(telling, engine)
        if name == "tf":
            carry_from_torch(telling)
        predict(telling)
    conclude(telling)


def make_ready(telling: Telling, engine: Engine) -> None:
    """Put the scripts into the folder, and remove what an earlier telling left there."""
    telling.folder.mkdir(parents=True, exist_ok=True)
    for made in ("model", "model_ext", "straight", "torch_model", "__pycache__"):
        shutil.rmtree(telling.folder / made, ignore_errors=True)
    for script in engine.scripts:
        shutil.copy(examples(engine.name) / script, telling.folder / script)
    telling.say(f"The main job in {engine.title}, on real handwritten digits.")
    telling.say(f"\n  $ cd {telling.folder}")


def train_base(telling: Telling) -> None:
    telling.step("Train a base model: one hidden layer, batch norm, AdamW with weight decay")
    done = telling.type("python mnist.py")
    telling.require("the training ended well", done.code == 0)


def look_into(telling: Telling, engine: Engine) -> None:
    telling.step(f"Look into its checkpoint, without {engine.title}")
    telling.type("warmstart ls model")
    telling.type(f"warmstart show model {engine.bias}")


def kill_steps(seed: int) -> list[int]:
    """Return the steps to be killed after, one in each third: inside epochs, not after a save.

    >>> kill_steps(1)
    [38, 216, 269]
    """
    draw = random.Random(seed)
    part = STEPS * EPOCHS // KILLS
    parts = [range(SAVE_EVERY + n * part, (n + 1) * part) for n in range(KILLS)]
    return [draw.choice([n for n in steps if n % STEPS and n % SAVE_EVERY]) for steps in parts]


def train_killed(telling: Telling, steps: list[int], seed: int) -> None:
    telling.step("Stack a second hidden layer on the first, which is frozen; be killed three times")
    telling.excerpt("mnist_ext.py", "frozen = ", "frozen.verify()")
    telling.say(f"\n  # SIGKILL after the steps {steps}, drawn with the seed {seed}.")
    telling.say("  # Meanwhile the same training runs undisturbed, into another folder:")
    straight = "python mnist_ext.py --model-ext-dir straight"
    telling.say(f"  $ {straight} &")
    with telling.start(straight) as undisturbed:
        for step in steps:
            be_killed(telling, step)
        done = telling.type("python mnist_ext.py")
        telling.require("the same command went on to the end", done.code == 0)
        done = ended(undisturbed)
        telling.require("so did the undisturbed run", done.code == 0)


def be_killed(telling: Telling, step: int) -> None:
    done = telling.type("python mnist_ext.py", run=f"kill {step} mnist_ext.py")
    telling.require(f"it ended by SIGKILL, after step {step}", done.code == -SIGKILL)
    latest = locate(telling.folder / "model_ext")[1].name
    telling.say(f"  # its latest checkpoint is {latest}")


def compare_runs(telling: Telling) -> None:
    telling.step("Compare the run that was killed with the one that was not")
    done = telling.type("warmstart diff model_ext straight --all")
    telling.prove("variables, slots and run state are the same, bit for bit", done.code == 0)
    done = telling.type("cmp model_ext/stats.jsonl straight/stats.jsonl")
    lines = (telling.folder / "straight/stats.jsonl").read_text().splitlines()
    telling.say(f"    # nothing: all {len(lines)} lines are equal; the last one is")
    telling.say(f"    {lines[-1]}")
    telling.prove("so are the lines of statistics", done.code == 0)


def compare_models(telling: Telling, engine: Engine) -> None:
    telling.step("Dump what inference needs, and see what the second training left untouched")
    telling.type("warmstart dump model mnist.npz")
    telling.type("warmstart dump model_ext mnist_ext.npz")
    telling.type("warmstart diff mnist.npz mnist_ext.npz")
    found = diff(telling.folder / "mnist.npz", telling.folder / "mnist_ext.npz")
    names = ", ".join(engine.frozen)
    telling.prove(f"frozen, bit for bit: {names}", found.same_tensors == engine.frozen)
    changed = tuple(change.name for change in found.changed)
    telling.prove(f"trained: {', '.join(engine.trained)}", changed == engine.trained)


def carry_from_torch(telling: Telling) -> None:
    telling.step("Carry the network trained in PyTorch into the TensorFlow graph")
    checkpoint = trained_in_torch(telling)
    if checkpoint is None:
        telling.say("  # left out: neither PyTorch nor a checkpoint of its demo is here")
        return
    telling.excerpt("from_torch.py", "RULES", "]")
    telling.excerpt("from_torch.py", "values = ", "print(ws.DictRestore")
    done = telling.type(f"python from_torch.py {checkpoint}")
    telling.prove("at least 95 % are right", accuracy(done.output) >= LEAST_ACCURACY)
    gap = re.search(r"at most (\S+)", done.output)
    telling.prove("the outputs are the same", gap is not None and float(gap[1]) < 1e-4)


def trained_in_torch(telling: Telling) -> str | None:
    """Return the checkpoint of the PyTorch demo, made now if PyTorch is there to do it."""
    if (telling.folder / "../torch/model/checkpoint").exists():
        return "../torch/model"
    if not installed("torch"):
        return None
    script = examples("torch") / "mnist.py"
    done = telling.type(f"python {script} --model-dir torch_model")
    telling.require("it was trained", done.code == 0)
    return "torch_model"


def predict(telling: Telling) -> None:
    telling.step("Load the dump for prediction, on digits that no training has seen")
    done = telling.type("python predict.py mnist_ext.npz")
    telling.prove("at least 95 % are right", accuracy(done.output) >= LEAST_ACCURACY)


def accuracy(output: str) -> float:
    """Return the per cent that a script has printed, 0 when it has printed none.

    >>> accuracy("97.5% of 360 held-out digits are right"), accuracy("Traceback")
    (97.5, 0.0)
    """
    found = re.search(r"([\d.]+)% of", output)
    return float(found[1]) if found else 0.0


def conclude(telling: Telling) -> None:
    n_proved, n_failed = len(telling.proved), len(telling.failed)
    telling.say(f"\n{n_proved} of {n_proved + n_failed} claims proved in {telling.seconds:.0f} s.")
    telling.say(f"All files are in {telling.folder}.")
    for claim in telling.failed:
        telling.say(f"  FAILED: {claim}")
