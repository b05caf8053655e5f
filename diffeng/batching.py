"""vmap: a function of one example, run on many at once.

What it is: `Batched`, an array whose first axis goes over the examples, of which the function sees one; and how each kind of primitive is told of that axis:
elementwise ones align the others, reductions and scans count axes one further, contractions get one more letter, indices a slice in front, or the numbers of
the examples beside integer arrays. So one call of NumPy serves all examples, on arrays, on values that are recorded, moved along or precise.

What it is not: no derivative, and no loop, but for a primitive that is none of these (random bits).
Why a file: it is one more interpreter beside Tracing, Dual and the 100-digit arrays, and like them it only says what applying a primitive means.
"""
import string

import numpy as np

from .buffers import call, unwrap
from .errors import refuse
from .interpreters import Interpreter, OneByOne, complex_result
from .numpy_functions.linear_algebra import solved
from .refusals import ASSIGN, fixed
from .traced import ALIASES, Traced, apart
from .trees import LEAVES, argument_names, flatten, function_name, lend, returned, transformed
from .vocabulary import contraction, fourier, shaping
from .vocabulary.indexing import Slot, getitem
from .vocabulary.shaping import aligned


def vmap(fun, in_axes=0, out_axes=0):
    """The function that applies fun to many examples at once: its arguments and results have one more axis, that of the examples.

    in_axes: where that axis is in each argument; None: all examples share the argument. An integer or None for all arguments, or a tuple with one entry an
    argument: an integer, None, or a container of them nested as the argument is. out_axes: where it is to be in the results (None: fun's result is the same for
    all examples). Arguments given by name are mapped over their axis 0; texts, functions and the like are shared. fun's arrays are its own: where it writes into an
    argument, the caller's stays as it is, and no result is an argument.

    fun may be anything that diffeng differentiates, other transformations included (vmap(grad(f)), jacobian(vmap(f)), jit(vmap(f)), vmap of vmap), but Python
    cannot branch on a value that differs between examples: np.where chooses. Where NumPy has to know values (how many entries a mask chooses, np.unique) and where there is a
    while_loop, the function runs for each example by itself. Raises ValueError for arguments without that axis or of different lengths, TypeError where Python looks
    at such a value.

    >>> import numpy as np, diffeng as de
    >>> x = np.array([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]])
    >>> print(de.vmap(de.grad(lambda x: np.sum(x) ** 2))(x))
    [[ 6.  6.]
     [14. 14.]
     [22. 22.]]
    >>> print(de.vmap(np.dot, in_axes=(0, None))(x, np.array([1.0, 10.0])))
    [21. 43. 65.]
    """
    if not callable(fun):
        raise TypeError(f"vmap needs a function, not {type(fun).__name__}: write de.vmap(f)(x) for f of every example in x")
    return mapping(fun, in_axes, out_axes)


def mapping(fun, in_axes=0, out_axes=0, branches=False):
    """vmap; branches: may Python look at what differs between examples? Then the function runs for each by itself."""
    def mapped(*args, **options):
        name = function_name(fun)
        if isinstance(in_axes, (tuple, list)) and len(in_axes) != len(args):
            raise ValueError(f"vmap: in_axes has {len(in_axes)} entries, and {name} was called with {len(args)} argument(s): give one an argument")
        wanted = in_axes if isinstance(in_axes, (tuple, list)) else [in_axes] * len(args)
        names = [f"argument {n!r} of {name}" for n in (*argument_names(fun, len(args)), *options)]
        trees = [_Argument(tree, axes, what) for tree, axes, what in zip((*args, *options.values()), (*wanted, *[0] * len(options)), names)]
        level = Batching(_count([x for t in trees for x in t.lengths()], name), branches)

        def run(seen):
            given = [t.rebuild([x if axis is None else seen(x) for x, axis in t.leaves]) for t in trees]

            def one(*values):
                values = [lend(x, True) for x in values]
                return fun(*values[:len(args)], **dict(zip(options, values[len(args):])))
            leaves, rebuild, _ = flatten(call(one, given))
            return rebuild([unwrap(x) for x in leaves])
        try:
            result = run(lambda x: Batched(level, x))
        except OneByOne:
            result = _together([run(lambda x, k=k: x[k]) for k in range(level.size)], level, name)
        leaves, rebuild, _ = flatten(result)
        inputs = [x for t in trees for x, _ in t.leaves]
        axes = _spread(out_axes, result, f"the result of {name}", "out_axes")
        whole = rebuild(apart([_whole(returned(x, fun), axis, level, name) for x, axis in zip(leaves, axes)], inputs))
        level.end()
        return whole

    return transformed(mapped, "vmap", fun)


