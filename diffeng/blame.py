"""Blame: every recorded operation, on its own, by every method, at the values that occurred, against the judge.

The judge differences the primitive (in 100 digits) along a direction. Each method's rule is then asked twice: in 100 digits, where a right rule agrees to
half a hundred digits and a wrong one does not, and in float64, entry by entry, where a rule may still be inaccurate. So an accusation never rests on a
tolerance near rounding.
"""
from dataclasses import dataclass, replace

import numpy as np

from . import conditioning, judge, magnitude, parts
from .interpreters import exactly
from .nodes import Node
from .precise import PreciseArray, Undecided, certainly, numbers, precise, precision
from .lines import line_of
from .measure import shaken
from .vocabulary import fourier

SAMPLE = 4096            # entries of an elementwise operation that are looked at; larger ones are sampled (and the coverage says so)
LARGE = 1 << 18          # entries of any other operation that is checked whole; a running product counts squared
BUDGET = 1 << 20         # entries of all operations together: of many, each has fewer
EVERY = 1 << 17          # as many when a method is known to be wrong and the sample did not show where


@dataclass
class Culprit:
    """A wrong operation. method: which witness ("graph": a value or an edge of the graph). error: relative. kind: "wrong", "inaccurate" or "missing"."""

    primitive: str
    method: str
    slot: int | None
    line: str
    error: float
    kind: str = "wrong"
    node: int = -1
    text: str = ""

    def __str__(self):
        operand = "" if self.slot is None else f", operand {self.slot}"
        what = {"wrong": "is wrong", "inaccurate": "loses digits", "missing": "has no rule"}[self.kind]
        return (f"{self.method}: {self.primitive}{operand}, at {self.line or '(no user line)'}, {what}: relative error {self.error:.1e}"
                + (f" ({self.text})" if self.text else ""))


@dataclass
class Local:
    """What the local checks of all operations saw."""

    culprits: list
    kinks: list
    checked: int = 0            # (operation, operand) pairs with a verdict
    open: int = 0                # pairs the judge could not decide
    reasons: list = None
    sampled: int = 0            # of which so many at some of their entries,
    parts: int = 0              # so many in part,
    integers: int = 0           # and so many index maps in whole, on integers
    sample: int = SAMPLE
    large: int = LARGE

    def leave_open(self, node, reason):
        self.open += 1
        self.reasons.append(f"{node.primitive.name} at {line_of(node.frames)}: {reason}")


def tolerance(dtype):
    """Half of the digits of the dtype: an error beyond it is no rounding."""
    return float(np.sqrt(np.finfo(dtype).eps))


def check(nodes, keys, digits=50, progress=None, misrecorded=(), sample=SAMPLE):
    """The local verdicts over nodes in trace order. keys: id(node) -> number in the graph. misrecorded: numbers of nodes known to have wrong edges.

    The rules of a misrecorded node are not asked: its operands and its value do not belong together.
    """
    each = BUDGET * sample // SAMPLE // max(1, len(nodes))
    found, seen = Local([], [], reasons=[], sample=min(sample, max(64, each)), large=LARGE if each >= SAMPLE else min(LARGE, 4 * each)), {}
    for count, node in enumerate(nodes):
        if progress is not None and (count % 20 == 0 or count + 1 == len(nodes)):
            progress(count + 1, len(nodes))
        if node.primitive.name in ("input", "constant"):
            continue
        # an integer beyond 64 bits meets floating-point numbers as one, in NumPy, too
        values = [p.value if type(p) is Node else float(p) if type(p) is int and node.dtype.kind == "f" and abs(p) >> 63 else p for p in node.operands]
        number = keys.get(id(node), -1)
        if number in misrecorded or not _value(node, values, number, found) or node.dtype.kind != "f":
            continue
        for slot, p in enumerate(node.operands):
            if type(p) is Node and p.dtype.kind == "f" and node.primitive.differentiable(slot):
                _once(node, values, slot, number, digits, found, seen)
    return found


def _once(node, values, slot, number, digits, found, seen):
    """Check an operand. seen: {what was checked: its culprits}; the same operation at the same values has the same verdict."""
    mark = _mark(node, values, slot)
    if mark in seen:
        found.culprits += [replace(c, line=line_of(node.frames), node=number) for c in seen[mark]]
        found.checked += 1
        return
    before = len(found.culprits)
    _operand(node, values, slot, number, digits, found)
    if mark is not None:
        seen[mark] = found.culprits[before:]


