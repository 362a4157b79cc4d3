"""The layers of modules and of trees are known, and are carried over from PyTorch."""

import jax
import jax.numpy as jnp
import numpy as np
import torch
from flax import linen, nnx

import warmstart as ws


class Zoo(nnx.Module):
    def __init__(self, rngs):
        self.linear = nnx.Linear(4, 6, rngs=rngs)
        self.general = nnx.LinearGeneral(6, (2, 3), rngs=rngs)
        self.conv = nnx.Conv(4, 8, (3, 3), feature_group_count=2, rngs=rngs)
        self.up = nnx.ConvTranspose(4, 8, (3, 3), transpose_kernel=True, rngs=rngs)
        self.embed = nnx.Embed(10, 4, rngs=rngs)
        self.norms = nnx.List(
            [
                nnx.BatchNorm(4, rngs=rngs),
                nnx.LayerNorm(4, rngs=rngs),
                nnx.RMSNorm(4, rngs=rngs),
                nnx.GroupNorm(4, num_groups=2, rngs=rngs),
            ]
        )
        self.lstm = nnx.RNN(nnx.OptimizedLSTMCell(4, 5, rngs=rngs), rngs=rngs)
        self.gru = nnx.GRUCell(4, 5, rngs=rngs)
        self.attention = nnx.MultiHeadAttention(2, 4, decode=False, rngs=rngs)


def test_modules_of_nnx_say_their_kind():
    layers = {layer.path: layer for layer in ws.session_for(Zoo(nnx.Rngs(0))).layers()}
    assert {path: layer.kind for path, layer in layers.items()} == {
        "linear": "dense",
        "general": "dense",
        "conv": "conv",
        "up": "conv_transpose",
        "embed": "embedding",
        "norms/0": "batch_norm",
        "norms/1": "layer_norm",
        "norms/2": "layer_norm",
        "norms/3": "group_norm",
        "lstm/cell": "lstm",
        "gru": "gru",
        "attention": "multi_head_attention",
    }
    assert layers["conv"].options == {"groups": 2}
    assert layers["up"].options == {"transpose_kernel": True}
    assert layers["attention"].options == {"heads": 2}
    assert layers["norms/0"].variables["mean"] == "norms/0/mean"
    assert layers["attention"].variables["query/kernel"] == "attention/query/kernel"


class LinenZoo(linen.Module):
    @linen.compact
    def __call__(self, tokens):
        x = linen.Embed(10, 4, name="embed")(tokens)
        x = linen.LayerNorm(name="norm")(x)
        x = x + linen.MultiHeadDotProductAttention(2, name="attend")(x)
        x = linen.RNN(linen.OptimizedLSTMCell(4), name="rnn")(x)
        x = linen.Conv(4, (3,))(x)
        x = linen.ConvTranspose(4, (3,))(x)
        x = linen.BatchNorm(use_running_average=True, name="batch")(x)
        x = linen.DenseGeneral((2, 2), name="general")(x)
        return linen.Dense(3, name="dense")(x.reshape(x.shape[0], -1))


def test_the_leaves_of_a_linen_tree_tell_its_layers():
    variables = LinenZoo().init(jax.random.key(0), jnp.zeros((2, 5), jnp.int32))
    session = ws.session_for(variables)
    layers = {layer.path: layer for layer in session.layers()}
    assert session.convention == "flax"
    cell = next(path for path in layers if "Cell" in path)
    assert {path: layer.kind for path, layer in layers.items() if path != cell} == {
        "embed": "embedding",
        "norm": "layer_norm",
        "attend": "multi_head_attention",
        "Conv_0": "conv",
        "ConvTranspose_0": "conv_transpose",
        "batch": "batch_norm",
        "dense": "dense",
    }
    assert layers[cell].kind == "lstm"
    assert layers["attend"].options == {"heads": 2}
    assert layers["batch"].variables["mean"] == "batch_stats/batch/mean"
    assert layers["batch"].variables["scale"] == "params/batch/scale"


def test_a_tree_without_layers_of_flax_has_no_convention(models):
    assert ws.session_for(models.equinox_model()).convention is None


def test_a_network_of_pytorch_computes_the_same_in_nnx():
    torch.manual_seed(0)
    net = torch.nn.ModuleDict(
        {
            "conv": torch.nn.Conv2d(3, 4, 3, padding=1),
            "norm": torch.nn.BatchNorm2d(4),
            "head": torch.nn.Linear(4, 2),
        }
    )
    net["norm"](torch.randn(16, 4, 5, 5))  # statistics of its own
    net.eval()

    class Twin(nnx.Module):
        def __init__(self, rngs):
            self.conv = nnx.Conv(3, 4, (3, 3), rngs=rngs)
            self.norm = nnx.BatchNorm(4, use_running_average=True, rngs=rngs)
            self.head = nnx.Linear(4, 2, rngs=rngs)

        def __call__(self, x):
            return self.head(self.norm(self.conv(x)).mean((1, 2)))

    twin = Twin(nnx.Rngs(0))
    report = ws.SmartInit(ws.session_for(net)).init(twin)
    assert report.missing == report.unused == ()
    images = np.random.default_rng(0).normal(size=(2, 5, 5, 3)).astype("float32")
    with torch.no_grad():
        hidden = net["norm"](net["conv"](torch.from_numpy(images).permute(0, 3, 1, 2)))
        expected = net["head"](hidden.mean((2, 3))).numpy()
    np.testing.assert_allclose(twin(images), expected, rtol=1e-5, atol=1e-5)
