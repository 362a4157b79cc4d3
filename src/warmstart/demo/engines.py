"""What differs between the engines in the story: names, and what a script needs."""

from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from ..errors import CheckpointNotFound, MissingDependency

#: What every telling has.
SCRIPTS = ("mnist.py", "mnist_ext.py", "predict.py", "diff.sh")


@dataclass(frozen=True, slots=True)
class Engine:
    """One telling of the story."""

    name: str
    title: str
    package: str  # the framework, as it is imported
    bias: str  # of the pretrained layer, to look at
    frozen: tuple[str, ...]  # the pretrained layer with its batch norm
    trained: tuple[str, ...]  # what both models have beside it
    scripts: tuple[str, ...] = SCRIPTS


ENGINES = {
    "torch": Engine(
        name="torch",
        title="PyTorch",
        package="torch",
        bias="mnist.hidden.bias",
        frozen=(
            "mnist.hidden.bias",
            "mnist.hidden.weight",
            "mnist.norm.bias",
            "mnist.norm.num_batches_tracked",
            "mnist.norm.running_mean",
            "mnist.norm.running_var",
            "mnist.norm.weight",
        ),
        trained=("mnist.logits.bias", "mnist.logits.weight"),
    ),
    "tf": Engine(
        name="tf",
        title="TensorFlow",
        package="tensorflow",
        scripts=(*SCRIPTS, "batch_norm.py", "from_torch.py"),
        bias="mnist/hidden/bias",
        frozen=(
            "mnist/hidden/bias",
            "mnist/hidden/kernel",
            "mnist/norm/beta",
            "mnist/norm/gamma",
            "mnist/norm/moving_mean",
            "mnist/norm/moving_variance",
        ),
        trained=("mnist/logits/bias", "mnist/logits/kernel"),
    ),
    "keras": Engine(
        name="keras",
        title="Keras",
        package="keras",
        bias="hidden/bias",
        frozen=(
            "hidden/bias",
            "hidden/kernel",
            "norm/beta",
            "norm/gamma",
            "norm/moving_mean",
            "norm/moving_variance",
        ),
        trained=("logits/bias", "logits/kernel"),
    ),
    "jax": Engine(
        name="jax",
        title="JAX",
        package="flax",
        bias="mnist/hidden/bias",
        frozen=(
            "mnist/hidden/bias",
            "mnist/hidden/kernel",
            "mnist/norm/bias",
            "mnist/norm/mean",
            "mnist/norm/scale",
            "mnist/norm/var",
        ),
        trained=("mnist/logits/bias", "mnist/logits/kernel"),
    ),
}


def engine_named(name: str) -> Engine:
    """Return the engine called *name*; raise when what its story needs is not installed."""
    if name not in ENGINES:
        raise ValueError(f"no engine is called {name!r}; known: {', '.join(ENGINES)}")
    engine = ENGINES[name]
    missing = [package for package in (engine.package, "sklearn") if not installed(package)]
    if missing:
        raise MissingDependency(
            f"the demo with {name} needs {' and '.join(missing)}: "
            f"pip install 'warmstart[{name},demo]'"
        )
    return engine


def installed(package: str) -> bool:
    """Return whether *package* could be imported; it is not."""
    return find_spec(package) is not None


def examples(engine: str) -> Path:
    """Return the folder of the example scripts: in the package, or in a checkout beside it."""
    package = Path(__file__).parent
    for folder in (package / "examples", package.parents[2] / "examples"):
        if (folder / engine / "mnist.py").is_file():
            return folder / engine
    raise CheckpointNotFound(f"the example scripts are neither in {package} nor beside it")
