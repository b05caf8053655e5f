"""Nested tuples, lists and dicts of arrays, taken apart (all other nestings by optree), and named for reports and errors."""
import atexit
import inspect
from functools import cache, lru_cache, partial
from itertools import accumulate
from types import FunctionType
from typing import Any, NamedTuple

import numpy as np

from .buffers import Buffer, call, lent, unwrap
from .complex_values import Complex, combined, is_complex, parts as parts_of
from .errors import refuse
from .refusals import leaked
from .traced import TRACED, Traced
from .lines import run
from .named import runners


LEAVES = (np.ndarray, Traced, float, int, np.generic)
_LEAF = "leaf"


def flatten(tree):
    """(leaves, rebuild, paths): rebuild(new leaves) -> tree; paths: a tuple of keys a leaf.

    >>> leaves, rebuild, paths = flatten({"b": 1.0, "a": [2.0, 3.0]})
    >>> leaves, rebuild([4.0, 5.0, 6.0]), paths
    ([2.0, 3.0, 1.0], {'b': 6.0, 'a': [4.0, 5.0]}, [('a', 0), ('a', 1), ('b',)])
    """
    if type(tree) in TRACED or isinstance(tree, LEAVES):
        kind = type(tree)
        if kind in _REAL or kind is np.ndarray and tree.dtype.kind != "c" or not _is_complex(tree):
            return [tree], _only, [()]
        return _in_parts([tree], _only, [()])
    leaves, paths = [], []
    nesting = _nesting(tree, leaves, paths)
    if nesting is not None:
        rebuild = _nested(nesting)
    else:
        import optree
        paths, leaves, spec = optree.tree_flatten_with_path(tree)
        leaves, rebuild, paths = list(leaves), spec.unflatten, list(paths)
    return (leaves, rebuild, paths) if not any([_is_complex(x) for x in leaves]) else _in_parts(leaves, rebuild, paths)


class Part(str):
    """The key of a complex number's part."""


def is_part(path):
    """Is a leaf of this path a part of a complex one?"""
    return bool(path) and type(path[-1]) is Part


def are_real(paths, what):
    """TypeError for leaves of which some are parts of complex ones. what(path): what is there."""
    for path in paths:
        if is_part(path):
            raise _complex(what(path[:-1]))


_PARTS = Part("real"), Part("imag")
_REAL = {float, int, np.float64, np.float32}          # types that are: those of traced values, which hold no pairs, come to be known


def _is_complex(x):
    kind = type(x)
    if kind is np.ndarray:
        return x.dtype.kind == "c"
    if kind in TRACED and kind is not Complex and not issubclass(kind, Buffer):
        _REAL.add(kind)
    return kind not in _REAL and is_complex(x)


def _in_parts(leaves, rebuild, paths):
    """Leaves of which a complex one is two: its real and its imaginary part."""
    new, names, places = [], [], []
    for x, path in zip(leaves, paths):
        places.append(len(new) if not _is_complex(x) else slice(len(new), len(new) + 2))
        new += parts_of(unwrap(x)) if _is_complex(x) else [x]
        names += [(*path, k) for k in _PARTS] if _is_complex(x) else [path]
    return new, lambda values: rebuild([values[k] if type(k) is int else combined(*values[k]) for k in places]), names


def lend(tree, lazily=False):
    """The same, all of it its own: see buffers.lent."""
    if type(tree) in TRACED or isinstance(tree, LEAVES):
        return lent(tree, lazily)
    leaves, rebuild, _ = flatten(tree)
    return rebuild([lent(x, lazily) for x in leaves])


def structure(tree):
    """(leaves, structure): how they are nested, to be compared with ==, or used as a key. The order of a dict's keys is part of it: Python may loop over
    them."""
    if isinstance(tree, LEAVES):
        return ([tree], None) if not _is_complex(tree) else _split([tree], None)
    leaves = []
    nesting = _nesting(tree, leaves, [])
    if nesting is None:
        import optree
        _keep_order()
        leaves = optree.tree_leaves(tree)
        if not (len(leaves) == 1 and leaves[0] is tree):       # no array of another library
            nesting = optree.tree_structure(tree, namespace=_ORDERED)
    return (leaves, nesting) if not any([_is_complex(x) for x in leaves]) else _split(leaves, nesting)


