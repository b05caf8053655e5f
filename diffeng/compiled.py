"""jit: a function recorded once for each kind of arguments, and run as a compiled program from then on.

What it is: signatures (structure, shapes, dtypes, Python constants), guards (what Python saw of values, what the function closes over),
and the program between them.
What it is not: no compiler stands here (kernels/), and nothing is traced that record() does not trace.
"""
import contextlib
import functools
import gc
import threading

import numpy as np

from .captured import Captured
from .nodes import Outline
from .recording import enters, record
from .traced import Traced
from .trees import function_name, structure
from .lines import line_of

MOST_TRACES = 64
_PLAIN = (np.ndarray, float, np.float64, np.float32)
_SEEN = {"bool": lambda v: bool(np.all(v)), "float": float, "int": int, "mask": np.asarray, "format": lambda v: v.item()}


def jit(fun=None, *, device="cpu", wait=True, donate_argnums=()):
    """The function, compiled: the same results, recorded and compiled at the first call with arguments of new shapes, dtypes or Python constants.

    Also a decorator. Works on what other transformations return: jit(value_and_grad(f)). Python branches on values are remembered and guarded: a call that
    would branch differently is recorded anew, never answered wrongly. Arrays the function closes over are read at every call; a change of other captured values
    is noticed. wait=False: while kernels are compiled in a thread, calls are answered by the uncompiled function (whose last bits may differ).

    donate_argnums: a number, or several, of arguments whose arrays the caller does not need any more: results of the same shape and dtype may be written over them
    (and be the same arrays), where the program reads them entry by entry for the last time. A step of training then needs memory for one set of parameters, not two.
    After an error they may hold anything; arrays that cannot be written into are copied.

    Raises RuntimeError after 64 recordings for the same kind of arguments, naming the line whose outcome varies; ValueError for a device other than "cpu".

    >>> import numpy as np, diffeng as de
    >>> gradient = de.jit(de.grad(lambda x: np.sum(np.sin(x) * x)))
    >>> print(gradient(np.array([0.0, 1.0])).round(4))
    [0.     1.3818]
    """
    if device != "cpu":
        raise ValueError(f"device={device!r}: only 'cpu' is there yet")
    if fun is None:
        return lambda f: jit(f, device=device, wait=wait, donate_argnums=donate_argnums)
    if not callable(fun):
        raise TypeError(f"jit needs a function, not {type(fun).__name__}")
    donated = donate_argnums if isinstance(donate_argnums, (tuple, list)) else (donate_argnums,)
    if not all([isinstance(k, int) and k >= 0 for k in donated]):
        raise TypeError(f"jit: donate_argnums is {donate_argnums!r}; give the places of arguments, counted from 0")
    return Jitted(fun, wait, donated)


@contextlib.contextmanager
def _uncollected():
    """Without the garbage collector, which would walk a growing graph again and again: a seventh of the time of 8000 nodes. Graphs have no cycles."""
    collecting = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if collecting:
            gc.enable()


class _Nested:
    """An argument's structure and its Python constants; the rest of its leaves enter the program."""

    def __init__(self, argument):
        leaves, self._structure = structure(argument)
        self._enter = [enters(x) for x in leaves]
        self._constants = [(k, type(x), repr(x)) for k, x in enumerate(leaves) if not enters(x)]

    def leaves(self, argument):
        """Those of another argument that enter; None if it differs from this one."""
        found, its = structure(argument)
        if its != self._structure:
            return None
        if self._constants:
            for k, kind, text in self._constants:
                if type(found[k]) is not kind or repr(found[k]) != text:
                    return None
            found = [x for x, enter in zip(found, self._enter) if enter]
        return found


