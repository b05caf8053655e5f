"""The functions of PyTorch's namespace: matmul(a, b), cat([a, b]), max(x, dim=0), ...; and the methods that are the same thing.

A line of _SIGNATURES says how many of the arguments are operands, and what the others are called.
"""
import collections

import numpy as np

from ..errors import refuse
from . import core, rules
from .aliases import sharing
from .core import TensorBase
from .grad_mode import mode
from .keywords import KEYWORDS, answering, into, with_input
from .operations import OPS
from .reductions import spread_over

_SIGNATURES = {
    2: {"add sub": "alpha", "mul floor_divide remainder fmod pow atan2 hypot logaddexp maximum minimum eq ne lt le gt ge logical_and logical_or logical_xor "
        "bitwise_and bitwise_or bitwise_xor matmul mm bmm mv dot outer kron": "", "div": "rounding_mode", "isclose": "rtol atol equal_nan", "tensordot": "dims"},
    1: {"neg exp exp2 expm1 log log2 log10 log1p sqrt rsqrt sin cos tan asin acos atan sinh cosh tanh asinh acosh atanh erf erfc sigmoid reciprocal lgamma digamma "
        "floor ceil trunc abs sign square isnan isinf isfinite logical_not bitwise_not logsigmoid": "", "relu silu": "inplace", "round": "decimals", "sum mean prod": "dim keepdim dtype",
        "amax amin any all argmax argmin logsumexp": "dim keepdim", "count_nonzero": "dim", "softmax log_softmax cumsum cumprod": "dim dtype",
        "argsort": "dim descending stable", "gelu": "approximate", "leaky_relu": "negative_slope inplace", "softplus": "beta threshold", "nan_to_num": "nan posinf neginf"},
    3: {"where masked_fill lerp": "", "addcmul addcdiv": "value", "addmm": "beta alpha"},
}
_SYNONYMS = {"subtract": "sub", "multiply": "mul", "divide": "div", "true_divide": "div", "absolute": "abs", "negative": "neg", "arcsin": "asin",
             "arccos": "acos", "arctan": "atan", "arctan2": "atan2", "arcsinh": "asinh", "arccosh": "acosh", "arctanh": "atanh", "greater": "gt",
             "greater_equal": "ge", "less": "lt", "less_equal": "le", "not_equal": "ne", "vdot": "dot", "ger": "outer", "fix": "trunc", "sgn": "sign", "expit": "sigmoid", "clip": "clamp"}
_NUMBER_FIRST = {"add", "sub", "addcmul", "addcdiv"}          # where PyTorch's older code gives alpha or value before the tensors: m.add(0.1, g)
_OPERANDS = "other exponent mask value mat1 batch1 mat2 batch2 vec vec2 tensor tensor1 end weight tensor2 y b x2 divisor".split()
_MISSING = object()


def operand(x, otherwise=_MISSING):
    """A tensor, a Python number, or an array as a tensor."""
    if isinstance(x, (TensorBase, bool, int, float)):
        return x
    if isinstance(x, np.generic):
        return x.item()
    if isinstance(x, np.ndarray) and x.dtype.kind in "fiub":
        return sharing(x, ())
    if otherwise is not _MISSING:
        return otherwise
    raise refuse(TypeError, f"{{here}}: an operation on tensors met an object of type {type(x).__name__}: use tensors, arrays or numbers".lstrip(" :"))


def applied(op, operands, params, inplace=False):
    """op(*operands), or, inplace, the first operand, which takes the result's value and history. Raises RuntimeError for a leaf that requires a gradient."""
    x, *others = operands
    if not inplace:
        return op(x, *others, **params)
    as_it_was = OPS["clone"](x) if x.requires and mode.enabled else x                # a derivative may read it
    return x._write(op.name + "_", op(as_it_was, *others, **params))


