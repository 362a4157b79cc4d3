"""Every kind of layer in every framework: carried over, it computes the same."""

import numpy as np
import pytest
import torch
from torch import nn

import warmstart as ws

HEADS, FEATURES = 2, 6


def channels_first(x):
    return torch.from_numpy(np.moveaxis(x, -1, 1).copy())


def channels_last(y):
    return np.moveaxis(y.detach().numpy(), 1, -1)


def plain(module):
    return lambda x: module(torch.from_numpy(x)).detach().numpy()


def spatial(module):
    return lambda x: channels_last(module(channels_first(x)))


def recurrent(module):
    return lambda x: module(torch.from_numpy(x))[0].detach().numpy()


def one_after_the_other(modules):
    return lambda x: channels_last(modules["pointwise"](modules["depthwise"](channels_first(x))))


def conv(rank, outputs, **options):
    return (nn.Conv1d, nn.Conv2d, nn.Conv3d)[rank - 1](FEATURES, outputs, 3, **options)


def transposed(rank):
    kinds = (nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)
    return kinds[rank - 1](FEATURES, 4, 3, stride=2)


def separable(rank):
    depthwise = conv(rank, FEATURES * 2, groups=FEATURES, bias=False)
    pointwise = (nn.Conv1d, nn.Conv2d)[rank - 1](FEATURES * 2, 5, 1)
    return nn.ModuleDict({"depthwise": depthwise, "pointwise": pointwise})


#: name -> what makes it in PyTorch, and what makes of it a function of arrays with channels last.
TORCH = {
    "dense": (lambda: nn.Linear(FEATURES, 5), plain),
    "conv 1": (lambda: conv(1, 4), spatial),
    "conv 2": (lambda: conv(2, 4), spatial),
    "conv 3": (lambda: conv(3, 4), spatial),
    "grouped conv": (lambda: conv(2, 4, groups=2), spatial),
    "depthwise 1": (lambda: conv(1, FEATURES, groups=FEATURES), spatial),
    "depthwise 2": (lambda: conv(2, FEATURES, groups=FEATURES), spatial),
    "depthwise 2 times 3": (lambda: conv(2, FEATURES * 3, groups=FEATURES), spatial),
    "separable 1": (lambda: separable(1), one_after_the_other),
    "separable 2": (lambda: separable(2), one_after_the_other),
    "transposed 1": (lambda: transposed(1), spatial),
    "transposed 2": (lambda: transposed(2), spatial),
    "transposed 3": (lambda: transposed(3), spatial),
    "embedding": (lambda: nn.Embedding(11, 4), plain),
    "batch_norm": (lambda: nn.BatchNorm2d(FEATURES, eps=1e-3).eval(), spatial),
    "layer_norm": (lambda: nn.LayerNorm(FEATURES, eps=1e-3), plain),
    "group_norm": (lambda: nn.GroupNorm(3, FEATURES, eps=1e-3), spatial),
    "lstm": (lambda: nn.LSTM(FEATURES, 4, batch_first=True), recurrent),
    "gru": (lambda: nn.GRU(FEATURES, 4, batch_first=True), recurrent),
    "attention": (
        lambda: nn.MultiheadAttention(FEATURES, HEADS, batch_first=True),
        lambda module: lambda x: module(*3 * [torch.from_numpy(x)])[0].detach().numpy(),
    ),
}

