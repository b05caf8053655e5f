"""grad, jacobian, hessian, jvp, vjp, hvp: thin, and the same for every method.

Two witnesses walk a recorded graph backwards (reverse_mode, symbolic: both offer `gradient`), one runs the function on dual
numbers (forward_mode). Everything here is built from those two ways of asking.
"""
import contextlib
import functools
import itertools
import sys

import numpy as np

from .errors import refuse
from .every_direction import contracted, forward_rows, scalar_of, split
from .interpreters import OneByOne
from .nodes import STORED, Tracer, Tracing, reachable, restored
from .numpy_api import operand
from .refusals import warn_if_cut
from .traced import TRACED, Traced, apart, unaliased
from .trees import Flat, are_real, as_array, flatten, function_name, is_float, transformed
from .lines import line_of
from .vocabulary import elementwise

KEPT = 1 << 15            # bytes of an array that a derivative keeps a copy of, lest the function writes into it afterwards
METHODS = ("symbolic", "forward", "reverse")


def _check(method, auto):
    if method == "auto":
        return auto
    if method not in METHODS:
        raise ValueError(f"method={method!r}: choose one of {', '.join(METHODS)}")
    return method


@functools.cache                                # an import that has been made costs as much as an operation
def backward(method):
    """The module that accumulates cotangents: reverse_mode or symbolic."""
    if method == "symbolic":
        from . import symbolic
        return symbolic
    from . import reverse_mode
    return reverse_mode


class Recorded:
    """A flat function recorded at its leaves: value, then cotangents on demand.

    log: every node is kept, under the names of its inputs. lines: operations know where in the user's code they stand. To look takes a tenth of the time,
    and only errors ask: without lines they run the function once more.
    """

    def __init__(self, flat, leaves=None, log=False, lines=True):
        self.flat, self.tracing = flat, (tracing := Tracing(frames=None if lines else ()))
        tracing.whole = KEPT
        if log:
            tracing.log, names = [], flat.names
        else:
            tracing.depth, names = 1, itertools.repeat(None)         # nobody looks at the graph
        self.inputs = [tracing.input(x, name) for x, name in zip(flat.leaves if leaves is None else leaves, names)]
        self.nodes = [x.node for x in self.inputs]           # kept apart, the function may assign to its arguments
        self.outputs, self.values = [], []
        for x in flat(*self.inputs):
            node = x.node if type(x) is Tracer and x.interpreter is tracing else None
            self.outputs.append(node)
            self.values.append(x if node is None else node.value if node.value is not None else restored(node))
        tracing.end()
        warn_if_cut(flat.fun, tracing, self.outputs)

    def pull(self, cotangents, method="reverse", value_of=None):
        """One cotangent a leaf; zeros where there is no influence."""
        self.tracing.check_held()
        outputs, given = [], []
        for o, g in zip(self.outputs, cotangents):
            if o is not None and o.dtype.kind == "f":
                outputs.append(o)
                given.append(g)
        skip = {"skip": self._shifts(outputs)} if method == "reverse" and Tracer in map(type, self.values) else {}       # (is the adjoint recorded in turn?)
        try:
            found = backward(method).gradient(outputs, given, self.nodes, value_of or STORED, **skip)
        except NotImplementedError:                          # a rule that is missing
            again = self.with_lines()
            if again is not None:
                again.pull(cotangents, method)
            raise
        return apart(_with_zeros(found, self.nodes), given)

    def with_lines(self):
        """The same, recorded once more for an error that says where something stands; None where lines are known, or the function does not run twice."""
        if self.tracing.frames is not None:
            with contextlib.suppress(Exception):
                return Recorded(self.flat)

    def _shifts(self, outputs):
        """What has no influence: only an adjoint that will be compiled or derived is worth shortening; witnesses under judgement run on numbers."""
        from .shifts import without_shifts
        return without_shifts(reachable(outputs), outputs)


def _with_zeros(found, nodes):
    """Cotangents of nodes; zeros where there is no influence."""
    return [np.zeros(n.shape, n.dtype) if g is None else g for g, n in zip(found, nodes)]


