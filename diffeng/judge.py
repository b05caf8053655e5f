"""The judge: derivatives of the user's own function as differences in 100 digits and more. No rule of differentiation anywhere.

What it is: `directional`, the derivative along a direction with its sure digits, its kinks, or the reason why there is no verdict; and the differences that
stand in for derivatives taken inside the user's function (`nested_*`).

What it is not: no method, no comparison with one (verdict.py), no arithmetic (precise.py).

Why a file: what is decided here decides who is right, so it should be read in one sitting.

How: every entry moves by a step relative to itself, h s with s = |x| (1 where x = 0), and the quotient (f(x + h w s) - f(x - h w s)) / 2h is taken in
balls, so that rounding is bounded. Truncation is not: one step is silently wrong for log at 1e-29 or tanh(1e30 x), so h shrinks from 1e-30 at
100 digits to 1e-60 at 200, 1e-120 at 400 and so on, and a quotient counts only when the next one agrees with it. (Of a function with large arrays fewer
digits are asked, and the next quotient has 1.4 times as many.)
"""
import time

import numpy as np
from flint import arb

from .balls import INF, NAN, ZERO, box, infinite
from .buffers import call as call_user, unwrap
from .directions import scale_of, way
from .errors import refuse
from .precise import PreciseArray, Refused, Run, Undecided, arbs, call, current_run, digits_in_force, precise, precision, unrecorded

FIRST, LIMIT = 100, 1600          # digits of the first quotient, and of the last before the judge gives up
STEP = 0.3                        # h = 10**(-0.3 digits): the error of a central difference is h**2, and rounding leaves 10**-0.7 digits
VANISHING = 340                   # a derivative that may be 0 counts as 0 this many digits below 1: all that float64 spans


class Difference:
    """What the judge found along one direction. Lists have one entry an output of the function.

    value: PreciseArrays, the derivative sum_i g_i w_i s_i of every output entry. scale: the s_i, float64, one array an argument.
    left, right: the one-sided quotients; at a kink +-inf where they grow, NaN where they do not settle or the function is not defined on that side.
    kink: bool arrays, where left and right differ. decided: bool arrays, where value has a verdict.
    sure: digits on which two successive steps agree, of the worst entry; None if an entry has no verdict: then reason says why.
    precision: digits used last. evaluations of the function, seconds.
    """

    __slots__ = ("value", "sure", "kink", "decided", "left", "right", "scale", "reason", "precision", "seconds", "evaluations")

    def __repr__(self):
        found = f"{self.sure} sure digits" if self.sure is not None else f"no verdict: {self.reason}"
        return f"<Difference {self.value!r}, {found}, {self.evaluations} evaluations at up to {self.precision} digits>"


