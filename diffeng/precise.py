"""Arrays of any number of digits, as one more interpreter of plain NumPy code.

What it is: `PreciseArray`, which user code holds while the judge runs it; `PRECISE`, which applies primitives to it by the table of ball_arrays.py;
`precision`, how many digits; `Run`, what the judge asks of one execution of the user's function: that it take float64's branches, keep what
stop_gradient holds, and say which primitives it called. Data never round to float32: only constants do, where NumPy would round them.

What it is not: no derivative (differences stand in judge.py), no function on numbers (balls.py, ball_arrays.py).

Why a file: it is the fourth interpreter beside Tracing, Dual and plain NumPy, and like them it only says what applying a primitive means.
"""
import contextlib
import threading

import numpy as np
from flint import arb, ctx

from .ball_arrays import BALLS
from .balls import Refused, Undecided, all_finite, box, enclose, infinite, nonzero, whole
from .buffers import call as call_user, unwrap
from .constants import Exact
from .errors import explain, refuse
from .interpreters import Interpreter, complex_result
from .refusals import fixed
from .traced import ALIASES, Traced
from .lines import same_place, user_frames
from .wide_arrays import WIDE, Wide, held, spelled

__all__ = ["PreciseArray", "PRECISE", "Run", "Refused", "Undecided", "precise", "numbers", "radius", "certainly", "arbs", "precision",
           "digits_in_force", "call", "current_run"]

FLOAT = np.dtype(float)


# ---- digits -------------------------------------------------------------------------------------------------------------------------

_flint = threading.RLock()              # flint's precision is one number for all threads: who needs one holds it alone


@contextlib.contextmanager
def precision(digits):
    """Compute with this many decimal digits inside; what was in force before comes back, whatever happens."""
    with _flint:
        before = ctx.prec
        ctx.dps = int(digits)
        try:
            yield
        finally:
            ctx.prec = before


def digits_in_force():
    return ctx.dps


# ---- the array ----------------------------------------------------------------------------------------------------------------------

_DATA = frozenset({np.ndarray, Wide})


class PreciseArray(Traced):
    """An array of balls (data: object ndarray of arb, or Wide when it is large) or, for comparisons and positions, of plain booleans or integers.

    dtype is nominal: what NumPy would have computed in. origin: where a recording run got it from. doubt: the Undecided that a
    comparison ran into; it is raised when the outcome is used, and never when the branch is replayed.
    """

    __slots__ = ("data", "dtype", "origin", "doubt", *ALIASES)

    def __init__(self, data, dtype, origin=None, doubt=None):
        self.data, self.dtype, self.origin, self.doubt = data if type(data) in _DATA else box(data), dtype, origin, doubt

    shape = fixed(lambda self: self.data.shape, "shape")
    lies = property(lambda self: self.data if type(self.data) is np.ndarray else None)          # as NumPy's array would, but for the size of an entry

    def _adopt(self, other):
        other = unwrap(other)
        if type(other) is not PreciseArray:
            other = precise(other)
        self.data, self.dtype, self.origin, self.doubt = other.data, other.dtype, other.origin, other.doubt

    def _look(self, kind, convert):
        run = current_run()
        if kind == "float" and self.dtype.kind == "f":
            raise refuse(Refused, "float(){here}: a number was taken out of its array under the judge (math.sin(x), float(x) and the like do that), and "
                                  "what is computed from it has no derivative. Use NumPy's functions on the array itself: np.sin(x) for math.sin(x), x "
                                  "for float(x)")
        if run is not None and run.looks is not None:
            return run.replay(kind)
        if self.doubt is not None:
            raise self.doubt
        if self.data.dtype != object:
            return convert(self.data)
        if kind == "bool":
            return convert(nonzero(self.data))
        if kind == "int":
            return convert(box(np.frompyfunc(whole, 1, 1)(self.data)))
        return convert(numbers(self))

    def __repr__(self):
        if self.data.dtype != object:
            return f"<precise {self.dtype} {self.data!r}>"
        if not self.shape:
            x = self.data[()]
            return f"<precise {self.dtype} {f'{x.mid().str(25, radius=False)} +/- {x.rad().str(2, radius=False)}' if x.is_finite() else numbers(self)[()]}>"
        return f"<precise {self.shape} {self.dtype} {np.array2string(numbers(self), threshold=12, precision=8)}>"


def precise(x):
    """A float array or scalar exactly as it is (a binary float is a number of any precision). PreciseArrays pass."""
    x = unwrap(x)
    if type(x) is PreciseArray:
        return x
    if type(x) is arb:
        return PreciseArray(box(x), FLOAT)
    if type(x) is Exact:
        return PreciseArray(box(x.digits(arb)), FLOAT)
    x = np.asarray(x)
    if x.dtype == object:
        return PreciseArray(x, FLOAT)
    if x.dtype.kind not in "fiub":
        raise refuse(TypeError, f"precise{{here}}: dtype {x.dtype} has no real numbers")
    return PreciseArray(held(x) if x.dtype.kind == "f" else x, x.dtype)


