"""Layers that lie in several ways in one framework, and those that have no equal."""

import numpy as np
import pytest
import torch
from torch import nn

import warmstart as ws
from warmstart.errors import RuleError
from warmstart.layer import Layer
from warmstart.source import DictSource
from warmstart.spec import TensorSpec
from warmstart.testing.memory import MemorySession


class Model(MemorySession):
    """A model of a convention, with layers, that computes nothing."""

    def __init__(self, convention, layers, shapes, aliases=None):
        specs = [TensorSpec(name, "float32", shape, "trainable") for name, shape in shapes.items()]
        super().__init__(specs, aliases)
        self.convention = convention
        self._layers = layers

    def layers(self):
        return self._layers


def model(convention, kind, shapes, **options):
    leaves = {leaf: f"layer/{leaf}" for leaf in shapes}
    layer = Layer(kind, "layer", leaves, options)
    return Model(convention, [layer], {leaves[leaf]: shape for leaf, shape in shapes.items()})


def numbered(*shape):
    return np.arange(np.prod(shape), dtype=np.float32).reshape(shape)


def run_rnn(module, x):
    with torch.no_grad():
        return module(torch.from_numpy(x))[0].numpy()


@pytest.fixture
def x():
    return np.random.default_rng(1).normal(size=(2, 5, 6)).astype(np.float32)


def test_a_bidirectional_lstm_of_two_layers_becomes_cells_of_keras(
    x, keras_layers, with_other_values
):
    import keras

    module = nn.LSTM(6, 4, 2, batch_first=True, bidirectional=True)
    source = with_other_values(ws.session_for(nn.ModuleDict({"lstm": module})))
    both = [keras.layers.Bidirectional(keras.layers.LSTM(4, return_sequences=True)) for _ in "ab"]
    both[1](both[0](x))
    places = {
        f"b{i}/{way}": ("lstm", getattr(one, f"{way}_layer"), {})
        for i, one in enumerate(both)
        for way in ("forward", "backward")
    }
    rules = [
        "rename lstm.*_l0_reverse -> b0/backward/*_l0",
        "rename lstm.*_l0 -> b0/forward/*_l0",
        "rename lstm.*_l1_reverse -> b1/backward/*_l0",
        "rename lstm.*_l1 -> b1/forward/*_l0",
    ]
    ws.SmartInit(source, rules=rules).init(keras_layers(places))
    found = keras.ops.convert_to_numpy(both[1](both[0](x)))
    np.testing.assert_allclose(found, run_rnn(module, x), rtol=1e-5, atol=1e-5)