def _method(name, count, names):
    op = OPS[name]

    def method(*args, **kwargs):
        if count == 1 and not kwargs and len(args) == 1 and isinstance(args[0], TensorBase):
            return op(args[0])
        if "out" in kwargs:
            return into(kwargs.pop("out"), method, args, kwargs)
        args = with_input(args, kwargs)
        if len(args) == count + 1 and name in _NUMBER_FIRST and not isinstance(args[1], TensorBase):
            args = (args[0], *args[2:], args[1])
        given = dict(zip(names, args[count:]))
        for key, x in kwargs.items():
            given[KEYWORDS.get(key, key)] = x
        operands = [operand(x) for x in args[:count]]
        while len(operands) < count:                    # an operand by its name
            key = next((k for k in _OPERANDS if k in given and k not in names), None)
            if key is None:
                raise refuse(TypeError, f"{name}{{here}}: an operand is missing: it takes {count}")
            operands.append(operand(given.pop(key)))
        if given:
            unknown = [k for k in given if k not in names]
            if unknown or len(args) - count > len(names):
                raise refuse(TypeError, f"{name}{{here}}: got an unexpected argument {(unknown or ['more than there are'])[0]!r}; it takes "
                                        f"{', '.join(names) or 'operands only'}")
            inplace = given.pop("inplace", False)
            for key, x in given.items():
                if isinstance(x, list):
                    given[key] = tuple(x)
            return applied(op, operands, given, inplace)
        return op(*operands)
    method.__name__ = method.__qualname__ = name
    method.__doc__ = op.function.__doc__ or f"{name} of tensors, as PyTorch's."
    return method


METHODS = {n: _method(n, count, params.split()) for count, lines in _SIGNATURES.items() for words, params in lines.items() for n in words.split()}


def clamp(input, min=None, max=None):
    """Between the bounds, numbers or tensors."""
    if isinstance(min, TensorBase) or isinstance(max, TensorBase):
        return _CLAMP(input, -np.inf if min is None else min, np.inf if max is None else max)
    return OPS["clamp"](input, low=min, high=max)


_CLAMP = core.Operation(lambda x, low, high: OPS["clamp"].function(x, low, high), "clamp")
METHODS["clamp"] = clamp
METHODS["clamp_min"], METHODS["clamp_max"] = lambda input, min: clamp(input, min=min), lambda input, max: clamp(input, max=max)
METHODS["baddbmm"] = METHODS["addmm"]                          # of many
for _new, _old in _SYNONYMS.items():
    METHODS[_new] = METHODS[_old]


def named(name, results):
    """(values, indices) as PyTorch's named tuple."""
    return _RETURNS[name](*results)


_RETURNS = {n: collections.namedtuple(n, "values indices") for n in "max min sort topk median".split()}


def extreme(x, dim, keepdim, name, pairwise, whole):
    """max and min: of all entries, along an axis, or of two tensors."""
    if isinstance(dim, TensorBase):
        return OPS[pairwise](x, dim)
    if dim is None:
        if not x.numel():
            raise refuse(RuntimeError, f"{name}(){{here}}: Expected reduction dim to be specified for input.numel() == 0. Specify the reduction dim with the "
                                       f"'dim' argument.")
        return OPS[whole](x)
    return named(name, OPS[name + "_along"](x, dim=dim, keepdim=keepdim))


def cat(tensors, dim=0):
    """Tensors one after the other along an axis."""
    return OPS["cat"](*_several(tensors, "cat"), dim=dim)


def stack(tensors, dim=0):
    """Tensors along a new axis."""
    return OPS["stack"](*_several(tensors, "stack"), dim=dim)


def _several(tensors, name):
    if isinstance(tensors, TensorBase) or not len(tensors):
        raise refuse(TypeError if isinstance(tensors, TensorBase) else RuntimeError, f"{name}(){{here}}: expected a non-empty list of Tensors")
    return [operand(t) for t in tensors]


def hstack(tensors):
    tensors = [t if t.ndim else t.reshape(1) for t in tensors]
    return cat(tensors, 0 if tensors[0].ndim <= 1 else 1)


def vstack(tensors):
    return cat([t.reshape(1, -1) if t.ndim <= 1 else t for t in tensors], 0)


