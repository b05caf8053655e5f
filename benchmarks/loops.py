"""Loops of many short turns, value and gradient under jit, beside JAX: time series and differential equations by de.scan, which JAX is told by lax.scan.

What it is: each workload is written once, takes the numpy it runs on, and is checked and timed as in matrices.py.
Expected: turns of a few operations on numbers, or on arrays of few entries, are one kernel and cost what their operations do; where a row of three entries needs a
function each, JAX's take as long or less. Turns of arrays are a table of kernels, which costs 15 ns each. Seen on a Zen 5: docs/performance.md.

Run: python benchmarks/loops.py           (needs `pip install jax`)
"""
import numpy

import jax

import diffeng as de
from matrices import main


def scan(np, *arguments):
    return (de.scan if np is numpy else jax.lax.scan)(*arguments)


def variance(np, p, x):
    """A variance of returns (GARCH)."""
    def day(h, x):
        h = p[0] + p[1] * x * x + p[2] * h
        return h, np.log(h) + x * x / h
    return np.sum(scan(np, day, np.asarray(1.0), x)[1])


def autoregression(np, p, x):
    def day(s, x):
        y = p[0] * s[0] + p[1] * s[1] + x
        return (y, s[0]), (y - p[2]) ** 2
    return np.sum(scan(np, day, (np.asarray(0.0), np.asarray(0.0)), x)[1])


def pendulum(np, p, times):
    def step(s, t):
        angle, speed = s[0], s[1]
        return np.array([angle + 0.01 * speed, speed - 0.01 * (p[0] * np.sin(angle) + p[1] * speed - p[2] * np.cos(t))]), angle
    return np.mean(scan(np, step, np.array([1.0, 0.0]), times)[1] ** 2)


def predators_and_prey(np, p, times):
    def step(s, t):
        x, y = s
        s = np.stack([x + 0.01 * (p[0] * x - p[1] * x * y), y + 0.01 * (p[2] * x * y - p[3] * y)])
        return s, s
    return np.sum(scan(np, step, np.array([1.0, 1.0]), times)[1])


def lorenz(np, p, times):
    def slope(s):
        return np.array([p[0] * (s[1] - s[0]), s[0] * (p[1] - s[2]) - s[1], s[0] * s[1] - p[2] * s[2]])

    def step(s, t):
        a = slope(s)
        b = slope(s + 0.005 * a)
        c = slope(s + 0.005 * b)
        d = slope(s + 0.01 * c)
        return s + 0.01 / 6 * (a + 2 * b + 2 * c + d), s[0]
    return np.mean(scan(np, step, np.array([1.0, 1.0, 1.0]), times)[1] ** 2)


def three_entries(np, p, x):
    def turn(h, x):
        h = np.tanh(p * h + x)
        return h, np.sum(h * h)
    return np.sum(scan(np, turn, np.zeros(3), x)[1])


def recurrent(np, w, x):
    n = w.shape[1]

    def turn(h, x):
        h = np.tanh(h @ w[:n] + x @ w[n:])
        return h, h
    return np.sum(scan(np, turn, np.zeros((*x.shape[1:-1], n)), x)[1] ** 2)


def oscillator(np, p, x):
    def turn(h, x):
        h = np.tanh(p * h + x)
        return h, h
    return np.sum(scan(np, turn, np.zeros(x.shape[1]), x)[1] ** 2)


def _recurrent(turns, *shape):
    rng, n = numpy.random.default_rng(1), shape[-1]
    return rng.standard_normal((n + 5, n)) / n ** 0.5, rng.standard_normal((turns, *shape[:-1], 5))


def workloads():
    returns, times = numpy.random.default_rng(0).standard_normal(10_000), numpy.linspace(0, 20, 2000)
    yield "GARCH, 10,000 days", variance, (numpy.array([0.1, 0.2, 0.7]), returns)
    yield "autoregression, 10,000 days", autoregression, (numpy.array([0.5, 0.2, 0.1]), returns)
    yield "pendulum, 2000 steps", pendulum, (numpy.array([9.8, 0.1, 0.5]), times)
    yield "predators and prey, 2000", predators_and_prey, (numpy.array([1.0, 0.5, 0.5, 1.0]), times)
    yield "Lorenz, 1000 steps", lorenz, (numpy.array([10.0, 28.0, 8 / 3]), times[:1000])
    yield "tanh of three, 10,000 turns", three_entries, (numpy.array([0.5, 0.2, 0.1]), returns)
    yield "recurrent, 16, 3 turns", recurrent, _recurrent(3, 16)
    yield "recurrent, 16, 10 turns", recurrent, _recurrent(10, 16)
    yield "recurrent, 8 x 16, 100", recurrent, _recurrent(100, 8, 16)
    yield "recurrent, 32 x 64, 100", recurrent, _recurrent(100, 32, 64)
    yield "tanh of 1000, 100 turns", oscillator, (numpy.asarray(0.4), numpy.random.default_rng(2).standard_normal((100, 1000)))


if __name__ == "__main__":
    main(workloads())
