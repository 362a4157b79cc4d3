"""What a checkpoint would fill of a model, or of another checkpoint.  Nothing is changed.

plan = match("base.npz", model, rules=["drop head/*"])
print(plan)
"""

from contextlib import ExitStack
from pathlib import Path
from typing import Any, Unpack

from ..formats import open_source
from ..restore.plan import Plan, Verdict
from ..restore.sessinit import SourceRestore
from ..restore.slots import is_batch_counter
from ..restore.stand_in import StandIn
from .options import FOR_ALL, Reading


def match(
    checkpoint: str | Path,
    target: Any,
    *,
    rules: Any = (),
    layout: str | None = None,
    **options: Unpack[Reading],
) -> Plan:
    """Return what the *checkpoint* would fill of *target*: a live model, or a checkpoint's path.

    *rules* and *layout* are those of `SmartInit`, *options* those of `open`.
    """
    with ExitStack() as stack:
        source = stack.enter_context(open_source(checkpoint, **options))
        if isinstance(target, str | Path):
            common: Any = {name: value for name, value in options.items() if name in FOR_ALL}
            target = StandIn(stack.enter_context(open_source(target, **common)))
        init = SourceRestore(source, label=str(checkpoint), rules=rules, layout=layout)
        return init.plan(target)


def is_complete(plan: Plan) -> bool:
    """Return whether every variable of the model would be loaded; slots and counters aside."""
    return all(
        verdict is Verdict.LOADED
        for name, verdict in plan.targets.items()
        if (spec := plan.specs[name]).role in ("trainable", "model") and not is_batch_counter(spec)
    )
