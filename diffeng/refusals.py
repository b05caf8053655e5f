"""What would lose a derivative without a word, and is refused: conversions to plain arrays and numbers, assignments into arrays of NumPy's own, values kept elsewhere.

What it is: the errors, with the user's line and the cure, and how the cure is found: by what the user's code calls, and what of NumPy's or SciPy's asks.
What it is not: who raises them (traced.py, buffers.py).
"""
import contextvars
import os
import re
import sys
import sysconfig
import warnings

import numpy as np

from .errors import refuse
from .lines import callee, is_library, is_user_code, line_of, run, user_call

ASSIGN = "the array was made outside of the function, or by none of NumPy's constructors (by a random generator, by SciPy). "\
         "Make it inside with np.zeros(...), or a copy of it with np.array(x), or write x = diffeng.at(x, i).set(v)"


def leaked(what):
    """The error of a value that outlives what it was made for."""
    return refuse(RuntimeError, f"{what}{{here}} meets a value of a derivative, a vmap or the body of a scan that has ended: it was kept outside of the function (in a "
                                "list, an attribute, a variable), where nothing knows of what it depends on. Return it from the function: as a result, with "
                                "has_aux=True, or as a y of the scan")


_STORES = ("[]", "fill", "setitem", "__setitem__", "itemset")
_LOOKS = ("isnan", "isinf", "isfinite", "isclose")                  # of math: what they tell is no number
_INSTEAD = {"permutation": "draw places, and take what is there: x[rng.permutation(len(x))]", "choice": "draw places, and take what is there: x[rng.choice(len(x), size)]",
            "permuted": "draw places, and take what is there: np.take_along_axis(x, rng.permuted(places, axis=1), 1)",
            "dot": "write X @ x or np.dot(X, x): the method X.dot of a plain array knows plain ones alone", "searchsorted": "write np.searchsorted(a, x)",
            "broadcast": "np.broadcast_shapes(x.shape, y.shape) has the shape, np.broadcast_arrays(x, y) has the arrays"}
judged = contextvars.ContextVar("judged", default=False)           # a judge watches: numbers taken out of their arrays are its business


def _called(frame):
    """(what a user knows a function as: one like __call__ by its class, vectorize, and a wrapper by what it wraps; its module)."""
    code, wrapped = frame.f_code, frame.f_locals.get("f") if frame.f_code.co_name == "wrapper" else None
    if callable(wrapped) and hasattr(wrapped, "__name__"):
        return wrapped.__name__, wrapped.__module__
    module = frame.f_globals.get("__name__", "")
    return code.co_qualname.split(".")[-2] if code.co_name.startswith("__") and "." in code.co_qualname else code.co_name, module


def multiplied_by_sparse(frame):
    """Is it a sparse array of SciPy's that asks for an array, in its product (and not for what a multiple of it holds)?"""
    while frame is not None and not is_user_code(frame.f_code) and frame.f_code.co_name != "_mul_scalar":
        if frame.f_code.co_name == "_matmul_dispatch":
            return True
        frame = frame.f_back
    return False


def converted(frame):
    """The error of a conversion to a plain array: by a library's function, by an assignment, or of a list in a ufunc."""
    from . import linalg, special
    from .numpy_api import FUNCTIONS
    inside = []
    while frame is not None and not is_user_code(frame.f_code) and frame.f_code is not run.__code__:
        inside += [_called(frame)] if is_library(frame.f_code) else []
        frame = frame.f_back
    if inside:
        twins = [(n, room) for n, module in reversed(inside) for room in (special, linalg) if n in room.TWINS and (room is special or "linalg" in module)]
        name = twins[0][0] if twins else next((n for n, _ in reversed(inside) if not n.startswith("_")), inside[-1][0])
        known, library = next((f for f in FUNCTIONS if f.__name__ == name), None), inside[-1][1].partition(".")[0]
        sparse = any([module.startswith("scipy.sparse.") and "linalg" not in module for _, module in inside])
        cure = (f"use {twins[0][1].__name__}.{name}, which takes traced and plain arrays alike" if twins else "of a sparse array there are A @ x and x @ A, and a * (A @ x) "
                "for (a * A) @ x" if sparse else "take the array of a series or frame first: df.to_numpy() @ x" if library == "pandas" else f"use {known.__module__.replace('numpy', 'np', 1)}.{name}" if known and library != "numpy"
                else "give it an array, not a list of traced values: np.array([...])" if known else "write it with numpy functions and ufuncs")
        return refuse(TypeError, f"{name}{{here}}, a function of {library}, converts a traced value to a plain array: "
                                 f"this would cut the derivative; {cure}")
    name = user_call(frame, True) if frame is not None else None
    if name in _STORES:
        return refuse(TypeError, "a traced value was assigned into a plain array{here}: " + ASSIGN)
    if frame is not None and _is_type(function := callee(frame)[1]):
        return _plain_number(function.__name__)
    if name in _INSTEAD:
        return refuse(TypeError, f"{name}{{here}} converts a traced value to a plain array: this would cut the derivative; {_INSTEAD[name]}")
    return refuse(TypeError, "a traced value was converted to a plain array{here}: this would cut the derivative. A list of traced "
                             "values that goes into a ufunc or an operator becomes an array with np.array([...]); otherwise " + ASSIGN)


