"""Functions on their way to another process: cloudpickle packs them, and this file adds what it leaves out.

What it is: `Travelling(fun)`, a parcel that anybody may pass on without opening it, and whose `arrived()` is fun: its code knows the file it was written in
(cloudpickle drops the name), so that errors raised far away name the user's line. Packing and unpacking fail with errors that say why.
What it is not: nothing is sent here, and what is unpacked runs code: parcels come from one's own program. Why a file: it is about functions alone;
distributed.py is about tasks, and knows nothing of code objects.
"""
import functools
import inspect
import types

from .lines import is_user_code
from .reach import cells, loaded
from .trees import function_name

FORGOTTEN = "<dynamic-code>"                # what cloudpickle has for a file name


class Travelling:
    """A function, packed. Raises TypeError when it holds what cannot leave the process."""

    def __init__(self, fun):
        import cloudpickle
        self.name = function_name(fun)
        self._files = {(code.co_name, code.co_firstlineno): code.co_filename for f in _functions(fun) for code in _codes(f.__code__)}
        try:
            self._parcel = cloudpickle.dumps(fun)
        except Exception as error:                  # whatever an object's own __reduce__ raises
            raise TypeError(f"{self.name} cannot travel to another process{_stuck(fun)}: open files, locks, threads and the like stay where they are; "
                            f"make them inside the function. {error}") from error

    def arrived(self):
        """The function. What was imported by name has kept the names of its files, and is left alone."""
        import cloudpickle
        try:
            fun = cloudpickle.loads(self._parcel)
        except (ImportError, AttributeError) as error:
            error.add_note(f"raised where {self.name} arrived: functions of modules that can be imported travel by name. Install the module there, too, "
                           "or send its code along with cloudpickle.register_pickle_by_value(module)")
            raise
        for f in _functions(fun):
            if f.__code__.co_filename == FORGOTTEN:
                f.__code__ = _renamed(f.__code__, self._files)
        return fun


def _functions(fun):
    """fun and the functions of the user's that it calls: in closures, globals, defaults, methods and partials."""
    found, pending = {}, [fun]
    while pending:
        f = pending.pop()
        if isinstance(f, functools.partial):
            pending += [f.func, *f.args, *f.keywords.values()]
        f = getattr(f, "__func__", f)
        if not isinstance(f, types.FunctionType) or id(f) in found or not is_user_code(f.__code__):
            continue
        found[id(f)] = f
        names = loaded(f.__code__)[1]
        pending += [f.__globals__[name] for name in names if name in f.__globals__] + list(f.__defaults__ or ()) + list((f.__kwdefaults__ or {}).values())
        pending += [held for _, _, held in cells(f)]
    return found.values()


def _codes(code):
    """A code object and those inside of it."""
    found = [code]
    for c in found:
        found += [inner for inner in c.co_consts if isinstance(inner, types.CodeType)]
    return found


def _renamed(code, files):
    constants = tuple([_renamed(c, files) if isinstance(c, types.CodeType) else c for c in code.co_consts])
    return code.replace(co_filename=files.get((code.co_name, code.co_firstlineno), FORGOTTEN), co_consts=constants)


def _stuck(fun):
    """Which variable that fun uses cannot travel, for the error."""
    import cloudpickle
    try:
        used = inspect.getclosurevars(fun)
    except TypeError:
        return ""
    for name, value in {**used.globals, **used.nonlocals}.items():
        try:
            cloudpickle.dumps(value)
        except Exception:
            return f", because {name!r}, which it uses, is of type {type(value).__name__}"
    return ""