def _scalar(values, flat, recorded=None):
    """The one scalar output, or the error that says what to do instead. recorded: the Recorded that has the values, where there is one."""
    if len(values) == 1 and (value := values[0]).shape == () and value.dtype.kind == "f":
        return value
    if len(values) != 1 or values[0].shape != ():
        made = ""
        if recorded is not None and len(values) == 1 and recorded.outputs[0] is not None:
            node = (recorded.with_lines() or recorded).outputs[0]
            line = line_of(node.frames)
            made = f", made by {node.primitive.name}{' at ' if line else ''}{line}" if node.operands else ", an argument as it came"
        shape = f"{len(values)} values" if len(values) != 1 else f"shape {np.shape(values[0])}"
        raise refuse(TypeError, f"grad needs a function with one scalar output, and {function_name(flat.fun)} returned {shape}{made}. "
                                "Take np.sum of it, use diffeng.jacobian, or diffeng.vjp with a cotangent")
    raise refuse(TypeError, f"grad: {function_name(flat.fun)} returned a value of dtype {value.dtype}, which has no derivative: "
                            "compute it in floating point (a comparison, floor or integer conversion stands last)")


_PRECISE = f"{__package__}.precise"


def _judged(flat):
    """The judge, where it runs the function around: there a derivative inside is a difference, and no rule is met. None elsewhere.

    In either kind of 100-digit run the arguments get these digits, too: they may be plain numbers, and the variable stand in a closure.
    """
    precise = sys.modules.get(_PRECISE)                            # not imported: no such run
    run = precise.current_run() if precise is not None else None
    if run is None:
        return None
    if run.judging and any([isinstance(x, Traced) and x.interpreter.examples for x in flat.leaves]):
        raise OneByOne                                             # differences are taken of numbers
    flat.leaves = [x if isinstance(x, Traced) else precise.precise(x) for x in flat.leaves]
    from . import judge
    return judge if run.judging else None


# ---- the public functions --------------------------------------------------------------------------------------------------------------

def value_and_grad(fun, argnums=0, has_aux=False, *, method="reverse"):
    """The function returning (value, gradient) of a scalar function.

    The gradient has the structure, shapes and dtypes of the argument(s) argnums. method: "reverse", "forward" or "symbolic".
    With has_aux, fun returns (value, aux) and the result is ((value, aux), gradient). Arguments may be given by name; argnums counts fun's parameters.

    Raises ValueError for another method, and, when it is called, TypeError where the output is no floating-point scalar, an argument of argnums is no floating-point
    number or array, or there is no such argument.

    >>> import numpy as np, diffeng as de
    >>> value, gradient = de.value_and_grad(lambda x: np.sum(x**2))(np.array([1.0, 2.0]))
    >>> print(value, gradient)
    5.0 [2. 4.]
    """
    _check(method, "reverse")

    def value_and_gradient(*args, **options):
        flat = Flat(fun, args, argnums, has_aux=has_aux, options=options)
        judge = _judged(flat)
        if judge is not None:
            value, leaves = judge.nested_value_and_gradient(flat, flat.leaves)
        elif method == "forward":
            value, leaves = _forward_gradient(flat)
        else:
            recorded = Recorded(flat, lines=False)
            value = _scalar(recorded.values, flat, recorded)
            leaves = recorded.pull([value.dtype.type(1)], method)
        gradient = flat.restore(leaves)
        return ((value, flat.aux), gradient) if has_aux else (value, gradient)

    return transformed(value_and_gradient, "value_and_grad", fun)


def _forward_gradient(flat):
    values, rows = forward_rows(flat)
    value = _scalar(values, flat)
    return value, apart(split(rows[0], flat.leaves))


def grad(fun, argnums=0, has_aux=False, *, method="reverse"):
    """The function returning the gradient of a scalar function, in the structure, shapes and dtypes of the argument(s) argnums.

    has_aux: fun returns (value, aux), and the result is (gradient, aux). The rest, and what is raised: as value_and_grad.

    >>> import numpy as np, diffeng as de
    >>> float(de.grad(lambda x: x**3)(2.0))
    12.0
    """
    both = value_and_grad(fun, argnums, has_aux, method=method)

    def gradient(*args, **options):
        value, g = both(*args, **options)
        return (g, value[1]) if has_aux else g

    return transformed(gradient, "grad", fun)


