"""Complex numbers inside of a function: pairs of real ones.

What it is: `Complex`, a real and an imaginary part, each an array or a traced value of any kind; and what each primitive does with them, in real primitives alone. So no
book of derivatives knows of it, and whatever there is for real functions there is for these: every method, the judge, jit, vmap. Values become complex where they
meet complex numbers, and are real again as z.real, z.imag, np.abs(z), np.angle(z).
What it is not: no complex derivative. Inputs that are differentiated, and results, are real. Elementary functions are in complex_functions.py, transforms in
numpy_functions/fourier.py.
Why a file: it is one more interpreter, above all others: what it holds are their values.
"""
import itertools
import sys
import warnings

import numpy as np

from .complex_functions import FUNCTIONS, divided, power, times
from .errors import refuse
from .interpreters import Interpreter
from .lines import by_library
from .refusals import fixed
from .traced import ALIASES, Traced, unaliased, viewing
from .vocabulary import elementwise as e, linalg, reductions, shaping

CURE = "there are arithmetic, powers, exponentials and logarithms, trigonometric and hyperbolic functions, sums, products, np.linalg.solve, inv and eigvalsh; "\
       "of others write the real and the imaginary part (z.real, z.imag)"
_FLOAT64 = np.dtype(float)
_DTYPES = {_FLOAT64: np.dtype(np.complex128), np.dtype(np.float32): np.dtype(np.complex64)}


class Complex(Traced):
    """A complex array: re and im, of one shape and floating-point dtype; of a Python number Python's floats, which take the dtype of what they meet."""

    __slots__ = ("re", "im", *ALIASES)

    def __init__(self, re, im):
        self.re, self.im = re, im

    shape = fixed(lambda self: getattr(self.re, "shape", ()), "shape")
    dtype = fixed(lambda self: _DTYPES[self.re.dtype if hasattr(self.re, "dtype") else _FLOAT64], "dtype")

    @property
    def below(self):
        """What decides how it is computed: the part of the higher level."""
        return max((x for x in (self.re, self.im) if isinstance(x, Traced)), key=lambda x: x.interpreter.level, default=self.re)

    def _adopt(self, other):
        self.re, self.im = _both(getattr(other, "held", other), self.dtype)

    def _look(self, kind, convert):
        if kind == "mask":
            return combined(*[x._look(kind, convert) if isinstance(x, Traced) else np.asarray(x) for x in (self.re, self.im)])
        if kind == "format":
            return complex(*[x._look(kind, convert) if isinstance(x, Traced) else convert(x) for x in (self.re, self.im)])
        if kind != "bool":
            raise refuse(TypeError, f"{kind}(z){{here}} of a complex number: write z.real, z.imag or np.abs(z)")
        truth = e.not_equal(self, 0)
        return truth._look(kind, convert) if isinstance(truth, Traced) else convert(truth)

    def __array__(self, dtype=None, copy=None):
        if isinstance(self.re, Traced) or isinstance(self.im, Traced):
            return super().__array__(dtype, copy)
        return np.array(combined(self.re, self.im), dtype)

    def __repr__(self):
        return f"<{self.re!r} + {self.im!r} i>"


class _Pairs(Interpreter):
    """Applies a primitive to the parts. Also of plain complex arrays, where others have met them (interpreters.complex_result)."""

    lasting = True

    def __init__(self):
        self.level = sys.float_info.max                      # below what unwraps buffers

    def apply(self, primitive, operands, params):
        rule = _RULES.get(primitive.name)
        if rule is None:
            raise refuse(TypeError, f"{primitive.name}{{here}} of complex numbers is not known to diffeng: {CURE}")
        if any([type(x) is Complex and type(x.re) is float for x in operands]):
            operands = _met(operands)
        out = rule(primitive, operands, params)
        return joined(*out) if type(out) is tuple else out

    def is_number(self, x):
        return not any([hasattr(part, "dtype") and not (isinstance(part, Traced) and part.interpreter.is_number(part)) for part in (x.re, x.im)])


PAIRS = Complex.interpreter = _Pairs()


# ---- pairs of parts ----------------------------------------------------------------------------------------------------------------

