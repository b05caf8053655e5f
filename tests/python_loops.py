"""Python loops, written as their users do, and arguments for so many turns."""
import numpy as np

import diffeng as de

RNG = np.random.default_rng(6)


def network(h, W, b, xs):
    kept = []
    for x in xs:
        h = np.tanh(W @ h + b + x)
        kept.append(h)
    return np.sum(np.stack(kept) ** 2)


def controlled(x, u):
    cost = 0.0
    for t in range(len(u)):
        x = x + 0.1 * np.array([x[1], np.sin(x[0]) + u[t]])
        cost = cost + 0.1 * u[t] ** 2 + np.sum(x ** 2)
    return cost


def leapfrog(before, now, c, steps):
    for _ in range(len(steps)):
        before, now = now, 2 * now - before + c * (np.roll(now, 1) - 2 * now + np.roll(now, -1))
    return np.sum(now ** 2) + np.sum(before)


def of_time(x, steps):
    for t in range(len(steps)):
        x = x + 0.1 * np.sin(x * (0.1 * t)) * np.cos(0.3 * t)
    return np.sum(x ** 2)


def rows_written(y0, a, steps):
    y = np.zeros((len(steps) + 1, 3))
    y[0] = y0
    for t in range(len(steps)):
        y[t + 1] = y[t] + 0.1 * np.sin(a * y[t])
    return np.sum(y ** 2)


def columns_written(y0, a, steps):
    y = np.full((3, len(steps) + 1), 2.0)
    y[:, 0] = y0
    for t in range(len(steps) - 1):
        y[:, t + 1] = y[:, t] + 0.1 * np.sin(a * y[:, t])
    return np.sum(y ** 2)


def entries_written(a, steps):
    y = np.zeros((len(steps) + 1, 2))
    y[0, 0] = 1.0
    for t in range(len(steps)):
        y[t + 1, 0] = y[t, 0] + 0.1 * y[t, 1]
        y[t + 1, 1] = y[t, 1] - 0.1 * a * np.sin(y[t, 0])
    return np.sum(y ** 2)


def chosen(x, W, steps):
    for _ in range(len(steps)):
        z = W @ x
        x = np.where(z > 0, z, 0.1 * z)
    return np.sum(x ** 2)


def clipped(x, u):
    cost = 0.0
    for t in range(len(u)):
        x = np.clip(x + u[t], -1, 1)
        cost = cost + x ** 2
    return cost


def three_ago(x, y, z, steps):
    for _ in range(len(steps)):
        x, y, z = y, z, np.sin(x + z) * 0.5 + y * 0.1
    return x + 2 * y + 3 * z


def appended(x, steps):
    out = [x]
    for t in range(len(steps)):
        out.append(np.sin(out[-1]) + out[t - 1] * 0.1)
    return sum(np.sum(o) for o in out)


def multistep(y, k, steps):
    before = None
    for t in range(len(steps)):
        now = -k * y + np.sin(0.1 * t)
        y = y + 0.1 * (now if before is None else 1.5 * now - 0.5 * before)
        before = now
    return np.sum(y ** 2)


def filtered(m, A, ys):
    P, total = np.eye(2), 0.0
    for t in range(len(ys)):
        m, P = A @ m, A @ P @ A.T + 0.1 * np.eye(2)
        S = P[0, 0] + 0.5
        K, error = P[:, 0] / S, ys[t] - m[0]
        m, P = m + K * error, P - np.outer(K, P[0])
        total = total - 0.5 * (error * error / S + np.log(S))
    return total


