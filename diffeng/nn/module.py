"""Module: a tree of layers with parameters, as PyTorch has it; Parameter.

What it is: names. A module's parameters, buffers and children are simply its attributes; whoever asks for them gets them in the order in which they were set.

What it is not: no layer (layers.py), no list of modules (sequential.py), no operation.
"""
import collections
import collections.abc

import numpy as np

from ..errors import refuse
from ..tensor_engine import core
from ..tensor_engine.grad_mode import no_grad
from ..tensor_engine.hooks import Handle
from ..tensor_engine.making import wanted
from ..tensors import Tensor, as_tensor
from . import hooks

Missing = collections.namedtuple("IncompatibleKeys", "missing_keys unexpected_keys")


class _Entries(collections.abc.MutableMapping):
    """Some of a module's attributes as a dict: what is set or deleted here is there."""

    def __init__(self, module, wanted):
        self.module, self.wanted = module, wanted

    def __iter__(self):
        return iter([name for name, x in vars(self.module).items() if self.wanted(name, x)])

    def __getitem__(self, name):
        if name not in [*self]:
            raise KeyError(name)
        return vars(self.module)[name]

    def __setitem__(self, name, x):
        setattr(self.module, name, x)

    def __delitem__(self, name):
        self[name]
        delattr(self.module, name)

    def __len__(self):
        return sum([self.wanted(name, x) for name, x in vars(self.module).items()])

    def __repr__(self):
        return repr(dict(self))


class Parameter(Tensor):
    """A tensor that is trained: a leaf with requires_grad, which a Module finds among its attributes. data: copied.

    >>> import diffeng as de
    >>> Parameter(de.zeros(2))
    Parameter containing:
    tensor([0., 0.], requires_grad=True)
    """

    def __new__(cls, data=(), requires_grad=True):
        t = super().__new__(cls, data)
        return t.requires_grad_() if requires_grad else t

    def __repr__(self):
        return "Parameter containing:\n" + super().__repr__()