def vjp(fun, *primals, method="reverse"):
    """(out, pullback): pullback(cotangent) -> a tuple with one cotangent a primal, None for integers. The cotangent has the structure of out. fun may write into what
    it is given: the primals stay as they are.

    Raises TypeError where no primal is a floating-point number or array, and ValueError for another method; pullback raises ValueError for a cotangent that does not fit
    out.

    >>> import numpy as np, diffeng as de
    >>> out, pullback = de.vjp(lambda x: x * x, np.array([1.0, 2.0]))
    >>> print(pullback(np.ones(2))[0])
    [2. 4.]
    """
    _check(method, "reverse")
    flat = Flat(fun, primals, tuple(range(len(primals))), every_float=True)
    if not flat.leaves:
        raise TypeError(f"vjp: no argument of {function_name(fun)} is a floating-point number or array: pass 3.0 instead of 3, or convert with x.astype(float)")
    judge = _judged(flat)
    if judge is not None:
        values, blocks = judge.nested_blocks(flat, flat.leaves)
    elif method == "forward":
        values, rows = forward_rows(flat)
    else:
        recorded = Recorded(flat, _kept(flat.leaves), lines=False)
        values = recorded.values
    rebuild = flat.out

    def pullback(cotangent):
        given = _cotangents(cotangent, values, flat)
        if judge is not None:
            terms = [[np.tensordot(g, b, g.ndim) for b in row] for g, row, v in zip(given, blocks, values) if v.dtype.kind == "f"]
            return flat.restore([sum(column[1:], column[0]) for column in zip(*terms)] or [*map(np.zeros_like, flat.leaves)])
        if method == "forward":
            return flat.restore(apart(contracted(values, rows, given, flat.leaves)))
        return flat.restore(recorded.pull(given, method))

    return rebuild(_kept(values)), pullback


def _kept(arrays):
    """Copies of those that the caller may write into while a pullback still needs them."""
    return [x.copy(order="K") if type(x) is np.ndarray and x.flags.writeable else unaliased(x) if type(x) in TRACED else x for x in arrays]


def _cotangents(cotangent, values, flat):
    given, _, paths = flatten(cotangent)
    are_real(paths, lambda path: f"the cotangent of {'.'.join(['output', *map(str, path)])}")
    if len(given) != len(values):
        raise ValueError(f"the cotangent has {len(given)} arrays, the output of {function_name(flat.fun)} {len(values)}: give one an output")
    out = []
    for g, v, name in zip(given, values, flat.out_names):
        if np.shape(g) != np.shape(v):
            raise ValueError(f"the cotangent of {name} has shape {np.shape(g)}, the output {np.shape(v)}: they must be equal")
        out.append(_along(g, v, f"the cotangent of {name}") if v.dtype.kind == "f" else g)
    return out


def _tuples(what, *given):
    """Primals and tangents as tuples. An array is none: its entries are no arguments."""
    if any([isinstance(x, (np.ndarray, Traced)) or not hasattr(x, "__iter__") for x in given]):
        raise TypeError(f"{what}: primals and tangents are tuples with one entry an argument: {what}(f, (x,), (v,))")
    return [tuple(x) for x in given]


def jvp(fun, primals, tangents, *, method="forward"):
    """(out, tangent_out): the directional derivative of fun at primals along tangents (tuples of equal structure).

    A tangent None holds its primal constant; so are integers.

    Raises TypeError where primals or tangents are no tuples, or nothing moves; ValueError where they differ in number, structure or shapes.

    >>> import numpy as np, diffeng as de
    >>> print(*de.jvp(np.sin, (0.0,), (2.0,)))
    0.0 2.0
    """
    _check(method, "forward")
    primals, tangents = _tuples("jvp", primals, tangents)
    if len(primals) != len(tangents):
        raise ValueError(f"jvp: {len(primals)} primals and {len(tangents)} tangents: give one a primal")
    moving = tuple(k for k, t in enumerate(tangents) if t is not None)
    flat = Flat(fun, primals, moving, every_float=True)
    given = _tangents("jvp", flat, primals, tangents, moving)
    judge = _judged(flat)
    if judge is not None:
        values, out = judge.nested_jvp(flat, flat.leaves, given)
    elif method == "forward":
        from . import forward_mode
        values, pushed = forward_mode.push(flat, flat.leaves, [np.reshape(t, (1,) + t.shape) for t in given])
        out = [np.zeros(np.shape(v), v.dtype) if t is None else t[0] for v, t in zip(values, pushed)]
    else:
        recorded = Recorded(flat, lines=False)
        values, out = recorded.values, _transposed_pull(recorded, given, method)
    found = apart([*values, *out], [*flat.leaves, *given])
    return flat.out(found[:len(values)]), flat.out(found[len(values):])


