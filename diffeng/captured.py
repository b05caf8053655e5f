"""What a function closes over: arrays, which a compiled program reads at every call, and other values, which are constants under guard.

What it is: `Captured(fun, objects)` follows closures, globals, defaults, and the attributes, lists and dicts that lie behind them, as far as the code names
them (reach.py). `read` says what the arrays are now, or that something else has changed. rebinding.py makes the function with other arrays in their places.

What it does not see: what stands in C, in installed packages' modules, or in files (NumPy's and SciPy's objects are compared by their attributes, buffers by
their bytes). Where no copy can stand for an object (a finalizer, a class, a method's own globals) its arrays are constants that are compared.
"""
import array
import enum
import functools
import marshal
import types
from collections import OrderedDict, defaultdict, deque

import numpy as np

from .drawn import NAMES, draws
from .reach import UNASKED, cells, classes, empty, functions_of, has_attributes, is_own_module, is_user_function, loaded, of_numpy, package, reflects, slots
from .traced import Traced

_SIMPLE = (int, float, complex, bool, str, bytes, type(None), type(Ellipsis))
_CONTAINERS = {tuple: "tuple", list: "list", deque: "list", dict: "dict", OrderedDict: "dict", defaultdict: "dict", set: "set", frozenset: "set"}
_BYTES = (bytearray, memoryview, array.array)
_ABSENT, _ALWAYS = object(), object()


class Thing:
    """Something reached. kind; step: its place among what is read; inside: [((kind of place, name), thing)]; around: the things it was found in; free: may a
    copy stand for it?"""

    __slots__ = ("value", "kind", "step", "inside", "around", "free")

    def __init__(self, value, kind, step, free):
        self.value, self.kind, self.step, self.free, self.inside, self.around = value, kind, step, free, [], []


