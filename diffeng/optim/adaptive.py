"""Further optimisers whose steps adapt to past gradients: Adagrad, Adadelta, Adamax, NAdam, RAdam; see optimizers.py.

What it is: each is a function of one parameter, its averages and its gradient, which `together` applies to all that go the same way.
"""
import math

import numpy as np

from ..errors import refuse
from ..tensor_engine.core import beside
from ..vocabulary import elementwise as e
from .optimizers import Adam, Optimizer, below_1, not_below_0


def together(one, arrays, count, numbers, weight_decay, maximize, decoupled=False):
    """one(parameter, *averages, gradient, *numbers) -> all but the gradient, new, of each of `count` parameters. decoupled: the decay is the first number, a factor."""
    columns = [arrays[k:k + count] for k in range(0, len(arrays), count)]
    out = [[] for _ in columns[:-1]]
    for p, *averages, g in zip(*columns):
        g = -g if maximize else g
        if decoupled:
            p = p * numbers[0]
        elif weight_decay:
            g = g + weight_decay * p
        for column, x in zip(out, one(p, *averages, g, *numbers[1:])):
            column.append(x)
    return tuple([x for column in out for x in column])


class _Adaptive(Optimizer):
    """Subclasses say what is kept of each parameter (names), what a step does (function), and which numbers of the step it takes (step_numbers)."""

    names = ()
    _ages = Adam._ages

    def _step(self, group, params, gradients, age):
        states, averages = self._averages(params, *self.names)
        for state in states:
            state["step"] = age + 1
        keep = 1 - float(group["lr"]) * group["weight_decay"]
        numbers, more = self.step_numbers(group, age + 1, states)
        self._update(type(self).function, group, params + averages, gradients, keep, *numbers, count=len(params), **more)


def adagrad(*arrays, count, eps, weight_decay, maximize, **_):
    *arrays, keep, rate = arrays

    def one(p, total, g, rate):
        total = total + g * g
        return p - rate * (g / (e.sqrt(total) + eps)), total
    return together(one, arrays, count, (keep, rate), weight_decay, maximize)


class Adagrad(_Adaptive):
    """s <- s + g^2, p <- p - lr / (1 + (t - 1) lr_decay) g / (sqrt(s) + eps) (Duchi, Hazan & Singer, JMLR 12, 2011). s begins as initial_accumulator_value."""

    names, function, numbers = ("sum",), adagrad, ("lr",)

    def __init__(self, params, lr=1e-2, lr_decay=0, weight_decay=0, initial_accumulator_value=0, eps=1e-10, foreach=None, *, maximize=False, fused=None):
        not_below_0(learning_rate=lr, lr_decay_value=lr_decay, weight_decay_value=weight_decay, initial_accumulator_value=initial_accumulator_value, epsilon_value=eps)
        super().__init__(params, dict(lr=lr, lr_decay=lr_decay, eps=eps, weight_decay=weight_decay, initial_accumulator_value=initial_accumulator_value, maximize=maximize))

    def add_param_group(self, param_group):
        super().add_param_group(param_group)
        group = self.param_groups[-1]
        for p in group["params"]:
            self.state[p] = {"step": 0, "sum": beside(p, np.full(p.shape, group["initial_accumulator_value"], p.dtype))}

    def step_numbers(self, group, t, states):
        return (float(group["lr"]) / (1 + (t - 1) * group["lr_decay"]),), {}


def adadelta(*arrays, count, rho, eps, weight_decay, maximize):
    *arrays, keep, rate = arrays

    def one(p, square, moved, g, rate):
        square = rho * square + (1 - rho) * g * g
        move = e.sqrt(moved + eps) / e.sqrt(square + eps) * g
        return p - rate * move, square, rho * moved + (1 - rho) * move * move
    return together(one, arrays, count, (keep, rate), weight_decay, maximize)


class Adadelta(_Adaptive):
    """v <- rho v + (1 - rho) g^2, d = sqrt(u + eps) / sqrt(v + eps) g, u <- rho u + (1 - rho) d^2, p <- p - lr d (Zeiler, arXiv:1212.5701)."""

    names, function = ("square_avg", "acc_delta"), adadelta

    def __init__(self, params, lr=1.0, rho=0.9, eps=1e-6, weight_decay=0, foreach=None, *, maximize=False):
        not_below_0(learning_rate=lr, epsilon_value=eps, weight_decay_value=weight_decay)
        if not 0 <= rho <= 1:
            raise refuse(ValueError, f"optimizer{{here}}: Invalid rho value: {rho}")
        super().__init__(params, dict(lr=lr, rho=rho, eps=eps, weight_decay=weight_decay, maximize=maximize))

    def step_numbers(self, group, t, states):
        return (float(group["lr"]),), {}


