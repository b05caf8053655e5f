"""Arrays that a function makes and then fills: np.zeros(n) with x[i] = traced value; and lists of traced values: np.array([x0, x1]), np.mean([x0, x1]).

NumPy makes arrays, and looks into lists, without asking anybody. So while a function runs under an interpreter numpy's constructors are replaced (in the user's
modules, too, that have imported them by name: by_name.py) by ones
that return a `Buffer` (of floating-point numbers an ndarray, too, whose memory compiled functions read) to user code of that thread, and the functions that
diffeng knows by ones that join lists; those that the function's code names, where that can be told (named.py). Outside they are NumPy's own. Libraries get
plain arrays of what holds nothing traced; numpy.polynomial's code is generic, and is treated like the user's.
"""
import builtins
import contextlib
import functools
import math
import sys
import threading

import numpy as np

from . import beside_numba, by_name, math_functions, numpy_api
from .errors import refuse
from .named import POLYNOMIAL, swaps
from .interpreters import Interpreter, newest
from .numpy_functions import entries, rearranging
from .numpy_functions.making import full
from .refusals import NO_NUMBER, fixed, of_others
from .selections import Chosen, unknown
from .traced import ALIASES, REFUSED, TRACED, Traced, layout_of, part_views, unaliased
from .ufunc_dtypes import cast, result_type
from .vocabulary import elementwise
from .lines import by_library, is_user_code, run, user_call

class _Active(threading.local):
    depth = 0                                # of this thread: how many functions run whose constructors are replaced

    def __init__(self):
        self.places = []                     # of each of them: where it has put its constructors, beside NumPy's modules


_active = _Active()
_lock = threading.Lock()


class _Unwrap(Interpreter):
    """A buffer is what it holds: plain until something traced is written into it. What user code computes from plain ones may be written into, too."""

    def __init__(self):
        self.level = float("inf")

    def apply(self, primitive, operands, params):
        out = primitive(*[x.share() if isinstance(x, Buffer) else x for x in operands], **params)
        return out if type(out) is np.ndarray and by_library() else fillable(out)


_UNWRAP = _Unwrap()


class Buffer(Traced):
    """A mutable array of known shape and dtype: a plain array at first, a traced value once one was assigned."""

    __slots__ = ()
    interpreter = _UNWRAP

    shape = fixed(lambda self: self.held.shape, "shape")
    dtype = fixed(lambda self: self.held.dtype, "dtype")

    def share(self):
        """What is held, for use in a computation: from now on a write makes a copy first."""
        self._shared = True
        return self.held

    def _adopt(self, other):
        self.held, self._shared = other.held if isinstance(other, Buffer) else other, False

    def _written(self, index):
        pass

    def _look(self, kind, convert):
        return self.held._look(kind, convert) if isinstance(self.held, Traced) else convert(self.held)

    def __array__(self, dtype=None, copy=None):
        if isinstance(self.held, Traced):
            return self.held.__array__()
        return np.array(self.held, dtype, copy=copy) if copy is not None else np.asarray(self.held, dtype)

    def __setitem__(self, index, value):
        part_views(self, value)
        value = value.held if isinstance(value, Buffer) else value
        has_views = getattr(self, "_views", None) or getattr(self, "_base", None)
        traced = isinstance(self.held, Traced) or _holds_traced([index, value])
        if not traced and not self._shared and not has_views:
            self.held[index] = value              # nobody has seen this array: fill it in place
            self._written(index)
        else:
            super().__setitem__(index, value)

    def __reduce_ex__(self, protocol):
        return self.held.__reduce_ex__(protocol)

    def __repr__(self):
        return f"Buffer({self.held!r})"


class HeldBuffer(Buffer):
    """One that is no ndarray: of integers, or traced from the beginning."""

    __slots__ = ("held", "_shared", *ALIASES)

    def __init__(self, held):
        self.held, self._shared = held, False


