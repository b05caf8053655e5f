"""Products with scipy.sparse matrices that hold plain numbers: A @ x, A.dot(x), x @ A, and A * x of the older classes (csr_matrix and the like).

scipy.sparse asks for a plain array of what it multiplies; where there is none it lets the other operand say what the product is, as Python's protocol has it
(Traced.__array__ tells it so). The product is a sum of terms: entries of x where the matrix has some, times these, added up by rows.
"""
import sys

import numpy as np

from ..errors import refuse
from ..operators import OTHERWISE
from ..vocabulary import indexing


def _is_sparse(x, classes="issparse"):
    return "scipy.sparse" in sys.modules and getattr(sys.modules["scipy.sparse"], classes)(x)


def _product(a, x):
    """A @ x. a: a sparse matrix or array of two axes, (m, n); x: a traced array, (n,) or (n, k)."""
    if a.ndim != 2 or np.ndim(x) not in (1, 2) or a.shape[1] != x.shape[0]:
        cure = "write a * (A @ x) for (a * A) @ x" if not np.ndim(x) else "shapes must be (m, n) and (n,) or (n, k)"
        raise refuse(ValueError, f"matmul{{here}}: a sparse array of shape {a.shape} times an array of shape {x.shape}; {cure}")
    a = a.tocoo()
    rows, columns = a.row.astype(np.intp), a.col.astype(np.intp)
    terms = (a.data if x.ndim == 1 else a.data[:, None]) * x[columns]
    return indexing.scatter(terms, rows, index=(indexing.Slot(0),), shape=(a.shape[0], *x.shape[1:]))


def _products(is_one):
    """(x @ a, a @ x), or NotImplemented where a is no such matrix."""
    return (lambda x, a: np.transpose(_product(a.T, np.transpose(x))) if is_one(a) else NotImplemented,
            lambda x, a: _product(a, x) if is_one(a) else NotImplemented)


OTHERWISE["matmul"] = _products(_is_sparse)
OTHERWISE["multiply"] = _products(lambda a: _is_sparse(a, "isspmatrix"))
