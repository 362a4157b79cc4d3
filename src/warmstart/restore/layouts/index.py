"""Names found under the path of a layer, whichever separator either is written with."""

from collections.abc import Iterable

from ...names import dotted, without_output


class Index:
    """Names to be found by their scopes: `fc/w:0`, `fc/w` and `fc.w` are found alike."""

    def __init__(self, names: Iterable[str]) -> None:
        self._exact: dict[str, str] = {}
        self._dotted: dict[str, list[str]] = {}
        for name in names:
            bare = without_output(name)
            self._exact.setdefault(bare, name)
            self._dotted.setdefault(dotted(bare), []).append(name)

    def under(self, scope: str, leaf: str) -> list[str]:
        """Return the names of *leaf* (dots between its scopes) in *scope*, the exact one alone."""
        for separator in "/.":
            bare = f"{scope}{separator}{leaf.replace('.', separator)}" if scope else leaf
            if bare in self._exact:
                return [self._exact[bare]]
        return self._dotted.get(dotted(f"{scope}.{leaf}" if scope else leaf), [])
