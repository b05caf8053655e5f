"""One step of training as one compiled program: loss, gradients, their norm, AdamW; and the numbers that change from step to step.

What it is: plain functions of (state, tokens, targets, numbers) handed to `de.jit`, which writes the new state where the old one lay.
What it is not: no files, no data, no loop (data.py, run.py, train.py). Why a file: this is what costs the time, and what is compared with PyTorch.

A state is {"parameters": ..., "first": ..., "second": ...}: three dicts with the same names, the last two AdamW's moments (Loshchilov & Hutter, ICLR 2019).
"""
import math
from dataclasses import dataclass

import numpy as np

from .block import block, keep
from .model import cross_entropy, gpt2

PLACES = 16                # bits of a counter that number the places of one pass where something is dropped


@dataclass(frozen=True)
class TrainingSettings:
    """How to train. What nobody says is GPT-2's or nanoGPT's custom.

    batch: sequences in one pass. accumulate: passes in one step. steps: of the whole training. learning_rate: the highest; it rises from 0 in `warmup` steps
    and falls along a cosine to `least` of itself (Loshchilov & Hutter, ICLR 2017). decay: of weights, not of biases and norms. clip: the largest norm of all
    gradients together; 0: any. recompute: let go of what happens inside a block, and compute it again on the way back. seed: of the parameters, the data and
    the dropout.

    Raises TypeError or ValueError that name the field.

    >>> settings = TrainingSettings(steps=100, learning_rate=1.0, warmup=10, least=0.1)
    >>> [round(settings.rate(k), 3) for k in (1, 10, 55, 100)]
    [0.1, 1.0, 0.55, 0.1]
    """

    batch: int = 12
    accumulate: int = 1
    steps: int = 2000
    learning_rate: float = 1e-3
    least: float = 0.1
    warmup: int = 100
    decay: float = 0.1
    beta1: float = 0.9
    beta2: float = 0.99
    epsilon: float = 1e-8
    clip: float = 1.0
    recompute: bool = False
    seed: int = 0

    def __post_init__(self):
        lowest = dict(batch=1, accumulate=1, steps=1, warmup=0, seed=0)
        for name, kind in self.__annotations__.items():
            value = getattr(self, name)
            if kind is bool and not isinstance(value, bool):
                raise TypeError(f"{name} is {value!r}; it must be True or False")
            if kind is int and (isinstance(value, bool) or not isinstance(value, int)):
                raise TypeError(f"{name} is {value!r}; it must be an integer")
            if kind is int and value < lowest[name]:
                raise ValueError(f"{name} is {value}; it must be {lowest[name]} or more")
            if kind is int and value >= 2 ** 63:
                raise ValueError(f"{name} is {value}; it must be below 2**63")
            if kind is float and (isinstance(value, bool) or not isinstance(value, (int, float))):
                raise TypeError(f"{name} is {value!r}; it must be a number")
            if kind is float and not 0 <= value < math.inf:
                raise ValueError(f"{name} is {value}; it must be 0 or more, and finite")
        for name in ("beta1", "beta2", "least"):
            if getattr(self, name) > 1 or name != "least" and getattr(self, name) == 1:
                raise ValueError(f"{name} is {getattr(self, name)}; it must be {'at most' if name == 'least' else 'below'} 1")

    def rate(self, step):
        """The learning rate of a step; the first one is number 1."""
        if step <= self.warmup:
            return self.learning_rate * step / self.warmup
        gone = min(1.0, (step - self.warmup) / max(1, self.steps - self.warmup))
        return self.learning_rate * (self.least + (1 - self.least) * (1 + math.cos(math.pi * gone)) / 2)

    def numbers(self, step):
        """What AdamW multiplies with in a step, as its program takes it: what decay leaves, the step's size, and the correction of the second moments."""
        rate = self.rate(step)
        found = dict(kept=1 - rate * self.decay, size=rate / (1 - self.beta1 ** step), correction=math.sqrt(1 - self.beta2 ** step))
        return {name: np.float32(x) for name, x in found.items()}


