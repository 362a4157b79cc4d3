"""How many threads a run computes with: sums of floats depend on it in their last bits."""

import logging

log = logging.getLogger("warmstart")


def warn_of_other(saved: object, here: int, setter: str) -> None:
    """Warn when the run so far computed with another number of threads than this process."""
    if saved != here:
        log.warning(
            "the run so far computed with %s threads, this process with %d: sums may differ in "
            "their last bits; %s(%s) keeps them",
            saved, here, setter, saved,
        )  # fmt: skip