class ArrayBuffer(Buffer, np.ndarray):
    """One that is an ndarray, too, for whoever reads its memory: compiled functions, which ask no protocol. That memory is the one of what is held, to be read only once
    that was seen by an interpreter; a copy of what is held now, where a write has made another array; and once it is traced objects that refuse to be numbers."""

    __slots__ = ("held", "_shared", "_copied", *ALIASES[:2])

    ndim = property(lambda self: 0 if self._beside_sparse() else len(self.held.shape))
    dtype = fixed(lambda self: np.dtype(object) if self._beside_sparse() else self.held.dtype, "dtype")

    def _beside_sparse(self):
        """Is it traced, and asked by a sparse array of SciPy's, whose product it is to answer itself? That does so for an object, which is no array."""
        return isinstance(self.held, Traced) and sys._getframe(2).f_code.co_name == "_matmul_dispatch"

    def __array_finalize__(self, made_of):
        self.held = made_of if type(made_of) is np.ndarray else np.ndarray.view(self, np.ndarray)
        self._shared = self._copied = False

    def share(self):
        np.ndarray.setflags(self, write=False)
        self._shared = True
        return self.held

    def _adopt(self, other):
        was_traced = isinstance(self.held, Traced)
        super()._adopt(other)
        if not isinstance(self.held, Traced):
            np.ndarray.__setstate__(self, (1, self.held.shape, self.held.dtype, False, self.held.tobytes()))
            np.ndarray.setflags(self, write=False)
            self._copied = True
        elif not was_traced:
            np.ndarray.__setstate__(self, (1, self.held.shape, np.dtype(object), False, [NO_NUMBER] * self.held.size))

    def _written(self, index):
        if self._copied:
            np.ndarray.setflags(self, write=True)
            np.ndarray.__setitem__(self, index, self.held[index])
            np.ndarray.setflags(self, write=False)


_HOLDING = Buffer, Chosen                    # values that hold those of others


def buffer(held):
    """A new Buffer of an array or a traced value that is nobody else's."""
    return held.view(ArrayBuffer) if type(held) is np.ndarray and held.dtype.kind in "fc" else HeldBuffer(held)


def _of_memory(name):
    """What ndarrays have and traced values have not: that of the plain array, as long as there is one."""
    refused = getattr(Traced, name, None)

    def get(self):
        if is_plain(self):
            return getattr(self.share(), name)
        if refused is None:
            raise AttributeError(f"traced values have no {name}")
        return refused.__get__(self)
    return property(get)


for _name in (*REFUSED, "__array_interface__"):
    setattr(Buffer, _name, _of_memory(_name))


def fillable(x):
    """An array of floating-point or complex numbers as a Buffer, if it is plain, or traced for an outer derivative or jit alone, which the running function cannot know;
    anything else as it is."""
    outer = isinstance(x, Traced) and not isinstance(x, Buffer) and 1 <= x.interpreter.level < newest[0]       # below 1: 100 digits and tensors, which nothing is inside of
    if not outer and type(x) is not np.ndarray or not x.shape or x.dtype.kind not in "fc":
        return x
    out = buffer(x)
    if not outer and x.base is not None:                   # somebody else's memory: a write makes a copy first
        out.share()
    return out


def is_plain(x):
    """A buffer into which nothing traced was written."""
    return isinstance(x, Buffer) and not isinstance(x.held, Traced)


def unwrap(x):
    return x.share() if isinstance(x, _HOLDING) else x


def lent(x, lazily=False):
    """x for somebody who may write into it, and into nobody else's array then. lazily: while a function is traced a plain array is copied only if that happens."""
    if isinstance(x, Buffer) or lazily and _active.depth and type(x) is np.ndarray and x.shape and x.dtype.kind in "fciub":
        out = buffer(unwrap(x))
        out.share()
        return out
    return x.copy() if type(x) is np.ndarray else unaliased(x) if type(x) in TRACED else x


# ---- the replacements -------------------------------------------------------------------------------------------------------------

CONSTRUCTORS = tuple("zeros ones empty full zeros_like ones_like empty_like full_like eye identity tri diag arange linspace "
                     "logspace geomspace array copy".split())
CONVERTERS = ("array", "asarray", "asanyarray", "ascontiguousarray", "asfortranarray", "asarray_chkfinite")
INTEGERS_STAY = ("arange", "copy", "diag", *CONVERTERS)          # positions and counters: nobody writes a traced number into them


