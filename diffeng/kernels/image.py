"""A planned program as data, and the way to disk and back: a second process plans nothing.

What it is: `assembled`, which makes an `Image` of instructions: the words of their operand tables, with moves that say where which address is to be added, as
in an object file (program.py links it); and `Description`, which writes down all that decides a plan, so that `find` gets an equal graph's image from disk.
Where it does, the graph is not rewritten, lowered, fused or planned, and the files that do so are not even imported.

What it is not trusted for: see cache.py. An image whose kernels are gone is planned anew. What has no words here (an object among a primitive's parameters, a
call of NumPy) is planned in every process. Constants that the graph holds are read where they lie, as always; only those that planning made itself are kept.
"""
import functools
import hashlib
import json
import pathlib
import sys

import numpy as np

from ..constants import Exact, unchanging
from ..nodes import INPUT, Node, reachable
from ..vocabulary.indexing import Slot
from . import blas, cache, machine, runtime, threads
from .memory import address

ARENA, CONSTANT, KERNEL, ROUTINE, STATUS, WORDS, REGION, THREADS = range(8)          # what a move adds the address of
ROOM = "programs"                          # of the cache
MOST_KEPT = 1 << 20                        # bytes of constants that planning made
MOST_BYTES = 1 << 28                       # of all programs that are kept: beyond them the oldest go
MOST_TOLD = 1 << 24                        # bytes of a constant that is looked at
_PLAIN = (int, bool, str, type(None), type(Ellipsis))


class Image:
    """words: operand tables, one after the other. moves: (place in words, kind, number). patches: (place in words, number of an argument, offset). table:
    (number of a kernel, its first word, rows, chunk). kernels: (key, build). routines: BLAS's, by name. constants: arrays. origins: {code: (primitive,
    frames)} of what is checked at run time. taken: donation.settle's. peak: bytes of the arena. release, products, wide: runtime.Entry's."""

    __slots__ = ("words", "moves", "patches", "table", "kernels", "routines", "constants", "origins", "taken", "peak", "release", "products", "wide")

    def __init__(self, words, moves, patches, table, **rest):
        self.words = np.array(words if len(words) else [0], np.int64)
        self.moves, self.patches, self.table = (np.array(x, np.int64).reshape(-1, n) for x, n in ((moves, 3), (patches, 3), (table, 4)))
        for name, value in rest.items():
            setattr(self, name, value)

    def link(self, arena, status):
        """Every address in its place. Returns the addresses of the kernels; those that are found nowhere are compiled here."""
        kernels = [k.address for k in machine.kernels(self.kernels)]
        places, kinds, numbers = self.moves.T
        for kind, found in ((ARENA, [arena]), (CONSTANT, [*map(address, self.constants)]), (KERNEL, kernels), (ROUTINE, [blas.routine(name)[0] for name in self.routines]),
                            (STATUS, [status]), (WORDS, [address(self.words)]), (REGION, [runtime.region()]), (THREADS, [threads.pool()])):
            chosen = kinds == kind
            if chosen.any():
                self.words[places[chosen]] += np.array(found, np.int64)[numbers[chosen]]
        return kernels


def assembled(work, slot, **rest):
    """The Image of instructions in order, their buffers placed. slot(buffer): the number of a call's argument, for inputs and outputs."""
    from .fuse import Immediate
    from . import groups
    from .tiles import KernelOf, WordsOf
    words, moves, patches, begun = [], [], [], {}
    kernels, routines, constants, named = {}, {}, {}, {groups.STATUS: STATUS, groups.REGION: REGION, groups.THREADS: THREADS}

    def moved(kind, number, offset=0):
        moves.append((len(words), kind, number))
        return offset

    for w in with_parts(work):
        begun[w] = kernels.setdefault(w.key, (len(kernels), w.build))[0], len(words)
        for x in w.words:
            kind = type(x)
            if kind is tuple:
                buffer, offset = x
                if buffer.kind == "arena":
                    x = moved(ARENA, 0, buffer.place + offset)
                elif buffer.kind == "constant":
                    x = moved(CONSTANT, constants.setdefault(id(buffer.array), (len(constants), buffer))[0], offset)
                else:
                    patches.append((len(words), slot(buffer), offset))
                    x = 0
            elif kind is Immediate:
                x = x.word()
            elif kind is KernelOf:
                x = moved(KERNEL, begun[x.instruction][0])
            elif kind is WordsOf:
                x = moved(WORDS, 0, 8 * (begun[x.instruction][1] + x.first))
            elif kind is blas.Routine:
                x = moved(ROUTINE, routines.setdefault(x.name, len(routines)))
            elif kind is str:
                x = moved(named[x], 0)
            words.append(x)

    table = [(*begun[w], w.rows, w.chunk) for w in work]
    held = [buffer for _, buffer in constants.values()]
    image = Image(words, moves, patches, table, kernels=[(key, build) for key, (_, build) in kernels.items()], routines=[*routines],
                  constants=[b.array for b in held], wide=any([w.chunk < w.rows for w in begun]), **rest)
    return image, [b.slot for b in held]


