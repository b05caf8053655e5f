"""A function with other arrays in the places of those it captured: copies of the functions, objects, lists and dicts that hold them, and of nothing else.

What it is: `Rebound(captured, values)`, made for one recording: `function`, `arguments(args)`, and `change()`, what the function has changed of what it
captured: a compiled program would change nothing.
What it is not: it does not look for anything (captured.py did), and the user's own objects are never touched.
"""
import copy
import functools
import types

from .nodes import Tracer
from .reach import cells, empty, slots
from .trees import flatten


class Rebound:
    """values: one for each array thing, in their order."""

    def __init__(self, captured, values):
        self._copies, self._held = {}, {}
        things = [t for t in captured.things if t in captured.around_arrays]
        for t in things:
            self._copies[t] = self._shell(t)
        arrays = [t for t in captured.things if t.kind == "array"]
        self._copies.update(zip(arrays, values))
        for t in reversed(things):                                   # what cannot be made empty has only later things, or empty ones, inside
            if self._copies[t] is None:
                self._copies[t] = self._assembled(t)
        for t in things:
            self._fill(t)
        self._by_id = {id(t.value): self._copies[t] for t in things}
        self.function = self._copies.get(captured.root, captured.fun)
        looks = [(t.value, functools.partial(_state, self._copies.get(t, t.value))) for t in captured.things
                 if t.kind == "object" or t in self._copies and t.kind in ("function", "module", "list", "dict")]
        looks += [(t.value, lambda v=v: {"array": v.node}) for t, v in zip(arrays, values) if type(v) is Tracer]
        self._states = [(value, look, look()) for value, look in looks]

    def arguments(self, args):
        """The arguments, with copies of the objects among their leaves."""
        out = []
        for a in args:
            leaves, rebuild, _ = flatten(a)
            out.append(rebuild([self._by_id.get(id(x), x) for x in leaves]))
        return out

    def change(self):
        """What the function has put into what it captured, in words; None if nothing."""
        for value, look, before in self._states:
            now = look()
            for name in {**before, **now}:
                if _same(now.get(name, _state), before.get(name, _state)) or isinstance(getattr(type(value), str(name), None), functools.cached_property):
                    continue
                return (f"attribute {name!r} of a {type(value).__name__}" if isinstance(name, str) and hasattr(value, "__dict__") and not callable(value)
                        else f"entry {name!r} of a {type(value).__name__}" if isinstance(value, (list, dict))
                        else f"a captured {name}" if name == "array" else repr(name))
        return None

    def _shell(self, t):
        """A copy to be filled; None for what is made in one piece."""
        if t.kind == "function":
            f = t.value
            space = self._held.setdefault(id(f.__globals__), dict(f.__globals__))
            closure = tuple([self._held.setdefault(id(c), types.CellType()) for c in f.__closure__ or ()])
            new = types.FunctionType(f.__code__, space, f.__name__, f.__defaults__, closure or None)
            new.__kwdefaults__, new.__qualname__ = f.__kwdefaults__ and dict(f.__kwdefaults__), f.__qualname__
            vars(new).update(vars(f))
            return new
        if t.kind in ("object", "module"):
            return empty(t.value)
        return copy.copy(t.value) if t.kind in ("list", "dict") else None

    def _assembled(self, t):
        inside = dict(t.inside)

        def part(where, x):
            return self._copies.get(inside.get(("part", where)), x)
        if t.kind == "method":
            return types.MethodType(part("__func__", t.value.__func__), part("__self__", t.value.__self__))
        if t.kind == "partial":
            if (keywords := inside.get(("part", "keywords"))) in self._copies:
                self._fill(keywords)                                   # a partial copies them when it is made
            return functools.partial(part("func", t.value.func), *part("args", t.value.args), **part("keywords", t.value.keywords))
        if t.kind == "jitted":
            return part("__wrapped__", t.value.__wrapped__)            # whoever calls it with traced values gets that function anyway
        items = [part(k, x) for k, x in enumerate(t.value)]
        return tuple(items) if type(t.value) is tuple else type(t.value)._make(items)

    def _fill(self, t):
        new, inside = self._copies[t], [(where, self._copies[x]) for where, x in t.inside if x in self._copies]
        if t.kind == "function":
            for k, _, held in cells(t.value):
                new.__closure__[k].cell_contents = held
        elif t.kind in ("object", "module"):
            vars(new).update(vars(t.value)) if hasattr(t.value, "__dict__") else None
            for name, descriptor in slots(type(t.value)).items():
                if hasattr(t.value, name):
                    descriptor.__set__(new, getattr(t.value, name))
        for (kind, where), x in inside:
            _PUT[kind](new, where, x)


def _put_default(f, k, x):
    f.__defaults__ = (*f.__defaults__[:k], x, *f.__defaults__[k + 1:])


def _put_cell(f, k, x):
    f.__closure__[k].cell_contents = x


_PUT = {
    "cell": _put_cell,
    "global": lambda f, name, x: f.__globals__.__setitem__(name, x),
    "default": _put_default,
    "kwdefault": lambda f, name, x: f.__kwdefaults__.__setitem__(name, x),
    "attribute": lambda o, name, x: vars(o).__setitem__(name, x),
    "slot": lambda o, descriptor, x: descriptor.__set__(o, x),
    "list": list.__setitem__,
    "dict": dict.__setitem__,
    "part": lambda o, where, x: None,          # of what was made in one piece
}


def _same(now, before):
    """One object, or numbers that are made anew whenever they are asked for."""
    return now is before or type(now) is type(before) is int and now == before


def _state(x):
    """name -> what stands there, for anything that can be changed."""
    if isinstance(x, types.FunctionType):
        return dict(x.__globals__) | {x.__code__.co_freevars[k]: held for k, _, held in cells(x)}
    if isinstance(x, (list, dict)):
        return dict(x) if isinstance(x, dict) else dict(enumerate(x))
    found = dict(vars(x)) if hasattr(x, "__dict__") else {}
    return found | {name: getattr(x, name) for name in slots(type(x)) if hasattr(x, name)}
