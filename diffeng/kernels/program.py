"""Program: a graph as a table of kernel calls over planned memory.

What it is: nodes are lowered to steps (lower.py), steps grouped (fuse.py), groups written as kernels (groups.py), compiled or found in the process's
store (machine.py), buffers placed (memory.py). A call hands the addresses of inputs and outputs to machine code that walks the table (runtime.py); a
primitive without a kernel is a NumPy call between two stretches of it.

What it is not: no derivative, no tracing, no guards: the caller knows what the graph stands for.
"""
import heapq
import math
import sys

import numpy as np

from ..constants import Exact
from ..errors import explain
from ..nodes import INPUT, Node, reachable
from ..simplify import simplify
from ..lines import line_of
from . import contract, donation, groups, tiles
from .fuse import Call, Fuser, Group, Immediate, Product
from .layout import Padded, View, new
from .lower import Lowering
from .memory import address, aligned, array_at, native, plan
from .native import CONVERT
from .plans import Plans
from .recompute import recomputed
from .scalar import type_name
from .stacking import stacked
from .tiles import Tiles

RELEASE_ABOVE = 20_000                      # nanoseconds of work beyond which a call gives up the interpreter lock
REUSE_ABOVE = 1 << 16                       # bytes of an output from which on its memory is used again once nobody holds it: fresh pages cost 0.25 us each

STEPS = {Group: lambda step, plans: plans.instructions(step), Product: lambda step, plans: [contract.product(step)],
         Tiles: lambda step, plans: tiles.instructions(step)}