def test_cells_of_keras_become_a_bidirectional_lstm_of_two_layers(
    x, keras_layers, with_other_values
):
    import keras

    both = [keras.layers.Bidirectional(keras.layers.LSTM(4, return_sequences=True)) for _ in "ab"]
    both[1](both[0](x))
    places = {
        f"b{i}/{way}": ("lstm", getattr(one, f"{way}_layer"), {})
        for i, one in enumerate(both)
        for way in ("forward", "backward")
    }
    source = with_other_values(keras_layers(places))
    module = nn.LSTM(6, 4, 2, batch_first=True, bidirectional=True)
    rules = ["rename b?/forward/* -> lstm/l?/*", "rename b?/backward/* -> lstm/l?_reverse/*"]
    ws.SmartInit(source, rules=rules).init(nn.ModuleDict({"lstm": module}))
    found = keras.ops.convert_to_numpy(both[1](both[0](x)))
    np.testing.assert_allclose(run_rnn(module, x), found, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(("cell", "kind"), [("LSTMCell", "lstm"), ("GRUCell", "gru")])
def test_cells_of_linen_and_pytorch_compute_the_same(cell, kind, x, with_other_values):
    import jax
    from flax import linen

    rnn = linen.RNN(getattr(linen, cell)(4))
    drawn = rnn.init(jax.random.key(0), x)["params"]["cell"]
    drawn = jax.tree.map(lambda leaf: jax.random.normal(jax.random.key(1), leaf.shape), drawn)
    flat = {
        f"cell/{dense}/{leaf}": np.asarray(drawn[dense][leaf])
        for dense in drawn
        for leaf in drawn[dense]
    }
    module = {"lstm": nn.LSTM, "gru": nn.GRU}[kind](6, 4, batch_first=True)
    init = ws.DictRestore(flat, rules="rename cell/* -> rnn/*")
    report = init.init(nn.ModuleDict({"rnn": module}))
    expected = np.asarray(rnn.apply({"params": {"cell": drawn}}, x))
    np.testing.assert_allclose(run_rnn(module, x), expected, rtol=1e-5, atol=1e-5)
    assert len(report.loaded) == 4

    session = with_other_values(ws.session_for(nn.ModuleDict({"rnn": module})))
    shapes = {name.removeprefix("cell/"): array.shape for name, array in flat.items()}
    target = model("flax", kind, shapes)
    ws.SmartInit(session, rules="rename rnn.* -> layer/*").init(target)
    back = {dense: {leaf: target.read(f"layer/{dense}/{leaf}") for leaf in drawn[dense]}
            for dense in drawn}  # fmt: skip
    found = np.asarray(rnn.apply({"params": {"cell": back}}, x))
    np.testing.assert_allclose(found, run_rnn(module, x), rtol=1e-5, atol=1e-5)


def test_a_gru_of_nnx_becomes_one_of_pytorch(x, nnx_layers, with_other_values):
    from flax import nnx

    cell = nnx.GRUCell(6, 4, rngs=nnx.Rngs(0))
    source = with_other_values(nnx_layers({"gru": ("gru", cell, {})}))
    module = nn.GRU(6, 4, batch_first=True)
    report = ws.SmartInit(source).init(nn.ModuleDict({"gru": module}))
    assert "fill 0" in report.transformed["gru.bias_hh_l0"]
    expected = np.asarray(nnx.RNN(cell, rngs=nnx.Rngs(0))(x))
    np.testing.assert_allclose(run_rnn(module, x), expected, rtol=1e-5, atol=1e-5)


def test_attention_whose_keys_have_another_width(with_other_values):
    import keras

    query = np.random.default_rng(1).normal(size=(2, 5, 6)).astype(np.float32)
    other = np.random.default_rng(2).normal(size=(2, 4, 3)).astype(np.float32)
    module = nn.MultiheadAttention(6, 2, kdim=3, vdim=3, batch_first=True)
    source = with_other_values(ws.session_for(nn.ModuleDict({"layer": module})))
    layer = keras.layers.MultiHeadAttention(2, 3)
    layer(query, other)
    shapes = {v.path.split("/", 1)[1]: tuple(v.shape) for v in layer.variables}
    target = model("keras", "multi_head_attention", shapes)
    ws.SmartInit(source).init(target)
    for variable in layer.variables:
        variable.assign(target.read(f"layer/{variable.path.split('/', 1)[1]}"))
    tensors = [torch.from_numpy(array) for array in (query, other, other)]
    expected = module(*tensors)[0].detach().numpy()
    found = keras.ops.convert_to_numpy(layer(query, other))
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)


def test_projections_by_hand_become_attention():
    source = {f"layer.{p}_proj.weight": numbered(4, 4) for p in "qkv"}
    source["layer.out_proj.weight"] = numbered(4, 4)
    shapes = {f"{part}/kernel": (4, 2, 2) for part in ("query", "key", "value")}
    target = model("flax", "multi_head_attention", {**shapes, "out/kernel": (2, 2, 4)})
    report = ws.DictRestore(source).init(target)
    assert report.missing == report.unused == ()
    np.testing.assert_array_equal(
        target.read("layer/query/kernel"), numbered(4, 4).T.reshape(4, 2, 2)
    )


def test_attention_by_the_attributes_of_keras():
    source = {f"layer/{part}_dense/kernel": numbered(4, 2, 2) for part in ("query", "key", "value")}
    source["layer/output_dense/kernel"] = numbered(2, 2, 4)
    shapes = {"in_proj_weight": (12, 4), "out_proj.weight": (4, 4)}
    target = model("torch", "multi_head_attention", shapes)
    report = ws.DictRestore(source).init(target)
    assert report.missing == report.unused == ()
    np.testing.assert_array_equal(
        target.read("layer/out_proj.weight"), numbered(2, 2, 4).reshape(4, 4).T
    )


