"""From a graph to a program of compiled kernels.

    program = Program(inputs, outputs)         nodes in, a callable out
    compilations                               kernels compiled in this process so far

Rooms: planning.py (the way from nodes to instructions), choice.py (which plan is taken), image.py (its outcome as data, kept on disk), program.py (linked and called); stacking.py,
shifted.py, slopes.py with ranges.py, and recompute.py (the graph before it is lowered), lower.py (what each primitive asks for), reduce.py (reductions),
contract.py and cutting.py (products, and their parts), fuse.py (which operations share a loop), tiles.py and zeros.py (chains taken through the cache),
accumulate.py (products that BLAS adds), joining.py (parts computed where they will lie), layout.py (views and strides), groups.py, plans.py and loops.py (the
loop nest of a group, and its code; across.py where rows are short; sizes.py what is short or large, families.py
which shapes of a graph have kernels, general.py with extents.py what it would be in a shape where nothing is equal by chance), scans.py (running sums), turns.py with entries.py, and
repeated.py (loops), matrices.py, minors.py and cofactors.py (whole matrices),
code.py and values.py (LLVM's instructions as Python's operators), scalar.py (one rule a primitive), elementary.py and inverse.py with coefficients.py (exp,
sin, arctan, ...: what vectorises), compile.py, machine.py, objects.py, cache.py (kernels compiled, in this process, put into memory, on disk), memory.py,
donation.py, blas.py, gemm.py, runtime.py, native.py, native_turns.py, blocks.py and threads.py (calls). Nothing else in the package imports llvmlite, and it is imported when the first
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
