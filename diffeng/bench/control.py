"""What the machine can do, measured before anything else: products, memory, elementary functions.

Every figure of the table is read against these ceilings. What it is not: no peer and no workload. Why a file: a control must not depend on what it controls.
"""
import importlib.metadata
import platform
import threading
import time

import numpy as np

from ..kernels import blas
from . import threads


def best(call, seconds=0.3, at_least=3):
    """The shortest of as many calls as fit into so many seconds."""
    times, end = [], time.perf_counter() + seconds
    while len(times) < at_least or time.perf_counter() < end:
        began = time.perf_counter()
        call()
        times.append(time.perf_counter() - began)
    return min(times)


def gemm(dtype, n=1536):
    """GFLOP/s of an n x n product, by NumPy or by the BLAS that programs use: whichever is faster."""
    import diffeng as de
    a, b, c = (np.ones((n, n), dtype) for _ in range(3))
    run = de.jit(np.matmul)
    run(a, b)
    return 2e-9 * n ** 3 / min(best(lambda: np.matmul(a, b, out=c), 1.0), best(lambda: run(a, b), 1.0))


def add(n, parts, repeats):
    """GB/s of a = b + c over n float64 (24 bytes an entry; STREAM's Add moves what its Triad moves), in so many threads."""
    rows = [[np.ones(n) for _ in range(3)] for _ in range(parts)]

    def run(a, b, c):
        for _ in range(repeats):
            np.add(b, c, out=a)

    def together():
        others = [threading.Thread(target=run, args=row) for row in rows[1:]]
        for t in others:
            t.start()
        run(*rows[0])
        for t in others:
            t.join()
    return 24e-9 * n * parts * repeats / best(together)


def exp_numpy(n=1_000_000):
    """ns an entry of np.exp, float64, on one thread."""
    x = np.linspace(-5.0, 5.0, n)
    out = np.empty(n)
    return best(lambda: np.exp(x, out=out)) / n * 1e9


def exp_diffeng(n=4096):
    """ns an entry of diffeng's own exp on one thread (an array too small to be shared out, its call taken off)."""
    import diffeng as de
    run, x, one = de.jit(np.exp), np.linspace(-5.0, 5.0, n), np.linspace(-5.0, 5.0, 2)
    return max(best(lambda: [run(x) for _ in range(50)]) - best(lambda: [run(one) for _ in range(50)]), 0.0) / 50 / n * 1e9


def measure(progress=lambda text: None):
    """{"gemm float32": GFLOP/s, ..., "add 1 thread": GB/s, ..., "exp": ns, ...}"""
    progress("control: matrix products")
    found = {"gemm float32": gemm(np.float32), "gemm float64": gemm(np.float64)}
    progress("control: memory")
    for parts in range(1, threads.count() + 1):
        found[f"add {parts}"] = add(8_000_000 // parts, parts, 1)
    found["add in cache"] = add(8_000, 1, 200)
    progress("control: elementary functions")
    found["exp numpy"], found["exp diffeng"] = exp_numpy(), exp_diffeng()
    return found


def processor():
    """The processor's name and the number of cores allowed."""
    model = platform.processor() or platform.machine()
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as file:
            fields = [line.partition(":")[2].strip() for line in file if line.startswith(("model name", "cpu family"))][:2]
        model = ", family ".join(sorted(fields, key=str.isdecimal)) or model
    except OSError:
        pass
    return model


def versions(peers):
    """{"Python": ..., "numpy": ..., package: version}: of whatever is installed. NumPy's says which kernels its OpenBLAS has chosen, which halve or double products."""
    core, own = blas.core(), "; diffeng's own products" if blas.is_held_back() else ""
    found = {"Python": platform.python_version(), "numpy": np.__version__ + (f" (OpenBLAS for {core}{own})" if core else "")}
    for package in ("scipy", "numba", "llvmlite", "mkl", *dict.fromkeys(p.package for p in peers)):
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            found[package] = None
    return found
