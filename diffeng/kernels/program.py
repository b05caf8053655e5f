"""Program: a graph as a table of kernel calls over planned memory.

What it is: a graph is planned (planning.py, choice.py), or its plan is found on disk (image.py); kernels are compiled or found in the process's store (machine.py), and
everything gets its address. A call hands the addresses of inputs and outputs to machine code that walks the table (runtime.py); a primitive without a kernel
is a NumPy call between two stretches of it.

What it is not: no derivative, no tracing, no guards: the caller knows what the graph stands for.

Why apart from those two: a process that finds its programs on disk imports nothing that plans.
"""
import math
import sys

import numpy as np

from ..constants import Exact
from ..errors import explain
from ..lines import line_of
from ..nodes import Node, Outputs
from .blocks import CONVERT
from .layout import View
from .memory import address, aligned, array_at, native
from .transforms import TRANSFORMS

RELEASE_ABOVE = 20_000                      # nanoseconds of work beyond which a call gives up the interpreter lock
TOGETHER = 256                              # turns of a loop that take less each: others may wait for so many
REUSE_ABOVE = 1 << 16                       # bytes of an output from which on its memory is used again once nobody holds it: fresh pages cost 0.25 us each
_SINGULAR = np.linalg.LinAlgError, "Singular matrix"                                                   # as NumPy says it
_REPORTS = {"solve": _SINGULAR, "inv": _SINGULAR, "cholesky": (np.linalg.LinAlgError, "Matrix is not positive definite")}


