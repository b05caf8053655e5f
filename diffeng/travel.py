"""Functions on their way to another process: cloudpickle takes them there, and this file keeps what it forgets.

What it is: `Travelling(fun)`, whose `arrived()` is fun with its code knowing the file it was written in (cloudpickle drops the name), so that errors raised far
away name the user's line; `stuck(fun)`, the variable that keeps a function from travelling.
What it is not: nothing is sent or loaded here. Why a file: it is about functions alone; distributed.py is about tasks, and knows nothing of code objects.
"""
import inspect
import types

from .captured import Captured

FORGOTTEN = "<dynamic-code>"                # what cloudpickle has for a file name


class Travelling:
    """A function on its way, and the names of the files it is from; it may be pickled more than once, as by a scheduler in between."""

    def __init__(self, fun):
        self._fun = fun
        self._files = {(code.co_name, code.co_firstlineno): code.co_filename for f in Captured(fun).functions for code in _codes(f.__code__)}

    def arrived(self):
        """The function, whose code and that of the functions it uses bear their file names. What was imported by name never lost them, and is left alone."""
        for f in Captured(self._fun).functions:
            if f.__code__.co_filename == FORGOTTEN:
                f.__code__ = _renamed(f.__code__, self._files)
        return self._fun


def _codes(code):
    """A code object and those inside of it."""
    found = [code]
    for c in found:
        found += [inner for inner in c.co_consts if isinstance(inner, types.CodeType)]
    return found


def _renamed(code, files):
    constants = tuple([_renamed(c, files) if isinstance(c, types.CodeType) else c for c in code.co_consts])
    return code.replace(co_filename=files.get((code.co_name, code.co_firstlineno), FORGOTTEN), co_consts=constants)


def stuck(fun):
    """(name, value) of a variable that fun uses and that cannot travel; None when none is found."""
    import cloudpickle
    try:
        used = inspect.getclosurevars(fun)
    except TypeError:
        return None
    for name, value in {**used.globals, **used.nonlocals}.items():
        try:
            cloudpickle.dumps(value)
        except Exception:                   # whatever an object's own __reduce__ raises
            return name, value
    return None
