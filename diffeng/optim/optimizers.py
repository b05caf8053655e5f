"""Optimisers: what a step does to parameters, their gradients and its own averages, as NumPy code; one call of `update` for all parameters that go the same way.

What it is: the step's arithmetic is one entry of the tape, and so becomes part of the step's program; the learning rate, and whatever else changes from step to step, is
an operand there, a value, and no reason to compile again.

What it is not: no derivative, no schedule (lr_scheduler.py).
"""
import collections
import math

import numpy as np

from ..errors import refuse
from ..tensor_engine import core
from ..tensor_engine.core import TensorBase, beside
from ..tensor_engine.grad_mode import enable_grad
from ..tensor_engine.making import tensor
from ..tensor_engine.writes import as_tensors, updated
from ..vocabulary import elementwise as e


class Optimizer:
    """param_groups: a list of {"params": [...], "lr": ..., ...}; state: {parameter: {name: tensor or number}}, where a parameter that is asked for has at least {}.

    params: an iterable of tensors, of (name, tensor), or of groups, dicts with "params" and options of their own.
    foreach, fused: accepted, and without effect: a step is one program here anyway. A subclass of the user's own gives the defaults of the options, and defines step:

    >>> import diffeng as de
    >>> class Descent(Optimizer):
    ...     def __init__(self, params, lr=0.5):
    ...         super().__init__(params, dict(lr=lr))
    ...     @de.no_grad()
    ...     def step(self, closure=None):
    ...         for group in self.param_groups:
    ...             for p in group["params"]:
    ...                 self.state[p]["count"] = self.state[p].get("count", 0) + 1
    ...                 p.add_(p.grad, alpha=-group["lr"])
    >>> x = de.tensor([1.0, 2.0], requires_grad=True)
    >>> optimizer = Descent([x])
    >>> (x * x).sum().backward()
    >>> optimizer.step()
    >>> x, optimizer.state[x]
    (tensor([0., 0.], requires_grad=True), {'count': 1})
    """

    numbers = ("lr",)                              # options that schedules change: operands of the step, not constants of it

    def __init__(self, params, defaults):
        if isinstance(params, TensorBase):
            raise refuse(TypeError, "optimizer{here}: params argument given to the optimizer should be an iterable of Tensors or dicts, but got a Tensor: write [w]")
        self.defaults, self.state, self.param_groups, self._constants, self._moves = defaults, collections.defaultdict(dict), [], {}, core.moves
        groups = list(params)
        if not groups:
            raise refuse(ValueError, "optimizer{here}: optimizer got an empty parameter list: is the model made of Modules and Parameters, and was a generator used twice?")
        for group in groups if isinstance(groups[0], dict) else [{"params": groups}]:
            self.add_param_group(group)

    def add_param_group(self, param_group):
        """One more group, whose options are the defaults where it does not give them."""
        given = param_group["params"]
        params = [p[1] if isinstance(p, tuple) else p for p in ([given] if isinstance(given, TensorBase) else given)]
        known = {id(p) for group in self.param_groups for p in group["params"]}
        for p in params:
            if not isinstance(p, TensorBase):
                raise refuse(TypeError, f"optimizer{{here}}: optimizer can only optimize Tensors, but one of the params is {type(p).__name__}")
            if not p.is_leaf:
                raise refuse(ValueError, "optimizer{here}: can't optimize a non-leaf Tensor: it is the result of an operation; give the tensors it was computed from")
            if id(p) in known:
                raise refuse(ValueError, "optimizer{here}: some parameters appear in more than one parameter group")
            known.add(id(p))
        self.param_groups.append({"params": params, **self.defaults, **{k: v for k, v in param_group.items() if k != "params"}})

    def zero_grad(self, set_to_none=True):
        """Forget the gradients (or set them to 0)."""
        for group in self.param_groups:
            for p in group["params"]:
                if set_to_none:
                    p._grad = None
                elif p._grad is not None:
                    p._grad.zero_()

    def step(self, closure=None):
        """One step along the gradients that the parameters have. closure: computes the loss anew, and its gradients; what it returns is returned."""
        loss = None
        if closure is not None:
            with enable_grad():
                loss = closure()
        if self._moves != core.moves:
            self._follow()
        for group in self.param_groups:
            params = group["params"]
            gradients = [p._grad for p in params]
            if not all([g is not None for g in gradients]):
                params = [p for p in params if p._grad is not None]
                gradients = [p._grad for p in params]
            ages = self._ages(params) if self.state else ()
            if ages and ages.count(ages[0]) < len(ages):
                for age in dict.fromkeys(ages):
                    some = [k for k, a in enumerate(ages) if a == age]
                    self._step(group, [params[k] for k in some], [gradients[k] for k in some], age)
            elif params:
                self._step(group, params, gradients, ages[0] if ages else 0)
        return loss

    def _follow(self):
        """What is remembered of a parameter goes where the parameter has gone."""
        self._moves = core.moves
        for p, state in self.state.items():
            state.update({k: x.to(p.device) for k, x in state.items() if isinstance(x, TensorBase)})

    def _ages(self, params):
        """How many steps each parameter has been through, as far as that matters: those of one age go together."""
        return [int(bool(self.state.get(p))) for p in params]

    def _step(self, group, params, gradients, age):
        raise NotImplementedError

    def _update(self, function, group, targets, gradients, *numbers, count, **more):
        """One call of `function` for all of it. What it is given of the group's options, and `more`, are constants of the step, put together once."""
        known = self._constants.get(id(group))
        if known is None or known[0] != group or known[1] != (count, more):
            held = {k: tuple(v) if type(v) is list and k != "params" else v for k, v in group.items()}           # what is in a list may change
            options = {k: held[k] for k in self.defaults if k not in self.numbers}
            known = self._constants[id(group)] = held, (count, more), {**options, **more, "count": count}
        updated(function, targets, [*targets, *gradients, *as_tensors(numbers, targets[0].dtype)], known[2])

    def _averages(self, params, *names):
        """(the state of each parameter, a tensor of zeros for each name and parameter, kept there)."""
        try:
            states = [self.state[p] for p in params]
            return states, [s[name] for name in names for s in states]
        except KeyError:
            for p in params:
                state = self.state[p]
                for name in names:
                    if name not in state:
                        state[name] = beside(p, np.zeros(p.shape, p.dtype))
            return self._averages(params, *names)

    def state_dict(self):
        """{"state": {number of the parameter: {...}}, "param_groups": [...]}: copies, to be kept or written."""
        numbers = {p: k for k, p in enumerate(p for group in self.param_groups for p in group["params"])}
        state = {numbers[p]: _each(tensor, s) for p, s in self.state.items() if p in numbers}
        return {"state": state, "param_groups": [{**group, "params": [numbers[p] for p in group["params"]]} for group in self.param_groups]}

    def load_state_dict(self, state_dict):
        """Take over what state_dict gave, of an optimiser with groups of the same sizes."""
        groups = state_dict["param_groups"]
        if [len(g["params"]) for g in groups] != [len(g["params"]) for g in self.param_groups]:
            raise refuse(ValueError, "load_state_dict{here}: loaded state dict contains a parameter group that doesn't match the size of optimizer's group: "
                                     f"{[len(g['params']) for g in groups]} parameters there, {[len(g['params']) for g in self.param_groups]} here")
        mine = [p for group in self.param_groups for p in group["params"]]
        theirs = [k for group in groups for k in group["params"]]
        for group, other in zip(self.param_groups, groups):
            group.update({k: v for k, v in other.items() if k != "params"})
        state = collections.defaultdict(dict)
        for k, p in zip(theirs, mine):
            if k in state_dict["state"]:
                state[p] = _each(lambda x, p=p: tensor(x, dtype=p.dtype, device=p.device), state_dict["state"][k])
        self.__setstate__({"state": state, "param_groups": self.param_groups})

    def __setstate__(self, state):
        """What load_state_dict and copies end with: subclasses give options there that older states have not."""
        vars(self).update(state)

    def __repr__(self):
        lines = [f"{type(self).__name__} ("]
        for k, group in enumerate(self.param_groups):
            lines += [f"Parameter Group {k}", *[f"    {name}: {group[name]}" for name in sorted(group) if name != "params"]]
        return "\n".join([*lines, ")"])


