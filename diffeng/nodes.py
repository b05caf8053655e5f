"""Primitives, nodes, and the one dispatch between them.

What it is: a `Primitive` is a name and a NumPy evaluation. Called, it looks at its operands, as NumPy's own
protocol does: plain arrays are computed, and a `Traced` operand hands the call to its interpreter, which records
it (`Tracing`), pushes tangents along (forward_mode) or computes it in 100 digits (precise). No primitive knows any of them.

What it is not: no derivative, no NumPy function names (numpy_api.py), no networkx graph (graph.py).

Why a file: everything else in the package imports this, and it imports nothing of the package but traced.py and interpreters.py.
"""
import itertools
import math
from operator import attrgetter

import numpy as np

from .constants import unchanged
from .errors import explain, refuse
from .interpreters import Interpreter, complex_result, exactly
from .refusals import ASSIGN, fixed
from .traced import ALIASES, TRACED, Traced, unaliased
from .lines import DEPTH, user_frames

_new = object.__new__
_serial = itertools.count()
by_serial = attrgetter("serial")
_OF_NUMBERS = frozenset("add subtract multiply divide power remainder floor_divide negative absolute".split())          # of Python's floats these make more
_FLOAT64 = np.dtype(float)
_ARRAYS = frozenset({np.ndarray, float, int, bool, *np.sctypeDict.values()})          # the types of values with nothing below them


class Primitive:
    """One operation of the vocabulary.

    name: NumPy's or SciPy's name for it. evaluate(*arrays, **params) -> array: plain NumPy.
    kind: "map" (elementwise with broadcasting), "reduce", "view" (an index map, no arithmetic), "contract", "gather",
    "scatter", "linalg" (of the matrices on the last two axes, each by itself) or "opaque": what a compiler may assume.
    slots: the operands with a derivative; None: every one. () marks piecewise constant primitives (sign, floor, less).
    held: operands whose derivative nobody knows: they may not depend on what is differentiated by.
    own: of a function with rules of its own (own_rules.Rules), which is asked where others have rows in the books; such a primitive is no word of the vocabulary.
    domain: the open interval of each operand in which the primitive is smooth (shared by tests and the accuracy report).
    infer(*specimens, **params): (shape, dtype) of the result where computing it on a dummy would cost real work.
    quick(*arrays, **params): evaluate, where the operands are NumPy's own arrays and numbers and at least one is no Python number: an operator
    multiplies two numbers ten times faster than the ufunc.
    """

    __slots__ = ("name", "_evaluate", "kind", "slots", "domain", "infer", "quick", "held", "own")
    registry = {}
    some_own = False                         # as long as there is none with rules of its own, nobody has to look for one

    def __init__(self, name, evaluate, kind="map", slots=None, domain=None, infer=None, quick=None, held=None, own=None):
        if name in Primitive.registry:
            raise ValueError(f"primitive {name!r} exists already")
        self.name, self.evaluate, self.kind, self.slots, self.domain, self.infer = name, evaluate, kind, slots, domain, infer
        self.held, self.own = held or (), own
        if quick is not None:
            self.quick = quick
        if own is None:
            Primitive.registry[name] = self
        else:
            Primitive.some_own = True

    @property
    def evaluate(self):
        return self._evaluate

    @evaluate.setter
    def evaluate(self, function):            # another evaluation is another quick one
        self._evaluate = self.quick = function

    def __call__(self, *operands, **params):
        top = None
        for x in operands:
            if type(x) in TRACED:
                interpreter = x.interpreter
                if top is None or interpreter is not top and interpreter.level > top.level:
                    top = interpreter
        if top is not None:
            return top.apply(self, operands, params)
        try:                                 # (compute, written out: most rules of differentiation come here)
            return self._evaluate(*operands, **params) if params else self._evaluate(*operands)
        except (ValueError, TypeError, IndexError) as error:
            raise explain(error, self.name, operands) from error

    def compute(self, operands, params):
        """The plain NumPy value; an error names the primitive, the operands and the user's line."""
        try:
            return self._evaluate(*operands, **params)
        except (ValueError, TypeError, IndexError) as error:
            raise explain(error, self.name, operands) from error

    def carries(self, slot):
        """Is there a derivative by this operand, known or not?"""
        return self.slots is None or slot in self.slots

    def differentiable(self, slot):
        return self.carries(slot) and slot not in self.held

    def not_held(self, slot, where):
        """The error for a derivative by an operand that has to be held constant."""
        return refuse(NotImplementedError, f"{self.name!r} has no derivative by operand {slot}{where}: no formula for it is known; hold the operand constant "
                                           "(a number, an array that does not depend on the inputs, or diffeng.stop_gradient of one that does)")

    def __repr__(self):
        return f"<primitive {self.name}>"