def test_both_directions_may_stand_in_scopes_of_their_own():
    shapes = {f"{way}_layer/cell/kernel": (2, 12) for way in ("forward", "backward")}
    target = model("keras", "lstm", shapes, layers=1, bidirectional=True)
    source = {f"layer/{way}_layer/weight_ih_l0": numbered(12, 2) for way in ("forward", "backward")}
    ws.DictRestore(source).init(target)
    np.testing.assert_array_equal(
        target.read("layer/backward_layer/cell/kernel"), numbered(12, 2).T
    )


def test_a_dense_layer_with_several_axes_of_outputs():
    target = model("keras", "dense", {"kernel": (3, 2, 2), "bias": (2, 2)})
    ws.DictRestore({"layer.weight": numbered(4, 3), "layer.bias": numbered(4)}).init(target)
    np.testing.assert_array_equal(target.read("layer/kernel"), numbered(4, 3).T.reshape(3, 2, 2))
    np.testing.assert_array_equal(target.read("layer/bias"), numbered(2, 2))


def test_the_report_says_what_was_done_to_which_variable():
    target = model("keras", "conv", {"kernel": (3, 3, 2, 4), "bias": (4,)})
    source = {"layer.weight": numbered(4, 2, 3, 3), "layer.bias": numbered(4)}
    report = ws.DictRestore(source).init(target)
    assert report.transformed == {"layer/kernel": "transpose 2 3 1 0"}
    assert report.renamed == {"layer/kernel": "layer.weight", "layer/bias": "layer.bias"}


def test_in_the_same_convention_nothing_is_done():
    target = model("keras", "dense", {"kernel": (3, 3)})
    report = ws.DictRestore({"layer/kernel": numbered(3, 3)}).init(target)
    assert report.transformed == {}
    np.testing.assert_array_equal(target.read("layer/kernel"), numbered(3, 3))


def test_what_was_said_of_a_layout_counts_more_than_names():
    target = model("keras", "dense", {"kernel": (3, 3)})
    report = ws.DictRestore({"layer/kernel": numbered(3, 3)}, layout="torch").init(target)
    assert report.transformed == {"layer/kernel": "transpose 1 0"}


def test_a_layout_is_one_of_three():
    with pytest.raises(
        RuleError,
        match=r"no layout is called 'pytorch' \(near it: torch\); known: torch, keras, flax",
    ):
        ws.SmartInit({}, layout="pytorch")


def test_a_chain_gives_its_layout_to_members_that_have_none():
    target = model("keras", "dense", {"kernel": (3, 3), "bias": (3,)})
    first = ws.DictRestore({"layer/kernel": numbered(3, 3)}, layout="keras")
    report = ws.ChainInit([first, {"layer/bias": numbered(3)}], layout="torch").init(target)
    assert report.transformed == {}


def test_names_that_contradict_each_other_tell_nothing():
    target = model("keras", "dense", {"kernel": (3, 3)})
    source = {"layer/kernel": numbered(3, 3), "other.weight": numbered(2)}
    assert ws.DictRestore(source).init(target).transformed == {}


def test_a_variable_that_its_user_renamed_alone_is_turned_as_well():
    target = model("keras", "dense", {"kernel": (3, 4), "bias": (4,)})
    source = {"fc.weight": numbered(4, 3), "fc.bias": numbered(4)}
    rules = {"fc.weight": "layer/kernel", "fc.bias": "layer/bias"}
    ws.DictRestore(source, rules=rules).init(target)
    np.testing.assert_array_equal(target.read("layer/kernel"), numbered(4, 3).T)


