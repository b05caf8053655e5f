"""Traced: what plain NumPy code holds in place of an array. The protocols, ndarray's methods, and assignment in place.

Four classes derive from it, Tracer, Dual, Batched and PreciseArray, and only say how a primitive is applied; everything a
user types on an array is here once, so that the interpreters cannot differ. The functions behind the protocols stand in numpy_api.py.

Assignment: traced values are functional inside, so `x[i] = v` and `x += v` make a new value and let x, everything x
is a view of, and every living view of x adopt it: NumPy's aliasing, kept by weak references.
"""
import functools
import math
import sys
import weakref

import numpy as np

from .errors import refuse
from .lines import is_user_code, user_call
from .refusals import asked_at, converted, leaked, multiplied_by_sparse, no_cut

_reshape, _swapaxes, _transpose = np.reshape, np.swapaxes, np.transpose          # NumPy's own: others may stand in their places while a function runs (buffers.py)
TRACED = set()                                                  # the subclasses of Traced: `type(x) in TRACED` is cheaper than isinstance where x is an array
NUMBERS = frozenset({float, int, bool, np.float64, np.float32})
OPERANDS = set(NUMBERS)                                         # types that are operands without a look at the value; traced ones are, too


ALIASES = ("_base", "_views", "__weakref__")                     # slots of every subclass, for what shares its memory (viewing)


