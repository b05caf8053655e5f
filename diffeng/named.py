"""Which of NumPy's functions a user's function may ask for by name: only these need to be replaced while it runs (buffers.py).

What it is: `swaps(fun, args, everything)` follows the functions that the code names, through globals and closures, and collects the attributes they load.
Decided once for a code object, and looked over at each call: are the functions and modules still those that were followed?
What it is not: a proof. Where the code may reach other code (objects, modules of the user's, getattr) everything is replaced.
"""
import builtins
import functools
import math
import types

import numpy as np

from .by_name import is_replaced
from .reach import is_user_function, loaded
from .traced import TRACED

_INERT = {float, int, bool, complex, str, bytes, type(None), type(Ellipsis), slice, range, np.ufunc, types.BuiltinFunctionType, type(np.sum),
           np.dtype, *np.sctypeDict.values()}
POLYNOMIAL = "numpy.polynomial"          # whose code is generic: it is traced like the user's
_MODULES = ("numpy", "scipy", "math", "cmath", __package__)
_REACHING = frozenset({"eval", "exec", "globals", "locals", "compile", "__import__"})              # beside what reach.loaded calls reflective
_MOST, _LARGEST = 50, 200                # functions that are followed, items of a container that are looked at
_RETRIES = 20                            # how often a code object is followed anew whose functions may reach more: the next one, with other values in its closure, may not
_known = {}                              # id of a code object -> what was found, which keeps it alive
runners = set()                          # code objects of the engine's that name nothing themselves, and run a user's function for which swaps are asked in turn


def swaps(fun, args, everything):
    """everything.named(names, places) for the names that fun may ask for, and where it has imported them to; everything when that cannot be told."""
    for a in args:
        if type(a) not in TRACED and not _inert(a):
            return everything
    if type(fun) is functools.partial:
        if not _inert(fun.args) or not _inert(fun.keywords):
            return everything
        fun = fun.func
    if type(fun) is not types.FunctionType:
        return everything
    code = fun.__code__
    found = _known.get(id(code))
    if found is None or not found.holds_for(fun):
        if len(_known) > 10_000:
            _known.clear()
        found = _known[id(code)] = _Found(fun, 0 if found is None else found.retries + (found.names is None))
        found.swaps = everything if found.names is None else everything.named(found.names, tuple(found.places))
    return found.swaps


def _inert(x):
    """A value with no user code behind it."""
    kind = type(x)
    if kind is np.ndarray:
        return x.dtype.kind != "O"
    if kind in _INERT or kind in TRACED:
        return True
    if kind in (tuple, list, dict):
        if len(x) > _LARGEST:
            return False
        for i in x.values() if kind is dict else x:
            if not _inert(i):
                return False
        return True
    if kind is types.ModuleType:                              # given, and not named: whose functions are NumPy's, under the names of attributes
        return x is not math and x.__name__.partition(".")[0] in _MODULES and not x.__name__.startswith(POLYNOMIAL)
    return kind is types.BuiltinMethodType or kind is type and x.__module__ in ("numpy", "builtins") or kind is types.FunctionType and is_replaced(x)


class _Found:
    """What the code of a function names. names: None if it may reach more; places: globals that are functions of NumPy's. The rest says when that holds."""

    def __init__(self, fun, retries=0):
        self.swaps, self.names, self.places, self.code, self.retries = None, set(), [], fun.__code__, retries
        self._space, self._held = fun.__globals__, []               # (how to read it, what stood there; None: something inert)
        self._bare = fun.__defaults__ is fun.__kwdefaults__ is None
        seen, stack = {id(fun)}, [] if self.code in runners else [fun]
        while stack and self.names is not None:
            f = stack.pop()
            if is_user_function(f):
                attributes, names, reflective, imports = loaded(f.__code__)
                self.names |= attributes
                if reflective or imports or not _REACHING.isdisjoint(names) or len(seen) > _MOST:
                    self.names = None
                    break
                space = f.__globals__
                for name in names:
                    if name in space:
                        if is_replaced(space[name]):
                            self.places.append((space, name))
                        self._followed(space[name], lambda fun, name=name, space=space: space[name], seen, stack)
                    elif not hasattr(builtins, name):
                        self.names = None                     # not there yet
                        break
                    elif self.names is not None and is_replaced(getattr(builtins, name)):
                        self.names |= {"builtins", name}
                if f.__defaults__ is not None or f.__kwdefaults__ is not None:
                    self._given(f, "__defaults__", fun, seen, stack)
                    self._given(f, "__kwdefaults__", fun, seen, stack)
                elif f is not fun:                            # mostly: one look for both
                    self._held.append((lambda fun, f=f: f.__defaults__ is f.__kwdefaults__ is None, True))
            for k, cell in enumerate(f.__closure__ or ()):
                try:
                    read = (lambda fun, k=k: fun.__closure__[k].cell_contents) if f is fun else (lambda fun, cell=cell: cell.cell_contents)
                    self._followed(cell.cell_contents, read, seen, stack)
                except ValueError:                            # nothing is in it yet
                    self.names = None

        if self.names is not None and "polynomial" in self.names:
            self.names |= {"array", "asarray", "asanyarray", "empty", "zeros", "ones", "eye", "linspace", "arange"}           # it asks in the user's stead

    def _given(self, f, where, fun, seen, stack):
        """The defaults of f's parameters. Those of fun itself are read from the function that is asked about: it may be another one of this code."""
        def held(asked):
            return getattr(asked if f is fun else f, where)
        given = held(fun)
        if _inert(given):
            self._held.append((held, None))
            return
        self._held.append((lambda asked: len(held(asked)), len(given)))
        for k in given if type(given) is dict else range(len(given)):
            self._followed(given[k], lambda asked, k=k: held(asked)[k], seen, stack)

    def _followed(self, value, read, seen, stack):
        if self.names is None:
            return
        home = getattr(value, "__name__" if type(value) is types.ModuleType else "__module__", None)
        if type(home) is str and home.startswith(POLYNOMIAL):
            self.names.add("polynomial")
        if value is math:
            self.names.add("math")
        if value is np.vectorize:                             # imported by name: its objects are reached by its class
            self.names.add("vectorize")
        if _inert(value):
            self._held.append((read, None))
        elif type(value) is types.FunctionType or type(value) is types.ModuleType and value.__name__.partition(".")[0] in _MODULES:
            self._held.append((read, value))
            if type(value) is types.FunctionType and id(value) not in seen:
                seen.add(id(value))
                stack.append(value)
        else:
            self._held.append((lambda fun, known=id(value): id(read(fun)) == known, True))          # (by its number: nothing of the user's is kept alive)
            self.names = None

    def holds_for(self, fun):
        if self.names is None and (not self._held or self.retries >= _RETRIES):                # everything is replaced: that is never wrong
            return True
        if fun.__globals__ is not self._space or self._bare and not fun.__defaults__ is fun.__kwdefaults__ is None:
            return False
        try:
            for read, value in self._held:
                now = read(fun)
                if now is not value and (value is not None or not _inert(now)):
                    return False
        except (KeyError, ValueError, IndexError, TypeError):
            return False
        return True