def test_tied_tensors_fill_layers_of_their_own():
    layers = [
        Layer("embedding", "embed", {"embeddings": "embed/embeddings"}),
        Layer("dense", "head", {"kernel": "head/kernel"}),
    ]
    target = Model("keras", layers, {"embed/embeddings": (5, 2), "head/kernel": (2, 5)})
    source = DictSource({"embed.weight": numbered(5, 2)}, aliases={"head.weight": "embed.weight"})
    ws.SmartInit(source).init(target)
    np.testing.assert_array_equal(target.read("embed/embeddings"), numbered(5, 2))
    np.testing.assert_array_equal(target.read("head/kernel"), numbered(5, 2).T)


def test_statistics_may_stand_in_another_collection():
    layer = Layer(
        "batch_norm",
        "norm",
        {
            "scale": "params/norm/scale",
            "bias": "params/norm/bias",
            "mean": "batch_stats/norm/mean",
            "var": "batch_stats/norm/var",
        },
    )
    target = Model("flax", [layer], dict.fromkeys(layer.variables.values(), (2,)))
    source = {f"norm.{leaf}": numbered(2) for leaf in ("weight", "bias", "running_mean")}
    source |= {"norm.running_var": numbered(2) + 1, "norm.num_batches_tracked": np.int64(3)}
    report = ws.DictRestore(source).init(target)
    assert set(report.loaded) == set(target.specs)
    assert report.unused == ()
    assert report.dropped == ("norm.num_batches_tracked",)


def test_what_does_not_fit_after_all_is_said_with_what_was_done():
    target = model("keras", "dense", {"kernel": (3, 10), "bias": (10,)})
    source = {"layer.weight": numbered(4, 3), "layer.bias": numbered(4)}
    with pytest.raises(ws.RestoreMismatch) as error:
        ws.DictRestore(source).init(target)
    assert "layer/kernel  model float32 (3, 10)  checkpoint float32 (3, 4) after transpose 1 0" in (
        str(error.value)
    )


def test_a_layout_that_nothing_tells_is_asked_for_where_shapes_are_turned():
    target = model("keras", "dense", {"kernel": (3, 4)})
    with pytest.raises(ws.RestoreMismatch, match=r'layer/kernel are in another order.*layout="tor'):
        ws.DictRestore({"w": numbered(4, 3)}, rules={"w": "layer/kernel"}).init(target)


def test_a_layer_that_cannot_be_carried_can_be_left_out():
    target = model("keras", "gru", {"kernel": (2, 9)}, reset_after=False)
    source = {"layer.weight_ih_l0": numbered(9, 2), "layer.bias_hh_l0": numbered(9)}
    with pytest.raises(RuleError, match="To leave one out, drop its names by a rule"):
        ws.DictRestore(source).init(target)
    report = ws.DictRestore(source, rules="drop layer.*").init(target)
    assert report.loaded == ()


FAULTS = [
    (
        model("torch", "gru", {"weight_ih_l0": (9, 2), "bias_ih_l0": (9,), "bias_hh_l0": (9,)}),
        {"layer/kernel": numbered(2, 9), "layer/bias": numbered(9)},
        r"layer \(gru\) of the dict: Keras' GRU with reset_after=False resets before the matrix "
        "product.*Build it with reset_after=True",
    ),
    (
        model("keras", "gru", {"kernel": (2, 9), "bias": (9,)}, reset_after=False),
        {"layer.weight_ih_l0": numbered(9, 2), "layer.bias_ih_l0": numbered(9)},
        "reset_after=False",
    ),
    (
        model("keras", "gru", {"kernel": (2, 9)}, reset_after=False),
        {"layer.weight_ih_l0": numbered(9, 2)},
        "reset_after=False",
    ),
    (
        model("flax", "gru", {"dense_i/kernel": (2, 9), "dense_i/bias": (9,)}),
        {"layer.weight_ih_l0": numbered(9, 2), "layer.bias_hh_l0": numbered(9)},
        "nnx.GRUCell has no recurrent bias",
    ),
    (
        model("keras", "lstm", {"kernel": (2, 12)}),
        {"layer.weight_ih_l0": numbered(12, 2), "layer.weight_hr_l0": numbered(2, 3)},
        r"it projects its output \(proj_size\)",
    ),
    (
        model("keras", "multi_head_attention", {"query/kernel": (2, 1, 2)}),
        {"layer.in_proj_weight": numbered(6, 2), "layer.bias_k": numbered(1, 1, 2)},
        r"a further key and value \(add_bias_kv\)",
    ),
    (
        model("torch", "conv_transpose", {"weight": (2, 3, 3)}),
        {"layer/kernel": numbered(3, 3, 2)},
        'it lies otherwise in flax and keras: say layout="flax" or layout="keras"',
    ),
]