def arbs(p):
    """The object ndarray of balls."""
    p = precise(p)
    return spelled(p.data) if p.data.dtype == object else enclose(p.data)


_nearest = np.frompyfunc(lambda x: float(x) if x.is_finite() or infinite(x) else np.nan, 1, 1)
_float = np.frompyfunc(float, 1, 1)
_certainly = np.frompyfunc(lambda x: float(x.abs_lower()) if x.is_finite() else np.inf, 1, 1)
_radius = np.frompyfunc(lambda x: max(float(x.rad()), 0.0 if x.is_exact() else 5e-324) if x.is_finite() or infinite(x) else np.inf, 1, 1)


def numbers(p):
    """The nearest float64 array: infinite beyond its range, NaN for NaN and for balls without bounds. Plain arrays pass."""
    p = unwrap(p)
    if type(p) is not PreciseArray:
        return np.asarray(p, float)
    if p.data.dtype != object:
        return p.data.astype(float)
    if type(p.data) is Wide:
        return p.data.numbers()
    with np.errstate(all="ignore"):
        return np.asarray((_float if all_finite(p.data) else _nearest)(p.data), float)


def radius(p):
    """Upper bounds of the balls' radii, as a float64 array."""
    with np.errstate(all="ignore"):
        return np.asarray(_radius(arbs(p)), float)


def certainly(p):
    """How far from 0 each entry is at least: 0 where its ball holds 0, infinite where it has no bounds. Float64."""
    with np.errstate(all="ignore"):
        return np.asarray(_certainly(arbs(p)), float)


# ---- what NumPy's dtype would be ---------------------------------------------------------------------------------------------------------

_SPECIAL = {"erf", "erfc", "expit", "log_expit", "logit"}             # float in, float out: scipy need not be imported to know
_VALUES = {"random_bits": 0, "getitem": 1, "scatter": 1, "setitem": 2, "add_at": 2}     # how many operands are values; indices follow
_AS_THEY_ARE = {"matmul", "dot", "tensordot", "einsum", "getitem"}       # what ball_arrays.py has for large operands, too
_COMPARISONS = {"less", "less_equal", "greater", "greater_equal", "equal", "not_equal"}
_TRUTH = {"logical_and", "logical_or", "logical_xor", "logical_not", "any", "all", "copy", "reshape", "transpose", "broadcast_to", "getitem", "stop_gradient"}
_dtypes = {}


def _kind(x):
    """An operand as promotion sees it: a dtype, or the type of a weak Python scalar."""
    kind = type(x)
    return float if kind is Exact else kind if kind in (float, int, bool) else x.dtype


def _promote(primitive, kinds, params):
    """(dtype of the result, dtype in which the values meet)."""
    key = (primitive.name, kinds, params.get("dtype"))
    known = _dtypes.get(key)
    if known is None:
        known = _dtypes[key] = _infer(primitive, kinds, params)
    return known


def _infer(primitive, kinds, params):
    name = primitive.name
    if name == "random_bits":
        return np.dtype(np.uint32), np.dtype(np.uint64)
    samples = [np.ones(1, k) if isinstance(k, np.dtype) else k(1) for k in kinds]
    n = _VALUES.get(name)
    values = samples[1:] if name == "where" else samples[:n]
    meet = values[0].dtype if name in ("setitem", "add_at") and hasattr(values[0], "dtype") else np.result_type(*values)
    if name == "astype":
        return np.dtype(params["dtype"]), meet
    if name in _SPECIAL:
        return np.result_type(np.exp(samples[0])), meet
    if primitive.kind == "map":
        with np.errstate(all="ignore"):
            dtype = np.result_type(primitive.evaluate(*samples, **params))
        return dtype, dtype if name == "xlogy" else meet             # scipy knows no weak numbers: they meet float32 in float64
    if primitive.kind == "reduce":
        return np.result_type(primitive.evaluate(samples[0], axis=(0,), keepdims=True, **({"ddof": 0} if name == "var" else {}))), meet
    if name in ("cumsum", "cumprod"):
        return primitive.evaluate(samples[0], axis=0).dtype, meet
    if name in ("argmax", "argmin", "argsort"):
        return np.dtype(np.intp), meet
    return meet, meet