class Captured:
    """fun: the function; objects: what entered as arguments and is neither array nor constant.

    watches: is there anything to read? generators: of random numbers, and iterators, as far as they were met. varies: does the code name what makes new ones,
    or a clock? traced: does it hold values of a recording that is under way? things: what was reached, root: the function among them; around_arrays: those that
    hold an array.
    """

    def __init__(self, fun, objects=()):
        self.fun, self._objects, self.traced = fun, list(objects), False
        self._names, self._reflective = frozenset(), False
        while self._walk():                     # until the code found names nothing new
            pass
        self.watches = bool(self._steps)
        self.around_arrays = self._holders()
        for t in self.things:                  # another object of the class may stand there only where the code cannot care which one it is
            if t.kind == "object" and t not in self.around_arrays and not any("__eq__" in vars(c) for c in classes(type(t.value))):
                self._steps[t.step - 1] = (*self._steps[t.step - 1][:2], _never)

    def _holders(self):
        found, stack = set(), [t for t in self.things if t.kind == "array"]
        while stack:
            for outer in stack.pop().around:
                if outer not in found:
                    found.add(outer)
                    stack.append(outer)
        return found

    # ---- at every call -----------------------------------------------------------------------------------------------------------------

    def read(self, objects=()):
        """The arrays as they are now; None when anything else is not what it was."""
        found = [objects]
        try:
            for get, known, as_it_was in self._steps:
                now = get(found)
                if now is not known and not as_it_was(now):
                    return None
                found.append(now)
        except (LookupError, AttributeError, ValueError, TypeError):               # what is no longer there
            return None
        return [found[k] for k in self._arrays]

    # ---- at a recording: what is reached -----------------------------------------------------------------------------------------------

    def _walk(self):
        """Everything from the function on. Returns whether the code that was found loads attributes that this walk did not look for."""
        self._steps, self._arrays, self.things, self._memo, self._queue, self._classes = [], [], [], {}, deque(), set()
        self.generators, self.varies = [np.random] if "random" in self._names else [], False
        self._loaded, self._reflects, self._home = set(), False, []             # _home: the packages of functions, that of the first first
        self.root = self._place(None, None, self.fun, lambda found: self.fun, True, watched=False)
        for k, x in enumerate(self._objects):
            self._place(None, None, x, lambda found, k=k: found[0][k], True)
        while self._queue:
            thing = self._queue.popleft()
            getattr(self, f"_in_{thing.kind}")(thing)
        more = not self._loaded <= self._names or self._reflects and not self._reflective
        self._names, self._reflective = frozenset(self._loaded), self._reflects
        return more

    def _step(self, get, known, as_it_was):
        self._steps.append((get, known, as_it_was))
        return len(self._steps)

    def _place(self, around, where, value, get, free, watched=True):
        """A value and how to read it again. watched: may somebody put another one there? The engine's own closures stay as they are."""
        if isinstance(value, Traced):
            self.traced = True
        if type(value) in _SIMPLE or isinstance(value, np.generic):
            return self._step(get, value, _same_as(value)) if watched else None
        if isinstance(value, np.ndarray):
            if isinstance(value, Traced):                                # left over from a derivative that has ended: nobody reads it, or that is said there
                return self._step(get, value, _never) if watched else None
            if value.dtype.kind not in "fiub" or not free or type(value) not in (np.ndarray, np.memmap):
                return self._constant(value, self._step(get, _ALWAYS, _holding(value)))
            return self._thing(around, where, value, "array", get, True, _ALWAYS, _is_array)
        if isinstance(value, _BYTES):
            return self._step(get, _ALWAYS, _bytes_of(value))
        if type(value) is types.MappingProxyType:
            return self._constant(value, self._step(get, _ALWAYS, _like(value)))
        if type(value) in _CONTAINERS and _is_plain(value) and (watched or type(value) is tuple):
            return self._step(get, _ALWAYS, _equal_to(value)) if watched else None
        if draws(value):
            self.generators.append(value)
        kind = self._kind(value)
        if kind is None:
            if watched and not isinstance(value, types.ModuleType):
                self._step(get, value, _never)
            if isinstance(inner := getattr(value, "__wrapped__", None), types.FunctionType):             # behind a cache
                self._place(None, None, inner, None, False, watched=False)
            if isinstance(value, types.BuiltinMethodType) and not isinstance(value.__self__, types.ModuleType):                 # table.get
                self._place(None, None, value.__self__, lambda found: value.__self__, False)
            if of_numpy(value) and id(value) not in self._memo:
                self._memo[id(value)] = value
                self._constant(value, None)
            return None
        if kind == "set":
            self._step(get, _ALWAYS, _like(value))
            return None
        if kind in ("list", "tuple", "dict"):
            return self._thing(around, where, value, kind, get, free, _ALWAYS, _like(value))
        if kind in ("function", "class") and not watched:
            return self._thing(around, where, value, kind, None, free)
        if kind == "object":
            return self._thing(around, where, value, kind, get, free and empty(value) is not None, value, _of_class(type(value)))
        return self._thing(around, where, value, kind, get, free, value, _never)

    def _constant(self, value, at):
        """What is inside of something for which no copy can stand: a sparse array, a masked one, an array of lists, a view of a dict. at: its place among what
        is read, where another one may stand there."""
        def inside(look, x):
            self._place(None, None, x, (lambda found: look(value)) if at is None else (lambda found: look(found[at])), False)
        if isinstance(value, types.MappingProxyType):
            for key, x in value.items():
                inside(lambda held, key=key: held[key], x)
        if isinstance(value, np.ndarray) and value.dtype.hasobject:
            for k, x in enumerate(value.flat):
                inside(lambda held, k=k: held.flat[k], x)
        if of_numpy(value):
            for name, x in list(vars(value).items()):
                inside(lambda held, name=name: vars(held)[name], x)
        return at

    def _kind(self, value):
        if isinstance(value, types.FunctionType):
            return "function"
        if isinstance(value, types.MethodType):
            return "method"
        if isinstance(value, functools.partial):
            return "partial"
        if isinstance(value, type):
            return "class" if classes(value) else None
        if isinstance(value, types.ModuleType):
            return "module" if is_own_module(value) else None
        if type(value) in _CONTAINERS or hasattr(type(value), "_make"):
            return _CONTAINERS.get(type(value), "tuple")
        if has_attributes(value):
            waited_for = type(value).__module__ == "threading"                # locks, events: who waits there is no number of the function's
            return None if waited_for or isinstance(value, enum.Enum) else "object"
        return "jitted" if hasattr(value, "__wrapped__") and type(value).__module__.startswith(__package__) else None

    def _thing(self, around, where, value, kind, get, free, known=None, as_it_was=None):
        """The thing at a place; one that was met before must be met here again."""
        key, shared = (id(value), free), kind not in ("tuple", "method", "partial")
        thing = self._memo.get(key) if shared else None
        if thing is None:
            step = self._step(get, known, as_it_was) if get is not None else None
            thing = Thing(value, kind, step, free)
            self.things.append(thing)
            if shared:
                self._memo[key] = thing
            if kind == "array":
                self._arrays.append(step)
            else:
                self._queue.append(thing)
        elif get is not None and kind in ("function", "class", "module", "jitted"):
            self._step(get, value, _never)
        elif get is not None:
            self._step(lambda found, at=thing.step: get(found) is found[at], True, _never)
        if around is not None:
            around.inside.append((where, thing))
            thing.around.append(around)
        return thing

    def _in_function(self, thing):
        f, free = thing.value, thing.free
        ours = is_user_function(f)
        if ours:
            attributes, names, reflective, _ = loaded(f.__code__)
            self._loaded |= attributes
            self.varies |= not NAMES.isdisjoint({*attributes, *names, *f.__code__.co_freevars})
            self._reflects |= reflective
            self._home.append(package(f))
        for k, cell, value in cells(f):
            self._place(thing, ("cell", k), value, lambda found, cell=cell: cell.cell_contents, free, watched=ours)
        if not ours or self._home[-1] not in (None, self._home[0]):               # another package's globals lead to all of it
            return
        space = f.__globals__
        for name in names:
            if name in space:
                self._reflects |= reflects(space[name])
                self._place(thing, ("global", name), space[name], lambda found, name=name: space[name], free)
        for k, value in enumerate(f.__defaults__ or ()):
            self._place(thing, ("default", k), value, lambda found, k=k: f.__defaults__[k], free)
        for name, value in (f.__kwdefaults__ or {}).items():
            self._place(thing, ("kwdefault", name), value, lambda found, name=name: f.__kwdefaults__[name], free)

    def _in_method(self, thing):
        at, method = thing.step, thing.value
        self._place(thing, ("part", "__func__"), method.__func__, lambda found: found[at].__func__, thing.free, watched=False)
        self._place(thing, ("part", "__self__"), method.__self__, lambda found: found[at].__self__, thing.free)

    def _in_jitted(self, thing):
        self._place(thing, ("part", "__wrapped__"), thing.value.__wrapped__, lambda found: thing.value.__wrapped__, thing.free, watched=False)

    def _in_partial(self, thing):
        at = thing.step
        for name in ("func", "args", "keywords"):
            self._place(thing, ("part", name), getattr(thing.value, name), lambda found, name=name: getattr(found[at], name), thing.free)

    def _in_tuple(self, thing):
        at, place = thing.step, "list" if thing.kind == "list" else "part"
        for k, x in enumerate(thing.value):
            self._place(thing, (place, k), x, lambda found, k=k: found[at][k], thing.free)
        self._in_bases(type(thing.value))

    _in_list = _in_tuple

    def _in_dict(self, thing):
        at = thing.step
        for k, x in thing.value.items():
            self._place(thing, ("dict", k), x, lambda found, k=k: found[at][k], thing.free)

    def _wanted(self, name):
        return self._reflective or name in self._names

    def _in_object(self, thing):
        at, held = thing.step, getattr(thing.value, "__dict__", {})
        if hasattr(thing.value, "__dict__"):
            self._step(lambda found: [*found[at].__dict__], _ALWAYS, [*held].__eq__)          # attributes that come later, or go
        for name, value in held.items():
            if self._wanted(name):
                self._place(thing, ("attribute", name), value, lambda found, name=name: found[at].__dict__[name], thing.free)
        for name, descriptor in slots(type(thing.value)).items():
            if self._wanted(name):
                self._place(thing, ("slot", descriptor), getattr(thing.value, name, _ABSENT),
                            lambda found, name=name: getattr(found[at], name, _ABSENT), thing.free)
        if isinstance(thing.value, (tuple, list, dict)):                  # of a class of its own
            self._step(lambda found: found[at], _ALWAYS, _like(thing.value))
            for k, x in thing.value.items() if isinstance(thing.value, dict) else enumerate(thing.value):
                self._place(None, None, x, lambda found, k=k: found[at][k], False)
        self._in_bases(type(thing.value))

    def _in_module(self, thing):
        held = vars(thing.value)
        for name, value in list(held.items()):
            if name in self._names:
                self._place(thing, ("attribute", name), value, lambda found, name=name: held[name], thing.free)

    def _in_class(self, thing):
        self._in_bases(thing.value, constructed=True)

    def _in_bases(self, cls, constructed=False):
        """What instances find in their class: code, and constants."""
        for c in classes(cls):
            if (c, constructed) in self._classes:
                continue
            self._classes.add((c, constructed))
            for name, value in list(vars(c).items()):
                functions = functions_of(value)
                if name.startswith("__") and name.endswith("__"):
                    if not (constructed or name not in UNASKED):
                        continue
                elif not self._wanted(name) or isinstance(value, types.MemberDescriptorType):
                    continue
                elif functions:
                    self._step(lambda found, c=c, name=name: c.__dict__[name], value, _never)
                else:
                    self._place(None, None, value, lambda found, c=c, name=name: c.__dict__[name], False)
                for f in functions:
                    self._place(None, None, f, None, False, watched=False)