class _Argument:
    """leaves: (value, its axis of examples or None), that axis in front; rebuild: the argument from as many leaves."""

    def __init__(self, tree, axes, what):
        parts, self.rebuild, paths = flatten(tree)
        self.leaves, self._what = [], ["".join([what, *(f", at {k!r}" for k in path)]) for path in paths]
        for x, axis, here in zip(map(unwrap, parts), _spread(axes, tree, what, "in_axes"), self._what):
            if axis is not None and isinstance(x, LEAVES):
                if not -np.ndim(x) <= axis < np.ndim(x):
                    raise ValueError(f"vmap: {here} has shape {np.shape(x)}, and no axis {axis} for the examples: in_axes=None stands for what all share")
                self.leaves.append((np.moveaxis(x, axis, 0), axis))
            else:
                self.leaves.append((x, None))

    def lengths(self):
        """(how many examples, whose) of each leaf that has its own."""
        return [(x.shape[0], what) for (x, axis), what in zip(self.leaves, self._what) if axis is not None]


def _spread(axes, tree, what, where):
    """One axis a leaf."""
    if axes is None or isinstance(axes, (int, np.integer)) and not isinstance(axes, bool):
        return [axes] * len(flatten(tree)[0])
    if isinstance(axes, dict) and isinstance(tree, dict) and axes.keys() == tree.keys():
        return [a for key in sorted(tree) for a in _spread(axes[key], tree[key], f"{what}, at {key!r}", where)]
    if isinstance(axes, (tuple, list)) and isinstance(tree, (tuple, list)) and len(axes) == len(tree):
        return [a for k, (axis, part) in enumerate(zip(axes, tree)) for a in _spread(axis, part, f"{what}, at {k}", where)]
    raise ValueError(f"vmap: {where} says {axes!r} of {what}: give an integer, None, or a container of them nested as that is")


def _count(lengths, name):
    """How many examples there are."""
    if not lengths:
        raise ValueError(f"vmap: no argument of {name} has an axis of examples: in_axes is None for all of them, or there is no array among them")
    other = next(((n, what) for n, what in lengths if n != lengths[0][0]), None)
    if other is not None:
        raise ValueError(f"vmap: {lengths[0][1]} has {lengths[0][0]} examples, and {other[1]} has {other[0]}: they must be as many "
                         "(in_axes says which axis counts)")
    return lengths[0][0]


def _together(results, level, name):
    """One result from those of the examples."""
    if not results:
        raise refuse(ValueError, f"vmap{{here}}: {name} looks at values, and there are no examples: its results have no shape")
    flat = [flatten(r) for r in results]
    return flat[0][1]([_stack(same, level, name) for same in zip(*[leaves for leaves, *_ in flat])])


def _stack(same, level, name):
    """One result's values for all examples; plain ones that are equal differ for none."""
    first = same[0]
    if not any([isinstance(x, Traced) for x in same]) and all([np.array_equal(x, first) for x in same]):
        return first
    shapes = [np.shape(x) for x in same]
    if len({*shapes}) > 1:
        raise refuse(ValueError, f"vmap{{here}}: results of {name} have the shapes {', '.join(map(str, dict.fromkeys(shapes)))} for different examples: np.where chooses "
                                 "without changing a shape")
    return Batched(level, np.stack(same))


