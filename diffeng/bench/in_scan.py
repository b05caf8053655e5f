"""The workloads that are loops, written with de.scan: what JAX is told by lax.scan (in_jax.py). The NumPy text, a Python loop, is recorded step by step.

Timed in a column of its own, and no workload's best time: it compiles one step where the other compiles all of them, and runs slower for it.
"""
import numpy as np

import diffeng as de

from .functions import sigmoid


def lstm(W, U, b, xs, targets):
    def step(carry, now):
        (h, c), (x, target) = carry, now
        i, f, g, o = np.split(x @ W + h @ U + b, 4, axis=1)
        c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
        h = sigmoid(o) * np.tanh(c)
        return (h, c), np.mean((h - target) ** 2)

    zero = np.zeros(targets.shape[1:], xs.dtype)
    return np.mean(de.scan(step, (zero, zero), (xs, targets))[1])


def heat(u, conductivity, observed, steps):
    def step(u, _):
        flux = conductivity * (u[1:] - u[:-1])
        return np.concatenate([u[:1], u[1:-1] + (flux[1:] - flux[:-1]), u[-1:]]), None

    return np.mean((de.scan(step, u, None, length=steps)[0] - observed) ** 2)