class Judge:
    """One function at one point: what it is there is kept, whatever number of directions is asked for."""

    def __init__(self, fun, args, digits=50, looks=None, limit=LIMIT, vanishing=VANISHING, growth=2):
        self.fun, self.args, self.digits, self.looks, self.growth = fun, [np.asarray(x) for x in args], digits, looks, growth
        self.limit, self.vanishing, self.least = limit, vanishing, 1.0
        self.scale = [scale_of(x) for x in self.args]
        self.largest = max([1.0] + [float(np.max(np.abs(x), initial=0, where=np.isfinite(x))) for x in self.args])
        self.base, self.outputs = {}, []                # {digits: (values at the point, what stop_gradient held)}; what the last run returned
        self.evaluations = 0

    # ---- evaluating -----------------------------------------------------------------------------------------------------------------

    def run(self, args, held=None):
        """(flat array of all output entries, the run)."""
        run = Run(self.looks, held=held)
        self.evaluations += 1
        outputs = call(self.fun, args, run)
        self.outputs = [_output(x) for x in outputs]
        flat = [arbs(x).reshape(-1) for x in self.outputs]
        return np.concatenate(flat) if flat else np.empty(0, object), run

    def at(self, digits):
        """The function at the point itself, at this precision (which must be in force)."""
        if digits not in self.base:
            values, run = self.run([precise(x) for x in self.args])
            self.base[digits] = values, run.held
        return self.base[digits]

    def value(self, digits=FIRST):
        """The outputs at the point, as PreciseArrays of this precision."""
        with precision(digits):
            return self._split(self.at(digits)[0])

    def _split(self, flat, dtype=None):
        out, start = [], 0
        for x in self.outputs:
            n = x.data.size
            part = flat[start:start + n].reshape(x.shape)
            out.append(PreciseArray(part, x.dtype if x.dtype.kind == "f" else np.dtype(float)) if dtype is None else part.astype(dtype))
            start += n
        return out

    def quotients(self, digits, directions):
        """_Step at this precision, which is in force inside."""
        with precision(digits):
            h = arb(2) ** -int(digits * STEP * 3.3219280948873626)         # a power of two: x + h w s is exact
            f, held = self.at(digits)

            def moved(sign):
                args = [precise(x) if w is None else PreciseArray(precise(x).data + way(w, s).data * (sign * h), x.dtype)
                        for x, w, s in zip(self.args, directions, self.scale)]
                out = self.run(args, held)[0]
                if out.shape != f.shape:
                    raise refuse(Refused, f"the function returned {f.size} numbers at the point and {out.size} beside it: its shapes depend on values")
                return out
            above, below = moved(1), moved(-1)
            return _Step(digits, h, f, (above - below) / (2 * h), (f - below) / h, (above - f) / h)

    # ---- deciding --------------------------------------------------------------------------------------------------------------------

    def along(self, directions):
        """The derivative along relative weights, one array an argument or None: a Difference."""
        with np.errstate(all="ignore"):
            return self._along(directions)

    def _along(self, directions):
        began, before = time.perf_counter(), self.evaluations
        directions = [None if w is None else np.broadcast_to(np.asarray(w), x.shape) for w, x in zip(directions, self.args, strict=True)]
        self.least = min([1.0] + [float(np.min(s, initial=1.0, where=w != 0)) for w, s in zip(directions, self.scale) if w is not None])
        steps, verdicts, reason, undecided_text = [], None, "", ""
        digits = max(FIRST if self.growth == 2 else 0, int(self.digits / (2 * STEP)) + 17)
        for k, x in enumerate(self.args):
            if not np.isfinite(x).all():
                reason = f"argument {k} holds NaN or infinity: nothing can be differenced there"
        limit = self.limit if self.least > 1e-30 else 2 * self.limit
        while digits <= limit and not reason:
            last = digits
            try:
                steps.append(self.quotients(digits, directions))
            except Undecided as undecided:
                undecided_text, steps = str(undecided), []             # more digits may decide it
            except Refused as refused:
                reason = str(refused)
                break
            else:
                undecided_text = ""
                if len(steps) > 1:
                    with precision(digits):
                        bound = arb(10) ** -self.digits
                        verdicts = [self._entry(steps, j, bound) for j in range(steps[-1].f.size)]
                    if all([v.final for v in verdicts]):
                        break
            digits = int(digits * self.growth)
        else:
            if not reason and (verdicts is None or undecided_text):
                reason = f"{undecided_text or 'the digits ran out'} (up to {last} digits)"
                verdicts = None
        return self._difference(steps, verdicts, reason, began, before)

    def _entry(self, steps, j, bound):
        """The verdict on one output entry, by all steps so far."""
        a, b = steps[-2], steps[-1]
        if not b.central[j].is_finite() or not a.central[j].is_finite():
            return self._unfinished(steps, j)
        kink = _kink(a, b, j)
        left, right = (_one_sided(a, b, "left", j), _one_sided(a, b, "right", j)) if kink else (b.left[j], b.right[j])
        size = (a.central[j] - b.central[j]).abs_upper()                # the balls' radii included
        if size.is_zero():
            return _Verdict(b.central[j], float("inf"), kink, left, right)
        floor = b.central[j].abs_lower()
        if size <= floor * bound:
            return _Verdict(b.central[j], _digits(floor / size), kink, left, right)
        zero, reason = self._zero(steps, j)
        if zero is not None:
            return _Verdict(arb(ZERO, zero), float(self.digits), kink, left, right)
        if reason:
            return _Verdict(b.central[j], None, kink, left, right, reason)
        return _Verdict(b.central[j], None, kink, left, right, "the digits ran out: the quotients of successive steps do not agree", final=False)

    def _zero(self, steps, j):
        """(bound, ""): the derivative is 0 up to this bound. (None, reason): it never settles. (None, ""): smaller steps may tell."""
        a, b = steps[-2].central[j], steps[-1].central[j]
        if b.contains(ZERO):
            f, ten = steps[-1].f[j], arb(10)
            noise = f.rad().max(b.rad() * steps[-1].h) * ten ** steps[-1].digits           # rounding tells how large the terms of f were
            scale = noise.min(arb(self.largest)).max(f.abs_upper())
            floor = scale.min(arb(1)) * arb(self.least) * ten ** -self.vanishing          # the quotient is the derivative times the entry's size
            settled = b.abs_upper() <= floor and a.abs_upper() <= scale * ten ** -self.digits
            return (b.abs_upper(), "") if settled else (None, "")
        if len(steps) < 3 or any(s.central[j].contains(ZERO) or not s.central[j].is_finite() for s in steps[-3:]):
            return None, ""
        # neither 0 nor settled: does the quotient fall like a power of the step, or faster? does it grow?
        size = [float(abs(s.central[j]).mid().log()) for s in steps[-3:]]
        step = [float(s.h.log()) for s in steps[-3:]]
        first, second = ((size[k + 1] - size[k]) / (step[k + 1] - step[k]) for k in (0, 1))
        if first > 0.4 and second > first - 0.02:
            return steps[-1].central[j].abs_upper(), ""
        if second < -0.02 and abs(first - second) < 0.02:
            what = "a jump" if second < -0.98 else "an infinite slope"
            return None, f"the quotients grow like h**{second:.2f} down to steps of 1e{int(step[-1] / np.log(10))}: {what}, or a slope too steep to tell"
        return None, ""

    def _unfinished(self, steps, j):
        """Not finite: outside of the domain, on its edge, or overwhelmed by rounding."""
        a, b = steps[-2], steps[-1]
        left, right = _one_sided(a, b, "left", j), _one_sided(a, b, "right", j)
        f = b.f[j]
        if f.is_nan() or infinite(f):
            return _Verdict(NAN, None, False, left, right, f"the function is {'NaN' if f.is_nan() else 'infinite'} here")
        if b.left[j].is_finite() != b.right[j].is_finite():
            side = "above" if b.right[j].is_finite() else "below"
            return _Verdict(NAN, None, True, left, right, f"the function is defined only {side} this point: it has a one-sided derivative at most")
        return _Verdict(NAN, None, False, left, right, "the function is NaN or infinite beside this point", final=b.left[j].is_nan() and b.right[j].is_nan())

    def _difference(self, steps, verdicts, reason, began, before):
        out = Difference()
        out.scale, out.reason, out.evaluations = self.scale, reason, self.evaluations - before
        out.precision = steps[-1].digits if steps else max(self.base, default=0)
        if verdicts is None:
            verdicts = [_Verdict(NAN, None, False, NAN, NAN, reason)] * sum([x.data.size for x in self.outputs])
        fill = np.frompyfunc(getattr, 2, 1)
        flat = np.empty(len(verdicts), object)
        flat[:] = verdicts
        out.value, out.left, out.right = (self._split(box(fill(flat, name))) for name in ("value", "left", "right"))
        out.kink = self._split(box(fill(flat, "kink")), bool)
        out.decided = self._split(np.array([v.sure is not None for v in verdicts], bool), bool)
        undecided = [v for v in verdicts if v.sure is None]
        out.sure = None if undecided or reason else int(min([v.sure for v in verdicts] + [out.precision]))
        out.reason = out.reason or (undecided[0].reason if undecided else "")
        out.seconds = time.perf_counter() - began
        return out