def _whole(x, axis, level, name):
    """A result with the examples along an axis of it."""
    mine = level.mine(x)
    if axis is None:
        if mine:
            raise ValueError(f"vmap: out_axes is None for a result of {name} that differs between examples: give the axis where they shall be")
        return x
    x = x.data if mine else _repeated(x if isinstance(x, Traced) else np.asarray(x), level.size)
    if not -x.ndim <= axis < x.ndim:
        raise ValueError(f"vmap: out_axes={axis}, and a result of {name} has {x.ndim} axes with that of the examples")
    return np.moveaxis(x, 0, axis)


# ---- the interpreter ----------------------------------------------------------------------------------------------------------------


class Batched(Traced):
    """What the function holds of all examples: data (examples, ...), any array or traced value of a lower level. Its shape is that of one example."""

    __slots__ = ("interpreter", "data", *ALIASES)

    def __init__(self, interpreter, data):
        self.interpreter, self.data = interpreter, data

    shape = fixed(lambda self: self.data.shape[1:], "shape")
    dtype = fixed(lambda self: self.data.dtype, "dtype")
    below = property(lambda self: self.data)

    def _adopt(self, other):
        other = unwrap(other)
        if self.interpreter.mine(other):
            self.data = other.data
        elif isinstance(other, Traced) and other.interpreter.level > self.interpreter.level:
            raise refuse(TypeError, "a value of an inner transformation was assigned{here} into an array of an outer one: " + ASSIGN)
        else:
            self.data = _repeated(other, self.interpreter.size)

    def _look(self, kind, convert):
        if kind == "mask" or self.interpreter.branches:      # NumPy's functions look, or an index does: not Python
            raise OneByOne
        raise refuse(TypeError, "vmap{here}: Python looks at a value that differs between examples, and can go one way only: write the choice as "
                                "np.where(condition, a, b)")

    def __repr__(self):
        return f"<{self.interpreter.size} examples of {self.shape} {self.dtype}>"


class Batching(Interpreter):
    """Applies a primitive to all examples at once. size: how many there are; branches: see mapping."""

    examples = True

    def __init__(self, size, branches=False):
        super().__init__()
        self.size, self.branches = size, branches

    def apply(self, primitive, operands, params):
        mine = [self.mine(x) for x in operands]
        if not any(mine):                                    # constants, which are to be computed where the rest is: the same for all examples
            return primitive(*operands, **params)
        data = [x.data if m else x for x, m in zip(operands, mine)]
        rule = _RULES.get(primitive.name) or _KINDS.get(primitive.kind, _one_by_one)
        try:
            out = rule(primitive, data, mine, self.size, params)
            return Batched(self, out) if out.dtype.kind != "c" else complex_result(primitive, operands, params)
        except (ValueError, TypeError, IndexError):
            primitive.compute([_like(x) for x in operands], params)          # says it of one example, where shapes are to blame
            raise


# ---- rules: (primitive, data, which of them have examples, how many, parameters) -> the result, examples in front ---------------------------------


def _repeated(x, size):
    """The same for all examples."""
    return shaping.broadcast_to(x, shape=(size, *np.shape(x)))


def _like(x):
    """A plain array of the shape and dtype that one example of an operand has."""
    return np.broadcast_to(np.zeros((), x.dtype), x.shape) if isinstance(x, Traced) else x


def _ranks(data, mine):
    """The rank of one example of each."""
    return [np.ndim(x) - m for x, m in zip(data, mine)]


def _elementwise(primitive, data, mine, size, params):
    rank = max(_ranks(data, mine))
    return primitive(*[aligned(x, rank) if m else x for x, m in zip(data, mine)], **params)


def _along(primitive, data, mine, size, params):
    """Reductions and scans."""
    (x,), axis = data, params["axis"]
    if axis is None:                                         # the place in all of an example
        x, axis = shaping.reshape(x, shape=(size, -1 if size else int(np.prod(x.shape[1:])))), 0
    return primitive(x, **{**params, "axis": tuple([k + 1 for k in axis]) if isinstance(axis, tuple) else axis + 1})


