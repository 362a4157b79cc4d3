"""How the files beside this one were made.

    python make.py

with gguf 0.19.0 makes v3.gguf, and with gguf 0.2.1 (of August 2023, which wrote version 1) v1.gguf.
"""

from pathlib import Path

import gguf
import numpy as np

HERE = Path(__file__).parent


def main() -> None:
    name = "v1" if gguf.GGUF_VERSION == 1 else "v3"
    writer = gguf.GGUFWriter(str(HERE / f"{name}.gguf"), "llama")
    writer.add_name("Tiny")
    writer.add_float32("llama.rope.scale", 0.1)
    writer.add_bool("yes", True)
    writer.add_array("tokenizer.ggml.tokens", ["<s>", "ü", "b"])
    writer.add_array("tokenizer.ggml.scores", [0.5, -1.0, 3.25])
    writer.add_tensor("token_embd.weight", np.arange(6, dtype=np.float32).reshape(2, 3))
    writer.add_tensor("blk.0.attn_q.weight", np.arange(8, dtype=np.float16).reshape(1, 2, 4))
    if name == "v3":
        values = np.linspace(-1, 1, 128, dtype=np.float32).reshape(2, 64)
        kind = gguf.GGMLQuantizationType.Q4_0
        blocks = gguf.quants.quantize(values, kind)
        writer.add_tensor("blk.0.ffn_up.weight", blocks, raw_dtype=kind)
    writer.add_tensor("output.weight", np.arange(8, dtype=np.float32).reshape(4, 2))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


if __name__ == "__main__":
    main()
