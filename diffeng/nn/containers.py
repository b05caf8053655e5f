"""ModuleDict, ParameterDict and ParameterList: modules and parameters by name, parameters by number, which count as the owner's own.

What it is not: Sequential and ModuleList are sequential.py's.
"""
from ..errors import refuse
from .module import Module, Parameter


class _Named(Module):
    """What ModuleDict and ParameterDict share: entries under names of the user's. Subclasses say which attributes they are (held)."""

    def __init__(self, entries=None):
        self.update({} if entries is None else entries)

    def update(self, entries):
        """More of them: a dict, or pairs of a name and an entry."""
        for name, x in entries.items() if hasattr(entries, "items") else entries:
            self[name] = x

    def __setitem__(self, name, x):
        if name not in self and hasattr(self, name):
            raise refuse(KeyError, f"{type(self).__name__}{{here}}: attribute {name!r} already exists: entries are attributes; choose another name")
        self.held[name] = self._taken(name, x)

    def __getitem__(self, name):
        return self.held[name]

    def __delitem__(self, name):
        del self.held[name]

    def get(self, name, default=None):
        return self.held.get(name, default)

    def pop(self, name):
        """The entry of this name, which is taken out."""
        return self.held.pop(name)

    def clear(self):
        for name in [*self]:
            del self[name]

    def __contains__(self, name):
        return name in self.held

    def __len__(self):
        return len(self.held)

    def __iter__(self):
        return iter(self.held)

    def keys(self):
        return [*self.held]

    def items(self):
        return [*self.held.items()]

    def values(self):
        return [*self.held.values()]


class ModuleDict(_Named):
    """Modules under names of the user's, in the order in which they were given. It has no forward.

    >>> import diffeng as de
    >>> ModuleDict({"up": de.nn.Linear(2, 3), "act": de.nn.ReLU()})["up"](de.zeros(1, 2)).shape
    (1, 3)
    """

    held = property(lambda self: self._modules)

    def _taken(self, name, x):
        if not isinstance(x, Module):
            raise refuse(TypeError, f"ModuleDict{{here}}: {type(x).__name__} is not a Module subclass")
        return x


class ParameterDict(_Named):
    """Parameters under names of the user's, in the order in which they were given, a plain dict's by name; tensors become Parameters. It has no forward.

    >>> import diffeng as de
    >>> [name for name, _ in ParameterDict({"scale": de.ones(2), "bias": de.zeros(2)}).named_parameters()]
    ['bias', 'scale']
    """

    held = property(lambda self: self._parameters)

    def update(self, entries):
        super().update(dict(sorted(entries.items())) if type(entries) is dict else entries)          # as PyTorch has it

    def _taken(self, name, x):
        return x if isinstance(x, Parameter) else Parameter(x)

    def _lines(self):
        return [_line(name, p) for name, p in self.items()]


def _line(name, p):
    return f"({name}): Parameter containing: [{p.dtype.name} of size {'x'.join(map(str, p.shape))}]"


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
        return [_line(k, p) for k, p in enumerate(self)]