class Traced:
    """An array-like that NumPy hands every call to. Subclasses have interpreter, shape, dtype, _adopt(other) and _look(kind, convert).

    The operators and x[i] are put here by numpy_api.py, which has what stands behind them.
    """

    __slots__ = ()
    __array_priority__, __pandas_priority__ = 1500.0, 5000          # of series and frames, whose arrays are operands here

    def __init_subclass__(cls):
        cls._state = tuple([name for name in cls.__dict__.get("__slots__", ()) if name not in ALIASES])
        TRACED.add(cls)
        OPERANDS.add(cls)

    # ---- NumPy's protocols (numpy_api.py, once imported, puts its own functions in place of the first two: these only import it) -----------------

    def __array_ufunc__(self, ufunc, method, *inputs, **kwargs):
        from . import numpy_api
        return numpy_api.call_ufunc(ufunc, method, inputs, kwargs)

    def __array_function__(self, function, types, args, kwargs):
        from . import numpy_api
        return numpy_api.call_function(function, args, kwargs)

    def __array__(self, dtype=None, copy=None):
        from .numpy_api import plain
        if self.interpreter.ended:
            raise leaked("the conversion to a plain array")
        if "scipy.sparse" in sys.modules and multiplied_by_sparse(sys._getframe(1)):
            return np.array(None, object)                        # no array: the product is what this class says (numpy_functions/sparse_products.py)
        if self.dtype.kind not in "iub":
            raise converted(sys._getframe(1))
        return np.array(plain(self), dtype)                      # a place, or a truth value: it carries no derivative, and is looked at like a mask

    # ---- what an array is ---------------------------------------------------------------------------------------------

    ndim = property(lambda self: len(self.shape))
    itemsize = property(lambda self: self.dtype.itemsize)
    nbytes = property(lambda self: self.size * self.dtype.itemsize)
    T = property(lambda self: self._called(_transpose))
    mT = property(lambda self: self._called(_swapaxes, -1, -2))
    real = property(lambda self: self if self.dtype.kind != "c" else _part(self, 0), lambda self, value: self.real.__setitem__(..., value))
    imag = property(lambda self: np.zeros(self.shape, self.dtype) if self.dtype.kind != "c" else _part(self, 1), lambda self, value: _imaginary(self).__setitem__(..., value))
    flat = property(lambda self: Entries(self), lambda self, value: Entries(self).__setitem__(slice(None), value))

    @property
    def size(self):
        return math.prod(self.shape)

    def __len__(self):
        if not self.shape:
            raise TypeError("len() of a traced scalar")
        return self.shape[0]

    def __iter__(self):
        if not self.shape:
            raise TypeError("iteration over a traced scalar")
        return (self[k] for k in range(self.shape[0]))

    def __hash__(self):
        raise refuse(TypeError, "hash{here}: a traced value is no key, of a dict, a set or a cache: what is found there would be that of another value, without a derivative. "
                                "Use an index or a name, or float(x), which is a plain number")

    def __contains__(self, x):
        return bool(np.any(self == x))

    # ---- Python looks at a value ---------------------------------------------------------------------------------------

    def __bool__(self):
        if self.size != 1:
            raise refuse(ValueError, "the truth value of an array with more than one element is ambiguous{here}: use np.any, np.all or np.where")
        return self._look("bool", bool)

    def __float__(self):
        no_cut(self)
        self.interpreter.number_taken = asked_at()
        return self._look("float", lambda v: float(np.reshape(v, ())))

    def __int__(self):
        no_cut(self)
        return self._look("int", lambda v: int(np.reshape(v, ())))

    def __index__(self):
        if self.dtype.kind not in "iub" or self.shape:                # an array of one place is no place: NumPy asks for its array then, and keeps its axes
            raise TypeError("only an integer without axes can be used as an index")
        return self._look("int", int)

    def __round__(self, digits=0):
        return np.round(self, digits or 0)

    def __floor__(self):
        return int(np.floor(self))

    def __ceil__(self):
        return int(np.ceil(self))

    def __trunc__(self):
        return int(np.trunc(self))

    def __format__(self, how):
        return format(self._look("format", lambda v: np.reshape(v, ()).item()), how) if how else repr(self)

    def __deepcopy__(self, memo):
        return self.copy()

    def __reduce_ex__(self, protocol):
        raise refuse(TypeError, "pickle{here}: a traced value cannot be written as bytes, for what is read of them has no derivative. Pass it on as it is, or a copy (x.copy())")

    def __copy__(self):
        return self.copy()

    # ---- indexing and assignment ------------------------------------------------------------------------------------------

    def __setitem__(self, index, value):
        part_views(self, value)
        write(self, _set(self, index, value))

    def fill(self, value):
        write(self, _set(self, ..., value))

    # ---- ndarray's methods: what NumPy's functions are on traced values ------------------------------------------------------

    def _called(self, function, *args, **kwargs):
        return self.__array_function__(function, (), (self, *args), kwargs)

    def reshape(self, *shape, order="C", copy=None):
        return self._called(_reshape, shape[0] if len(shape) == 1 else shape, order=order, copy=copy)

    def transpose(self, *axes):
        return self._called(_transpose, None if not axes or axes[0] is None else axes[0] if np.ndim(axes[0]) else axes)

    def flatten(self, order="C"):
        return np.ravel(self, order=order).copy()

    def copy(self, order="C"):
        from .numpy_api import copy
        return copy(self, order)

    def astype(self, dtype, order="K", casting="unsafe", subok=True, copy=True):
        from .numpy_api import astype
        return self if not copy and dtype == self.dtype else astype(self, dtype)

    def item(self, *index):
        index = index[0] if len(index) == 1 else index
        x = np.ravel(self)[index] if isinstance(index, int) else self[index] if index else self
        if x.size != 1:
            raise ValueError("can only convert an array of size 1 to a scalar")
        return np.reshape(x, ())

    def tolist(self):
        return [row.tolist() for row in self] if self.shape else self

    def sort(self, axis=-1, kind=None, order=None, *, stable=None):
        overwrite(self, np.sort(self, axis))

    def compress(self, condition, axis=None):
        return np.compress(condition, self, axis)

    def partition(self, kth, axis=-1):
        overwrite(self, np.partition(self, kth, axis))

    def view(self, dtype=None):
        if dtype is not None and dtype != self.dtype:
            raise refuse(TypeError, "view{here}: the bytes of a traced value cannot be seen as another type; convert it with astype")
        return np.reshape(self, self.shape)

    def conj(self):
        if self.dtype.kind != "c":
            return self
        from .complex_values import conjugate
        return conjugate(self)

    conjugate = conj


def _part(z, k):
    from .complex_values import part
    return part(z, k)


def _imaginary(z):
    if z.dtype.kind != "c":
        raise refuse(TypeError, "imag{here}: a real array has no imaginary part to set; make a complex one with astype(complex)")
    return _part(z, 1)


def _method(function, name):
    def method(self, *args, **kwargs):
        return self._called(function, *args, **kwargs)
    method.__name__ = name
    return method


for _name in ("sum mean prod max min var std cumsum dot ravel swapaxes squeeze clip round argmax argmin argsort take repeat "
              "trace diagonal all any nonzero ptp searchsorted cumprod argpartition put").split():
    setattr(Traced, _name, _method(getattr(np, _name), _name))