class _Step:
    """The quotients of one step, flat over all outputs."""

    __slots__ = ("digits", "h", "f", "central", "left", "right")

    def __init__(self, digits, h, f, central, left, right):
        self.digits, self.h, self.f, self.central, self.left, self.right = digits, h, f, central, left, right


class _Verdict:
    __slots__ = ("value", "sure", "kink", "left", "right", "reason", "final")

    def __init__(self, value, sure, kink, left, right, reason="", final=True):
        self.value, self.sure, self.kink, self.left, self.right, self.reason, self.final = value, sure, kink, left, right, reason, final


def _digits(x):
    return float(x.mid().log_base(10))


def _kink(a, b, j):
    """Left and right differ by h f'' where f is smooth, and that shrinks with the step; at a kink the gap stays."""
    wide, narrow = a.right[j] - a.left[j], b.right[j] - b.left[j]
    return bool(narrow.abs_lower() > 0 and narrow.abs_lower() * 10 > wide.abs_upper())


def _one_sided(a, b, side, j):
    """The smaller step's quotient where the larger one's confirms ten digits of it; +-inf where it grows; NaN otherwise."""
    x, y = getattr(a, side)[j], getattr(b, side)[j]
    if not x.is_finite() or not y.is_finite():
        return NAN
    larger = x.abs_upper().max(y.abs_upper())
    if (x - y).abs_upper() <= larger * arb(10) ** -10:
        return y
    if y.abs_upper() * 1000 < x.abs_upper():
        return arb(0, y.abs_upper())                                   # shrinks with the step
    if y.abs_lower() > x.abs_upper() * 1000:
        return INF if y > 0 else -INF
    return NAN