def einsum(equation, *operands):
    """Sums of products in index notation: einsum("ij,jk->ik", a, b), or einsum(a, [0, 1], b, [1, 2], [0, 2])."""
    if isinstance(equation, TensorBase):
        given = (equation, *operands)
        operands, axes = given[:len(given) // 2 * 2:2], given[1::2]
        words = ["".join(["..." if k is Ellipsis else chr(97 + k) if k < 26 else chr(39 + k) for k in letters]) for letters in (*axes, *given[len(given) // 2 * 2:])]
        equation = ",".join(words[:len(operands)]) + "->".join(["", *words[len(operands):]])
    if len(operands) == 1 and isinstance(operands[0], (list, tuple)):
        operands = operands[0]
    return OPS["einsum"](*[operand(x) for x in operands], equation=equation)


def where(condition, input=None, other=None):
    """input where the condition holds, else other; the indices of what holds, without them."""
    if input is None:
        return condition.nonzero(as_tuple=True)
    return OPS["where"](operand(condition), operand(input), operand(other))


METHODS["where"] = lambda self, condition, other: OPS["where"](operand(condition), self, operand(other))


def broadcast_to(input, size):
    return input.expand(size)


def broadcast_tensors(*tensors):
    shape = np.broadcast_shapes(*[t.shape for t in tensors])
    return tuple(t.expand(shape) for t in tensors)


def meshgrid(*tensors, indexing="ij"):
    """Coordinates on a grid."""
    tensors = tensors[0] if len(tensors) == 1 and isinstance(tensors[0], (list, tuple)) else tensors
    n = len(tensors)
    shape = tuple(t.shape[0] if t.ndim else 1 for t in tensors)
    out = tuple(t.reshape([-1 if j == k else 1 for j in range(n)]).expand(shape) for k, t in enumerate(tensors))
    return tuple(t.transpose(0, 1) for t in out) if indexing == "xy" and n > 1 else out


def var_mean(input, dim=None, unbiased=None, keepdim=False, *, correction=1):
    """(the variance, the mean) along axes: as var and mean have them."""
    return _with_mean("var", input, *spread_over(dim, unbiased, correction), keepdim)


def std_mean(input, dim=None, unbiased=None, keepdim=False, *, correction=1):
    """(the standard deviation, the mean) along axes."""
    return _with_mean("std", input, *spread_over(dim, unbiased, correction), keepdim)


def _with_mean(name, input, dim, correction, keepdim):
    return OPS[name](input, dim=dim, correction=correction, keepdim=keepdim), OPS["mean"](input, dim=dim, keepdim=keepdim)


def isin(elements, test_elements, *, assume_unique=False, invert=False):
    """Which of the elements are among the others, or, with invert, are not? Truth values in the shape of elements. One of the two may be a number."""
    given = [x for x in (elements, test_elements) if isinstance(x, TensorBase)]
    return core.beside(given[0], np.isin(*[x.value if isinstance(x, TensorBase) else x for x in (elements, test_elements)], assume_unique, invert=invert))


def numel(input):
    return input.numel()


def is_tensor(obj):
    """Is it a tensor?"""
    return isinstance(obj, TensorBase)


def one_hot(input, num_classes=-1):
    """int64 rows with a one at each class. Raises RuntimeError for a class below 0, or not below num_classes."""
    if input.dtype.kind not in "iu":
        raise refuse(RuntimeError, f"one_hot{{here}}: one_hot is only applicable to index tensor, and this one is {input.dtype.name}: convert it with .long()")
    if not input.numel() and num_classes == -1:
        raise refuse(RuntimeError, "one_hot{here}: Can not infer total number of classes from empty tensor: pass num_classes")
    value = input.value
    n = int(value.max()) + 1 if num_classes == -1 else num_classes
    wrong = value[(value < 0) | (value >= n)]
    if wrong.size:
        raise refuse(RuntimeError, f"one_hot{{here}}: Class values must be non-negative and smaller than num_classes: {wrong[0]} is not among the classes 0 to {n - 1}")
    return core.beside(input, np.eye(n, dtype=np.int64)[value])


def result_type(tensor1, tensor2):
    """The dtype in which two operands meet."""
    return rules.result_type(*[t.held() if isinstance(t, TensorBase) else t for t in (tensor1, tensor2)])


def _through(name):
    def function(*args, **kwargs):
        if "out" in kwargs:
            return into(kwargs.pop("out"), function, args, kwargs)
        x, *args = with_input(args, kwargs)
        return getattr(x, name)(*args, **kwargs)
    function.__name__, function.__doc__ = name, f"x.{name}(...) as a function."
    return function


_OF_METHODS = ("reshape flatten transpose permute squeeze unsqueeze chunk split unbind narrow select swapaxes swapdims movedim moveaxis t tile flip roll tril triu diagonal "
               "diag trace gather scatter scatter_add index_select index_add masked_select take nonzero max min sort topk median norm var std clone detach allclose equal "
               "ravel is_floating_point unflatten multinomial").split()
FUNCTIONS = {**METHODS, **{n: _through(n) for n in _OF_METHODS}}
FUNCTIONS.update({f.__name__: answering(f) for f in (
    clamp, cat, stack, hstack, vstack, einsum, where, broadcast_to, broadcast_tensors, meshgrid, var_mean, std_mean, isin, numel, is_tensor, result_type)})
FUNCTIONS.update(concat=FUNCTIONS["cat"], concatenate=FUNCTIONS["cat"])
globals().update({n: f for n, f in FUNCTIONS.items() if n not in globals()})
__all__ = [*FUNCTIONS]
