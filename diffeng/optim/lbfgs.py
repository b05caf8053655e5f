"""LBFGS: steps along directions made of the last differences of parameters and gradients (Nocedal & Wright, Numerical Optimization, 2006, algorithms 7.4, 7.5, 3.5 and 3.6).

What it is: arithmetic on one long vector of all parameters, on the CPU; what takes time is the closure, which is the user's.
"""
import math

import numpy as np

from ..errors import refuse
from ..tensor_engine.core import beside
from ..tensor_engine.grad_mode import enable_grad, no_grad
from .optimizers import Optimizer, not_below_0


class LBFGS(Optimizer):
    """optimizer.step(closure): up to max_iter iterations, which call closure() up to max_eval times: it clears the gradients, computes the loss, calls backward and
    returns the loss. The first loss is returned. line_search_fn: "strong_wolfe", or None: steps of lr.

    >>> import diffeng as de
    >>> w = de.tensor([5.0, -3.0], requires_grad=True)
    >>> optimizer = LBFGS([w], line_search_fn="strong_wolfe")
    >>> def closure():
    ...     optimizer.zero_grad()
    ...     loss = ((w - de.tensor([1.0, 2.0])) ** 2).sum()
    ...     loss.backward()
    ...     return loss
    >>> _ = optimizer.step(closure)
    >>> w.detach().round(decimals=3).tolist()
    [1.0, 2.0]
    """

    def __init__(self, params, lr=1, max_iter=20, max_eval=None, tolerance_grad=1e-7, tolerance_change=1e-9, history_size=100, line_search_fn=None):
        not_below_0(learning_rate=lr)
        if line_search_fn not in (None, "strong_wolfe"):
            raise refuse(RuntimeError, f"optimizer{{here}}: only 'strong_wolfe' is supported as line_search_fn, not {line_search_fn!r}")
        super().__init__(params, dict(lr=lr, max_iter=max_iter, max_eval=max_iter * 5 // 4 if max_eval is None else max_eval, tolerance_grad=tolerance_grad,
                                      tolerance_change=tolerance_change, history_size=history_size, line_search_fn=line_search_fn))
        if len(self.param_groups) != 1:
            raise refuse(ValueError, "optimizer{here}: LBFGS doesn't support per-parameter options (parameter groups)")

    def _gathered(self):
        return np.concatenate([np.zeros(p.numel(), p.dtype) if p._grad is None else p._grad.value.ravel() for p in self.param_groups[0]["params"]])

    def _moved(self, begin, by):
        """The parameters become begin + by."""
        at, vector = 0, begin + by
        with no_grad():
            for p in self.param_groups[0]["params"]:
                p.copy_(beside(p, vector[at:at + p.numel()].reshape(p.shape).astype(p.dtype)))
                at += p.numel()

    def step(self, closure=None):
        if closure is None:
            raise refuse(TypeError, "step{here}: LBFGS needs a closure, which computes the loss and its gradients anew: optimizer.step(closure)")
        group = self.param_groups[0]
        lr, most, tolerance = float(group["lr"]), group["max_iter"], group["tolerance_change"]

        def evaluated():
            with enable_grad():
                return closure()

        def done(g):
            return np.abs(g).max(initial=0) <= group["tolerance_grad"]
        first = evaluated()
        loss, g, evaluations = float(first), self._gathered(), 1
        state = self.state[group["params"][0]]
        state["n_iter"], state["func_evals"] = state.get("n_iter", 0), state.get("func_evals", 0) + 1
        if done(g):
            return first
        d, t, before = state.get("d"), state.get("t"), state.get("prev_flat_grad")
        changes, steps = [[np.asarray(x) for x in state.get(name, ())] for name in ("old_dirs", "old_stps")]
        scale, iteration = state.get("H_diag", 1.0), 0
        while iteration < most:
            iteration += 1
            state["n_iter"] += 1
            if state["n_iter"] == 1:
                d = -g
            else:
                y, s = g - np.asarray(before), np.asarray(d) * t
                if (curvature := float(y @ s)) > 1e-10:
                    changes, steps, scale = [*changes, y][-group["history_size"]:], [*steps, s][-group["history_size"]:], curvature / float(y @ y)
                d = _direction(g, changes, steps, scale)
            before, loss_before = g, loss
            t = min(1.0, 1.0 / float(np.abs(g).sum())) * lr if state["n_iter"] == 1 else lr
            slope = float(g @ d)
            if slope > -tolerance:
                break
            begin = np.concatenate([p.value.ravel() for p in group["params"]])
            new = 0
            if group["line_search_fn"]:
                def along(step):
                    self._moved(begin, (step * d).astype(d.dtype))
                    value = float(evaluated())
                    gradient = self._gathered()
                    return value, gradient, float(gradient @ d)
                loss, g, t, new = strong_wolfe(along, t, float(np.abs(d).max()), loss, g, slope, tolerance)
                self._moved(begin, (t * d).astype(d.dtype))
            else:
                self._moved(begin, (t * d).astype(d.dtype))
                if iteration != most:
                    loss, g, new = float(evaluated()), self._gathered(), 1
            evaluations, state["func_evals"] = evaluations + new, state["func_evals"] + new
            if evaluations >= group["max_eval"] or done(g) or np.abs(d * t).max() <= tolerance or abs(loss - loss_before) < tolerance:
                break
        state.update(d=d, t=t, old_dirs=changes, old_stps=steps, H_diag=scale, prev_flat_grad=before, prev_loss=loss_before)
        return first


