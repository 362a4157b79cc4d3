"""A module says of which kinds its layers are, under the names of its variables."""

import torch
from torch import nn

import warmstart as ws
from warmstart.layer import KINDS


def layers(module):
    return {layer.path: layer for layer in ws.session_for(module).layers()}


def test_kinds_and_options_of_layers():
    found = layers(
        nn.ModuleDict(
            {
                "conv": nn.Conv1d(4, 4, 1, groups=2),
                "up": nn.ConvTranspose2d(4, 2, 2),
                "norm": nn.BatchNorm1d(4),
                "lstm": nn.LSTM(4, 3, num_layers=2, bidirectional=True),
                "cell": nn.GRUCell(4, 3),
                "attention": nn.MultiheadAttention(4, 2),
                "drop": nn.Dropout(),
            }
        )
    )
    assert {path: (layer.kind, dict(layer.options)) for path, layer in found.items()} == {
        "conv": ("conv", {"groups": 2}),
        "up": ("conv_transpose", {"groups": 1}),
        "norm": ("batch_norm", {}),
        "lstm": ("lstm", {"layers": 2, "bidirectional": True}),
        "cell": ("gru", {}),
        "attention": ("multi_head_attention", {"heads": 2}),
    }
    assert all(layer.options.keys() <= set(KINDS[layer.kind]) for layer in found.values())


def test_variables_of_a_layer_and_of_its_parts_have_the_session_s_names():
    model = nn.ModuleDict({"a": nn.ModuleDict({"b": nn.MultiheadAttention(4, 2)})})
    (layer,) = ws.session_for(model).layers()
    assert layer.path == "a.b"
    assert layer.variables == {
        leaf: f"a.b.{leaf}"
        for leaf in ("in_proj_weight", "in_proj_bias", "out_proj.weight", "out_proj.bias")
    }


def test_a_module_that_is_a_layer_itself_has_no_path():
    (layer,) = ws.session_for(nn.Linear(2, 3)).layers()
    assert (layer.path, layer.variables) == ("", {"weight": "weight", "bias": "bias"})


def test_a_layer_that_hangs_twice_is_named_twice():
    shared = nn.Linear(2, 2)
    session = ws.session_for(nn.ModuleDict({"a": shared, "b": shared}))
    names = {layer.path: layer.variables["weight"] for layer in session.layers()}
    assert names == {"a": "a.weight", "b": "b.weight"}
    assert session.aliases["b.weight"] == "a.weight"


def test_what_a_parametrization_computes_is_no_variable():
    model = nn.Sequential(nn.utils.parametrizations.weight_norm(nn.Linear(2, 3)))
    assert "weight" not in layers(model)["0"].variables


def test_a_subclass_counts_as_what_it_derives_from():
    class Own(nn.Linear):
        def forward(self, x):
            return super().forward(x) * torch.tensor(2.0)

    assert layers(nn.Sequential(Own(2, 2)))["0"].kind == "dense"