class Program:
    """A compiled graph: `program(*arrays)` returns a list of arrays.

    inputs: the graph's input nodes, in the order of the call's arguments. outputs: nodes, or constants. Every node has a shape and a dtype;
    values are not needed. Arrays are checked (TypeError for a dtype, ValueError for a shape); any strides will do. Results are the caller's: memory that was
    returned is written again only when nobody holds it, nor a view of it. as_recorded: compute every operation as it stands, simplify nothing.
    donated: numbers of inputs whose memory results may take (donation.py): an array that can be written into is written over then, and returned.

    Kernels are shared by all programs of a process: a second program of the same structure compiles nothing, whatever its sizes. calls: the primitives that
    NumPy computes. kernels: how many are called. peak_bytes: memory a call needs beside its inputs and outputs.

    >>> import numpy as np
    >>> from diffeng.nodes import Tracing
    >>> x = Tracing().input(None, "x", (3,), np.float64)
    >>> program = Program([x.node], [(np.sin(x) * 2.0).node])
    >>> program(np.zeros(3))
    [array([0., 0., 0.])]
    """

    def __init__(self, inputs, outputs, as_recorded=False, donated=()):
        steps = self._steps(inputs, list(outputs) if as_recorded else _rewritten(outputs), donated)
        self.calls = [step.node.primitive.name for step in steps if type(step) is Call and step.node is not None]
        self._build(steps)
        self._made = [[] for _ in self.outputs]
        self._specs = [shape for shape, _ in self.outputs], [dtype for _, dtype in self.outputs]
        self._small = not self._taken and all([dtype is not None and math.prod(shape) * dtype.itemsize < REUSE_ABOVE for shape, dtype in self.outputs])

    def _steps(self, inputs, outputs, donated=()):
        """The program's steps in order; what is known of its inputs and outputs is kept."""
        self.inputs = [(n.params.get("name", f"input {k}"), n.shape, np.dtype(np.dtype(n.dtype).str)) for k, n in enumerate(inputs)]     # str: see native
        fuser = Fuser(self.narrow)
        lowering = Lowering(fuser, self.contiguous_constants)
        places = {id(n): new("input", n.shape, np.dtype(n.dtype), k) for k, n in enumerate(inputs)}
        nodes = _schedule([n for n in reachable(outputs) if id(n) not in places])
        factors = _factors(nodes) if self.narrow else ()
        for node in nodes:
            if node.primitive is INPUT:
                raise ValueError(f"the outputs depend on the input {node.params.get('name')!r}, which is not among the program's inputs: pass its node too")
            operands = [places[id(x)] if type(x) is Node else lowering.constant(x) if type(x) is np.ndarray else x for x in node.operands]
            places[id(node)] = lowering.lower(node, operands)
            if node in factors:
                contract.narrowed(fuser, places[id(node)])
        self.outputs, self._constants, made = self._finish(outputs, places, lowering)
        self._origins = lowering.origins
        steps = tiles.tiled(fuser.finish(), self.separate)
        candidates = donation.pairs([tuple(spec) for _, *spec in self.inputs], self.outputs, donated)
        self._taken = donation.settle(steps, {k: (made[k], places[id(inputs[j])].buffer) for k, j in candidates.items() if k in made}) if candidates else {}
        return steps

    contiguous_constants = False               # must an array that the graph holds be C-contiguous?
    narrow = False                             # do products of float32 take bfloat16?
    separate = tiles.SEPARATE                  # see tiles.tiled

    @classmethod
    def peak(cls, inputs, outputs):
        """peak_bytes of a program of these, as planned: nothing is compiled, no memory taken."""
        program = cls.__new__(cls)
        return _planned(program._steps(inputs, _rewritten(outputs)))[1]

    def _finish(self, outputs, places, lowering):
        """Each output in a buffer of its own: the one it is computed in where that is possible, else a copy."""
        specs, constants, made = [], {}, {}
        for k, output in enumerate(outputs):
            if not isinstance(output, Node):
                constants[k] = output.value if type(output) is Exact else output
                specs.append((np.shape(output), None))
                continue
            view = places[id(output)]
            if type(view) is Padded:
                view = lowering.filled(view)
            specs.append((output.shape, np.dtype(output.dtype)))
            if view.buffer.kind == "arena" and view.whole():
                view.buffer.kind, view.buffer.slot = "output", k
                view.buffer.stored = True
                made[k] = view.buffer
            elif 0 not in output.shape:
                out = new("output", output.shape, view.dtype, k)
                out.buffer.stored = True              # whoever writes it
                made[k] = out.buffer
                if type_name(view.dtype) is None:
                    lowering.fuser.step(Call(None, [view], out), [view], out)
                else:
                    lowering.cast(view, out, view.shape)
        return specs, constants, made

    # ---- building -------------------------------------------------------------------------------------------------------------

    def _build(self, steps):
        """Kernels, memory, operand tables."""
        from . import machine, runtime                     # llvmlite is imported here, not before
        work, self.peak_bytes = _planned(steps)
        self._arena = aligned(self.peak_bytes)
        arena = address(self._arena)
        status = np.zeros(1, np.int64)
        words, patches, table, keep, places = [], [], [], [self._arena], {}

        def emit(w):
            """An instruction's words, one operand table after the other; addresses that change with the call are patched into them."""
            for part in w.parts:
                emit(part)
            places[w] = machine.kernel(w.key, w.build).address, len(words)
            for x in w.words:
                if type(x) is tuple:
                    buffer, offset = x
                    if buffer.kind in ("input", "output"):
                        patches.append((len(words), self._slot(buffer), offset))
                        x = 0
                    else:
                        x = (arena + buffer.place if buffer.kind == "arena" else address(buffer.array)) + offset
                        keep.append(buffer.array)
                elif type(x) is Immediate:
                    x = x.word()
                elif type(x) is tiles.KernelOf:
                    x = places[x.instruction][0]
                elif x is groups.STATUS:
                    x = address(status)
                words.append(x)

        for w in work:
            if type(w) is not Call:
                emit(w)
                table.append((*places[w], w.rows, w.chunk))
        numbers = np.array([0 if type(x) is tiles.WordsOf else x for x in words] or [0], np.int64)
        for k, x in enumerate(words):
            if type(x) is tiles.WordsOf:
                numbers[k] = address(numbers) + 8 * places[x.instruction][1]
        self.kernels = len(table)
        cost = sum(w.rows * w.cost for w in work if type(w) is not Call)
        self._entry = runtime.Entry([spec for _, *spec in self.inputs], len(self.outputs), numbers, patches, table, status,
                                    release=cost > RELEASE_ABOVE, products=any(type(s) in (Product, Tiles) for s in steps), keep=keep)
        self._run = self._entry.run if not any(type(w) is Call for w in work) else self._with_calls(work)

    def _slot(self, buffer):
        return buffer.slot + (len(self.inputs) if buffer.kind == "output" else 0)

    def _with_calls(self, work):
        """Stretches of the table with NumPy calls between them."""
        parts, at, begun = [], 0, 0
        for w in [*work, None]:
            if type(w) is Call or w is None:
                if at > begun:
                    parts.append((begun, at))
                begun = at
                if w is not None:
                    parts.append(self._call(w))
            else:
                at += 1
        entry = self._entry

        def run(*arrays):
            with entry.call(*arrays) as (code, stretch):
                if code:
                    return code
                for part in parts:
                    if type(part) is tuple:
                        stretch(*part)
                    else:
                        part(arrays)
            return entry.code
        return run

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
            slot = self._slot(x.buffer)
            return lambda arrays: array_at(address(np.asarray(arrays[slot])), x, arrays[slot])
        operands, out = [reader(x) for x in call.operands], reader(call.out)

        def run(arrays):
            out(arrays)[...] = evaluated(node, [x(arrays) for x in operands])
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
            x = native(x, dtype)
            out.append(x.copy() if self._taken else x)            # what is given away is written over
        return out

    def _fresh(self, arrays):
        """Arrays for the outputs: those whose memory is given away, new ones, or large ones that this program made before and that only it still holds."""
        if self._small:
            return [*map(np.empty, *self._specs)]
        fresh = []
        for k, (shape, dtype) in enumerate(self.outputs):
            if dtype is None:
                fresh.append(np.array(self._constants[k]))
                continue
            if k in self._taken:
                fresh.append(arrays[self._taken[k]])
                continue
            made = self._made[k]
            for x in made:
                if sys.getrefcount(x) == 3:                    # the list, the loop's name and the argument
                    fresh.append(x)
                    break
            else:
                x = np.empty(shape, dtype)
                fresh.append(x)
                if x.nbytes >= REUSE_ABOVE and len(made) < 2:
                    made.append(x)
        return fresh

    def _given(self, arrays):
        """Can results be written over the inputs that are given away? Not where that is forbidden, nor where an array came in twice."""
        met = [id(x) for x in arrays if type(x) is np.ndarray]
        return len(set(met)) == len(met) and all([type(arrays[j]) is np.ndarray and arrays[j].flags.writeable for j in self._taken.values()])

    def exactly(self, *arrays):
        """As a call, for arguments that need no conversion: aligned C-contiguous arrays (or numbers) of the program's shapes and dtypes. None, and nothing
        computed, for others."""
        if self._taken and not self._given(arrays):
            return None
        fresh = self._fresh(arrays)
        code = self._run(*arrays, *fresh)
        if code:
            if code == CONVERT:
                return None
            raise self._out_of_bounds(code)
        return fresh

    def returning(self, single=False):
        """A builtin that does what `exactly` does, for results that are small and where no NumPy is called in between: a tuple of results, scalars among them; with
        `single` the one result. None where there is no such function."""
        return self._entry.returning(self.outputs, single) if self._small and self._run is self._entry.run else None

    def _out_of_bounds(self, code):
        """The error for what kernels report of an index."""
        node = self._origins[code - 1]
        line = line_of(node.frames)
        return IndexError(f"{node.primitive.name}{' at ' + line if line else ''}: an index is out of bounds")

    def __call__(self, *arrays):
        out = self.exactly(*arrays)
        return self.exactly(*self._checked(arrays)) if out is None else out

    def host(self, x):
        """An output as NumPy's array."""
        return x


