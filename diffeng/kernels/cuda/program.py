"""CudaProgram: the same graph as a program for a GPU, a list of launches over planned device memory.

What it is: kernels/program.py's way from nodes to steps, then launches in the place of instructions (plan.py), products for cuBLAS (products.py), and the
memory between them in one arena on the device. A call uploads the addresses that change, and launches; nothing is allocated but the outputs, which come
from CuPy's pool.

What it is not: it knows the device by a few methods only (device.Gpu, simulator.Simulator).
"""
import threading
import warnings

import numpy as np

from .. import groups
from ..fuse import Call, Group, Immediate, Product
from ..layout import View
from ..memory import plan
from ..planning import buffers, called, steps_of
from ..plans import Plans
from ..program import Program, evaluate
from ..tiles import Tiles
from . import attention, tiling
from . import plan as grid_plan
from .products import Gemm, gemms

ALIGNED = 16                                 # bytes that a thread reads at once
MOST_GRAPHS = 4                              # of a program: a loop of training writes to two sets of addresses in turn

_STEPS = {Group: lambda step, plans, grid, precision: plans.instructions(step), Product: lambda step, *_: gemms(step), Call: lambda step, *_: [step],
          Tiles: lambda step, plans, grid, precision: attention.launches(step, precision) or tiling.launches(step, grid)}


