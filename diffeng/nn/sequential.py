"""Sequential and ModuleList: modules by number.

What it is: lists, and the call of modules one after the other, in which neighbours that are one operation each become one.
"""
import functools

import numpy as np

from ..tensor_engine.core import Operation
from ..traced import Traced
from .module import FRESH, ONE_OPERATION, Module, indented


class _Several(Module):
    """Modules, or None, under the names "0", "1", ..."""

    def _entries(self):
        return [(name, x) for name, x in vars(self).items() if isinstance(x, Module) or x is None and name.isdigit()]

    def _renumbered(self, modules):
        for name, _ in self._entries():
            delattr(self, name)
        for k, m in enumerate(modules):
            self.add_module(str(k), m)

    def append(self, module):
        """One more at the end. Returns the container."""
        self.add_module(str(len(self)), module)
        return self

    def extend(self, modules):
        for m in [*modules]:
            self.append(m)
        return self

    def insert(self, index, module):
        """One more before the one of this number; those behind it have other numbers then. Returns the container."""
        modules = [*self]
        modules.insert(index, module)
        self._renumbered(modules)
        return self

    def pop(self, k=-1):
        """The module of this number, which is taken out; those behind it have other numbers then."""
        module = self[k]
        del self[k]
        return module

    def __add__(self, other):
        return type(self)._made([(str(k), m) for k, m in enumerate([*self, *other])])

    def __iadd__(self, other):
        return self.extend(other)

    def __len__(self):
        return len(self._entries())

    def __iter__(self):
        return iter([m for _, m in self._entries()])

    def _name(self, k):
        names = [n for n, _ in self._entries()]
        if not -len(names) <= k < len(names):
            raise IndexError(f"index {k} is out of range: there are {len(names)} modules")
        return names[k]

    def __setitem__(self, k, module):
        self.add_module(self._name(k), module)

    def __delitem__(self, k):
        modules = [*self]
        del modules[k]
        self._renumbered(modules)

    def __getitem__(self, k):
        if isinstance(k, slice):
            return type(self)._made(self._entries()[k])
        return getattr(self, self._name(k))


class Sequential(_Several):
    """Modules one after the other: Sequential(a, b)(x) is b(a(x)). Also of an OrderedDict of names and modules."""

    def __init__(self, *modules):
        if len(modules) == 1 and isinstance(modules[0], dict):
            for name, m in modules[0].items():
                self.add_module(name, m)
        else:
            self.extend(modules)

    @classmethod
    def _made(cls, named):
        return cls(dict(named))

    def __setattr__(self, name, value):
        vars(self).pop("_stretches", None)
        super().__setattr__(name, value)

    def __delattr__(self, name):
        vars(self).pop("_stretches", None)
        object.__delattr__(self, name)

    def forward(self, x):
        stretches = vars(self).get("_stretches")
        if stretches is None or not _as_they_were(stretches):
            stretches = vars(self)["_stretches"] = _stretched(self)
        for call, parts in stretches:
            x = call(x, *[attributes[name] for attributes, names, _ in parts for name in names])
        return x


def _stretched(modules):
    """[(what to call, [(attributes of a module, names of operands, how many attributes there are)])]: neighbours that are one operation each are one."""
    out, run, before, ahead = [], [], {}, []
    for m in [*modules, None]:
        attributes = vars(m) if m is not None else {}
        plain = "forward" not in attributes and "_hooks" not in attributes
        op, names = ONE_OPERATION.get(type(m), (None, ())) if plain else (None, ())
        inplace = not run and attributes.get("inplace")
        if op is not None and (not inplace or before) and all([attributes.get(name) is not None for name in names]):
            ahead = [(before, (), len(before))] if inplace else ahead
            run.append((op, (attributes, names, len(attributes))))
            continue
        if run:
            out.append((_chain(tuple([(op, len(part[1])) for op, part in run])), ahead + [part for _, part in run]))
            run, ahead = [], []
        before = attributes if plain and type(m) in FRESH else {}
        if m is not None:
            out.append((m, ()))
    return out


def _as_they_were(stretches):
    """Has no layer got an attribute, such as a forward of its own, or lost its bias?"""
    for _, parts in stretches:
        for attributes, names, count in parts:
            if len(attributes) != count or names and attributes[names[-1]] is None:
                return False
    return True


@functools.lru_cache(maxsize=1000)
def _chain(steps):
    """Operations one after the other, each with so many operands of its own, as one."""
    if len(steps) == 1:
        return steps[0][0]

    def chain(x, *parameters):
        for op, n in steps:
            x = op.function(x, *parameters[:n])
            x, parameters = x if isinstance(x, Traced) else np.asarray(x), parameters[n:]
        return x
    return Operation(chain, steps[-1][0].name)


class ModuleList(_Several):
    """A list of modules whose parameters count as the module's own; entries may be None. It has no forward."""

    def __init__(self, modules=()):
        self.extend(modules)

    @classmethod
    def _made(cls, named):
        return cls([m for _, m in named])

    def _lines(self):
        lines, run = [], []
        for name, m in [*self._entries(), (None, None)]:
            text = repr(m) if name is not None else None
            if run and text != run[0][1]:
                first, last, n = run[0][0], run[-1][0], len(run)
                lines.append(f"({first}): {indented(run[0][1])}" if n == 1 else f"({first}-{last}): {n} x {indented(run[0][1])}")
                run = []
            run.append((name, text))
        return lines