class _Split(NamedTuple):
    """How leaves are nested of which some are complex."""
    nesting: Any
    complex: tuple


def _split(leaves, nesting):
    flags = tuple([_is_complex(x) for x in leaves])
    return [part for x, pair in zip(leaves, flags) for part in (parts_of(unwrap(x)) if pair else [x])], _Split(nesting, flags)


def _nesting(tree, leaves, paths, path=()):
    """How tuples, lists, and dicts with texts for keys are nested, by optree's rules: (type, keys, nestings below), _LEAF for a leaf, which is appended. None
    for what is made of anything else, which is left to optree: importing it takes half of a second process's first call."""
    if isinstance(tree, LEAVES):
        leaves.append(tree)
        paths.append(path)
        return _LEAF
    kind, keys = type(tree), None
    if kind is dict and all([type(k) is str for k in tree]):
        keys, parts = tuple(tree), sorted(tree)
    elif kind is tuple or kind is list:
        parts = range(len(tree))
    else:
        return None
    below = [_nesting(tree[k], leaves, paths, (*path, k)) for k in parts]
    return None if None in below else (kind, keys, tuple(below))


@lru_cache(maxsize=256)
def _nested(nesting):
    """A function that nests a list of leaves in this way."""
    kind, keys, below = nesting
    counts = [*map(_count, below)]
    ends = [*accumulate(counts)]
    parts = [(end - 1, None) if n is _LEAF else (slice(end - count, end), _nested(n)) for n, count, end in zip(below, counts, ends)]
    order = None if keys is None else [sorted(keys).index(k) for k in keys]
    flat = all([part is None for _, part in parts])

    def rebuild(leaves):
        if not flat:
            leaves = [leaves[at] if part is None else part(leaves[at]) for at, part in parts]
        return kind(leaves) if order is None else dict(zip(keys, [leaves[j] for j in order]))
    return rebuild


def _count(nesting):
    return 1 if nesting is _LEAF else sum(map(_count, nesting[2]))


def reader(nesting):
    """read(tree, leaves) for trees that are nested in a way that `structure` tells: appends the leaves, as that would, and says whether the nesting is the
    same, a few times faster. None for a nesting that is optree's.

    >>> leaves = []
    >>> read = reader(structure({"b": 1.0, "a": (2.0, 3.0)})[1])
    >>> read({"b": 4.0, "a": (5.0, 6.0)}, leaves), leaves, read({"b": 4.0, "a": [5.0, 6.0]}, [])
    (True, [5.0, 6.0, 4.0], False)
    """
    if type(nesting) is not tuple:
        return None
    kind, keys, below = nesting
    n, names = len(below), range(len(below)) if keys is None else sorted(keys)
    parts = [(k, None if part is _LEAF else reader(part)) for k, part in zip(names, below)]

    def read(tree, leaves):
        if type(tree) is not kind or (len(tree) != n if keys is None else tuple(tree) != keys):
            return False
        for k, part in parts:
            if part is None:
                leaves.append(tree[k])
            elif not part(tree[k], leaves):
                return False
        return True
    return read


_ORDERED = f"{__package__}.ordered"            # optree's namespace in which dicts are not sorted


@cache
def _keep_order():
    import optree
    mode = optree.dict_insertion_ordered(True, namespace=_ORDERED)
    mode.__enter__()
    atexit.register(mode.__exit__, None, None, None)            # for as long as Python runs: what is collected would undo it


def _only(leaves):
    (leaf,) = leaves
    return leaf


_ORDINARY, _SCALARS = {np.dtype(np.float64), np.dtype(np.float32)}, {np.float64, np.float32}         # need no second look


def is_float(x):
    """Does this leaf carry a derivative?"""
    return isinstance(x, float) or isinstance(x, (np.ndarray, np.generic, Traced)) and x.dtype.kind == "f"


