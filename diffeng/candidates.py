"""Somebody else's gradient against the truth, and against what the methods make of the same function.

What it is: `verdict` on a candidate of compare. The size of the terms behind an entry, in which errors count, is overestimated where terms cancel or a function
is ill-conditioned. Rules of the engine are checked in 100 digits beside that, where rounding is no excuse; a candidate is numbers alone. So it is held to
what the methods reach in the same arithmetic.

What it is not: no truth (hearing.py).
"""
import numpy as np

from .blame import coarsest, tolerance
from .precise import numbers

RULED_OUT, BY_FAR = 1e4, 1e3           # see missed
AT_A_KINK = "at a kink: every operation is right on its own, but joined by the chain rule the conventions miss the derivative of the whole"


def verdict(hearing, answer, result, worst):
    """(verdict, note) on a candidate; None where it is right. worst: its largest error in tolerances, result: with the errors of each array."""
    if worst <= 1:
        return _excused(hearing, answer)
    own = [w for m in ("reverse", "symbolic", "forward") if (w := hearing.worst(m)) is not None]
    if not own and (hearing.local.kinks or hearing.edges):
        return "no verdict", AT_A_KINK
    ill, k = min(own, default=0.0), int(np.argmax([r for r, _, _ in result.per_leaf]))              # (it was asked for every entry)
    slightly = all([slight(g, numbers(truth), coarsest(g, np.empty(0, dtype))) for gradient, truths in zip(answer.gradients, hearing.truths)
                    for g, truth, dtype in zip(gradient, truths, hearing.dtypes)])
    note, mine, wanted = _where(hearing, k, result.per_leaf[k][2]), answer.gradients[0][k].dtype, np.asarray(hearing.flat.leaves[k]).dtype
    if mine.kind == "f" and np.finfo(mine).eps > np.finfo(wanted).eps:
        note += f"; it is {mine}, the argument {wanted}"
    return "no verdict" if ill > 1 and worst <= 10 * ill else "inaccurate" if slightly else "wrong", note


def _excused(hearing, answer):
    """The same of one that is right in the size of the terms."""
    methods, unexplained = [hearing.trial.answers[m] for m in ("reverse", "symbolic", "forward")], None
    methods = [m.gradients for m in methods if m.gradients and m.along is None]
    for round_, gradient in enumerate(answer.gradients if methods else ()):
        bounds = hearing.intervals[round_]
        for k, g in enumerate(gradient):
            wrong, open_ = missed(g, numbers(hearing.truths[round_][k]), hearing.scales[round_][k], [m[round_][k] for m in methods], hearing.dtypes[k],
                                  bounds and (bounds[0][k], bounds[1][k]))
            if wrong is not None:
                return "wrong", _where(hearing, k, wrong)
            if open_ is not None and unexplained is None:
                unexplained = "no verdict", "ill-conditioned, but the methods are closer: " + _where(hearing, k, open_)
    return unexplained


def _where(hearing, k, at):
    return f"worst at {hearing.flat.names[k]}{[int(i) for i in at] if len(at) else ''}"


def missed(g, exact, scale, others, dtype, bounds=None):
    """Two indices, or None: of an entry that g misses where others hit it and that no rounding explains, and of one that rounding might explain.

    An entry is missed by half of its digits and BY_FAR times as much as by the best of the others, and by more than the worst of them does. Rounding explains what
    is less than RULED_OUT of its units in the size of the terms behind the entry; these are overestimated where a function is ill-conditioned, so that what the
    others do in all of the array counts, too: where one of them has half of the digits of every entry, nothing is left to explain.

    exact: the truth in float64; scale, bounds: as for measure.worst_entry; others: arrays like g.
    """
    exact, size, eps = np.asarray(exact, float), scale() if callable(scale) else 0.0 if scale is None else scale, float(np.finfo(dtype).eps)
    with np.errstate(all="ignore"):
        error, *theirs = (np.absolute(np.asarray(x, float) - exact) for x in (g, *others))
        worst = min(np.max(e / np.absolute(exact), initial=0) for e in theirs)
        off = (error > tolerance(dtype) * np.absolute(exact)) & (error > BY_FAR * np.minimum.reduce(theirs))
        if bounds is not None:
            off &= ~((bounds[0] <= g) & (g <= bounds[1]))
        unexplained = off & (error > BY_FAR * max(worst, eps * RULED_OUT) * np.absolute(exact))
        no_luck = exact.size > 1 and worst < tolerance(dtype)          # that all of their entries are right
        alone = error > 10 * np.maximum.reduce(theirs)                 # what one of the others loses there, too, rounding can do;
        unexplained &= alone | (error > 0.1 * np.absolute(exact))      # where a digit is left, sign and factor are right, and there is nothing to say
        found = alone & (off & (error > RULED_OUT * eps * size) | unexplained & no_luck), unexplained
    return [np.unravel_index(np.argmax(np.where(there, error, -1)), there.shape) if np.any(there) else None for there in found]


def slight(g, exact, dtype):
    """Is every error of g some rounding in the size of the largest entry?"""
    exact = np.asarray(exact, float)
    return bool(np.max(np.absolute(np.asarray(g, float) - exact), initial=0) <= 100 * np.finfo(dtype).eps * np.max(np.absolute(exact), initial=0))