def linearize(fun, *primals):
    """(out, linear): linear(*tangents) is the directional derivative at primals, as jvp gives it, without running fun again.

    linear takes one tangent a primal, and raises ValueError where they differ in number, structure or shapes.

    >>> import numpy as np, diffeng as de
    >>> out, linear = de.linearize(lambda x: x * x, np.array([1.0, 2.0]))
    >>> print(out, linear(np.ones(2)))
    [1. 4.] [2. 4.]
    """
    moving = tuple(range(len(primals)))
    flat = Flat(fun, primals, moving, every_float=True)
    if _judged(flat):
        raise refuse(TypeError, "diffeng.linearize{here} inside of a judged function: the judge has no recording; use diffeng.jvp there")
    recorded = Recorded(flat, _kept(flat.leaves), lines=False)

    def linear(*tangents):
        if len(tangents) != len(primals):
            raise ValueError(f"linearize: {len(primals)} primals and {len(tangents)} tangents: give one a primal")
        return flat.out(_transposed_pull(recorded, _tangents("linearize", flat, primals, tangents, moving), "reverse"))

    return flat.out(_kept(recorded.values)), linear


def _tangents(what, flat, primals, tangents, moving):
    """The tangents of the floating-point leaves, in their order, in the leaves' shapes and dtypes. what: who asks, for errors."""
    out = []
    for k in moving:
        parts, _, paths = flatten(primals[k])
        given, _, given_paths = flatten(tangents[k])
        are_real(given_paths, lambda path: f"{what}: the tangent of primal {k}")
        if paths != given_paths:
            raise ValueError(f"{what}: tangent {k} has another structure than primal {k}: give one number or array for each of the primal's; None for a primal "
                             "that is held constant")
        out += [t for x, t in zip(parts, given) if is_float(x)]
    if not flat.leaves:
        raise TypeError(f"{what}: nothing moves: no primal of {function_name(flat.fun)} with a tangent is a floating-point number or array")
    for t, x, name in zip(out, flat.leaves, flat.names):
        if np.shape(t) != np.shape(x):
            raise ValueError(f"{what}: the tangent of {name} has shape {np.shape(t)}, the primal {np.shape(x)}: they must be equal")
    return [_along(t, x, f"the tangent of {name}") for t, x, name in zip(out, flat.leaves, flat.names)]


def _along(direction, x, what):
    """A tangent or cotangent in the dtype of the value it belongs to. It is a direction, in which nothing is derived: integers will do."""
    direction = direction if isinstance(direction, Traced) else np.asarray(direction)
    if direction.dtype.kind not in "iub":
        direction = as_array(direction, what)
    return direction if direction.dtype == x.dtype else scalar_of(direction.astype(x.dtype))


def _transposed_pull(recorded, tangents, method):
    """The pullback is linear in its cotangent; pulling the tangents back through it once more transposes it: J v."""
    outer = Tracing()
    seeds = [outer.input(np.ones(np.shape(v), v.dtype)[()], f"g{k}") for k, v in enumerate(recorded.values)]
    pulled = recorded.pull(seeds, method)
    pairs = [(p.node, t) for p, t in zip(pulled, tangents) if outer.mine(p)]
    found = backward(method).gradient([p for p, _ in pairs], [t for _, t in pairs], [s.node for s in seeds], lambda n: n.value)
    return apart(_with_zeros(found, [s.node for s in seeds]), tangents)


def hvp(fun, primals, tangents, *, method="auto"):
    """(gradient, hessian @ tangents) of a scalar function, without the Hessian. Gradient and product have the structure of primals.

    primals, tangents: tuples with one entry an argument, as jvp's, and what is raised is the same. method "auto": forward over reverse; any other is used twice.

    >>> import numpy as np, diffeng as de
    >>> (gradient,), (product,) = de.hvp(lambda x: np.sum(x**3), (np.array([1.0, 2.0]),), (np.array([1.0, 0.0]),))
    >>> print(gradient, product)
    [ 3. 12.] [6. 0.]
    """
    outer, inner = ("forward", "reverse") if method == "auto" else (_check(method, None),) * 2
    primals, tangents = _tuples("hvp", primals, tangents)
    return jvp(grad(fun, tuple(range(len(primals))), method=inner), primals, tangents, method=outer)


