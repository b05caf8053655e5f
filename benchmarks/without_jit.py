"""What does a gradient cost without `jit`, where nothing is compiled? Small workloads, diffeng against HIPS autograd.

What it is: each workload is written once, takes the numpy it runs on, and is checked (values and gradients of the two engines agree) before it is timed.
Rounds are interleaved, so that both meet the same machine; the best call counts: on a shared machine an average says more about the others. `compare` and `operations` are used nowhere else.
Expected: at least twice autograd's speed where many operations on small arrays are recorded. Seen (Python 3.11, two cores of a shared Zen 5): 5.4 times in
the loop, 2.7 with n=2, 2.6 in the MLP, 2.5 in the LSTM, 2.0 with n=100. Not quite there: logistic regression, 1.3 times, where a call's own cost counts (of 46
microseconds some 13 are the call: the function's code is looked over, its arguments taken apart, the result put together; 6 are NumPy's arithmetic forward, as many backward; and 4 keep
the 16 KB of X as they are now, lest the function writes into them afterwards). And the
chain, 1.1 times: where NumPy's own arithmetic dominates no recorder can be twice as fast as another, and the column `plain` says so: it is the function alone,
on plain arrays, without a derivative. Its arrays have 80 kB, 29 of them (2.3 MB) are kept for the way back. NumPy's calls alone, each timed on its own, take
1160 of the 1400 microseconds, so that a recorder that costs nothing would be 1.3 times as fast as autograd; 850 are ten sines and cosines, five forward and
five backward. The four derivatives of tanh are 107, of which temporaries written in place would save a few; the same chain on 4 entries takes 128.

Elsewhere: of 77 more, 61 small functions that were written for this question and 16 Jacobians and second derivatives, 37 were at 2 and more, 24 of these at 3 to 11 (loops over
numbers, ODE steps, robot arms); the others mostly at 1.3 to 1.9. What a call costs by itself decides: x * x of a number takes 13 microseconds (autograd 24), sum(x * x) 26 (32);
it takes about a dozen operations on arrays to be at 2. Below 1.2 are Hessian-vector products, and what is mostly one call of LAPACK's, einsum's or SciPy's.

Run: python benchmarks/without_jit.py [part of a name ...]           (needs `pip install autograd`)
"""
import sys
import time

import autograd
import autograd.numpy as anp
import numpy as np

import diffeng as de

ROUNDS, SECONDS = 7, 0.05            # rounds of each engine, and how long one is about


def rosenbrock_2(np, x):
    return (1.0 - x[0]) ** 2 + 100.0 * (x[1] - x[0] ** 2) ** 2


def rosenbrock_n(np, x):
    return np.sum(100.0 * (x[1:] - x[:-1] ** 2) ** 2 + (1.0 - x[:-1]) ** 2)


def chain(np, x):
    y = np.sin(x) * np.exp(-x)
    for _ in range(4):
        y = np.tanh(y + 0.5 * np.cos(x * y))
    return np.sum(np.log(1.0 + y * y))


def logistic(np, w, X, t):
    return np.mean(np.logaddexp(0.0, -t * np.dot(X, w)))


def perceptron(np, parameters, X, targets):
    """tanh layers and a softmax cross entropy."""
    h = X
    for W, b in parameters[:-1]:
        h = np.tanh(np.dot(h, W) + b)
    W, b = parameters[-1]
    logits = np.dot(h, W) + b
    logits = logits - np.max(logits, axis=1, keepdims=True)
    logp = logits - np.log(np.sum(np.exp(logits), axis=1, keepdims=True))
    return -np.mean(np.sum(targets * logp, axis=1))


def loop(np, x):
    for _ in range(250):
        x = np.sin(x) * 0.9 + 0.1 * x              # four operations
    return x


