"""Which NumPy function means which primitives.

UFUNCS and FUNCTIONS are the tables the protocols of `Traced` look into; numpy_functions/ fills the second.
No interpreter is named here: every composition runs on nodes, dual numbers and 100-digit arrays alike.
"""
import builtins
import functools

import numpy as np

from . import vocabulary as v
from .constants import LOG2, PI
from .errors import explain, refuse
from .nodes import Primitive
from .traced import NUMBERS, OPERANDS, TRACED, Traced, is_scalar, overwrite, write
from .ufunc_dtypes import cast, resolved, returned
from .vocabulary import contraction, elementwise as e, indexing, reductions, shaping

FUNCTIONS = {}
OF_SEQUENCES = "concatenate stack hstack vstack dstack column_stack block select choose multi_dot broadcast_arrays".split()      # their lists are no arrays
IN_PLACE = "copyto fill_diagonal put putmask place put_along_axis".split()


def call_function(function, args, kwargs):
    handler = FUNCTIONS.get(function)
    if handler is None:
        name = _full_name(function)
        released = _released((args, kwargs))
        if released is not None:                 # arrays made inside the function that hold nothing traced, and integers: NumPy's own affair
            return function(*released[0], **released[1])
        if "linalg" in name:
            raise refuse(TypeError, f"{name}{{here}} has no derivative in diffeng yet: of numpy.linalg there are {_listed('linalg')}. Write it out with these, "
                                    "or give it only plain arrays, which do not depend on the inputs")
        raise refuse(TypeError, f"{name}{{here}} is not known to diffeng: write it with functions that are (docs/vocabulary.md lists them), or give it only "
                                "plain arrays, which do not depend on the inputs")
    out = kwargs.pop("out", None) if kwargs else None
    if len(args) > 1 and len(args) > (place := _place_of_out(function)):
        out, args = args[place], (*args[:place], *args[place + 1:])
    try:
        result = handler(*args, **kwargs)
    except (TypeError, ValueError, IndexError) as error:
        if getattr(error, "explained", False):
            raise
        name = _full_name(function)
        if "unexpected keyword" not in str(error) and "positional argument" not in str(error):
            raise explain(error, name.removeprefix("numpy."), [x for x in args if isinstance(x, (Traced, np.ndarray))]) from error
        released = _released((args, kwargs))
        if released is not None and out is None and function.__name__ not in IN_PLACE:
            return function(*released[0], **released[1])
        raise refuse(TypeError, f"{name}{{here}}: {str(error).split('()')[-1].strip()}: this option is not supported on traced values; leave it out") from error
    return result if out is None else _into(out, result, _full_name(function))


