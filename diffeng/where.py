"""Where in the user's code an operation stands: code objects and instruction offsets, turned into text only when asked.

Frames of the engine, NumPy and SciPy are skipped; diffeng/llm is user code like any other.
"""
import os
import sys

import numpy

_ENGINE = os.path.dirname(os.path.abspath(__file__)) + os.sep
_LLM = os.path.join(_ENGINE, "llm") + os.sep
_LIBRARIES = (os.path.dirname(numpy.__file__) + os.sep, os.path.join(os.path.dirname(os.path.dirname(numpy.__file__)), "scipy") + os.sep)
_DEPTH = 6                # innermost user frames kept: enough for the modules of a picture, bounded for deep recursion
_known = {}               # id of a code object -> (is it user code?, the code object, kept so that its id stays its own)


def is_user_code(code):
    known = _known.get(id(code))
    if known is None:
        name = code.co_filename
        ours = name.startswith(_ENGINE) and not name.startswith(_LLM) or name.startswith(_LIBRARIES) or name.startswith("<__array_function__")
        known = _known[id(code)] = (not ours, code)
    return known[0]


def user_frames():
    """The innermost user frames as ((code, offset), ...), the operation's own line first."""
    found, frame = [], sys._getframe(1)
    while frame is not None:
        code = frame.f_code
        if code is _RUN:           # the function being derived begins here: what is outside is its caller's business
            break
        if is_user_code(code):
            found.append((code, frame.f_lasti))
            if len(found) == _DEPTH:
                break
        frame = frame.f_back
    return tuple(found)


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


def source_of(frames):
    """(absolute file, line, column, end column) of the sub-expression, or None."""
    if not frames:
        return None
    code, offset = frames[0]
    line, _, column, end = _position(code, offset)
    return code.co_filename, line, column, end


def modules_of(frames):
    """Names of the user's functions around an operation, outermost first."""
    return tuple(code.co_name for code, _ in reversed(frames))


def _position(code, offset):
    for k, position in enumerate(code.co_positions()):
        if 2 * k == offset:
            return position[0] or code.co_firstlineno, position[1], position[2], position[3]
    return code.co_firstlineno, None, None, None