def new_state(parameters):
    """The state before the first step: these parameters, and moments that are 0."""
    return {"parameters": parameters} | {name: {k: np.zeros_like(p) for k, p in parameters.items()} for name in ("first", "second")}


def dropping(rate, key, draw):
    """A function to drop with in pass number `draw`: each of its calls takes the next place's mask, so that the same pass drops the same again. key, draw:
    integers, or integer arrays of one entry.

    >>> x = np.ones(1000)
    >>> first, again = dropping(0.5, key=1, draw=3), dropping(0.5, key=1, draw=3)
    >>> bool(np.array_equal(first(x), again(x))), bool(np.array_equal(first(x), again(x) * 0)), round(float(first(x).mean()))
    (True, False, 1)
    """
    if rate == 0:
        return keep
    from .. import random
    place = iter(range(1 << PLACES))
    return lambda x: random.dropout(x, rate, key, draw * (1 << PLACES) + next(place))


def training_loss(parameters, tokens, targets, draw, key, config, settings):
    """The loss of one pass with dropout, in nats a token. tokens, targets: integers (B, T), unchecked: they are arguments of a program here."""
    if settings.recompute:
        from .. import checkpoint
        each = checkpoint(block)
    else:
        each = block
    return cross_entropy(gpt2(parameters, tokens, config, dropping(config.drop_rate, key, draw), each), targets)


def training_step(config, settings, device="cpu", precision="float32"):
    """step(state, passes, numbers) -> (state, loss, norm of the gradient before it is clipped).

    device, precision: where and how, see jit; on a GPU the state is one of CuPy's arrays.
    passes: a list of (tokens, targets, draw), `settings.accumulate` of them. The state that goes in is written over. What is compiled is one program, and for
    more than one pass another two, which add up gradients.
    """
    from .. import jit, value_and_grad
    from ..optim.optimizers import adam
    key = np.array(settings.seed, np.uint64)

    def gradients(parameters, gathered, tokens, targets, draw, key):
        loss, found = value_and_grad(training_loss)(parameters, tokens, targets, draw, key, config, settings)
        if gathered:
            loss, found = gathered["loss"] + loss, {k: gathered["gradients"][k] + g for k, g in found.items()}
        return {"loss": loss, "gradients": found}

    def whole(state, gathered, tokens, targets, draw, key, numbers):
        gathered = gradients(state["parameters"], gathered, tokens, targets, draw, key)
        found, loss = gathered["gradients"], gathered["loss"] / settings.accumulate
        norm = np.sqrt(sum([np.sum(g * g) for g in found.values()])) / settings.accumulate
        factor = (np.minimum(settings.clip / (norm + 1e-6), 1.0) if settings.clip else 1.0) / settings.accumulate
        new = {part: dict.fromkeys(names) for part, names in state.items()}          # in the same order: it is the same structure in the next step
        for kept in (True, False):                                       # weights decay, biases and norms do not
            names = [k for k, p in state["parameters"].items() if (p.ndim > 1) is kept]
            columns = [[state[part][k] for k in names] for part in state] + [[found[k] * factor for k in names]]
            moved = adam(*[x for column in columns for x in column], numbers["kept"] if kept else 1.0, numbers["size"], numbers["correction"],
                         1 - settings.beta1, settings.beta2, 1 - settings.beta2, count=len(names), eps=settings.epsilon, weight_decay=settings.decay, amsgrad=False,
                         maximize=False, decoupled=True)
            for j, part in enumerate(state):
                new[part].update(zip(names, moved[j * len(names):(j + 1) * len(names)]))
        return new, loss, norm

    gather, update = (jit(f, donate_argnums=k, device=device, precision=precision) for f, k in ((gradients, 1), (whole, 0)))

    def step(state, passes, numbers):
        gathered = {}
        for tokens, targets, draw in passes[:-1]:
            gathered = gather(state["parameters"], gathered, tokens, targets, np.array(draw, np.uint64), key)
        tokens, targets, draw = passes[-1]
        return update(state, gathered, tokens, targets, np.array(draw, np.uint64), key, numbers)
    return step
