"""Python loops of many turns, value and gradient under jit, beside JAX, which is given the same loops.

What it is: each workload is written once, takes the numpy it runs on, and is checked and timed as in matrices.py.
Expected: the first call grows with the operations that are recorded, 10 microseconds each, and not with what has to be compiled; a call costs what a de.scan would. JAX unrolls
such loops, which takes its compiler time (more than twice as much for twice as many turns); what it makes of them is straight machine code. Seen: docs/performance.md.

Run: python benchmarks/python_loops.py           (needs `pip install jax`)
"""
import numpy

from in_place import put
from matrices import main

TURNS = 40


def controlled(np, u, x):
    """A pendulum that is pushed: the cost of a trajectory, by what it is pushed with."""
    cost = 0.0
    for t in range(TURNS):
        x = x + 0.05 * np.array([x[1], u[t] - np.sin(x[0])])
        cost = cost + x[0] ** 2 + 0.1 * x[1] ** 2 + 0.01 * u[t] ** 2
    return cost


def filtered(np, A, ys):
    """The log likelihood of a Kalman filter."""
    m, P, total = np.zeros(2), np.eye(2), 0.0
    for t in range(TURNS):
        m, P = A @ m, A @ P @ A.T + 0.1 * np.eye(2)
        S, error = P[0, 0] + 0.5, ys[t] - m[0]
        K = P[:, 0] / S
        m, P = m + K * error, P - np.outer(K, P[0])
        total = total - 0.5 * (error * error / S + np.log(S))
    return total


def bodies(np, velocities, places, masses):
    """Some bodies that attract each other, by their velocities."""
    for _ in range(TURNS):
        apart = places[None] - places[:, None]
        cubes = (np.sum(apart ** 2, axis=-1) + 0.1) ** 1.5
        velocities = velocities + 0.01 * np.sum(masses[None, :, None] * apart / cubes[:, :, None], axis=1)
        places = places + 0.01 * velocities
    return np.sum(places ** 2)


def network(np, W, xs):
    h = np.zeros(len(W))
    for t in range(TURNS):
        h = np.tanh(W @ h + xs[t])
    return np.sum(h ** 2)


def tridiagonal(np, a, b, d):
    """Thomas's algorithm, entry by entry."""
    c, e = put(np, np.zeros(TURNS), 0, a[0] / b[0]), put(np, np.zeros(TURNS), 0, d[0] / b[0])
    for i in range(1, TURNS):
        m = b[i] - a[i] * c[i - 1]
        c, e = put(np, c, i, a[i] / m), put(np, e, i, (d[i] - a[i] * e[i - 1]) / m)
    x = put(np, np.zeros(TURNS), TURNS - 1, e[-1])
    for i in range(TURNS - 2, -1, -1):
        x = put(np, x, i, e[i] - c[i] * x[i + 1])
    return np.sum(x ** 2)


def implicit(np, u, k):
    """Steps of Crank and Nicolson's method."""
    n = len(u)
    D = 2 * numpy.eye(n) - numpy.eye(n, k=1) - numpy.eye(n, k=-1)
    for _ in range(TURNS):
        u = np.linalg.solve(np.eye(n) + k / 2 * D, u - k / 2 * (D @ u))
    return np.sum(u ** 2)


def workloads():
    normal = numpy.random.default_rng(0).standard_normal
    yield "a pushed pendulum", controlled, (normal(TURNS), normal(2))
    yield "a Kalman filter", filtered, (0.5 * normal((2, 2)), normal(TURNS))
    yield "five bodies", bodies, (0.1 * normal((5, 3)), normal((5, 3)), numpy.arange(1.0, 6.0))
    yield "a network of 20 units", network, (0.2 * normal((20, 20)), normal((TURNS, 20)))
    yield "tridiagonal equations", tridiagonal, (normal(TURNS), 4 + normal(TURNS) ** 2, normal(TURNS))
    yield "30 implicit equations", implicit, (normal(30), 0.4)


if __name__ == "__main__":
    main(workloads())