def _direction(g, changes, steps, scale):
    """-H g, of the inverse Hessian H that the last differences tell (algorithm 7.4)."""
    q, parts = -g, []
    for y, s in zip(changes[::-1], steps[::-1]):
        parts.append((s @ q) / (y @ s))
        q = q - parts[-1] * y
    d = q * scale
    for y, s, part in zip(changes, steps, parts[::-1]):
        d = d + s * (part - (y @ d) / (y @ s))
    return d.astype(g.dtype)


def _cubic(a, b, low=None, high=None):
    """Where the cubic through two points (t, value, slope) is least, between low and high: by default the points."""
    low, high = (min(a[0], b[0]), max(a[0], b[0])) if low is None else (low, high)
    (t1, f1, g1), (t2, f2, g2) = sorted((a, b))
    if t1 == t2:
        return t1
    d1 = g1 + g2 - 3 * (f1 - f2) / (t1 - t2)
    square = d1 * d1 - g1 * g2
    below = g2 - g1 + 2 * math.sqrt(square) if square >= 0 else 0.0
    if not below:
        return (low + high) / 2
    return min(max(t2 - (t2 - t1) * (g2 + math.sqrt(square) - d1) / below, low), high)


def strong_wolfe(along, t, size, loss, g, slope, tolerance, c1=1e-4, c2=0.9, most=25):
    """A step t where the loss has fallen enough and its slope has flattened: (loss, gradient, t, evaluations). along(t) -> (loss, gradient, slope). size: max |d|."""
    value, gradient, steep = along(t)
    count, turn = 1, 0
    old, new = (0.0, loss, g, slope), (t, value, gradient, steep)

    def short(point):
        return point[0], point[1], point[3]

    def too_high(point):
        return point[1] > loss + c1 * point[0] * slope or not math.isfinite(point[1])
    while turn < most:                                                  # until two points have a minimum between them
        if too_high(new) or turn > 1 and new[1] >= old[1] or new[3] >= 0 and abs(new[3]) > -c2 * slope:
            break
        if abs(new[3]) <= -c2 * slope:
            return new[1], new[2], new[0], count
        following = _cubic(short(old), short(new), new[0] + 0.01 * (new[0] - old[0]), new[0] * 10)
        old, new = new, (following, *along(following))
        count, turn = count + 1, turn + 1
    else:
        old = (0.0, loss, g, slope)
    low, high = (old, new) if old[1] <= new[1] else (new, old)
    stuck = False
    while turn < most and abs(high[0] - low[0]) * size >= tolerance:       # the two come nearer
        t = _cubic(short(low), short(high))
        left, right = sorted((low[0], high[0]))
        margin = 0.1 * (right - left)
        near = min(right - t, t - left) < margin
        if near and (stuck or not left < t < right):
            t, near = (right - margin if abs(t - right) < abs(t - left) else left + margin), False
        stuck = near
        point = (t, *along(t))
        count, turn = count + 1, turn + 1
        if too_high(point) or point[1] >= low[1]:
            high = point
        else:
            if abs(point[3]) <= -c2 * slope:
                low = point
                break
            if point[3] * (high[0] - low[0]) >= 0:
                high = low
            low = point
    return low[1], low[2], low[0], count
