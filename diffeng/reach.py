"""What a function's code may read of the objects around it: the names it loads, and which objects have attributes worth watching.

What it is: `loaded(code)`, the attributes and globals that code objects name, and the questions that captured.py asks of a value before it looks inside.
What it is not: it runs nothing and keeps nothing of values; what is found under the names is captured.py's.
"""
import dis
import enum
import functools
import os
import sysconfig
import types

import numpy as np

from .lines import is_user_code

_ENGINE = (__package__, "numpy", "scipy")
_REFLECTIVE = {"getattr", "hasattr", "vars", "dir", "__dict__", "__getattribute__", "__slots__", "__match_args__"}
_REFLECTIVE_MODULES = ("copy", "dataclasses", "inspect", "operator", "optree", "pickle")
UNASKED = frozenset({"__init__", "__new__", "__post_init__", "__repr__", "__del__", "__setattr__", "__delattr__", "__reduce__", "__reduce_ex__", "__getstate__",
                     "__setstate__", "__init_subclass__", "__class_getitem__", "__set_name__"})           # methods that using an object does not call
_INSTALLED = tuple({os.path.abspath(sysconfig.get_paths()[k]) + os.sep for k in ("stdlib", "platstdlib", "purelib", "platlib")}
                   | {os.path.dirname(os.path.abspath(__file__)) + os.sep})


@functools.lru_cache(maxsize=4096)
def loaded(code):
    """(attributes, globals, reflective, imports) of a code object and those inside of it: the names it loads; may it read attributes that it does not name?
    does it import?"""
    attributes, names, codes = set(), set(), [code]
    reflective = imports = False
    while codes:
        code = codes.pop()
        codes += [c for c in code.co_consts if isinstance(c, types.CodeType)]
        for i in dis.get_instructions(code):
            if i.opname in ("LOAD_ATTR", "LOAD_METHOD", "LOAD_SUPER_ATTR"):
                attributes.add(i.argval)
            elif i.opname in ("LOAD_GLOBAL", "LOAD_NAME"):
                names.add(i.argval)
            reflective, imports = reflective or i.opname == "MATCH_CLASS", imports or i.opname == "IMPORT_NAME"
    return frozenset(attributes), tuple(sorted(names)), reflective or not _REFLECTIVE.isdisjoint(attributes | names), imports


def reflects(value):
    """A module, or a function of one, that reads attributes of objects by names of its own: copy, operator, dataclasses."""
    name = value.__name__ if isinstance(value, types.ModuleType) else getattr(value, "__module__", None)
    return isinstance(name, str) and name.partition(".")[0].lstrip("_") in _REFLECTIVE_MODULES


def has_attributes(x):
    """An object whose attributes are the user's: an instance of a class written in Python, or a namespace. Not the engine's own, nor NumPy's."""
    return not _engine(type(x)) and (hasattr(x, "__dict__") or any(c.__dict__.get("__slots__") for c in type(x).__mro__))


def is_constant(x):
    """A value that its type and text tell all about: a number, a text, or what is compared and hashed by its content."""
    kind = type(x)
    if isinstance(x, (slice, enum.Enum)):
        return True
    by_content = kind.__hash__ not in (None, object.__hash__) and kind.__eq__ is not object.__eq__
    return (kind is type(None) or x is Ellipsis or by_content) and not (isinstance(x, (np.ndarray, memoryview)) or callable(x) or has_attributes(x))


def of_numpy(x):
    """An object of NumPy's or SciPy's that holds others: a sparse array, a polynomial, a spline."""
    return hasattr(x, "__dict__") and not isinstance(x, (type, types.ModuleType, types.FunctionType)) \
        and isinstance(type(x).__module__, str) and type(x).__module__.partition(".")[0] in ("numpy", "scipy")


def _engine(cls):
    module = cls.__module__ if isinstance(cls.__module__, str) else ""
    return module.partition(".")[0] in _ENGINE and not module.startswith(f"{__package__}.llm")


def classes(cls):
    """Those of a class and its bases that were written in Python, by the user or somebody else."""
    return [c for c in cls.__mro__ if c.__flags__ & 1 << 9 and not _engine(c)]             # Py_TPFLAGS_HEAPTYPE


def slots(cls):
    """name -> descriptor of what __slots__ declare."""
    return {name: d for c in classes(cls) for name, d in vars(c).items() if isinstance(d, types.MemberDescriptorType)}


def is_own_module(x):
    """A module of the user's program: neither Python's, nor an installed package."""
    path = getattr(x, "__file__", None)
    if path is None:                               # made by the program itself, or a prompt
        return getattr(x, "__spec__", None) is None
    return not path.startswith(_INSTALLED) and not os.path.abspath(path).startswith(_INSTALLED)


def package(f):
    """The package that a function is of, where that is an installed one or Python's own; None for the user's program."""
    return f.__globals__.get("__name__", "").partition(".")[0] if os.path.abspath(f.__code__.co_filename).startswith(_INSTALLED) else None


def empty(x):
    """A new object of x's class with nothing in it; None where that would be no equal of x (finalizers, attributes that are computed, layouts of builtins)."""
    cls = type(x)
    if isinstance(x, types.ModuleType):
        return types.ModuleType(x.__name__)
    if any("__del__" in vars(c) or "__getattribute__" in vars(c) for c in classes(cls)):
        return None
    try:
        return cls() if cls is types.SimpleNamespace else object.__new__(cls)
    except TypeError:
        return None


def functions_of(value):
    """The functions behind what a class holds under a name: a method, a property, a class method, ..."""
    inner = (value.__func__ if isinstance(value, (staticmethod, classmethod)) else value.fget if isinstance(value, property)
             else value.func if isinstance(value, functools.cached_property) else value)
    return [inner] if isinstance(inner, types.FunctionType) else []


def cells(f):
    """(number, cell, what is in it) of a function's closure, without those in which there is nothing yet."""
    for k, cell in enumerate(f.__closure__ or ()):
        try:
            value = cell.cell_contents
        except ValueError:
            continue
        yield k, cell, value


def is_user_function(f):
    return is_user_code(f.__code__)