def _balls(x, meet):
    """An operand as balls; a constant is rounded as NumPy would round it before it meets the values."""
    kind = type(x)
    if kind is PreciseArray:
        return x.data if x.data.dtype == object else held(x.data)
    if kind is Exact:
        return box(x.digits(arb))
    if kind is float or kind is int or kind is bool:
        if meet.kind == "f":
            x = float(meet.type(x))
        return box(arb(x))
    return held(np.asarray(x))


def _lifted(x, meet):
    """A number that meets precise values, precise in turn."""
    if type(x) in (float, int):
        return PreciseArray(_balls(x, meet), meet)
    return precise(x) if isinstance(x, (np.ndarray, np.generic)) and x.dtype.kind in "fiu" else x


def _stored(x, meet):
    """A plain array that is written into one of dtype `meet` is cast to it."""
    return x.astype(meet) if isinstance(x, (np.ndarray, np.generic)) and meet.kind == "f" else x


# ---- the interpreter ---------------------------------------------------------------------------------------------------------------------

def _inside(primitive, operands):
    """A function with rules of its own, run in 100 digits: one call of the function that is judged, which looks at values by itself."""
    run, operands = current_run(), PRECISE.lift(primitive, operands, {})           # constants, too: a rule meets them as precise
    if run is None:
        return primitive.own.body(*operands)
    calls, looks, run.calls, run.looks = run.calls, run.looks, None, None
    try:
        out = primitive.own.body(*operands)
    finally:
        run.calls, run.looks = calls, looks
    out = out if type(out) is PreciseArray else precise(np.asarray(out))
    if calls is not None:
        run.note(primitive, operands, {}, out)
    return out


class _Precise(Interpreter):
    level = 0                            # below every level that is handed out

    def __init__(self):
        pass

    def apply(self, primitive, operands, params):
        if primitive.own is not None:
            return _inside(primitive, operands)
        name, run = primitive.name, current_run()
        dtype, meet = _promote(primitive, tuple([_kind(x) for x in operands]), params)
        if "c" in (dtype.kind, meet.kind):
            return complex_result(primitive, operands, params)
        doubt, balls = None, dtype.kind == "f"
        for x in operands:
            if type(x) is PreciseArray:
                balls = balls or x.data.dtype == object
                doubt = doubt or x.doubt
        if doubt is not None and name not in _TRUTH:
            raise doubt
        try:
            with np.errstate(all="ignore"):                          # balls use floating-point units inside; their flags mean nothing
                if balls:
                    data = self._compute(name, operands, params, dtype, meet)
                else:
                    data = np.asarray(primitive.evaluate(*[x.data if type(x) is PreciseArray else x for x in operands], **params))
        except Undecided as undecided:
            if name not in _COMPARISONS or run is None or run.looks is None:
                raise
            shape = np.broadcast_shapes(*[np.shape(x) for x in operands])
            data, doubt = np.zeros(shape, bool), undecided           # perhaps it only decides a branch, and that is float64's to take
        except (ValueError, TypeError, IndexError) as error:
            raise explain(error, name, operands) from error
        out = PreciseArray(data, dtype, None, doubt)
        if run is not None:
            if name == "stop_gradient":
                out.data = run.hold(out.data)
            if run.calls is not None:
                run.note(primitive, operands, params, out)
        return out

    def lift(self, primitive, operands, params):
        name, meet = primitive.name, _promote(primitive, tuple([_kind(x) for x in operands]), params)[1]
        first, last = int(name == "where"), _VALUES.get(name, len(operands))
        return [_lifted(x, meet) if first <= k < last and meet.kind == "f" and (primitive.own is None or primitive.carries(k)) else x for k, x in enumerate(operands)]

    @staticmethod
    def _compute(name, operands, params, dtype, meet):
        if name == "astype":
            data = operands[0].data
            if dtype.kind == "f":
                return data if data.dtype == object else held(data)
            data = spelled(data)
            return nonzero(data) if dtype.kind == "b" else np.asarray(np.frompyfunc(whole, 1, 1)(data)).astype(dtype)
        if name == "where":
            c = operands[0]
            c = np.asarray(c) if type(c) is not PreciseArray else c.data if c.data.dtype != object else nonzero(spelled(c.data))
            return box(np.where(c, *[spelled(_balls(x, meet)) for x in operands[1:]]))
        n = _VALUES.get(name)
        if n is None:
            return _applied(name, [_balls(x, meet) for x in operands], (), params)
        if n == 2:
            operands = (operands[0], _stored(operands[1], meet)) + tuple(operands[2:])
        indices = [x.data if type(x) is PreciseArray else x for x in operands[n:]]
        return _applied(name, [_balls(x, meet) for x in operands[:n]], indices, params)


def _applied(name, values, indices, params):
    """A primitive on balls; on large arrays as they are where there is a way, else spelled out."""
    if any([type(x) is Wide for x in values]):
        out = WIDE[name](*values, *indices, **params) if name in WIDE else None
        if out is not None:
            return out
        values = values if name in _AS_THEY_ARE else [spelled(x) for x in values]
    return box(BALLS[name](*values, *indices, **params))