_specs = {}                                  # what decides a spec -> it: the steps of a loop ask the same again and again


def spec(primitive, operands, params):
    """(shape, dtype) of a result without its value: elementwise by broadcasting, else the primitive's own rule, else a dummy run; and the parameters, as they
    came the first time: equal ones are one object, so that whoever looks at them can know what he has seen.

    operands: nodes without values, or constants.
    """
    try:
        key = _spec_key(primitive, operands, params)
        found = _specs.get(key)
    except TypeError:                        # what has no hash is looked at each time
        return *_spec(primitive, operands, params), params
    if found is None:
        if len(_specs) > 10_000:
            _specs.clear()
        found = _specs[key] = *_spec(primitive, operands, params), params
    return found


def _spec_key(primitive, operands, params):
    """All that a spec depends on. Of numbers that are computed with, their type; of others, and of index arrays, what they are."""
    key, elementwise = [primitive._evaluate, primitive.infer], primitive.kind == "map"
    for x in operands:
        kind = type(x)
        if kind is Node or kind is np.ndarray and elementwise and x.ndim:
            key += x.shape, x.dtype
        elif kind is np.ndarray:
            raise TypeError
        else:
            key.append(kind if elementwise and issubclass(kind, (float, np.floating)) else (kind, x))
    for name, value in params.items():
        key += name, _part(value)
    return tuple(key)


def _part(i):
    """A parameter, or a part of one, as a key: True is not 1, and -0.0 is not 0.0."""
    kind = type(i)
    if kind is tuple:
        return tuple([_part(j) for j in i])
    if kind is slice:
        return "slice", i.start, i.stop, i.step
    return i if kind is int else (kind, repr(i) if isinstance(i, (float, np.floating)) else i)


def _spec(primitive, operands, params):
    shapes = [np.shape(x) if not isinstance(x, Node) else x.shape for x in operands]

    def dummy(x, shape):      # zero strides: a view costs nothing, whatever the size
        index = primitive.kind != "map" and x.dtype.kind in "iu"                 # 0 is one of any axis, 1 is not
        return np.broadcast_to(np.array(not index, x.dtype), shape)

    if primitive.kind == "map":
        tiny = [dummy(x, (1,) * len(s)) if isinstance(x, Node) else np.ones((1,) * len(s), np.asarray(x).dtype) if s else x for x, s in zip(operands, shapes)]
        with np.errstate(all="ignore"):              # arctanh(1) of a dummy is nobody's division by zero
            found = primitive.infer(*tiny, **params)[1] if primitive.infer is not None else np.result_type(primitive.compute(tiny, params))
            return np.broadcast_shapes(*shapes), found
    full = [dummy(x, s) if isinstance(x, Node) else x for x, s in zip(operands, shapes)]
    if primitive.infer is not None:
        return primitive.infer(*full, **params)
    result = primitive.compute(full, params)
    return result.shape, result.dtype


