"""Does the cost of an operation stay flat? Forward and reverse mode, uncompiled, over chains of 10^3 to 10^5 scalar operations.

Run: python benchmarks/chain_of_operations.py
Expected: the same microseconds an operation at every length (nodes are lean and walked once; nothing is searched), and no recursion.
The control is a loop of plain NumPy scalar operations: what the machine itself does today.
"""
import time

import numpy as np

import diffeng as de


def chain(n):
    def f(x):
        for _ in range(n // 2):
            x = x * 0.5 + 0.25
        return x
    return f


def best(run, repeats=3):
    times = []
    for _ in range(repeats):
        began = time.perf_counter()
        run()
        times.append(time.perf_counter() - began)
    return min(times)


def main():
    print(f"{'operations':>10}  {'control':>10}  {'reverse':>10}  {'forward':>10}   microseconds an operation")
    for n in (1_000, 10_000, 100_000):
        f, row = chain(n), []
        for method in ("reverse", "forward"):
            derivative = de.grad(f, method=method)
            assert abs(derivative(3.0) - 0.5 ** (n // 2)) < 1e-300 + 1e-12 * 0.5 ** (n // 2), "wrong before it is timed"
            row.append(best(lambda: derivative(3.0)) / n * 1e6)
        control = best(lambda: f(np.float64(3.0))) / n * 1e6
        print(f"{n:>10}  {control:10.3f}  {row[0]:10.2f}  {row[1]:10.2f}")


if __name__ == "__main__":
    main()