def jacobian(fun, argnums=0, *, method="auto", sparse=False):
    """The function returning the Jacobian, of shape out.shape + in.shape (a tree of them when arguments or results are trees).

    method "auto": forward when there are fewer inputs than outputs, else reverse.
    sparse: the same as scipy.sparse arrays (csr_array of vectors, else coo_array), from a few directions: entries that cannot influence the same output share
    one. What is stored is what the graph of this call lets be other than 0; an entry that happens to be 0 is stored, too. Not inside of jit or another
    derivative, where there are no numbers to store (TypeError); a function that is itself jit(f) may be given.

    >>> import numpy as np, diffeng as de
    >>> print(de.jacobian(lambda x: x**2)(np.array([1.0, 2.0])))
    [[2. 0.]
     [0. 4.]]
    >>> J = de.jacobian(np.diff, sparse=True)(np.arange(10000.0))
    >>> J.shape, J.nnz
    ((9999, 10000), 19998)
    """
    _check(method, "reverse")

    def jacobian_of(*args, **options):
        flat = Flat(fun, args, argnums, options=options)
        judge = _judged(flat)
        if sparse:
            if judge is not None or any([isinstance(x, Traced) for x in flat.leaves]):
                raise refuse(TypeError, "jacobian(sparse=True){here} inside of jit or of another derivative: a scipy.sparse array holds numbers, and here are "
                                        "none yet. Leave sparse out here, or differentiate the compiled function: jacobian(jit(f), sparse=True)")
            from .sparse import jacobian_blocks
            blocks = jacobian_blocks(Recorded(flat, lines=False), method)
            return flat.out([flat.restore(b) for b in blocks])
        if judge is not None:
            _, blocks = judge.nested_blocks(flat, flat.leaves)
            return flat.out([flat.restore(b) for b in blocks])
        n = sum(x.size for x in flat.leaves)
        chosen, recorded = method, None
        if method != "forward":
            recorded = Recorded(flat, lines=False)
            if method == "auto":
                chosen = "forward" if n <= sum(v.size for v in recorded.values) else "reverse"
        if chosen == "forward":
            _, rows = forward_rows(flat)
            every = iter(apart([_last(p, x.ndim) for r in rows for p, x in zip(split(r, flat.leaves), flat.leaves)]))
            blocks = [list(itertools.islice(every, len(flat.leaves))) for _ in rows]
        else:
            blocks = _rows_backward(recorded, chosen)
        return flat.out([flat.restore(b) for b in blocks])

    return transformed(jacobian_of, "jacobian", fun)


def _last(part, rank):
    """(*in, *out) -> (*out, *in)"""
    return np.transpose(part, tuple(range(rank, part.ndim)) + tuple(range(rank)))


def _rows_backward(recorded, method):
    """One pullback an output entry."""
    blocks = []
    for j, v in enumerate(recorded.values):
        shape = np.shape(v)
        rows = []
        for entry in np.ndindex(*shape):
            unit = [np.zeros(np.shape(w), w.dtype if w.dtype.kind == "f" else float) for w in recorded.values]
            unit[j][entry] = 1
            rows.append(recorded.pull([u[()] for u in unit], method))
        leaves = recorded.flat.leaves
        blocks.append([scalar_of(np.reshape(np.stack([r[k] for r in rows]), shape + x.shape)) if rows else np.zeros(shape + x.shape, x.dtype)
                       for k, x in enumerate(leaves)])
    return blocks


def hessian(fun, argnums=0, *, method="auto", sparse=False):
    """The function returning the Hessian of a scalar function, of shape in.shape + in.shape.

    method "auto": forward over reverse; any other is used twice. sparse: as jacobian's. Raises what grad and jacobian raise.

    >>> import numpy as np, diffeng as de
    >>> print(de.hessian(lambda x: x[0] * x[1]**2)(np.array([1.0, 2.0])))
    [[0. 4.]
     [4. 2.]]
    """
    outer, inner = ("forward", "reverse") if method == "auto" else (_check(method, None),) * 2
    return jacobian(grad(fun, argnums, method=inner), argnums, method=outer, sparse=sparse)


def stop_gradient(x):
    """x itself, held constant by every method (and by the judge). x: a number, an array, or a nesting of them.

    >>> import numpy as np, diffeng as de
    >>> float(de.grad(lambda x: x * de.stop_gradient(x))(3.0))
    3.0
    """
    leaves, rebuild, _ = flatten(x)
    return rebuild([elementwise.stop_gradient(operand(leaf)) for leaf in leaves])
