"""What a path ends in, where no format is known by that: a slip of the pen, or another's file.

doubt("m.safetensor", [".safetensors", ...])     what to say of it, in words
doubt("model.ckpt", ...)                         None: the prefix of a bundle, as any name is
"""

from collections.abc import Collection
from pathlib import Path

#: What checkpoints of several kinds end in, so that the end says too little.
SHARED = (".bin", ".tar", ".gz", ".tgz", ".zip", ".zarr", ".ggml")

#: What other files end in: nobody who types one wants a bundle of that name.
OTHERS = (
    ".pkl", ".pickle", ".joblib", ".mat", ".params", ".mlmodel", ".tflite", ".pb", ".meta",
    ".json", ".toml", ".yaml", ".yml", ".csv", ".txt", ".md", ".html", ".log", ".py", ".ipynb",
)  # fmt: skip

#: What bundles of TensorFlow have always been called; it is not far from ".pt".
OF_BUNDLES = ".ckpt"

#: How like the end of a known format another must be to be taken for a slip; 1 is the same.
LIKENESS = 0.75


def doubt(name: str, known: Collection[str]) -> str | None:
    """Return why *name*, which ends like none of *known*, is hardly the prefix of a bundle.

    None is for any name that may well be one.

    >>> doubt("m.safetensor", [".safetensors", ".npz"])
    'ends in .safetensor, which no format does (near it: .safetensors)'
    >>> doubt("weights.bin", [".npz"])
    'ends in .bin, as checkpoints of several kinds do'
    >>> doubt("model.ckpt", [".pt"]), doubt("model-1.5", [".h5"])
    (None, None)
    """
    end = Path(name).suffix.lower()
    if end in SHARED:
        return f"ends in {end}, as checkpoints of several kinds do"
    if end in OTHERS:
        return f"ends in {end}, as files do that are not written"
    if not end[1:].isalnum() or end[1:].isdigit() or end == OF_BUNDLES:
        return None
    from difflib import get_close_matches  # 3 ms, which a listing does without

    near = get_close_matches(end, known, n=1, cutoff=LIKENESS)
    return f"ends in {end}, which no format does (near it: {near[0]})" if near else None