def _mark(node, values, slot):
    """What is the same where a verdict is; None for operands with axes, which are not compared."""
    if not all(np.ndim(v) == 0 for v in values):
        return None
    return (node.primitive, slot, repr(sorted(node.params.items())),
            tuple((type(v).__name__, str(getattr(v, "dtype", "")), float(v) if not isinstance(v, PreciseArray) else 0.0) for v in values))


def _finite(*arrays):
    return all(np.all(np.isfinite(x)) for x in arrays if getattr(x, "dtype", np.dtype(float)).kind == "f")


def _value(node, values, number, found):
    """Is the recorded value what the primitive gives on the recorded operands, in 100 digits and by its definition? False: the node is misrecorded."""
    from . import symbolic
    z = np.asarray(node.value)
    if z.dtype.kind != "f":
        return True

    def accuse(method, error, text):
        found.culprits.append(Culprit(node.primitive.name, method, None, line_of(node.frames), error, "wrong", number, text))
        return method != "graph"

    small, z = _sampled(node.primitive, values, z, found)
    if max(z.size, *[np.size(v) for v in small]) > found.large:
        if node.primitive.kind in ("view", "gather", "scatter"):
            same = np.array_equal(z, node.primitive.evaluate(*small, **node.params), equal_nan=True)
            return same or accuse("graph", np.inf, "the recorded value is not what its recorded operands give")
        small, z = parts.part(node.primitive, small, z, node.params, found.sample) or (small, z)
        if max(z.size, *[np.size(v) for v in small]) > LARGE:
            return True
    if not _finite(z, *small):
        return True
    dtype = coarsest(z, *small)
    with precision(60), np.errstate(all="ignore"):
        try:
            truth = numbers(node.primitive(*exactly(node.primitive, [precise(v) if _is_float(v) else v for v in small], node.params), **node.params))
        except Undecided:
            return True
        except (ValueError, TypeError, IndexError, ArithmeticError):
            return accuse("graph", np.inf, "the recorded operands do not fit the operation")
        if z.shape != truth.shape:
            return accuse("graph", np.inf, f"the recorded value has shape {z.shape}, the operation gives {truth.shape}")
        bound = np.maximum(np.absolute(truth), magnitude.value_scale(node.primitive, small, z, node.params))
        if node.primitive.own is not None:
            bound = np.maximum(bound, shaken(lambda v: node.primitive.evaluate(*v, **node.params), small, z) / tolerance(dtype))
        error = _off(z, truth, bound, z.dtype)
        if error > tolerance(dtype):
            return accuse("graph", error, "the recorded value is not what its recorded operands give")
        try:
            error = _off(np.asarray(symbolic.value(node.primitive, small, node.params)), truth, bound, z.dtype)
        except (NotImplementedError, np.linalg.LinAlgError):            # a missing definition is found when its derivative is asked for; what needs an inverse has none
            return True
        except Exception as failure:
            return accuse("symbolic", np.inf, f"{type(failure).__name__}: {failure}")
        if error > tolerance(dtype):
            accuse("symbolic", error, "the definition gives another value")
    return True


def _off(x, truth, bound, dtype):
    """The worst relative error of numbers of this dtype; what its smallest numbers swallow is none."""
    limit = np.finfo(dtype)
    with np.errstate(all="ignore"):
        swallowed = np.absolute(np.asarray(x, float) - truth) < float(limit.tiny)
    return relative_error(np.where(swallowed, truth, x), truth, bound)


def coarsest(*arrays):
    """The floating-point dtype with the fewest digits among these."""
    return max([x.dtype for x in arrays if getattr(x, "dtype", np.dtype(int)).kind == "f"], key=lambda d: np.finfo(d).eps)


def relative_error(x, truth, bound):
    """The worst error relative to its bound; NaN where the truth is finite counts as infinite."""
    with np.errstate(all="ignore"):
        finite = np.isfinite(truth)
        error = np.absolute(np.asarray(x, float) - truth)
        error = np.where(error == 0, 0.0, error / np.where(bound == 0, np.finfo(float).tiny, bound))
        error = np.where(finite, np.where(np.isnan(error), np.inf, error), 0.0)
    return float(np.max(error, initial=0.0))


def _is_float(x):
    return isinstance(x, (np.ndarray, np.generic)) and x.dtype.kind == "f"


