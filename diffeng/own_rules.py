"""custom: a function with derivative rules of its own, forward and reverse.

What it is: each call of such a function is one operation, with a primitive that knows its own rules (`Rules`): forward mode asks the user's tangent rule, reverse
mode his cotangent rule. A rule that he did not give is taken from the function itself; and so is, always, what the symbolic method differentiates and what the
judge computes in 100 digits. So `compare` says of each rule whether it is right.

What it is not: no rule of the engine's. Programs are compiled from the function itself (`inlined`).
Why a file: one more thing that a user may write, like checkpoint.
"""
import functools
import inspect
import types
import weakref

import numpy as np

from .buffers import lent, unwrap
from .errors import refuse
from .interpreters import layers
from .nodes import Node, Outputs, Primitive, Tracer, Tracing, reachable
from .reach import loaded
from .recording import Body, Outline, computed, enters, of_some
from .traced import Traced
from .trees import flatten, function_name, is_float, is_part, lend, returned, structure
from .unread import without_unread
from .vocabulary import shaping

_primitives = weakref.WeakKeyDictionary()          # a custom function -> {how its arguments are nested: Rules}


def custom(fun):
    """The function, with rules for its derivatives that are yours. Also a decorator.

    f.push(rule): rule(*args, out, *tangents) -> the tangent of the result; a tangent is zeros for an argument that does not move.
    f.pull(rule): rule(*args, out, cotangent) -> the cotangents of the arguments: a tuple with one entry an argument, or the one of a single argument; None for an
    argument without a derivative (an integer, a text).
    f.check(*args): a Report that says whether each rule is right at these arguments (as compare does), and how far they are from being adjoint to each other.

    Rules are plain NumPy code and may be differentiated again. Arguments may be nested, and then tangents and cotangents are nested like them; results may be
    tuples, lists and dicts of floating-point arrays of one dtype. What function and rules are given is their own: writing into it changes no array outside.
    What has no rule is differentiated like any other function. The symbolic method and the judge never meet a rule: they see the function.

    Raises TypeError for what is no function. A derivative raises ValueError where a rule returns what does not fit the arguments or the result, and TypeError where
    results have several dtypes, an argument can only be given by name, or the function reads a value from outside that is differentiated.

    >>> import numpy as np, diffeng as de
    >>> @de.custom
    ... def length(x):
    ...     return np.sqrt(np.sum(x * x))
    >>> length.pull(lambda x, out, g: g * x / np.where(out > 0, out, 1))          # 0 at the origin, where it has no derivative
    >>> print(de.grad(length)(np.array([3.0, 4.0])), de.grad(length)(np.zeros(2)))
    [0.6 0.8] [0. 0.]
    >>> length.check(np.array([3.0, 4.0])).agree
    True
    """
    if not callable(fun):
        raise TypeError(f"custom needs a function, not {type(fun).__name__}")
    rules = {}

    @functools.wraps(fun)
    def called(*args, **options):
        if options:
            bound = inspect.signature(fun).bind(*args, **options)
            bound.apply_defaults()
            if bound.kwargs:
                raise refuse(TypeError, f"{function_name(fun)}{{here}} has derivative rules, and {sorted(bound.kwargs)[0]!r} can only be given by name: rules know "
                                        "arguments by their place")
            args = bound.args
        return _applied(called, fun, rules, args)

    def add(name):
        def method(rule):
            if not callable(rule):
                raise TypeError(f"{function_name(fun)}.{name} needs a function, not {type(rule).__name__}")
            rules[name] = rule
        method.__name__ = name
        return method
    called.push, called.pull = add("push"), add("pull")
    called.check = lambda *args: _checked(called, args)
    return called


