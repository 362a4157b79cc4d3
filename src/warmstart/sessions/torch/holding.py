"""Hooks that keep a layer from moving what it owns, for as long as they stand.

They are functions of a module and of nothing else, so a model with them can be copied and pickled.
A copy keeps its layers just as still, and is not reached by a thaw of the original.
"""

from collections.abc import Collection, Iterator
from functools import partial
from typing import Any
from weakref import WeakKeyDictionary

from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from .compiling import untraced

#: What to put back when a layer's forward is over; stacks, since a layer may run inside itself.
Lent = WeakKeyDictionary[nn.Module, list[Any]]
BUFFERS: Lent = WeakKeyDictionary()
ROWS: Lent = WeakKeyDictionary()


def hold_statistics(layer: nn.Module) -> list[RemovableHandle]:
    """Let *layer* run in evaluation mode whatever `train()` says."""
    layer.training = False
    return [layer.register_forward_pre_hook(evaluate, prepend=True)]


def evaluate(layer: nn.Module, args: Any) -> None:
    """Put *layer* in evaluation mode; a forward pre-hook."""
    layer.training = False


def hold_buffers(layer: nn.Module, leaves: Collection[str]) -> list[RemovableHandle]:
    """Let *layer* run on copies of its buffers *leaves*, which are then thrown away."""
    lend = partial(lend_copies, leaves=tuple(leaves))
    return [
        layer.register_forward_pre_hook(lend, prepend=True),
        layer.register_forward_hook(take_back_buffers, always_call=True),
    ]


@untraced
def lend_copies(layer: nn.Module, args: Any, *, leaves: tuple[str, ...]) -> None:
    """Put copies in the place of buffers; a forward pre-hook."""
    own = {leaf: layer._buffers[leaf] for leaf in leaves}
    BUFFERS.setdefault(layer, []).append(own)
    for leaf, buffer in own.items():
        layer._buffers[leaf] = None if buffer is None else buffer.clone()


@untraced
def take_back_buffers(layer: nn.Module, args: Any, output: Any) -> None:
    """Put the buffers back; a forward hook."""
    for own in popped(BUFFERS, layer):
        layer._buffers.update(own)


def hold_rows(layer: nn.Module, mask: Tensor | None = None) -> list[RemovableHandle]:
    """Keep an embedding with max_norm from shortening the rows that it is asked for.

    With a *mask* over the weight it does so only where that is true.  What it returns is shortened
    as before.
    """
    return [
        layer.register_forward_pre_hook(partial(note_rows, mask=mask), with_kwargs=True),
        layer.register_forward_hook(take_back_rows, always_call=True),
    ]


@untraced
def note_rows(layer: nn.Module, args: Any, kwargs: Any, *, mask: Tensor | None) -> None:
    """Keep the rows of the weight that forward will read; a forward pre-hook."""
    rows = (args[0] if args else kwargs["input"]).unique()
    weight: Tensor = layer.weight  # type: ignore[assignment]
    held = None if mask is None else mask.to(weight.device)[rows]
    ROWS.setdefault(layer, []).append((rows, weight.detach()[rows], held))


@untraced
def take_back_rows(layer: nn.Module, args: Any, output: Any) -> None:
    """Set the rows to what they were; a forward hook."""
    weight: Tensor = layer.weight  # type: ignore[assignment]
    weight = weight.detach()
    for rows, values, held in popped(ROWS, layer):
        weight[rows] = values if held is None else values.where(held, weight[rows])


def popped(lent: Lent, layer: nn.Module) -> Iterator[Any]:
    """Yield what was lent last; nothing when the forward failed before it lent anything."""
    stack = lent.get(layer)
    if stack:
        yield stack.pop()
