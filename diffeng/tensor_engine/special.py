"""Functions of tensors that are functions of arrays already: diffeng.special's, and NumPy's and SciPy's ufuncs.

What it is: each as one operation, in PyTorch's dtypes; the names of torch.special; those of them that are methods of tensors, too (FUNCTIONS). What it is not: no meaning of
any of them (special.py, numpy_api.py).
"""
import functools

import numpy as np

from .. import special
from ..errors import refuse
from ..numpy_api import UFUNCS, scipy_ufunc
from ..vocabulary import elementwise as e
from .core import Operation, TensorBase, constant
from .functions import operand
from .keywords import with_input
from .rules import cast, promoted, result_type

ALIASES = {"bessel_j0": "j0", "bessel_j1": "j1", "bessel_y0": "y0", "bessel_y1": "y1", "modified_bessel_i0": "i0", "modified_bessel_i1": "i1", "modified_bessel_k0": "k0",
           "modified_bessel_k1": "k1", "scaled_modified_bessel_k0": "k0e", "scaled_modified_bessel_k1": "k1e", "igamma": "gammainc", "igammac": "gammaincc"}          # PyTorch's


@functools.cache
def of_tensors(function, name):
    """A function of arrays, elementwise, as one of tensors: integers are floats first, and the result has the dtype in which the operands meet."""
    def meaning(*operands):
        operands = promoted(*operands, floating=True)
        dtype, found = result_type(*operands), function(*operands)
        return tuple([_like(x, dtype) for x in found]) if isinstance(found, tuple) else _like(found, dtype)

    op = Operation(meaning, name)

    def of(*args, **named):
        args = (*with_input(args, named), *named.values())
        return op(*[operand(x) for x in args])
    of.__name__, of.__doc__ = name, function.__doc__ or f"{name} of tensors."
    return of


def _like(x, dtype):
    return cast(x, dtype) if x.dtype.kind == "f" else x


def polygamma(n, input):
    """The n-th derivative of digamma, n >= 0."""
    return _POLYGAMMA(operand(input), n=_whole("polygamma", n, 0))


def multigammaln(a, p):
    """log of the multivariate gamma function of dimension p, of a > (p - 1)/2."""
    return _MULTIGAMMALN(operand(a), p=_whole("multigammaln", p, 1))


def _whole(name, n, least):
    if isinstance(n, TensorBase) or n != int(n) or n < least:
        raise refuse(RuntimeError, f"{name}{{here}}: {n!r} is no whole number >= {least}")
    return int(n)


def _floating(function):
    def meaning(x, **params):
        (x,) = promoted(x, floating=True)
        return cast(function(x, *params.values()), x.dtype)
    return meaning


_POLYGAMMA = Operation(_floating(lambda x, n: special.polygamma(n, x)), "polygamma")
_MULTIGAMMALN = Operation(_floating(special.multigammaln), "multigammaln")
OWN = {"polygamma": polygamma, "multigammaln": multigammaln, "mvlgamma": multigammaln, "spherical_bessel_j0": of_tensors(lambda x: np.sinc(x / np.pi), "spherical_bessel_j0")}


def named(name):
    """The function of tensors that PyTorch, or diffeng.special, has by this name; None where there is none."""
    from ..tensors import FUNCTIONS as of_pytorch
    own = OWN.get(name) or of_pytorch.get(name)
    if own is not None:
        return own
    name = ALIASES.get(name, name)
    function = getattr(e, name, None) or vars(special).get(name)
    return of_tensors(getattr(function, "__wrapped__", function), name) if callable(function) and name[0] != "_" else None


def call_ufunc(ufunc, method, inputs, kwargs):
    """A ufunc of NumPy's or SciPy's that has no name in PyTorch: an operation where it is known and there are floats to differentiate by, else of the tensors' arrays."""
    floats = any([isinstance(x, TensorBase) and x.dtype.kind == "f" for x in inputs])
    function = (UFUNCS.get(ufunc) or scipy_ufunc(ufunc)) if floats and method == "__call__" and not kwargs else None
    if function is not None:
        return of_tensors(function, ufunc.__name__)(*inputs)
    if any([isinstance(x, TensorBase) and x.requires for x in inputs]):
        raise refuse(RuntimeError, f"np.{ufunc.__name__}{{here}}: there is no derivative of this call for a Tensor that requires grad: use the functions of diffeng, or "
                                   "x.detach(), where none is asked for")
    out = getattr(ufunc, method)(*[x.numpy() if isinstance(x, TensorBase) else x for x in inputs], **kwargs)
    return constant(out) if type(out) is np.ndarray else out


FUNCTIONS = {"erfinv": of_tensors(e.erfinv, "erfinv"), "i0": of_tensors(special.i0.__wrapped__, "i0"), "igamma": of_tensors(e.gammainc, "igamma"),
             "igammac": of_tensors(e.gammaincc, "igammac"), "mvlgamma": multigammaln}
METHODS = {"polygamma": lambda self, n: polygamma(n, self)}
FUNCTIONS_ONLY = {"polygamma": polygamma}