@functools.cache
def _place_of_out(function):
    """Where in its positional arguments a function of NumPy has `out`, which handlers do not have; else beyond all."""
    import inspect
    try:
        names = [p.name for p in inspect.signature(function).parameters.values() if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    except ValueError:                               # NumPy before 2.4 does not tell of functions written in C
        names = []
    return names.index("out") if "out" in names else 1 << 30


def _full_name(function):
    return f"{getattr(function, '__module__', 'numpy') or 'numpy'}.{function.__name__}"


def _listed(part):
    return ", ".join(sorted({f.__name__ for f in FUNCTIONS if part in (f.__module__ or "")}))


def _released(tree):
    """Arguments with plain arrays in the place of buffers that hold them, and of integers, which are looked at: no derivative goes through them. None where anything
    else is traced."""
    from .buffers import is_plain
    if isinstance(tree, Traced):
        return tree.share() if is_plain(tree) else plain(tree) if tree.dtype.kind in "iub" else None
    if type(tree) not in (list, tuple, dict):
        return tree
    parts = [_released(x) for x in (tree.values() if type(tree) is dict else tree)]
    if builtins.any(p is None and x is not None for p, x in zip(parts, tree.values() if type(tree) is dict else tree)):
        return None
    return dict(zip(tree, parts)) if type(tree) is dict else type(tree)(parts)


def as_written(result, dtype, name):
    """A result in the dtype of the array that takes it; TypeError where NumPy does not write it there."""
    if not np.can_cast(result.dtype, dtype, "same_kind"):
        raise refuse(TypeError, f"{name}{{here}}: a result of dtype {result.dtype} cannot be written into an array of dtype {dtype}; convert one with astype")
    return result if result.dtype == dtype else astype(result, dtype)


def _into(out, result, name):
    if isinstance(result, tuple):
        return tuple([r if o is None else _into(o, r, name) for o, r in zip(out if isinstance(out, tuple) else (out,), result, strict=True)])
    out = out[0] if isinstance(out, tuple) else out
    if not isinstance(out, Traced):
        raise refuse(TypeError, f"{name}{{here}}: a traced value cannot be written into a plain array (out= or an in-place operator): write x = x + y "
                                "instead of x += y, or make the array inside the function with np.zeros(...)")
    result = as_written(result, out.dtype, name)
    if result.shape == out.shape and isinstance(result, Traced):
        overwrite(out, result)
    else:
        out[...] = result
    return out


# ---- ufuncs -------------------------------------------------------------------------------------------------------------

UFUNCS = {getattr(np, p.name): p for p in v.PRIMITIVES.values() if isinstance(getattr(np, p.name, None), np.ufunc)}
_REDUCE = {np.add: np.sum, np.multiply: np.prod, np.maximum: np.max, np.minimum: np.min, np.logical_and: np.all, np.logical_or: np.any}
_ACCUMULATE = {np.add: np.cumsum, np.multiply: np.cumprod}


def _compositions():
    one = {
        np.positive: lambda x: e.copy(x), np.fabs: lambda x: e.absolute(x), np.float_power: lambda x, y: e.power(x, y),
        np.deg2rad: lambda x: x * (PI / 180), np.radians: lambda x: x * (PI / 180),
        np.rad2deg: lambda x: x * (180 / PI), np.degrees: lambda x: x * (180 / PI),
        np.fmax: lambda x, y: e.where(e.isnan(x), y, e.where(e.isnan(y), x, e.maximum(x, y))),
        np.fmin: lambda x, y: e.where(e.isnan(x), y, e.where(e.isnan(y), x, e.minimum(x, y))),
        np.logaddexp2: lambda x, y: _logaddexp2(x, y),
        np._core.umath.clip: lambda x, low, high: e.minimum(e.maximum(x, low), high),               # which ndarray.clip calls
        np.copysign: lambda x, y: e.where(e.signbit(y), -e.absolute(x), e.absolute(x)),
        np.heaviside: lambda x, y: e.where(e.equal(x, 0), y, (e.sign(x) + 1) / 2),
        np.fmod: lambda x, y: _fmod(x, e.absolute(y)), np.conjugate: lambda x: e.copy(x.conj()),
        np.divmod: lambda x, y: (e.floor_divide(x, y), e.remainder(x, y)), np.modf: lambda x: (e.where(e.isinf(x), 0.0, x - e.trunc(x)), e.trunc(x)),
        np.ldexp: lambda x, n: _ldexp(x, n), np.vecdot: _core(np.vecdot, lambda x, y: np.sum(np.conj(x) * y, axis=-1)),
    }
    for name, of_truth, of_integers in (("and", e.logical_and, e.bitwise_and), ("or", e.logical_or, e.bitwise_or), ("xor", e.logical_xor, e.bitwise_xor)):
        one[getattr(np, f"bitwise_{name}")] = _by_kind(of_truth, of_integers)
    one[np.invert] = _by_kind(e.logical_not, e.invert)
    if hasattr(np, "matvec"):                                # NumPy 2.2
        one[np.matvec] = _core(np.matvec, lambda a, x: contraction.matmul(a, np.expand_dims(x, -1))[..., 0])
        one[np.vecmat] = _core(np.vecmat, lambda x, a: contraction.matmul(np.expand_dims(np.conj(x), -2), a)[..., 0, :])
    return one


def _core(ufunc, composed):
    """Of operands whose last axes are those of the ufunc's signature: (m,n),(n)->(m)."""
    names = [c.strip("()").split(",") for c in ufunc.signature.partition("->")[0].split("),(")]

    def checked(*operands):
        sizes = {}
        for x, axes in zip(operands, names):
            if x.ndim < len(axes) or any([sizes.setdefault(a, n) != n for a, n in zip(axes, x.shape[x.ndim - len(axes):])]):
                raise refuse(ValueError, f"{ufunc.__name__}{{here}}: operands of shapes {', '.join(str(x.shape) for x in operands)} do not fit {ufunc.signature}")
        return composed(*operands)
    return checked


def _fmod(x, y):
    """The remainder with x's sign, for y > 0. Not by abs(x), whose slope at 0 is 0: this one's is 1."""
    return e.where(e.signbit(x), -e.remainder(-x, y), e.remainder(x, y))


def _ldexp(x, n):
    """x 2^n in three steps: 2^n alone may be too large, or too small, where the product is not. Any x is 0 or infinite where it went by 2^2200."""
    n = e.maximum(e.minimum(n, 2200), -2200)
    third = n // 3
    step = 2.0 ** third
    return x * step * step * 2.0 ** (n - 2 * third)


def _by_kind(of_truth, of_integers):
    """One meaning for booleans and one for integers: NumPy's ufunc has both."""
    return lambda *operands: (of_truth if operands[0].dtype == bool else of_integers)(*operands)


def _logaddexp2(x, y):
    """log2(2^x + 2^y) from powers of two, whose digits x log(2) would not have. The larger power is 1; what it lacks to that is 0, with a slope."""
    top = e.stop_gradient(e.maximum(x, y))
    top = e.where(e.isfinite(top), top, 0.0)
    a, b, first = e.exp2(x - top), e.exp2(y - top), e.greater_equal(x, y)
    return top + e.log1p(e.where(first, b, a) + (e.where(first, a, b) - 1)) / LOG2


UFUNCS.update(_compositions())


def scipy_ufunc(ufunc):
    """scipy.special's ufuncs by name: scipy need not be imported to know them."""
    name = ufunc.__name__.removeprefix("_")          # scipy.special.zeta is a function around a ufunc called _zeta
    if name in e.SCIPY:
        return v.PRIMITIVES[name]
    from . import special
    return getattr(special, name, None) if name in special.UFUNC_NAMES else None


def _computed(ufunc, primitive, operands, dtype=None):
    """A call of what stands for a ufunc. A primitive takes its dtypes from NumPy as it is; a composition of them, or a dtype that is asked for, has to ask."""
    if dtype is None and type(primitive) is Primitive:
        return primitive(*operands)
    operands, dtypes = resolved(ufunc, operands, dtype)
    return returned(primitive(*operands), dtypes)


def call_ufunc(ufunc, method, inputs, kwargs):
    primitive = UFUNCS.get(ufunc)
    if primitive is None:
        primitive = scipy_ufunc(ufunc)
        if primitive is None:
            released = _released((inputs, kwargs))
            if released is not None and not kwargs.get("out"):
                return getattr(ufunc, method)(*released[0], **released[1])
            if {*"".join(ufunc.types)} == {*"O->"}:                      # np.frompyfunc has made it
                return numpy_functions.entries.by_entries(ufunc, method, inputs, kwargs)
            raise refuse(TypeError, f"the ufunc {ufunc.__name__}{{here}} is not known to diffeng: write it with functions that are (docs/vocabulary.md lists them)")
        UFUNCS[ufunc] = primitive
    if method == "__call__":
        return _called(ufunc, primitive, inputs, kwargs)
    out = kwargs.pop("out", None)
    out = out[0] if isinstance(out, tuple) else out
    if out is not None:
        return _into(out, call_ufunc(ufunc, method, inputs, kwargs), ufunc.__name__)
    if method == "reduce" and ufunc in _REDUCE:
        axis = kwargs.pop("axis", inputs[1] if len(inputs) > 1 else 0)
        return call_function(_REDUCE[ufunc], (inputs[0],), {"axis": axis, **kwargs})
    if method == "accumulate" and ufunc in _ACCUMULATE:
        return call_function(_ACCUMULATE[ufunc], (inputs[0],), {"axis": inputs[1] if len(inputs) > 1 else 0, **kwargs})
    if method == "at" and ufunc in (np.add, np.subtract) and isinstance(inputs[0], Traced):
        target, index, value = inputs
        arrays, template = split_index(index, target)
        write(target, indexing.add_at(target, value if ufunc is np.add else -value, *arrays, index=template))
        return None
    from .numpy_functions import ufunc_methods
    if method == "at" and isinstance(inputs[0], Traced) or method in ("reduce", "accumulate", "reduceat", "outer") and ufunc.nin == 2 and ufunc.nout == 1:
        try:
            return (ufunc_methods.logaddexp_reduce if method == "reduce" and ufunc is np.logaddexp else getattr(ufunc_methods, method))(ufunc, *inputs, **kwargs)
        except TypeError as error:
            if "keyword" not in str(error):
                raise
    raise refuse(TypeError, f"{ufunc.__name__}.{method}{{here}} is not supported on traced values like this: write it with whole-array functions")


def _called(ufunc, primitive, inputs, kwargs):
    """ufunc(*inputs, **kwargs)"""
    if not kwargs:
        return _computed(ufunc, primitive, [x if type(x) in OPERANDS else operand(x) for x in inputs])
    out, dtype, mask = kwargs.pop("out", None), kwargs.pop("dtype", None), kwargs.pop("where", True)
    kwargs = {k: x for k, x in kwargs.items() if k not in ("casting", "order", "subok")}             # these say how, not what
    if kwargs:
        released = _released((inputs, kwargs))
        if released is not None and out is None and mask is True:
            return ufunc(*released[0], dtype=dtype, **released[1])
        raise refuse(TypeError, f"{ufunc.__name__}{{here}}: the option {sorted(kwargs)[0]!r} is not supported on traced values; move the axes with np.moveaxis, or leave it out")
    operands, mask = [operand(x) for x in inputs], operand(mask)
    if mask is True:
        result = _computed(ufunc, primitive, operands, dtype)
    elif out is None or ufunc.nout > 1:
        raise refuse(TypeError, f"{ufunc.__name__}{{here}}: with where= it needs out=, an array with the values of the entries that are not chosen "
                                "(NumPy leaves them to chance); or use np.where")
    else:
        from .numpy_functions.ufunc_methods import where_chosen
        kept = out[0] if isinstance(out, tuple) else out
        result = e.where(mask, _computed(ufunc, primitive, where_chosen(primitive, operands, mask), dtype), kept)
    return result if out is None else _into(out, result, ufunc.__name__)


REAL = "fiub"                           # kinds of dtypes


def operand(x):
    """Scalars, arrays and traced values pass; lists become arrays; what has no place in a derivative is refused."""
    if type(x) in OPERANDS or type(x) is np.ndarray and x.dtype.kind in REAL:
        return x
    if isinstance(x, np.ndarray):
        if x.dtype == object:
            return array(x.tolist())
        if type(x) is not np.ndarray:
            from .trees import no_subclass
            no_subclass(x, lambda: "an operand")
    if complex_values.is_complex(x):
        return x if isinstance(x, Traced) else complex_values.paired(x)
    if isinstance(x, (np.ndarray, np.generic)):
        return x
    if isinstance(x, (list, tuple)):
        return operand(array(x))
    if _is_array_like(x):
        return operand(x.__array__())
    return int(x) if isinstance(x, int) else float(x) if isinstance(x, float) else x             # of a class of its own: an IntEnum


def _is_array_like(x):
    """Has it numbers, and no functions of its own for them? So have pandas' series and frames."""
    return hasattr(x, "__array__") and not isinstance(x, (Traced, np.ndarray, np.generic)) and not hasattr(x, "__array_function__")


def arrayed(x):
    """An operand as np.asarray makes it: a Python number is an array like any other, with a dtype of its own."""
    x = operand(x)
    if isinstance(x, Traced):
        return e.astype(x, dtype=x.dtype) if x.interpreter.is_number(x) else x
    return np.asarray(x)


# ---- what the methods and other modules call directly -----------------------------------------------------------------------------

def axes_of(axis, ndim):
    """A sorted tuple of axes >= 0; None: all of them."""
    if axis is None:
        return tuple(range(ndim))
    if type(axis) is int and -ndim <= axis < ndim:
        return (axis % ndim,)
    axis = tuple(axis) if isinstance(axis, (tuple, list)) else (axis,)
    return tuple(sorted(np.lib.array_utils.normalize_axis_tuple(axis, ndim)))


def axis_of(axis, ndim):
    if type(axis) is int and -ndim <= axis < ndim:
        return axis % ndim
    return np.lib.array_utils.normalize_axis_index(axis, ndim)


def astype(x, dtype):
    return e.astype(x, dtype=np.dtype(dtype))


def copy(x, order="C"):
    """A copy whose entries lie in this order: "C", "F", "K" as in x, "A" in "F" if they do in x."""
    if order != "C" and np.ndim(x) > 1:
        from .numpy_functions.shaping import in_memory, transposed
        axes = in_memory(x, order)
        if axes is not None:
            return transposed(e.copy(transposed(x, axes)), [axes.index(k) for k in range(len(axes))])
    return e.copy(x)


def without_axes(x):
    """A scalar as an array without axes, which can be written into; anything else as it is."""
    return np.reshape(np.reshape(x, (1,)), ()) if isinstance(x, Traced) and not x.shape and is_scalar(x) else x


def logsumexp(x, axis=None, keepdims=False):
    return reductions.logsumexp(x, axis=axes_of(axis, np.ndim(x)), keepdims=builtins.bool(keepdims))


def _numbers(items):
    """(shape, numbers) of nested lists of traced numbers and others; None where arrays are among them, or lists of other lengths."""
    if type(items[0]) in (list, tuple):
        rows = [_numbers(i) if type(i) in (list, tuple) and i else None for i in items]
        if None in rows or builtins.any([r[0] != rows[0][0] for r in rows]):
            return None
        return (len(rows), *rows[0][0]), [x for r in rows for x in r[1]]
    return ((len(items),), items) if builtins.all([type(i) in NUMBERS or type(i) in TRACED and not i.shape for i in items]) else None


def array(items, dtype=None):
    """np.array of nested lists in which traced scalars or arrays occur: stacked level by level, or in one go."""
    found = _numbers(items) if isinstance(items, (list, tuple)) and items else None
    if found is not None and builtins.any([type(i) in TRACED for i in found[1]]) and numpy_functions.shaping.stacks(found[1]):
        out = shaping.stack(*found[1], axis=0)
        out = out if len(found[0]) == 1 else shaping.reshape(out, shape=found[0])
    elif isinstance(items, (list, tuple)):
        parts = [i if type(i) in TRACED else array(i) for i in items]
        if not parts or not builtins.any([type(p) in TRACED for p in parts]):
            out = np.array([np.asarray(p) for p in parts])
        else:
            shapes = {p.shape for p in parts}
            if len(shapes) > 1:
                raise refuse(ValueError, f"array{{here}}: the parts have shapes {', '.join(sorted(map(str, shapes)))}: an array needs equal ones; use np.concatenate")
            out = numpy_functions.shaping.stack(parts)
    else:
        out = items if isinstance(items, Traced) else np.asarray(items)
    return out if dtype is None or out.dtype == dtype else astype(out, dtype)


_PLACES = frozenset({int, type(None), type(Ellipsis)})           # parts of an index that stand for themselves


def is_basic(items):
    """Slices, integers, None and Ellipsis only: NumPy then returns a view."""
    for i in items:
        if type(i) is slice:
            if type(i.start) not in _PLACES or type(i.stop) not in _PLACES or type(i.step) not in _PLACES:
                return False
        elif type(i) not in _PLACES:
            return False
    return True


def split_index(index, of=None):
    """(operands, template): integer arrays become operands, all else stays in the template (vocabulary/indexing.py). of: what is indexed."""
    items, arrays, template = index if isinstance(index, tuple) else (index,), [], []
    if is_basic(items):
        return arrays, items
    for i in items:
        if isinstance(i, (list, range, tuple)):
            i = array(list(i)) if len(i) else np.zeros(0, int)
        i = i.__array__() if _is_array_like(i) else i
        if isinstance(i, Traced) and i.dtype.kind == "b":
            i = np.asarray(i._look("mask", lambda x: plain(x)))       # a mask decides shapes: its value is looked at, like an `if`
        if isinstance(i, (Traced, np.ndarray)) and i.dtype.kind in "iu":
            template.append(indexing.Slot(len(arrays)))
            arrays.append(i)
        elif isinstance(i, slice):
            template.append(slice(*[None if k is None else int(k) for k in (i.start, i.stop, i.step)]))
        elif i is None or i is Ellipsis:
            template.append(i)
        elif isinstance(i, (bool, np.bool_)) or isinstance(i, np.ndarray) and i.dtype == bool:
            template.append(_as_it_is(i, of))
        elif isinstance(i, (int, np.integer)):
            template.append(int(i))
        else:
            raise refuse(IndexError, f"getitem{{here}}: {f'a value of dtype {i.dtype}' if isinstance(i, Traced) else type(i).__name__} is no index; "
                                     "use integers, slices, integer arrays or boolean masks (x.astype(int) makes integers)")
    return arrays, tuple(template)


def _as_it_is(mask, of):
    """A mask as it is now, for every recording that it goes into: it may be written into later."""
    while isinstance(of, Traced) and type(mask) is np.ndarray:
        mask, of = of.interpreter.held(mask), getattr(of, "below", None)
    return mask


def plain(x):
    """The ndarray below a traced value: for masks and other looks. Raises where there is none."""
    while isinstance(x, Traced):
        return x._look("mask", plain)
    return np.asarray(x)


def getitem(x, index):
    items = index if isinstance(index, tuple) else (index,)
    if items and isinstance(items[0], Traced) and complex_values.is_complex(x):
        return complex_values.entries(x, index)
    if items and isinstance(items[0], Traced) and (found := selections.chosen(x, items)) is not None:
        return found
    arrays, template = split_index(index, x)
    return indexing.getitem(x, *arrays, index=template)


def setitem(x, index, value):
    """x with x[index] = value, in x's own dtype, as NumPy does it."""
    value = operand(value)
    if x.dtype.kind == "c":
        return complex_values.written(x, index, value)
    if isinstance(value, Traced) and value.dtype != x.dtype:
        value = astype(value, x.dtype)
    items = index if isinstance(index, tuple) else (index,)
    if items and isinstance(items[0], Traced) and (found := selections.written(x, items, value)) is not None:
        return found
    arrays, template = split_index(index, x)
    return indexing.setitem(x, value, *arrays, index=template)


from . import complex_values, selections          # noqa: E402  whose values have operators, too
from . import operators, numpy_functions          # noqa: E402,F401  the one gives Traced its operators, the other fills FUNCTIONS