def no_subclass(x, what):
    """TypeError for an array that is more than one. what(): what it is, in words."""
    if isinstance(x, np.ndarray) and type(x) not in (np.ndarray, np.memmap):
        raise refuse(TypeError, f"{what()} is a {type(x).__name__}{{here}}: what makes it more than an array (a mask, a unit, another "
                                "product) would be lost; pass np.asarray of it")


def returned(x, fun):
    """A leaf of what a function returned; TypeError for what is no number and no array, RuntimeError for a value of another function, which has ended."""
    if type(x) in TRACED and x.interpreter.ended:
        raise leaked(function_name(fun))
    if not isinstance(x, LEAVES):
        raise refuse(TypeError, f"{function_name(fun)} returned an object of type {type(x).__name__}: return a number, an array, or a tuple, list or dict of them")
    return x


def in_native_order(x):
    """An array in this machine's order of bytes."""
    return x if x.dtype.isnative else x.astype(x.dtype.newbyteorder("="))


def as_array(x, what):
    """A float array (or traced value) as the engine wants it; the clear error otherwise."""
    if isinstance(x, Buffer):
        x = unwrap(x)
    if isinstance(x, Traced):
        if x.dtype.kind != "f":
            raise refuse(TypeError, f"{what} is of type {x.dtype}{{here}}: derivatives need floating-point numbers; convert it with x.astype(float)")
        return x
    if isinstance(x, (bool, int, np.bool_, np.integer)) or isinstance(x, np.ndarray) and x.dtype.kind in "iub":
        raise refuse(TypeError, f"{what} is an integer{{here}} ({np.asarray(x).dtype}): derivatives need floating-point numbers. "
                                "Pass 3.0 instead of 3, convert with x.astype(float), or leave it out of argnums")
    if is_complex(x):
        raise _complex(what)
    if isinstance(x, float) or isinstance(x, np.floating) and x.dtype.itemsize in (4, 8):
        return np.asarray(x)[()]
    no_subclass(x, lambda: what)
    if isinstance(x, np.ndarray) and x.dtype.kind == "f" and x.dtype.itemsize in (4, 8):
        return x
    raise refuse(TypeError, f"{what} is {_describe(x)}{{here}}: pass a float, or an array of dtype float64 or float32")


def _complex(what):
    return refuse(TypeError, f"{what} is complex{{here}}: derivatives are taken by real numbers; pass its real and its imaginary part as arrays of their own, and write "
                             "re + 1j * im inside of the function")


def _describe(x):
    return (f"an array of dtype {x.dtype}" if isinstance(x, np.ndarray) else f"a number of dtype {x.dtype}" if isinstance(x, np.floating)
            else f"of type {type(x).__name__}")


def transformed(new, what, fun):
    """A transformation's result, with its name, and the parameters of the function it was made of. Raises TypeError where that is none."""
    if not callable(fun):
        raise TypeError(f"{what} needs a function, not {type(fun).__name__}")
    new.__name__, new.__wrapped__ = f"{what}_{function_name(fun)}", fun
    runners.add(new.__code__)
    return new


def _unwrapped(fun):
    while type(fun) is FunctionType and fun.__dict__.keys() == {"__wrapped__"}:
        fun = fun.__wrapped__
    return fun


def parameters_of(fun):
    """inspect's parameters; none for a function that does not tell."""
    try:
        return list(inspect.signature(fun).parameters.values())
    except (TypeError, ValueError):
        return []


def bound(parameters, args, options, least=0):
    """(args, options): what was given by name as positional arguments, as far as the parameters say which. least: how many are wanted, be it by taking
    defaults. What is left, unknown names too, is Python's to bind when the function is called."""
    args, options = list(args), dict(options)
    for p in parameters[len(args):]:
        if p.kind == p.POSITIONAL_OR_KEYWORD and p.name in options:
            args.append(options.pop(p.name))
        elif p.kind in (p.POSITIONAL_OR_KEYWORD, p.POSITIONAL_ONLY) and p.default is not p.empty and len(args) < least:
            args.append(p.default)
        else:
            break
    return tuple(args), options


