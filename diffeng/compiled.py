"""jit: a function recorded once for each kind of arguments, and run as a compiled program from then on.

What it is: signatures (structure, shapes, dtypes, Python constants), guards (what Python saw of values, what the function closes over),
and the program between them.
What it is not: no compiler stands here (kernels/), and nothing is traced that record() does not trace.
"""
import contextlib
import functools
import gc
import math
import os
import threading
import weakref

import numpy as np

from .captured import Captured
from .complex_values import is_complex
from .devices import program_maker
from .drawn import Watch, same
from .errors import refuse
from .nodes import reachable
from .reach import is_constant
from .rebinding import Rebound
from .recording import Outline, enters, record
from .traced import Traced
from .trees import bound, flatten, function_name, in_native_order, lend, no_subclass, parameters_of, reader, structure
from .lines import line_of

MOST_TRACES = 64
_PLAIN = (np.ndarray, float, np.float64, np.float32)
_ALL_PLAIN = frozenset(_PLAIN).issuperset
_SEEN = {"bool": lambda v: bool(np.all(v)), "float": float, "int": int, "mask": np.asarray, "format": lambda v: v.item()}


def jit(fun=None, *, device="cpu", wait=True, donate_argnums=(), precision="float32", strict=False):
    """The function, compiled: the same results, recorded and compiled at the first call with arguments of new shapes, dtypes or Python constants.

    Also a decorator. Works on what other transformations return: jit(value_and_grad(f)). Arguments may be given by name. The function's arrays are its own: where it
    writes into an argument, the caller's stays as it is, and no result is an argument. Python branches on values are
    remembered and guarded: a call that would branch differently is recorded anew, never answered wrongly. What a mask chooses (y[x > 0] = np.log(x[x > 0]), the mean
    of x[x > 0]) is computed of all entries, and one recording holds for every mask, unless the function asks how many there are. Arrays the function closes over are read at every
    call, also where they are attributes of its object or lie in lists and dicts; a change of other captured values is noticed. A function that changes what
    it captured, draws random numbers (or makes a generator without a seed), or takes values from an iterator, is refused.

    wait=False: while kernels are compiled in a thread, calls are answered by the uncompiled function (whose last bits may differ).

    donate_argnums: a number, or several, of arguments whose arrays the caller does not need any more: results of the same shape and dtype may be written over
    them (and be the same arrays), where the program reads them entry by entry for the last time. A step of training then needs memory for one set of
    parameters, not two. After an error they may hold anything; arrays that cannot be written into are copied.

    device="cuda" computes on an NVIDIA GPU (pip install "diffeng[cuda]"; docs/gpu.md). Arguments may then be NumPy's arrays or arrays on the GPU (CuPy's,
    PyTorch's, whatever has __cuda_array_interface__); results are CuPy arrays if an argument was on the GPU, else NumPy's. There, precision says how products
    of float32 are computed: "float32", "tf32" or "bfloat16" (factors rounded, sums in float32); and strict=True makes an error of an operation that has no
    kernel for the GPU, which else is computed on the host, with a warning.

    Raises RuntimeError after 64 recordings for the same kind of arguments, naming the line whose outcome varies, for a function that sets attributes or
    variables which it captured or draws random numbers, and for device="cuda" where there is no GPU; ValueError for another device or precision; TypeError for
    donate_argnums that are no arguments'.

    >>> import numpy as np, diffeng as de
    >>> gradient = de.jit(de.grad(lambda x: np.sum(np.sin(x) * x)))
    >>> print(gradient(np.array([0.0, 1.0])).round(4))
    [0.     1.3818]
    """
    make = program_maker(device, precision, strict)
    if fun is None:
        return lambda f: jit(f, device=device, wait=wait, donate_argnums=donate_argnums, precision=precision, strict=strict)
    if not callable(fun):
        raise TypeError(f"jit needs a function, not {type(fun).__name__}")
    donated = donate_argnums if isinstance(donate_argnums, (tuple, list)) else (donate_argnums,)
    if not all([isinstance(k, int) and k >= 0 for k in donated]):
        raise TypeError(f"jit: donate_argnums is {donate_argnums!r}; give the places of arguments, counted from 0")
    parameters = parameters_of(fun) if donated else []
    places = [p for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    if parameters and max(donated, default=-1) >= len(places) and not any([p.kind == p.VAR_POSITIONAL for p in parameters]):
        raise TypeError(f"jit: donate_argnums is {donate_argnums!r}, and {function_name(fun)} takes {len(places)} argument(s), counted from 0")
    return Jitted(fun, wait, donated, make)


_uncollecting = {}                         # thread -> was it the one that switched the garbage collector off?
_aged = []                                 # who recorded first


@contextlib.contextmanager
def _uncollected():
    """Without the garbage collector, which would walk a growing graph again and again: a seventh of the time of 8000 nodes. Graphs have no cycles, and
    are gone before it starts again; the modules that the first recording loads are put among what is old, or they would be walked at once, for 10 ms."""
    here = threading.get_ident()
    if here in _uncollecting:
        yield
        return
    _uncollecting[here] = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if _uncollecting.pop(here):
            if not _aged:
                _aged.append(here)
                if not gc.get_freeze_count():           # nobody has put anything apart for good
                    gc.freeze()
                    gc.unfreeze()
            gc.enable()


class _Nested:
    """An argument's structure and its Python constants; the rest of its leaves enter the program, or are objects, of which Captured looks at the attributes."""

    def __init__(self, argument):
        leaves, self._structure = structure(argument)
        self._enter = [enters(x) for x in leaves]
        self._objects = [k for k, x in enumerate(leaves) if _watched(x)]
        self._constants = [(k, type(x), None if _watched(x) else repr(x)) for k, x in enumerate(leaves) if not enters(x)]
        self._read = None if self._constants else reader(self._structure)

    def leaves(self, argument, objects):
        """Those of another argument that enter; None if it differs from this one. Its objects are appended to `objects`."""
        if self._read is not None:
            found = []
            if self._read(argument, found) and _ALL_PLAIN(map(type, found)):
                return found
        found, its = structure(argument)
        if its != self._structure:
            return None
        if self._constants:
            for k, kind, text in self._constants:
                if type(found[k]) is not kind or text is not None and repr(found[k]) != text:
                    return None
            objects += [found[k] for k in self._objects]
            found = [x for x, enter in zip(found, self._enter) if enter]
        return found


def _unknown(*args):
    """The fast call of a recording that has none."""


def _alike(now, seen):
    """Two numbers or truth values that Python cannot tell apart: 0.0 is not -0.0, nan is nan."""
    return now == seen and (bool(now) or math.copysign(1, now) == math.copysign(1, seen)) or now != now and seen != seen


def _watched(leaf):
    """A leaf whose type and repr do not say what it is."""
    return not enters(leaf) and not is_constant(leaf)


def _changes(fun, what):
    return refuse(RuntimeError, f"jit: {function_name(fun)} changes {what} while it runs, and a compiled call would not. Return the new value, and let the "
                                "caller store it")


class _Trace:
    """One recording: its program, the looks that must come out as they did, and how to put the outputs together."""

    def __init__(self, captured, args, objects, donated, make):
        make.ahead()
        loops = "program" if make.device is None else "device"
        holder = self._recorded(captured, objects, args, loops)
        if captured.watches and captured.read(objects) is None:              # perhaps a library filled a cache, which is filled now
            captured = Captured(captured.fun, objects)
            holder = self._recorded(captured, objects, args, loops)
            if captured.watches and captured.read(objects) is None:
                raise _changes(captured.fun, "a variable that it captured")
        if captured.varies and not same(holder.outputs, self._recorded(captured, objects, args, loops).outputs):
            raise refuse(RuntimeError, f"jit: {function_name(captured.fun)} computes with numbers that are others each time it runs (of a generator that it makes "
                                       "without a seed, or of a clock), and a compiled call would have the same ones for ever. Make them outside and pass them "
                                       "as an argument, or use diffeng.random, whose numbers come from a key")
        entered = [x for a in args for x in structure(a)[0] if enters(x)]
        given = () if holder.tracing.looks else _given(args, donated, len(holder.inputs) - len(entered))          # what may run again keeps its arguments
        self.program = make(holder.inputs, holder.outputs + holder.tracing.looked, given)
        self.captured = captured
        self.looks = holder.tracing.looks
        self.count = len(holder.outputs)
        self._arguments = [None if type(a) in _PLAIN and not is_complex(a) else _Nested(a) for a in args]
        numbers = [k for k, x in enumerate(entered) if not np.shape(x)]
        self._weak = [(k, type(entered[k]) is float) for k in numbers] if numbers and _meets_narrow(holder.outputs + holder.tracing.looked) else []
        self._numbers = [k for k, (shape, _) in enumerate(self.program.outputs[:self.count]) if shape == ()]
        nested = holder.rebuild([*range(self.count)])
        self._rebuild = tuple if type(nested) is tuple and nested == tuple(range(self.count)) else holder.rebuild
        plain = not (captured.watches or self.looks or self._weak or any(self._arguments)) and (self._rebuild is tuple or nested == 0)
        self.fast = plain and self.program.returning(self._rebuild is not tuple) or _unknown          # `again` as one builtin, where that is all there is to do

    @staticmethod
    def _recorded(captured, objects, args, loops):
        """One run of the function, which must leave alone what it captured."""
        made, now = [], captured.read(objects)
        if now is None:                                                      # another thread has changed it since it was looked at
            raise _changes(captured.fun, "a variable that it captured")

        def run(arrays, *rest):
            made.append(Rebound(captured, arrays))
            return made[0].function(*made[0].arguments(rest))
        run.__name__ = function_name(captured.fun)                           # for errors
        watch = Watch([*captured.generators, *[x for a in args for x in structure(a)[0]]])
        holder = record(run, [now, *args], Outline(), loops)
        watch.check(function_name(captured.fun))
        change = made[0].change()
        if change:
            raise _changes(captured.fun, change)
        return holder

    def again(self, args):
        """The results for arguments that are nested as the recorded ones were, with the same Python constants; None for others. What kind of arrays they
        are is compared by the program's machine code."""
        if len(args) != len(self._arguments):
            return None
        leaves, objects = [], []
        for a, nested in zip(args, self._arguments):
            if nested is None:
                leaves.append(a)
            elif (found := nested.leaves(a, objects)) is None:
                return None
            else:
                leaves += found
        for k, weak in self._weak:
            if (type(leaves[k]) is float) is not weak:
                return None
        return self(leaves, objects, exactly=True)

    def __call__(self, leaves, objects, exactly=False):
        """The results, or None when the branches taken would differ. exactly: None also for leaves that are not as recorded."""
        captured = self.captured
        arrays = captured.read(objects) if captured.watches else ()
        if arrays is None:
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
                now = _SEEN[kind](self.program.host(value))
                if not (np.array_equal(now, seen) if kind == "mask" else _alike(now, seen)):
                    return None
            del out[self.count:]
        for k in self._numbers:
            out[k] = out[k][()]
        return self._rebuild(out)


def _meets_narrow(outputs):
    """Could it matter whether a number is Python's, which takes the dtype of a narrower array, or NumPy's? (Of a loop's body nothing is known.)"""
    return any([n.primitive.own is not None or any([_is_narrow(x) for x in (n, *n.operands)]) for n in reachable(outputs)])


def _is_narrow(x):
    dtype = getattr(x, "dtype", None)
    return dtype is not None and dtype.kind == "f" and dtype.itemsize < 8


def _given(args, donated, first):
    """The numbers of the inputs that the donated arguments' arrays are, where those of all arguments begin at `first`."""
    counts = [sum(map(enters, structure(a)[0])) for a in args]
    return [first + sum(counts[:k]) + j for k in donated if k < len(args) for j in range(counts[k])]


class Jitted:
    """What jit returns. `traces`: how many recordings there are; `__wrapped__`: the function itself."""

    __slots__ = ("_fast", "_slow", "__dict__", "__weakref__")          # the first two: see runtime.dispatching

    def __init__(self, fun, wait, donated, make):
        self._donated, self._make, self._gpu = donated, make, make.device
        self._wait, self._traces, self._lock, self._busy, self._failed, self._last = wait, {}, threading.RLock(), {}, {}, None
        self._parameters = self._by_name = None
        self._fast, self._slow = _unknown, Jitted._looked_up
        functools.update_wrapper(self, fun, updated=())
        self.__wrapped__ = fun
        _all.add(self)

    @property
    def traces(self):
        return sum(map(len, self._traces.values())) + (self._by_name.traces if self._by_name else 0)

    def _named(self, args, options):
        """A call with arguments given by name. Those that cannot be given otherwise are a dict, the first argument of a compiled function of its own."""
        fun = self.__wrapped__
        if self._parameters is None:
            self._parameters = parameters_of(fun)
        args, options = bound(self._parameters, args, options)
        if not options:
            return self(*args)
        if self._by_name is None:
            def named(options, *args):
                return fun(*args, **options)
            named.__name__, self._by_name = function_name(fun), Jitted(named, self._wait, (), self._make)
        return self._by_name(options, *args)

    def __call__(self, *args, **options):
        result = None if options else self._fast(*args)
        return self._slow(self, *args, **options) if result is None else result

    def _looked_up(self, *args, **options):
        """A call that is no plain one of the last recording."""
        if options:
            return self._named(args, options)
        last = self._last
        if last is not None:
            result = last.again(args)
            if result is not None:
                return result
        key, leaves, objects = [], [], []
        for a in args:
            parts, nesting = structure(a)
            key.append(nesting)
            for x in parts:
                if isinstance(x, Traced):
                    return self._uncompiled(args)            # inside another transformation: part of its recording
                if enters(x):
                    number = type(x) is float                     # NumPy computes with it in the dtype of what it meets
                    if self._gpu and self._gpu.holds(x):
                        x = self._gpu.array(x)
                    else:
                        no_subclass(x, lambda: f"an argument of {function_name(self.__wrapped__)}")
                        x = in_native_order(np.asarray(x))
                    leaves.append(x)
                    key.append((x.shape, x.dtype, number))
                elif _watched(x):
                    objects.append(x)
                    key.append(type(x))
                else:
                    key.append((type(x), repr(x)))
        key = tuple(key)
        for trace in self._traces.get(key, ()):
            result = trace(leaves, objects)
            if result is not None:
                self._last, self._fast = trace, trace.fast
                return result
        return self._record(key, args, leaves, objects)

    def _record(self, key, args, leaves, objects):
        if not self._wait:
            self._compile_behind(key, args, objects)
            return self._uncompiled(args)
        with self._lock:
            for trace in self._traces.get(key, ()):                 # another thread may have been faster
                result = trace(leaves, objects)
                if result is not None:
                    return result
            captured = Captured(self.__wrapped__, objects)
            if captured.traced:                                         # closes over a value of another transformation: part of its recording
                return self._uncompiled(args)
            trace = self._add(key, args, objects, captured)
        result = trace(leaves, objects)
        return self._uncompiled(args) if result is None else result

    def _uncompiled(self, args):
        """As the compiled function it writes into no array of the caller's, and its results are its own."""
        return lend(self.__wrapped__(*[lend(a, True) for a in args]), True)

    def _add(self, key, args, objects, captured):
        known = self._traces.setdefault(key, [])
        if len(known) >= MOST_TRACES:
            raise RuntimeError(f"jit: {function_name(self.__wrapped__)} was recorded {MOST_TRACES} times for the same kind of arguments, because "
                               f"{self._varying(known)}; write the choice as np.where, or call the function without jit")
        with _uncollected():
            trace = _Trace(captured, self._host(args), objects, self._donated, self._make)
        known.append(trace)
        if trace.fast is not _unknown:
            from .kernels.runtime import dispatching
            Jitted.__call__ = dispatching(Jitted)                       # the same in machine code
        return trace

    def _host(self, args):
        """The arguments, with NumPy's arrays in the place of those on the GPU: their values may be looked at while a function is recorded."""
        if self._gpu is None:
            return args
        out = []
        for a in args:
            leaves, rebuild, _ = flatten(a)
            out.append(rebuild([self._gpu.host(self._gpu.array(x)) if self._gpu.holds(x) else x for x in leaves]))
        return out

    def _varying(self, traces):
        looks = [t.looks for t in traces]
        for together in zip(*looks):
            if len({repr(seen) for _, seen, _ in together}) > 1:
                return f"what Python sees of a value varies at {line_of(together[0][2])}"
        longest = max(looks, key=len, default=[])
        return f"what Python sees of values varies at {line_of(longest[-1][2])}" if longest else "a captured value changes from call to call"

    def _compile_behind(self, key, args, objects):
        error, mine = self._failed.pop(key, None), object()
        if error is not None:
            raise error
        if self._busy.setdefault(key, mine) is not mine:              # not by the lock: who records holds it
            return

        def work():
            try:
                with self._lock:
                    self._add(key, args, objects, Captured(self.__wrapped__, objects))
            except Exception as error:                        # the next call's to raise: nobody sees what a thread prints
                self._failed[key] = error
            finally:
                self._busy.pop(key, None)
        threading.Thread(target=work, daemon=True).start()

    def __get__(self, instance, owner=None):
        return self if instance is None else functools.partial(self, instance)

    def __repr__(self):
        return f"<jit of {function_name(self.__wrapped__)}, {self.traces} recording(s)>"


def _as_it_is(fun):
    """PyTorch's torch.jit.script, ignore, unused and export: the function, or module, itself. What is computed with tensors becomes programs without being told to."""
    return fun


jit.script = jit.ignore = jit.unused = jit.export = _as_it_is
_all = weakref.WeakSet()


def _after_fork():
    """Another thread of the parent may have been recording: the child has no such thread."""
    if any([_uncollecting.pop(thread) for thread in [*_uncollecting] if thread != threading.get_ident()]):
        gc.enable()
    for jitted in list(_all):
        jitted._busy.clear()
        if not jitted._lock._is_owned():
            jitted._lock._at_fork_reinit()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
