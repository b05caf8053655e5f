"""Program: a graph as a table of kernel calls over planned memory.

What it is: nodes are lowered to steps (lower.py), steps grouped (fuse.py), groups written as kernels (source.py), compiled or found in the process's
store (machine.py), buffers placed (memory.py). A call fills in the addresses of inputs and outputs and walks the table; a primitive without a kernel
is a NumPy call between two stretches of it.

What it is not: no derivative, no tracing, no guards: the caller knows what the graph stands for.
"""
import threading

import numpy as np

from ..constants import Exact
from ..errors import explain
from ..nodes import INPUT, Node, reachable
from ..where import line_of
from . import contract, reductions, source, threads
from .fuse import Call, Fuser, Immediate, Loop, Reduce
from .layout import View, new
from .lower import Lowering
from .memory import address, aligned, array_at, plan
from .scalar import type_name


class Program:
    """A compiled graph: `program(*arrays)` returns fresh arrays.

    inputs: the graph's input nodes, in the order of the call's arguments. outputs: nodes, or constants. Every node has a shape and a dtype;
    values are not needed. Arrays are checked (TypeError for a dtype, ValueError for a shape); any strides will do. Kernels are shared by all programs of
    a process: a second program of the same structure compiles nothing, whatever its sizes. calls: the primitives that NumPy computes.

    >>> import numpy as np
    >>> from diffeng.nodes import Tracing
    >>> x = Tracing().input(None, "x", (3,), np.float64)
    >>> program = Program([x.node], [(np.sin(x) * 2.0).node])
    >>> program(np.zeros(3))
    [array([0., 0., 0.])]
    """

    def __init__(self, inputs, outputs):
        self.inputs = [(n.params.get("name", f"input {k}"), n.shape, np.dtype(n.dtype)) for k, n in enumerate(inputs)]
        fuser = Fuser()
        lowering = Lowering(fuser)
        places = {id(n): new("input", n.shape, np.dtype(n.dtype), k) for k, n in enumerate(inputs)}
        for node in reachable(outputs):
            if id(node) in places:
                continue
            if node.primitive is INPUT:
                raise ValueError(f"the outputs depend on the input {node.params.get('name')!r}, which is not among the program's inputs: pass its node too")
            operands = [places[id(x)] if type(x) is Node else lowering.constant(x) if type(x) is np.ndarray else x for x in node.operands]
            places[id(node)] = lowering.lower(node, operands)
        self.outputs, self._constants = self._finish(outputs, places, lowering)
        self._origins = lowering.origins
        steps = fuser.finish()
        self.calls = [step.node.primitive.name for step in steps if type(step) is Call and step.node is not None]
        self._build(steps)
        self._lock = threading.Lock()             # words and arena belong to one call at a time

    def _finish(self, outputs, places, lowering):
        """Each output in a buffer of its own: the one it is computed in where that is possible, else a copy."""
        specs, constants = [], {}
        for k, output in enumerate(outputs):
            if not isinstance(output, Node):
                constants[k] = output.value if type(output) is Exact else output
                specs.append((np.shape(output), None))
                continue
            view = places[id(output)]
            specs.append((output.shape, np.dtype(output.dtype)))
            if view.buffer.kind == "arena" and view.whole():
                view.buffer.kind, view.buffer.slot = "output", k
                view.buffer.stored = True
            elif 0 not in output.shape:
                out = new("output", output.shape, view.dtype, k)
                out.buffer.stored = True              # whoever writes it
                if type_name(view.dtype) is None:
                    lowering.fuser.step(Call(None, [view], out), [view])
                else:
                    lowering.cast(view, out, view.shape)
        return specs, constants

    # ---- building -------------------------------------------------------------------------------------------------------------

    def _build(self, steps):
        """Kernels, memory, operand tables."""
        from . import machine                     # llvmlite is imported here, not before

        def instruction(step):
            if type(step) is Loop:
                return source.loop(step)
            if type(step) is Reduce:
                return reductions.reduce(step, type_name(step.view.dtype), type_name(step.out.dtype))
            type_ = type_name(step.out.dtype)
            return contract.product(step, type_, machine.gemm_address(type_))
        work = [step if type(step) is Call else instruction(step) for step in steps]
        buffers = list({id(v.buffer): v.buffer for step in steps for v in _written(step) if v.buffer.kind == "arena" and v.buffer.stored}.values())
        self._arena = aligned(plan(buffers))
        arena = address(self._arena)
        self._status = np.zeros(1, np.int64)
        status = address(self._status)
        words, patches, rows = [], [], []

        for w in work:                            # operand tables, one after the other; addresses that change with the call are patched into them
            if type(w) is Call:
                continue
            start = len(words)
            for x in w.words:
                if type(x) is tuple:
                    buffer, offset = x
                    if buffer.kind in ("input", "output"):
                        patches += [len(words), buffer.slot + (len(self.inputs) if buffer.kind == "output" else 0), offset]
                        x = 0
                    else:
                        x = (arena + buffer.place if buffer.kind == "arena" else address(buffer.array)) + offset
                elif type(x) is Immediate:
                    x = int.from_bytes(np.asarray(x.value).tobytes().ljust(8, b"\0"), "little", signed=True)
                elif x is source.STATUS:
                    x = status
                words.append(x)
            rows.append((machine.kernel(w.text), start, w.rows, threads.split(w.rows, w.cost) if w.divisible else w.rows))
        self._words = np.array(words or [0], np.int64)
        self._patches = np.array(patches or [0], np.int64)
        self._patched = len(patches) // 3
        self._bases = np.zeros(len(self.inputs) + len(self.outputs) + 1, np.int64)
        base = address(self._words)
        self._table = np.array([(kernel.address, base + 8 * start, n, chunk) for kernel, start, n, chunk in rows] or [(0,) * 4], np.int64)
        self._kernels = [kernel for kernel, *_ in rows]                      # machine code stays alive
        self._constant_arrays = [x[0].array for w in work if type(w) is not Call for x in w.words if type(x) is tuple and x[0].kind == "constant"]
        self._driver = machine.driver()
        self._memory = (address(self._words), address(self._bases), address(self._patches))
        self._segments = self._cut(work, rows)

    def _cut(self, work, rows):
        """Stretches of the table between NumPy calls and parallel regions."""
        table, at, segments = address(self._table), 0, []

        def stretch(lo, hi):
            if hi > lo:
                segments.append(self._stretch(table + 32 * lo, hi - lo))
        begun = 0
        for w in work:
            if type(w) is Call:
                stretch(begun, at)
                begun = at
                segments.append(self._call(w))
                continue
            kernel, start, n, chunk = rows[at]
            if chunk < n:
                stretch(begun, at)
                begun = at + 1
                segments.append(self._wide(kernel, int(self._table[at, 1]), n, chunk))
            at += 1
        stretch(begun, at)
        return segments

    def _stretch(self, table, count):
        driver, (words, bases, patches) = self._driver, self._memory
        return lambda arrays: driver(table, count, words, bases, patches, 0)

    def _wide(self, kernel, table, rows, chunk):
        return lambda arrays: threads.share(kernel.call, table, rows, chunk)

    def _call(self, call):
        """A primitive in NumPy: its operands as arrays over the program's memory."""
        node, here = call.node, address(self._arena)

        def reader(x):
            if type(x) is not View:
                return lambda arrays: x
            if x.buffer.kind == "constant" and (x.offset, x.shape, x.strides) == (0, x.buffer.array.shape, x.buffer.array.strides):
                return lambda arrays: x.buffer.array
            if x.buffer.kind in ("arena", "constant"):
                held = self._arena if x.buffer.kind == "arena" else x.buffer.array
                array = array_at(here + x.buffer.place if x.buffer.kind == "arena" else address(held), x, held)
                return lambda arrays: array
            slot = x.buffer.slot + (len(self.inputs) if x.buffer.kind == "output" else 0)
            return lambda arrays: array_at(address(arrays[slot]), x, arrays[slot])
        operands, out = [reader(x) for x in call.operands], reader(call.out)

        def run(arrays):
            values = [x(arrays) for x in operands]
            if node is None:
                result = values[0]
            else:
                try:
                    with np.errstate(all="ignore"):
                        result = node.primitive.evaluate(*values, **node.params)
                except (ValueError, TypeError, IndexError) as error:
                    raise explain(error, node.primitive.name, values) from error
            out(arrays)[...] = result
        return run

    # ---- calling ----------------------------------------------------------------------------------------------------------------

    def _checked(self, arrays):
        if len(arrays) != len(self.inputs):
            raise TypeError(f"the program takes {len(self.inputs)} arrays ({', '.join(name for name, *_ in self.inputs)}), and was given {len(arrays)}")
        out = []
        for x, (name, shape, dtype) in zip(arrays, self.inputs):
            x = np.asarray(x)
            if x.dtype != dtype:
                raise TypeError(f"input {name!r} is {x.dtype} where the program was built for {dtype}: convert it with astype, or build another program")
            if x.shape != shape:
                raise ValueError(f"input {name!r} has the shape {x.shape} where the program was built for {shape}: build another program for it "
                                 "(its kernels are shared, so that nothing is compiled again)")
            out.append(x if x.flags.c_contiguous and x.flags.aligned else np.array(x, order="C"))
        return out

    def __call__(self, *arrays):
        arrays = self._checked(arrays)
        fresh = [np.array(self._constants[k]) if k in self._constants else np.empty(shape, dtype) for k, (shape, dtype) in enumerate(self.outputs)]
        arrays += fresh
        with self._lock:
            self._bases[:len(arrays)] = [address(x) for x in arrays]
            self._driver(0, 0, *self._memory, self._patched)
            for segment in self._segments:
                segment(arrays)
            code = int(self._status[0])
            self._status[0] = 0
        if code:
            node = self._origins[code - 1]
            line = line_of(node.frames)
            raise IndexError(f"{node.primitive.name}{' at ' + line if line else ''}: an index is out of bounds")
        return fresh


def _written(step):
    """The views a step writes."""
    if type(step) is Loop:
        return [o.out if type(o.out) is View else o.out.view for o in step.operations]
    return [step.out]