class Node:
    """One recorded operation: lean, hashable by identity, made in topological order (`serial` grows). What it says stays; its value may be found out later.

    live: the numbers of the operands through which a derivative by the recording's inputs may go; True for an input. segment: of a checkpoint.
    hooks: of a user's, where a tensor has some (tensor_engine/hooks.py).
    """

    __slots__ = ("primitive", "operands", "params", "value", "shape", "dtype", "frames", "serial", "live", "segment", "hooks", "__weakref__")

    def __init__(self, primitive, operands, params, value, shape, dtype, frames):
        self.primitive, self.operands, self.params = primitive, operands, params    # operands: Nodes, or constants as they came
        self.value, self.shape, self.dtype, self.frames = value, shape, dtype, frames
        self.serial, self.live = next(_serial), tuple([k for k in range(len(operands)) if primitive.carries(k)]) if operands else True

    def on(self, operands):
        """The same operation on other operands of the same shapes and dtypes: a new Node, without a value."""
        node = _new(Node)                                    # (see Tracing.apply)
        node.primitive, node.operands, node.params, node.value = self.primitive, tuple(operands), self.params, None
        node.shape, node.dtype, node.frames, node.serial, node.live = self.shape, self.dtype, self.frames, next(_serial), self.live
        return node

    def with_operands(self, operands):
        """As on; the node itself, where these are its own."""
        return self if all([a is b for a, b in zip(operands, self.operands)]) else self.on(operands)

    def __repr__(self):
        return f"<{self.primitive.name} {self.shape} {self.dtype}>"


INPUT = Primitive("input", None, kind="input", slots=())


SAMPLES = 64


