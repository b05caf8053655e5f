"""Where in the user's code an operation stands: code objects and instruction offsets, turned into text only when asked.

Frames of the engine, NumPy, SciPy and pandas are skipped; diffeng/llm is user code like any other.
"""
import builtins
import dis
import inspect
import os
import sys

import numpy

_ENGINE = os.path.dirname(os.path.abspath(__file__)) + os.sep
_COMMANDS = os.path.join(_ENGINE, "cli.py")
_LLM = os.path.join(_ENGINE, "llm") + os.sep
_PACKAGES = os.path.dirname(os.path.dirname(numpy.__file__))
_LIBRARIES = tuple([os.path.join(_PACKAGES, name) + os.sep for name in ("numpy", "scipy", "pandas")])
DEPTH = 6                # innermost user frames kept: enough for the modules of a picture, bounded for deep recursion
_calls = {}               # (id of a code object, offset in it) -> (the path to what is called there, the code object)
_JUMPS = frozenset({*dis.hasjrel, *dis.hasjabs})


class _Files(dict):
    """File name -> does user code stand in it? Asked once a file."""

    def __missing__(self, name):
        ours = name.startswith(_ENGINE) and not name.startswith(_LLM) or name.startswith(_LIBRARIES) or name.startswith("<__array_function__")
        self[name] = not ours
        return not ours


_user_files = _Files()


def is_user_code(code):
    return _user_files[code.co_filename]


def is_user_file(name):
    return _user_files[name]


def is_library(code):
    return code.co_filename.startswith(_LIBRARIES)


def by_library():
    """Is it a function of a library that asks the engine, and not user code?"""
    frame = sys._getframe(2)
    while frame is not None and not _user_files[(name := frame.f_code.co_filename)]:
        if name.startswith(_LIBRARIES):
            return True
        frame = frame.f_back
    return False


def user_call(frame, plain_names=False):
    """What an instruction of user code calls: the attribute in np.zeros(...), "[]" where an item is assigned; with plain_names also the name in zeros(...).
    None when it cannot be told."""
    path = _path(frame)
    return path[-1] if path and (len(path) > 1 or plain_names or path[0] == "[]") else None


def callee(frame):
    """(can it be told what an instruction calls?, the function, if that is a name or an attribute of what has one)."""
    path = _path(frame)
    if not path or path[0] is None:
        return path is not None, None
    spaces = frame.f_locals, frame.f_globals, vars(builtins)
    value = next((space[path[0]] for space in spaces if path[0] in space), None)
    for name in path[1:]:
        value = inspect.getattr_static(value, name, None)                # runs no code of the user's
    return True, value


def _path(frame):
    """The names that lead to what is called: ("np", "zeros"), ("float",); (None, "append") of a value that has no name, () where it has none itself; None when it cannot be told."""
    code, offset = frame.f_code, frame.f_lasti
    known = _calls.get((id(code), offset))
    if known is None:
        stores = dis.opname[code.co_code[offset]] == "STORE_SUBSCR"
        known = _calls[id(code), offset] = ("[]",) if stores else _called(code, offset), code
    return known[0]


_NAMES = ("LOAD_GLOBAL", "LOAD_NAME", "LOAD_DEREF", "LOAD_FAST")
_ATTRIBUTES = ("LOAD_METHOD", "LOAD_ATTR")


def _called(code, offset):
    """The path of a call: walks back from it until its arguments are accounted for on the stack."""
    before = [i for i in dis.get_instructions(code) if i.offset <= offset and i.opname not in ("CACHE", "RESUME")]
    last = before.pop() if before else None
    if last is None or last.opname not in ("CALL", "PRECALL", "CALL_KW", "CALL_FUNCTION_EX"):
        return None
    pushed, wanted = 0, 1 + (last.arg & 1) if last.opname == "CALL_FUNCTION_EX" else last.arg + (last.opname == "CALL_KW")
    if before[-1].opname == "PRECALL":                       # Python 3.11: the call's own; its arguments are what is wanted
        before.pop()
    while before:
        i = before.pop()
        if i.opcode in _JUMPS:                               # its arguments depend on what is true
            return None
        if pushed >= wanted:
            path = ()
            while i.opname in _ATTRIBUTES:
                path, i = (i.argval, *path), before.pop()
            return (i.argval, *path) if i.opname in _NAMES else (None, *path) if path else ()
        pushed += dis.stack_effect(i.opcode, i.arg if i.opcode >= dis.HAVE_ARGUMENT else None, jump=False)
        if pushed > wanted + 1:
            return None
    return None


def user_frames(above=1, most=DEPTH):
    """The innermost user frames as ((code, offset), ...), the operation's own line first. above: the callers known to be engine code, skipped unseen."""
    frame = sys._getframe(above)
    if most == 1 and _user_files[frame.f_code.co_filename]:           # mostly
        return ((frame.f_code, frame.f_lasti),)
    found = ()
    while frame is not None:
        code = frame.f_code
        if code is _RUN or code.co_filename == _COMMANDS:            # the function being derived begins here: what is outside is its caller's business, or the command line's
            break
        if _user_files[code.co_filename]:
            found += ((code, frame.f_lasti),)
            if len(found) == most:
                break
        frame = frame.f_back
    return found


def user_line():
    """The innermost user frame alone, above the caller's caller: all that line_of needs."""
    frame = sys._getframe(2)
    while frame is not None:
        code = frame.f_code
        if _user_files[code.co_filename]:
            return ((code, frame.f_lasti),)
        frame = frame.f_back
    return ()


def run(fun, args):
    """Call the user's function. Frames outside of this one are not part of what the function did."""
    return fun(*args)


_RUN = run.__code__


def line_of(frames):
    """"file.py:12" for frames as user_frames returned them; "" when no user code was involved."""
    if not frames:
        return ""
    code, offset = frames[0]
    return f"{os.path.basename(code.co_filename)}:{_position(code, offset)[0]}"


def same_place(a, b):
    """Are two (code, offset) one place in the user's code? Once CPython has specialised an instruction, its frame may stand in the cache behind it."""
    return a == b or a[0] is b[0] and _position(*a) == _position(*b)


def modules_of(frames):
    """Names of the user's functions around an operation, outermost first."""
    return tuple(code.co_name for code, _ in reversed(frames))


def _position(code, offset):
    for k, position in enumerate(code.co_positions()):
        if 2 * k == offset:
            return position[0] or code.co_firstlineno, position[1], position[2], position[3]
    return code.co_firstlineno, None, None, None
