"""Does the cost of an operation stay flat? A function of 10^3 to 10^6 scalar operations and its derivative: uncompiled, in forward mode, and under jit.

Run: python benchmarks/chain_of_operations.py [--most 1000000]
Each number is taken in a process of its own. Under jit: the first call with an empty cache, the first call of a second process (which finds the kernels and the
planned program on disk), and a steady call.
Expected: the same microseconds an operation at every length (nodes are lean and walked once; nothing is searched), well under a millisecond for compiling, and
no recursion. The control is the loop itself on NumPy's scalars: what the machine does today. 10^6 operations under jit take minutes and some 10 GB.
"""
import argparse
import json
import os
import pathlib
import resource
import subprocess
import sys
import tempfile
import time

import numpy as np

sys.path.insert(0, str(pathlib.Path(__file__).parent.parent))

STEP = 3                                     # operations in one step of the loop
WAYS = ("control", "reverse", "forward", "jit")
LONGEST = {"forward": 100_000}


def chain(n):
    """A function of n scalar operations with a derivative of about 1."""
    def f(x):
        for _ in range(n // STEP):
            x = x + 1e-7 * np.sin(x)
        return x
    return f


def derivative(x, n):
    """Of the chain, by the product of its steps' derivatives."""
    out = 1.0
    for _ in range(n // STEP):
        out *= 1 + 1e-7 * np.cos(x)
        x = x + 1e-7 * np.sin(x)
    return out


def measure(way, n):
    """Print {"first", "steady": microseconds an operation, "megabytes": the peak}."""
    import diffeng as de
    f, x = chain(n), np.float64(1.0)
    run = f if way == "control" else de.jit(de.grad(f)) if way == "jit" else de.grad(f, method=way)
    times = []
    for _ in range(4 if n < 10 ** 6 else 2):
        began = time.perf_counter()
        found = run(x)
        times.append(time.perf_counter() - began)
    if way != "control":
        assert abs(found - derivative(x, n)) < 1e-9, "wrong"
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps({"first": times[0] / n * 1e6, "steady": min(times[1:]) / n * 1e6, "megabytes": peak}))


def ask(way, n, **environment):
    done = subprocess.run([sys.executable, __file__, "--way", way, "--most", str(n)], env={**os.environ, **environment}, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"{way}, {n} operations: {done.stderr.strip()[-500:]}")
    return json.loads(done.stdout)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--most", type=int, default=10 ** 6, help="operations of the longest chain")
    parser.add_argument("--way", choices=WAYS, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.way:
        return measure(asked.way, asked.most)
    print("microseconds an operation (and megabytes at the peak)")
    print(f"{'operations':>10} {'control':>9} {'reverse':>9} {'':>9} {'forward':>9} {'jit: empty cache':>18} {'':>9} {'second process':>15} {'steady':>9}")
    n = 1000
    while n <= asked.most:
        with tempfile.TemporaryDirectory() as folder:
            row = {way: ask(way, n) for way in WAYS[:3] if n <= LONGEST.get(way, n)}
            cold, warm = ask("jit", n, DIFFENG_CACHE=folder), ask("jit", n, DIFFENG_CACHE=folder)
        steady = {way: f"{r['steady']:9.2f}" for way, r in row.items()}
        print(f"{n:>10} {steady['control']} {steady['reverse']} {row['reverse']['megabytes']:6.0f} MB {steady.get('forward', '-'):>9} {cold['first']:18.1f} "
              f"{cold['megabytes']:6.0f} MB {warm['first']:15.1f} {warm['steady']:9.4f}", flush=True)
        n *= 10
    return None


if __name__ == "__main__":
    main()