def _sample(x):
    """The bytes of some entries of a large array."""
    if x.flags.forc:
        return x.ravel(order="K")[::x.size // SAMPLES].tobytes()                    # (a view)
    return x[np.unravel_index(np.linspace(0, x.size - 1, SAMPLES).astype(int), x.shape)].tobytes()


class Tracing(Interpreter):
    """Records every primitive as a Node; computes values along the way when the inputs have them.

    looks: what Python saw of values in the order it looked: ("bool", True, frames), ..., and looked: the nodes it looked at. A judge
    replays the branches taken, and a compiled program guards them. numbers: the nodes that stand for Python's floats: with float32 these make float32.
    """

    whole = 0                        # bytes up to which a plain array that is computed with is kept as it was then; of larger ones SAMPLES entries. 0: none is
    lasting = property(lambda self: self.whole == math.inf)          # what is recorded outlives the run: a graph, a program, the body of a loop
    depth = DEPTH                    # how many of the user's frames around an operation are kept: 1 tells its line, a picture wants the functions around it

    def __init__(self, values=True, frames=None):
        super().__init__()
        self.looks, self.looked, self.numbers = [], [], set()
        self._held = {}              # {id of a plain array: (the array, a copy of it, or None and the bytes of some entries)}
        self.values = values         # compute along the way where the operands' values are known
        self.frames = frames         # where to say that operations stand, instead of where the user's code runs

    def input(self, value, name, shape=None, dtype=None):
        """A traced input with a value, or (value None) with a shape and dtype only."""
        shape, dtype = (value.shape, value.dtype) if value is not None else (tuple(shape), np.dtype(dtype))
        return Tracer(self, Node(INPUT, (), {"name": name}, value, shape, dtype, ()))

    def is_number(self, x):
        return x.node in self.numbers

    def _is_number(self, x):
        if type(x) is Tracer:
            return x.interpreter is self and self.is_number(x)
        return not hasattr(x, "dtype")                       # a Python number, or a constant exact to any number of digits

    def _among_numbers(self, primitive, operands):
        """(operands, is the result one, too?) where some operands may be Python's floats: they take the dtype of the others; alone they stay what they are."""
        others = [x if isinstance(x, (np.ndarray, np.generic)) else x.dtype for x in operands if not self._is_number(x)]
        if not others:
            return operands, primitive.name in _OF_NUMBERS
        dtype = np.dtype(float) if primitive.infer is not None else np.result_type(*others)           # SciPy knows no weak numbers
        if dtype.kind == "f" and (dtype != float or primitive.infer is not None):
            operands = [Primitive.registry["astype"](x, dtype=dtype) if type(x) is Tracer and self._is_number(x) else x for x in operands]
        return operands, False

    def apply(self, primitive, operands, params):
        number = False
        if self.numbers and primitive.kind == "map" and primitive.name != "astype":
            operands, number = self._among_numbers(primitive, operands)
        inputs, values, live, slots, k = [], [], (), primitive.slots, 0
        plain = known = self.values
        for x in operands:
            if type(x) is Tracer and x.interpreter is self:
                x = x.node
                value = x.value
                if x.live and (slots is None or k in slots):
                    live += (k,)
            else:
                if self.whole:
                    x = self.held(x) if type(x) is np.ndarray else unaliased(x) if type(x) in TRACED else x
                value = x
            k += 1
            inputs.append(x)
            values.append(value)
            if type(value) not in _ARRAYS:
                plain = False
                if value is None:
                    known = False
        frames = self.frames
        if plain:                                            # the common case, in as few steps as there can be
            try:
                value = primitive.quick(*values, **params) if params else primitive.quick(*values)
            except (ValueError, TypeError, IndexError) as error:
                raise explain(error, primitive.name, values) from error
            shape, dtype = value.shape, value.dtype
        elif not (known or self.values and restore(inputs, values)):
            value = None
            try:
                shape, dtype, params = spec(primitive, inputs, params)
            except (ValueError, TypeError, IndexError) as error:
                if getattr(error, "explained", False):
                    raise
                raise explain(error, primitive.name, inputs) from error
        else:
            value = primitive(*values, **params)             # one level down
            met = exactly(primitive, values, params)
            if met is not values:
                inputs = [n if type(n) is Node else x for n, x in zip(inputs, met)]
            if frames is None and type(value) is Tracer:
                frames = value.node.frames                   # the level below has looked
            shape, dtype = value.shape, value.dtype
        node = _new(Node)                                    # (Node(...) would have Python call __init__, which takes as long as adding two small arrays)
        node.primitive = primitive
        node.operands = tuple(inputs)
        node.params = params
        node.value = value
        node.shape = shape
        node.dtype = dtype
        node.frames = user_frames(3, self.depth) if frames is None else frames
        node.serial = next(_serial)
        if dtype is _FLOAT64 or dtype.kind == "f":
            node.live = live
        elif dtype.kind == "c":
            return complex_result(primitive, operands, params)
        else:
            node.live = ()
        if self.log is not None:
            self.log.append(node)
        if number:
            self.numbers.add(node)
        out = _new(Tracer)
        out.interpreter = self
        out.node = node
        return out

    def summed(self, g, x):
        """The cotangent g of x, of the same shape, as whoever compiles it wants it: summed along axes of length 1 along which x is repeated, as longer ones are."""
        return g

    def held(self, x):
        """A plain array as it is now: the function may write over its own later, and what was computed was computed from this."""
        if not self.whole or not x.flags.writeable:
            return x
        known = self._held.get(id(x))
        if known is not None and known[0] is x and (known[2] == _sample(x) if known[1] is None else known[1].tobytes() == x.tobytes()):
            return x if known[1] is None else known[1]
        if x.nbytes > self.whole:
            self._held[id(x)] = x, None, _sample(x)
            return x
        kept = None if x.flags.c_contiguous or x.dtype.kind == "i" else self._transposed(x)
        if kept is None:
            kept = x.copy(order="K")
            kept.flags.writeable = False
            kept = unchanged(kept) if x.dtype.kind == "i" else kept          # places, whose values may decide what is computed
        self._held[id(x)] = x, kept, None
        return kept

    def _transposed(self, x):
        """What is held of another array, transposed, where x is the transpose of that; else None. Who transposes a matrix makes a new array each time, and it is to be
        known for the same one."""
        base, order = x.base, sorted(range(x.ndim), key=lambda axis: -x.strides[axis])
        before = x.transpose(order)
        if type(base) is np.ndarray and before.flags.c_contiguous and base.flags.c_contiguous and (before.shape, before.dtype) == (base.shape, base.dtype):
            return self.held(base).transpose([order.index(axis) for axis in range(x.ndim)])
        return None

    def check_held(self):
        """ValueError where a large array, of which there is no copy, is not what it was."""
        for x, kept, sample in self._held.values():
            if kept is None and _sample(x) != sample:
                raise refuse(ValueError, f"an array of shape {x.shape}{{here}} was written into after the function had computed with it: its derivative would be that "
                                         "of other numbers. Write into a copy: A = A.copy()")

    def look(self, kind, tracer, convert):
        """Python asks for a number or a truth value."""
        value = restored(tracer.node)
        if value is None:
            raise TypeError(f"{kind}() of {tracer.node!r}: a symbol has no value. Trace the function at numbers (diffeng.trace(fun, *args)), "
                            "or write the choice as np.where")
        seen = np.array(convert(value)) if kind == "mask" else convert(value)          # a copy: the caller may write into the array, and what was seen stays
        self.looks.append((kind, seen, user_frames(most=self.depth)))
        self.looked.append(tracer.node)
        return seen


CONSTANT = Primitive("constant", lambda x: x, kind="constant", slots=())


class Tracer(Traced):
    """What user code holds while it is recorded: an array-like around a Node. Never a key of anything: == is elementwise."""

    __slots__ = ("interpreter", "node", *ALIASES)

    def __init__(self, interpreter, node):
        self.interpreter, self.node = interpreter, node

    shape = fixed(attrgetter("node.shape"), "shape")
    dtype = fixed(attrgetter("node.dtype"), "dtype")
    ndim = property(lambda self: len(self.node.shape))          # (as Traced has it, but it is asked often)
    below = property(lambda self: restored(self.node))

    def _adopt(self, other):
        other = getattr(other, "held", other)            # a Buffer is what it holds
        if other.interpreter is not self.interpreter:
            raise refuse(TypeError, "an inner derivative was assigned{here} into an array of an outer one: " + ASSIGN)
        self.node = other.node

    def _look(self, kind, convert):
        return self.interpreter.look(kind, self, convert)

    def __repr__(self):
        v = self.node.value
        return f"<traced {self.node.shape} {self.node.dtype}{'' if v is None else ' ' + repr(v)}>"


STORED = attrgetter("value")                 # of a node: for whoever walks over nodes that were computed as they were recorded


class Outputs(list):
    """Outputs of a graph that one pass hands to the next one. order: their nodes, once somebody has asked: graphs do not change."""

    __slots__ = ("order",)


def reachable(outputs):
    """Every node the outputs depend on, in topological order: nobody's to change. No recursion: a chain of a million nodes is ordinary."""
    if type(outputs) is Outputs:
        if not hasattr(outputs, "order"):
            outputs.order = reachable([*outputs])
        return outputs.order
    seen = {n for n in outputs if type(n) is Node}
    found = [*seen]
    for n in found:                          # grows as it is walked: what is found late was mostly made early, which sorts fast
        for p in n.operands:
            if type(p) is Node and p not in seen:
                seen.add(p)
                found.append(p)
    found.sort(key=by_serial)
    return found


def readers_of(order):
    """{a node: those of some nodes, in their order, that read it, once for each operand}."""
    readers = {}
    for n in order:
        for x in n.operands:
            if type(x) is Node:
                readers.setdefault(x, []).append(n)
    return readers


def bytes_of(x):
    """Of the array that a node stands for, or of an array."""
    return math.prod(x.shape) * x.dtype.itemsize


def upcoming():
    """A serial number: nodes made from now on have higher ones."""
    return next(_serial)


def restored(node):
    """The value of a node. One that a checkpoint let go is computed again, and stays; None for what hangs on symbols."""
    if node.value is None and hasattr(node, "segment"):
        missing, stack = {}, [node]
        while stack:
            n = stack.pop()
            if n.value is None and id(n) not in missing:
                if not n.operands:
                    return None
                missing[id(n)] = n
                stack.extend([p for p in n.operands if type(p) is Node])
        for n in sorted(missing.values(), key=lambda n: n.serial):
            n.value = n.primitive(*[p.value if type(p) is Node else p for p in n.operands], **n.params)
    return node.value


def restore(inputs, values):
    """Fill in the values a checkpoint let go; are all there now?"""
    for k, x in enumerate(inputs):
        if type(x) is Node and values[k] is None:
            if not hasattr(x, "segment"):
                return False
            values[k] = restored(x)
            if values[k] is None:
                return False
    return True
