"""From a graph to a program of compiled kernels.

    program = Program(inputs, outputs)         nodes in, a callable out
    compilations                               kernels compiled in this process so far

The way: a graph is rewritten (simplify.py, stacking.py ... recompute.py), its nodes become operations on views (lower.py, layout.py), operations share loops (fuse.py),
loops and products become chains (tiles.py), loop nests are planned (groups.py) and written (loops.py, code.py, values.py), kernels found or compiled (machine.py, cache.py,
compile.py), and everything is placed, linked and called (memory.py, program.py, runtime.py). planning.py goes it, choice.py chooses among plans, image.py keeps the outcome.
docs/architecture.md has a row for every file, and says why.

Nothing else in the package imports llvmlite, and it is imported when the first
program is built.
"""
import sys

from .program import Program

__all__ = ["Program", "compilations"]


def __getattr__(name):
    if name == "compilations":
        machine = sys.modules.get(__name__ + ".machine")
        return 0 if machine is None else machine.compilations
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