def _contracted(primitive, data, mine, size, params):
    ranks = _ranks(data, mine)
    if primitive.name == "matmul" and min(ranks) > 1:
        return _elementwise(primitive, data, mine, size, params)
    text = contraction.subscripts(primitive.name, ranks, params)
    examples = next(c for c in string.ascii_letters if c not in text)
    terms, out = text.split("->")
    terms = [examples + term if m else term for term, m in zip(terms.split(","), mine)]
    return contraction.einsum(*data, subscripts=f"{','.join(terms)}->{examples}{out}")


def _stacked(primitive, data, mine, size, params):
    """Matrices: one more axis before the last two."""
    return primitive(*[x if m else _repeated(x, size) for x, m in zip(data, mine)], **params)


def _solved(primitive, data, mine, size, params):
    """A matrix that all examples have in common is factored once."""
    return _stacked(primitive, data, mine, size, params) if mine[0] else solved(*data, **params)


def _transform(primitive, data, mine, size, params):
    return primitive(*data, **{**params, "axes": tuple([k + 1 for k in params["axes"]])})


def _reshaped(primitive, data, mine, size, params):
    return primitive(data[0], shape=(size, *params["shape"]))


def _transposed(primitive, data, mine, size, params):
    return primitive(data[0], axes=(0, *[k + 1 for k in params["axes"]]))


def _broadcast(primitive, data, mine, size, params):
    return primitive(aligned(data[0], len(params["shape"])), shape=(size, *params["shape"]))


def _joined(primitive, data, mine, size, params):
    return primitive(*[x if m else _repeated(x, size) for x, m in zip(data, mine)], axis=params["axis"] + 1)


def _padded(primitive, data, mine, size, params):
    return primitive(data[0], **{**params, "widths": ((0, 0), *params["widths"])})


def _one_by_one(primitive, data, mine, size, params):
    """Also of what has rules of its own, but for a loop, which turns for all examples together."""
    if primitive.own is not None and primitive.own.whole and (found := primitive.own.batched(data, mine, size)) is not None:
        return found
    if not size:
        raise refuse(ValueError, f"vmap{{here}}: {primitive.name} of no examples")
    parts = [primitive(*[getitem(x, index=(k,)) if m else x for x, m in zip(data, mine)], **params) for k in range(size)]
    return shaping.concatenate(*[shaping.reshape(p, shape=(1, *p.shape)) for p in parts], axis=0)


# ---- indices ---------------------------------------------------------------------------------------------------------------------------------------


class _Index:
    """An index into one example, and where NumPy puts what integer arrays and masks find: their axes (`found` many) stand where these stood, behind `before`
    others, or first where something else stands between them (`apart`). rank: of what is found in all."""

    def __init__(self, index, ranks, rank):
        fancy = [isinstance(i, (Slot, np.ndarray)) for i in index]
        advanced = [f or any(fancy) and isinstance(i, (int, np.integer)) for f, i in zip(fancy, index)]
        self.found = max([*ranks, *[1 for i in index if isinstance(i, np.ndarray)]], default=0)
        taken = sum([i.ndim if isinstance(i, np.ndarray) else i is not None and i is not Ellipsis for i in index])
        kept = [0 if a or isinstance(i, (int, np.integer)) else rank - taken if i is Ellipsis else 1 for i, a in zip(index, advanced)]
        places = [k for k, a in enumerate(advanced) if a]
        self.apart = bool(places) and len(places) <= places[-1] - places[0]
        self.before = sum(kept[:places[0]]) if places and not self.apart else 0
        self.rank = sum(kept) + self.found + (0 if Ellipsis in [i for i in index if not isinstance(i, np.ndarray)] else rank - taken)

    def found_first(self, x, examples):
        """What is found in front of the axes before it. examples: the axis 0 of x that stays there (0 or 1)."""
        a, b = examples + self.before, examples + self.before + self.found
        return x if not self.before else shaping.transpose(x, axes=(*range(examples), *range(a, b), *range(examples, a), *range(b, x.ndim)))

    def found_in_place(self, x):
        """The other way, of (examples, found, before, the others)."""
        a, b = 1 + self.found, 1 + self.found + self.before
        return x if not self.before else shaping.transpose(x, axes=(0, *range(a, b), *range(1, a), *range(b, x.ndim)))