def argument_names(fun, n):
    """The names of the first n positional parameters."""
    fun = _unwrapped(fun)
    if type(fun) is FunctionType and n <= fun.__code__.co_argcount and not fun.__dict__:         # inspect would say the same in 20 us
        return list(fun.__code__.co_varnames[:n])
    parameters, names = parameters_of(fun), []
    for k in range(n):
        p = parameters[min(k, len(parameters) - 1)] if parameters else None
        if p is None or p.kind == p.KEYWORD_ONLY or p.kind == p.VAR_POSITIONAL or k >= len(parameters):
            first = next((j for j, q in enumerate(parameters) if q.kind == q.VAR_POSITIONAL), 0)
            names.append(f"{p.name}[{k - first}]" if p is not None and p.kind == p.VAR_POSITIONAL else f"arg{k}")
        else:
            names.append(p.name)
    return names


def function_name(fun):
    return getattr(fun, "__name__", type(fun).__name__)


def _below(x, leaves):
    """What a value that leaves a function holds: nothing of the interpreter of its leaves is left in it."""
    x = unwrap(x)
    while isinstance(x, Traced) and any(isinstance(leaf, Traced) and leaf.interpreter is x.interpreter for leaf in leaves):
        below = getattr(x, "below", None)          # a precise array, or a symbol without a value, stays what it is
        if below is None:
            break
        x = unwrap(below)
    return x


def _chosen(fun, args, argnums, options):
    """(args, options, is argnums one number?, a tuple of the numbers): parameters given by name, and defaults, are among the args where they are chosen."""
    single = isinstance(argnums, (int, np.integer))
    chosen = (argnums,) if single or not hasattr(argnums, "__iter__") else tuple(argnums)
    if options or any([isinstance(k, int) and k >= len(args) for k in chosen]):
        args, options = bound(parameters_of(fun), args, options or {}, max([k + 1 for k in chosen if isinstance(k, int)], default=0))
    for k in chosen:
        if not isinstance(k, (int, np.integer)) or isinstance(k, bool):
            raise TypeError(f"argnums={argnums!r}: give the number of a positional argument, or a tuple of them")
        if not -len(args) <= k < len(args):
            raise TypeError(f"argnums={argnums}: {function_name(fun)} was called with {len(args)} positional argument(s). Derivatives are taken with "
                            "respect to positional parameters, given or with a default; those that can only be given by keyword are held constant")
    return args, options, single, chosen