def _rewritten(outputs):
    """The graph as it is compiled."""
    return recomputed(stacked(simplify(list(outputs))))


def _planned(steps):
    """(instructions and calls in order, with their buffers placed; bytes of the arena)."""
    plans = Plans()
    work = [w for step in steps for w in ([step] if type(step) is Call else STEPS[type(step)](step, plans))]
    return work, plan([buffers(w) for w in work])


def evaluated(node, values):
    """A Call's value, by NumPy: its node's primitive, or what it copies."""
    if node is None:
        return values[0]
    try:
        with np.errstate(all="ignore"):
            return node.primitive.evaluate(*values, **node.params)
    except (ValueError, TypeError, IndexError) as error:
        raise explain(error, node.primitive.name, values) from error


def buffers(w):
    """The arena buffers that a step reads or writes."""
    if type(w) is Call:
        found = [x.buffer for x in (*w.operands, w.out) if type(x) is View]
    else:
        found = [x[0] for i in (w, *w.parts) for x in i.words if type(x) is tuple]
    return [b for b in found if b.kind == "arena"]


def _factors(nodes):
    """Elementwise nodes of float32 that enter products as they are: what bfloat16 there is made of them is made where they are."""
    found, views = set(), []
    for n in nodes:
        if n.primitive.kind == "contract":
            views += n.operands
    while views:
        n = views.pop()
        if type(n) is Node and n not in found:
            if n.primitive.name in ("transpose", "reshape"):
                views += n.operands
            elif n.primitive.kind == "map" and n.dtype == np.float32 and len(n.shape) > 1:
                found.add(n)
    return found


def _schedule(nodes):
    """Nodes in an order that keeps together what may share a loop: whatever is ready comes in the order of `_rank`. nodes: in topological order."""
    place = {id(n): k for k, n in enumerate(nodes)}
    waits, readers, ranks = [], [[] for _ in nodes], [_rank(n) for n in nodes]
    for k, n in enumerate(nodes):
        before = {place[id(p)] for p in n.operands if type(p) is Node and id(p) in place}
        waits.append(len(before))
        for j in before:
            readers[j].append(k)
    ready = [(ranks[k], k) for k in range(len(nodes)) if not waits[k]]
    heapq.heapify(ready)
    out = []
    while ready:
        _, k = heapq.heappop(ready)
        out.append(nodes[k])
        for j in readers[k]:
            waits[j] -= 1
            if not waits[j]:
                heapq.heappush(ready, (ranks[j], j))
    return out


def _rank(n):
    """0: may join a loop that is open. 1: reads a sum over rows, which is known when a loop has ended. 2: needs its operands in memory, as products do."""
    if n.primitive.kind == "contract":
        return 0 if any([len(x.shape) < 2 for x in n.operands]) else 2               # by a vector: lowered to terms and sums
    if n.primitive.kind == "opaque":
        return 2
    return int(_over_rows(n) and n.primitive.name in ("mean", "var", "logsumexp") or any([type(x) is Node and _over_rows(x) for x in n.operands]))


def _over_rows(n):
    """A reduction over other axes than the last ones."""
    axis = n.params["axis"] if n.primitive.kind == "reduce" else ()
    rank = len(n.operands[0].shape) if axis else 0
    return len(axis) > 0 and (sorted(axis) != [*range(rank - len(axis), rank)] or len(axis) == rank)
