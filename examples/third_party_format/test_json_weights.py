"""The format keeps the contract of formats."""

from pathlib import Path

import json_weights

from warmstart.spec import ITEMSIZES
from warmstart.testing import FormatContract


class TestJsonWeights(FormatContract):
    format = json_weights
    dtypes = frozenset(ITEMSIZES) - {"string"}

    def petabyte(self, path: Path) -> None:
        item = '{"dtype": "float32", "shape": [250000000000000], "data": ""}'
        path.write_text(f'{{"note": null, "tensors": {{"x": {item}}}}}')
