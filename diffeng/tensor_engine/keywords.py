"""The other names of arguments: PyTorch's functions answer to NumPy's (axis, keepdims, x1, x2), and have some of their own that differ from function to function.

What it is: a table of words, and `answering`, which has a function take them; what they all take, out= and formats of memory. What it is not: no other meaning of an argument.
"""
import enum
import functools
import inspect

from ..errors import refuse
from .core import TensorBase, constant
from .grad_mode import mode
from .rules import name_of


class memory_format(enum.Enum):
    """PyTorch's words for how entries lie in memory. They are taken, and have no effect: entries lie in C order here, and a convolution finds its own order."""

    preserve_format, contiguous_format, channels_last, channels_last_3d = range(4)

    def __repr__(self):
        return f"diffeng.{self.name}"


class layout(enum.Enum):
    """PyTorch's word for arrays that are not sparse: the only one here."""

    strided = 0


WITHOUT_EFFECT = ("memory_format", "layout", "pin_memory")

_FIRST = ("input", "x", "a", "x1", "tensor", "dividend")          # what a function without positional arguments calls its first operand
_WORDS = {"axis": ("dim", "dims"), "keepdims": ("keepdim",), "axis0": ("dim0",), "axis1": ("dim1",),
          "axis2": ("dim2",), "x2": ("other",), "from": ("start",), "exponent": ("other",), "values": ("other",),
          "split_size_or_sections": ("split_size",), "sections": ("indices_or_sections",), "indices": ("indices_or_sections",),
          "input": ("A", "x", "a", "self"), "x": ("input",), "a": ("input",), "x1": ("input",), "tensor": ("input",)}
KEYWORDS = {"axis": "dim", "keepdims": "keepdim"}


def with_input(args, kwargs):
    """The positional arguments of a function, the first of which may have come by a name that PyTorch or NumPy gives it: softmax(input=x, dim=-1)."""
    name = "input" if "input" in kwargs else None if args else next((n for n in _FIRST if n in kwargs), None)
    return args if name is None else (kwargs.pop(name), *args)


def into(out, function, args, kwargs):
    """function(*args, **kwargs), written into the tensor `out`, or into several, which are returned. A tensor of another shape takes that of the result, and other memory.

    Raises RuntimeError where a gradient is asked for, which has no way through `out`, and where the result's dtype cannot become that of `out`.
    """
    name, written = function.__name__, [out] if isinstance(out, TensorBase) else out
    if out is None:
        return function(*args, **kwargs)
    if mode.enabled and any([isinstance(x, TensorBase) and x.requires for x in (*args, *kwargs.values(), *written)]):
        raise refuse(RuntimeError, f"{name}{{here}}: functions with out=... arguments don't support automatic differentiation, but one of the arguments requires grad: call it "
                                   "without out=, or inside `with no_grad():`")
    found = function(*args, **kwargs)
    for t, new in zip(written, [found] if isinstance(found, TensorBase) else found):
        if t.shape == new.shape:
            t._write(name, new)
        elif new.dtype.kind == "f" and t.dtype.kind != "f":
            raise refuse(RuntimeError, f"{name}{{here}}: result type {name_of(new.dtype)} can't be cast to the desired output type {name_of(t.dtype)}: give out a float dtype")
        else:
            t.data = constant(new.held())
    return out if isinstance(found, TensorBase) else type(found)(*out) if hasattr(found, "_fields") else tuple(out)


def with_common(make):
    """A function that makes a tensor, with what all of them take: out, and words about memory, which have no effect."""
    @functools.wraps(make)
    def made(*args, **kwargs):
        if kwargs:
            for word in WITHOUT_EFFECT:
                kwargs.pop(word, None)
            if "out" in kwargs:
                return into(kwargs.pop("out"), make, args, kwargs)
        return make(*args, **kwargs)
    return made


def answering(function, method=False):
    """The function, whose arguments may come by their other names, too. method: it is one of a tensor, which has no out."""
    code = function.__code__
    own = code.co_varnames[:code.co_argcount + code.co_kwonlyargcount]
    names = {word: name for word, meant in _WORDS.items() if word not in own for name in meant if name in own}
    if method and not names or code.co_flags & inspect.CO_VARKEYWORDS:
        return function

    @functools.wraps(function)
    def answers(*args, **kwargs):
        if kwargs:
            if "out" in kwargs and not method:
                return into(kwargs.pop("out"), answers, args, kwargs)
            kwargs = {names.get(word, word): x for word, x in kwargs.items()}
        return function(*args, **kwargs)
    return answers