class _Trace:
    """One recording: its program, the looks that must come out as they did, and how to put the outputs together."""

    def __init__(self, fun, args, captured, donated):
        arrays = captured.values()
        with _uncollected():
            holder = record(lambda new, *rest: captured.rebound(new)(*rest), [arrays, *args], Outline())
            from .kernels import Program
            self.program = Program(holder.inputs, holder.outputs + holder.tracing.looked,
                                   donated=() if holder.tracing.looks else _given(args, donated, len(arrays)))          # what may be run again keeps its arguments
        self.captured = captured
        looks = holder.tracing.looks
        self.looks = [(kind, seen, frames) for kind, seen, frames in looks]
        self.count = len(holder.outputs)
        self._arguments = [None if type(a) in _PLAIN else _Nested(a) for a in args]
        self._numbers = [k for k, (shape, _) in enumerate(self.program.outputs[:self.count]) if shape == ()]
        self._rebuild = tuple if holder.rebuild([*range(self.count)]) == tuple(range(self.count)) else holder.rebuild

    def again(self, args):
        """The results for arguments that are nested as the recorded ones were, with the same Python constants; None for others. What kind of arrays they
        are is compared by the program's machine code."""
        if len(args) != len(self._arguments):
            return None
        leaves = []
        for a, nested in zip(args, self._arguments):
            if nested is None:
                leaves.append(a)
            elif (found := nested.leaves(a)) is None:
                return None
            else:
                leaves += found
        return self(leaves, exactly=True)

    def __call__(self, leaves, exactly=False):
        """The results, or None when the branches taken would differ. exactly: None also for leaves that are not as recorded."""
        captured = self.captured
        arrays = captured.values() if captured.arrays else ()
        if arrays is None or captured.guards and not captured.unchanged():
            return None
        if exactly:
            out = self.program.exactly(*arrays, *leaves)
            if out is None:
                return None
        else:
            try:
                out = self.program(*arrays, *leaves)
            except (TypeError, ValueError):
                if any(a.shape != s or a.dtype != d for a, (_, s, d) in zip(arrays, self.program.inputs)):
                    return None                    # a captured array was replaced by one of another shape or dtype
                raise
        if self.looks:
            for value, (kind, seen, _) in zip(out[self.count:], self.looks):
                now = _SEEN[kind](value)
                if not (np.array_equal(now, seen) if kind == "mask" else now == seen or now != now and seen != seen):
                    return None
            del out[self.count:]
        for k in self._numbers:
            out[k] = out[k][()]
        return self._rebuild(out)


def _given(args, donated, first):
    """The numbers of the inputs that the donated arguments' arrays are, where those of all arguments begin at `first`."""
    counts = [sum(map(enters, structure(a)[0])) for a in args]
    return [first + sum(counts[:k]) + j for k in donated if k < len(args) for j in range(counts[k])]


class Jitted:
    """What jit returns. `traces`: how many recordings there are; `__wrapped__`: the function itself."""

    def __init__(self, fun, wait, donated=()):
        self._donated = donated
        self._wait, self._traces, self._lock, self._busy, self._last = wait, {}, threading.RLock(), {}, None
        functools.update_wrapper(self, fun, updated=())
        self.__wrapped__ = fun

    @property
    def traces(self):
        return sum(map(len, self._traces.values()))

    def __call__(self, *args):
        last = self._last
        if last is not None:
            result = last.again(args)
            if result is not None:
                return result
        key, leaves = [], []
        for a in args:
            parts, nesting = structure(a)
            key.append(nesting)
            for x in parts:
                if isinstance(x, Traced):
                    return self.__wrapped__(*args)            # inside another transformation: part of its recording
                if enters(x):
                    x = np.asarray(x)
                    leaves.append(x)
                    key.append((x.shape, x.dtype))
                else:
                    key.append((type(x), repr(x)))
        key = tuple(key)
        for trace in self._traces.get(key, ()):
            result = trace(leaves)
            if result is not None:
                self._last = trace
                return result
        return self._record(key, args, leaves)

    def _record(self, key, args, leaves):
        if not self._wait:
            self._compile_behind(key, args)
            return self.__wrapped__(*args)
        with self._lock:
            for trace in self._traces.get(key, ()):                 # another thread may have been faster
                result = trace(leaves)
                if result is not None:
                    return result
            trace = self._add(key, args)
        result = trace(leaves)
        return self.__wrapped__(*args) if result is None else result

    def _add(self, key, args):
        known = self._traces.setdefault(key, [])
        if len(known) >= MOST_TRACES:
            raise RuntimeError(f"jit: {function_name(self.__wrapped__)} was recorded {MOST_TRACES} times for the same kind of arguments, because "
                               f"{self._varying(known)}; write the choice as np.where, or call the function without jit")
        trace = _Trace(self.__wrapped__, args, Captured(self.__wrapped__), self._donated)
        known.append(trace)
        return trace

    def _varying(self, traces):
        looks = [t.looks for t in traces]
        for together in zip(*looks):
            if len({repr(seen) for _, seen, _ in together}) > 1:
                return f"what Python sees of a value varies at {line_of(together[0][2])}"
        longest = max(looks, key=len, default=[])
        return f"what Python sees of values varies at {line_of(longest[-1][2])}" if longest else "a captured value changes from call to call"

    def _compile_behind(self, key, args):
        with self._lock:
            if key in self._busy:
                return
            self._busy[key] = True

        def work():
            try:
                with self._lock:
                    self._add(key, args)
            finally:
                self._busy.pop(key, None)
        threading.Thread(target=work, daemon=True).start()

    def __get__(self, instance, owner=None):
        return self if instance is None else functools.partial(self, instance)

    def __repr__(self):
        return f"<jit of {function_name(self.__wrapped__)}, {self.traces} recording(s)>"