PRECISE = PreciseArray.interpreter = _Precise()


# ---- one execution of the user's function ------------------------------------------------------------------------------------------------------

_UNSTEADY = "it behaves differently from run to run (random numbers, a counter, a cache?). Make it depend on its arguments only"
_here = threading.local()


def current_run():
    stack = getattr(_here, "stack", None)
    return stack[-1] if stack else None


class Run:
    """What is in force while the user's function runs: `with Run(looks): ...`, or call(fun, args, run).

    looks: Tracing.looks of a float64 recording: every look at a value is answered as float64 answered it; None: the precise value decides.
    record: keep `calls`, (primitive, inputs, params, output) in order, an input being the number of the call that made it, ("input", k) or ("constant", value).
    held: what stop_gradient held in an earlier run; it is held again, in the same order. This run's own is in `held` afterwards.
    """

    def __init__(self, looks=None, record=False, held=None):
        self.looks, self.position = looks, 0
        self.calls = [] if record else None
        self.held, self.replaying, self.cursor = ([] if held is None else held), held is not None, 0
        self.derivatives = 0                    # how many derivatives the function took inside
        self.judging = False                    # is it the judge who runs the function (and not a method in 100 digits)?

    def __enter__(self):
        stack = getattr(_here, "stack", None)
        if stack is None:
            stack = _here.stack = []
        stack.append(self)
        return self

    def __exit__(self, *_):
        _here.stack.pop()

    def replay(self, kind):
        frames = user_frames()
        if self.position >= len(self.looks):
            raise refuse(Refused, f"the function looks at a value{{here}} ({kind}) where it did not look when it was recorded in float64: {_UNSTEADY}")
        expected, seen, before = self.looks[self.position]
        if expected != kind or before and frames and not same_place(before[0], frames[0]):
            raise refuse(Refused, f"the function looks at a value{{here}} ({kind}) where its float64 recording looked elsewhere ({expected}): {_UNSTEADY}")
        self.position += 1
        return seen

    def finish(self):
        if self.looks is not None and self.position < len(self.looks):
            raise refuse(Refused, f"the function looked at {self.position} values where its float64 recording looked at {len(self.looks)}: {_UNSTEADY}")

    def hold(self, data, what="stop_gradient is called"):
        """Data as they are at the point that is differenced, here and beside it."""
        if not self.replaying:
            self.held.append(data)
            return data
        if self.cursor >= len(self.held) or self.held[self.cursor].shape != data.shape:
            raise refuse(Refused, f"{what}{{here}} in another order than at the point itself: {_UNSTEADY}")
        self.cursor += 1
        return self.held[self.cursor - 1]

    def note(self, primitive, operands, params, out):
        inputs = tuple([x.origin if type(x) is PreciseArray and x.origin is not None else ("constant", x) for x in operands])
        out.origin = len(self.calls)
        self.calls.append((primitive, inputs, params, PreciseArray(out.data, out.dtype, out.origin, out.doubt)))      # the user may write into his

    # A derivative inside the function evaluates an inner function many times; each time it starts in the same state.

    def state(self):
        return self.position, self.cursor if self.replaying else len(self.held)

    @contextlib.contextmanager
    def again(self, state):
        """One more evaluation of an inner function from `state`, at a perturbed point; afterwards all is as before."""
        before = self.position, self.cursor, self.replaying
        (self.position, self.cursor), self.replaying = state, True
        try:
            yield
        finally:
            self.position, self.cursor, self.replaying = before


@contextlib.contextmanager
def unrecorded(run):
    """Calls inside do not count as the function's own."""
    calls, run.calls = run.calls, None
    run.derivatives += 1
    try:
        yield
    finally:
        run.calls = calls


def _named(args, count):
    """Fresh arrays (the user may write into his arguments), numbered for a recording; lists and tuples are gone through."""
    out = []
    for x in args:
        if isinstance(x, (list, tuple)):
            out.append(type(x)(_named(x, count)))
        elif type(x) is PreciseArray:
            out.append(PreciseArray(x.data, x.dtype, ("input", count[0])))
            count[0] += 1
        else:
            out.append(x)
    return out


def _flat(result):
    if isinstance(result, (list, tuple)):
        return [leaf for r in result for leaf in _flat(r)]
    return [unwrap(result)]


def call(fun, args, run=None):
    """fun(*args) under a run: a flat list of what it returned (PreciseArrays, and constants as they are)."""
    run = Run() if run is None else run
    run.judging = True
    with run:
        result = call_user(fun, _named(args, [0]))
        run.finish()
    return _flat(result)