def with_parts(work):
    """Instructions, each behind its parts."""
    for w in work:
        yield from with_parts(w.parts)
        yield w


def buffers(w):
    """Those that an instruction and its parts reach."""
    return [x[0] for i in with_parts([w]) for x in i.words if type(x) is tuple]


# ---- what decides a plan ------------------------------------------------------------------------------------------------------------

class _Untold(Exception):
    """Something has no words."""


class Description:
    """text: all that decides the plan of a graph, node by node in topological order; None if something has no words. nodes; inner: those of loops' turns; arrays:
    constants, by number."""

    def __init__(self, inputs, outputs, donated):
        self.nodes, self.arrays, self._numbers, self._known, self._parameters, self.inner = reachable(outputs), [], {}, {}, {}, []
        try:
            self.text = self._told(inputs, outputs, donated)
        except _Untold:
            self.text = None

    def _told(self, inputs, outputs, donated):
        if not _as_written():
            raise _Untold                                        # kernels of rules that only this process has
        out = self._graph(self.nodes, inputs, [x if type(x) is Node else None for x in outputs])          # (a program's constant outputs are no part of a plan)
        out.append(f"{[(n.shape, np.dtype(n.dtype).str) for n in inputs]} {donated if isinstance(donated, dict) else tuple(donated)} {threads.count()} "
                   f"{blas.libraries()} {_source()}")
        return "\n".join(out)

    def _graph(self, nodes, inputs, outputs):
        """A line for each node, in topological order, and for each output."""
        number, known, scalar, told, out = {}, self._known, self._scalar, self._parameters, []
        entered = {id(n): k for k, n in enumerate(inputs)}
        for k, n in enumerate(nodes):
            number[id(n)] = k
            if n.primitive is INPUT:
                if id(n) not in entered:
                    raise _Untold                                # Program says what is wrong
                out.append(f"input {entered[id(n)]}")
                continue
            kind = n.primitive.name, n.dtype, n.shape
            text = known.get(kind) if n.primitive.own is None else self._loop(n.primitive)
            if text is None:
                text = known[kind] = f"{n.primitive.name} {n.dtype.str} {n.shape}"
            for x in n.operands:
                text += f" @{number[id(x)]}" if type(x) is Node else scalar(x)                # 0 - x is not x - x, whose first operand is node 0
            if n.params:
                parameters = told.get(id(n.params))
                if parameters is None:                           # those of the steps of a loop are one object (nodes.spec)
                    parameters = told[id(n.params)] = "".join([f" {name}={self._parameter(value)}" for name, value in n.params.items()])
                text += parameters
            out.append(text)
        return out + [f"out {number[id(x)]}" if type(x) is Node else f"out{scalar(x)}" for x in outputs]

    def _loop(self, primitive):
        """A loop, with its turn: of others of that kind a name says nothing of what they compute."""
        if primitive.name != "scan":
            raise _Untold
        loop = primitive.own
        nodes = reachable(loop.outputs)
        self.inner += nodes
        turn = self._graph(nodes, loop.inputs, loop.outputs)
        shapes = [(n.shape, n.dtype.str) for n in loop.inputs]
        return "\n".join([f"scan {loop.carried} {loop.read} {loop.length} {loop.reverse} {loop.packing} {shapes} of", *turn, "end"])

    def _scalar(self, x):
        """An operand that is no node."""
        kind = type(x)
        if kind is float:
            return f" f{x!r}"
        if kind is np.ndarray:
            return self._array(x)
        if isinstance(x, np.generic):
            return f" {x.dtype.str}:{x.tobytes().hex()}"
        return f" {self._parameter(x)}"

    def _array(self, x):
        """A constant: what it looks like, and what it says if that may decide what is computed: of a mask, and of what nobody can write into (simplify)."""
        if id(x) in self._numbers:
            return self._numbers[id(x)]
        if x.dtype.kind not in "fiub":
            raise _Untold
        fixed = unchanging(x)
        held = ""
        if fixed or x.dtype.kind == "b":
            once = x[tuple([0 if s == 0 and n else slice(None) for s, n in zip(x.strides, x.shape)])]             # what is repeated, once
            if once.nbytes > MOST_TOLD:
                raise _Untold
            held = hashlib.sha256(once.tobytes()).hexdigest()
        text = f" array {len(self.arrays)} {x.dtype.str} {x.shape} {x.strides} {x.flags.writeable} {fixed} {held}"
        self.arrays.append(x)
        self._numbers[id(x)] = f" array {len(self.arrays) - 1}"
        return text

    def _parameter(self, x):
        kind = type(x)
        if kind in _PLAIN:
            return repr(x)
        if kind is tuple or kind is list:
            return f"({','.join([self._parameter(i) for i in x])})"
        if kind is slice:
            return f"slice({self._parameter(x.start)},{self._parameter(x.stop)},{self._parameter(x.step)})"
        if kind is float:
            return f"f{x!r}"
        if kind is Exact:
            return f"Exact {x.name}"
        if kind is Slot:
            return f"Slot {x.k}"
        if isinstance(x, np.dtype):
            return x.str
        raise _Untold


