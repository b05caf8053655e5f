"""From a graph to a program of compiled kernels.

    program = Program(inputs, outputs)         nodes in, a callable out
    compilations                               kernels compiled in this process so far

Rooms: lower.py (what each primitive asks for), fuse.py (which operations share a loop), contract.py (products), layout.py (views and strides),
scalar.py (one expression a primitive), source.py (kernel texts), elementary.py with values.py and coefficients.py (exp, sin, erf, ...: what vectorises),
cpu.py (intrinsics, compilation), machine.py (compiled kernels, the driver), cache.py (kernels on disk), memory.py, threads.py. Nothing else in the
package imports numba, and it is imported when the first kernel is compiled.
"""
import sys

from .program import Program

__all__ = ["Program", "compilations"]


def __getattr__(name):
    if name == "compilations":
        machine = sys.modules.get(__name__ + ".machine")
        return 0 if machine is None else machine.compilations
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