class Program:
    """A compiled graph: `program(*arrays)` returns a list of arrays.

    inputs: the graph's input nodes, in the order of the call's arguments. outputs: nodes, or constants. Every node has a shape and a dtype;
    values are not needed. Arrays are checked (TypeError for a dtype, ValueError for a shape); any strides will do. Results are the caller's: memory that was
    returned is written again only when nobody holds it, nor a view of it. as_recorded: compute every operation as it stands, simplify nothing.
    donated: numbers of inputs whose memory results may take (donation.py), or {number of a result: number of the input}: an array that can be written into is
    written over then, and returned.
    remembered: keep the plan on disk, and find it there.

    Kernels are shared by all programs of a process: a second program of the same structure compiles nothing, whatever its sizes. calls: the primitives that
    NumPy computes. kernels: how many are called. peak_bytes: memory a call needs beside its inputs and outputs.

    >>> import numpy as np
    >>> from diffeng.nodes import Tracing
    >>> x = Tracing().input(None, "x", (3,), np.float64)
    >>> program = Program([x.node], [(np.sin(x) * 2.0).node])
    >>> program(np.zeros(3))
    [array([0., 0., 0.])]
    """

    def __init__(self, inputs, outputs, as_recorded=False, donated=(), remembered=False):
        outputs = Outputs(outputs)
        self._specify(inputs, outputs)
        described = self._described(inputs, outputs, donated) if remembered else None
        if described is None or not self._recalled(described):
            self._build(self._planned((self, inputs, outputs, donated, as_recorded)), described)
        self._made = [[] for _ in self.outputs]
        self._specs = [shape for shape, _ in self.outputs], [dtype for _, dtype in self.outputs]
        self._small = not self._taken and all([dtype is not None and math.prod(shape) * dtype.itemsize < REUSE_ABOVE for shape, dtype in self.outputs])

    contiguous_constants = False               # must an array that the graph holds be C-contiguous?
    aligned_rows = 0                           # bytes at multiples of which rows of large factors and results of products begin
    narrow = False                             # do products of float32 take bfloat16?
    accumulates = True                         # do products add to what is there (accumulate.py)?
    scipys = True                              # may kernels call SciPy's functions (scipys.py)?
    in_order = True                            # may one thread go through a short vector entry by entry (donation.py)?

    def _specify(self, inputs, outputs):
        """What is known of arguments and results without a plan."""
        self.inputs = [(n.params.get("name", f"input {k}"), n.shape, np.dtype(np.dtype(n.dtype).str)) for k, n in enumerate(inputs)]     # str: see native
        self.outputs = [(x.shape, np.dtype(x.dtype)) if isinstance(x, Node) else (np.shape(x), None) for x in outputs]
        self._constants = {k: x.value if type(x) is Exact else x for k, x in enumerate(outputs) if not isinstance(x, Node)}

    @classmethod
    def peak(cls, inputs, outputs):
        """peak_bytes of a program of these, as planned: nothing is compiled, no memory taken."""
        program, outputs = cls.__new__(cls), list(outputs)
        program._specify(inputs, outputs)
        from .choice import plans
        return plans((program, inputs, outputs))[0].peak

    # ---- building -------------------------------------------------------------------------------------------------------------

    @staticmethod
    def _described(inputs, outputs, donated):
        """By what the graph's plan is kept on disk, and found there; None for one that has no words for it."""
        from . import image                                # llvmlite is imported here, not before
        described = image.Description(inputs, outputs, donated)
        return None if described.text is None else described

    def _recalled(self, described):
        """Is the plan of an equal graph on disk? Then this becomes its program."""
        from . import image
        found = image.find(described)
        if found is None:
            return False
        self._origins, self._taken, self.calls = found.origins, found.taken, []
        self._link(found)
        return True

    @staticmethod
    def _planned(graph):
        """A graph's plan, its kernels compiled; after them, while the caller goes on, what other shapes need, which are to compile nothing."""
        from . import choice, machine, runtime
        runtime.begin()
        chosen, *others = choice.plans(graph, ahead=True)
        if others:
            machine.kernels([*chosen.kernels().items()])
            machine.later([pair for p in others for pair in p.kernels().items()])
        return chosen

    def _build(self, plan, described=None):
        """Kernels, memory, operand tables. described: by what the plan is kept on disk."""
        from . import image
        from .planning import called, has_products
        self._origins, self._taken, self.calls = plan.origins, plan.taken, called(plan.work)
        cost = sum(w.rows * w.cost for w in plan.rows)
        made, sources = image.assembled(plan.rows, self._slot, origins=plan.origins, taken=plan.taken, peak=plan.peak, release=cost > RELEASE_ABOVE,
                                        products=has_products(plan.steps))
        if described is not None and len(plan.rows) == len(plan.work):
            image.keep(described, made, sources)
        self._link(made)
        if len(plan.rows) < len(plan.work):
            self._run = self._with_calls(plan.work)

    def _link(self, image):
        """An image with its addresses, and behind a function."""
        from . import runtime
        self.peak_bytes, self.kernels = image.peak, len(image.table)
        self._arena, status = aligned(image.peak), np.zeros(1, np.int64)
        kernels = image.link(address(self._arena), address(status))
        table = [(kernels[k], first, rows, chunk) for k, first, rows, chunk in image.table.tolist()]
        self._entry = runtime.Entry([spec for _, *spec in self.inputs], len(self.outputs), image.words, image.patches, table, status, release=image.release,
                                    products=image.products, wide=image.wide, keep=[self._arena, *image.constants])
        self._run = self._entry.run

    def _slot(self, buffer):
        return buffer.slot + (len(self.inputs) if buffer.kind == "output" else 0)

    def _with_calls(self, work):
        """Stretches of the table with NumPy calls between them."""
        from .planning import Call
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

        def there(held, x):
            return array_at(address(held), x, held)                # (a number is an array of its own)

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
            if x.whole() and (x.shape, x.dtype) == (self.inputs[slot][1:] if slot < len(self.inputs) else self.outputs[slot - len(self.inputs)]):
                return lambda arrays: np.asarray(arrays[slot])
            return lambda arrays: there(np.asarray(arrays[slot]), x)
        operands, out = [reader(x) for x in call.operands], reader(call.out)

        def run(arrays):
            evaluate(node, out(arrays), [x(arrays) for x in operands])
        return run

    # ---- calling ----------------------------------------------------------------------------------------------------------------

    def _checked(self, arrays):
        if len(arrays) != len(self.inputs):
            raise TypeError(f"the program takes {len(self.inputs)} arrays ({', '.join(name for name, *_ in self.inputs)}), and was given {len(arrays)}")
        out = []
        for x, (name, shape, dtype) in zip(arrays, self.inputs):
            x = np.asarray(x)
            if x.dtype != dtype and x.dtype.newbyteorder("=") == dtype:
                x = x.astype(dtype)                          # from another machine's order of bytes
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
            if not all([x.shape == shape and x.dtype == dtype and x.flags.carray for x in made]):          # who held one gave it another shape, or forbade writing
                made.clear()
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
        """Can results be written over the inputs that are given away? Not where that is forbidden, nor where another argument lies in the same memory."""
        taken = {*self._taken.values()}
        if not all([type(arrays[j]) is np.ndarray and arrays[j].flags.writeable for j in taken]):
            return False
        owners = [id(x if x.base is None else x.base) for x in arrays if type(x) is np.ndarray]
        if len(set(owners)) == len(owners):
            return True
        begins = [x.__array_interface__["data"][0] if type(x) is np.ndarray else 0 for x in arrays]
        end = end_of_taken = 0                               # of what lies before; parts of one array may well be parameters
        for begin, j in sorted(zip(begins, range(len(arrays)))):
            if begin < (end if j in taken else end_of_taken):
                return False
            end = max(end, begin + arrays[j].nbytes if begin else 0)
            end_of_taken = end if j in taken else end_of_taken
        return True

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
            raise self._reported(code)
        return fresh

    def turns(self, carry, rows, outer, pair, made, count):
        """A loop of calls, each of which begins where the last one ended. The inputs are those of `carry`, one row of each of `rows` a turn, and `outer`; the
        outputs are the next carry and a row of each of `made`. pair: two lists of arrays like the carry, which are written in turns: that which was written
        last is returned. All of these are aligned, rows C-contiguous, of the program's shapes and dtypes, and what is written is none of what is read.
        Outputs that are constants are not written."""
        if self._run is not self._entry.run:                     # NumPy is called in between
            for k in range(count):
                self._completed(self._run(*(pair[(k - 1) % 2] if k else carry), *[x[k, ...] for x in rows], *outer, *pair[k % 2], *[y[k, ...] for y in made]))
            return pair[(count - 1) % 2]
        slots = _places(carry, rows, outer, pair, [(*(address(y),) * 3, y.strides[0]) for y in made])
        for k, last in self._together(count):
            self._completed(self._entry.repeat(slots, k, last))
        return pair[(count - 1) % 2]

    def turns_while(self, carry, outer, pair):
        """(how often, the carry then): as `turns` without rows, as long as the last output, a truth value, is true of the carry that its call began with. No NumPy
        may be called in between."""
        until = np.array([1, -1])
        slots = _places(carry, (), outer, pair, [(*(address(until),) * 3, 0)])
        for k, last in self._together(sys.maxsize):
            self._completed(self._entry.repeat(slots, k, last, until))
            if until[1] >= 0:
                return int(until[1]), pair[(until[1] - 1) % 2] if until[1] else carry

    def _together(self, count):
        """(first, last) of calls that are made in one go: a signal is heard in between."""
        together = 1 if self._entry.release else TOGETHER
        return ((k, min(k + together, count)) for k in range(0, count, together))

    def _completed(self, code):
        """A call's status, where arguments are known to need no conversion."""
        if code:
            raise self._reported(code)

    def returning(self, single=False, scalars=True):
        """A builtin that does what `exactly` does, for results that are small and where no NumPy is called in between: a tuple of results, scalars among
        them (arrays without axes otherwise); with `single` the one result. None where there is no such function."""
        return self._entry.returning(self.outputs, single, scalars) if self._small and self._run is self._entry.run else None

    def _reported(self, code):
        """The error for what kernels report of an index, or of a matrix."""
        name, frames = self._origins[code]
        line = line_of(frames)
        kind, text = _REPORTS.get(name, (IndexError, "an index is out of bounds"))
        return kind(f"{name}{' at ' + line if line else ''}: {text}")

    def __call__(self, *arrays):
        out = self.exactly(*arrays)
        return self.exactly(*self._checked(arrays)) if out is None else out

    def host(self, x):
        """An output as NumPy's array."""
        return x


def _places(carry, rows, outer, pair, more):
    """Entry.repeat's slots. more: those behind the next carry."""
    (one, other), slots = ([*map(address, held)] for held in pair), []
    for x, a, b in zip(carry, one, other):
        slots += address(x), a, b, 0
    for x in rows:
        slots += *(address(x),) * 3, x.strides[0]
    for x in outer:
        slots += *(address(x),) * 3, 0
    for a, b in zip(one, other):
        slots += a, b, a, 0
    return np.array(slots + [word for row in more for word in row], np.int64)


@np.errstate(all="ignore")
def evaluate(node, out, values):
    """A Call, by NumPy or SciPy: its node's primitive, or what it copies."""
    if node is None:
        out[...] = values[0]
        return
    primitive = node.primitive
    try:
        if primitive.name in TRANSFORMS:
            TRANSFORMS[primitive.name](out, *values, **node.params)
        else:
            out[...] = getattr(primitive.own, "compiled", primitive.evaluate)(*values, **node.params)
    except (ValueError, TypeError, IndexError) as error:
        raise explain(error, primitive.name, values) from error