def _each(copied, state):
    """The state of a parameter with copied(x) in place of each tensor or array, in dicts and lists, too; and what else there is as it is."""
    if isinstance(state, (TensorBase, np.ndarray)):
        return copied(state)
    if isinstance(state, dict):
        return {k: _each(copied, x) for k, x in state.items()}
    return type(state)([_each(copied, x) for x in state]) if type(state) in (list, tuple) else state


def not_below_0(**numbers):
    for name, x in numbers.items():
        if not x >= 0:
            raise refuse(ValueError, f"optimizer{{here}}: Invalid {name.replace('_', ' ')}: {x}")


def below_1(betas):
    for k, b in enumerate(betas):
        if not 0 <= b < 1:
            raise refuse(ValueError, f"optimizer{{here}}: Invalid beta parameter at index {k}: {b}")


# ---- stochastic gradient descent ------------------------------------------------------------------------------------------------------------

def sgd(*arrays, count, first, weight_decay, dampening, nesterov, maximize):
    """Parameters, buffers if there is momentum, gradients, the learning rate, the momentum -> new parameters and buffers."""
    *arrays, lr, momentum = arrays
    params, buffers, gradients = arrays[:count], arrays[count:-count], arrays[-count:]
    new, kept = [], []
    for k, (p, g) in enumerate(zip(params, gradients)):
        g = -g if maximize else g
        g = g + weight_decay * p if weight_decay else g
        if buffers:
            b = g if first else momentum * buffers[k] + (1 - dampening) * g
            kept.append(b)
            g = g + momentum * b if nesterov else b
        new.append(p - lr * g)
    return (*new, *kept)


