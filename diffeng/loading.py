"""The user's function and its arguments from the command line: FILE.py:FUNCTION, --at, and one plain run before anything else.

What it is not: no derivative. Every way in which this can fail is the user's to mend, so every error is a BadInput of one paragraph that
ends with the cure. Why a file: `compare`, `formula` and `picture` begin in the same way.
"""
import difflib
import importlib.util
import inspect
import os
import sys
import traceback

import click
import numpy as np

from .literals import LiteralError, parse


class BadInput(click.ClickException):
    """Wrong input: one paragraph on stderr, exit status 2."""

    exit_code = 2


def load(spec):
    """The function that FILE.py:FUNCTION names. The file is run once, as `python FILE.py` would find its imports, under another name."""
    path, colon, name = spec.rpartition(":")
    if not colon or not path or not name:
        raise BadInput(f"{spec!r} names no function: write FILE.py:FUNCTION, as in model.py:loss")
    if not os.path.isfile(path):
        near = difflib.get_close_matches(os.path.basename(path), {*_python_files(os.path.dirname(path) or ".")} - {os.path.basename(path)}, 1)
        raise BadInput(f"there is no file {path!r}" + (" (a directory bears that name)" if os.path.isdir(path) else "")
                       + (f"; did you mean {os.path.join(os.path.dirname(path), near[0])}?" if near else "; give the path of a Python file, as seen from here"))
    module = _run_file(path)
    fun = getattr(module, name, None)
    if fun is None:
        functions = [k for k, v in vars(module).items() if callable(v) and not k.startswith("_") and getattr(v, "__module__", "") == module.__name__]
        near = difflib.get_close_matches(name, functions, 1)
        raise BadInput(f"{path} has no function {name!r}" + (f"; did you mean {near[0]}? " if near else ". ")
                       + (f"It defines {', '.join(functions[:12])}." if functions else "It defines none."))
    if not callable(fun):
        raise BadInput(f"{name} in {path} is of type {type(fun).__name__}, not a function: name a function, or wrap it in one")
    return fun


def _python_files(directory):
    try:
        return [f for f in os.listdir(directory) if f.endswith(".py")]
    except OSError:
        return []


def _run_file(path):
    stem = os.path.splitext(os.path.basename(path))[0]
    spec = importlib.util.spec_from_file_location(f"_diffeng_user_{stem}", path)
    if spec is None:
        raise BadInput(f"{path} is no Python file: its name must end in .py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module              # dataclasses and pickle look a class's module up there
    sys.path.insert(0, os.path.dirname(os.path.abspath(path)))
    try:
        spec.loader.exec_module(module)
    except SyntaxError as error:
        line = f":{error.lineno}" if error.lineno else ""
        raise BadInput(f"{os.path.basename(error.filename or path)}{line}: {error.msg}: the file is no valid Python; mend that line") from error
    except UnicodeDecodeError as error:
        raise BadInput(f"{path} is no text: {error}; give a Python source file") from error
    except (Exception, SystemExit) as error:
        raise BadInput(f"{path} cannot be imported: {_said(error)}{_place(error, path)}; make `python {path}` work first"
                       + (", and put what only a script does under if __name__ == '__main__':" if isinstance(error, SystemExit) else "")) from error
    return module


def _said(error):
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def _place(error, path=None):
    """" at file.py:12": the innermost line of the user's own file, else of anything."""
    frames = traceback.extract_tb(error.__traceback__)
    here = os.path.dirname(os.path.abspath(__file__)) + os.sep
    own = [f for f in frames if path and os.path.abspath(f.filename) == os.path.abspath(path)]
    own = own or [f for f in frames if not f.filename.startswith((here, "<"))]
    return f" at {os.path.basename(own[-1].filename)}:{own[-1].lineno}" if own else ""


def bind(fun, at, dtype=np.float64):
    """The positional arguments that --at describes, in the function's own order; parameters left out keep their defaults."""
    try:
        given = parse(at or "", dtype)
    except LiteralError as error:
        raise BadInput(f"--at: {error}") from error
    name = getattr(fun, "__name__", "the function")
    try:
        parameters = inspect.signature(fun).parameters
    except (TypeError, ValueError):
        return list(given.values())              # built in, without a signature: in the order written
    named = [p for p in parameters.values() if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    names = [p.name for p in named]
    for word in given:
        if word in names:
            continue
        if word in parameters:
            raise BadInput(f"--at: {name} takes {word} in a way that --at cannot give it (it is no positional parameter); wrap it in a function of positional "
                           "parameters")
        near = difflib.get_close_matches(word, names, 1)
        raise BadInput(f"--at: {name} has no parameter {word!r}; " + (f"did you mean {near[0]}? " if near else "")
                       + (f"Its parameters are {', '.join(names)}." if names else "It has none."))
    missing = [p.name for p in named if p.name not in given and p.default is p.empty]
    by_name = [p.name for p in parameters.values() if p.kind == p.KEYWORD_ONLY and p.default is p.empty]
    if by_name:
        raise BadInput(f"{name} needs a value for {', '.join(by_name)}, which it takes by name only, and --at gives values by place; wrap it in a function of "
                       "positional parameters")
    if missing:
        example = ", ".join(f"{n}=1.0" for n in missing)
        raise BadInput(f"{name} needs a value for {', '.join(missing)}: give --at \"{', '.join(filter(None, [(at or '').strip().rstrip(','), example]))}\"")
    last = max((k for k, p in enumerate(named) if p.name in given), default=-1)
    return [given[p.name] if p.name in given else p.default for p in named[:last + 1]]


def check(fun, args):
    """Run the function once, plainly, on copies: what fails here has nothing to do with derivatives. Returns its value."""
    name = getattr(fun, "__name__", "the function")
    floats = [x for x in args if isinstance(x, (np.ndarray, np.floating)) and x.dtype.kind == "f"]
    if not floats:
        raise BadInput(f"{name} got no floating-point argument, so there is nothing to take a derivative with respect to: give one with --at \"x=1.0\" "
                       "(3i is an integer, 3 is not)")
    from .trees import argument_names
    for word, x in zip(argument_names(fun, len(args)), args):
        if isinstance(x, (np.ndarray, np.floating)) and x.dtype.kind == "f" and np.isnan(x).any():
            raise BadInput(f"--at: {word} holds NaN, and {name} has no derivative there: give numbers")
    try:
        value = fun(*[np.array(x) if isinstance(x, np.ndarray) else x for x in args])
    except (Exception, SystemExit) as error:
        raise BadInput(f"{name} itself fails on these arguments, before any derivative: {_said(error)}{_place(error)}; mend the function or give other values "
                       "with --at") from error
    if value is None:
        raise BadInput(f"{name} returned None ({_defined(fun)}): return the number or array to differentiate; is a return missing?")
    if isinstance(value, (str, bytes)):
        raise BadInput(f"{name} returned a {type(value).__name__} ({_defined(fun)}): return the number or array to differentiate")
    return value


def _defined(fun):
    code = getattr(inspect.unwrap(fun), "__code__", None)
    return f"it stands at {os.path.basename(code.co_filename)}:{code.co_firstlineno}" if code else "it has no source line"