class _WithMoments(_Adaptive):
    numbers = "lr", "betas"

    def __init__(self, params, lr, betas, eps, weight_decay, maximize, **more):
        not_below_0(learning_rate=lr, epsilon_value=eps, weight_decay_value=weight_decay, **{k: x for k, x in more.items() if type(x) is not bool})
        below_1(betas)
        super().__init__(params, dict(lr=lr, betas=tuple(betas), eps=eps, weight_decay=weight_decay, maximize=maximize, **more))


def adamax(*arrays, count, eps, weight_decay, maximize):
    *arrays, keep, rate, first, second = arrays

    def one(p, m, u, g, rate, first, second):
        m, u = m + first * (g - m), e.maximum(second * u, abs(g) + eps)
        return p - rate * (m / u), m, u
    return together(one, arrays, count, (keep, rate, first, second), weight_decay, maximize)


class Adamax(_WithMoments):
    """m <- b1 m + (1 - b1) g, u <- max(b2 u, |g| + eps), p <- p - lr / (1 - b1^t) m / u (Kingma & Ba, ICLR 2015, algorithm 2)."""

    names, function = ("exp_avg", "exp_inf"), adamax

    def __init__(self, params, lr=2e-3, betas=(0.9, 0.999), eps=1e-8, weight_decay=0, foreach=None, *, maximize=False):
        super().__init__(params, lr, betas, eps, weight_decay, maximize)

    def step_numbers(self, group, t, states):
        first, second = group["betas"]
        return (float(group["lr"]) / (1 - first ** t), 1 - first, second), {}


def nadam(*arrays, count, eps, weight_decay, maximize, decoupled_weight_decay, **_):
    *arrays, keep, of_gradient, of_mean, correction, first, second, second_share = arrays

    def one(p, m, v, g, of_gradient, of_mean, correction, first, second, second_share):
        m, v = m + first * (g - m), second * v + second_share * g * g
        below = e.sqrt(v) / correction + eps
        return p - of_gradient * (g / below) - of_mean * (m / below), m, v
    return together(one, arrays, count, (keep, of_gradient, of_mean, correction, first, second, second_share), weight_decay, maximize, decoupled_weight_decay)


class NAdam(_WithMoments):
    """Adam with Nesterov's momentum, which grows: mu_t = b1 (1 - 0.96^(t momentum_decay) / 2) (Dozat, ICLR workshop 2016).

    decoupled_weight_decay: p <- (1 - lr weight_decay) p first, as in AdamW.
    """

    names, function = ("exp_avg", "exp_avg_sq"), nadam

    def __init__(self, params, lr=2e-3, betas=(0.9, 0.999), eps=1e-8, weight_decay=0, momentum_decay=4e-3, decoupled_weight_decay=False, *, foreach=None, maximize=False):
        super().__init__(params, lr, betas, eps, weight_decay, maximize, momentum_decay=momentum_decay, decoupled_weight_decay=bool(decoupled_weight_decay))

    def step_numbers(self, group, t, states):
        (first, second), lr = group["betas"], float(group["lr"])
        now, after = (first * (1 - 0.5 * 0.96 ** (k * group["momentum_decay"])) for k in (t, t + 1))
        product = states[0].get("mu_product", 1.0) * now
        for state in states:
            state["mu_product"] = product
        return (lr * (1 - now) / (1 - product), lr * after / (1 - product * after), math.sqrt(1 - second ** t), 1 - first, second, 1 - second), {}


def radam(*arrays, count, eps, weight_decay, maximize, decoupled_weight_decay, rectified):
    *arrays, keep, rate, correction, first, second, second_share = arrays

    def one(p, m, v, g, rate, correction, first, second, second_share):
        m, v = m + first * (g - m), second * v + second_share * g * g
        return p - rate * (m * (correction / (e.sqrt(v) + eps)) if rectified else m), m, v
    return together(one, arrays, count, (keep, rate, correction, first, second, second_share), weight_decay, maximize, decoupled_weight_decay)


class RAdam(_WithMoments):
    """Adam that divides by sqrt(v) only once that is known well enough (Liu et al., ICLR 2020). decoupled_weight_decay: as in AdamW."""

    names, function = ("exp_avg", "exp_avg_sq"), radam

    def __init__(self, params, lr=1e-3, betas=(0.9, 0.999), eps=1e-8, weight_decay=0, decoupled_weight_decay=False, *, foreach=None, maximize=False):
        super().__init__(params, lr, betas, eps, weight_decay, maximize, decoupled_weight_decay=bool(decoupled_weight_decay))

    def step_numbers(self, group, t, states):
        (first, second), lr = group["betas"], float(group["lr"])
        most = 2 / (1 - second) - 1
        length = most - 2 * t * second ** t / (1 - second ** t)
        known = length > 5
        factor = math.sqrt((length - 4) * (length - 2) * most / ((most - 4) * (most - 2) * length)) if known else 1.0
        return (lr * factor / (1 - first ** t), math.sqrt(1 - second ** t), 1 - first, second, 1 - second), {"rectified": known}