def _is_type(function):
    return isinstance(function, type) and issubclass(function, np.generic)


def _plain_number(name):
    return refuse(TypeError, f"np.{name}(x){{here}} makes a plain number of a traced value: this would cut the derivative. "
                             f"Write x.astype(np.{name}), or leave it out")


def no_cut(x):
    """NumPy, math and compiled libraries ask a traced scalar for its float when they store it or compute with it."""
    frame = sys._getframe(2)
    if is_library(frame.f_code):
        raise refuse(TypeError, f"{frame.f_code.co_name}{{here}}, a function of {frame.f_globals.get('__name__', 'a library').partition('.')[0]}, takes a traced value for a plain number: this would "
                                "cut the derivative. Compute it with numpy functions and ufuncs, or outside of the function that is derived")
    name = user_call(frame, True)
    if name in _STORES:
        raise refuse(TypeError, "a traced value was assigned into a plain array{here}: " + ASSIGN)
    x = getattr(x, "held", x)                                       # what a buffer holds
    if judged.get() or not hasattr(x, "below"):                     # the judge says so itself, and compare reports it
        return
    told, function = (False, None) if name == "float" else callee(frame)
    if _is_type(function):
        raise _plain_number(function.__name__)
    if told and name not in _LOOKS and getattr(function, "__module__", None) != "builtins":
        what = f"math.{function.__name__}" if getattr(function, "__module__", None) == "math" else name or "what is called"
        raise refuse(TypeError, f"{what}{{here}} takes a traced value for a plain number: this would cut the derivative. Compute it with functions of numpy and scipy.special, "
                                "or, called by their names, of math (np.sin(x), math.sin(x)); or write float(x), where a plain number is meant")


def asked_at():
    """Where one of Python's conversions is asked for, from inside of its method: (code, offset)."""
    frame = sys._getframe(2)
    return frame.f_code, frame.f_lasti


def warn_if_cut(fun, interpreter, outputs):
    """Warns if the outputs of fun depend on nothing, and float(x) is why. outputs: None for what depends on nothing."""
    if interpreter.number_taken is not None and all([o is None for o in outputs]):
        from .trees import function_name
        warnings.warn(f"{function_name(fun)} returned plain numbers, whose derivative is 0: float() at {line_of([interpreter.number_taken])} took one out of a traced value. "
                      "Leave float() out where the derivative is meant", UserWarning, stacklevel=4)


def fixed(get, name):
    """The property of a traced value that NumPy lets a user set, for an array in place."""
    cure = "y = y.reshape(shape)" if name == "shape" else "y = y.astype(dtype)"

    def refused(self, value):
        raise refuse(AttributeError, f"y.{name} = ...{{here}}: the {name} of a traced value cannot be set in place; write {cure}")
    return property(get, refused)


class _NoNumber:
    """What stands in the memory of an array that holds traced values: whoever takes it for a number cuts a derivative."""

    __slots__ = ()
    __hash__ = None

    def _refused(self, *_):
        raise converted(sys._getframe(1))

    def __repr__(self):
        return "traced"


for _name in ("float int index bool complex array eq ne lt le gt ge add radd sub rsub mul rmul truediv rtruediv floordiv rfloordiv mod rmod pow rpow matmul rmatmul neg pos "
              "abs round").split():
    setattr(_NoNumber, f"__{_name}__", _NoNumber._refused)
NO_NUMBER = _NoNumber()


# ---- errors of others, who met one of our values where they know arrays and numbers alone ------------------------------------------------

_OURS = re.compile(r"\b(Tracer|Dual|Batched|PreciseArray|HeldBuffer|ArrayBuffer)\b")
_PYTHON = sysconfig.get_path("stdlib") + os.sep


def of_others(error):
    """The same error with the user's line and a cure; None for one that does not speak of a traced value."""
    text, axes = str(error), isinstance(error, NotImplementedError) and "Axis argument is only supported on ndarray objects" in str(error)
    found = _OURS.search(text)
    if not axes and (found is None or getattr(error, "explained", False) or type(error) not in (TypeError, AttributeError, ValueError)):
        return None
    method = re.search(r"descriptor '(\w+)' for 'numpy.ndarray'", text)
    cure = ("of a traced value draw places, and take what is there: x[:, rng.permutation(x.shape[1])]" if axes
            else f"the value is a traced one; write x.{method[1]}(...), its own method" if method
            else f"a {found[1]} is an array that was made inside of the function; make it outside, where it is NumPy's own" if found[1].endswith("Buffer")
            else f"a {found[1]} is a traced value, whose derivative would be cut; write it with numpy functions and ufuncs")
    frames, walk = [], error.__traceback__
    while walk is not None:
        frames += [(walk.tb_frame.f_code, walk.tb_lasti)] if _is_users(walk.tb_frame.f_code) else []
        walk = walk.tb_next
    out = (TypeError if axes else type(error))(f"{text} at {line_of(frames[-1:])}: {cure}" if frames else f"{text}: {cure}")
    out.explained = True
    return out


def _is_users(code):
    """User code, and neither Python's own library, whose functions are called by it (json, statistics), nor what Cython tells of itself."""
    return is_user_code(code) and not code.co_filename.endswith(".pyx") and (not code.co_filename.startswith(_PYTHON) or "site-packages" in code.co_filename)
