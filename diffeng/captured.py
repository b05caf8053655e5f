"""What a function closes over: arrays, which a compiled program reads at every call, and other values, which are constants under guard.

What it is: `Captured(fun)` looks through closures, globals and defaults of user code, and of the functions found there; `rebound(values)` is the
function with other arrays in their places, made of copies: the user's own function, cells and modules are never touched.

What it does not see: attributes of objects, and arrays inside containers other than as constants that are compared.
"""
import types

import numpy as np

from .lines import is_user_code

_SIMPLE = (int, float, complex, bool, str, bytes, type(None))
_LARGEST = 10_000                 # entries of a container that are compared


class _Place:
    """Where a captured value lives: get() reads it now."""

    __slots__ = ("function", "kind", "name", "get")

    def __init__(self, function, kind, name, get):
        self.function, self.kind, self.name, self.get = function, kind, name, get


class Captured:
    """arrays: places that hold arrays now; guards: (place, value, print) of other values."""

    def __init__(self, fun):
        self.fun = fun
        self.functions, self.arrays, self.guards = [], [], []
        seen, stack = set(), [fun]
        while stack:
            f = stack.pop()
            if not isinstance(f, types.FunctionType) or id(f) in seen:
                continue
            seen.add(id(f))
            self.functions.append(f)
            for place in _places(f):
                try:
                    value = place.get()
                except (ValueError, KeyError):            # an empty cell, a name that is not there yet
                    continue
                if isinstance(value, types.FunctionType):
                    stack.append(value)
                elif _is_array(value):
                    self.arrays.append(place)
                elif isinstance(value, _SIMPLE + (tuple, list, dict, set)) and is_user_code(f.__code__):
                    self.guards.append((place, value, _print(value)))

    def values(self):
        """The arrays as they are now; None when something else stands in the place of one."""
        now = [p.get() for p in self.arrays]
        return now if all(map(_is_array, now)) else None

    def unchanged(self):
        """Are the guarded values what they were?"""
        for place, known, before in self.guards:
            now = place.get()
            if not (now is known and type(now) in _SIMPLE) and _print(now) != before:          # a simple value cannot change, its name can be bound anew
                return False
        return True

    def rebound(self, values):
        """The function, with `values` where the arrays were."""
        if not self.arrays:
            return self.fun
        copies, cells, spaces = {}, {}, {}
        for f in self.functions:
            spaces.setdefault(id(f.__globals__), dict(f.__globals__))
            closure = tuple([cells.setdefault(id(c), types.CellType()) for c in f.__closure__ or ()])
            copies[id(f)] = types.FunctionType(f.__code__, spaces[id(f.__globals__)], f.__name__, f.__defaults__, closure or None)
            copies[id(f)].__kwdefaults__, copies[id(f)].__qualname__ = f.__kwdefaults__, f.__qualname__
        new = {id(p): v for p, v in zip(self.arrays, values)}
        for f in self.functions:
            copy = copies[id(f)]
            for cell in f.__closure__ or ():
                try:
                    cells[id(cell)].cell_contents = copies.get(id(cell.cell_contents), cell.cell_contents)
                except ValueError:
                    pass
            for name in _global_names(f):
                copy.__globals__[name] = copies.get(id(f.__globals__[name]), f.__globals__[name])
        for place in self.arrays:
            f, value = place.function, new[id(place)]
            if place.kind == "cell":
                cells[id(f.__closure__[place.name])].cell_contents = value
            elif place.kind == "global":
                copies[id(f)].__globals__[place.name] = value
            else:
                defaults = list(copies[id(f)].__defaults__)
                defaults[place.name] = value
                copies[id(f)].__defaults__ = tuple(defaults)
        return copies[id(self.fun)]


def _places(f):
    for k, cell in enumerate(f.__closure__ or ()):
        yield _Place(f, "cell", k, lambda cell=cell: cell.cell_contents)
    if is_user_code(f.__code__):
        for name in _global_names(f):
            yield _Place(f, "global", name, lambda f=f, name=name: f.__globals__[name])
        for k in range(len(f.__defaults__ or ())):
            yield _Place(f, "default", k, lambda f=f, k=k: f.__defaults__[k])


def _global_names(f):
    """Names that f's code, or a function inside of it, may read from its module."""
    if not is_user_code(f.__code__):
        return
    names, codes = set(), [f.__code__]
    while codes:
        code = codes.pop()
        names.update(code.co_names)
        codes += [c for c in code.co_consts if isinstance(c, types.CodeType)]
    for name in sorted(names):
        if name in f.__globals__ and not isinstance(f.__globals__[name], types.ModuleType):
            yield name


def _is_array(x):
    return isinstance(x, np.ndarray) and x.dtype.kind in "fiub"


def _print(x, left=None):
    """Something equal exactly when the value is the same: types, numbers, and what containers hold."""
    left = [_LARGEST] if left is None else left
    left[0] -= 1
    if left[0] < 0:
        return None
    if isinstance(x, _SIMPLE):
        return type(x), repr(x)
    if isinstance(x, (tuple, list)):
        return type(x), tuple([_print(i, left) for i in x])
    if isinstance(x, dict):
        return dict, tuple([(repr(k), _print(v, left)) for k, v in x.items()])
    if isinstance(x, np.ndarray):
        return id(x), x.shape, str(x.dtype), x.tobytes() if x.size <= _LARGEST else hash(x.tobytes())
    return id(x)
