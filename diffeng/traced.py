"""Traced: what plain NumPy code holds in place of an array. The protocols, ndarray's methods, and assignment in place.

Three classes derive from it, Tracer, Dual and PreciseArray, and only say how a primitive is applied; everything a
user types on an array is here once, so that the interpreters cannot differ. The functions behind the protocols stand in numpy_api.py.

Assignment: traced values are functional inside, so `x[i] = v` and `x += v` make a new value and let x, everything x
is a view of, and every living view of x adopt it: NumPy's aliasing, kept by weak references.
"""
import weakref

import numpy as np

from .errors import refuse

ASSIGN = "the array was made outside of the function, or by a function imported by name (from numpy import zeros). "\
         "Make it inside with np.zeros(...), or write x = diffeng.at(x, i).set(v)"


class Traced:
    """An array-like that NumPy hands every call to. Subclasses have interpreter, shape, dtype, _adopt(other) and _look(kind, convert)."""

    __slots__ = ("_base", "_views", "__weakref__")
    __hash__ = None
    __array_priority__ = 1000.0

    # ---- NumPy's protocols ------------------------------------------------------------------------------------------

    def __array_ufunc__(self, ufunc, method, *inputs, **kwargs):
        from .numpy_api import call_ufunc
        return call_ufunc(ufunc, method, inputs, kwargs)

    def __array_function__(self, function, types, args, kwargs):
        from .numpy_api import call_function
        return call_function(function, args, kwargs)

    def __array__(self, dtype=None, copy=None):
        raise refuse(TypeError, "a traced value was converted to a plain array{here}: this would cut the derivative. Use numpy functions and ufuncs on "
                     "it (for scipy functions that convert their arguments there are twins in diffeng.special and diffeng.linalg); for arrays: " + ASSIGN)

    # ---- what an array is ---------------------------------------------------------------------------------------------

    ndim = property(lambda self: len(self.shape))
    itemsize = property(lambda self: self.dtype.itemsize)
    nbytes = property(lambda self: self.size * self.dtype.itemsize)
    T = property(lambda self: np.transpose(self))
    mT = property(lambda self: np.swapaxes(self, -1, -2))
    real = property(lambda self: self)
    imag = property(lambda self: np.zeros(self.shape, self.dtype))
    flat = property(lambda self: iter(np.ravel(self)))

    @property
    def size(self):
        n = 1
        for k in self.shape:
            n *= k
        return n

    def __len__(self):
        if not self.shape:
            raise TypeError("len() of a traced scalar")
        return self.shape[0]

    def __iter__(self):
        if not self.shape:
            raise TypeError("iteration over a traced scalar")
        return (self[k] for k in range(self.shape[0]))

    def __contains__(self, x):
        return bool(np.any(self == x))

    # ---- Python looks at a value ---------------------------------------------------------------------------------------

    def __bool__(self):
        if self.size != 1:
            raise refuse(ValueError, "the truth value of an array with more than one element is ambiguous{here}: use np.any, np.all or np.where")
        return self._look("bool", lambda v: bool(np.all(v)))

    def __float__(self):
        _no_store()
        return self._look("float", lambda v: float(np.reshape(v, ())))

    def __int__(self):
        _no_store()
        return self._look("int", lambda v: int(np.reshape(v, ())))

    def __index__(self):
        if self.dtype.kind not in "iub":
            raise TypeError("only integers can be used as an index")
        return self._look("int", lambda v: int(np.reshape(v, ())))

    def __round__(self, digits=0):
        return np.round(self, digits or 0)

    def __format__(self, how):
        return format(self._look("format", lambda v: np.reshape(v, ()).item()), how) if how else repr(self)

    def __deepcopy__(self, memo):
        return self.copy()

    def __copy__(self):
        return self.copy()

    # ---- indexing and assignment ------------------------------------------------------------------------------------------

    def __getitem__(self, index):
        from .numpy_api import getitem, is_basic
        out = getitem(self, index)
        return viewing(out, self, lambda x: getitem(x, index), lambda x, v: _set(x, index, v)) if is_basic(index) and out.shape else out

    def __setitem__(self, index, value):
        write(self, _set(self, index, value))

    def fill(self, value):
        write(self, _set(self, ..., value))

    # ---- ndarray's methods: NumPy's functions, which come back through __array_function__ -----------------------------------

    def reshape(self, *shape, order="C"):
        return np.reshape(self, shape[0] if len(shape) == 1 else shape, order=order)

    def transpose(self, *axes):
        return np.transpose(self, None if not axes or axes[0] is None else axes[0] if np.ndim(axes[0]) else axes)

    def flatten(self, order="C"):
        return np.ravel(self, order=order).copy()

    def copy(self, order="C"):
        from .numpy_api import copy
        return copy(self)

    def astype(self, dtype, *args, **kwargs):
        from .numpy_api import astype
        return astype(self, dtype)

    def item(self, *index):
        x = self[index] if index else self
        if x.size != 1:
            raise ValueError("can only convert an array of size 1 to a scalar")
        return np.reshape(x, ())

    def tolist(self):
        return [row.tolist() for row in self] if self.shape else self

    def sort(self, axis=-1):
        write(self, np.sort(self, axis))

    def conj(self):
        return self

    conjugate = conj


def _method(name):
    def method(self, *args, **kwargs):
        return getattr(np, name)(self, *args, **kwargs)
    method.__name__ = name
    return method


for _name in ("sum mean prod max min var std cumsum dot ravel swapaxes squeeze clip round argmax argmin argsort take repeat "
              "trace diagonal all any nonzero ptp compress searchsorted cumprod").split():
    setattr(Traced, _name, _method(_name))


def _set(x, index, value):
    from .numpy_api import setitem
    return setitem(x, index, value)


def _no_store():
    """ndarray.__setitem__ asks a traced scalar for its float, and the derivative would be lost without a word."""
    import dis
    import sys
    from .where import is_user_code
    frame = sys._getframe(2)
    if is_user_code(frame.f_code) and dis.opname[frame.f_code.co_code[frame.f_lasti]] == "STORE_SUBSCR":
        raise refuse(TypeError, "a traced value was assigned into a plain array{here}: " + ASSIGN)


# ---- aliases ----------------------------------------------------------------------------------------------------------------

def viewing(out, of, again, put):
    """Remember that `out` is a view: again(parent) makes it anew, put(parent, value) writes through it. Returns out."""
    if not isinstance(out, Traced):
        return out
    if out is of:
        return out
    out._base = (of, put)
    views = getattr(of, "_views", None)
    if views is None:
        views = of._views = []
    views[:] = [(r, f) for r, f in views if r() is not None]
    views.append((weakref.ref(out), again))
    return out


def write(target, value):
    """target takes a new value of its own shape and dtype, and so does all that shares its memory."""
    base = getattr(target, "_base", None)
    if base is not None:
        parent, put = base
        return write(parent, put(parent, value))
    target._adopt(value)
    stale = [target]
    while stale:
        parent = stale.pop()
        for reference, again in getattr(parent, "_views", ()):
            view = reference()
            if view is not None:
                view._adopt(again(parent))
                stale.append(view)