class CudaProgram(Program):
    """As Program, on a device (device.device() or a simulator.Simulator).

    Arguments may lie on the host or on the device, C-contiguous or not; a result is a device array if any argument was one, else NumPy's. precision: of
    products of float32: "float32", "tf32" (10 digits of two of each factor) or "bfloat16" (7), all summed in float32. strict: an operation without a kernel is
    an error, not a warning that the host computes it.
    """

    def __init__(self, inputs, outputs, as_recorded=False, donated=(), *, device, precision="float32", strict=False):
        self.device, self._precision, self._strict, self._lock = device, precision, strict, threading.RLock()
        self.narrow = precision == "bfloat16"
        super().__init__(inputs, outputs, as_recorded, donated)

    asks = True                              # first about the last call's indices, and so waits for the GPU; whoever calls `check` himself says no
    contiguous_constants, accumulates, in_order, scipys, aligned_rows = True, False, False, False, ALIGNED
    indexed = property(lambda self: bool(self._origins), doc="Does it read at places that may be out of bounds? Then `check` says whether they were.")

    # ---- building ---------------------------------------------------------------------------------------------------------------------------

    @staticmethod
    def _planned(graph):
        return steps_of(*graph)

    def _build(self, planned, described=None):
        device, (steps, self._origins, self._taken) = self.device, planned
        plans = Plans(lambda group: grid_plan.instructions(group, device.grid), ALIGNED)
        work = []
        for step in steps:
            work += _STEPS[type(step)](step, plans, device.grid, self._precision)
        self.calls = called(work)
        names = ", ".join(sorted(set(self.calls)))
        if self._strict and self.calls:
            raise NotImplementedError(f"{names}: there is no kernel for the GPU; leave strict out to have the host compute it")
        if self.calls and device.distant:
            warnings.warn(f"{names}: computed on the host, there is no kernel for the GPU; each call copies the operands there and the result back", stacklevel=5)
        self.peak_bytes = plan([w.buffers() if type(w) is Gemm else buffers(w) for w in work])
        self._arena, self._status = device.memory(self.peak_bytes), device.array(np.zeros(1, np.int64))
        self._held, words, patches, begun = {}, [], [], []
        for w in work:
            begun.append(len(words))
            if type(w) is grid_plan.Launch:
                for x in w.words:
                    if type(x) is tuple and x[0].kind in ("input", "output"):
                        patches.append((len(words), self._slot(x[0]), x[1]))
                        x = 0
                    words.append(self._word(x))
        self._words, self._patched = np.array(words or [0], np.int64), np.array(patches, np.int64).reshape(-1, 3)
        self._on_device = device.array(self._words)
        self._places, self._graphs, self._met = None, {}, set()
        self._table = [self._start(w, device.address(self._on_device) + 8 * at) for w, at in zip(work, begun)]
        self._work = work
        self.kernels, self._asks_host = sum(type(w) is grid_plan.Launch for w in work), any([type(w) is Call for w in work])

    def _word(self, x):
        if type(x) is tuple:
            return self._place(x[0], None) + x[1]
        if type(x) is Immediate:
            return x.word()
        return self.device.address(self._status) if x is groups.STATUS else x

    def _place(self, buffer, places):
        """Where a buffer begins. places: addresses of a call's inputs and outputs."""
        if buffer.kind == "arena":
            return self.device.address(self._arena) + buffer.place
        if buffer.kind == "constant":
            held = self._held.get(id(buffer.array))
            if held is None:
                held = self._held[id(buffer.array)] = self.device.array(buffer.array)
            return self.device.address(held)
        return int(places[self._slot(buffer)])

    def _start(self, w, words):
        """A function of the addresses of a call's inputs and outputs that starts one piece of work."""
        device, precision = self.device, self._precision
        if type(w) is grid_plan.Launch:
            launch = device.launcher(device.kernel(w), w, words)
            return lambda places: launch()
        if type(w) is Gemm:
            views = w.left, w.right, w.out
            if all([v.buffer.kind in ("arena", "constant") for v in views]):
                run = device.product(w, [self._place(v.buffer, None) + v.offset for v in views], precision)
                return lambda places: run()
            return lambda places: device.product(w, [self._place(v.buffer, places) + v.offset for v in views], precision)()
        return lambda places: self._on_host(w, places)

    def _on_host(self, call, places):
        device = self.device

        def array(v):
            return device.view(self._place(v.buffer, places), v)
        result = np.empty(call.out.shape, call.out.dtype)
        evaluate(call.node, result, [device.host(array(x)) if type(x) is View else x for x in call.operands])
        array(call.out)[...] = device.array(result)

    # ---- calling ------------------------------------------------------------------------------------------------------------------------------

    def exactly(self, *arrays):
        """As a call, where the arguments have the program's shapes and dtypes; None, and nothing computed, for others."""
        device = self.device
        if len(arrays) != len(self.inputs):
            return None
        here = any([device.holds(x) for x in arrays])
        given = []
        for x, (_, shape, dtype) in zip(arrays, self.inputs):
            x = device.array(x) if device.holds(x) else np.asarray(x)
            if x.shape != shape or x.dtype != dtype:
                return None
            x = device.array(x)
            given.append(device.copy(x) if device.address(x) % ALIGNED else x)
        if self._taken and len({device.address(x) for x in given}) < len(given):              # an array that came in twice is not written over
            given = [device.copy(x) for x in given]
        with self._lock:
            out = self._launched(given)
            if not here:
                out = [device.host(x) for x in out]
            if self._origins and not here:
                self.check()
        return out

    def _launched(self, given):
        device = self.device
        if self._origins and self.asks and self._places is not None:
            self.check()                                  # the last call's: nobody has asked yet
        out = [given[self._taken[k]] if k in self._taken else device.empty(shape, dtype) if dtype is not None
               else device.array(np.array(self._constants[k])) for k, (shape, dtype) in enumerate(self.outputs)]
        places = np.array([device.address(x) for x in given + out], np.int64)
        if self._places is None or not np.array_equal(places, self._places):
            rows, slots, offsets = self._patched.T
            self._words[rows] = places[slots] + offsets
            device.upload(self._words, self._on_device)
            self._places = places
        self._replay(places)
        return out

    def _replay(self, places):
        """Launch everything: from the second call with the same addresses on as one graph of the driver's, which costs the processor less."""
        key = places.tobytes()
        graph = self._graphs.get(key)
        if graph is None and key in self._met and not self._asks_host:
            graph = self.device.captured(lambda: self._start_all(places))
            if len(self._graphs) >= MOST_GRAPHS:
                self._graphs.pop(next(iter(self._graphs)))
            self._graphs[key] = graph
        if len(self._met) >= 4 * MOST_GRAPHS:
            self._met.clear()
        self._met.add(key)
        if graph is not None:
            graph()
        else:
            self._start_all(places)

    def _start_all(self, places):
        for start in self._table:
            start(places)

    def _checked(self, arrays):
        return super()._checked([self.device.host(self.device.array(x)) if self.device.holds(x) else x for x in arrays])

    def returning(self, single=False, scalars=True):
        return None

    def host(self, x):
        """An output as NumPy's array."""
        return self.device.host(x) if self.device.holds(x) else x

    def check(self):
        """Wait for the device, and raise IndexError if an index was out of bounds since the last look."""
        code = int(self.device.host(self._status)[0])
        if code:
            self.device.upload(np.zeros(1, np.int64), self._status)
            raise self._reported(code)

