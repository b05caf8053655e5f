"""cond, while_loop, scan: control flow as functions, in JAX's words. Python's own if, while and for do the same, and need none of them.

What it is: a branch that vmap can take for each example by itself, and loops with the shapes checked at every step, which an error in a body would otherwise
change without a word.

What it is not: no rule. What is recorded is what ran, so every method and the judge know it already; but under jit, and in de.trace, a scan is one operation
whose body is recorded and compiled once (loops.py), and under jit so is a while_loop (while_loops.py). The branch taken is remembered there and guarded like
every look at a value.
"""
import numpy as np

from .buffers import unwrap
from .errors import refuse
from .interpreters import OneByOne, differs, layers
from .recording import outlining
from .traced import TRACED, Traced, unaliased
from .trees import flatten, function_name, lend
from .vocabulary import elementwise as e


def cond(pred, true_fun, false_fun, *operands):
    """true_fun(*operands) where pred, else false_fun(*operands). pred: a truth value or number without axes.

    Inside vmap, where pred differs between examples, both are computed and np.where chooses; their results must then be nested alike.
    Raises TypeError for a pred with axes.

    >>> import diffeng as de
    >>> float(de.grad(lambda x: de.cond(x > 0, lambda x: x ** 2, lambda x: -x, x))(3.0))
    6.0
    """
    _functions("cond", true_fun=true_fun, false_fun=false_fun)
    pred = unwrap(pred)
    if np.ndim(pred):
        raise refuse(TypeError, f"cond{{here}}: the condition has shape {np.shape(pred)}, and must be one truth value: np.where chooses entry by entry")
    if differs(pred):
        return _chosen(pred, true_fun(*operands), false_fun(*operands))
    return true_fun(*operands) if pred else false_fun(*operands)


def _examples(pred):
    """How many there are, of each vmap."""
    return [value.interpreter.size for value in layers(pred) if value.interpreter.examples]


def _chosen(pred, yes, no):
    """Both results, entry by entry."""
    (a, _, one), (b, _, other) = flatten(yes), flatten(no)
    if one != other or [np.shape(x) for x in a] != [np.shape(x) for x in b]:
        raise refuse(TypeError, "cond{here} of a condition that differs between examples: both functions must return arrays of the same shapes, nested alike")
    return flatten(yes)[1]([e.where(pred, unwrap(x), unwrap(y)) for x, y in zip(a, b)])


def while_loop(cond_fun, body_fun, init):
    """The first of init, body_fun(init), body_fun(body_fun(init)), ... for which cond_fun is false. init: a number, an array, or a nesting of them, and so is what
    body_fun returns: the same nesting and the same shapes. What the functions are given is their own: writing into it changes no array outside.

    Differentiable by every method. Under jit body_fun is recorded and compiled once, however often it turns, where it looks at no value; its cotangents are compiled
    for each number of turns. Inside vmap it turns for each example by itself.
    Raises TypeError where body_fun changes the nesting or a shape.

    >>> import numpy as np, diffeng as de
    >>> root = lambda a: de.while_loop(lambda x: abs(x * x - a) > 1e-12, lambda x: (x + a / x) / 2, a)          # Heron's method
    >>> print(f"{root(2.0):.12f} {de.grad(root)(2.0):.12f} {0.5 / np.sqrt(2.0):.12f}")
    1.414213562373 0.353553390593 0.353553390593
    """
    _functions("while_loop", cond_fun=cond_fun, body_fun=body_fun)
    value, whole = lend(init), None
    while True:
        going = cond_fun(lend(value))
        if whole is None and outlining.get() in ("device", "program") and isinstance(unwrap(going), Traced):          # the first turns may be decided by plain numbers
            from .while_loops import recorded
            whole = recorded(cond_fun, body_fun, value)
            if whole is not None:
                return whole[0]
            whole = ()
        if not _true(going):
            return value
        value = lend(_like(value, body_fun(lend(value)), "while_loop", body_fun))


def _true(pred):
    pred = unwrap(pred)
    if np.ndim(pred):
        raise refuse(TypeError, f"while_loop{{here}}: the condition has shape {np.shape(pred)}, and must be one truth value: np.all or np.any makes one")
    sizes = _examples(pred)
    if sizes and all(sizes):
        raise OneByOne
    return bool(pred) if not sizes else False                # it turns for no example


