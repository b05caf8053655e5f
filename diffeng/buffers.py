"""Arrays that a function makes and then fills: np.zeros(n) with x[i] = traced value, np.array([x0, x1]), np.full_like(a, x).

NumPy makes these without asking anybody, so while a function runs under an interpreter, and only for calls from user code of that
thread, numpy's constructors are replaced by ones that return a `Buffer` (or stack traced values). Outside they are NumPy's own.
"""
import dis
import sys
import threading

import numpy as np

from . import numpy_api          # noqa: F401  operators and tables of Traced must be there before user code runs
from .nodes import Interpreter
from .traced import Traced, viewing
from .where import is_user_code, run

_active = threading.local()
_lock = threading.Lock()
_users = 0
_sites = {}               # (id of a code object, offset of a call in it) -> (does it call a constructor?, the code object)
_original = {}


class _Unwrap(Interpreter):
    """A buffer is what it holds: plain until something traced is written into it."""

    def __init__(self):
        self.level = float("inf")

    def apply(self, primitive, operands, params):
        return primitive(*[x.share() if type(x) is Buffer else x for x in operands], **params)


_UNWRAP = _Unwrap()


class Buffer(Traced):
    """A mutable array of known shape and dtype: a plain array at first, a traced value once one was assigned."""

    __slots__ = ("interpreter", "held", "_shared")

    def __init__(self, held):
        self.interpreter, self.held, self._shared = _UNWRAP, held, False

    shape = property(lambda self: self.held.shape)
    dtype = property(lambda self: self.held.dtype)

    def share(self):
        """What is held, for use in a computation: from now on a write makes a copy first."""
        self._shared = True
        return self.held

    def _adopt(self, other):
        self.held, self._shared = other.held if isinstance(other, Buffer) else other, False

    def _look(self, kind, convert):
        return self.held._look(kind, convert) if isinstance(self.held, Traced) else convert(self.held)

    def __array__(self, dtype=None, copy=None):
        if isinstance(self.held, Traced):
            return self.held.__array__()
        return np.array(self.held, dtype, copy=copy) if copy is not None else np.asarray(self.held, dtype)

    def __getitem__(self, index):
        out = super().__getitem__(index)
        if isinstance(out, Traced) or not out.shape:
            return out
        from .numpy_api import is_basic
        if not is_basic(index):
            return out
        return viewing(Buffer(out), self, lambda x: _plain_or_held(x, index), lambda x, v: _put(x, index, v))

    def __setitem__(self, index, value):
        value = value.held if type(value) is Buffer else value
        has_views = getattr(self, "_views", None) or getattr(self, "_base", None)
        if not isinstance(self.held, Traced) and not isinstance(value, Traced) and not self._shared and not has_views:
            self.held[index] = value              # nobody has seen this array: fill it in place
        else:
            super().__setitem__(index, value)

    def __repr__(self):
        return f"Buffer({self.held!r})"


def _plain_or_held(x, index):
    from .numpy_api import getitem
    return getitem(x, index)


def _put(x, index, value):
    from .numpy_api import setitem
    return setitem(x, index, value)


def unwrap(x):
    return x.share() if type(x) is Buffer else x


# ---- the constructors -------------------------------------------------------------------------------------------------------------

def _maker(name):
    original = getattr(np, name)

    def make(*args, **kwargs):
        return Buffer(original(*args, **kwargs)) if _asked(name) else original(*args, **kwargs)
    return original, make


def _converter(name):
    original = getattr(np, name)

    def convert(a, dtype=None, *args, **kwargs):
        if not _asked(name):
            return original(a, dtype, *args, **kwargs)
        if isinstance(a, Traced):
            from .numpy_api import astype, copy
            a = unwrap(a)
            if not isinstance(a, Traced):
                return Buffer(original(a, dtype, *args, **kwargs))
            a = copy(a) if name == "array" and kwargs.get("copy", True) else a
            return a if dtype is None or a.dtype == dtype else astype(a, dtype)
        if isinstance(a, (list, tuple)) and _holds_traced(a):
            from .numpy_api import array
            return array(a, dtype)
        out = original(a, dtype, *args, **kwargs)
        return Buffer(out) if name == "array" and out.dtype.kind == "f" else out
    return original, convert


