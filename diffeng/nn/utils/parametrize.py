"""Parametrizations: a parameter of a module is computed, whenever it is read, from others that are trained in its place.

What it is: a class of the module's own, whose attribute of that name is a property. What it is not: no norm (parametrizations.py).
"""
import contextlib

from ...errors import refuse
from ...tensor_engine.grad_mode import no_grad
from ..containers import ModuleDict
from ..module import Module, Parameter
from ..sequential import ModuleList

_cache = None                               # {(module's id, name): value}, inside of `cached`


@contextlib.contextmanager
def cached():
    """Inside, a parameter that is computed is computed once."""
    global _cache
    before, _cache = _cache, {} if _cache is None else _cache
    try:
        yield
    finally:
        _cache = before


class ParametrizationList(ModuleList):
    """The parametrizations of one tensor, in order, and what is trained: `original`, or `original0`, `original1`, ... where a right_inverse gives several."""

    def __init__(self, modules, original):
        super().__init__(modules)
        self.is_tensor, trained = True, isinstance(original, Parameter)
        with no_grad():
            new = self._back(original)
        if isinstance(new, (tuple, list)):
            self.is_tensor, self.ntensors = False, len(new)
        for name, x in zip(self.names, new if not self.is_tensor else (new,)):
            self.register_parameter(name, Parameter(x.detach(), original.requires_grad)) if trained else self.register_buffer(name, x.detach())

    @property
    def names(self):
        return ["original"] if self.is_tensor else [f"original{k}" for k in range(self.ntensors)]

    def _back(self, value):
        for one in [*self][::-1]:
            if hasattr(one, "right_inverse"):
                value = one.right_inverse(value)
        return value

    def right_inverse(self, value):
        """Write into the originals what makes the tensor this value, by the right_inverse of each parametrization."""
        for one in self:
            if not hasattr(one, "right_inverse"):
                raise refuse(RuntimeError, f"parametrize{{here}}: parametrization {type(one).__name__} does not implement right_inverse: nothing says what makes the tensor this value")
        with no_grad():
            new = self._back(value)
            for name, x in zip(self.names, (new,) if self.is_tensor else new):
                getattr(self, name).copy_(x)

    def forward(self):
        first, *others = self
        value = first(*[getattr(self, name) for name in self.names])
        for one in others:
            value = one(value)
        return value


def is_parametrized(module, tensor_name=None):
    """Is a tensor of the module, or this one, computed from others?"""
    found = vars(module).get("parametrizations")
    return bool(found) and (tensor_name is None or tensor_name in found)


def type_before_parametrizations(module):
    return type(module)._plain if is_parametrized(module) else type(module)


def _property(name):
    def read(self):
        if _cache is None:
            return self.parametrizations[name]()
        key = id(self), name
        if key not in _cache:
            _cache[key] = self.parametrizations[name]()
        return _cache[key]
    return property(read, lambda self, value: self.parametrizations[name].right_inverse(value))


def register_parametrization(module, tensor_name, parametrization, *, unsafe=False):
    """From now on module.tensor_name is parametrization(original), of a Parameter module.parametrizations.tensor_name.original, which has its place. Returns the module.

    parametrization: a Module. Its right_inverse(value), if it has one, gives the original, or several, from the value that there is, and for every value that is set.
    unsafe: its result may have another shape or dtype.

    >>> import diffeng as de
    >>> class Symmetric(Module):
    ...     def forward(self, x):
    ...         return x.triu() + x.triu(1).mT
    >>> layer = register_parametrization(de.nn.Linear(3, 3), "weight", Symmetric())
    >>> bool((layer.weight == layer.weight.mT).all()), [name for name, _ in layer.named_parameters()]
    (True, ['bias', 'parametrizations.weight.original'])
    """
    if is_parametrized(module, tensor_name):
        module.parametrizations[tensor_name].append(parametrization)
        return module
    value = vars(module).get(tensor_name)
    if value is None:
        raise refuse(ValueError, f"register_parametrization{{here}}: Module {type(module).__name__} does not have a parameter, a buffer, or a parametrized element with name {tensor_name!r}")
    parametrization.train(module.training)
    made = ParametrizationList([parametrization], value)
    with no_grad():
        new = made()
    if not unsafe and (new.shape != value.shape or new.dtype != value.dtype):
        raise refuse(ValueError, f"register_parametrization{{here}}: a parametrization may not change the shape or the dtype of the tensor, unless unsafe=True: {list(value.shape)} "
                                 f"{value.dtype} became {list(new.shape)} {new.dtype}")
    delattr(module, tensor_name)
    if not is_parametrized(module):
        plain = type(module)
        object.__setattr__(module, "__class__", type(f"Parametrized{plain.__name__}", (plain,), {"_plain": plain, "__module__": __name__}))
        module.parametrizations = ModuleDict()
    setattr(type(module), tensor_name, _property(tensor_name))
    module.parametrizations[tensor_name] = made
    return module


def remove_parametrizations(module, tensor_name, leave_parametrized=True):
    """The tensor as a Parameter again, of the value that it has; leave_parametrized=False: of the original's. Returns the module."""
    if not is_parametrized(module, tensor_name):
        raise refuse(ValueError, f"remove_parametrizations{{here}}: module {type(module).__name__} does not have a parametrization on {tensor_name}")
    made = module.parametrizations[tensor_name]
    if not leave_parametrized and not made.is_tensor:
        raise refuse(ValueError, "remove_parametrizations{here}: Cannot leave unparametrized (`leave_parametrized=False`) a tensor that is parametrized in terms of a sequence of tensors")
    with no_grad():
        value = (getattr(module, tensor_name) if leave_parametrized else made.original).detach().clone()
    delattr(type(module), tensor_name)
    del module.parametrizations[tensor_name]
    first = getattr(made, made.names[0])
    module.register_parameter(tensor_name, Parameter(value, first.requires_grad)) if isinstance(first, Parameter) else module.register_buffer(tensor_name, value)
    if not len(module.parametrizations):
        delattr(module, "parametrizations")
        object.__setattr__(module, "__class__", type(module)._plain)
    return module
