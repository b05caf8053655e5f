"""What stands behind `--at "x=1.0, y=[1,2,3]"`: a grammar of numbers and arrays. Nothing is evaluated.

    pairs  = [ name "=" value { "," name "=" value } [ "," ] ]
    value  = number | list | "true" | "false" | "..." | '...'
    list   = "[" [ value { "," value } [ "," ] ] "]"           one kind of entry, equal lengths: an array
    number = [ "+" | "-" ] ( digits with point and exponent, "inf", "nan" ) | [ "+" | "-" ] digits "i"

Numbers are floating-point, 1 like 1.0; 3i is the integer 3. Why a file: the command line and tests share it, and it needs nothing but NumPy.
"""
import re

import numpy as np

_SPACE = re.compile(r"\s*")
_NAME = re.compile(r"[^\W\d]\w*")
_NUMBER = re.compile(r"[+-]?(?:inf\b|nan\b|(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d+)?)")
_INTEGER = re.compile(r"[+-]?\d+$")
_STRING = re.compile(r'"[^"]*"|\'[^\']*\'')
_DEEPEST = 32             # NumPy's own limit is 64 axes


class LiteralError(ValueError):
    """What is wrong, at which column, and what could stand there."""


def parse(text, dtype=np.float64):
    """name -> value in the order written. dtype: of the floating-point numbers and arrays.

    Floats come as NumPy scalars of `dtype`, integers as int, lists as arrays. Raises LiteralError, which says the column (from 1).

    >>> parse("x=1.5, n=3i, y=[[1, 2], [3, 4]], flag=true, how='mean'")["y"].shape
    (2, 2)
    """
    reader = _Reader(text, np.dtype(dtype))
    found = {}
    while not reader.done():
        at = reader.at
        name = reader.take(_NAME)
        if name is None:
            raise reader.wrong("a name was expected", "write pairs such as x=1.0, y=[1, 2, 3]")
        if name in found:
            raise reader.wrong(f"{name} is given twice", "give it once", at)
        if not reader.skip("="):
            raise reader.wrong(f"'=' was expected after {name}", f"write {name}=1.0")
        found[name] = reader.value()
        if not reader.done() and not reader.skip(","):
            raise reader.wrong(f"',' or the end was expected after the value of {name}", "separate the pairs by commas; lists need brackets, strings quotes")
    return found


class _Reader:
    """A text and a place in it."""

    def __init__(self, text, dtype):
        self.text, self.at, self.dtype = text, _SPACE.match(text).end(), dtype

    def done(self):
        return self.at == len(self.text)

    def take(self, pattern):
        found = pattern.match(self.text, self.at)
        if found is None:
            return None
        self.at = _SPACE.match(self.text, found.end()).end()
        return found.group()

    def skip(self, mark):
        if not self.text.startswith(mark, self.at):
            return False
        self.at = _SPACE.match(self.text, self.at + len(mark)).end()
        return True

    def value(self):
        if self.text.startswith("[", self.at):
            return self.list()
        return self.single()

    def single(self):
        at = self.at
        string = self.take(_STRING)
        if string is not None:
            return string[1:-1]
        number = _NUMBER.match(self.text, at)
        if number is None:
            word = self.take(_NAME)
            if word in ("true", "false", "True", "False"):
                return word in ("true", "True")
            raise self.wrong("a value was expected", "a value is a number (1, 2.5, -3e-4, inf, nan), an integer (3i), a list ([1, 2]), true, false, or "
                             "a string in quotes", at)
        self.at = number.end()
        marked = self.text.startswith("i", self.at)
        after = self.text[self.at + marked:self.at + marked + 1]
        if after.isalnum() or after in ("_", "."):
            raise self.wrong(f"{number.group()!r} is followed by {self.text[self.at]!r}",
                             "a number ends at a comma, a bracket or a space; only i, for an integer, may follow it directly")
        if not marked:
            self.at = _SPACE.match(self.text, self.at).end()
            return self.dtype.type(number.group())
        if not _INTEGER.match(number.group()):
            raise self.wrong(f"{number.group()}i is no integer", "an integer has digits only, as in 3i; without the i it is floating-point", at)
        self.at = _SPACE.match(self.text, self.at + 1).end()
        whole = int(number.group())
        if abs(whole) >= 2 ** 63:
            raise self.wrong(f"{whole} does not fit into 64 bits", "write it as a floating-point number, without the i", at)
        return whole

    def list(self):
        """Brackets within brackets without recursion; an array of what is inside."""
        at, stack = self.at, []
        while True:
            here = self.at
            if self.skip("["):
                if len(stack) == _DEEPEST:
                    raise self.wrong(f"more than {_DEEPEST} brackets stand open", "an array has at most that many axes", here)
                stack.append([])
                continue
            if stack and self.skip("]"):
                if len(stack) == 1:
                    return self.array(stack[0], at)
                row = stack.pop()
                stack[-1].append(row)
            else:
                if self.done():
                    raise self.wrong("the text ends inside a list", "close it with ]")
                stack[-1].append(self.single())
            if not self.skip(",") and not self.text.startswith("]", self.at):
                raise self.wrong("',' or ']' was expected in the list", "write [1, 2, 3]; rows as [[1, 2], [3, 4]]")

    def array(self, items, at):
        level = items
        while True:                                   # row by row: lengths must agree on every level
            lists = [isinstance(i, list) for i in level]
            if level and all(lists):
                lengths = {len(i) for i in level}
                if len(lengths) > 1:
                    raise self.wrong(f"the rows of this list have different lengths, {min(lengths)} and {max(lengths)}", "an array needs equal rows", at)
                level = [i for row in level for i in row]
            elif any(lists):
                raise self.wrong("numbers and lists stand side by side in this list", "an array needs equal rows", at)
            else:
                break
        kinds = {"string" if isinstance(i, str) else "true/false" if isinstance(i, bool) else "integer (3i)" if isinstance(i, int) else "float"
                 for i in level}
        if len(kinds) > 1 or "string" in kinds:
            raise self.wrong(f"this list holds {' and '.join(sorted(kinds))} entries", "an array has one kind of entry: all floating-point, all "
                             "marked i, or all true/false", at)
        dtype = {"integer (3i)": np.int64, "true/false": np.bool_}.get(next(iter(kinds), ""), self.dtype)
        return np.array(items, dtype)

    def wrong(self, what, cure, at=None):
        at = self.at if at is None else at
        near = self.text[at:at + 12]
        place = f"column {at + 1}" + (f", at {near!r}" if near else ", at the end")
        return LiteralError(f"{what} ({place}); {cure}")