def _located(index, arrays, mine, size, rank):
    """(_Index, is a slice in front enough?, the index, the arrays) of all examples: else their numbers are one more integer array, and what is found comes
    first."""
    at = _Index(index, _ranks(arrays, mine), rank)
    if not any(mine) and not at.apart:
        return at, True, (slice(None), *index), arrays
    arrays = [aligned(a, at.found) if m else a for a, m in zip(arrays, mine)]
    return at, False, (Slot(len(arrays)), *index), [*arrays, np.arange(size).reshape((size,) + (1,) * at.found)]


def _read(primitive, data, mine, size, params):
    (x, *arrays), index = data, params["index"]
    if not mine[0]:                                          # one table for all
        at = _Index(index, _ranks(arrays, mine[1:]), x.ndim)
        out = primitive(x, *[aligned(a, at.found) if m else a for a, m in zip(arrays, mine[1:])], index=index)
        return out if not at.before else shaping.transpose(out, axes=(at.before, *range(at.before), *range(at.before + 1, out.ndim)))
    at, plain, index, arrays = _located(index, arrays, mine[1:], size, x.ndim - 1)
    out = primitive(x, *arrays, index=index)
    return out if plain else at.found_in_place(out)


def _value(v, mine, at, plain):
    """What is written, with as many axes as what is found has."""
    rank, lead = np.ndim(v) - mine, np.shape(v)[:mine]
    if rank > at.rank:                                       # NumPy lets a value have extra leading axes of length 1
        v = shaping.reshape(v, shape=lead + np.shape(v)[mine + rank - at.rank:])
    elif rank < at.rank and (mine or not plain and at.before):
        v = shaping.reshape(v, shape=lead + (1,) * (at.rank - rank) + np.shape(v)[mine:])
    return v if plain else at.found_first(v, int(mine)) if np.ndim(v) - mine == at.rank else v


def _written(primitive, data, mine, size, params):
    x, v, *arrays = data
    x = x if mine[0] else _repeated(x, size)
    at, plain, index, arrays = _located(params["index"], arrays, mine[2:], size, x.ndim - 1)
    return primitive(x, _value(v, mine[1], at, plain), *arrays, index=index)


def _scattered(primitive, data, mine, size, params):
    v, *arrays = data
    at, plain, index, arrays = _located(params["index"], arrays, mine[1:], size, len(params["shape"]))
    return primitive(_value(v, mine[0], at, plain), *arrays, index=index, shape=(size, *params["shape"]))


def _by_index(rule):
    """The rule, but for an index with a truth value, which is a mask without axes: what it finds has one more axis than it takes."""
    def run(primitive, data, mine, size, params):
        alone = any([isinstance(i, (bool, np.bool_)) or isinstance(i, np.ndarray) and not i.shape for i in params["index"]])
        return (_one_by_one if alone else rule)(primitive, data, mine, size, params)
    return run


_KINDS = {"map": _elementwise, "reduce": _along, "contract": _contracted, "linalg": _stacked}
_RULES = {
    **dict.fromkeys(("cumsum", "cumprod", "argmax", "argmin", "argsort"), _along),
    **dict.fromkeys(fourier.NAMES, _transform), "solve": _solved, "reshape": _reshaped, "transpose": _transposed, "broadcast_to": _broadcast, "concatenate": _joined, "pad": _padded,
    "getitem": _by_index(_read), "setitem": _by_index(_written), "add_at": _by_index(_written), "scatter": _by_index(_scattered),
}