# ---- is it what it was? ------------------------------------------------------------------------------------------------------------------

def _never(now):
    return False


def _is_array(now):
    return isinstance(now, np.ndarray) and now.dtype.kind in "fiub"


def _same_as(known):
    """A number or a text of the same type and digits: 0.0 is not -0.0, nan is nan."""
    kind, text = type(known), repr(known)
    return lambda now: type(now) is kind and repr(now) == text


def _holding(array):
    """An array of the same numbers, for one that cannot be an input."""
    kind, shape, dtype, held = type(array), array.shape, array.dtype, array.tobytes()
    return lambda now: type(now) is kind and now.shape == shape and now.dtype == dtype and now.tobytes() == held


def _bytes_of(buffer):
    kind, held = type(buffer), bytes(buffer)
    return lambda now: type(now) is kind and bytes(now) == held


def _like(container):
    """A container of the same type and length, or with the same keys in the same order; what is in it is read apart. A set: with the same entries."""
    kind = type(container)
    if isinstance(container, (set, frozenset)):
        held = kind(container)
        return lambda now: type(now) is kind and now == held
    if isinstance(container, (dict, types.MappingProxyType)):
        keys = [*container]
        return lambda now: type(now) is kind and [*now] == keys
    n = len(container)
    return lambda now: type(now) is kind and len(now) == n


def _of_class(cls):
    return lambda now: type(now) is cls


def _is_plain(container):
    """Nothing but numbers and texts, however deep?"""
    stack, met = [container], set()
    while stack:
        x = stack.pop()
        if type(x) in (list, dict):
            if id(x) in met:                                              # perhaps it is in itself
                return False
            met.add(id(x))
        if type(x) in (tuple, list, set, frozenset):
            stack.extend(x)
        elif type(x) is dict:
            stack.extend(x)
            stack.extend(x.values())
        elif type(x) not in _SIMPLE:
            return False
    return True


def _equal_to(container):
    """For plain containers, all at once."""
    kind, held = type(container), marshal.dumps(container, 2)             # version 2: the bytes depend on the values alone
    return lambda now: type(now) is kind and marshal.dumps(now, 2) == held