#: name -> kind, layer of Keras and the arguments it is made with.
KERAS = {
    "dense": ("dense", "Dense", {"units": 5}),
    "conv 1": ("conv", "Conv1D", {"filters": 4, "kernel_size": 3}),
    "conv 2": ("conv", "Conv2D", {"filters": 4, "kernel_size": 3}),
    "conv 3": ("conv", "Conv3D", {"filters": 4, "kernel_size": 3}),
    "grouped conv": ("conv", "Conv2D", {"filters": 4, "kernel_size": 3, "groups": 2}),
    "depthwise 1": ("depthwise_conv", "DepthwiseConv1D", {"kernel_size": 3}),
    "depthwise 2": ("depthwise_conv", "DepthwiseConv2D", {"kernel_size": 3}),
    "depthwise 2 times 3": (
        "depthwise_conv",
        "DepthwiseConv2D",
        {"kernel_size": 3, "depth_multiplier": 3},
    ),
    "separable 1": (
        "separable_conv",
        "SeparableConv1D",
        {"filters": 5, "kernel_size": 3, "depth_multiplier": 2},
    ),
    "separable 2": (
        "separable_conv",
        "SeparableConv2D",
        {"filters": 5, "kernel_size": 3, "depth_multiplier": 2},
    ),
    "transposed 1": (
        "conv_transpose",
        "Conv1DTranspose",
        {"filters": 4, "kernel_size": 3, "strides": 2},
    ),
    "transposed 2": (
        "conv_transpose",
        "Conv2DTranspose",
        {"filters": 4, "kernel_size": 3, "strides": 2},
    ),
    "transposed 3": (
        "conv_transpose",
        "Conv3DTranspose",
        {"filters": 4, "kernel_size": 3, "strides": 2},
    ),
    "embedding": ("embedding", "Embedding", {"input_dim": 11, "output_dim": 4}),
    "batch_norm": ("batch_norm", "BatchNormalization", {}),
    "layer_norm": ("layer_norm", "LayerNormalization", {}),
    "group_norm": ("group_norm", "GroupNormalization", {"groups": 3}),
    "lstm": ("lstm", "LSTM", {"units": 4, "return_sequences": True}),
    "gru": ("gru", "GRU", {"units": 4, "return_sequences": True}),
    "attention": (
        "multi_head_attention",
        "MultiHeadAttention",
        {"num_heads": HEADS, "key_dim": FEATURES // HEADS},
    ),
}

VALID = {"padding": "VALID"}

#: name -> kind, module of Flax NNX and the arguments it is made with.
FLAX = {
    "dense": ("dense", "Linear", (FEATURES, 5), {}),
    "conv 1": ("conv", "Conv", (FEATURES, 4, (3,)), VALID),
    "conv 2": ("conv", "Conv", (FEATURES, 4, (3, 3)), VALID),
    "conv 3": ("conv", "Conv", (FEATURES, 4, (3, 3, 3)), VALID),
    "grouped conv": ("conv", "Conv", (FEATURES, 4, (3, 3)), {**VALID, "feature_group_count": 2}),
    "depthwise 1": (
        "conv",
        "Conv",
        (FEATURES, FEATURES, (3,)),
        {**VALID, "feature_group_count": FEATURES},
    ),
    "depthwise 2": (
        "conv",
        "Conv",
        (FEATURES, FEATURES, (3, 3)),
        {**VALID, "feature_group_count": FEATURES},
    ),
    "depthwise 2 times 3": (
        "conv",
        "Conv",
        (FEATURES, FEATURES * 3, (3, 3)),
        {**VALID, "feature_group_count": FEATURES},
    ),
    "transposed 1": ("conv_transpose", "ConvTranspose", (FEATURES, 4, (3,), (2,)), VALID),
    "transposed 2": ("conv_transpose", "ConvTranspose", (FEATURES, 4, (3, 3), (2, 2)), VALID),
    "transposed 3": ("conv_transpose", "ConvTranspose", (FEATURES, 4, (3,) * 3, (2,) * 3), VALID),
    "transposed 2, turned": (
        "conv_transpose",
        "ConvTranspose",
        (FEATURES, 4, (3, 3), (2, 2)),
        {**VALID, "transpose_kernel": True},
    ),
    "embedding": ("embedding", "Embed", (11, 4), {}),
    "batch_norm": (
        "batch_norm",
        "BatchNorm",
        (FEATURES,),
        {"epsilon": 1e-3, "use_running_average": True},
    ),
    "layer_norm": ("layer_norm", "LayerNorm", (FEATURES,), {"epsilon": 1e-3}),
    "group_norm": ("group_norm", "GroupNorm", (FEATURES, 3), {"epsilon": 1e-3}),
    "lstm": ("lstm", "LSTMCell", (FEATURES, 4), {}),
    "lstm, packed": ("lstm", "OptimizedLSTMCell", (FEATURES, 4), {}),
    "attention": (
        "multi_head_attention",
        "MultiHeadAttention",
        (HEADS, FEATURES),
        {"decode": False},
    ),
}


def torch_layer(name):
    """Return a session on a layer of PyTorch called "layer", and what calls it."""
    make, calling = TORCH[name.partition(",")[0]]
    module = make()
    return ws.session_for(nn.ModuleDict({"layer": module})), calling(module)


def keras_layer(name, session_of):
    """Return a session on a layer of Keras called "layer", and what calls it."""
    import keras

    kind, maker, arguments = KERAS[name.partition(",")[0]]
    layer = getattr(keras.layers, maker)(**arguments)
    several = 2 if name == "attention" else 1

    def call(x):
        return keras.ops.convert_to_numpy(layer(*several * [x]))

    call(inputs_for(name))
    return session_of({"layer": (kind, layer, {})}), call


def flax_layer(name, session_of):
    """Return a session on a module of Flax called "layer", and what calls it."""
    from flax import nnx

    kind, maker, arguments, options = FLAX[name]
    module = getattr(nnx, maker)(*arguments, **options, rngs=nnx.Rngs(0))
    if kind == "lstm":
        rnn = nnx.RNN(module, rngs=nnx.Rngs(0))
        return session_of({"layer": (kind, module, {})}), lambda x: np.asarray(rnn(x))
    turned = {"transpose_kernel": bool(options.get("transpose_kernel"))}
    session = session_of({"layer": (kind, module, turned)})
    return session, lambda x: np.asarray(module(x))


@pytest.fixture(scope="module")
def built(keras_layers, nnx_layers):
    """Return what makes a layer in a framework: a session on it, and what calls it."""
    makers = {
        "torch": torch_layer,
        "keras": lambda name: keras_layer(name, keras_layers),
        "flax": lambda name: flax_layer(name, nnx_layers),
    }
    return lambda framework, name: makers[framework](name)


def inputs_for(name):
    values = np.random.default_rng(3)
    if name == "embedding":
        return values.integers(0, 11, (2, 5))
    rank = next((int(word) for word in name.replace(",", "").split() if word.isdigit()), None)
    rank = rank or (2 if name in ("grouped conv", "batch_norm", "group_norm") else 1)
    return values.normal(size=(2, *(5, 6, 7)[:rank], FEATURES)).astype(np.float32)


PAIRS = [("torch", "keras"), ("keras", "torch")]
WITH_FLAX = [("torch", "flax"), ("flax", "torch"), ("keras", "flax"), ("flax", "keras")]
CASES = [(name, *pair) for name in TORCH for pair in PAIRS]
CASES += [(name, *pair) for name in FLAX for pair in WITH_FLAX]


#: Two modules of PyTorch are one layer of Keras, which keeps the bias beside the two kernels.
RULES = {
    ("separable", "keras"): [
        "rename layer/*_kernel -> layer.*.kernel",
        "rename layer/bias -> layer.pointwise.bias",
    ]
}


@pytest.mark.parametrize("case", CASES, ids=" ".join)
def test_a_layer_carried_over_computes_the_same(case, built, with_other_values):
    name, source, target = case
    x = inputs_for(name)
    old, call_old = built(source, name)
    new, call_new = built(target, name)
    with_other_values(old)
    report = ws.SmartInit(old, rules=RULES.get((name.split()[0], source), ())).init(new)
    assert set(report.loaded) == {n for n in new.specs if "num_batches" not in n}
    assert report.unused == report.missing == ()
    np.testing.assert_allclose(call_new(x), call_old(x), rtol=1e-5, atol=1e-5)


#: What a file is told of a layer, where there is no model: its kind, and what no shape tells.
TOLD = {
    "depthwise 2 times 3": "multiplier 3",
    "separable 1": "multiplier 2",
    "separable 2": "multiplier 2",
    "attention": f"heads {HEADS}",
}
IN_FILES = [case for case in CASES if "," not in case[0] and not case[0].startswith("grouped")]


#: What is left to say of names, which a rule on layouts leaves in their scopes.
SPELLINGS = {
    "torch": ["scope layer. -> layer/"],
    "keras": ["scope layer/ -> layer."],
    "flax": ["scope layer/ -> layer."],
}


@pytest.mark.parametrize("case", IN_FILES, ids=" ".join)
def test_a_file_is_carried_over_by_a_rule(case, built, with_other_values, tmp_path):
    name, source, target = case
    x = inputs_for(name)
    old, call_old = built(source, name)
    new, call_new = built(target, name)
    with_other_values(old)
    rule = f"carry layer as {KERAS[name][0]}: {source} -> {target} {TOLD.get(name, '')}"
    ws.convert(old, tmp_path / "carried.npz", rules=rule)
    rules = SPELLINGS[source] if "torch" in (source, target) else []
    rules = rules + (["rename layer/if/* -> layer/if_/*"] if case[::2] == ("lstm", "flax") else [])
    report = ws.SmartInit(tmp_path / "carried.npz", rules=rules, layout=target).init(new)
    assert set(report.loaded) == {n for n in new.specs if "num_batches" not in n}
    assert report.transformed == {}
    np.testing.assert_allclose(call_new(x), call_old(x), rtol=1e-5, atol=1e-5)