def _replacement(name, original):
    """A function of numpy that knows lists of traced values, and whose new arrays may be filled with traced values."""
    known, sequence, fills, converts = original in numpy_api.FUNCTIONS, name in numpy_api.OF_SEQUENCES, name in CONSTRUCTORS, name in CONVERTERS
    direct = known and not fills and not converts

    @functools.wraps(original)
    def call(*args, **kwargs):
        if direct and args:
            first = type(args[0])
            for x in args if first is np.ndarray else args[0] if sequence and (first is list or first is tuple) else args[:1]:
                if type(x) in TRACED:
                    return numpy_api.call_function(original, args, kwargs)       # as NumPy would, after asking around
        if not _active.depth:
            return original(*args, **kwargs)
        if converts and args and _holds_traced(args[:1]):
            if not _asked(name):
                return original(*args, **kwargs)
            out = _convert(name, *args, **kwargs)
            return _spread(sys._getframe(1), fillable(out)) if fills else out
        if known and (_in_lists(args) or kwargs and _in_lists(kwargs.values())):
            if not sequence:
                args, kwargs = [_joined(a) for a in args], {k: _joined(a) for k, a in kwargs.items()}
            return numpy_api.call_function(original, args, kwargs)
        if name in ("full", "full_like") and _holds_traced(args[1:2] or [kwargs.get("fill_value")]) and _asked(name):
            return fillable(full(*args, **kwargs) if name == "full" else numpy_api.call_function(original, args, kwargs))
        out = original(*args, **kwargs)
        if name == "array" and _generic(sys._getframe(1)):
            return _spread(sys._getframe(1), out)
        new = fills or converts and args and isinstance(args[0], (list, tuple))
        if new and type(out) is np.ndarray and (out.dtype.kind in "fc" or out.dtype.kind in "iub" and name not in INTEGERS_STAY) and _asked(name):
            return buffer(out)
        return fillable(out) if new and isinstance(out, Traced) else out
    return call


_ORDERS = {"ascontiguousarray": "C", "asfortranarray": "F"}
_FLAGS = {"C": "c_contiguous", "F": "f_contiguous"}              # of an array that asarray(a, order=...) returns as it is


def _convert(name, a, dtype=None, **kwargs):
    """np.array, np.asarray, ... of a traced value, or of lists of them."""
    if isinstance(a, Traced):
        order = _ORDERS.get(name) or kwargs.get("order") or "K"
        copied = kwargs.get("copy", name == "array") or not getattr(layout_of(a).flags, _FLAGS.get(order, "behaved"))
        out = numpy_api.copy(a, order) if copied else a
        out = out if dtype is None or out.dtype == dtype else numpy_api.astype(out, dtype)
        out = numpy_api.without_axes(out)
    else:
        out = numpy_api.array(a, dtype)
    extra = kwargs.get("ndmin", int(name in _ORDERS)) - out.ndim                # ascontiguousarray makes one axis at least
    return np.reshape(out, (1,) * extra + out.shape) if extra > 0 else out


_ORDERED = {"C": "C", "C_CONTIGUOUS": "C", "CONTIGUOUS": "C", "F": "F", "F_CONTIGUOUS": "F", "FORTRAN": "F"}


def _require(a, dtype=None, requirements=None):
    """np.require of what is traced: aligned, and there to be written into."""
    asked = [_ORDERED[r.upper()] for r in requirements or () if r.upper() in _ORDERED]
    return _convert("asarray", a, dtype, order=asked[0] if asked else "K")


def _generic(frame):
    """Is it numpy.polynomial's code, which does with any array-likes what it does with arrays, once it has them?"""
    return frame.f_globals.get("__name__", "").startswith(POLYNOMIAL)


def _spread(frame, c):
    """Coefficients as its functions want them that ask whether x is an ndarray: with an axis behind for each of x."""
    x = frame.f_locals.get("x") if _generic(frame) and frame.f_locals.get("tensor") else None
    return np.reshape(c, c.shape + (1,) * np.ndim(_joined(x))) if _holds_traced([x]) and not isinstance(x, np.ndarray) else c


def _in_lists(items):
    return any([isinstance(a, (list, tuple)) and _holds_traced(a) for a in items])


def _joined(a):
    return numpy_api.array(a) if isinstance(a, (list, tuple)) and _holds_traced(a) else a


def _isscalar(original):
    return functools.wraps(original)(lambda element: isinstance(element, Traced) and element.shape == () or original(element))


