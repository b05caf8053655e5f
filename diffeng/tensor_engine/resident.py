"""Arrays that stay in a device's memory: what a tensor on a GPU holds, and one more thing that NumPy code can be run on.

What it is: `Resident`, an array-like as Tracer and PreciseArray are; `Residence`, its interpreter, which carries out a primitive by a small program for the
device, made once for each kind of operands (a view is taken of the memory itself); `at`, the one place where an engine's arrays change sides. So every
operation and every rule of differentiation runs on a device one by one as it runs on NumPy's arrays, and what the tape then makes of a repeated step is a
program for the device as it is one for the CPU else (plans.py).

What it is not: no kernel and no transfer is written here (kernels/cuda/); nothing comes back to the host but what Python looks at.
"""
import collections
import functools

import numpy as np

from ..devices import program_maker
from ..errors import refuse
from ..interpreters import Interpreter
from ..nodes import Tracer, Tracing
from ..numpy_api import is_basic
from ..traced import ALIASES, Traced

PROGRAMS = 1000                              # of single primitives that are kept: those of steps are plans


class Resident(Traced):
    """An array on a device. data: its memory, an array of CuPy's or the simulator's. Nobody writes into it but a program to which an array is given away that
    nobody else holds (tape._given), so that copies share data."""

    __slots__ = ("interpreter", "data", *ALIASES)

    def __init__(self, interpreter, data):
        self.interpreter, self.data = interpreter, data

    shape = property(lambda self: self.data.shape)
    dtype = property(lambda self: self.data.dtype)
    strides = property(lambda self: self.data.strides)
    device = property(lambda self: self.interpreter.name)

    def copy(self, order="C"):
        return Resident(self.interpreter, self.data)

    def astype(self, dtype, *args, **kwargs):
        return self.copy() if dtype == self.dtype else super().astype(dtype)

    def _adopt(self, other):
        self.data = at(other, self.device).data

    def _look(self, kind, convert):
        return convert(at(self, "cpu"))

    def __array__(self, dtype=None, copy=None):
        raise refuse(TypeError, f"an array on the device {self.device!r}{{here}} was taken for one of NumPy's: tensors come back with .cpu()")

    def __repr__(self):
        return f"<{self.shape} {self.dtype} on {self.device}>"


class Residence(Interpreter):
    """The device of a name. memory: device.Gpu, or simulator.Simulator."""

    def __init__(self, name, make):
        self.level, self.name, self._make, self.memory = 0, name, make, make.device          # below all that records
        self._programs, self._unchecked = collections.OrderedDict(), {}

    def apply(self, primitive, operands, params):
        if primitive.kind == "view" or primitive.name == "getitem" and len(operands) == 1 and is_basic(params["index"]):
            return self.put(primitive.evaluate(operands[0].data, **params))
        entering = [isinstance(x, (Resident, np.ndarray)) for x in operands]
        key = (primitive, _key(params), *[(x.shape, x.dtype) if enters else _key(x) for x, enters in zip(operands, entering)])
        program = self._programs.get(key)
        if program is None:
            tracing = Tracing(values=False, frames=())
            given = [tracing.input(None, f"operand {k}", x.shape, x.dtype) if enters else x for k, (x, enters) in enumerate(zip(operands, entering))]
            out = primitive(*given, **params)
            program = self._programs[key] = self.program([x.node for x in given if type(x) is Tracer], [out.node])
            if len(self._programs) > PROGRAMS:
                self._programs.popitem(last=False)
        return program.exactly(*[x for x, enters in zip(operands, entering) if enters])[0]

    def program(self, inputs, outputs, donated=()):
        return ResidentProgram(self, self._make(inputs, outputs, donated))

    def ran(self, program):
        """A program ran that may have met an index out of bounds: whoever gets something from the device hears of it."""
        self._unchecked[id(program)] = program

    def put(self, array):
        """A Resident of an array of NumPy's, which is copied, or of one that is there already."""
        return Resident(self, array if self.memory.holds(array) else self.memory.array(array))

    def get(self, x):
        """A Resident as NumPy's array. Raises IndexError where an index was out of bounds on the way to it, or on another since the last time."""
        while self._unchecked:
            self._unchecked.popitem()[1].check()
        return self.memory.host(x.data)


class ResidentProgram:
    """A program as tape.py runs one: from the engine's arrays (NumPy's are copied to the device) to Residents."""

    def __init__(self, residence, program):
        self._residence, self._program = residence, program
        program.asks = False                       # Residence.get does: steps that nobody looks at do not wait for each other

    def returning(self, scalars=False):
        """See Program: there is none for a device."""

    def exactly(self, *arrays):
        out = self._program(*[x.data if type(x) is Resident else x for x in arrays])
        if self._program.indexed:
            self._residence.ran(self._program)
        return [*map(self._residence.put, out)]


def _key(x):
    """What of a parameter or a constant a program depends on, hashable."""
    if isinstance(x, (tuple, list)):
        return type(x), *map(_key, x)
    if isinstance(x, dict):
        return tuple([(k, _key(v)) for k, v in sorted(x.items())])
    if isinstance(x, np.ndarray):
        return x.shape, x.dtype, x.tobytes()
    return type(x), repr(x)


@functools.lru_cache(maxsize=None)
def _residence(memory, name):
    return Residence(name, program_maker(name))


def residence(name):
    """The Residence of a device. Raises RuntimeError with the cure where there is no such device."""
    return _residence(program_maker(name).device, name)


def at(x, name):
    """An array of the engine's, NumPy's or Resident, in the memory of the device of this name."""
    if x.device == name:
        return x
    return x.interpreter.get(x) if name == "cpu" else residence(name).put(x)


def compiled(inputs, outputs, name, donated=()):
    """A program from arrays of the engine's to others, on the device of this name: what plans.py makes. donated: see Program."""
    return program_maker(name)(inputs, outputs, donated) if name == "cpu" else residence(name).program(inputs, outputs, donated)