def _sampled(primitive, values, z, found):
    """Entries of an elementwise operation are independent: those with finite numbers, and a few thousand of them, evenly spread, with the largest and the
    smallest, when there are more."""
    if primitive.kind != "map" or z.size <= found.sample and _finite(z, *values):
        return values, z
    full = [np.broadcast_to(v, z.shape).reshape(-1) if np.ndim(v) else v for v in values]
    pick = np.flatnonzero(np.all([np.isfinite(v) & np.ones(z.size, bool) for v in (z.reshape(-1), *full) if _is_float(v)], axis=0))
    if pick.size > found.sample:
        ends = [at for v in full if _is_float(v) and np.ndim(v) for at in (np.argmin(v[pick]), np.argmax(v[pick]), np.argmin(np.absolute(v[pick])))]
        pick = pick[np.unique([*np.linspace(0, pick.size - 1, found.sample - len(ends)).astype(int), *ends])]
        found.sampled += 1
    return ([v[pick] if np.ndim(v) else v for v in full], z.reshape(-1)[pick]) if pick.size else (values, z)


def _operand(node, values, slot, number, digits, found):
    primitive, params, line = node.primitive, node.params, line_of(node.frames)
    z = np.asarray(node.value)
    values, z = _sampled(primitive, values, z, found) if np.shape(values[slot]) == z.shape else (values, z)
    if not _finite(z, *values):
        return found.leave_open(node, "not finite here")
    x = np.asarray(values[slot])
    size = _size(primitive, values, z, params)
    if size > found.large and primitive.kind in ("view", "gather", "scatter"):
        return _index_map(primitive, values, slot, params, number, line, found)
    if size > found.large and (smaller := parts.part(primitive, values, z, params, found.sample)) is not None:
        if _size(primitive, *smaller, params) > LARGE:
            smaller = parts.part(primitive, values, z, params, found.sample, sums=True)
        values, z = smaller
        x, size = np.asarray(values[slot]), _size(primitive, values, z, params)
        found.parts += 1
    if size > LARGE:
        return found.leave_open(node, f"{size} entries are too many to check it on its own")
    if x.size == 0 or z.size == 0:
        found.checked += 1
        return
    rng = np.random.default_rng(number + 1)
    w = rng.uniform(0.5, 1.5, x.shape) * rng.choice([-1.0, 1.0], x.shape)

    def alone(y):
        return [primitive(*[y if k == slot else precise(v) if _is_float(v) else v for k, v in enumerate(values)], **params)]

    truth = judge.directional(alone, [x], [w], digits=digits)
    if truth.sure is None:
        return found.leave_open(node, truth.reason)
    kink = np.asarray(truth.kink[0])
    if kink.any():
        found.kinks.append(dict(node=number, primitive=primitive.name, line=line, entries=int(kink.sum())))
    found.checked += 1
    with precision(2 * digits), np.errstate(all="ignore"):
        exact = exactly(primitive, [precise(v) if _is_float(v) else v for v in values], params)
        try:
            out = primitive(*exact, **params)
        except Undecided as error:
            return found.leave_open(node, error)
        v = precise(w) * precise(truth.scale[0])
        g = rng.uniform(0.5, 1.5, z.shape).astype(z.dtype) * rng.choice(np.array([-1, 1], z.dtype), z.shape)
        case = _Case(primitive, slot, values, exact, params, z, out, v, w, truth, kink, g, digits)
        for method, ask in (("symbolic", _backward("symbolic")), ("forward", _forward), ("reverse", _backward("reverse"))):
            verdict = _heard(ask, case, node, found)
            if verdict is not None:
                error, kind, text = verdict
                found.culprits.append(Culprit(primitive.name, method, slot, line, error, kind, number, text))
        if kink.any():
            found.kinks[-1].update(operand=slot, **_slopes(case))


def _heard(ask, case, node, found):
    """(error, kind, text) of a method that is wrong about an operand; None of one that is right, or cannot be asked."""
    try:
        return ask(case)
    except NotImplementedError as error:
        return np.inf, "missing", str(error).split(":")[0]
    except Undecided:
        return None
    except np.linalg.LinAlgError as error:       # a derivative that needs an inverse, of a singular matrix
        return found.leave_open(node, error)
    except Exception as error:                   # whatever a faulty rule raises
        return np.inf, "wrong", f"{type(error).__name__}: {error}"


def _size(primitive, values, z, params):
    size = max(z.size, *[np.size(v) for v in values])
    return size * (values[0].shape[params["axis"]] if primitive.name == "cumprod" else 1)


def _index_map(primitive, values, slot, params, number, line, found):
    from .differentiate import backward
    from .forward_mode import push
    wrong = parts.index_map(primitive, values, slot, params, {m: backward(m).pull for m in ("symbolic", "reverse")}, push, number)
    for method, (error, text) in wrong.items():
        found.culprits.append(Culprit(primitive.name, method, slot, line, error, "wrong", number, text))
    found.checked += 1
    found.integers += 1