def _fromiter(original):
    @functools.wraps(original)
    def fromiter(iter, dtype, *args, **kwargs):
        items = list(iter) if _active.depth else iter
        return numpy_api.array(items, np.dtype(dtype)) if items is not iter and _holds_traced(items) else original(items, dtype, *args, **kwargs)
    return fromiter


class _Rows:
    """np.r_ and np.c_: pieces side by side along the first or last axis."""

    def __init__(self, name, original):
        self.name, self.original = name, original

    def __getitem__(self, key):
        items = key if isinstance(key, tuple) else (key,)
        if not _holds_traced(items):
            return self.original[key]
        if any(isinstance(i, str) for i in items):
            raise refuse(TypeError, f"{self.name}{{here}}: directions in a string are not supported on traced values; use np.concatenate")
        items = [self.original[i] if isinstance(i, slice) else numpy_api.operand(i) for i in items]
        dtype = result_type(*items)                                          # before Python's numbers become arrays, which have a dtype to ask for
        return np.concatenate([self._part(cast(i, dtype)) for i in items], axis=0 if self.name == "r_" else -1)

    def _part(self, x):
        return np.atleast_1d(x) if self.name == "r_" else x if np.ndim(x) > 1 else np.reshape(x, (-1, 1))

    def __len__(self):
        return 0


def _while_traced(original, ours):
    """A function of numpy that does not ask its arguments: ours where any is traced."""
    @functools.wraps(original)
    def call(*args, **kwargs):
        return ours(*args, **kwargs) if _active.depth and (_holds_traced(args) or _holds_traced(kwargs.values())) else original(*args, **kwargs)
    return call


def _picking(original, before):
    """Python's min and max. Of traced numbers that differ between calls or examples the choice that it would make, whatever they are: it goes to the first of equal ones.

    before(x, y): is x to be chosen though y came first?"""
    @functools.wraps(original)
    def call(*args, **options):
        if not _active.depth or options or not args:
            return original(*args, **options)
        items = list(args if len(args) > 1 else args[0])
        if not any([isinstance(x, Traced) and unknown(x) for x in items]) or not all([np.shape(x) == () for x in items]):
            return original(*(args if len(args) > 1 else (items,)))
        out = items[0]
        for x in items[1:]:
            out = elementwise.where(before(x, out), x, out)
        return out
    return call


class _Vectorize(dict):
    """np.vectorize as a namespace with one name, for whoever replaces names: what its objects do once their arguments are sorted out."""

    def update(self, names):
        super().update(names)
        np.vectorize._vectorize_call = self["vectorize"]


def _vectorize_call(original):
    return functools.wraps(original)(lambda function, func, args: entries.vectorized(function, func, args) if _active.depth and _holds_traced(args)
                                     else original(function, func, args))


def _holds_traced(items):
    return any(isinstance(i, Traced) or isinstance(i, (list, tuple)) and _holds_traced(i) for i in items)


def _asked(name):
    """Does user code of a thread that traces ask? (Libraries get NumPy's own arrays, compiled ones without frames of their own too.)"""
    if not _active.depth:
        return False
    frame = sys._getframe(2)
    if not is_user_code(frame.f_code):
        return _generic(frame)
    called = user_call(frame)
    if called is not None:
        return called == name
    names, space = frame.f_code.co_names, frame.f_globals
    return name in names or any([by_name.is_replaced(space.get(n)) and space[n].__name__ == name for n in names])         # from numpy import zeros as z


def _replaced():
    """module -> ({name: numpy's own}, {name: ours})."""
    found = {np: {}, np.linalg: {}}
    for module, ours in found.items():
        for name, f in vars(module).items():
            if isinstance(f, type(np.sum)) and f in numpy_api.FUNCTIONS or module is np and name in CONSTRUCTORS + CONVERTERS:
                ours[name] = _replacement(name, f)
    found[np] |= {"isscalar": _isscalar(np.isscalar), "fromiter": _fromiter(np.fromiter), "require": _while_traced(np.require, _require), "r_": _Rows("r_", np.r_), "c_": _Rows("c_", np.c_),
                  "ndenumerate": _while_traced(np.ndenumerate, entries.ndenumerate), "nditer": _while_traced(np.nditer, entries.nditer)}
    found[np.lib.stride_tricks] = {"as_strided": _while_traced(np.lib.stride_tricks.as_strided, rearranging.as_strided)}
    found[builtins] = {"min": _picking(min, elementwise.less), "max": _picking(max, elementwise.greater)}
    found[math] = {name: _while_traced(getattr(math, name), ours) for name, ours in math_functions.FUNCTIONS.items()}
    return {module: ({name: getattr(module, name) for name in ours}, ours) for module, ours in found.items()}


