"""The context `freeze_variables` over modules: what is built inside it, by this thread, is frozen.

    stop_gradient      the modules run on detached parameters: their use brings no gradient, another
                       way to reach a parameter, such as a penalty on its norm, still does
    skip_collection    the parameters need no gradient at all and have the role `model`

PyTorch tells of every parameter and every submodule that a module is given.  Which of them were
there before, only the garbage collector knows, so it is asked once when the context is entered.
"""

import gc
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any
from weakref import WeakKeyDictionary

from torch import nn
from torch.nn.modules.module import (
    register_module_module_registration_hook,
    register_module_parameter_registration_hook,
)
from torch.nn.parameter import is_lazy

#: What the modules in a running forward own in truth; stacks, since a module may run inside itself.
LENT: WeakKeyDictionary[nn.Module, list[list[tuple[nn.Module, str, nn.Parameter]]]]
LENT = WeakKeyDictionary()

#: The attribute of a module that says which of its parameters run detached.
STOPPED = "_warmstart_stopped"


@contextmanager
def freeze_variables(stop_gradient: bool = True, skip_collection: bool = False) -> Iterator[None]:
    """Freeze what this thread's modules are given inside the context.

    A parameter that was there before is left to need gradients; used through a module built
    inside, it brings none.  A parameter that no module is given cannot be seen.
    """
    thread = threading.get_ident()
    modules = existing(nn.Module)
    parameters = existing(nn.Parameter) if skip_collection else {}

    def given_parameter(module: nn.Module, name: str, parameter: nn.Parameter | None) -> None:
        if parameter is None or threading.get_ident() != thread:
            return
        if skip_collection and id(parameter) not in parameters:
            parameter.requires_grad = False  # the method of that name refuses lazy parameters
        if stop_gradient and id(module) not in modules:
            stop_gradient_of(module, name, lazy=is_lazy(parameter))

    def given_module(module: nn.Module, name: str, child: nn.Module | None) -> None:
        if stop_gradient and threading.get_ident() == thread and id(module) not in modules:
            watch(module)

    with ExitStack() as stack:
        stack.enter_context(register_module_parameter_registration_hook(given_parameter))
        stack.enter_context(register_module_module_registration_hook(given_module))
        yield


def existing(kind: type) -> dict[int, Any]:
    """Return every live object of *kind* by its id, which it keeps while it is in the result."""
    return {id(each): each for each in gc.get_objects() if issubclass(type(each), kind)}


def stop_gradient_of(module: nn.Module, name: str, *, lazy: bool) -> None:
    """Let *module* run on its parameter *name* detached from now on."""
    watch(module)
    module.__dict__[STOPPED] |= {name}  # around nn.Module, which looks at every attribute set
    if lazy:  # behind the hook that gives it its shape
        before = module._forward_pre_hooks
        own = next(key for key, hook in before.items() if hook is detach)
        before.move_to_end(own)  # type: ignore[attr-defined]


def watch(module: nn.Module) -> None:
    """Set the hooks of *module*, once."""
    if STOPPED not in module.__dict__:
        module.__dict__[STOPPED] = frozenset()
        module.register_forward_pre_hook(detach)
        module.register_forward_hook(attach, always_call=True)


def detach(module: nn.Module, args: Any) -> None:
    """Put detached parameters in place of all stopped ones below *module*; a forward pre-hook.

    Not only of *module* itself: attention uses the weight of its output layer without calling it.
    """
    lent = []
    for owner in module.modules():
        for name in owner.__dict__.get(STOPPED, ()):
            parameter = owner._parameters.get(name)
            if parameter is not None and parameter.requires_grad and not is_lazy(parameter):
                lent.append((owner, name, parameter))
    detached = {id(p): nn.Parameter(p.detach(), requires_grad=False) for _, _, p in lent}
    for owner, name, parameter in lent:
        owner._parameters[name] = detached[id(parameter)]
    LENT.setdefault(module, []).append(lent)


def attach(module: nn.Module, args: Any, output: Any) -> None:
    """Put the parameters themselves back; a forward hook."""
    stack = LENT.get(module)
    for owner, name, parameter in stack.pop() if stack else ():
        owner._parameters[name] = parameter