def _slopes(case):
    """What each method returned at the first kink, and between which one-sided derivatives it had to lie: of that entry of an elementwise operation, else
    along the judge's direction."""
    from . import forward_mode
    from .differentiate import backward
    at = tuple(int(i) for i in np.argwhere(case.kink)[0])
    along, unit = numbers(case.v).astype(case.values[case.slot].dtype), np.zeros(case.z.shape, case.z.dtype)
    unit[at] = 1
    per = float(along[at]) if case.primitive.kind == "map" and along.shape == case.z.shape else 1.0
    found = {"at": list(at), "between": sorted(float(numbers(side[0])[at]) / per for side in (case.truth.left, case.truth.right)), "methods": {}}
    for method in ("symbolic", "reverse"):
        try:
            found["methods"][method] = float(np.sum(backward(method).pull(case.primitive, case.slot, unit, case.z[()], case.values, case.params) * along)) / per
        except Exception:                            # accused above
            found["methods"][method] = None
    try:
        _, (tangent,) = forward_mode.push(_alone(case, case.values), [case.values[case.slot]], [along[None]])
        found["methods"]["forward"] = 0.0 if tangent is None else float(tangent[0][at]) / per
    except Exception:
        found["methods"]["forward"] = None
    return found


def edges(log):
    """Operations that stand exactly where they change their mind: comparisons of equal numbers, ties in an order.
    The function may have a kink there, or may not."""
    found = []
    for k, node in enumerate(log):
        values = [np.asarray(p.value if type(p) is Node else p) for p in node.operands]
        ties = 0
        if node.primitive.name in ("less", "less_equal", "greater", "greater_equal", "equal", "not_equal") and any(v.dtype.kind == "f" for v in values):
            ties = int(np.sum(values[0] == values[1]))
        elif node.primitive.name in ("argmax", "argmin", "argsort") and values[0].dtype.kind == "f" and values[0].size:
            axis = node.params["axis"]
            rows = np.sort(values[0], axis=None if axis is None else axis)
            gaps = np.diff(rows, axis=-1 if axis is None else axis) == 0
            last = {"argmax": [-1], "argmin": [0]}.get(node.primitive.name, slice(None))
            ties = int(np.sum(np.moveaxis(gaps, -1 if axis is None else axis, -1)[..., last])) if gaps.size else 0
        elif node.primitive.name == "sign":
            ties = int(np.sum(values[0] == 0))
        if ties:
            found.append(dict(node=k, primitive=node.primitive.name, line=line_of(node.frames), entries=ties))
    return found


@dataclass
class _Case:
    primitive: object
    slot: int
    values: list
    exact: list
    params: dict
    z: np.ndarray
    out: object
    v: object
    w: np.ndarray
    truth: object
    kink: np.ndarray
    g: np.ndarray
    digits: int

    def close(self, got, want, size):
        """Do two 100-digit numbers agree to the digits asked for, less a margin of ten? Returns the relative error, or None."""
        error = certainly(got - want)
        bound = numbers(np.absolute(want) + size)
        worst = relative_error(error, np.zeros_like(error), bound)
        return None if worst <= 10.0 ** (10 - self.digits) else worst


def _alone(case, operands):
    """The operation as a function of the operand in question."""
    return lambda y: [case.primitive(*[y if k == case.slot else v for k, v in enumerate(operands)], **case.params)]


def _forward(case):
    """The tangent of every output entry against the difference quotient, entry by entry."""
    from . import forward_mode

    _, (tangent,) = forward_mode.push(_alone(case, case.exact), [case.exact[case.slot]], [np.reshape(case.v, (1,) + case.v.shape)])
    got = np.zeros(case.z.shape) if tangent is None else tangent[0]
    if isinstance(got, np.ndarray):
        got = precise(np.asarray(got, float))
    want = case.truth.value[0]
    smooth = ~case.kink
    size = np.max(np.absolute(want)) * 1e-60 if case.z.size else 0.0
    worst = case.close(np.where(smooth, got, 0.0), np.where(smooth, want, 0.0), size)
    if worst is not None:
        return worst, "wrong", ""
    if case.kink.any():
        outside = beyond_slopes(got, case.truth.left[0], case.truth.right[0], case.kink)
        if outside:
            return outside, "wrong", "outside of the one-sided derivatives"
    v = case.w.astype(case.values[case.slot].dtype)

    def moved(values):
        _, (tangent,) = forward_mode.push(_alone(case, values), [values[case.slot]], [v[None]])
        return np.zeros(case.z.shape) if tangent is None else np.asarray(tangent[0], float)
    rounded = moved(case.values)
    _, (tangent,) = forward_mode.push(_alone(case, case.exact), [case.exact[case.slot]], [precise(v[None])])
    truth = np.zeros(case.z.shape) if tangent is None else numbers(tangent[0])
    return _inaccurate(case, moved, rounded, truth, np.maximum(np.absolute(truth), _pushed_scale(case, v)))