def _output(x):
    x = unwrap(x)
    if x is None or isinstance(x, (str, bytes)) or not isinstance(x, PreciseArray) and np.asarray(x).dtype.kind not in "fiub":
        raise refuse(TypeError, f"the function returned {type(x).__name__}: return numbers or arrays")
    return precise(x)


def directional(fun, args, directions, digits=50, looks=None, growth=2):
    """The derivative of fun(*args) along a direction, as a `Difference`.

    fun: returns a list of outputs. args: float64 or float32 arrays. directions: one array of relative weights w an argument, or None: entry i
    moves by h w_i s_i with s_i = |x_i| (1 where x_i = 0; directions.py). digits: how many are asked for. looks: the branches to take (Run).
    growth: how many times more digits the next quotient has.

    >>> import numpy as np
    >>> from diffeng.precise import numbers
    >>> d = directional(lambda x: [np.log(x)], [np.array(1e-29)], [np.array(1.0)])
    >>> float(numbers(d.value[0])), d.sure >= 50
    (1.0, True)
    """
    return Judge(fun, args, digits, looks, growth=growth).along(directions)


# ---- derivatives taken inside of the judged function ---------------------------------------------------------------------------------------------

class _Inner:
    """An inner function, evaluated at a point and beside it, always in the same state of the run around it."""

    def __init__(self, fun):
        self.fun, self.run = fun, current_run()

    def at(self, args):
        self.state = self.run.state()
        return self._call(args)

    def beside(self, args):
        with self.run.again(self.state):
            return self._call(args)

    def _call(self, args):
        result = call_user(self.fun, args)
        self.single = not isinstance(result, (list, tuple))
        return [_output(x) for x in ([result] if self.single else result)]


def _inside(work):
    """Run work(digits): twice the digits in force and some, inside the run in force (or one of its own), unrecorded."""
    digits = digits_in_force()
    with precision(2 * digits + 20), np.errstate(all="ignore"):
        run = current_run()
        if run is None:
            with Run():
                return work(digits)
        with unrecorded(run):
            return work(digits)


def _midpoint(x):
    """(exact midpoints as a PreciseArray, radii): differences of balls would drown in their radii, 1/h times over."""
    x = precise(x)
    data = arbs(x)
    mid, rad = (box(np.frompyfunc(f, 1, 1)(data)) for f in (arb.mid, arb.rad))
    return PreciseArray(mid, x.dtype if x.dtype.kind == "f" else np.dtype(float)), rad


def _reach(x):
    """s for balls: |x|, and 1 where x is 0."""
    return box(np.frompyfunc(lambda b: arb(1) if b.is_zero() else abs(b), 1, 1)(x.data))


def _blur(central, left, right, h, relative):
    """The quotient, widened by what the radii of the point do to it: along the step by the second difference, across by the relative radius.

    An estimate. What counts is that the outer difference agrees at twice the digits.
    """
    if relative.is_zero():
        return central
    return central + arb(0, (abs(central) + abs(right - left) / h).abs_upper() * relative.abs_upper())


_blurred = np.frompyfunc(_blur, 5, 1)