def is_complex(x):
    """An array, a traced value or a number that is complex?"""
    return getattr(getattr(x, "dtype", None), "kind", None) == "c" or isinstance(x, complex)


def parts(x):
    """(real part, imaginary part) of an operand, or (x, None) of one that is real."""
    x = getattr(x, "held", x)                                # of a buffer
    return (x.re, x.im) if type(x) is Complex else (x.real, x.imag) if is_complex(x) else (x, None)


def paired(x):
    """A plain complex number or array as one of these, so that whoever meets it asks here what to do."""
    if getattr(x, "dtype", np.dtype(complex)).itemsize > 16:
        raise refuse(TypeError, f"complex numbers of dtype {x.dtype}{{here}}: diffeng computes in complex128 and complex64; convert with astype(complex)")
    return Complex(x.real, x.imag)


def combined(re, im):
    """A complex array, or number, of plain parts; else the value that they have."""
    if isinstance(re, Traced) or isinstance(im, Traced):
        return joined(re, im)
    if isinstance(re, float) and isinstance(im, float) and not hasattr(re, "dtype"):
        return complex(re, im)
    if isinstance(re, (np.ndarray, np.generic, float, int)):
        out = np.empty(np.broadcast_shapes(np.shape(re), np.shape(im)), np.result_type(re, im, np.complex64))
        out.real, out.imag = re, im
        return out[()] if not out.shape else out
    return None if re is None else re + im * 1j              # of a device; of parts that are left out


def joined(re, im):
    """The complex value of two parts. Of plain ones, which are those of arrays made inside of the function, a plain array that may be written into, too."""
    re, im = [x.share() if hasattr(x, "held") else x for x in (re, im)]
    if not isinstance(re, Traced) and not isinstance(im, Traced):
        from .buffers import fillable
        out = combined(re, im)
        return out if by_library() else fillable(out)
    kinds = [getattr(x, "dtype", None) for x in (re, im)]
    if kinds[0] is not kinds[1] or kinds[0] not in _DTYPES or re.shape != im.shape:
        shape = np.broadcast_shapes(getattr(re, "shape", ()), getattr(im, "shape", ()))
        floats = [d for d in kinds if d is not None and d.kind == "f"]
        dtype = np.result_type(*floats, np.float32) if floats else _FLOAT64
        re, im = [_filled(x, shape, dtype) for x in (re, im)]
    return Complex(re, im)


def _met(operands):
    """Operands, of which Python's complex numbers are in the dtype of what they meet: what is computed of their parts alone would be float64."""
    dtypes = [x.dtype for x in operands if hasattr(x, "dtype") and not (isinstance(x, Traced) and x.interpreter.is_number(x))]
    dtype = np.result_type(*[d for d in dtypes if d.kind in "fc"] or [float])
    number = dtype.type if dtype.kind == "f" else np.empty(0, dtype).real.dtype.type
    return [Complex(number(x.re), number(x.im)) if type(x) is Complex and type(x.re) is float else x for x in operands]


def _filled(x, shape, dtype):
    x = x if hasattr(x, "dtype") else np.asarray(x, dtype)
    x = x if x.dtype == dtype else e.astype(x, dtype=dtype)
    return x if x.shape == shape else shaping.broadcast_to(x, shape=shape)


def _zero(x):
    """The imaginary part of a real array."""
    return np.broadcast_to(np.zeros((), x.dtype if x.dtype.kind == "f" else float), x.shape)


def _both(x, dtype):
    """The parts of a value as an array of this complex dtype holds them."""
    x = x if hasattr(x, "dtype") else np.asarray(x)
    a, b = parts(unaliased(x) if type(x) is not Complex and isinstance(x, Traced) else x)          # (a real one may be written into later)
    real = np.empty(0, dtype).real.dtype
    return [_filled(part, x.shape, real) for part in (a, _zero(a) if b is None else b)]


# ---- rules: (primitive, operands, parameters) -> (real part, imaginary part), or a real result --------------------------------------------