def scan(fun, init, xs, length=None, reverse=False):
    """(carry, ys): fun(carry, x) -> (carry, y) for each x along the first axis of xs, from carry = init on; ys are the y's, stacked. reverse: from the last x to the
    first; each y stands where its x does.

    init, xs and what fun returns may be nested; every array of xs has the same length (xs None: `length` says how many turns there are, and x is None). The carry
    keeps its nesting and its shapes. y may be None. What fun is given is its own: writing into it changes no array outside. Where there
    are no turns, fun runs once on zeros, to tell the shapes of ys, which have length 0. Differentiable by every method.
    Raises ValueError for xs of different lengths, TypeError where fun returns no pair, or another carry.

    >>> import numpy as np, diffeng as de
    >>> print(*de.scan(lambda total, x: (total + x, total * x), 0.0, np.array([1.0, 2.0, 3.0])))
    6.0 [0. 2. 9.]
    >>> print(*de.scan(lambda total, x: (total + x, total * x), 0.0, np.array([1.0, 2.0, 3.0]), reverse=True))
    6.0 [5. 6. 0.]
    """
    _functions("scan", fun=fun)
    leaves, rebuild, _ = flatten(xs)
    leaves = [] if xs is None else [unwrap(x) if isinstance(x, Traced) else np.asarray(x) for x in leaves]
    lengths = {len(x) if x.ndim else None for x in leaves} | ({length} if length is not None else set())
    if len(lengths) != 1 or None in lengths:
        raise refuse(ValueError, "scan{here}: " + (f"xs have the shapes {', '.join(str(x.shape) for x in leaves)}" if leaves else "there are no xs")
                     + (f", and length is {length}" if length is not None else "") + ": one length is wanted, that of each first axis (or length=...)")
    found, nested, turns, way = [], None, lengths.pop(), slice(None, None, -1 if reverse else 1)
    if outlining.get():
        from .loops import recorded
        whole = recorded(fun, init, None if xs is None else rebuild(leaves), turns, reverse)
        if whole is not None:
            return whole
    carry = lend(init)
    for k in range(turns)[way]:
        out = fun(lend(carry), None if xs is None else rebuild([_row(x, k) for x in leaves]))
        if not isinstance(out, (tuple, list)) or len(out) != 2:
            raise refuse(TypeError, f"scan{{here}}: {function_name(fun)} must return a pair, the next carry and y, and returned {type(out).__name__}")
        carry = lend(_like(carry, out[0], "scan", fun))
        before, nested = nested, flatten(out[1])[2]
        if found and nested != before:
            raise refuse(TypeError, f"scan{{here}}: {function_name(fun)} returned a y that is nested otherwise than the one before")
        found.append(out[1])
    return carry, _stacked(found[way]) if turns else _of_no_turns(fun, carry, None if xs is None else rebuild([np.zeros(x.shape[1:], x.dtype)[()] for x in leaves]))


def _of_no_turns(fun, carry, x):
    """ys of length 0. One turn on zeros tells their shapes."""
    y = fun(lend(carry), x)[1]
    if y is None:
        return None
    leaves, rebuild, _ = flatten(y)
    return rebuild([np.zeros((0, *np.shape(y)), getattr(y, "dtype", type(y))) for y in map(unwrap, leaves)])


def _row(x, k):
    """An entry of xs, in no memory of theirs."""
    row = x[k]
    return unaliased(row) if type(row) in TRACED else row.copy()


def _stacked(ys):
    if not ys or ys[0] is None:
        return None
    rebuild = flatten(ys[0])[1]
    return rebuild([np.stack([unwrap(x) for x in same]) for same in zip(*[flatten(y)[0] for y in ys])])


def _like(before, after, what, fun):
    """The next value of a loop, nested and shaped as the one before."""
    (old, _, one), (new, _, other) = flatten(before), flatten(after)
    if one != other or type(before) is not type(after) and isinstance(before, (tuple, list, dict)) or [np.shape(x) for x in old] != [np.shape(x) for x in new]:
        raise refuse(TypeError, f"{what}{{here}}: {function_name(fun)} was given {_said(old)}, and returned {_said(new)}: nesting and shapes must stay")
    return after


def _said(leaves):
    return f"{len(leaves)} value{'s' * (len(leaves) != 1)} of shape {', '.join(str(np.shape(x)) for x in leaves)}"


def _functions(what, **functions):
    for name, f in functions.items():
        if not callable(f):
            raise TypeError(f"{what}: {name} must be a function, and is of type {type(f).__name__}")