def every_second(x):
    s = 0.0
    for t in range(len(x) // 2):
        s = np.tanh(s * 0.5 + x[2 * t] * x[2 * t + 1])
    return s


def backwards(x):
    s = 0.0
    for t in reversed(range(len(x))):
        s = np.tanh(s * 0.5 + np.sin(x[t]) * x[t])
    return s


def tridiagonal(a, b, d):
    n = len(a)
    c, e, x = np.zeros(n), np.zeros(n), np.zeros(n)
    c[0], e[0] = a[0] / b[0], d[0] / b[0]
    for i in range(1, n):
        m = b[i] - a[i] * c[i - 1]
        c[i], e[i] = a[i] / m, (d[i] - a[i] * e[i - 1]) / m
    x[-1] = e[-1]
    for i in range(n - 2, -1, -1):
        x[i] = e[i] - c[i] * x[i + 1]
    return np.sum(x ** 2)


def relaxed(u, b):
    u = u.copy()
    for _ in range(2):
        for i in range(1, len(u) - 1):
            u[i] = 0.5 * (u[i - 1] + u[i + 1] + b[i])
    return np.sum(u ** 2)


def heated(u, k, steps):
    for _ in range(len(steps)):
        flux = k * (u[1:] - u[:-1])
        u = np.concatenate([u[:1], u[1:-1] + (flux[1:] - flux[:-1]), u[-1:]])
    return np.mean(u ** 2)


def heated_in_place(u, k, steps):
    for _ in range(len(steps)):
        added = np.zeros_like(u)
        added[1:-1, 1:-1] = u[2:, 1:-1] + u[:-2, 1:-1] + u[1:-1, 2:] + u[1:-1, :-2] - 4 * u[1:-1, 1:-1]
        u = u + k * added
    return np.sum(u ** 2)


def solved(u, k, steps):
    A = np.eye(9) * (1 + k) - k / 2 * (np.eye(9, k=1) + np.eye(9, k=-1))
    for _ in range(len(steps)):
        u = np.linalg.solve(A, u + 0.1)
    return np.sum(u ** 2)


def solved_anew(u, k, steps):
    for _ in range(len(steps)):
        u = np.linalg.solve(np.eye(9) + k / 2 * np.diag(np.arange(9.0)), np.tanh(u))
    return np.sum(u ** 2)


def trained(W, V, X, steps):
    def loss(W, V):
        return np.mean((np.tanh(X @ W) @ V - X[:, :1]) ** 2)
    for _ in range(len(steps)):
        g, h = de.grad(loss, argnums=(0, 1))(W, V)
        W, V = W - 0.1 * g, V - 0.1 * h
    return loss(W, V)


def nested(x, steps):
    for _ in range(len(steps) // 2):
        for k in range(20):
            x = x + 0.01 * np.sin(x * k)
        x = x / np.sum(x ** 2)
    return np.sum(x ** 3)


def walked(q, xs):
    """A matrix of index arrays, parts that they name and add to, the same ones in each turn."""
    x, near = np.zeros(len(q)), np.array([1, 2, 0])
    for t in range(len(xs)):
        x = np.tanh(np.diag(np.exp(q)) @ x + xs[t])
        y = x[near]
        np.add.at(y, near[:2], 0.1 * x[:2])
        x = y
    return np.sum(np.sin(x))


def normal(*shape):
    return 0.5 * RNG.standard_normal(shape)


def arguments(turns):
    """{function: (arguments, how many of them there are derivatives by)}"""
    steps = np.zeros(turns)
    return {network: ((normal(3), normal(3, 3), normal(3), normal(turns, 3)), 4), controlled: ((normal(2), normal(turns)), 2),
            leapfrog: ((normal(9), normal(9), 0.1, steps), 3), of_time: ((normal(3), steps), 1), rows_written: ((normal(3), normal(3), steps), 2),
            columns_written: ((normal(3), normal(3), steps), 2), entries_written: ((0.7, steps), 1), chosen: ((normal(4), normal(4, 4), steps), 2),
            clipped: ((0.1, normal(turns)), 2), three_ago: ((0.1, 0.2, 0.3, steps), 3), appended: ((normal(3), steps), 1), multistep: ((normal(2), 0.3, steps), 2),
            filtered: ((normal(2), normal(2, 2), normal(turns)), 3), every_second: ((normal(2 * turns),), 1), backwards: ((normal(turns),), 1),
            tridiagonal: ((normal(turns), normal(turns) + 3, normal(turns)), 3), relaxed: ((normal(turns), normal(turns)), 2), heated: ((normal(40), 0.2 + 0.1 * normal(39), steps), 2),
            heated_in_place: ((normal(8, 9), 0.1, steps), 2), solved: ((normal(9), 0.4, steps), 2), solved_anew: ((normal(9), 0.4, steps), 2), trained: ((normal(3, 4), normal(4, 1), normal(6, 3), steps), 2),
            nested: ((normal(3), steps), 1), walked: ((normal(3), normal(turns, 3)), 2)}