def _relative(rads, reaches):
    worst = ZERO
    for rad, s in zip(rads, reaches):
        for r in box(rad / s).reshape(-1):
            worst = worst.max(r)
    return worst


def nested_jacobian(fun, args):
    """(outputs, columns): columns[k][entry] is the list of outputs' derivatives with respect to that entry of args[k], by differences."""
    def work(digits):
        points, rads = zip(*[_midpoint(x) for x in args])
        reaches = [_reach(x) for x in points]
        inner, h, relative = _Inner(fun), arb(10) ** -(digits // 2 + 10), _relative(rads, reaches)
        f = inner.at(list(points))
        columns = []
        for k, (x, s) in enumerate(zip(points, reaches)):
            column = np.empty(x.shape, object)
            for entry in np.ndindex(*x.shape):
                beside = []
                for sign in (1, -1):
                    data = x.data.copy()
                    data[entry] = data[entry] + sign * h * s[entry]
                    beside.append(inner.beside([PreciseArray(data, x.dtype) if j == k else p for j, p in enumerate(points)]))
                column[entry] = [box(_quotient(a, b, c, h, relative) / s[entry]) for c, a, b in zip(f, *beside)]
            columns.append(column)
        return f, columns
    return _inside(work)


def _quotient(above, below, at, h, relative):
    a, b, c = arbs(above), arbs(below), arbs(at)
    return box(_blurred((a - b) / (2 * h), (c - b) / h, (a - c) / h, h, relative))


def nested_value_and_gradient(fun, args):
    """(value, one gradient an argument) of a function of PreciseArrays with one scalar output, entry by entry."""
    outputs, blocks = nested_blocks(fun, args)
    if len(outputs) != 1 or outputs[0].shape != ():
        shapes = ", ".join(str(x.shape) for x in outputs)
        raise refuse(TypeError, f"a gradient inside of the function{{here}} needs one scalar output, and this one has {shapes}: take np.sum of it")
    return outputs[0], [PreciseArray(block.data, precise(x).dtype) for x, block in zip(args, blocks[0])]


def nested_blocks(fun, args):
    """(outputs, blocks): blocks[j][k] is the Jacobian of output j with respect to args[k], of shape output.shape + args[k].shape."""
    outputs, columns = nested_jacobian(fun, args)
    blocks = []
    for j, f in enumerate(outputs):
        row = []
        for x, column in zip(args, columns):
            data = np.empty(f.shape + column.shape, object)
            for entry in np.ndindex(*column.shape):
                data[(...,) + entry] = column[entry][j][()]
            row.append(PreciseArray(data, f.dtype if f.dtype.kind == "f" else precise(x).dtype))
        blocks.append(row)
    return outputs, blocks


def nested_jvp(fun, primals, tangents):
    """(outputs, their derivatives along tangents), one difference for all; lists when fun returns one, single arrays when not."""
    def work(digits):
        points, rads = zip(*[_midpoint(x) for x in primals])
        reaches = [_reach(x) for x in points]
        ways = [arbs(unwrap(t)) for t in tangents]
        shares = [abs(t) / s for tangent, reach in zip(ways, reaches) for t, s in zip(tangent.reshape(-1), reach.reshape(-1)) if not t.is_zero()]
        inner = _Inner(fun)
        f = inner.at(list(points))
        if not shares:
            zero = [PreciseArray(np.full(x.shape, ZERO, object), x.dtype) for x in f]
            return (f[0], zero[0]) if inner.single else (f, zero)
        most, least = max(shares, key=float), min(shares, key=float)
        spare = int(min(600.0, max(0.0, _digits(most / least)))) if least > 0 else 0           # the entry that moves least should not lose its digits
        with precision(2 * digits + 20 + 2 * spare):
            h = arb(10) ** -(digits // 2 + 10) / most.mid()                                    # no entry moves by more than its own share
            above, below = (inner.beside([PreciseArray(x.data + sign * h * t, x.dtype) for x, t in zip(points, ways)]) for sign in (1, -1))
            out = [PreciseArray(_quotient(a, b, c, h, _relative(rads, reaches)), c.dtype) for c, a, b in zip(f, above, below)]
        return (f[0], out[0]) if inner.single else (f, out)
    return _inside(work)