class Flat:
    """A function and its arguments, seen as a function of flat leaves: those of the chosen arguments.

    leaves: float arrays (or traced values) in order; names: how reports call them. Called with as many new leaves it runs the user's
    function, under whatever interpreter they belong to, and returns the flat outputs; `out` then rebuilds the output's structure.
    """

    def __init__(self, fun, args, argnums=0, every_float=False, has_aux=False, options=None):
        if not callable(fun):
            raise TypeError(f"the first argument must be a function, not {type(fun).__name__}")
        if type(argnums) is int and -len(args) <= argnums < len(args) and not options:
            self.single, chosen = True, (argnums,)
        else:
            args, options, self.single, chosen = _chosen(fun, args, argnums, options)
        self.fun, self.args, self.has_aux, self.options = fun, list(args), has_aux, options
        self.leaves, self.chosen = [], []
        self._trees = {}              # argument -> (its leaves, how they are put together, their paths, which are chosen; where these begin and end)
        for k in chosen:
            k %= len(args)
            self.chosen.append(k)
            if k in self._trees:
                continue
            parts, rebuild, paths = flatten(args[k])
            if len(paths) > 1 and not every_float:
                are_real(paths, lambda path: self._argument(k, path))
            start = len(self.leaves)
            where = None if not every_float else [j for j, leaf in enumerate(parts) if is_float(leaf) and not is_part(paths[j])]            # None: all of them
            for j in range(len(parts)) if where is None else where:
                leaf = parts[j]
                kind = type(leaf)
                if kind is float:
                    leaf = np.float64(leaf)
                elif (kind is not np.ndarray or leaf.dtype not in _ORDINARY) and kind not in _SCALARS:
                    leaf = as_array(leaf, self._argument(k, paths[j]))
                    if isinstance(leaf, Traced) and leaf.interpreter.is_number(leaf):                          # a Python float under jit: float64, as it is without
                        leaf = leaf.astype(leaf.dtype)
                self.leaves.append(leaf)
            self._trees[k] = parts, rebuild, paths, where, start, len(self.leaves)
        self.out = self.aux = None

    def _argument(self, k, path):
        name = ".".join([argument_names(self.fun, len(self.args))[k], *map(str, path)])
        return f"argument {name!r} of {function_name(self.fun)}"

    @property
    def names(self):
        """What reports call the leaves."""
        names, found = argument_names(self.fun, len(self.args)), []
        for k, (_, _, paths, where, *_) in self._trees.items():
            prefix = () if paths != [()] and len(self.args) == 1 else (names[k],)
            found += [".".join(map(str, (*prefix, *path))) for path in (paths if where is None else [paths[j] for j in where])]
        return found

    @property
    def out_names(self):
        return [".".join(["output", *map(str, p)]) for p in self._out_paths]

    def plain(self, leaves=None):
        """The function on plain arrays, as its user runs it: the leaves, or others; copies, as it may assign to its arguments."""
        return self._run(run, [np.array(x)[()] for x in (self.leaves if leaves is None else leaves)])

    def __call__(self, *leaves):
        return self._run(call, leaves)

    def _run(self, runner, leaves):
        args = [*self.args]
        for k in self._trees:
            args[k] = self._rebuilt(k, leaves, True)
        result = runner(partial(self.fun, **self.options) if self.options else self.fun, args)
        if self.has_aux:
            if not isinstance(result, tuple) or len(result) != 2:
                raise TypeError(f"{function_name(self.fun)} must return (value, aux) with has_aux=True")
            result, aux = result
            parts, rebuild, _ = flatten(aux)
            self.aux = rebuild([_below(x, leaves) for x in parts])
        outputs, self.out, self._out_paths = flatten(result)
        if len(outputs) > 1 and any(map(is_part, self._out_paths)):
            raise refuse(TypeError, f"{function_name(self.fun)} returned a complex value{{here}}: derivatives are of real results; return real ones, such as z.real, "
                                    "np.abs(z)**2 or a tuple (z.real, z.imag)")
        if not outputs:
            raise refuse(TypeError, f"{function_name(self.fun)} returned {result!r}: return a number, an array, or a tuple, list or dict of them "
                                    "(is a return missing?)")
        return [self._output(x) for x in outputs]

    def _output(self, x):
        x = unwrap(x)
        if (type(x) in TRACED or isinstance(x, (np.ndarray, np.generic))) and x.dtype.kind in "fiub":
            return returned(x, self.fun)
        if isinstance(x, (bool, int, float)):
            return np.asarray(x)[()]
        raise refuse(TypeError, f"{function_name(self.fun)} returned "
                                f"{'an object of type ' + type(x).__name__ if not isinstance(x, np.ndarray) else 'an array of dtype ' + str(x.dtype)}: "
                                "return a number, an array, or a tuple, list or dict of them")

    def restore(self, leaves):
        """Leaves in the structure of the arguments: one tree for an int argnums, else a tuple; an argument chosen twice has arrays of its own each time. Entries
        without a leaf are None."""
        if self.single:
            return self._rebuilt(self.chosen[0], leaves, False)
        return tuple([self._rebuilt(k, leaves if k not in self.chosen[:j] else [x.copy() for x in leaves], False) for j, k in enumerate(self.chosen)])

    def _rebuilt(self, k, leaves, others):
        """An argument's tree, with these leaves put where they were; others: what else was in the tree is kept there, or is None."""
        parts, rebuild, _, where, start, end = self._trees[k]
        new = leaves[start:end]
        if where is not None:
            chosen, new = dict(zip(where, new)), parts if others else [None] * len(parts)
            new = [chosen.get(j, x) for j, x in enumerate(new)]
        return rebuild(new)
