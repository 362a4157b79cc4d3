"""What real Keras makes, we name as it does; what we write, real Keras loads."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

from warmstart import DictSource
from warmstart.formats import keras as keras_format
from warmstart.formats import keras_h5

L = keras.layers
pytestmark = pytest.mark.filterwarnings("ignore")  # of the framework, on its own past


@pytest.fixture(autouse=True)
def _fresh_names() -> None:
    keras.backend.clear_session()
    keras.utils.set_random_seed(3)


def sequential() -> Any:
    return keras.Sequential(
        [L.Input((4,)), L.Dense(3), L.BatchNormalization(), L.Dense(2, name="head")]
    )


def functional() -> Any:
    start = L.Input((4,))
    inner = keras.Sequential([L.Input((4,)), L.Dense(4)], name="inner")
    wide = L.Reshape((4, 1))(inner(start))
    attended = L.MultiHeadAttention(2, 2)(wide, wide)
    read = L.Bidirectional(L.GRU(2))(L.LayerNormalization()(attended))
    return keras.Model(start, L.Dense(2)(read))


class Net(keras.Model):  # type: ignore[misc]
    """Layers in containers, some of them in containers of their own."""

    def __init__(self) -> None:
        super().__init__(name="net")
        self.blocks = [L.Dense(4), [L.Dense(4), L.Dense(4)]]
        self.by_name = {"a": L.Dense(4), "b": L.Dense(2)}

    def call(self, x: Any) -> Any:
        x = self.blocks[1][1](self.blocks[1][0](self.blocks[0](x)))
        return self.by_name["b"](self.by_name["a"](x))


def subclassed() -> Any:
    return Net()


MODELS = [sequential, functional, subclassed]
X = np.linspace(-1, 1, 12, dtype=np.float32).reshape(3, 4)


def trained(model: Any) -> Any:
    """Return *model*, built, with something else in every slot."""
    model.build((None, 4))
    model.compile(keras.optimizers.Adam(), keras.losses.MeanSquaredError())
    filled(model.optimizer, model)
    return model


def filled(optimizer: Any, model: Any) -> None:
    """Put different values into all that *optimizer* keeps (training takes seconds to compile)."""
    optimizer.build(model.trainable_variables)
    for i, each in enumerate(optimizer.variables):
        each.assign(np.full(each.shape, i))


def same_weights(a: Any, b: Any) -> bool:
    """Return whether two models have the same weights in the same places."""
    pairs = zip(a.get_weights(), b.get_weights(), strict=True)
    return all(np.array_equal(one, other) for one, other in pairs)


@pytest.mark.parametrize("make", MODELS)
def test_names_and_values_are_those_of_the_model(make: Callable[[], Any], tmp_path: Path) -> None:
    model = trained(make())
    model.save_weights(tmp_path / "m.weights.h5")
    with keras_format.open_source(tmp_path / "m.weights.h5", verify=True) as source:
        for each in model.weights:
            np.testing.assert_array_equal(source.read(each.path), np.asarray(each), strict=True)


@pytest.mark.parametrize("make", MODELS)
def test_weights_that_we_write_are_loaded(make: Callable[[], Any], tmp_path: Path) -> None:
    model = trained(make())
    model.save_weights(tmp_path / "like.weights.h5")
    arrays = {each.path: np.asarray(each) for each in model.weights}
    for each in model.weights:
        each.assign(np.zeros(each.shape))
    keras_format.save_source(
        DictSource(arrays), tmp_path / "m.weights.h5", like=tmp_path / "like.weights.h5"
    )
    model.load_weights(tmp_path / "m.weights.h5")
    for each in model.weights:
        np.testing.assert_array_equal(np.asarray(each), arrays[each.path])


def test_outputs_are_equal(tmp_path: Path) -> None:
    model = trained(sequential())
    before = np.asarray(model(X))
    model.save(tmp_path / "m.keras")
    with keras_format.open_source(tmp_path / "m.keras", verify=True) as source:
        keras_format.save_source(source, tmp_path / "ours.weights.h5")
    model.set_weights([array * 0 for array in model.get_weights()])
    model.load_weights(tmp_path / "ours.weights.h5")
    np.testing.assert_array_equal(np.asarray(model(X)), before)


@pytest.mark.parametrize("make", [sequential, functional])
def test_a_model_that_we_write_goes_on_where_it_was(
    make: Callable[[], Any], tmp_path: Path
) -> None:
    model = trained(make())
    model.save(tmp_path / "m.keras")
    with keras_format.open_source(tmp_path / "m.keras", verify=True) as source:
        keras_format.save_source(source, tmp_path / "ours.keras")
        slots = {source.aliases[each.path] for each in model.optimizer.variables}
        assert {name for name, s in source.specs.items() if s.role in ("slot", "run")} == slots
    other = keras.models.load_model(tmp_path / "ours.keras")
    assert same_weights(other, model)
    ours = [np.asarray(each) for each in other.optimizer.variables]
    theirs = [np.asarray(each) for each in model.optimizer.variables]
    assert all(np.array_equal(a, b) for a, b in zip(ours, theirs, strict=True))


@pytest.mark.parametrize("make", [sequential, functional])
def test_a_legacy_model_that_we_write_is_loaded(make: Callable[[], Any], tmp_path: Path) -> None:
    model = trained(make())
    model.save(tmp_path / "m.h5")
    with keras_h5.open_source(tmp_path / "m.h5", verify=True) as source:
        assert {each.path for each in model.weights} <= set(source.specs)
        keras_h5.save_source(source, tmp_path / "ours.h5")
        copied = DictSource(source.read_all())
    keras_h5.save_source(copied, tmp_path / "like.h5", like=tmp_path / "m.h5")
    for name in ("ours.h5", "like.h5"):
        other = keras.models.load_model(tmp_path / name, compile=False)
        assert same_weights(other, model)
        assert other.layers[-1].name == model.layers[-1].name


def test_weights_by_name_are_loaded_from_plain_names(tmp_path: Path) -> None:
    model = keras.Sequential(
        [L.Input((4,)), L.Dense(2, name="fc"), L.BatchNormalization(name="bn")]
    )
    arrays = {f"fc/{n}": a for n, a in (("kernel", np.ones((4, 2))), ("bias", np.full(2, 3.0)))}
    kinds = ("gamma", "beta", "moving_mean", "moving_variance")
    arrays |= {f"bn/{name}": np.full(2, i + 1.0) for i, name in enumerate(kinds)}
    keras_h5.save_source(DictSource(arrays), tmp_path / "m.h5")
    model.load_weights(tmp_path / "m.h5", by_name=True)
    found = {each.path.partition("/")[2]: np.asarray(each) for each in model.weights}
    assert {name: array.tolist() for name, array in found.items()} == {
        name: array.tolist() for name, array in arrays.items()
    }


def test_bfloat16_goes_both_ways(tmp_path: Path) -> None:
    model = keras.Sequential([L.Input((4,)), L.Dense(2, dtype="bfloat16")])
    model.save_weights(tmp_path / "m.weights.h5")
    before = [np.asarray(each).copy() for each in model.weights]
    with keras_format.open_source(tmp_path / "m.weights.h5", verify=True) as source:
        assert [spec.dtype for spec in source.specs.values()] == ["bfloat16", "bfloat16"]
        keras_format.save_source(source, tmp_path / "ours.weights.h5")
    model.set_weights([np.zeros_like(array) for array in before])
    model.load_weights(tmp_path / "ours.weights.h5")
    assert all(np.array_equal(np.asarray(a), b) for a, b in zip(model.weights, before, strict=True))


#: One layer of each kind whose variables are known, and the shape of what it takes.
KINDS: dict[str, tuple[Callable[[], Any], tuple[int, ...]]] = {
    "dense": (lambda: L.Dense(2), (4,)),
    "dense-without-bias": (lambda: L.Dense(2, use_bias=False), (4,)),
    "einsum": (lambda: L.EinsumDense("ab,bc->ac", 2, bias_axes="c"), (4,)),
    "conv1d": (lambda: L.Conv1D(2, 2), (4, 3)),
    "conv2d": (lambda: L.Conv2D(2, 2), (4, 4, 3)),
    "conv3d": (lambda: L.Conv3D(2, 2), (4, 4, 4, 3)),
    "conv2d-transpose": (lambda: L.Conv2DTranspose(2, 2), (4, 4, 3)),
    "depthwise": (lambda: L.DepthwiseConv2D(2), (4, 4, 3)),
    "separable": (lambda: L.SeparableConv2D(2, 2), (4, 4, 3)),
    "batch-normalization": (L.BatchNormalization, (4,)),
    "batch-normalization-unscaled": (lambda: L.BatchNormalization(scale=False), (4,)),
    "layer-normalization": (L.LayerNormalization, (4,)),
    "layer-normalization-uncentred": (lambda: L.LayerNormalization(center=False), (4,)),
    "group-normalization": (lambda: L.GroupNormalization(2), (4,)),
    "rms-normalization": (L.RMSNormalization, (4,)),
    "normalization": (L.Normalization, (4,)),
    "prelu": (L.PReLU, (4,)),
    "simple-rnn": (lambda: L.SimpleRNN(2), (3, 4)),
    "lstm": (lambda: L.LSTM(2), (3, 4)),
    "gru": (lambda: L.GRU(2, use_bias=False), (3, 4)),
    "conv-lstm": (lambda: L.ConvLSTM1D(2, 2), (3, 4, 2)),
    "time-distributed": (lambda: L.TimeDistributed(L.Dense(2)), (3, 4)),
    "bidirectional": (lambda: L.Bidirectional(L.LSTM(2)), (3, 4)),
}


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_layer_has_its_variables(kind: str, tmp_path: Path) -> None:
    make, shape = KINDS[kind]
    start = L.Input(shape)
    model = keras.Model(start, make()(start))
    model.save(tmp_path / "m.keras")
    with keras_format.open_source(tmp_path / "m.keras", verify=True) as source:
        aliases = source.aliases
        assert set(source.specs) == {aliases.get(v.path, v.path) for v in model.weights}
        for each in model.weights:
            np.testing.assert_array_equal(source.read(each.path), np.asarray(each))


OPTIMIZERS: dict[str, dict[str, Any]] = {
    "Adam": {}, "Adam-amsgrad": {"amsgrad": True}, "AdamW": {}, "SGD": {}, "Adagrad": {},
    "SGD-momentum": {"momentum": 0.9}, "RMSprop": {}, "Adadelta": {}, "Adamax": {}, "Ftrl": {},
    "RMSprop-all": {"momentum": 0.9, "centered": True}, "Lion": {}, "Lamb": {},
    "Adam-average": {"use_ema": True}, "Adam-steps": {"gradient_accumulation_steps": 2},
}  # fmt: skip


@pytest.mark.parametrize("kind", OPTIMIZERS)
def test_every_kind_of_optimizer_has_its_slots(kind: str, tmp_path: Path) -> None:
    model = sequential()
    optimizer = getattr(keras.optimizers, kind.partition("-")[0])(**OPTIMIZERS[kind])
    model.compile(optimizer, keras.losses.MeanSquaredError())
    filled(optimizer, model)
    model.save(tmp_path / "m.keras")
    with keras_format.open_source(tmp_path / "m.keras", verify=True) as source:
        for each in optimizer.variables:
            np.testing.assert_array_equal(source.read(each.path), np.asarray(each))
