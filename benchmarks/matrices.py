"""What scientists do with matrices, value and gradient under jit, beside JAX: Gaussian processes, a Kalman filter and many tiny matrices in NumPy's own words.

What it is: each workload is written once, takes the numpy it runs on, and is checked (the two engines agree) before it is timed. Turns are taken in one process; the
shortest call counts. First calls are of this process, with whatever diffeng's cache holds.
Expected: LAPACK's routines at their addresses, each matrix factored once, should be ahead of JAX where matrices are small, for then its calls count, and level where
they are large, for then LAPACK does. Seen (Python 3.11, two cores of a shared Intel processor with AVX-512, JAX 0.10.2): 2.0 times with 50 points, 1.5 with 300, 10.7
in the filter. When NumPy was called for each matrix, diffeng took 465 us, 10.4 ms (of which 7 solved triangles as if they were full) and 1540 us for 90, 6.2 and 118.

Run: python benchmarks/matrices.py           (needs `pip install jax`)
"""
import time

import jax
import jax.numpy as jnp
import numpy as np

import diffeng as de

SECONDS, TURNS = 0.3, 7


def gaussian_process(np, p, X, y):
    """Negative logarithm of the marginal likelihood. p: logarithms of variance, inverse squared length, noise. X: (n, d), y: (n,)."""
    distances = np.sum((X[:, None] - X[None]) ** 2, axis=-1)
    K = np.exp(p[0] - 0.5 * distances * np.exp(p[1])) + np.exp(p[2]) * np.eye(len(y))
    return 0.5 * y @ np.linalg.solve(K, y) + np.sum(np.log(np.diagonal(np.linalg.cholesky(K))))


def kalman_filter(np, q, ys, A, H):
    """Negative logarithm of the likelihood of observations ys: (steps, 2). q: logarithms of the variances of process and observation. A: (4, 4), H: (2, 4)."""
    x, P, out = np.zeros(4), np.eye(4), 0.0
    for y in ys:
        x, P = A @ x, A @ P @ A.T + np.exp(q[0]) * np.eye(4)
        S, r = H @ P @ H.T + np.exp(q[1]) * np.eye(2), y - H @ x
        inverse = np.linalg.inv(S)
        K = P @ H.T @ inverse
        out = out + 0.5 * (r @ inverse @ r + np.linalg.slogdet(S)[1])
        x, P = x + K @ r, P - K @ H @ P
    return out


def products(np, a, b):
    return np.sum((a @ b) ** 2)


def determinants(np, a):
    return np.sum(np.linalg.det(a) ** 2)


def laplacian(np, u):
    return np.sum((u[2:, 1:-1] + u[:-2, 1:-1] + u[1:-1, 2:] + u[1:-1, :-2] - 4 * u[1:-1, 1:-1]) ** 2)


def workloads():
    random = np.random.default_rng(0)
    p = np.array([0.1, 0.2, -2.0])
    for n in (50, 300):
        yield f"Gaussian process, {n} points", gaussian_process, (p, random.standard_normal((n, 2)), random.standard_normal(n))
    yield "Kalman filter, 50 steps", kalman_filter, (np.array([-1.0, -1.0]), random.standard_normal((50, 2)), np.eye(4) + 0.1 * random.standard_normal((4, 4)),
                                                     random.standard_normal((2, 4)))
    tiny = random.standard_normal((2, 20_000, 3, 3))
    yield "20,000 products of 3 x 3", products, (tiny[0], tiny[1])
    yield "20,000 determinants of 3 x 3", determinants, (tiny[0],)
    yield "5000 determinants of 4 x 4", determinants, (random.standard_normal((5000, 4, 4)),)
    yield "Laplacian, 300 x 300 points", laplacian, (random.standard_normal((300, 300)),)


def first(call):
    began = time.perf_counter()
    result = call()
    return time.perf_counter() - began, result


def best(calls):
    """Seconds of the shortest call of each."""
    shortest = [np.inf] * len(calls)
    for _ in range(TURNS):
        for k, call in enumerate(calls):
            until = time.perf_counter() + SECONDS
            while time.perf_counter() < until:
                shortest[k] = min(shortest[k], first(call)[0])
    return shortest


def main(workloads):
    """A line for each (name, f(numpy, *arguments), arguments): value and gradient by the first argument."""
    jax.config.update("jax_enable_x64", True)
    print(f"{'workload':<32}{'diffeng':>12}{'JAX':>12}{'ratio':>8}{'first call':>12}{'JAX':>9}")
    for name, f, arguments in workloads:
        ours = de.jit(de.value_and_grad(lambda *args, f=f: f(np, *args)))
        theirs = jax.jit(jax.value_and_grad(lambda *args, f=f: f(jnp, *args)))
        calls = [lambda: ours(*arguments), lambda: jax.block_until_ready(theirs(*arguments))]
        (begun, (value, gradient)), (their_begun, (known, expected)) = map(first, calls)
        np.testing.assert_allclose(value, known, rtol=1e-10)
        np.testing.assert_allclose(gradient, expected, rtol=1e-8, atol=1e-12 * np.max(np.abs(expected)))
        a, b = best(calls)
        print(f"{name:<32}{a * 1e6:>9.0f} us{b * 1e6:>9.0f} us{b / a:>8.2f}{begun:>10.2f} s{their_begun:>7.2f} s", flush=True)


if __name__ == "__main__":
    main(workloads())