def _refused(name):
    def get(self):
        raise refuse(AttributeError, f"ndarray.{name}{{here}} is not there on traced values: it is about memory or files. Leave it out, or take it of "
                                     "a plain array")
    return property(get)


REFUSED = {name for name in dir(np.ndarray) if not name.startswith("_")} - set(dir(Traced)) - {"shape", "dtype"}
for _name in REFUSED:
    setattr(Traced, _name, _refused(_name))                # (a __getattr__ that says so would make every attribute of a traced value slow to reach)


class Entries:
    """x.flat: the entries of x in order, to be walked, read and written by one index."""

    def __init__(self, x):
        self.base, self._at = x, 0

    def __iter__(self):
        return iter(np.ravel(self.base))

    def __next__(self):
        if self._at == self.base.size:
            raise StopIteration
        self._at += 1
        return np.ravel(self.base)[self._at - 1]

    def __len__(self):
        return self.base.size

    def __getitem__(self, index):
        return np.ravel(self.base)[index].copy()

    def __setitem__(self, index, value):
        from .numpy_functions.choosing import put_entries
        put_entries(self.base, index, value)

    def copy(self):
        return self.base.flatten()


def part_views(x, value):
    """For a shuffle of NumPy's: it has x[i], x[j] = x[j], x[i], of rows copies, which here are views of x; and the second would be what the first assignment made it."""
    if getattr(value, "_base", None) is None or value._base[0] is not x:
        return
    frame = sys._getframe(2)
    if is_user_code(frame.f_code) and user_call(frame, True) == "shuffle":
        for reference, _ in x._views[-2:]:                       # the two that it has just asked for
            view = reference()
            if view is not None:
                view._base = None
                view._adopt(view.copy())
        del x._views[-2:]


def _set(x, index, value):
    from .numpy_api import setitem
    return setitem(x, index, value)


# ---- aliases ----------------------------------------------------------------------------------------------------------------

def unaliased(x):
    """What a traced value is now, apart from it: the user may write into x later."""
    out = object.__new__(type(x))
    for name in x._state:
        setattr(out, name, getattr(x, name))
    return out


def apart(results, given=()):
    """Results as the user gets them: NumPy's scalars where there are no axes; arrays that can be written into, and whose memory is neither another result's nor of
    `given`; traced values that are no other object. Copied is only what has to be."""
    out, held = [], {}
    for x in given:
        if type(x) is np.ndarray and x.shape:
            held.setdefault(id(_owner(x)), []).append(x)
    for x in results:
        if type(x) is np.ndarray:
            if not x.shape:
                x = x[()]
            else:
                others = held.setdefault(id(x if x.base is None else _owner(x)), [])
                if not x.flags.writeable or others and any([np.may_share_memory(x, other) for other in others]):
                    x = x.copy()
                else:
                    others.append(x)
        elif type(x) in TRACED:
            x = unaliased(x)
        out.append(x)
    return out


def _owner(x):
    """Whose memory an array is."""
    while (base := getattr(x, "base", None)) is not None:
        x = base
    return x


def is_scalar(x):
    """Is a value without axes what NumPy has as a scalar, and not as an array? That cannot be written into, and has no views: whatever is made of it is a copy."""
    return getattr(x, "_base", None) is None and not hasattr(x, "held")


def viewing(out, of, again, put=None):
    """Remember that `out` is a view: again(parent) makes it anew, put(parent, value) writes through it (None: it is read-only). Returns out.

    again is also asked for the view of an ndarray nobody may read (layout_of): it must not copy one.
    """
    if not isinstance(out, Traced):
        return out
    if out is of or not of.ndim and is_scalar(of):
        return out
    out._base = (of, put, again)
    views = getattr(of, "_views", None)
    if views is None:
        views = of._views = []
    if len(views) > 4 and not len(views) & (len(views) - 1):        # at 8, 16, ... of them: a loop over rows stays linear
        views[:] = [(r, f) for r, f in views if r() is not None]
    views.append((weakref.ref(out), again))
    return out


_NOTHING = np.empty(1, "i1")


@functools.lru_cache(maxsize=1024)                                   # as_strided takes as long as three operations
def _shell(shape, strides):
    return np.lib.stride_tricks.as_strided(_NOTHING, shape, strides)