def _applied(called, fun, rules, args):
    """One call: the primitive of such arguments, on their numbers."""
    leaves, nesting = structure(args)
    leaves = [unwrap(x) for x in leaves]
    given = [x for x in leaves if enters(x)]
    if not rules or not any([isinstance(x, Traced) for x in given]):
        return fun(*map(lend, args))
    closed = _closed(fun, args, leaves) if _may_close(fun) else None
    if closed is not None:
        mine = Rules(closed.function, rules, args, leaves, function_name(fun), len(closed.outer))
        return mine.called([*given, *closed.outer])
    key = nesting, tuple([(is_float(x), np.shape(x), getattr(x, "dtype", None)) if enters(x) else (type(x), _key(x)) for x in leaves])
    known = _primitives.setdefault(called, {})
    if key not in known:
        known[key] = Rules(fun, rules, args, leaves, function_name(fun))
    return known[key].called(given)


def _begins(fun):
    return ((fun.__code__, 0),) if isinstance(fun, types.FunctionType) else ()


def _number(x):
    """What a traced value is for the arguments that a compiler records a function with; None where nobody knows."""
    for layer in layers(x):
        x = layer
    if not isinstance(x, Traced):
        return x
    return x.interpreter.value(x.node) if type(x) is Tracer and isinstance(x.interpreter, Outline) else None


def _may_close(fun):
    """Could the function read a traced value from outside? Not where it has no closure, and the names it loads are modules, types and plain functions like it."""
    plain = (types.ModuleType, type, types.BuiltinFunctionType, np.ufunc, int, float, str, bool, type(None))
    if not isinstance(fun, types.FunctionType) or fun.__closure__:
        return True
    names = [fun.__globals__[n] for n in loaded(fun.__code__)[1] if n in fun.__globals__]
    return not all([isinstance(x, plain) or isinstance(x, types.FunctionType) and (x.__module__ or "").partition(".")[0] in ("numpy", "scipy") for x in names])


def _holds_traced(fun):
    """Does it read a traced value from outside, if only for what nobody uses? Run again later, it would meet a value that has ended."""
    if not isinstance(fun, types.FunctionType):
        return False
    found = [fun.__globals__.get(n) for n in loaded(fun.__code__)[1]] + [getattr(cell, "cell_contents", None) for cell in fun.__closure__ or ()]
    return any([isinstance(unwrap(x), Traced) for tree in found for x in flatten(tree)[0]])


class _Closed:
    """A function that reads traced values from outside (arrays that jit has made inputs): recorded, so that they are arguments like any other."""

    def __init__(self, outer, inputs, outputs, rebuild):
        self.outer, self._inputs, self._outputs, self._rebuild = outer, inputs, outputs, rebuild
        self._order = reachable([x for x in outputs if type(x) is Node])

    def function(self, args, outer):
        """The function's results. args: as recorded. outer: what is read from outside."""
        leaves = [x for x in flatten(args)[0] if enters(x)]
        values = computed(self._order, dict(zip(self._inputs, (*leaves, *outer))))
        return self._rebuild([values[x] if type(x) is Node else x for x in self._outputs])


def _closed(fun, args, leaves):
    """A _Closed, or None for a function that reads nothing traced from outside. Raises TypeError where that is being differentiated, for no rule knows of it."""
    tracing, rebuild = Body(), flatten(args)[1]
    inside = [tracing.input(None, "x", np.shape(x), getattr(x, "dtype", np.dtype(float))) if enters(x) else x for x in leaves]
    try:
        result = fun(*rebuild(inside))
    except Exception as error:                       # whatever a library's function does with what is no number
        if not tracing.outer:
            return None                              # it looks at a value
        if not isinstance(error, (AttributeError, TypeError, ValueError)):
            raise                                    # its own
        raise refuse(TypeError, f"{function_name(fun)}{{here}} has derivative rules, looks at values, and reads an array from outside: pass the array as an "
                                "argument") from error
    parts, again, _ = flatten(result)
    parts = [tracing.inside(x) for x in parts]
    tracing.end()
    outer = [x for x, _ in tracing.outer.values()]
    if not outer and not _holds_traced(fun):
        return None
    if any(map(_is_differentiated, outer)):
        raise refuse(TypeError, f"{function_name(fun)}{{here}} has derivative rules, and reads a value from outside that is differentiated: no rule knows of it. "
                                "Pass it as an argument, of which the rules then return a tangent or cotangent")
    inputs = [t.node for t, x in zip(inside, leaves) if enters(x)] + [t.node for _, t in tracing.outer.values()]
    return _Closed(outer, inputs, [x.node if tracing.mine(x) else x for x in parts], again)


