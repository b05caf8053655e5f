"""Writes docs/vocabulary.md from the tables the engine runs on: python docs/make_vocabulary.py. A test asks whether the file is up to date."""
import inspect
import sys
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parent.parent))          # the tables beside this file, whatever is installed

from diffeng import buffers, linalg as matrices, numpy_api, special          # noqa: E402
from diffeng.nodes import Primitive          # noqa: E402
from diffeng.traced import REFUSED, Traced          # noqa: E402
from diffeng.vocabulary import contraction, elementwise, fourier, indexing, linalg, random, reductions, shaping          # noqa: E402

HEAD = """# The vocabulary

Written by `python docs/make_vocabulary.py` from the engine's own tables; a test fails when it is out of date.

diffeng differentiates plain NumPy code. What that code may call stands in the second half of this page; each call becomes one or a few of the
*primitives* of the first half, which are what the three methods have rules for and what reports name. A function that is not here raises an
error with its name and your line. The test domain of an operand is an open interval in which the primitive is smooth and its derivative is not
small: tests plant their faults there.
"""

ROOMS = [(elementwise, "Elementwise", "One value out for each value in, after broadcasting."),
         (reductions, "Reductions and scans", "Along axes."),
         (shaping, "Shapes", "Every entry of the result is an entry of an operand (or a padding)."),
         (contraction, "Products", "Sums of products."),
         (linalg, "Matrices", "Of the matrices on the last two axes. `slogdet` is log|det|; `cofactor` is det(x) inv(x).T, of singular matrices too. "
          "`cholesky` reads the lower triangle, as NumPy's does, so that the derivative by an entry above the diagonal is 0; so does `eigh`, "
          "where it is told to. `eigh` has the eigenvalues in a row and the vectors below it, `qr` has q and r below it."),
         (fourier, "Fourier transforms", "Of arrays whose last axis, of length 2, has real and imaginary parts (`rfft` of real ones to these, `irfft` back): what "
          "[complex values](complex.md) are transformed by."),
         (indexing, "Parts of arrays", "Reading and writing by index."),
         (random, "Random bits", "Of a key, a counter and a place: no state.")]


def text():
    """The whole page."""
    lines = [HEAD, "## Primitives\n"]
    for module, title, what in ROOMS:
        lines += [f"### {title}\n", what + "\n", "| primitive | parameters | derivative | test domain |", "|---|---|---|---|"]
        lines += [_row(p) for p in vars(module).values() if isinstance(p, Primitive)]
        lines.append("")
    others = [f for f in numpy_api.FUNCTIONS if not isinstance(f, np.ufunc)]
    lines += ["## NumPy functions\n", "As NumPy has them; an option that is not supported on traced values says so when it is used.\n"]
    lines += _listed("`numpy`, ufuncs", [u.__name__ for u in numpy_api.UFUNCS if getattr(np, u.__name__, None) is u])
    lines += _listed("`numpy`, functions", [f.__name__ for f in others if not {"linalg", "fft", "polynomial"} & {*f.__module__.split(".")}])
    lines += _listed("`numpy.linalg`", [f.__name__ for f in others if "linalg" in f.__module__])
    lines += _listed("`numpy.fft`, and of complex values [what else there is](complex.md)", [f.__name__ for f in others if f.__module__ == "numpy.fft"])
    lines += ["Where NumPy does not ask its arguments, while a function is traced: `vectorize` and ufuncs of `frompyfunc`, which call their function entry by entry (a large "
              "array is a large graph); `ndenumerate` and `nditer`, to read; `lib.stride_tricks.as_strided`, to read; `numpy.polynomial`, its functions and classes, of "
              "traced coefficients and at traced points.\n"]
    lines += ["Ufunc methods: `reduce`, `accumulate`, `reduceat` and `outer` of those of two operands, `at` of all; the options `out`, `where` and `dtype`.\n"]
    lines += _listed("ndarray's attributes and methods", [n for n in dir(Traced) if not n.startswith("_") and hasattr(np.ndarray, n) and n not in REFUSED])
    lines += _listed("Constructors that may hold or be filled with traced values", [*buffers.CONSTRUCTORS, *buffers.CONVERTERS, "fromiter", "r_", "c_"])
    lines += ["What these make of plain floating-point numbers is an ndarray, which compiled functions of any library can read; once a traced value was written into it, they "
              "are refused.\n"]
    lines += ["## SciPy\n"]
    lines += _listed("`scipy.special`, ufuncs, used as they are", elementwise.SCIPY + list(special.UFUNC_NAMES))
    lines += _listed("`diffeng.special`, the same and what SciPy's own cannot do on traced values",
                     [n for n, v in vars(special).items() if not n.startswith("_") and (_own(v) or isinstance(v, Primitive))])
    lines += _listed("`diffeng.linalg`, which take traced and plain arrays (SciPy's own convert their arguments)",
                     [n for n, v in vars(matrices).items() if not n.startswith("_") and (_own(v) or n == "norm")])
    lines += ["`scipy.sparse`, arrays and matrices of plain numbers: `A @ x` and `x @ A`, where `x` has one or two axes; of the matrices `A * x`, too.\n"]
    return "\n".join(lines)


def _own(function):
    return inspect.isfunction(function) and function.__module__ in (special.__name__, matrices.__name__, matrices.la.__name__)


def _row(p):
    smooth = "" if p.domain is None or p.slots == () else ", ".join(f"({lo:g}, {hi:g})" for lo, hi in p.domain)
    slots = ("every operand" if p.slots is None and not p.held
             else f"operand {len(p.held)}; the other{'s are' if len(p.held) > 1 else ' is'} held" if p.held
             else ("0: held constant" if p.name == "stop_gradient" else "0: constant between jumps") if p.slots == ()
             else f"operand{'s' * (len(p.slots) > 1)} " + ", ".join(map(str, p.slots)))
    names = [n for n, q in inspect.signature(p.evaluate).parameters.items() if q.kind == q.KEYWORD_ONLY] if inspect.isfunction(p.evaluate) else []
    return f"| `{p.name}` | {', '.join(names)} | {slots} | {smooth} |"


def _listed(title, names):
    return [f"{title}: " + ", ".join(f"`{n}`" for n in sorted(set(names), key=str.lower)) + ".\n"]


if __name__ == "__main__":
    path = Path(__file__).with_name("vocabulary.md")
    path.write_text(text(), encoding="utf-8")
    print(f"written: {path.name}")