class Constructors:
    """Context manager, to be entered any number of times, in any threads: NumPy's constructors know traced values inside it, in this thread.

    parts: (a module's dict, {name: NumPy's own}, {name: ours}), ...; places: (a dict of a user's module, a name there), ..., of all of them where it is None
    """

    running = []                             # those that are entered, as often as they are, in all threads

    def __init__(self, parts, places=None):
        self.parts, self.places = tuple([part for part in parts if part[1]]), places

    def named(self, names, places=()):
        """The part of it that has one of these names (math's and Python's own, if "math" and "builtins" are among them), and what stands in these places."""
        return Constructors([(space, {n: f for n, f in own.items() if n in names}, {n: f for n, f in ours.items() if n in names})
                             for space, own, ours in self.parts if _NOT_NUMPYS.get(id(space)) in (None, *names)], places)

    def __enter__(self):
        if self.parts or self.places:
            self._put()
        _active.depth += 1

    def _put(self):
        beside_numba.prepare(self._put_aside)
        with _lock:
            places = by_name.places() if self.places is None else self.places
            running = self.running
            if not running or self not in running and constructors not in running:          # else they are in place for somebody else
                for space, _, ours in self.parts:
                    space.update(ours)
            running.append(self)
            if places:
                by_name.put(places)
        _active.places.append(places)

    @classmethod
    @contextlib.contextmanager
    def _put_aside(cls):
        """NumPy's own functions in its modules, for all threads, for a moment."""
        with _lock:
            for other in cls.running:
                for space, own, _ in other.parts:
                    space.update(own)
            try:
                yield
            finally:
                for other in cls.running:
                    for space, _, ours in other.parts:
                        space.update(ours)

    def __exit__(self, *_):
        _active.depth -= 1
        if self.parts or self.places:
            self._put_back(_active.places.pop())

    def _put_back(self, places):
        with _lock:
            if places:
                by_name.put_back(places)
            running = self.running
            running.remove(self)
            if running and (self in running or constructors in running):
                return
            for space, own, _ in self.parts:
                if running:
                    needed = {n for other in running for place, _, ours in other.parts if place is space for n in ours}
                    own = {n: f for n, f in own.items() if n not in needed}
                space.update(own)


_REPLACED = _replaced()
_NOT_NUMPYS = {id(vars(math)): "math", id(vars(builtins)): "builtins"}          # dicts of modules that are no part of NumPy
_DISPATCHED = type(np.sum)
_JOINING = {own[name]: ours[name] for own, ours in _REPLACED.values() for name in ours if type(own[name]) is _DISPATCHED}
for _module, _functions in _REPLACED.items():
    by_name.register(vars(_module), *_functions)
_vectorize = _Vectorize(vectorize=np.vectorize._vectorize_call)
constructors = Constructors([(vars(module), own, ours) for module, (own, ours) in _REPLACED.items()]
                            + [(_vectorize, {**_vectorize}, {"vectorize": _vectorize_call(np.vectorize._vectorize_call)})])


def _joining(fun):
    """NumPy's own function, where it is what is derived: as the one that knows lists of traced values."""
    if type(fun) is functools.partial:
        return functools.partial(_joining(fun.func), *fun.args, **fun.keywords)
    return _JOINING.get(fun, fun) if type(fun) is _DISPATCHED else fun


def call(fun, args):
    """Run the user's function under the interpreters its arguments belong to."""
    with swaps(fun, args, constructors):
        try:
            return run(_joining(fun), args)
        except (ValueError, TypeError, AttributeError, NotImplementedError) as error:
            if isinstance(error, ValueError) and getattr(error.__cause__, "explained", False):
                raise error.__cause__ from None          # NumPy wraps what __float__ refuses into "setting an array element with a sequence"
            if (explained := of_others(error)) is not None:
                raise explained from error
            raise