class SGD(Optimizer):
    """Stochastic gradient descent: p <- p - lr v, with v <- momentum v + (1 - dampening) g, and g the gradient + weight_decay p.

    v is g at the first step; without momentum, always. nesterov: p <- p - lr (g + momentum v). (Robbins & Monro, 1951; Polyak, 1964; Nesterov, 1983, in the form of
    Sutskever, Martens, Dahl & Hinton, ICML 2013, section 2, with PyTorch's place of the learning rate.)
    """

    numbers = "lr", "momentum"

    def __init__(self, params, lr=1e-3, momentum=0.0, dampening=0.0, weight_decay=0.0, nesterov=False, *, maximize=False, foreach=None, fused=None):
        not_below_0(learning_rate=lr, momentum_value=momentum, weight_decay_value=weight_decay)
        if nesterov and (momentum <= 0 or dampening != 0):
            raise refuse(ValueError, "optimizer{here}: Nesterov momentum requires a momentum and zero dampening")
        super().__init__(params, dict(lr=lr, momentum=momentum, dampening=dampening, weight_decay=weight_decay, nesterov=nesterov, maximize=maximize))

    def _step(self, group, params, gradients, age):
        targets = params + self._averages(params, "momentum_buffer")[1] if group["momentum"] else params
        self._update(sgd, group, targets, gradients, float(group["lr"]), float(group["momentum"]), count=len(params), first=not age)


# ---- Adam ---------------------------------------------------------------------------------------------------------------------------------------

def adam(*arrays, count, eps, weight_decay, amsgrad, maximize, decoupled):
    """Parameters, first and second moments (and the largest of these), gradients, and the six numbers of the step -> all but the gradients, new."""
    *arrays, keep, size, correction, share, second, second_share = arrays
    columns = [arrays[k:k + count] for k in range(0, len(arrays), count)]
    gradients = columns.pop()
    out = [[] for _ in columns]
    for k, g in enumerate(gradients):
        p, m, v, *top = [column[k] for column in columns]
        g = -g if maximize else g
        if decoupled:
            p = p * keep
        elif weight_decay:
            g = g + weight_decay * p
        m = m + share * (g - m)
        v = second * v + second_share * g * g
        top = [e.maximum(top[0], v)] if amsgrad else []
        p = p - size * (m / (e.sqrt(top[0] if amsgrad else v) / correction + eps))
        for column, x in zip(out, (p, m, v, *top)):
            column.append(x)
    return tuple([x for column in out for x in column])


