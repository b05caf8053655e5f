"""Fourier transforms as sums: differentiated by sympy, computed by fast ones.

What it is: a row of DEFINITION says what is summed, linear in the parts of an entry, with cos(t) and sin(t). Its adjoint is sympy's derivative of the sum of g times
that, a sum of the same kind over the entries of the result; and the sums of f cos(t) and of f sin(t) are the parts of one transform of f.
What it is not: no rule of differentiation. What the adjoint of a transform is, is not written down anywhere here.
"""
import numpy as np
import sympy as sp

from ..vocabulary import fourier, shaping
from ..vocabulary.indexing import getitem

X, Y, G, H = sp.symbols("x y g h", real=True)            # the parts of an entry of the operand, and of a cotangent
T, W = sp.symbols("t w", real=True)


def _terms(expression, symbols):
    """[(number of the symbol, of the wave, coefficient)] of a sum of products; w is seen to elsewhere."""
    expression = sp.expand(expression.subs(W, 1))
    found = [(k, j, float(expression.coeff(symbol).coeff(wave))) for k, symbol in enumerate(symbols) for j, wave in enumerate((sp.cos(T), sp.sin(T)))]
    return [term for term in found if term[2]]


class Fourier:
    """A row of DEFINITION, ready to be computed."""

    def __init__(self, row):
        formulas = row.formula(X, Y, T, W)
        whole = sum([g * f for g, f in zip((G, H), formulas)])
        self.of, self.to = row.of, row.to
        self.values = [_terms(f, (X, Y)) for f in formulas]
        self.cotangents = [_terms(sp.diff(whole, part), (G, H)) for part in (X, Y)[:2 - (row.of == "real")]]

    def value(self, x, params):
        return self._sums(self.values, x, self.of, self.to, x, params)

    def pull(self, g, x, params):
        return self._sums(self.cotangents, g, self.to, self.of, x, params)

    def _sums(self, rows, array, of, to, x, params):
        axes, turn = params["axes"], -1 if params.get("inverse") else 1
        last, n = axes[-1], params.get("n", np.shape(x)[axes[-1]])
        norm = params["norm"] if params.get("inverse", self.of == "half") else fourier.TURNED[params["norm"]]                      # by what all sums are multiplied
        numbers = 1 if self.of != "half" else np.where(np.isin(np.arange(n // 2 + 1), (0, n / 2)), 1, 2).astype(array.dtype)
        numbers = np.reshape(numbers, [-1 if k == last else 1 for k in range(np.ndim(x) - (self.of != "real"))])

        def waves(part):
            if of == "half":
                part = part * numbers if self.of == "half" else part
                part = shaping.pad(part, widths=tuple([(0, n - m if k == last else 0) for k, m in enumerate(np.shape(part))]), value=0)
            return _parts(fourier.fft(_packed([part, part * 0]), axes=axes, inverse=True, norm=norm))
        found = [waves(part) for part in ([array] if of == "real" else _parts(array))]
        out = [sum([found[k][j] * (c * (turn if j else 1)) for k, j, c in row]) for row in rows]
        if to == "half":
            out = [getitem(part, index=(slice(None),) * last + (slice(n // 2 + 1),)) for part in out]
            out = [part * numbers for part in out] if self.of == "half" else out
        return out[0] if to == "real" else _packed(out)


def _parts(pairs):
    return [getitem(pairs, index=(Ellipsis, k)) for k in (0, 1)]


def _packed(parts):
    return shaping.concatenate(*[shaping.reshape(x, shape=(*np.shape(x), 1)) for x in parts], axis=np.ndim(parts[0]))
