"""The other names of arguments: PyTorch's functions answer to NumPy's (axis, keepdims, x1, x2), and have some of their own that differ from function to function.

What it is: a table of words, and `answering`, which has a function take them. What it is not: no meaning of an argument.
"""
import functools
import inspect

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


def answering(function):
    """The function, whose arguments may come by their other names, too."""
    code = function.__code__
    own = code.co_varnames[:code.co_argcount + code.co_kwonlyargcount]
    names = {word: name for word, meant in _WORDS.items() if word not in own for name in meant if name in own}
    if not names or code.co_flags & inspect.CO_VARKEYWORDS:
        return function

    @functools.wraps(function)
    def answers(*args, **kwargs):
        if kwargs:
            kwargs = {names.get(word, word): x for word, x in kwargs.items()}
        return function(*args, **kwargs)
    return answers