class Module:
    """A layer, or several: subclasses set parameters and other modules as attributes and define forward; calling the module calls it.

    training: is it in training mode (see train, eval)?

    >>> import diffeng as de
    >>> class Net(Module):
    ...     def __init__(self):
    ...         super().__init__()
    ...         self.hidden = de.nn.Linear(2, 3)
    ...     def forward(self, x):
    ...         return self.hidden(x).relu()
    >>> Net()
    Net(
      (hidden): Linear(in_features=2, out_features=3, bias=True)
    )
    >>> [name for name, _ in Net().named_parameters()]
    ['hidden.weight', 'hidden.bias']
    """

    training = True
    _buffer_names = ()                           # names of attributes that are buffers; those of them that state_dict leaves out
    _transient = ()
    _hooks = None                           # {"before": {number: function}, "after": ..., "backward": ...}, once there was a hook

    def __setattr__(self, name, value):
        """Raises TypeError where a plain tensor would take the place of a parameter, as nothing would train it."""
        if isinstance(vars(self).get(name), Parameter) and value is not None and not isinstance(value, (Parameter, Module)):
            raise refuse(TypeError, f"{type(self).__name__}.{name}{{here}}: cannot assign an object of type {type(value).__name__} as parameter '{name}' (Parameter or "
                                    "None expected): write Parameter(x), or copy values into it: with no_grad(): module."
                                    f"{name}.copy_(x)")
        object.__setattr__(self, name, value)

    def __getattr__(self, name):
        """The attribute of this name: for subclasses, whose own __getattr__ asks super().__getattr__(name) first. Raises AttributeError where there is none."""
        try:
            return vars(self)[name]
        except KeyError:
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}") from None

    def forward(self, *args):
        raise NotImplementedError(f"Module [{type(self).__name__}] is missing the required \"forward\" function")

    def __call__(self, *args, **kwargs):
        return self.forward(*args, **kwargs) if self._hooks is None else hooks.called(self, args, kwargs)

    def register_forward_hook(self, hook, *, prepend=False, with_kwargs=False):
        """hook(module, args, output) is called after each forward; what it returns, unless None, takes the output's place. Returns a handle, whose remove() takes the
        hook away. prepend: before the hooks that there are. with_kwargs: hook(module, args, kwargs, output).

        >>> import diffeng as de
        >>> layer, seen = de.nn.Linear(2, 3), []
        >>> handle = layer.register_forward_hook(lambda module, args, output: seen.append(output.shape))
        >>> _ = layer(de.zeros(5, 2))
        >>> seen, handle.remove()
        ([(5, 3)], None)
        """
        return self._hooked("after", hook, prepend, with_kwargs)

    def register_forward_pre_hook(self, hook, *, prepend=False, with_kwargs=False):
        """hook(module, args) is called before each forward; what it returns, unless None, takes the arguments' place: a tuple, or the one argument. with_kwargs:
        hook(module, args, kwargs), which returns both, or None."""
        return self._hooked("before", hook, prepend, with_kwargs)

    def register_full_backward_hook(self, hook, prepend=False):
        """hook(module, grad_input, grad_output) is called when a backward pass has the gradients of the module's results and of its arguments: tuples of tensors, None
        where there is none. What it returns, unless None, takes the place of grad_input. Returns a handle."""
        return self._hooked("backward", hook, prepend)

    def register_full_backward_pre_hook(self, hook, prepend=False):
        """hook(module, grad_output) is called when a backward pass has the gradients of the module's results; what it returns, unless None, takes their place."""
        return self._hooked("backward_pre", hook, prepend)

    register_backward_hook = register_full_backward_hook

    def register_load_state_dict_post_hook(self, hook):
        """hook(module, incompatible_keys) is called when this module has loaded a state dict; it may change the two lists of keys. Returns a handle."""
        return self._hooked("loaded", hook)

    def register_state_dict_post_hook(self, hook):
        """hook(module, state_dict, prefix, local_metadata) is called on what state_dict() of this module is to return, which it may change. Returns a handle."""
        return self._hooked("stated", hook)

    _register_state_dict_hook = register_state_dict_post_hook

    def _hooked(self, when, hook, prepend=False, with_kwargs=False):
        if self._hooks is None:
            self._hooks = {name: {} for name in ("before", "after", "backward", "backward_pre", "loaded", "stated")}
        kept = self._hooks[when]
        handle = Handle(kept, hooks.WithKeywords(hook) if with_kwargs else hook)
        if prepend:
            order = [*kept.items()]
            kept.clear()
            kept.update(order[-1:] + order[:-1])
        return handle

    # ---- what is in it -----------------------------------------------------------------------------------------------------------------

    def register_parameter(self, name, param):
        """Set an attribute to a Parameter, or to None."""
        setattr(self, name, param)

    def register_buffer(self, name, tensor, persistent=True):
        """Set an attribute to a tensor that is no parameter, but part of the state (persistent) and of what `to` converts."""
        setattr(self, name, tensor)
        self._buffer_names = (*self._buffer_names, name)
        if not persistent:
            self._transient = (*self._transient, name)

    def add_module(self, name, module):
        """Set an attribute to a module, or to None. Raises TypeError for what is neither."""
        if module is not None and not isinstance(module, Module):
            raise refuse(TypeError, f"{type(self).__name__}{{here}}: {type(module).__name__} is not a Module subclass: the entry {name!r} is to be a module, or None")
        setattr(self, name, module)

    register_module = add_module

    _modules = property(lambda self: _Entries(self, lambda name, x: isinstance(x, Module)), doc="{name: module}: the modules that are attributes.")
    _parameters = property(lambda self: _Entries(self, lambda name, x: isinstance(x, Parameter)), doc="{name: Parameter}: the parameters that are attributes.")
    _buffers = property(lambda self: _Entries(self, lambda name, x: name in self._buffer_names), doc="{name: tensor}: the buffers that are attributes.")

    def _members(self):
        """[(name, module)]: every attribute that is a module, a shared one under each of its names."""
        return [(name, x) for name, x in vars(self).items() if isinstance(x, Module)]

    def named_children(self):
        """(name, module) of the modules that are attributes; each module once."""
        seen = set()
        for name, x in self._members():
            if id(x) not in seen:
                seen.add(id(x))
                yield name, x

    def children(self):
        return (m for _, m in self.named_children())

    def named_modules(self, prefix=""):
        """(name, module), this one first, with the name ""; each module once."""
        seen, stack = set(), [(prefix, self)]
        while stack:
            name, module = stack.pop()
            if id(module) not in seen:
                seen.add(id(module))
                yield name, module
                stack += [(f"{name}.{n}" if name else n, m) for n, m in reversed([*module.named_children()])]

    def modules(self):
        return (m for _, m in self.named_modules())

    def get_submodule(self, target):
        """The module of a name such as "layers.0"."""
        found = dict(self.named_modules())
        if target not in found:
            raise AttributeError(f"{type(self).__name__} has no module {target!r}; it has {', '.join(n for n in found if n)}")
        return found[target]

    def _found(self, target, kind, what):
        path, _, name = target.rpartition(".")
        x = getattr(self.get_submodule(path) if path else self, name, None)
        if not isinstance(x, kind):
            raise AttributeError(f"{type(self).__name__} has no {what} {target!r}")
        return x

    def get_parameter(self, target):
        """The Parameter of a name such as "layers.0.weight"."""
        return self._found(target, Parameter, "parameter")

    def get_buffer(self, target):
        """The buffer of a name such as "layers.1.running_mean"."""
        return self._found(target, Tensor, "buffer")

    def set_submodule(self, target, module):
        """Another module in the place of the one of this name."""
        path, _, name = target.rpartition(".")
        setattr(self.get_submodule(path) if path else self, name, module)

    def _named(self, prefix, recurse, wanted):
        seen = set()
        for path, module in self.named_modules(prefix) if recurse else [(prefix, self)]:
            for name, x in vars(module).items():
                if wanted(module, name, x) and id(x) not in seen:
                    seen.add(id(x))
                    yield (f"{path}.{name}" if path else name), x

    def named_parameters(self, prefix="", recurse=True):
        """(name, Parameter), each once."""
        return self._named(prefix, recurse, lambda module, name, x: isinstance(x, Parameter))

    def parameters(self, recurse=True):
        return (p for _, p in self.named_parameters("", recurse))

    def named_buffers(self, prefix="", recurse=True):
        return self._named(prefix, recurse, lambda module, name, x: name in module._buffer_names and x is not None)

    def buffers(self, recurse=True):
        return (b for _, b in self.named_buffers("", recurse))

    # ---- state --------------------------------------------------------------------------------------------------------------------------

    def _state(self):
        """{name: tensor}: what is shared stands under each of its names."""
        found, stack = {}, [("", self)]
        while stack:
            path, module = stack.pop()
            found.update({path + name: x for name, x in vars(module).items()
                          if isinstance(x, Parameter) or name in module._buffer_names and name not in module._transient and x is not None})
            stack += [(f"{path}{n}.", m) for n, m in module._members()[::-1]]
        return found

    def state_dict(self):
        """{name: tensor} of parameters and buffers; the tensors share the module's memory."""
        found = collections.OrderedDict([(name, x.detach()) for name, x in self._state().items()])
        for path, module, hook in self._hooks_of_all("stated"):
            hook(module, found, f"{path}." if path else "", {})
        return found

    def _hooks_of_all(self, when):
        """[(path, module, hook)], those inside first."""
        return [(path, m, hook) for path, m in [*self.named_modules()][::-1] if m._hooks is not None for hook in m._hooks[when].values()]

    def load_state_dict(self, state_dict, strict=True):
        """Copy tensors (or arrays) into parameters and buffers of the same names. Returns (missing_keys, unexpected_keys).

        Raises RuntimeError that names keys that are missing or not expected (unless strict=False) and shapes that do not fit; then nothing is copied.
        """
        own = self._state()
        missing, unexpected = [k for k in own if k not in state_dict], [k for k in state_dict if k not in own]
        given = {k: as_tensor(x if isinstance(x, Tensor) else np.asarray(x)) for k, x in state_dict.items() if k in own}
        found, hooked = Missing(missing, unexpected), self._hooks_of_all("loaded")

        def keys():
            named = [(words, ", ".join([f'"{k}"' for k in names])) for words, names in (("Unexpected", unexpected), ("Missing", missing)) if names and strict]
            return [f"{words} key(s) in state_dict: {names}. " for words, names in named]
        sizes = [f"size mismatch for {k}: copying a param with shape {list(x.shape)} from checkpoint, the shape in current model is {list(own[k].shape)}."
                 for k, x in given.items() if x.shape != own[k].shape]
        self._not(sizes if hooked else keys() + sizes)
        with no_grad():
            for k, x in given.items():
                own[k].copy_(x)
        for _, module, hook in hooked:
            hook(module, found)
        self._not(hooked and keys())                          # of what the hooks have left of them
        return found

    def _not(self, errors):
        if errors:
            raise refuse(RuntimeError, f"load_state_dict{{here}}: Error(s) in loading state_dict for {type(self).__name__}:\n\t" + "\n\t".join(errors))

    # ---- changes of all of it ---------------------------------------------------------------------------------------------------------------

    def train(self, mode=True):
        """Training mode, or not: Dropout draws, or does nothing. Returns the module."""
        for m in self.modules():
            m.training = bool(mode)
        return self

    def eval(self):
        return self.train(False)

    def requires_grad_(self, requires_grad=True):
        for p in self.parameters():
            p.requires_grad_(requires_grad)
        return self

    def zero_grad(self, set_to_none=True):
        """Forget the gradients of all parameters (or set them to 0)."""
        for p in self.parameters():
            if set_to_none:
                p._grad = None
            elif p._grad is not None:
                p._grad.zero_()

    def apply(self, fn):
        """fn(module) for every module, children first. Returns the module."""
        order, stack = [], [self]
        while stack:
            order.append(stack.pop())
            stack.extend(order[-1].children())
        for m in reversed(order):
            fn(m)
        return self

    def to(self, *args, dtype=None, device=None, non_blocking=False, memory_format=None):
        """Parameters and buffers on another device, those of floating point in another dtype: to(de.float64), to("cuda"). They stay the same objects, and what
        an optimiser remembers of them follows at its next step. Returns the module."""
        dtype, device = wanted(args, dtype, device)
        if dtype is not None and dtype.kind != "f":
            raise refuse(TypeError, f"to{{here}}: nn.Module.to only accepts floating point dtypes, but got desired dtype={dtype}")
        for x in (*self.parameters(), *self.buffers()):
            new = x.detach().to(device=device, dtype=dtype if x.dtype.kind == "f" else None)
            if new.dtype != x.dtype or new.device != x.device:
                grad = x._grad
                _become(x, new)
                x._grad = None if grad is None else grad.to(new)
        return self

    def float(self):
        return self.to(np.dtype("float32"))

    def double(self):
        return self.to(np.dtype("float64"))

    def half(self):
        return self.to(np.dtype("float16"))

    def type(self, dst_type):
        return self.to(dst_type)

    def cpu(self):
        return self.to("cpu")

    def cuda(self, device=None):
        return self.to("cuda" if device in (None, 0) else device)

    # ---- how it prints ------------------------------------------------------------------------------------------------------------------------

    def _get_name(self):
        return type(self).__name__

    def extra_repr(self):
        """What stands between the brackets."""
        return ""

    def _lines(self):
        return [f"({name}): {indented(repr(m))}" for name, m in self._members()]

    def __repr__(self):
        lines, extra = self._lines(), self.extra_repr()
        if not lines:
            return f"{self._get_name()}({extra})"
        return f"{self._get_name()}(\n  " + "\n  ".join(([extra] if extra else []) + lines) + "\n)"


def _become(t, new):
    """The same object with another array, of another dtype or on another device."""
    core.moves += new.device != t.device
    t._array, t._node, t._like, t._spec, t._key = core.own(new.held()), None, None, None, 0


def indented(text):
    return text.replace("\n", "\n  ")


FRESH = set()                            # classes of modules whose result nobody else holds: who writes into it next need not, as nobody sees it
ONE_OPERATION = {}                       # class of a module -> (Operation, the attributes that follow x): what its forward is, and nothing else
