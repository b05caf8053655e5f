"""Arrays that a loop of Python fills, entry by entry or part by part, value and gradient under jit, beside JAX, which is told by x.at[i].

What it is: each workload is written once, takes the numpy it runs on, and is checked and timed as in matrices.py.
Expected: an entry that is written or added to costs as much as it is large, forward and back, for the array lies where it lies and its cotangent passes as it is; so
should it in JAX, whose compiler sees through each copy but takes its time. Python's min is one choice for all values; JAX is told minimum. Seen: docs/performance.md.

Run: python benchmarks/in_place.py           (needs `pip install jax`)
"""
import numpy

from matrices import main


def put(np, x, index, value):
    if np is not numpy:
        return x.at[index].set(value)
    x[index] = value
    return x


def add(np, x, index, value):
    if np is not numpy:
        return x.at[index].add(value)
    x[index] += value
    return x


def stiffness(np, areas, ends, places):
    """The compliance of a truss: bars between points of the plane, of which the first four unknowns are held. ends: (bars, 2, 2); places: (bars, 4), of unknowns."""
    n = places.max() + 1
    K = np.zeros((n, n))
    for area, (a, b), at in zip(areas, ends, places):
        c, s = (b - a) / numpy.linalg.norm(b - a) ** 1.5
        K = add(np, K, numpy.ix_(at, at), area * numpy.outer([c, s, -c, -s], [c, s, -c, -s]))
    load = numpy.zeros(n - 4)
    load[-1] = -1.0
    return load @ np.linalg.solve(K[4:, 4:], load)


def edges(np, weights, pairs):
    """The logarithm of the determinant of a graph's Laplacian, one entry after the other."""
    n = pairs.max() + 1
    L = np.eye(n)
    for w, (i, j) in zip(weights, pairs):
        for a, b, sign in ((i, j, -1), (j, i, -1), (i, i, 1), (j, j, 1)):
            L = add(np, L, (a, b), sign * w)
    return np.linalg.slogdet(L)[1]


def steps(np, u, n):
    """Implicit steps (Crank & Nicolson) with one matrix."""
    L = 0.1 * (numpy.diag(numpy.ones(n - 1), 1) + numpy.diag(numpy.ones(n - 1), -1) - 2 * numpy.eye(n))
    A, B = numpy.eye(n) - L / 2, numpy.eye(n) + L / 2
    for _ in range(20):
        u = np.linalg.solve(A, B @ u)
    return np.sum(u ** 2)


def waves(np, permittivity, count):
    """Maxwell's equations in two dimensions (Yee), a source, and what arrives at a point."""
    n = len(permittivity)
    E, X, Y, seen = np.zeros((n, n)), np.zeros((n, n - 1)), np.zeros((n - 1, n)), 0.0
    for t in range(count):
        X = add(np, X, ..., -0.5 * (E[:, 1:] - E[:, :-1]))
        Y = add(np, Y, ..., 0.5 * (E[1:] - E[:-1]))
        curl = Y[1:, 1:-1] - Y[:-1, 1:-1] - X[1:-1, 1:] + X[1:-1, :-1]
        E = add(np, E, (slice(1, -1), slice(1, -1)), 0.5 * curl / permittivity[1:-1, 1:-1])
        E = add(np, E, (n // 2, n // 2), numpy.sin(0.3 * t))
        seen = seen + E[n // 3, n // 3] ** 2
    return seen


def trajectory(np, start, count):
    X = put(np, np.zeros((len(start), count)), (slice(None), 0), start)
    for t in range(count - 1):
        X = put(np, X, (slice(None), t + 1), 0.99 * X[:, t] + 0.01 * np.tanh(X[:, t]))
    return np.sum(X ** 2)


def warping(np, x, y):
    """Dynamic time warping."""
    d = put(np, np.full((len(x) + 1, len(y) + 1), 1e3), (0, 0), 0.0)
    for i in range(1, len(x) + 1):
        for j in range(1, len(y) + 1):
            before = d[i - 1, j], d[i, j - 1], d[i - 1, j - 1]
            d = put(np, d, (i, j), (x[i - 1] - y[j - 1]) ** 2 + (min(before) if np is numpy else np.min(np.array(before))))
    return d[-1, -1]


def truss(n):
    """A grid of n x n points, with diagonals: (ends of the bars, numbers of their unknowns)."""
    number = numpy.arange(n * n).reshape(n, n)
    bars = numpy.concatenate([numpy.stack([a.ravel(), b.ravel()], 1) for a, b in ((number[:-1], number[1:]), (number[:, :-1], number[:, 1:]),
                                                                                 (number[:-1, :-1], number[1:, 1:]))])
    points = numpy.stack(numpy.divmod(numpy.arange(n * n), n), 1).astype(float)
    return points[bars], (2 * bars[:, :, None] + numpy.arange(2)).reshape(-1, 4)


def workloads():
    random = numpy.random.default_rng(0)
    ends, places = truss(7)
    yield f"stiffness, {len(ends)} bars", lambda np, a: stiffness(np, a, ends, places), (1 + random.random(len(ends)),)
    pairs = numpy.array([random.choice(40, 2, replace=False) for _ in range(120)])
    yield "Laplacian of 120 edges", lambda np, w: edges(np, w, pairs), (random.random(120),)
    yield "20 implicit steps of 100", lambda np, u: steps(np, u, 100), (random.standard_normal(100),)
    yield "waves, 40 x 40, 15 steps", lambda np, p: waves(np, p, 15), (1 + random.random((40, 40)),)
    yield "trajectory, 100 steps of 200", lambda np, x: trajectory(np, x, 100), (random.standard_normal(200),)
    yield "time warping, 12 x 12", warping, (random.standard_normal(12), random.standard_normal(12))


if __name__ == "__main__":
    main(workloads())
