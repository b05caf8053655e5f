"""Hooks of modules: functions of the user's that are called around a forward, and with the gradients that pass a module.

What it is: the call of a module that has some. What it is not: nothing is registered here (module.py).
"""
from ..tensor_engine.core import TensorBase, mode
from ..tensor_engine.own_backward import Function


class WithKeywords:
    """A hook that is told of arguments that came by name, too."""

    def __init__(self, hook):
        self.hook = hook


def called(module, args, kwargs):
    """module.forward(*args, **kwargs), with what its hooks do."""
    for hook in [*module._hooks["before"].values()]:
        if type(hook) is WithKeywords:
            args, kwargs = hook.hook(module, args, kwargs) or (args, kwargs)
        else:
            new = hook(module, args)
            args = args if new is None else new if isinstance(new, tuple) else (new,)
    backward = mode.enabled and [*module._hooks["backward"].values(), *module._hooks["backward_pre"].values()]
    if backward:
        args, told = _told_of_arguments(module, args)
    out = module.forward(*args, **kwargs)
    for hook in [*module._hooks["after"].values()]:
        new = hook.hook(module, args, kwargs, out) if type(hook) is WithKeywords else hook(module, args, out)
        out = out if new is None else new
    if backward:
        several = isinstance(out, (tuple, list))
        out = _Told.apply(told, *out) if several else _Told.apply(told, out)[0]
    return out


class _Told(Function):
    """The same tensors, whose gradients are told: tell(gradients) -> others in their place, or None."""

    @staticmethod
    def forward(ctx, tell, *tensors):
        ctx.tell = tell
        return tensors

    @staticmethod
    def backward(ctx, *gradients):
        new = ctx.tell(gradients)
        return (None, *(gradients if new is None else new))


def _told_of_arguments(module, args):
    """The arguments, whose gradients are told to the hooks, and the function that is to be told of those of the results: where no argument has a gradient, it calls
    the hooks itself."""
    of_results, asked = [], any([isinstance(x, TensorBase) and x.requires for x in args])

    def at_arguments(gradients):
        gradients = tuple([g if isinstance(x, TensorBase) and x.requires else None for g, x in zip(gradients, args)])
        for hook in [*module._hooks["backward"].values()]:
            new = hook(module, gradients, of_results[-1])
            gradients = gradients if new is None else new if isinstance(new, (tuple, list)) else (new,)
        return gradients

    def at_results(gradients):
        for hook in [*module._hooks["backward_pre"].values()]:
            new = hook(module, gradients)
            gradients = gradients if new is None else new if isinstance(new, (tuple, list)) else (new,)
        of_results.append(gradients)
        if not asked:
            at_arguments((None,) * len(args))
        return gradients
    return (_Told.apply(at_arguments, *args) if asked else args), at_results
