"""ModuleDict and ParameterList: modules by name, parameters by number, which count as the owner's own.

What it is not: Sequential and ModuleList are sequential.py's.
"""
from ..errors import refuse
from .module import Module, Parameter


class ModuleDict(Module):
    """Modules under names of the user's, in the order in which they were given. It has no forward.

    >>> import diffeng as de
    >>> ModuleDict({"up": de.nn.Linear(2, 3), "act": de.nn.ReLU()})["up"](de.zeros(1, 2)).shape
    (1, 3)
    """

    def __init__(self, modules=None):
        self.update(modules or {})

    def update(self, modules):
        """More of them: a dict, or pairs of a name and a module."""
        for name, module in modules.items() if hasattr(modules, "items") else modules:
            self[name] = module

    def __setitem__(self, name, module):
        if not isinstance(module, Module):
            raise refuse(TypeError, f"ModuleDict{{here}}: {type(module).__name__} is not a Module subclass")
        if name not in self and hasattr(self, name):
            raise refuse(KeyError, f"ModuleDict{{here}}: attribute {name!r} already exists: modules are attributes; choose another name")
        self.add_module(name, module)

    def __getitem__(self, name):
        return dict(self.items())[name]

    def __delitem__(self, name):
        self[name]
        delattr(self, name)

    def pop(self, name):
        """The module of this name, which is taken out."""
        module = self[name]
        del self[name]
        return module

    def clear(self):
        for name in [*self]:
            del self[name]

    def __contains__(self, name):
        return name in self.keys()

    def __len__(self):
        return len(self.keys())

    def __iter__(self):
        return iter(self.keys())

    def keys(self):
        return [name for name, _ in self.items()]

    def items(self):
        return [*self.named_children()]

    def values(self):
        return [module for _, module in self.items()]


class ParameterList(Module):
    """Parameters under the names "0", "1", ...; tensors become Parameters. It has no forward.

    >>> import diffeng as de
    >>> [name for name, _ in ParameterList([de.zeros(2), de.ones(3)]).named_parameters()]
    ['0', '1']
    """

    def __init__(self, values=()):
        self._count = 0
        self.extend(values)

    def append(self, value):
        """One more at the end. Returns the list."""
        self._count += 1
        self[self._count - 1] = value
        return self

    def extend(self, values):
        for value in values:
            self.append(value)
        return self

    def _name(self, k):
        if not -self._count <= k < self._count:
            raise IndexError(f"index {k} is out of range: there are {self._count} parameters")
        return str(k % self._count)

    def __setitem__(self, k, value):
        setattr(self, self._name(k), value if isinstance(value, Parameter) else Parameter(value))

    def __getitem__(self, k):
        if isinstance(k, slice):
            return ParameterList([*self][k])
        return getattr(self, self._name(k))

    def __len__(self):
        return self._count

    def __iter__(self):
        return iter([self[k] for k in range(self._count)])

    def _lines(self):
        return [f"({k}): Parameter containing: [{p.dtype.name} of size {'x'.join(map(str, p.shape))}]" for k, p in enumerate(self)]
