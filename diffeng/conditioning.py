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


def _each(x):
    return np.asarray(x)[..., None, None]


class _Sizes:
    """Of the matrices that an operation begins with: `matrix`, `inverse`, and of the triangular factor of cholesky."""

    def __init__(self, name, operands, z):
        self.z = np.absolute(z)
        base = z if name == "cholesky" else operands[0]
        self.matrix = np.absolute(base)
        try:
            inverse = np.absolute(np.linalg.inv(base))
        except np.linalg.LinAlgError:                  # a determinant of 0 has its size all the same
            inverse = np.zeros_like(self.matrix)
        self.inverse = inverse @ self.matrix @ inverse
        if name in ("det", "cofactor"):
            s = np.linalg.svd(base, compute_uv=False)
            self.cofactor = np.absolute(_each(np.linalg.det(base)) * _t(inverse)) + _each(np.prod(s[..., :-1], axis=-1))
        self.right = np.absolute(operands[1]) if name == "solve" else None


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
    "cholesky": (lambda k: k.z @ np.tril(k.inverse @ k.z @ _t(k.z) @ _t(k.inverse)),
                 (lambda k, g: (lambda s: s + _t(s))(_t(k.inverse) @ np.tril(_t(k.z) @ g) @ k.inverse),),
                 (lambda k, v: k.z @ np.tril(k.inverse @ (v + _t(v)) @ _t(k.inverse)),)),
}


def of_value(name, operands, z):
    return np.absolute(z) if name not in _ROWS else _ROWS[name][0](_Sizes(name, operands, z))


def pulled(name, slot, g, operands, z):
    return _ROWS[name][1][slot](_Sizes(name, operands, z), g)


def pushed(name, slot, v, operands, z):
    return _ROWS[name][2][slot](_Sizes(name, operands, z), v)
