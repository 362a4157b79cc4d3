"""Whole models in two frameworks: with a rename map alone they compute the same, both ways."""

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

import warmstart as ws

CLOSE = {"rtol": 1e-5, "atol": 1e-5}


def renamed(scopes, source, target):
    """Return a rename map of *source* from scopes: one of the source -> one of the target."""
    between = "." if target.convention == "torch" else "/"
    names = {}
    for name in source.specs:
        owner = max((old for old in scopes if name.startswith(f"{old}")), key=len, default=None)
        if owner is not None and name[len(owner)] in "./":
            names[name] = f"{scopes[owner]}{between}{name[len(owner) + 1 :]}"
    return names


def turned(scopes):
    return {new: old for old, new in scopes.items()}


def checked(report, target):
    """Check that *report* filled all of *target* from all there was."""
    wanted = {n for n, spec in dict(target.specs).items() if spec.role in ("trainable", "model")}
    counters = {name for name in wanted if name.endswith("num_batches_tracked")}
    assert set(report.loaded) == wanted - counters
    assert report.missing == report.unused == ()


def carry(source, target, scopes):
    report = ws.SmartInit(source, rules=renamed(scopes, source, target)).init(target)
    checked(report, target)
    assert report.transformed


def image(*shape):
    return np.random.default_rng(5).normal(size=shape).astype(np.float32)


def run_torch(module, x):
    """Return what *module* makes of an image with channels last, or of tokens."""
    x = torch.from_numpy(x)
    x = x.permute(0, 3, 1, 2).contiguous() if x.ndim == 4 else x
    with torch.no_grad():
        return module.eval()(x).numpy()


def run_keras(model, x):
    import keras

    return keras.ops.convert_to_numpy(model(x, training=False))


class TorchMLP(nn.Module):
    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 8), nn.Tanh())
        self.head = nn.Linear(8, 3)

    def forward(self, x):
        return self.head(self.body(x))


def keras_mlp():
    from keras import Sequential, layers

    model = Sequential(
        [
            layers.Dense(8, "relu", name="first"),
            layers.Dense(8, "tanh", name="second"),
            layers.Dense(3, name="logits"),
        ]
    )
    model.build((None, 6))
    return model


def nnx_mlp():
    from flax import nnx

    class MLP(nnx.Module):
        def __init__(self, rngs):
            self.first = nnx.Linear(6, 8, rngs=rngs)
            self.second = nnx.Linear(8, 8, rngs=rngs)
            self.logits = nnx.Linear(8, 3, rngs=rngs)

        def __call__(self, x):
            import jax

            return self.logits(jax.numpy.tanh(self.second(jax.nn.relu(self.first(x)))))

    return MLP(nnx.Rngs(0))


MLP = {"body.0": "first", "body.2": "second", "head": "logits"}


