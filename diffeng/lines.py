"""Where in the user's code an operation stands: code objects and instruction offsets, turned into text only when asked.

Frames of the engine, NumPy, SciPy and pandas are skipped; diffeng/llm is user code like any other.
"""
import dis
import os
import sys

import numpy

_ENGINE = os.path.dirname(os.path.abspath(__file__)) + os.sep
_LLM = os.path.join(_ENGINE, "llm") + os.sep
_PACKAGES = os.path.dirname(os.path.dirname(numpy.__file__))
_LIBRARIES = tuple([os.path.join(_PACKAGES, name) + os.sep for name in ("numpy", "scipy", "pandas")])
DEPTH = 6                # innermost user frames kept: enough for the modules of a picture, bounded for deep recursion
_calls = {}               # (id of a code object, offset in it) -> (what is called there, the code object)


class _Files(dict):
    """File name -> does user code stand in it? Asked once a file."""

    def __missing__(self, name):
        ours = name.startswith(_ENGINE) and not name.startswith(_LLM) or name.startswith(_LIBRARIES) or name.startswith("<__array_function__")
        self[name] = not ours
        return not ours


_user_files = _Files()


def is_user_code(code):
    return _user_files[code.co_filename]


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
    code, offset = frame.f_code, frame.f_lasti
    known = _calls.get((id(code), offset))
    if known is None:
        stores = dis.opname[code.co_code[offset]] == "STORE_SUBSCR"
        known = _calls[id(code), offset] = (*((True, "[]") if stores else _called(code, offset)), code)
    attribute, name, _ = known
    return name if attribute or plain_names else None


def _called(code, offset):
    """(is it an attribute?, its name or None): walks back from a call until its arguments are accounted for on the stack."""
    before = [i for i in dis.get_instructions(code) if i.offset <= offset and i.opname not in ("CACHE", "RESUME")]
    if not before or before[-1].opname not in ("CALL", "PRECALL", "CALL_KW"):
        return False, None
    pushed, wanted = 0, before[-1].arg + (before[-1].opname == "CALL_KW")
    if before[-2].opname == "PRECALL":                       # Python 3.11: the call's own; its arguments are what is wanted
        del before[-2]
    for i in reversed(before[:-1]):
        if i.opname in ("LOAD_METHOD", "LOAD_ATTR", "LOAD_GLOBAL", "LOAD_NAME", "LOAD_DEREF", "LOAD_FAST") and pushed >= wanted:
            return i.opname in ("LOAD_METHOD", "LOAD_ATTR"), i.argval
        pushed += dis.stack_effect(i.opcode, i.arg if i.opcode >= dis.HAVE_ARGUMENT else None, jump=False)
        if pushed > wanted + 1:
            return False, None
    return False, None


def user_frames(above=1, most=DEPTH):
    """The innermost user frames as ((code, offset), ...), the operation's own line first. above: the callers known to be engine code, skipped unseen."""
    frame = sys._getframe(above)
    if most == 1 and _user_files[frame.f_code.co_filename]:           # mostly
        return ((frame.f_code, frame.f_lasti),)
    found = ()
    while frame is not None:
        code = frame.f_code
        if code is _RUN:           # the function being derived begins here: what is outside is its caller's business
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