def _is_differentiated(x):
    """Is a derivative by it, or one above it, wanted? Not by what a compiler records, nor by the judge's numbers."""
    return any([isinstance(value.interpreter, Tracing) and not isinstance(value.interpreter, (Outline, Body)) or hasattr(type(value), "tangent")
                for value in layers(x)])


def _key(x):
    try:
        hash(x)
    except TypeError:
        return id(x)                                 # (the Rules hold it, so that it stays its own)
    return x


class Rules:
    """What the books ask of a primitive that has its own rules. body(*numbers): the function, its results packed in one array. Calls that differ in what is
    constant among their arguments have another primitive."""

    whole = False                                # programs are compiled from what it computes

    def __init__(self, fun, rules, args, leaves, name, outside=None):
        self._fun, self._rules, self._nest, self._name, self._outside = fun, rules, flatten(args)[1], name, outside
        self._leaves = [None if enters(x) else x for x in leaves]
        self._at = [k for k, x in enumerate(leaves) if enters(x)]
        self.moves = [slot for slot, k in enumerate(self._at) if is_float(leaves[k])]
        self._out = self._given = None               # (rebuild, shapes) of the results, once there were some; the numbers of a call that is recorded
        self.begins = _begins(fun)                   # where its code stands
        shown = f"{name} (custom)" if name in Primitive.registry else name
        self.primitive = Primitive(shown, self.body, "opaque", tuple(self.moves), infer=self._inferred, own=self)

    def called(self, numbers):
        """The results for these."""
        before, self._given = self._given, numbers          # (a function may call itself)
        try:
            out = self.primitive(*numbers)
        finally:
            self._given = before
        if type(out) is Tracer and not out.node.frames:          # what no line of the user's calls, for the engine itself does (f.check), stands where the function begins
            out.node.frames = self.begins
        return self.unpacked(out)

    # ---- arguments and results as flat numbers ------------------------------------------------------------------------------------

    def _nested(self, numbers, others=None):
        """The arguments with these numbers in their places. others: what stands for what is constant; None: itself."""
        leaves = [*self._leaves] if others is None else [None] * len(self._leaves)
        for k, x in zip(self._at, numbers):
            leaves[k] = lent(x)
        return self._nest(leaves)

    def body(self, *numbers):
        if self._outside is not None:
            given = len(numbers) - self._outside
            result = self._fun(self._nested(numbers[:given]), numbers[given:])
        else:
            result = self._fun(*self._nested(numbers))
        leaves, rebuild, _ = flatten(result)
        leaves = [returned(unwrap(x), self._fun) for x in leaves]
        self._out = rebuild, [np.shape(x) for x in leaves]
        return self._packed(leaves)

    def _inferred(self, *numbers):
        """(shape, dtype) of the packed result: recorded without values; a function that looks at some is run on those of the call, or, where nobody knows them, on these."""
        tracing = Tracing(values=False)
        try:
            out = self.body(*[tracing.input(None, "x", x.shape, x.dtype) if isinstance(x, np.ndarray) else x for x in numbers])
        except Exception:                            # whatever a library's function does with what is no number
            known = [_number(x) for x in self._given or [None]]
            out = self.body(*(numbers if any([x is None for x in known]) else known))
        return np.shape(out), out.dtype

    def _packed(self, leaves):
        if len(leaves) == 1:
            return leaves[0] if isinstance(leaves[0], Traced) else np.asarray(leaves[0])
        dtypes = {np.asarray(x).dtype if not isinstance(x, Traced) else x.dtype for x in leaves}
        if len(dtypes) != 1 or next(iter(dtypes)).kind != "f":
            raise refuse(TypeError, f"{self._name}{{here}}: several results of a function with derivative rules must be floating-point arrays of one dtype, "
                                    f"and they are {', '.join(sorted(map(str, dtypes)))}")
        return shaping.concatenate(*[np.reshape(x, (-1,)) for x in leaves], axis=0)

    def unpacked(self, packed):
        rebuild, shapes = self._out
        if len(shapes) == 1:
            return rebuild([lent(packed)])
        return rebuild(shaping.pieces(packed, shapes))

    # ---- rules ------------------------------------------------------------------------------------------------------------------------

    def has(self, name):
        return name in self._rules

    def push(self, primals, tangents, value):
        """The tangent of the packed result, (K, *value.shape). tangents: {slot: (K, ...)}."""
        if not self.has("push"):
            return self._pushed_through(primals, tangents)
        count, rows = next(iter(tangents.values())).shape[0], []
        for k in range(count):
            moves = [tangents[s][k] if s in tangents else np.zeros(np.shape(x), x.dtype if hasattr(x, "dtype") else float) if s in self.moves else None
                     for s, x in enumerate(primals)]
            out = self._rules["push"](*self._nested(primals), self.unpacked(value), *self._nested(moves, ()))
            row = self._packed([unwrap(x) for x in flatten(out)[0]])
            if np.shape(row) != np.shape(value):
                raise self._refused("push", f"a tangent of shape {np.shape(row)} for a result of shape {np.shape(value)}")
            rows.append(np.reshape(row, (1, *np.shape(row))))
        return rows[0] if count == 1 else np.concatenate(rows)

    def _pushed_through(self, primals, tangents):
        from . import forward_mode
        body = of_some(lambda *numbers: [self.body(*numbers)], primals, tangents)
        return forward_mode.push(body, [primals[s] for s in tangents], [*tangents.values()])[1][0]

    def pulled(self, g, z, numbers):
        """{slot: cotangent}, by the user's rule, or through the function."""
        if not self.has("pull"):
            return self.through("reverse", g, numbers)
        found = self._rules["pull"](*self._nested(numbers), self.unpacked(z), self.unpacked(g))
        count = len(self._nest(self._leaves))
        if count > 1 and (not isinstance(found, (tuple, list)) or len(found) != count):
            some = len(found) if isinstance(found, (tuple, list)) else "one value"
            raise self._refused("pull", f"{some} for {count} arguments: return a tuple with one cotangent an argument, None for one that has none")
        parts = [*found] if count > 1 else [found[0]] if isinstance(found, tuple) and len(found) == 1 else [found]
        leaves = [self._of_argument(k, part) for k, part in enumerate(parts)]
        flat, out = [x for part in leaves for x in part], {}
        for slot in self.moves:
            x, c = numbers[slot], flat[self._at[slot]]
            if c is None or np.shape(c) != np.shape(x):
                raise self._refused("pull", f"{'none' if c is None else f'one of shape {np.shape(c)}'} for a number of shape {np.shape(x)}")
            out[slot] = c if isinstance(c, Traced) else np.asarray(c)
            if out[slot].dtype.kind not in "fiub":
                raise self._refused("pull", f"a cotangent of dtype {out[slot].dtype}")
        return out

    def _of_argument(self, k, cotangent):
        """The leaves of an argument's cotangent, as many as it has."""
        paths = flatten(self._nest([*range(len(self._leaves))])[k])[0]
        if cotangent is None:
            return [None] * len(paths)
        found, _, places = flatten(cotangent)
        leaves = [unwrap(x) for x in found]
        if len(leaves) != len(paths) and any(map(is_part, places)):
            raise self._refused("pull", f"a complex cotangent for argument {k}, which is real")
        if len(leaves) != len(paths):
            raise self._refused("pull", f"{len(leaves)} arrays for argument {k}, which has {len(paths)}")
        return leaves

    def _refused(self, rule, what):
        return refuse(ValueError, f"the rule {self._name}.{rule} returned {what}{{here}}")

    def through(self, method, g, numbers):
        """{slot: cotangent} by differentiating the function itself."""
        from .differentiate import vjp
        body = of_some(self.body, numbers, self.moves)
        return dict(zip(self.moves, vjp(body, *[numbers[s] for s in self.moves], method=method)[1](g)))