@pytest.mark.parametrize(("target", "source", "words"), FAULTS, ids=range(len(FAULTS)))
def test_what_cannot_be_carried_is_an_error_that_says_why(target, source, words):
    with pytest.raises(RuleError, match=f"(?s)these layers cannot be carried over:.*{words}"):
        ws.DictRestore(source).init(target)


def test_two_tensors_for_one_variable_are_an_error():
    target = model("keras", "dense", {"kernel": (2, 3)})
    source = {"layer.weight": numbered(3, 2), "layer/kernel": numbered(3, 2)}
    with pytest.raises(RuleError, match=r"layer.weight and layer/kernel are both its kernel: drop"):
        ws.DictRestore(source, layout="torch").init(target)


def test_all_layers_that_cannot_be_carried_are_named():
    layers = [
        Layer("gru", path, {"kernel": f"{path}/kernel"}, {"reset_after": False}) for path in "ab"
    ]
    target = Model("keras", layers, {"a/kernel": (2, 9), "b/kernel": (2, 9)})
    source = {f"{path}.weight_ih_l0": numbered(9, 2) for path in "ab"}
    with pytest.raises(RuleError, match=r"(?s)  a \(gru\).*\n  b \(gru\)"):
        ws.DictRestore(source).init(target)


@pytest.mark.parametrize(("inputs", "groups"), [(6, 6), (1, 1)])
def test_a_depthwise_kernel_does_not_fit_one_of_other_groups(inputs, groups):
    kernel = np.ones((3, 3, 3, 2), np.float32)  # of 3 inputs, 2 outputs for each
    model = nn.ModuleDict({"dw": nn.Conv2d(inputs, 6, 3, groups=groups, bias=False)})
    with pytest.raises(ws.RestoreMismatch, match=r"checkpoint float32 \(2, 3, 3, 3\)"):
        ws.DictRestore({"dw/depthwise_kernel": kernel}).init(model)


@pytest.mark.parametrize("rules", [(), {"fc.weight": "fc.weight"}])
def test_slots_of_a_square_kernel_that_is_turned_are_not_restored_as_they_lie(rules):
    kernel = np.arange(4, dtype=np.float32).reshape(2, 2)
    slots = {f"fc.weight/{slot}": kernel for slot in ("exp_avg", "exp_avg_sq")}
    arrays = {"fc.weight": kernel, "fc.weight/step": np.float32(3), **slots}
    model = nn.ModuleDict({"fc": nn.Linear(2, 2, bias=False)})
    session = ws.session_for(model, optimizer=torch.optim.Adam(model.parameters()))
    report = ws.DictRestore(arrays, rules=rules, layout="keras").init(session)
    assert model["fc"].weight.tolist() == kernel.T.tolist()
    assert report.loaded == ("fc.weight",)
    assert report.slots.fresh == ("fc.weight",)
    assert "lost    fc.weight/{exp_avg,exp_avg_sq,step}" in str(report)
    assert "begins anew, since its variable has other axes here" in str(report)


def test_layers_that_a_model_ties_must_be_equal_in_the_checkpoint():
    model = nn.ModuleDict({"e": nn.Embedding(3, 2), "out": nn.Linear(2, 3, bias=False)})
    model["out"].weight = model["e"].weight
    rows = np.arange(6, dtype=np.float32).reshape(3, 2)
    report = ws.DictRestore({"e/embeddings": rows, "out/kernel": rows.T}).init(model)
    assert model["e"].weight.tolist() == rows.tolist()
    assert report.dropped == ()
    with pytest.raises(ws.errors.NameConflict, match="'e/embeddings' and 'out/kernel' differ"):
        ws.DictRestore({"e/embeddings": rows, "out/kernel": rows.T + 1}).init(model)
