"""The symbolic witness: sympy differentiates each primitive's definition, on tensors; nobody writes a derivative down.

What it is: `DEFINITION`, one row a primitive, and the way from a row to numbers. Elementwise rows are sympy functions of scalars,
reductions and contractions are index notation, structural primitives are index maps whose adjoint sums over the preimage. The
chain rule joins the local results as named intermediates, so no formula swells, and everything is computed by primitives: on
arrays, on nodes (the derivative is then a graph), on dual numbers and in 100 digits.

What it is not: no table of derivatives. What sympy needs help with is the list REWRITES in definitions.py: identities, each with its reason.

Why a package, and its rooms:
    definitions.py      DEFINITION and REWRITES: all that a mathematician has to read
    emit.py             a sympy formula as a list of calls of primitives; exact constants
    index_notation.py   sums and products over indices: Kronecker deltas collapse, contractions become matrix products
    index_maps.py       out[p] = in[phi(p)]: phi by running the primitive on positions, the adjoint sums over the preimage
    chain.py            pull, value, gradient: the local derivative, the local value, and the chain rule over nodes
"""
from .chain import FAULTS, derivative_expression, gradient, pull, value          # noqa: F401
from .definitions import DEFINITION, REWRITES                                     # noqa: F401