def inlined(outputs):
    """The nodes of a graph with custom functions replaced by what they compute: for evaluation only. Functions that look at values stay as they are, and so do
    loops; of one that turns twice with the same numbers, the second time keeping its carries (Loop.keeping), the second is enough."""
    order = reachable(outputs)
    if all([n.primitive.own is None for n in order]):
        return outputs
    keeping, now, made = {_turned(n.primitive.own.of, n): n for n in order if getattr(n.primitive.own, "of", None) is not None}, {}, {}
    for n in order:
        operands, own = [now[x] if type(x) is Node else x for x in n.operands], n.primitive.own
        key = None if own is None or not own.whole else _turned(own.of or own, n)
        if own is not None and not own.whole:
            again = _recorded(own, operands) or n.on(operands)
        elif key in keeping:
            made[key] = again = made.get(key) or _whole(keeping[key], operands)
            if own.of is None:
                again = Node(Primitive.registry["getitem"], (again,), {"index": (slice(0, own.size),)}, None, n.shape, n.dtype, n.frames)
        else:
            again = n if not n.operands else n.on(operands) if own is None else _whole(n, operands)
        again.live = ()                                  # no derivative goes through what is only evaluated
        now[n] = again
    return without_unread(Outputs([now[x] if isinstance(x, Node) else x for x in outputs]))


