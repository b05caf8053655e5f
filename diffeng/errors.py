"""Errors that name the operation, the user's line and the cure."""
import numpy as np

from .lines import line_of, user_frames


def here():
    """" at file.py:12", or nothing when no user code is on the stack."""
    line = line_of(user_frames())
    return f" at {line}" if line else ""


def _described(x):
    try:
        return f"{x.shape if hasattr(x, 'shape') else np.shape(x)} {getattr(x, 'dtype', type(x).__name__)}"
    except TypeError:                                # what a mask chose, where nobody can know how many that is
        return repr(x)


def explain(error, name, operands):
    """The same type of error, saying which primitive met which operands where. Explained once."""
    if getattr(error, "explained", False):
        return error
    shapes = ", ".join(map(_described, operands))
    text = f"{name}{here()}: {str(error).rstrip('. ')}. Operands: {shapes}"
    if "broadcast" in str(error) or "mismatch" in str(error):
        text += ". Reshape one of them, or insert axes of length 1 (x[:, None]), so that the shapes fit"
    new = type(error)(text) if type(error) in (ValueError, TypeError, IndexError, np.exceptions.AxisError, np.linalg.LinAlgError) else ValueError(text)
    new.explained = True
    return new


def refuse(kind, text):
    """An error of the engine itself, made here so that every one carries the user's line: refuse(TypeError, "sort{here}: ...")."""
    error = kind(text.replace("{here}", here()))
    error.explained = True
    return error


def absent(owner, name, instead, names=()):
    """AttributeError of a name that PyTorch has and this package has not, which says what to do instead, where that is known, or which of `names` is near.
    owner: "module 'x'", say."""
    import difflib
    names = () if name in instead or name.startswith("_") else names
    near = [n for n in names if n.lower() == name.lower()] or difflib.get_close_matches(name, names, 1)
    cure = f": {instead[name]}" if name in instead else f"; did you mean {near[0]}?" if near else ""
    return AttributeError(f"{owner} has no attribute {name!r}{cure}")