SOURCES = ("simplify", "contractions", "index_maps", "lengths", "constants", "nodes")


@functools.lru_cache(maxsize=None)
def _source():
    """Of what rewrites a graph before it comes into this room; the room's own is in every key on disk."""
    own = hashlib.sha256(np.__version__.encode())
    package = pathlib.Path(__file__).parent.parent
    for path in (*(package / f"{name}.py" for name in SOURCES), *sorted((package / "vocabulary").glob("*.py"))):
        own.update(path.read_bytes())
    return own.hexdigest()


def _as_written():
    """Are the scalar rules what their source says? A process that has not imported them cannot have changed them."""
    scalar = sys.modules.get(f"{__package__}.scalar")
    return scalar is None or scalar.as_written()


# ---- on disk ------------------------------------------------------------------------------------------------------------------------

_TABLES = (("words", 1), ("moves", 3), ("patches", 3), ("table", 4))


def keep(described, image, sources):
    """Write an image, if all of it has words. sources: the array that each constant is of, or how roots.py makes it."""
    numbers = {id(x): k for k, x in enumerate(described.arrays)}
    constants, made = [], []
    for held, source in zip(image.constants, sources):
        if id(source) in numbers:
            constants.append(numbers[id(source)])
            continue
        if type(source) is tuple:                                # a table, which is as long as what is transformed
            constants.append({"roots": source})
            continue
        if not held.flags.c_contiguous or any([np.may_share_memory(held, x) for x in described.arrays]):
            return
        constants.append([held.dtype.str, held.shape])
        made.append(held.tobytes())
    frames = {id(n.frames): k for k, n in enumerate(described.nodes + described.inner)}
    if sum(map(len, made)) > MOST_KEPT:
        return
    head = {"kernels": [key for key, _ in image.kernels], "routines": image.routines, "constants": constants, "taken": [*image.taken.items()],
            "origins": [(code, name, frames.get(id(found), -1)) for code, (name, found) in image.origins.items()], "lengths": [getattr(image, name).size for name, _ in _TABLES],
            "peak": image.peak, "release": bool(image.release), "products": bool(image.products), "wide": image.wide}
    tables = [getattr(image, name).tobytes() for name, _ in _TABLES]
    code = json.dumps(head).encode() + b"\n" + b"".join(tables + made)
    if len(code) > MOST_BYTES // 4:
        return
    cache.keep(described.text, {"code": code, "symbols": {}, "needs": []}, ROOM)
    cache.bound(ROOM, MOST_BYTES, len(code))


def find(described):
    """The image of an equal graph; None if there is none, or one of its kernels or routines is gone."""
    kept = cache.find(described.text, ROOM)
    if kept is None:
        return None
    head, _, body = kept["code"].partition(b"\n")
    head, at, tables = json.loads(head), 0, []
    for n in head["lengths"]:
        tables.append(np.frombuffer(body, np.int64, n, at))
        at += 8 * n
    constants = []
    for told in head["constants"]:
        if type(told) is int:
            constants.append(np.require(described.arrays[told], requirements="A"))
        elif type(told) is dict:
            from . import roots
            constants.append(roots.made(*told["roots"]))
        else:
            dtype, shape = np.dtype(told[0]), tuple(told[1])
            made = np.frombuffer(body, dtype, int(np.prod(shape, dtype=int)), at).reshape(shape).copy()
            at += made.nbytes
            constants.append(made)
    if not all([machine.known(key) for key in head["kernels"]]) or not all([blas.available(name) for name in head["routines"]]):
        return None
    frames = [n.frames for n in described.nodes + described.inner] + [()]
    return Image(*tables, kernels=[(key, None) for key in head["kernels"]], routines=head["routines"], constants=constants,
                 origins={code: (name, frames[k]) for code, name, k in head["origins"]}, taken=dict(head["taken"]), peak=head["peak"], release=head["release"],
                 products=head["products"], wide=head["wide"])