def _linear(count=None):
    """The same of both parts. count: of the operands that are values, if others follow."""
    def rule(primitive, operands, params):
        pairs, others = [parts(x) for x in operands[:count]], operands[len(operands[:count]):]
        if primitive.kind != "map":
            pairs = [(a, _zero(a) if b is None else b) if hasattr(a, "dtype") else (a, 0.0 if b is None else b) for a, b in pairs]
        return tuple([primitive(*[0.0 if x is None else x for x in side], *others, **params) for side in zip(*pairs)])
    return rule


def _pad(primitive, operands, params):
    value = complex(params["value"])
    return tuple([primitive(x, **{**params, "value": v}) for x, v in zip(parts(operands[0]), (value.real, value.imag))])


def _choice(primitive, operands, params):
    test, *values = operands
    test = e.not_equal(test, 0) if is_complex(test) else test
    return tuple([primitive(test, *[0.0 if x is None else x for x in side]) for side in zip(*map(parts, values))])


def _products(primitive, operands, params):
    """A product of any number of operands, each a sum of two parts."""
    sums = [None, None]
    for chosen in itertools.product(*[[(k, x) for k, x in enumerate(parts(x)) if x is not None] for x in operands]):
        turns = sum([k for k, _ in chosen])                  # i to this power
        term = primitive(*[x for _, x in chosen], **params)
        side = turns % 2
        if sums[side] is None:
            sums[side] = -term if turns % 4 > 1 else term
        else:
            sums[side] = sums[side] - term if turns % 4 > 1 else sums[side] + term
    return tuple(sums)


def _multiply(primitive, operands, params):
    """By a real factor: NumPy's product with a number whose imaginary part is 0, which tells on which side of a cut x * (1 + 0j) is."""
    (a, b), (c, d) = map(parts, operands)
    if b is not None and d is not None:
        return times(a, b, c, d)
    x, c, d = (a, c, d) if b is None else (c, a, b)
    if not hasattr(x, "shape") and x > 0:
        return x * c, x * d
    return x * c, x * d + 0.0 * (e.stop_gradient(c) if isinstance(c, Traced) else c)


def _divide(primitive, operands, params):
    (a, b), (c, d) = map(parts, operands)
    return (a / c, b / c) if d is None else divided(a, b, c, d)


def _power(primitive, operands, params):
    return power(*map(parts, operands))


def _of_function(function):
    return lambda primitive, operands, params: function(*parts(operands[0]))


def _astype(primitive, operands, params):
    (x,), dtype = operands, np.dtype(params["dtype"])
    if dtype.kind == "c":
        if dtype.itemsize > 16:
            raise refuse(TypeError, f"astype{{here}}: diffeng computes in complex128 and complex64, not in {dtype}")
        return tuple(_both(x, dtype))
    if dtype.kind == "b":
        return e.not_equal(x, 0)
    warnings.warn("Casting complex values to real discards the imaginary part", np.exceptions.ComplexWarning, stacklevel=2)
    return primitive(parts(x)[0], dtype=dtype)


def _compared(primitive, operands, params):
    (a, b), (c, d) = map(parts, operands)
    join = e.logical_and if primitive.name == "equal" else e.logical_or
    return join(primitive(a, c), primitive(0.0 if b is None else b, 0.0 if d is None else d))


def _any_part(join):
    return lambda primitive, operands, params: join(*map(primitive, parts(operands[0])))


def _truth(primitive, operands, params):
    """Functions of truth values."""
    return primitive(*[e.not_equal(x, 0) if is_complex(x) else x for x in operands], **params)


def _variance(primitive, operands, params):
    a, b = parts(operands[0])
    return primitive(a, **params) + primitive(b, **params)


def _product(primitive, operands, params):
    """All entries along the axes, two halves at a time."""
    (z,), axes = operands, params["axis"]
    order = (*[k for k in range(z.ndim) if k not in axes], *axes)
    kept = z.shape if not axes else tuple([z.shape[k] for k in order[:z.ndim - len(axes)]])
    z = shaping.reshape(shaping.transpose(z, axes=order), shape=(*kept, int(np.prod([z.shape[k] for k in axes]))))
    while z.shape[-1] > 1:
        half, odd = z.shape[-1] // 2, z[..., z.shape[-1] // 2 * 2:]
        z = z[..., :half] * z[..., half:2 * half]
        z = shaping.concatenate(z, odd, axis=z.ndim - 1) if odd.shape[-1] else z
    z = z[..., 0] if z.shape[-1] else np.ones(kept, z.dtype)
    return np.reshape(z, [1 if k in axes else n for k, n in enumerate(operands[0].shape)]) if params["keepdims"] else z