class TorchCNN(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv1 = nn.Conv2d(3, 8, 3, padding=1, bias=False)
        self.norm1 = nn.BatchNorm2d(8, eps=1e-3)
        self.conv2 = nn.Conv2d(8, 12, 3, padding=1)
        self.norm2 = nn.BatchNorm2d(12, eps=1e-3)
        self.fc = nn.Linear(12, 5)

    def forward(self, x):
        x = F.relu(self.norm1(self.conv1(x)))
        x = F.relu(self.norm2(self.conv2(x)))
        return self.fc(x.mean((2, 3)))


def keras_cnn():
    from keras import Sequential, layers

    model = Sequential(
        [
            layers.Conv2D(8, 3, padding="same", use_bias=False, name="block1_conv"),
            layers.BatchNormalization(name="block1_bn"),
            layers.ReLU(),
            layers.Conv2D(12, 3, padding="same", name="block2_conv"),
            layers.BatchNormalization(name="block2_bn"),
            layers.ReLU(),
            layers.GlobalAveragePooling2D(),
            layers.Dense(5, name="classes"),
        ]
    )
    model.build((None, 16, 16, 3))
    return model


def nnx_cnn():
    from flax import nnx

    class CNN(nnx.Module):
        def __init__(self, rngs):
            self.block1_conv = nnx.Conv(3, 8, (3, 3), use_bias=False, rngs=rngs)
            self.block1_bn = self.norm(8, rngs)
            self.block2_conv = nnx.Conv(8, 12, (3, 3), rngs=rngs)
            self.block2_bn = self.norm(12, rngs)
            self.classes = nnx.Linear(12, 5, rngs=rngs)

        def norm(self, features, rngs):
            return nnx.BatchNorm(features, epsilon=1e-3, use_running_average=True, rngs=rngs)

        def __call__(self, x):
            x = nnx.relu(self.block1_bn(self.block1_conv(x)))
            x = nnx.relu(self.block2_bn(self.block2_conv(x)))
            return self.classes(x.mean((1, 2)))

    return CNN(nnx.Rngs(0))


CNN = {
    "conv1": "block1_conv",
    "norm1": "block1_bn",
    "conv2": "block2_conv",
    "norm2": "block2_bn",
    "fc": "classes",
}


VOCABULARY, WIDTH, HEADS, LAYERS = 20, 8, 2, 2


class TorchTransformer(nn.Module):
    def __init__(self):
        super().__init__()
        self.embed = nn.Embedding(VOCABULARY, WIDTH)
        layer = nn.TransformerEncoderLayer(WIDTH, HEADS, 16, 0.0, batch_first=True)
        self.encoder = nn.TransformerEncoder(layer, LAYERS, enable_nested_tensor=False)
        self.norm = nn.LayerNorm(WIDTH)

    def forward(self, x):
        return self.norm(self.encoder(self.embed(x)))


def keras_transformer():
    from keras import Input, Model, layers

    def norm(name):
        return layers.LayerNormalization(epsilon=1e-5, name=name)

    tokens = Input((7,), dtype="int32")
    x = layers.Embedding(VOCABULARY, WIDTH, name="tokens")(tokens)
    for i in range(LAYERS):
        attention = layers.MultiHeadAttention(HEADS, WIDTH // HEADS, name=f"block{i}_attention")
        x = norm(f"block{i}_norm_a")(x + attention(x, x))
        y = layers.Dense(16, "relu", name=f"block{i}_up")(x)
        x = norm(f"block{i}_norm_b")(x + layers.Dense(WIDTH, name=f"block{i}_down")(y))
    return Model(tokens, norm("last")(x))


def nnx_transformer():
    from flax import nnx

    class Transformer(nnx.Module):
        def __init__(self, rngs):
            def norm():
                return nnx.LayerNorm(WIDTH, epsilon=1e-5, rngs=rngs)

            self.tokens = nnx.Embed(VOCABULARY, WIDTH, rngs=rngs)
            for i in range(LAYERS):
                attention = nnx.MultiHeadAttention(HEADS, WIDTH, decode=False, rngs=rngs)
                setattr(self, f"block{i}_attention", attention)
                setattr(self, f"block{i}_norm_a", norm())
                setattr(self, f"block{i}_up", nnx.Linear(WIDTH, 16, rngs=rngs))
                setattr(self, f"block{i}_down", nnx.Linear(16, WIDTH, rngs=rngs))
                setattr(self, f"block{i}_norm_b", norm())
            self.last = norm()

        def __call__(self, x):
            x = self.tokens(x)
            for i in range(LAYERS):
                part = lambda name, i=i: getattr(self, f"block{i}_{name}")  # noqa: E731
                x = part("norm_a")(x + part("attention")(x))
                x = part("norm_b")(x + part("down")(nnx.relu(part("up")(x))))
            return self.last(x)

    return Transformer(nnx.Rngs(0))


TRANSFORMER = {"embed": "tokens", "norm": "last"}
for i in range(LAYERS):
    TRANSFORMER |= {
        f"encoder.layers.{i}.self_attn": f"block{i}_attention",
        f"encoder.layers.{i}.norm1": f"block{i}_norm_a",
        f"encoder.layers.{i}.linear1": f"block{i}_up",
        f"encoder.layers.{i}.linear2": f"block{i}_down",
        f"encoder.layers.{i}.norm2": f"block{i}_norm_b",
    }


TOKENS = np.random.default_rng(6).integers(0, VOCABULARY, (3, 7)).astype(np.int32)
MODELS = {
    "mlp": (TorchMLP, keras_mlp, nnx_mlp, MLP, image(4, 6)),
    "cnn": (TorchCNN, keras_cnn, nnx_cnn, CNN, image(2, 16, 16, 3)),
    "transformer": (TorchTransformer, keras_transformer, nnx_transformer, TRANSFORMER, TOKENS),
}


@pytest.mark.parametrize("name", MODELS)
def test_between_pytorch_and_keras(name, with_other_values):
    make_torch, make_keras, _, scopes, x = MODELS[name]
    module, model = make_torch(), make_keras()
    both_ways(
        (ws.session_for(module), lambda: run_torch(module, x)),
        (ws.session_for(model), lambda: run_keras(model, x)),
        scopes,
        with_other_values,
    )


@pytest.mark.parametrize("name", MODELS)
def test_between_pytorch_and_flax(name, with_other_values):
    make_torch, _, make_nnx, scopes, x = MODELS[name]
    module, model = make_torch(), make_nnx()
    both_ways(
        (ws.session_for(module), lambda: run_torch(module, x)),
        (ws.session_for(model), lambda: np.asarray(model(x))),
        scopes,
        with_other_values,
    )


@pytest.mark.parametrize("name", MODELS)
def test_between_keras_and_flax_the_names_alone_will_do(name, with_other_values):
    _, make_keras, make_nnx, _, x = MODELS[name]
    old, new = make_keras(), make_nnx()
    source, target = ws.session_for(old), ws.session_for(new)
    with_other_values(source)
    report = ws.SmartInit(source).init(target)
    checked(report, target)
    np.testing.assert_allclose(np.asarray(new(x)), run_keras(old, x), **CLOSE)


def both_ways(first, second, scopes, with_other_values):
    """Check that values of each of two models make the other one compute what it computes."""
    for (source, run_source), (target, run_target), names in (
        (first, second, scopes),
        (second, first, turned(scopes)),
    ):
        with_other_values(source)
        expected = run_source()
        carry(source, target, names)
        found = run_target()
        np.testing.assert_allclose(found, expected, **CLOSE)
        assert np.ptp(found) > 0.1


class TorchTagger(nn.Module):
    def __init__(self):
        super().__init__()
        self.embed = nn.Embedding(VOCABULARY, WIDTH)
        self.lstm = nn.LSTM(WIDTH, 5, batch_first=True, bidirectional=True)
        self.upper = nn.LSTM(10, 6, batch_first=True)
        self.gru = nn.GRU(6, 4, batch_first=True)
        self.tags = nn.Linear(4, 3)

    def forward(self, x):
        x, _ = self.lstm(self.embed(x))
        x, _ = self.upper(x)
        x, _ = self.gru(x)
        return self.tags(x)


def keras_tagger():
    from keras import Input, Sequential, layers

    return Sequential(
        [
            Input((7,), dtype="int32"),
            layers.Embedding(VOCABULARY, WIDTH, name="words"),
            layers.Bidirectional(layers.LSTM(5, return_sequences=True), name="both_ways"),
            layers.LSTM(6, return_sequences=True, name="on_top"),
            layers.GRU(4, return_sequences=True, name="gated"),
            layers.Dense(3, name="tags"),
        ]
    )


def test_an_lstm_tagger_into_keras(with_other_values):
    module, model = TorchTagger(), keras_tagger()
    source, target = ws.session_for(module), ws.session_for(model)
    with_other_values(source)
    rules = [
        "rename embed.* -> words/*",
        "rename lstm.* -> both_ways/*",
        "rename upper.* -> on_top/*",
        "rename gru.* -> gated/*",
    ]
    checked(ws.SmartInit(source, rules=rules).init(target), target)
    np.testing.assert_allclose(run_keras(model, TOKENS), run_torch(module, TOKENS), **CLOSE)


def test_an_lstm_tagger_into_pytorch(with_other_values):
    module, model = TorchTagger(), keras_tagger()
    source, target = ws.session_for(model), ws.session_for(module)
    with_other_values(source)
    rules = [
        "rename words/* -> embed.*",
        "rename both_ways/* -> lstm.*",
        "rename on_top/* -> upper.*",
        "rename gated/* -> gru.*",
    ]
    checked(ws.SmartInit(source, rules=rules).init(target), target)
    np.testing.assert_allclose(run_torch(module, TOKENS), run_keras(model, TOKENS), **CLOSE)


class Bottleneck(nn.Module):
    """A block as Keras' applications have it: stride first, biases, their epsilon."""

    def __init__(self, inputs, width, stride):
        super().__init__()
        norm = lambda features: nn.BatchNorm2d(features, eps=1.001e-5)  # noqa: E731
        self.conv1, self.bn1 = nn.Conv2d(inputs, width, 1, stride), norm(width)
        self.conv2, self.bn2 = nn.Conv2d(width, width, 3, padding=1), norm(width)
        self.conv3, self.bn3 = nn.Conv2d(width, width * 4, 1), norm(width * 4)
        self.downsample = None
        if stride != 1 or inputs != width * 4:
            self.downsample = nn.Sequential(
                nn.Conv2d(inputs, width * 4, 1, stride), norm(width * 4)
            )

    def forward(self, x):
        short = x if self.downsample is None else self.downsample(x)
        x = F.relu(self.bn1(self.conv1(x)))
        x = F.relu(self.bn2(self.conv2(x)))
        return F.relu(self.bn3(self.conv3(x)) + short)


class TorchResNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv1 = nn.Conv2d(3, 64, 7, 2, 3)
        self.bn1 = nn.BatchNorm2d(64, eps=1.001e-5)
        inputs = 64
        for stage, count in enumerate((3, 4, 6, 3), 1):
            width = 32 * 2**stage
            blocks = []
            for block in range(count):
                blocks.append(Bottleneck(inputs, width, 2 if block == 0 and stage > 1 else 1))
                inputs = width * 4
            setattr(self, f"layer{stage}", nn.Sequential(*blocks))
        self.fc = nn.Linear(2048, 10)

    def forward(self, x):
        x = F.relu(self.bn1(self.conv1(x)))
        x = F.max_pool2d(F.pad(x, (1, 1, 1, 1)), 3, 2)
        for stage in (self.layer1, self.layer2, self.layer3, self.layer4):
            x = stage(x)
        return self.fc(x.mean((2, 3)))


def resnet_scopes():
    scopes = {"conv1": "conv1_conv", "bn1": "conv1_bn", "fc": "predictions"}
    for stage, count in enumerate((3, 4, 6, 3), 1):
        for block in range(count):
            old, new = f"layer{stage}.{block}", f"conv{stage + 1}_block{block + 1}"
            for i in (1, 2, 3):
                scopes |= {f"{old}.conv{i}": f"{new}_{i}_conv", f"{old}.bn{i}": f"{new}_{i}_bn"}
        first = f"conv{stage + 1}_block1"
        scopes |= {
            f"layer{stage}.0.downsample.0": f"{first}_0_conv",
            f"layer{stage}.0.downsample.1": f"{first}_0_bn",
        }
    return scopes


def gentle(session):
    """Give the variables of a deep model values that neither vanish nor explode in it."""
    values = np.random.default_rng(8)

    def value(end, spec):
        if len(spec.shape) > 1:
            inputs = spec.size / max(spec.shape[0], spec.shape[-1])
            return values.standard_normal(spec.shape, np.float32) * np.float32(inputs**-0.5)
        if end in ("gamma", "weight"):
            return values.uniform(0.3, 0.7, spec.shape)
        if end in ("moving_variance", "running_var"):
            return values.uniform(0.5, 1.5, spec.shape)
        return values.normal(0, 0.2, spec.shape)

    ends = {name: name.replace("/", ".").rpartition(".")[2] for name in session.specs}
    session.assign(
        (name, value(ends[name], spec).astype(spec.dtype))
        for name, spec in dict(session.specs).items()
        if ends[name] != "num_batches_tracked"
    )


def test_a_resnet_50_both_ways():
    import keras

    model = keras.applications.ResNet50(
        weights=None, input_shape=(32, 32, 3), classes=10, classifier_activation=None
    )
    module = TorchResNet()
    x = image(2, 32, 32, 3)
    both_ways(
        (ws.session_for(module), lambda: run_torch(module, x)),
        (ws.session_for(model), lambda: run_keras(model, x)),
        resnet_scopes(),
        gentle,
    )


ALPHA = 0.25
STRIDES = (1, 2, 1, 2, 1, 2, 1, 1, 1, 1, 1, 2, 1)
WIDTHS = (64, 128, 128, 256, 256, 512, 512, 512, 512, 512, 512, 1024, 1024)


class TorchMobileNet(nn.Module):
    """MobileNet as Keras' applications have it: what a stride leaves over is padded behind."""

    def __init__(self):
        super().__init__()
        norm = lambda features: nn.BatchNorm2d(features, eps=1e-3)  # noqa: E731
        inputs = int(32 * ALPHA)
        self.stem = nn.ModuleDict(
            {"conv": nn.Conv2d(3, inputs, 3, 2, bias=False), "norm": norm(inputs)}
        )
        self.blocks = nn.ModuleList()
        for stride, width in zip(STRIDES, WIDTHS, strict=True):
            outputs = int(width * ALPHA)
            depthwise = nn.Conv2d(inputs, inputs, 3, stride, stride % 2, groups=inputs, bias=False)
            pointwise = nn.Conv2d(inputs, outputs, 1, bias=False)
            self.blocks.append(
                nn.ModuleDict(
                    {"dw": depthwise, "n1": norm(inputs), "pw": pointwise, "n2": norm(outputs)}
                )
            )
            inputs = outputs
        self.classes = nn.Conv2d(inputs, 10, 1)

    def forward(self, x):
        x = F.relu6(self.stem["norm"](self.stem["conv"](F.pad(x, (0, 1, 0, 1)))))
        for block, stride in zip(self.blocks, STRIDES, strict=True):
            x = F.pad(x, (0, 1, 0, 1)) if stride == 2 else x
            x = F.relu6(block["n1"](block["dw"](x)))
            x = F.relu6(block["n2"](block["pw"](x)))
        return self.classes(x.mean((2, 3), keepdim=True)).flatten(1)


def mobilenet_scopes():
    scopes = {"stem.conv": "conv1", "stem.norm": "conv1_bn", "classes": "conv_preds"}
    for i in range(13):
        scopes |= {
            f"blocks.{i}.dw": f"conv_dw_{i + 1}",
            f"blocks.{i}.n1": f"conv_dw_{i + 1}_bn",
            f"blocks.{i}.pw": f"conv_pw_{i + 1}",
            f"blocks.{i}.n2": f"conv_pw_{i + 1}_bn",
        }
    return scopes


def test_a_mobilenet_both_ways():
    import keras

    model = keras.applications.MobileNet(
        weights=None, alpha=ALPHA, input_shape=(64, 64, 3), classes=10, classifier_activation=None
    )
    module = TorchMobileNet()
    x = image(2, 64, 64, 3)
    both_ways(
        (ws.session_for(module), lambda: run_torch(module, x)),
        (ws.session_for(model), lambda: run_keras(model, x)),
        mobilenet_scopes(),
        gentle,
    )