def _pushed_scale(case, v):
    """Sum of |terms| of a tangent: for bilinear operations and sums, the operation on absolute values."""
    name, kind = case.primitive.name, case.primitive.kind
    sizes = [np.absolute(x) if _is_float(x) else x for x in case.values]
    sizes[case.slot] = np.absolute(v)
    if kind == "contract" or name in ("sum", "mean", "cumsum", "add_at", "scatter"):
        return np.absolute(case.primitive(*sizes, **case.params))
    if name in fourier.NAMES:
        return fourier.largest(case.primitive(*sizes, **case.params), case.params["axes"], name != "irfft")
    if kind == "linalg":
        return conditioning.pushed(name, case.slot, np.absolute(v), case.values, case.z)
    if kind == "reduce" or name == "cumprod":                    # many terms of both signs: their number times the largest
        return np.max(np.absolute(v)) * np.max(np.absolute(case.z), initial=0) * 4 + np.max(np.absolute(v)) * np.max(np.absolute(case.values[0]), initial=0)
    return np.zeros(case.z.shape)


def _backward(method):
    def ask(case):
        from .differentiate import backward
        pull = backward(method).pull

        def cotangent(g, operands, z):
            return pull(case.primitive, case.slot, g, z, operands, case.params)

        smooth = np.where(case.kink, 0, case.g).astype(case.z.dtype)
        got = cotangent(precise(smooth), case.exact, case.out)
        terms = got * case.v
        want = np.sum(precise(smooth) * case.truth.value[0]) if case.z.size else 0.0
        worst = case.close(np.sum(terms), want, np.sum(np.absolute(terms)) + numbers(np.max(np.absolute(case.truth.value[0]))).item() * 1e-60)
        if worst is not None:
            return worst, "wrong", ""
        if case.kink.any():
            rough = np.where(case.kink, case.g, 0).astype(case.z.dtype)
            slope = np.sum(cotangent(precise(rough), case.exact, case.out) * case.v)
            left, right = case.truth.left[0] * precise(rough), case.truth.right[0] * precise(rough)
            outside = beyond_slopes(slope, np.sum(np.minimum(left, right)), np.sum(np.maximum(left, right)), np.array(True))
            if outside:
                return outside, "wrong", "outside of the one-sided derivatives"

        def pulled(values):
            return np.asarray(cotangent(case.g, values, case.z[()]), float)
        rounded = pulled(case.values)
        truth = numbers(cotangent(precise(case.g), case.exact, case.out) if case.kink.any() else got)          # smooth is g where there is no kink
        scale = magnitude.pulled(pull, case.primitive, case.slot, case.g, np.absolute(case.g), case.z[()], case.values, case.params)
        return _inaccurate(case, pulled, rounded, truth,
                           np.maximum(np.absolute(truth), scale if case.primitive.kind != "map" or rounded.shape != case.z.shape else 0))
    return ask


def beyond_slopes(got, left, right, where):
    """How far beyond both one-sided derivatives, relative to them; 0 inside. One-sided quotients are good to some 25 digits."""
    got, left, right = (numbers(x) if isinstance(x, PreciseArray) else np.asarray(x, float) for x in (got, left, right))
    low, high = np.minimum(left, right), np.maximum(left, right)
    size = np.maximum(np.absolute(low), np.absolute(high))
    beyond = np.maximum(low - got, got - high) / np.where(size == 0, 1, size)
    worst = float(np.max(np.where(where, beyond, 0), initial=0))
    return worst if worst > 1e-12 else 0.0


def _inaccurate(case, compute, rounded, truth, bound):
    """Does a rule lose digits? rounded: compute(case.values), in floating point."""
    dtype = coarsest(case.z, *case.values)
    limit = np.finfo(dtype)
    if case.primitive.own is not None:
        bound = np.maximum(bound, shaken(compute, case.values, rounded) / tolerance(dtype))
    fits = (np.absolute(truth) < float(limit.max)) & (np.absolute(truth) > float(limit.tiny) / limit.eps)       # no verdict on under- and overflow
    error = relative_error(np.where(fits, rounded, 0), np.where(fits, truth, 0), bound)
    return (error, "inaccurate", "") if error > tolerance(dtype) else None