def _full():
    original = np.full

    def full(shape, fill_value, dtype=None, *args, **kwargs):
        if not _asked("full"):
            return original(shape, fill_value, dtype, *args, **kwargs)
        if isinstance(fill_value, Traced):
            from .numpy_api import astype, copy
            value = fill_value if dtype is None else astype(fill_value, dtype)
            return copy(np.broadcast_to(value, shape))
        return Buffer(original(shape, fill_value, dtype, *args, **kwargs))
    return original, full


def _like(name):
    original = getattr(np, name)

    def like(a, *args, **kwargs):
        if not _asked(name) or isinstance(a, Traced):
            return original(a, *args, **kwargs)
        if name == "full_like" and args and isinstance(args[0], Traced):
            from .numpy_functions.making import full_like
            return full_like(np.asarray(a), *args, **kwargs)
        return Buffer(original(a, *args, **kwargs))
    return original, like


def _holds_traced(items):
    return any(isinstance(i, Traced) or isinstance(i, (list, tuple)) and _holds_traced(i) for i in items)


def _asked(name):
    """Does user code of a thread that traces ask? (Libraries get NumPy's own arrays, compiled ones without frames of their own too.)"""
    if not getattr(_active, "depth", 0):
        return False
    frame = sys._getframe(2)
    code, offset = frame.f_code, frame.f_lasti
    if not is_user_code(code):
        return False
    known = _sites.get((id(code), offset))
    if known is None:
        called = _called_name(code, offset)
        known = _sites[id(code), offset] = (called == name if called is not None else name in code.co_names, code)
    return known[0]


def _called_name(code, offset):
    """The attribute that the call at a bytecode offset calls, as in np.zeros(...); None when it cannot be told.

    Walks back from the call until its arguments are accounted for on the stack.
    """
    before = [i for i in dis.get_instructions(code) if i.offset <= offset and i.opname not in ("CACHE", "RESUME")]
    if not before or before[-1].opname not in ("CALL", "PRECALL", "CALL_KW"):
        return None
    pushed, wanted = 0, before[-1].arg + (before[-1].opname == "CALL_KW")
    for i in reversed(before[:-1]):
        if i.opname in ("PRECALL", "KW_NAMES"):
            continue
        if i.opname in ("LOAD_METHOD", "LOAD_ATTR") and pushed >= wanted:
            return i.argval
        pushed += dis.stack_effect(i.opcode, i.arg if i.opcode >= dis.HAVE_ARGUMENT else None, jump=False)
        if pushed > wanted + 1:
            return None
    return None


_REPLACED = {**{n: _maker for n in ("zeros", "ones", "empty")}, **{n: _converter for n in ("array", "asarray", "asanyarray", "ascontiguousarray")},
             **{n: _like for n in ("zeros_like", "ones_like", "empty_like", "full_like")}, "full": lambda name: _full()}


class constructors:
    """Context manager: NumPy's constructors know traced values inside it, in this thread."""

    def __enter__(self):
        global _users
        with _lock:
            if _users == 0:
                for name, kind in _REPLACED.items():
                    if name not in _original:
                        _original[name] = kind(name)
                    setattr(np, name, _original[name][1])
            _users += 1
        _active.depth = getattr(_active, "depth", 0) + 1

    def __exit__(self, *_):
        global _users
        _active.depth -= 1
        with _lock:
            _users -= 1
            if _users == 0:
                for name in _REPLACED:
                    setattr(np, name, _original[name][0])


def call(fun, args):
    """Run the user's function under the interpreters its arguments belong to."""
    with constructors():
        try:
            return run(fun, args)
        except ValueError as error:
            if getattr(error.__cause__, "explained", False):
                raise error.__cause__ from None          # NumPy wraps what __float__ refuses into "setting an array element with a sequence"
            raise