def _running_product(primitive, operands, params):
    """By doubling: after each turn an entry has as many factors more as are behind it (Hillis, Steele)."""
    (z,), axis, step = operands, params["axis"], 1
    before = (slice(None),) * axis
    while step < z.shape[axis]:
        z = shaping.concatenate(z[(*before, slice(step))], z[(*before, slice(step, None))] * z[(*before, slice(-step))], axis=axis)
        step *= 2
    return z if step > 1 else e.copy(z)


# ---- matrices: of order 2 n, whose columns are [re, im] -----------------------------------------------------------------------------------

def block(a, b):
    """The real matrix that a + ib is for vectors of [re, im]."""
    rows = [shaping.concatenate(x, y, axis=a.ndim - 1) for x, y in ((a, -b), (b, a))]
    return shaping.concatenate(*rows, axis=a.ndim - 2)


def _halves(x, axis):
    n = x.shape[axis] // 2
    before = (Ellipsis, *[slice(None)] * (-1 - axis))
    return x[(before[0], slice(n), *before[1:])], x[(before[0], slice(n, None), *before[1:])]


def _solve(primitive, operands, params):
    (a, b), (c, d) = map(parts, operands)
    if b is None:                                            # the parts are further right-hand sides
        return _halves(primitive(a, shaping.concatenate(c, d, axis=c.ndim - 1), **params), -1)
    return _halves(linalg.solve(block(a, b), shaping.concatenate(c, _zero(c) if d is None else d, axis=c.ndim - 2)), -2)


def _inverse(primitive, operands, params):
    a, b = parts(operands[0])
    return _halves(primitive(block(a, b))[..., :a.shape[-1]], -2)


_RULES = {
    **dict.fromkeys("add subtract negative rint copy stop_gradient barrier sum mean cumsum reshape transpose broadcast_to concatenate stack".split(), _linear()),
    **dict.fromkeys(("getitem", "scatter"), _linear(1)), **dict.fromkeys(("setitem", "add_at"), _linear(2)), "pad": _pad, "where": _choice,
    **dict.fromkeys("matmul dot tensordot einsum".split(), _products), "multiply": _multiply, "divide": _divide, "power": _power,
    **{name: _of_function(f) for name, f in FUNCTIONS.items()}, "astype": _astype,
    **dict.fromkeys(("equal", "not_equal"), _compared), **dict.fromkeys(("isnan", "isinf"), _any_part(e.logical_or)), "isfinite": _any_part(e.logical_and),
    **dict.fromkeys("logical_and logical_or logical_xor logical_not any all".split(), _truth),
    "var": _variance, "prod": _product, "cumprod": _running_product, "solve": _solve, "inv": _inverse,
}


# ---- what arrays have -----------------------------------------------------------------------------------------------------------------------

def part(z, k):
    """z.real or z.imag of a complex array: a view."""
    from .buffers import lent

    def again(z):
        found = parts(z)[k]
        return z if found is None else found                 # (of what stands for its memory, see traced.memory)

    def put(z, value):
        pair = list(parts(z))
        pair[k] = value
        return joined(*pair)
    return viewing(lent(again(z), True), z, again, put)


def conjugate(z):
    a, b = parts(z)
    return joined(a, -b)


def written(x, index, value):
    """A complex x with x[index] = value, which may be real."""
    from .numpy_api import setitem
    (a, b), (c, d) = parts(x), parts(value)
    return joined(setitem(a, index, c), setitem(b, index, 0.0 if d is None else d))


def entries(x, index):
    """x[index] of a complex x."""
    from .numpy_api import getitem
    return joined(*[getitem(part, index) for part in parts(x)])


def squares(x):
    """|x|^2 of real and complex values."""
    if not is_complex(x):
        return e.square(x)
    a, b = parts(x)
    return e.square(a) + e.square(b)
