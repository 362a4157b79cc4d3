"""Google's BERT becomes transformers' BertModel: names, shapes, and what it computes."""

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

import warmstart as ws
from warmstart.source import DictSource

RULES = "bert-tf-to-torch"
VOCABULARY, WIDTH, LAYERS, HEADS, INNER, POSITIONS = 30, 12, 3, 3, 20, 16
SIZES = {
    "vocabulary": VOCABULARY,
    "width": WIDTH,
    "layers": LAYERS,
    "heads": HEADS,
    "inner": INNER,
    "positions": POSITIONS,
}


def norm():
    return nn.LayerNorm(WIDTH, eps=1e-12)


class Attention(nn.Module):
    def __init__(self):
        super().__init__()
        self.self = nn.ModuleDict(
            {name: nn.Linear(WIDTH, WIDTH) for name in ("query", "key", "value")}
        )
        self.output = nn.ModuleDict({"dense": nn.Linear(WIDTH, WIDTH), "LayerNorm": norm()})

    def forward(self, x):
        heads = (
            self.self[name](x).unflatten(-1, (HEADS, -1)).transpose(1, 2)
            for name in ("query", "key", "value")
        )
        mixed = F.scaled_dot_product_attention(*heads).transpose(1, 2).flatten(2)
        return self.output["LayerNorm"](self.output["dense"](mixed) + x)


class Layer(nn.Module):
    def __init__(self):
        super().__init__()
        self.attention = Attention()
        self.intermediate = nn.ModuleDict({"dense": nn.Linear(WIDTH, INNER)})
        self.output = nn.ModuleDict({"dense": nn.Linear(INNER, WIDTH), "LayerNorm": norm()})

    def forward(self, x):
        x = self.attention(x)
        y = F.gelu(self.intermediate["dense"](x), approximate="tanh")
        return self.output["LayerNorm"](self.output["dense"](y) + x)


class BertModel(nn.Module):
    """transformers' BertModel, its names and what they compute without a mask."""

    def __init__(self):
        super().__init__()
        self.embeddings = nn.ModuleDict(
            {
                "word_embeddings": nn.Embedding(VOCABULARY, WIDTH),
                "position_embeddings": nn.Embedding(POSITIONS, WIDTH),
                "token_type_embeddings": nn.Embedding(2, WIDTH),
                "LayerNorm": norm(),
            }
        )
        self.encoder = nn.ModuleDict({"layer": nn.ModuleList(Layer() for _ in range(LAYERS))})
        self.pooler = nn.ModuleDict({"dense": nn.Linear(WIDTH, WIDTH)})

    def forward(self, tokens, types):
        e = self.embeddings
        places = torch.arange(tokens.shape[1])
        x = e["word_embeddings"](tokens) + e["token_type_embeddings"](types)
        x = e["LayerNorm"](x + e["position_embeddings"](places))
        for layer in self.encoder["layer"]:
            x = layer(x)
        return x, torch.tanh(self.pooler["dense"](x[:, 0]))


def inputs():
    values = np.random.default_rng(2)
    return values.integers(0, VOCABULARY, (2, 7)), values.integers(0, 2, (2, 7))


def with_heads_and_adam(values):
    """Return *values* with what else stands in a checkpoint of pre-training."""
    heads = {
        "cls/predictions/output_bias": np.zeros(VOCABULARY, np.float32),
        "cls/predictions/transform/dense/kernel": np.zeros((WIDTH, WIDTH), np.float32),
        "cls/seq_relationship/output_weights": np.zeros((2, WIDTH), np.float32),
    }
    slots = {f"{name}/adam_{end}": value for name, value in values.items() for end in "mv"}
    return {**values, **heads, **slots, "global_step": np.int64(1000)}


def test_outputs_are_those_of_the_graph(tf, bert, computed, tmp_path):
    tokens, types = inputs()
    outputs = bert(tf, **SIZES).outputs(tf.constant(tokens), tf.constant(types))
    values, expected = computed(tf, outputs)
    ws.save_vars(with_heads_and_adam(values), tmp_path / "bert_model.ckpt")
    module = BertModel().eval()
    report = ws.SmartInit(tmp_path / "bert_model.ckpt", rules=RULES).init(module)
    assert set(report.loaded) == set(module.state_dict())
    assert set(report.renamed.values()) == set(values)
    with torch.no_grad():
        found = module(torch.from_numpy(tokens), torch.from_numpy(types))
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_allclose(one.numpy(), other, rtol=1e-5, atol=1e-5)


def test_slots_follow_their_variables_into_a_converted_file(tf, bert, draw, tmp_path):
    bert(tf, **SIZES).outputs(tf.placeholder(tf.int32, (2, 7)), tf.placeholder(tf.int32, (2, 7)))
    values = with_heads_and_adam(draw(tf))
    roles = {name: "slot" for name in values if "/adam_" in name}
    ws.save_vars(DictSource(values, roles=roles), tmp_path / "bert_model.ckpt")
    ws.convert(tmp_path / "bert_model.ckpt", tmp_path / "bert.safetensors", rules=RULES)
    found = ws.load_vars(tmp_path / "bert.safetensors")
    name = "encoder.layer.0.intermediate.dense.weight"
    np.testing.assert_array_equal(
        found[f"{name}/adam_m"],
        values["bert/encoder/layer_0/intermediate/dense/kernel/adam_m"].T,
    )
    assert "cls/predictions/output_bias" in found


def test_the_way_back_gives_what_there_was(tf, bert, draw, there_and_back):
    bert(tf, **SIZES).outputs(tf.placeholder(tf.int32, (2, 7)), tf.placeholder(tf.int32, (2, 7)))
    values = draw(tf)
    again = there_and_back(values, RULES)
    assert again.keys() == values.keys()
    assert all(np.array_equal(again[name], values[name]) for name in values)