class Adam(Optimizer):
    """m <- b1 m + (1 - b1) g, v <- b2 v + (1 - b2) g^2, p <- p - lr (m / (1 - b1^t)) / (sqrt(v / (1 - b2^t)) + eps) at step t.

    (Kingma & Ba, ICLR 2015, algorithm 1; amsgrad: Reddi, Kale & Kumar, ICLR 2018, the largest v so far in place of v.) weight_decay is added to the gradient.
    """

    decoupled = False
    numbers = "lr", "betas"

    def __init__(self, params, lr=1e-3, betas=(0.9, 0.999), eps=1e-8, weight_decay=0.0, amsgrad=False, *, maximize=False, foreach=None, fused=None):
        not_below_0(learning_rate=lr, epsilon_value=eps, weight_decay_value=weight_decay)
        below_1(betas)
        super().__init__(params, dict(lr=lr, betas=tuple(betas), eps=eps, weight_decay=weight_decay, amsgrad=amsgrad, maximize=maximize))

    def _ages(self, params):
        state = self.state
        return [int(state[p].get("step", 0)) if p in state else 0 for p in params]

    def _step(self, group, params, gradients, age):
        t, lr, (first, second) = age + 1, float(group["lr"]), group["betas"]
        states, averages = self._averages(params, *(("exp_avg", "exp_avg_sq", "max_exp_avg_sq") if group["amsgrad"] else ("exp_avg", "exp_avg_sq")))
        for state in states:
            state["step"] = t
        self._update(adam, group, params + averages, gradients, 1 - lr * group["weight_decay"], lr / (1 - first ** t), math.sqrt(1 - second ** t),
                     1 - first, second, 1 - second, count=len(params), decoupled=self.decoupled)


class AdamW(Adam):
    """Adam with a weight decay that is no part of the gradient: p <- (1 - lr weight_decay) p first (Loshchilov & Hutter, ICLR 2019, algorithm 2, with lr as its factor)."""

    decoupled = True

    def __init__(self, params, lr=1e-3, betas=(0.9, 0.999), eps=1e-8, weight_decay=1e-2, amsgrad=False, *, maximize=False, foreach=None, fused=None):
        super().__init__(params, lr, betas, eps, weight_decay, amsgrad, maximize=maximize)


# ---- RMSprop ------------------------------------------------------------------------------------------------------------------------------------

def rmsprop(*arrays, count, alpha, eps, weight_decay, momentum, centered, maximize):
    """Parameters, mean squares (and mean gradients, and buffers), gradients, the learning rate -> all but the gradients, new."""
    *arrays, lr = arrays
    columns = [arrays[k:k + count] for k in range(0, len(arrays), count)]
    gradients = columns.pop()
    out = [[] for _ in columns]
    for k, g in enumerate(gradients):
        p, v, *more = [column[k] for column in columns]
        g = -g if maximize else g
        g = g + weight_decay * p if weight_decay else g
        v = alpha * v + (1 - alpha) * g * g
        new, below = [v], v
        if centered:
            mean = more[0] + (1 - alpha) * (g - more[0])
            new, below = [v, mean], v - mean * mean
        move = g / (e.sqrt(below) + eps)
        if momentum:
            move = momentum * more[-1] + move
            new.append(move)
        for column, x in zip(out, (p - lr * move, *new)):
            column.append(x)
    return tuple([x for column in out for x in column])


class RMSprop(Optimizer):
    """v <- alpha v + (1 - alpha) g^2, p <- p - lr b, with b <- momentum b + g / (sqrt(v) + eps) (Tieleman & Hinton, 2012; Graves, arXiv:1308.0850, for centered).

    centered: sqrt(v - m^2), with the mean gradient m <- alpha m + (1 - alpha) g. weight_decay is added to the gradient.
    """

    def __init__(self, params, lr=1e-2, alpha=0.99, eps=1e-8, weight_decay=0.0, momentum=0.0, centered=False, *, maximize=False, foreach=None):
        not_below_0(learning_rate=lr, alpha_value=alpha, epsilon_value=eps, weight_decay_value=weight_decay, momentum_value=momentum)
        super().__init__(params, dict(lr=lr, alpha=alpha, eps=eps, weight_decay=weight_decay, momentum=momentum, centered=centered, maximize=maximize))

    def _step(self, group, params, gradients, age):
        names = ["square_avg"] + ["grad_avg"] * bool(group["centered"]) + ["momentum_buffer"] * bool(group["momentum"])
        self._update(rmsprop, group, params + self._averages(params, *names)[1], gradients, float(group["lr"]), count=len(params))
