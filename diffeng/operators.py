"""The operators and protocols of traced values: x + y, x[i], and what NumPy calls.

What it is: one definition of each, for all interpreters, put into Traced. What it is not: no meaning (numpy_api.py); assignments are traced.py's.
"""
import numpy as np

from .errors import refuse
from .nodes import Primitive
from .numpy_api import REAL, UFUNCS, as_written, call_function, call_ufunc, is_basic, operand, setitem, split_index
from . import complex_values, selections
from .traced import NUMBERS, TRACED, Traced, is_scalar, overwrite, viewing, write
from .vocabulary import contraction, elementwise as e, indexing

_NONE = {}                               # the parameters of a primitive that has none
OTHERWISE = {}                           # primitive's name -> (x op other, other op x) for an `other` that is no array; or NotImplemented


def _in_place(compute, name):
    def in_place(self, other):
        out = compute(self, operand(other))
        if type(self) is selections.Chosen and self.takes(out) and out.ndim == self.ndim:
            write(self, as_written(out, self.dtype, name))
            return self
        if out.shape != self.shape:
            raise refuse(ValueError, f"{name}{{here}}: in place, shape {self.shape} cannot take a result of shape {out.shape}; write x = x + y")
        if not self.shape and is_scalar(self):
            return out                    # immutable in NumPy: the name is bound anew, aliases keep their value
        overwrite(self, as_written(out, self.dtype, name))
        return self
    return in_place


def _by_ufunc(ufunc, of_truth=None):
    """Operators whose meaning hangs on dtypes: &, |, ^, << and >>. of_truth: what it is of two masks, for which no dtypes are to be found out."""
    def forward(self, other):
        if of_truth is not None and type(other) in TRACED and self.dtype.kind == other.dtype.kind == "b":
            return of_truth(self, other)
        return call_ufunc(ufunc, "__call__", (self, other), {}) if _known(other) else NotImplemented

    def reflected(self, other):
        return call_ufunc(ufunc, "__call__", (other, self), {}) if _known(other) else NotImplemented
    return forward, reflected, _in_place(lambda x, y: call_ufunc(ufunc, "__call__", (x, y), {}), ufunc.__name__)


def _joins(traced, other):
    """Is it plain that the interpreter of the one decides about both? Then nobody need ask."""
    kind = type(other)
    return kind in NUMBERS or kind in TRACED and other.interpreter is traced.interpreter or kind is np.ndarray and other.dtype.kind in REAL


def _binary(primitive):
    def forward(self, other):
        if _joins(self, other):
            return self.interpreter.apply(primitive, (self, other), _NONE)
        return primitive(self, operand(other)) if _known(other) else _otherwise(primitive, 0, self, other)

    def reflected(self, other):
        if type(other) in NUMBERS:
            return self.interpreter.apply(primitive, (other, self), _NONE)
        return primitive(operand(other), self) if _known(other) else _otherwise(primitive, 1, self, other)
    return forward, reflected, _in_place(primitive, primitive.name)


def _otherwise(primitive, side, x, other):
    return OTHERWISE[primitive.name][side](x, other) if primitive.name in OTHERWISE else NotImplemented


def _known(x):
    return isinstance(x, (Traced, np.ndarray, float, int, np.generic, list, tuple, complex)) or hasattr(x, "__array_ufunc__") or hasattr(x, "__array__")


def _ufunc_called(self, ufunc, method, *inputs, **kwargs):
    if method == "__call__" and not kwargs and type(primitive := UFUNCS.get(ufunc)) is Primitive:          # most calls, in as few steps as there can be
        if len(inputs) == 1 or len(inputs) == 2 and _joins(self, inputs[inputs[0] is self]):
            return self.interpreter.apply(primitive, inputs, _NONE)
        return primitive(*map(operand, inputs))
    return call_ufunc(ufunc, method, inputs, kwargs)


def _function_called(self, function, types, args, kwargs):
    return call_function(function, args, kwargs)


def _item(self, index):
    items = index if type(index) is tuple else (index,)
    if not is_basic(items):
        if isinstance(items[0], Traced) and self.dtype.kind == "c":
            return complex_values.entries(self, index)
        if isinstance(items[0], Traced) and (found := selections.chosen(self, items)) is not None:
            return found
        arrays, items = split_index(index, self)
        if arrays or not is_basic(items):
            return indexing.getitem(self, *arrays, index=items)
    out = self.interpreter.apply(indexing.getitem, (self,), {"index": items})
    return viewing(out, self, lambda x: indexing.getitem(x, index=items), lambda x, v: setitem(x, items, v)) if out.ndim or Ellipsis in items else out


def _install():
    Traced.__array_ufunc__, Traced.__array_function__, Traced.__getitem__ = _ufunc_called, _function_called, _item
    three = {name: _binary(primitive) for name, primitive in dict(add=e.add, sub=e.subtract, mul=e.multiply, truediv=e.divide, pow=e.power, mod=e.remainder,
                                                                  floordiv=e.floor_divide, matmul=contraction.matmul).items()}
    three |= {name: _by_ufunc(*ufunc) for name, ufunc in {"and": (np.bitwise_and, e.logical_and), "or": (np.bitwise_or, e.logical_or), "xor": (np.bitwise_xor, e.logical_xor),
                                                          "lshift": (np.left_shift,), "rshift": (np.right_shift,)}.items()}
    for name, operators in three.items():
        for prefix, operator in zip(("", "r", "i"), operators):
            setattr(Traced, f"__{prefix}{name}__", operator)
    for name, primitive in dict(lt=e.less, le=e.less_equal, gt=e.greater, ge=e.greater_equal, eq=e.equal, ne=e.not_equal).items():
        setattr(Traced, f"__{name}__", _binary(primitive)[0])
    Traced.__neg__ = lambda self: e.negative(self)
    Traced.__pos__ = lambda self: e.copy(self)
    Traced.__abs__ = lambda self: e.absolute(self)
    Traced.__invert__ = lambda self: e.logical_not(self) if self.dtype.kind == "b" else call_ufunc(np.invert, "__call__", (self,), {})
    Traced.__divmod__ = lambda self, other: (self // other, self % other)
    Traced.__rdivmod__ = lambda self, other: (other // self, other % self)


_install()