def _whole(n, operands):
    """A loop of these numbers, of whose turn the same is true."""
    own = n.primitive.own
    written = own.written_out(inlined) if n.primitive.name == "scan" else own
    return n.on(operands) if written is own else Node(written.primitive, tuple(operands), n.params, None, n.shape, n.dtype, n.frames)


def _turned(loop, node):
    """What a loop turns with."""
    return loop, *map(_seen, node.operands)


def _seen(x):
    """Which number an operand is: of two views of one array that are alike, the same."""
    if type(x) is np.ndarray:
        return x.__array_interface__["data"], x.shape, x.strides, x.dtype
    return (x.primitive, repr(x.params), *map(_seen, x.operands)) if type(x) is Node and x.primitive.kind == "view" else id(x)


def _recorded(own, operands):
    """The node of what a function computes of these; None where it looks at a value, or computes nothing with them."""
    tracing = Tracing(values=False)
    try:
        found = own.body(*[Tracer(tracing, x) if type(x) is Node else x for x in operands])
    except Exception:
        return None
    return found.node if tracing.mine(found) else None


def _checked(called, args):
    """The Report of compare, and how far <g, J v> is from <J' g, v> for random v and g, in the size of their terms."""
    from .differentiate import jvp, vjp
    from .verdict import compare
    report, rng = compare(called, *args), np.random.default_rng(1)
    moving = [k for k, a in enumerate(args) if any(map(is_float, flatten(a)[0]))]

    def alike(tree):
        leaves, rebuild, _ = flatten(tree)
        return rebuild([rng.normal(size=np.shape(x)) if is_float(x) else x for x in leaves])

    def terms(a, b):
        return np.concatenate([np.ravel(np.multiply(x, y)) for x, y in zip(flatten(a)[0], flatten(b)[0]) if is_float(x)])
    v = [alike(a) if k in moving else None for k, a in enumerate(args)]
    out, tangent = jvp(called, args, tuple(v))
    g = alike(out)
    pulled = vjp(called, *args)[1](g)
    there, back = terms(g, tangent), np.concatenate([terms(v[k], pulled[k]) for k in moving])
    report.adjoint = float(abs(there.sum() - back.sum()) / max(np.abs(there).sum(), np.abs(back).sum(), np.finfo(float).tiny))
    return report