def lstm(np, parameters, xs):
    """20 steps of an LSTM cell of width 16."""
    W, U, b = parameters
    h, c = np.zeros(16), np.zeros(16)
    for x in xs:
        gates = np.dot(W, x) + np.dot(U, h) + b
        i, f, o = 1.0 / (1.0 + np.exp(-gates[:16])), 1.0 / (1.0 + np.exp(-gates[16:32])), 1.0 / (1.0 + np.exp(-gates[32:48]))
        c = f * c + i * np.tanh(gates[48:])
        h = o * np.tanh(c)
    return np.sum(h * h)


def workloads():
    """name -> (function of (numpy, parameters, data ...), arguments)."""
    rng = np.random.default_rng(0)

    def normal(*shape):
        return rng.normal(size=shape)

    widths = (8, 16, 16, 4)
    layers = [(normal(m, n) / np.sqrt(m), 0.1 * normal(n)) for m, n in zip(widths, widths[1:])]
    return {
        "Rosenbrock n=2": (rosenbrock_2, (np.array([-1.2, 1.0]),)),
        "Rosenbrock n=100": (rosenbrock_n, (normal(100),)),
        "chain of transcendentals, 10^4": (chain, (normal(10_000),)),
        "logistic regression 200 x 10": (logistic, (normal(10), normal(200, 10), np.sign(normal(200)))),
        "MLP 8-16-16-4, batch 32": (perceptron, (layers, normal(32, 8), np.eye(4)[rng.integers(4, size=32)])),
        "loop of 1000 scalar operations": (loop, (0.7,)),
        "LSTM, 20 steps of width 16": (lstm, ((normal(64, 16) / 4, normal(64, 16) / 4, normal(64)), list(normal(20, 16)))),
    }


def leaves(tree):
    return [x for part in tree for x in leaves(part)] if isinstance(tree, (list, tuple)) else [tree]


def operations(f, args):
    """Recorded nodes without the inputs."""
    graph = de.trace(lambda p: f(np, p, *args[1:]), args[0])
    return sum(graph.nodes[k]["primitive"] not in ("input", "constant") for k in graph)


def compare(f, args):
    """Best microseconds of (plain NumPy, autograd, diffeng), value and gradient."""
    theirs, ours = autograd.value_and_grad(lambda p: f(anp, p, *args[1:])), de.value_and_grad(lambda p: f(np, p, *args[1:]))
    (value, gradient), (known, expected) = ours(args[0]), theirs(args[0])
    np.testing.assert_allclose(value, known, rtol=1e-12)
    for mine, other in zip(leaves(gradient), leaves(expected), strict=True):
        np.testing.assert_allclose(mine, other, rtol=1e-9, atol=1e-12)
    runs = [lambda: f(np, *args), lambda: theirs(args[0]), lambda: ours(args[0])]
    best = [np.inf] * len(runs)
    counts = [max(1, int(SECONDS / once(run))) for run in runs]
    for _ in range(ROUNDS):
        for k, (run, count) in enumerate(zip(runs, counts)):
            for _ in range(count):
                began = time.perf_counter()
                run()
                best[k] = min(best[k], time.perf_counter() - began)
    return [b * 1e6 for b in best]


def once(run):
    run()
    began = time.perf_counter()
    run()
    return time.perf_counter() - began


def main(chosen):
    print(f"value and gradient, microseconds a call, best of all in {ROUNDS} rounds; the last columns: microseconds an operation, gradient included")
    print(f"{'workload':<32}{'operations':>11}{'plain':>9}{'autograd':>10}{'diffeng':>9}{'ratio':>7}{'autograd':>10}{'diffeng':>9}")
    for name, (f, args) in workloads().items():
        if chosen and not any(c.lower() in name.lower() for c in chosen):
            continue
        n = operations(f, args)
        plain, theirs, ours = compare(f, args)
        print(f"{name:<32}{n:>11}{plain:>9.1f}{theirs:>10.1f}{ours:>9.1f}{theirs / ours:>7.2f}{theirs / n:>10.2f}{ours / n:>9.2f}", flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
