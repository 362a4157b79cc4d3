"""The words of frameworks: what one calls a kernel and another a weight, said in one way.

A name's words are made plain (`attn`, `self_attention` and `MultiHeadDotProductAttention` are all
"attention"), and its last words say what kind of variable it is: a kernel, a bias, a scale.
"""

from collections.abc import Sequence

#: A word, and those that other frameworks and models have for the same.
SAME: dict[str, tuple[str, ...]] = {
    "norm": ("layernorm", "ln", "bn", "batchnorm", "rmsnorm", "groupnorm", "gn", "instancenorm",
             "normalization", "batchnormalization", "layernormalization"),
    "attention": ("attn", "selfattention", "selfattn", "mha", "multiheadattention",
                  "multiheaddotproductattention", "encdecattention"),
    "query": ("q",), "key": ("k",), "value": ("v",), "out": ("o", "output"),
    "embedding": ("embed", "embeddings", "emb", "wte", "lookup"),
    "position": ("pos", "wpe", "positional", "positions", "posembed"),
    "token": ("tok", "tokens", "word", "words"),
    "dense": ("linear", "fc", "proj", "projection", "lin", "fully"),
    "conv": ("convolution", "convd", "conv2d"),
    "depthwise": ("dw", "dwconv"), "pointwise": ("pw",),
    "layer": ("layers", "block", "blocks", "h", "l", "group", "groups", "stage", "stages", "unit",
              "units", "encoderblock", "decoderblock"),
    "encoder": ("enc",), "decoder": ("dec",),
    "shortcut": ("downsample", "convshortcut", "skip", "residual"),
    "head": ("classifier", "predictions", "logits", "lm", "tagger"),
    "mlp": ("mlpblock", "ffn", "intermediate", "feedforward", "ff"),
    "mean": ("avg",), "variance": ("var",), "moving": ("running",),
    "kernel": ("weight", "weights", "w"), "bias": ("biases", "b", "beta"),
    "scale": ("gamma", "g"),
}  # fmt: skip

PLAIN = {other: word for word, others in SAME.items() for other in others}

#: The word that ends a name -> what kind of variable it is.
KINDS = {
    **dict.fromkeys(("mean",), "mean"),
    **dict.fromkeys(("variance", "var"), "variance"),
    **dict.fromkeys(("bias", "biases", "b", "beta", "offset", "shift"), "bias"),
    **dict.fromkeys(("scale", "gamma", "g"), "scale"),
    **dict.fromkeys(("kernel", "weight", "weights", "w", "table"), "kernel"),
    **dict.fromkeys(("embedding", "embeddings", "embed"), "kernel"),
    **dict.fromkeys(("tracked", "step", "steps", "count", "iterations"), "count"),
}

#: How far from the end the word may stand: `mean/EMA`, `weight_ih_l0`.
NEAR_END = 4

#: What tells the weights on a recurrent layer's own state from those on its input.
RECURRENT = frozenset(("recurrent", "hh"))


def plain_word(word: str) -> str:
    """Return the word that stands for *word* and all that mean the same.

    >>> plain_word("attn"), plain_word("weights"), plain_word("conv")
    ('attention', 'kernel', 'conv')
    """
    return PLAIN.get(word, word)


def kind_of(words: Sequence[str], rank: int) -> str | None:
    """Return what kind of variable the name of *words* means, None where it does not say.

    A weight of one axis is the scale of a normalisation.

    >>> kind_of(("fc", "weight"), 2), kind_of(("bn", "weight"), 1), kind_of(("cls", "token"), 3)
    ('kernel', 'scale', None)
    """
    ending = words[-NEAR_END:]
    kind = next((KINDS[word] for word in reversed(ending) if word in KINDS), None)
    if kind == "kernel" and rank == 1:
        kind = "scale"
    return f"recurrent {kind}" if kind and not RECURRENT.isdisjoint(ending) else kind


def owner_of(words: Sequence[str]) -> tuple[str, ...]:
    """Return the words before the last one that says a kind: those of the layer.

    >>> owner_of(("conv", "0", "bn", "mean", "ema"))
    ('conv', '0', 'bn')
    """
    places = [place for place, word in enumerate(words) if word in KINDS]
    return tuple(words[: places[-1]] if places else words)
