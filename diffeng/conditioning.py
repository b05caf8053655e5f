"""How large the terms are behind what is made of whole matrices: what rounding can do to a solution, an inverse, a determinant, and to their derivatives.

What it is: for magnitude.py the size of a value, of what it hands to an operand, and of its tangent. The inverse counts as |inv(A)| |A| |inv(A)|, entry by
entry: so much, times the rounding unit, can be wrong with it (N. Higham, Accuracy and Stability of Numerical Algorithms, 2nd ed., 2002, 7.2 and 14.1). Sizes
judge nobody. What it is not: no derivative: absolute values, and no signs.
"""
import numpy as np


def _t(x):
    return np.swapaxes(x, -1, -2)


def _sum(x):
    return np.sum(x, axis=(-2, -1))


def _most(x):
    return np.max(x, axis=(-2, -1), keepdims=True, initial=0)


def _each(x):
    return np.asarray(x)[..., None, None]


class _Sizes:
    """Of the matrices that an operation begins with: `matrix`, `inverse`, and of the triangular factor of cholesky."""

    def __init__(self, name, operands, z):
        self.z = np.absolute(z)
        base = z if name == "cholesky" else operands[0]
        if name in ("eigh", "qr", "svd"):
            self._of_factors(name, base, z)
            return
        self.matrix = np.absolute(base)
        if name != "cholesky":                         # elimination exchanges rows: an entry can be off by what a larger one is rounded to
            self.matrix = np.maximum(self.matrix, np.max(self.matrix, axis=(-2, -1), keepdims=True, initial=0))
        try:
            inverse = np.absolute(np.linalg.inv(base))
        except np.linalg.LinAlgError:                  # a determinant of 0 has its size all the same
            inverse = np.zeros_like(self.matrix)
        self.inverse = inverse @ self.matrix @ inverse
        if name in ("det", "cofactor"):
            s = np.linalg.svd(base, compute_uv=False)
            spread = s[..., 0] / np.where(s[..., -2] == 0, 1, s[..., -2]) if s.shape[-1] > 1 else 0          # how far the last vectors turn
            self.cofactor = np.absolute(_each(np.linalg.det(base)) * _t(inverse)) + _each(np.prod(s[..., :-1], axis=-1) * (1 + spread))
        if name == "cholesky":
            self.often = 1 + np.max(inverse @ self.matrix, axis=(-2, -1), keepdims=True, initial=0)
        self.right = np.absolute(operands[1]) if name == "solve" else None

    def _of_factors(self, name, x, z):
        """norm: of x; near: how far the vectors turn for a change of x."""
        self.shape = x.shape
        self.norm, n = np.sqrt(np.sum(np.square(x), axis=(-2, -1), keepdims=True)), x.shape[-1]
        least = np.finfo(x.dtype).eps * self.norm                            # values that are nearer than this are not told apart
        if name == "eigh":
            gap = np.maximum(np.absolute(z[..., 0, None, :] - z[..., 0, :, None]), least)
            self.near = _most(np.where(np.eye(n, dtype=bool) | (gap == 0), 0, 1 / np.where(gap == 0, 1, gap)))
            self.scale = np.concatenate([np.broadcast_to(self.norm, (*x.shape[:-2], 1, n)), np.broadcast_to(1 + self.near * self.norm, x.shape)], axis=-2)
        elif name == "svd":
            m, k = x.shape[-2], min(x.shape[-2:])
            s = z[..., m, :]
            gap = np.absolute(s[..., None, :] - s[..., :, None]) + np.where(np.eye(k, dtype=bool), s[..., None, :], 0)          # and s itself, over which is divided
            gap = np.maximum(gap, least)
            self.near = _most(np.where(gap == 0, 0, 1 / np.where(gap == 0, 1, gap)))
            turned = 1 + self.near * self.norm
            self.scale = np.concatenate([np.broadcast_to(a, (*x.shape[:-2], rows, k)) for a, rows in ((turned, m), (self.norm, 1), (turned, n))], axis=-2)
        else:
            smallest = np.min(np.linalg.svd(x, compute_uv=False), axis=-1)[..., None, None] if x.size else self.norm
            self.near = 1 / np.where(smallest == 0, 1, smallest)
            self.scale = np.concatenate([np.broadcast_to(self.near * self.norm, x.shape), np.broadcast_to(self.norm, (*x.shape[:-2], n, n))], axis=-2)

    def pulled_through(self, g):
        """Of a cotangent of size g, by matrices of length 1: its sum, and as much more as the factors can be off."""
        total = np.sum(g * self.scale, axis=(-2, -1), keepdims=True)
        return total * (self.near + 1 / np.where(self.norm == 0, 1, self.norm)) * np.ones(self.shape)

    def pushed_through(self, v):
        return np.sum(v, axis=(-2, -1), keepdims=True) * (1 + self.near) * self.scale


# of the value; of what comes to each operand from a cotangent of size g; of the tangent along one of size v
_ROWS = {
    "solve":    (lambda k: k.inverse @ k.right,
                 (lambda k, g: _t(k.inverse) @ g @ _t(k.inverse @ k.right),                 lambda k, g: _t(k.inverse) @ g),
                 (lambda k, v: k.inverse @ v @ (k.inverse @ k.right),                       lambda k, v: k.inverse @ v)),
    "inv":      (lambda k: k.inverse,
                 (lambda k, g: _t(k.inverse) @ g @ _t(k.inverse),),                         (lambda k, v: k.inverse @ v @ k.inverse,)),
    "det":      (lambda k: _sum(k.matrix * k.cofactor),
                 (lambda k, g: _each(g) * k.cofactor,),                                     (lambda k, v: _sum(v * k.cofactor),)),
    "slogdet":  (lambda k: k.z + _sum(k.matrix * _t(k.inverse)),
                 (lambda k, g: _each(g) * _t(k.inverse),),                                  (lambda k, v: _sum(v * _t(k.inverse)),)),
    "cofactor": (lambda k: k.cofactor,
                 (lambda k, g: _each(_sum(g * _t(k.inverse))) * k.cofactor + k.cofactor @ _t(g) @ _t(k.inverse),),
                 (lambda k, v: _each(_sum(v * _t(k.inverse))) * k.cofactor + _t(k.inverse) @ _t(v) @ k.cofactor,)),
    **dict.fromkeys(("eigh", "qr", "svd"), (lambda k: k.scale, (lambda k, g: k.pulled_through(g),), (lambda k, v: k.pushed_through(v),))),
    "cholesky": (lambda k: k.z @ np.tril(k.inverse @ k.z @ _t(k.z) @ _t(k.inverse)),
                 (lambda k, g: (lambda s: k.often * (s + _t(s)))(_t(k.inverse) @ np.tril(_t(k.z) @ g) @ k.inverse),),
                 (lambda k, v: k.often * (k.z @ np.tril(k.inverse @ (v + _t(v)) @ _t(k.inverse))),)),
}


def of_value(name, operands, z):
    return np.absolute(z) if name not in _ROWS else _ROWS[name][0](_Sizes(name, operands, z))


def pulled(name, slot, g, operands, z):
    return _ROWS[name][1][slot](_Sizes(name, operands, z), g)


def pushed(name, slot, v, operands, z):
    return _ROWS[name][2][slot](_Sizes(name, operands, z), v)