def layout_of(x):
    """An array of x's shape with the strides, up to a factor, of the ndarray that NumPy would hold in its place: whether a reshape of it is a view depends on them. Its
    entries mean nothing.

    What x is a view of in the end lies as the array below does; the views are then taken again, of an array that lies so.
    """
    whole, views = x, []
    while getattr(whole, "_base", None) is not None:
        whole, _, again = whole._base
        views.append(again)
    held = _array_below(whole, _unevaluated)
    if held is not None and held.flags.forc and held.shape == whole.shape:           # mostly: NumPy has made it, and views of it are views of NumPy's
        own = held if whole is x else _array_below(x)
        if own is not None and own.shape == x.shape:
            return own
    out = _shell(whole.shape, _strides(whole.shape, held))
    for again in reversed(views):
        out = again(out)
    return out


def _strides(shape, held):
    """How many entries lie between neighbours along each axis of what NumPy would hold in the place of an array below (None: nothing is known of that)."""
    if held is not None:
        first = held.ndim - len(shape)                               # behind the axes of examples, which vmap keeps in front
        strides = tuple([k // held.itemsize for k in held.strides[first:]])
        if _is_dense(held.shape[first:], strides):                   # else it is a view that the engine made where NumPy makes a copy
            return strides
    return _c_strides(shape)


def _is_dense(shape, strides):
    """Do entries lie beside each other without gaps, whatever the order of their axes?"""
    expected = 1
    for stride, n in sorted(zip(strides, shape)):
        if n != 1 and stride != expected:
            return False
        expected *= n
    return True


def _c_strides(shape):
    """As NumPy makes new arrays."""
    return tuple([math.prod(shape[k + 1:]) for k in range(len(shape))])


def _array_below(x, otherwise=lambda tracing, node: None):
    """The ndarray below a traced value, or what is to be taken for that of a node without a value; None where there is none."""
    while isinstance(x, Traced):
        inside = x.held if hasattr(x, "held") else getattr(x, "below", None)
        x = otherwise(x.interpreter, x.node) if inside is None and hasattr(x, "node") else inside
    return x if type(x) is np.ndarray else None


_WRITTEN = ("setitem", "add_at")                                     # who was written into lies where he lay


def _unevaluated(tracing, node):
    """For a node without a value: an array of its strides; None where its operands may lie in different orders. What an elementwise operation makes lies as its
    operands do, what was written into lies where it lay, and everything else, transpositions apart, is new and in C order."""
    axes = list(range(len(node.shape)))
    for _ in range(64):                                              # further back nobody looks
        value = node.value if node.value is not None else getattr(tracing, "_inputs", {}).get(node)
        if type(value) is np.ndarray:
            return value.transpose(axes)
        name = node.primitive.name
        if name == "transpose":
            axes, followed = [node.params["axes"][k] for k in axes], node.operands
        elif name in _WRITTEN:
            followed = node.operands[:1]
        elif node.primitive.kind == "map" and name != "copy":
            followed = [p for p in node.operands if getattr(p, "shape", None) == node.shape]
        else:
            return _shell(node.shape, _c_strides(node.shape)).transpose(axes)
        if len({*map(id, followed)}) != 1 or not hasattr(followed[0], "primitive"):
            return None
        node = followed[0]
    return None


def reshapes(x, shape):
    """Is x.reshape(shape) a view? Else NumPy copies, and what is written into it is not written into x."""
    if len(x.shape) < 2 or (layout := layout_of(x)).flags.c_contiguous:
        return True
    try:
        np.reshape(layout, shape, copy=False)
    except ValueError:
        return False
    return True


def write(target, value):
    """target takes a new value of its own shape and dtype, and so does all that shares its memory."""
    base = getattr(target, "_base", None)
    if base is not None:
        parent, put, _ = base
        if put is None:
            raise refuse(ValueError, "assignment destination is read-only{here}, as NumPy has it: several entries may be the same one in memory. "
                                     "Write into a copy: x = x.copy()")
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


def _in_entries(x):
    return [k // x.itemsize for k in x.strides]


def overwrite(target, value):
    """As write, of a value that was computed elsewhere, and may be laid out as others are: target lies where it lay."""
    if len(target.shape) > 1:
        old, new = _array_below(target), _array_below(value)             # mostly: NumPy has made both
        new = getattr(value, "lies", None) if new is None else new       # the judge's
        if (old is None or new is None or old.strides != new.strides and _in_entries(old) != _in_entries(new)) and layout_of(value).strides != layout_of(target).strides:
            value = _set(target, ..., value)
    write(target, value)
