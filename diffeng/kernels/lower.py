"""From primitives to steps: what each node of a graph asks of the fuser.

What it is: `lower` returns the view where a node's value will lie. Views cost nothing, elementwise primitives become operations, the rest
reductions, products, indirect reads and writes. Whatever has no row here, or a dtype kernels do not have, becomes a `Call` of NumPy.

What it is not: no code generation, no derivative; it learns about a primitive its name, its parameters and its operands' dtypes.
"""
import math

import numpy as np

from ..constants import Exact
from ..index_maps import spans
from ..nodes import INPUT, Node
from ..vocabulary.contraction import subscripts
from . import scalar, scipys
from .contract import copy, einsum, narrowed
from .fuse import Call, Immediate, Indirect, Map, Window
from .layout import Buffer, Columns, Deferred, Padded, View, broadcast, c_strides, column, columns, gone_round, indirect, new, pitched, reshaped, sliced, strided, transposed, upright
from .minors import cofactor, det
from .reduce import positions, reduced
from .scalar import type_name
from .sizes import lengths_of, lies_close, many_short_rows, walks_across, with_reductions
from .transforms import TRANSFORMS, transformed
from .turns import in_turns

VERY_FEW = 4                               # columns of a row in memory that are scattered one by one
_UNWRITTEN = frozenset({Padded, Columns, Deferred})
_PARTS = frozenset({"scatter", *TRANSFORMS})          # rows that see to it that these are written


class Lowering:
    """Lowers nodes one by one. recorded: all of them, in the order in which they were made. origins: {code: node} of those whose indices, or matrices, are checked at
    run time; codes: the one before all of them, and from each to the next. factors: elementwise nodes whose rows are to be aligned as products like them. writing: as
    adding.in_place says. scipys: may SciPy's functions be called? in_order: may a loop's rows wait for each other (turns.py)?"""

    def __init__(self, fuser, recorded, contiguous_constants=False, factors=(), writing=(), scipys=False, in_order=False, codes=(0, 1)):
        self.fuser, self.origins, self._constants, self._copies, self.contiguous, self._rules = fuser, {}, {}, {}, contiguous_constants, {}
        self._recorded, self._codes, self._spaced, self._reduced = recorded, {}, codes, with_reductions(recorded, many_short_rows)
        self.factors, self.writing, self._cuts, self._scipys, self.in_order = factors, writing, {}, scipys, in_order
        self.copied = {n for parts in writing.values() for n in parts} if writing else ()

    def lower_all(self, nodes, places, factors=()):
        """Nodes, in an order in which they may be computed, into places, {id of a node: the view of its value}. factors: those that products want as bfloat16, too."""
        for node in nodes:
            if node.primitive is INPUT:
                raise ValueError(f"the outputs depend on the input {node.params.get('name')!r}, which is not among the program's inputs: pass its node too")
            operands = [places[id(x)] if type(x) is Node else self.constant(x) if type(x) is np.ndarray else x for x in node.operands]
            places[id(node)] = self.lower(node, operands)
            if node in factors:
                narrowed(self.fuser, places[id(node)])

    def lower(self, node, operands):
        """The view of a node's value (or, for a part among zeros, a Padded). operands: those of other nodes, and Python or NumPy scalars as they came."""
        if 0 in node.shape:
            return new("arena", node.shape, node.dtype)
        joined = _joined(self, node, *operands) if node.primitive.name in ("add", "subtract") else None
        if joined is not None:
            return joined
        if node.primitive.name not in _PARTS and not _UNWRITTEN.isdisjoint(map(type, operands)):
            windows = node.primitive.kind == "map" and not any([type(x) is Padded and x.shape != node.shape for x in operands])
            operands = [x if windows and type(x) is Padded else self.filled(x) for x in operands]
        row = ROWS.get(node.primitive.name, _map if node.primitive.kind == "map" else None)
        out = row(self, node, *operands) if row is not None else None
        if out is None:
            return self.call(node, [self.filled(x) for x in operands])
        return out if out.shape == node.shape or type(out) is not View else View(out.buffer, out.offset, node.shape, out.strides, out.dtype)

    def filled(self, x):
        """A Padded, Columns, or what is Deferred, written to memory; whatever else it is, the thing itself."""
        if type(x) is Deferred:
            if x.held is None:
                x.held = x.make()
            return x.held
        if type(x) is Columns and x.held is None:
            x.held = upright(x.shape, x.dtype)
            self.write(x, x.held)
        if type(x) is not Padded:
            return x.held if type(x) is Columns else x
        if x.held is None:
            want = type_name(x.dtype)
            x.held = new("arena", x.shape, x.dtype)
            self.fuser.operate(Map(x.shape, scalar.CAST, want, (want,), (Window(x.view, x.cuts, x.beyond),), x.held))
        return x.held

    def write(self, x, out):
        """Columns to memory."""
        want = type_name(x.dtype)
        self.fuser.together([Map(to.shape, scalar.CAST, want, (want,), (immediate(0, x.dtype) if c is None else c,), to)
                             for c, to in zip(x.columns, columns(out))])

    def call(self, node, operands, out=None):
        if node.dtype.hasobject:             # pointers do not live in the memory of a program
            raise TypeError(f"{node.primitive.name} returns an array of Python objects, which no program can hold: compute with numbers")
        out = new("arena", node.shape, node.dtype) if out is None else out
        origin = self.code(node) if node.primitive.kind == "linalg" else self._number(node) if node.primitive.name == "scan" else 0
        self.fuser.step(Call(node, operands, out, origin), [x for x in operands if type(x) is View], out)
        return out

    def constant(self, array):
        """A view of an array the function closed over: read where it lies, at every call."""
        found = self._constants.get(id(array))
        if found is None:
            held = np.require(array, requirements="CA" if self.contiguous else "A")
            shape = lengths_of(array)
            strides = c_strides(shape, held.itemsize) if held.flags.c_contiguous and any([type(n) is not int for n in shape]) else held.strides
            found = View(Buffer("constant", held.dtype, held.size, array=held), 0, shape, strides, held.dtype)
            self._constants[id(array)] = found
            found.buffer.slot = array         # its id stays its own
        return found

    def view(self, x, dtype=None):
        """Any operand as a view."""
        return x if type(x) is View else self.constant(np.asarray(_plain(x), dtype))

    def cast(self, x, out, shape, accumulate=False):
        """Write x, broadcast to a shape, to `out` (a View or an Indirect)."""
        target = out.view if type(out) is Indirect else out
        want = type_name(target.dtype)
        x = broadcast(x, shape) if type(x) is View else immediate(x, target.dtype)
        self.fuser.operate(Map(shape, scalar.CAST, want, (want,), (x,), out, accumulate))

    def add(self, out, x, onto=None):
        """Add x, broadcast, to what is there, or to a view of the same shape."""
        want, table = type_name(out.dtype), {"f": scalar.FLOAT, "i": scalar.INTEGER, "u": scalar.UNSIGNED}[out.dtype.kind]
        x = broadcast(x, out.shape) if type(x) is View else immediate(x, out.dtype)
        self.fuser.operate(Map(out.shape, table["add"], want, (want, want), (out if onto is None else onto, x), out))

    def fresh(self, node, dtype, operands=()):
        """(a buffer for what a node makes of these, elementwise; the operands). Of many short rows the columns lie one after the other, where those of all operands
        do, or may as well: vectors run across rows then (across.py). What several rows have in common is laid so."""
        shape = node.shape
        if not many_short_rows(shape) or self.contiguous:
            aligned = self.fuser.aligned
            if not aligned:
                return new("arena", shape, dtype), operands
            if node not in self.factors and not any([type(x) is View and x.buffer.pitch and x.shape == shape for x in operands]):
                aligned = 0                                      # what is made of such rows has such rows
            return pitched(shape, dtype, aligned), operands
        small = [type(x) is View and any([n > 1 and not s for n, s in zip(x.shape[:-1], x.strides)]) for x in operands]          # the same in several rows
        views = [x.view if type(x) is Window else x for x, s in zip(operands, small) if not s and not isinstance(x, Immediate)]
        rows, repeated = node in self._reduced, any(small)                # what is neither is one loop through everything, as it lies
        if not all([walks_across(v) or (rows or repeated and v.buffer.kind != "arena") and lies_close(v) for v in views]):
            return new("arena", shape, dtype), operands
        return upright(shape, dtype), [self._turned(x) if s and x.strides[-1] and not walks_across(x) else x for x, s in zip(operands, small)]

    def _turned(self, x):
        """A copy of a view's entries, column after column."""
        kept = [k for k, s in enumerate(x.strides) if s]
        key = id(x.buffer), x.offset, x.shape, x.strides
        if key not in self._copies:
            source = View(x.buffer, x.offset, [x.shape[k] for k in kept], [x.strides[k] for k in kept], x.dtype)
            self._copies[key] = upright(source.shape, x.dtype)
            self.cast(source, self._copies[key], source.shape)
        own = iter(self._copies[key].strides)
        return View(self._copies[key].buffer, 0, x.shape, [next(own) if s else 0 for s in x.strides], x.dtype)

    def rule(self, name, dtypes, dtype):
        """(rule, dtypes of the operands it uses, their names, which those are) of an elementwise primitive; None where kernels have none, or cannot cast its
        operands. dtypes: those of arrays, values of scalars."""
        key = (name, dtype, *dtypes) if all([isinstance(d, np.dtype) for d in dtypes]) else None
        if key is None or key not in self._rules:
            found = _rule(name, dtypes, dtype) or (self._scipys and dtype.kind == "f" and scipys.found(name, dtypes, dtype) or None)
            if found is not None:
                rule, casts, used = found
                found = (rule, casts, tuple(map(type_name, casts)), used) if all([castable(dtypes[k], c) for k, c in zip(used, casts)]) else None
            if key is None:
                return found
            self._rules[key] = found
        return self._rules[key]

    def cut(self, x, index):
        """The view of a part, or None: see layout.sliced."""
        found = self._once(x, index, lambda x: sliced(x, index))
        part = found and found[0]
        return part and View(x.buffer, x.offset + part.offset, part.shape, part.strides, x.dtype)

    def among_zeros(self, x, index, shape):
        """x at an index among zeros of a shape, where the index cuts some axes by steps of 1; None for what is not so simple."""
        found = self._once(x, index, lambda x: _part(x, index, shape), shape)
        return found and Padded(View(x.buffer, x.offset + found.view.offset, shape, found.view.strides, x.dtype), found.cuts)

    def _once(self, x, index, find, *more):
        """find(x), but for where x begins. What the steps of a loop ask is found once."""
        key = id(index), x.shape, x.strides, *more
        found = self._cuts.get(key)
        if found is None:
            found = self._cuts[key] = index, find(View(None, 0, x.shape, x.strides, x.dtype))
        return found[1]

    def code(self, node):
        """By what kernels report a node: the sooner it was made, the smaller."""
        code = self._number(node)
        self.origins[code] = node
        return code

    def _number(self, node):
        before, step = self._spaced
        self._codes = self._codes or {n: before + k * step for k, n in enumerate(self._recorded, 1)}
        return self._codes[node]


def _plain(x):
    return x.value if type(x) is Exact else x


def immediate(x, dtype):
    """A scalar as an entry of the operand table, in the dtype it is computed in: Python's are weak, NumPy's are cast."""
    x = _plain(x)
    return Immediate(np.asarray(x).astype(dtype)[()] if isinstance(x, np.generic) else dtype.type(x), type_name(dtype))


_PYTHON = {int: np.dtype(np.int64), bool: np.dtype(bool)}              # of others, floats


def castable(x, want):
    """Can an operand (or its dtype) be cast in a way that means the same everywhere? Floats to integers do not, for NaN and what is out of range: NumPy
    decides."""
    dtype = x if isinstance(x, np.dtype) else getattr(x, "dtype", None) or _PYTHON.get(type(x), np.dtype(float))
    have, want = type_name(dtype), type_name(want)
    return have is not None and want is not None and (have[0] != "f" or want[0] in "fb")


# ---- elementwise ---------------------------------------------------------------------------------------------------------------

def _map(lowering, node, *operands):
    name, dtype = node.primitive.name, node.dtype
    if not any([type(x) in (View, Padded) for x in operands]) or type_name(dtype) is None:
        return None
    dtypes = [x.dtype if type(x) in (View, Padded) else _plain(x) for x in operands]
    if name == "power" and dtype.kind == "f" and node.shape and not isinstance(dtypes[1], np.dtype) and dtypes[1] == 0.5:
        name, dtypes, operands = "sqrt", dtypes[:1], operands[:1]            # NumPy does so with arrays; x ** 0.5 of a number is another one at -inf and -0
    try:
        found = lowering.rule(name, dtypes, dtype)
        if found is None:
            return None
        rule, casts, types, used = found
        args = [broadcast(x, node.shape) if type(x) is View else Window(x.view, x.cuts, x.beyond) if type(x) is Padded else immediate(x, c)
                for x, c in zip([operands[k] for k in used], casts)]
    except OverflowError:                    # a Python integer that does not fit: NumPy compares it all the same
        return None
    if name in scalar.SAME and type(args[0]) in (View, Window) and operands[0].dtype == dtype:
        return operands[0]                   # values never change, so a copy is the thing itself
    out, args = lowering.fresh(node, dtype, args)
    lowering.fuser.operate(Map(node.shape, rule, type_name(dtype), types, tuple(args), out, cost=scalar.COST.get(name, scipys.COST if name in scipys.OPERANDS else 0.5)))
    return out


def _joined(lowering, node, *operands):
    """The sum or difference of parts among zeros, where these are columns of many short rows: Columns, computed where two meet. Else None."""
    if node.dtype.kind != "f" or not many_short_rows(node.shape) or lowering.fuser.narrow \
            or not all([type(x) in (Padded, Columns) and x.shape == node.shape and x.dtype == node.dtype for x in operands]):
        return None
    left, right = map(columns, operands)
    if left is None or right is None:
        return None
    made, want = [], type_name(node.dtype)
    for a, b in zip(left, right):
        if b is not None and (a is not None or node.primitive.name == "subtract"):
            rule, given = ("negative", (b,)) if a is None else (node.primitive.name, (a, b))
            a = new("arena", b.shape, node.dtype)
            lowering.fuser.operate(Map(b.shape, scalar.FLOAT[rule], want, (want,) * len(given), given, a))
        made.append(b if a is None else a)
    return Columns(node.shape, node.dtype, made)


_TRUTH = np.dtype(bool)


def _rule(name, dtypes, dtype):
    """(rule, dtype of each used operand, used operands) of an elementwise primitive, or None. dtypes: those of arrays, values of scalars."""
    every = tuple(range(len(dtypes)))
    if name in scalar.SAME:
        return scalar.CAST, (dtype,), every
    if name == "barrier":                    # the second operand is read and not used: a loop waits for all it reads
        return scalar.BARRIER, (dtype, np.result_type(dtypes[1])), every
    if name == "where":
        return scalar.SELECT, (_TRUTH, dtype, dtype), every
    if name in scalar.LOGICAL:
        return scalar.LOGICAL[name], (_TRUTH,) * len(dtypes), every
    if name in scalar.COMPARE:
        common = np.result_type(*dtypes)
        if common.kind == "f" and all(np.result_type(d).kind in "iub" for d in dtypes):
            return None                      # int64 with uint64: NumPy compares without rounding
        common = np.dtype(np.uint8) if common == _TRUTH else common
        return (scalar.COMPARE[name], (common,) * len(dtypes), every) if type_name(common) else None
    if name in scalar.CLASSIFY:
        own = np.result_type(*dtypes)
        return (scalar.CLASSIFY[name], (own,), every) if own.kind == "f" and type_name(own) else None
    if name == "power" and not isinstance(dtypes[1], np.dtype):
        table = scalar.POWERS if dtype.kind == "f" else scalar.INTEGER_POWERS if dtype.kind == "i" else {}
        if dtypes[1] in table:
            return table[dtypes[1]], (dtype,), (0,)
    if name == "zeta" and dtype.kind == "f" and not isinstance(dtypes[0], np.dtype) and dtypes[0] in scalar.ZETAS:
        return scalar.ZETAS[dtypes[0]], (dtype,), (1,)
    table = {"f": scalar.FLOAT, "i": scalar.INTEGER, "u": scalar.UNSIGNED}.get(dtype.kind, {})
    return (table[name], (dtype,) * len(dtypes), every) if name in table else None


# ---- random bits -----------------------------------------------------------------------------------------------------------------

_PLACES = []                                 # 0, 1, 2, ...: the places of the largest draw so far


def _random_bits(lowering, node, key, counter, *, shape):
    if any([np.ndim(x) or np.result_type(x).kind not in "iu" for x in (key, counter)]):
        return None
    size = math.prod(shape)
    if not _PLACES or _PLACES[0].size < size:
        _PLACES[:] = [np.arange(size, dtype=np.uint32)]
    places = reshaped(lowering.constant(_PLACES[0][:size]), shape)
    operands = [places] + [broadcast(x, shape) if type(x) is View else Immediate(np.uint64(int(_plain(x)) % 2 ** 64), "u64") for x in (key, counter)]
    out = new("arena", shape, node.dtype)
    lowering.fuser.operate(Map(shape, scalar.BITS, "u32", ("u64",) * 3, tuple(operands), out, cost=8.0))
    return out


# ---- views -----------------------------------------------------------------------------------------------------------------------

def _reshape(lowering, node, x, *, shape):
    out = reshaped(x, shape)
    if out is None and type_name(x.dtype) is not None:
        out = reshaped(copy(lowering.fuser, x, x.dtype), shape)
    return out


# ---- reductions -------------------------------------------------------------------------------------------------------------------

# ---- products ----------------------------------------------------------------------------------------------------------------------

def _contract(lowering, node, *operands, **params):
    text = subscripts(node.primitive.name, [np.ndim(x) for x in operands], params)
    return einsum(lowering.fuser, text, [lowering.view(x) for x in operands], node.dtype)


# ---- reading and writing parts --------------------------------------------------------------------------------------------------------

def _getitem(lowering, node, x, *arrays, index):
    part = None if arrays else lowering.cut(x, index)
    if arrays:
        arrays = [lowering.view(a) for a in arrays]
        found, type = indirect(x, index, arrays), type_name(x.dtype)
        if found is None or type is None or 0 in x.shape or any(type_name(a.dtype) is None for a in arrays):
            return None
        part = strided(*found) if 0 not in node.shape else None
        if part is None:
            out, _ = lowering.fresh(node, node.dtype)
            lowering.fuser.operate(Map(node.shape, scalar.CAST, type, (type,), (Indirect(*found, lowering.code(node)),), out, cost=2.0))
            return out
    return copy(lowering.fuser, part, part.dtype) if part is not None and node in lowering.copied and type_name(part.dtype) else part


def _by_columns(v, over, arrays):
    """Are there many short rows, each of which is found as a whole, and very short ones or of columns that were computed each for itself? Then what is written to
    their columns are operations of their own: no loop over a few entries, no copy of columns to rows, and a place is worked out once a row. (A gather is a copy
    of a row, and no faster so.)"""
    return many_short_rows(over.shape) and (type(v) is not View or over.shape[-1] <= VERY_FEW) and len(arrays) > 0 and not any([a.strides[-1] for a in arrays])


def _put(lowering, node, x, v, arrays, index, shape, accumulate):
    """x (None: zeros) with v written or added at an index: in x's own memory, where nobody reads that any more. So a loop that fills an array, or adds to it,
    part by part, takes as long as its parts do."""
    dtype = node.dtype
    arrays = [lowering.view(a) for a in arrays]
    if type_name(dtype) is None or any(type_name(a.dtype) is None for a in arrays) or accumulate and dtype.kind == "b":
        return None
    for source in (x, v):
        if source is not None and not castable(source, dtype):
            return None
    again = node in lowering.writing and x.buffer.kind == "arena" and x.complete()
    rows = node in lowering.factors or type(x) is View and x.buffer.pitch and x.shape == shape
    out = x if again else pitched(shape, dtype, lowering.fuser.aligned if rows else 0)
    over, wide, places = (indirect(out, index, arrays) or (None, (), ())) if arrays else (lowering.cut(out, index), (), ())
    if over is None:
        return None
    if type(v) in (Padded, Columns) and not (arrays and v.shape == over.shape and _by_columns(v, over, wide) and columns(v)):
        v = lowering.filled(v)
    if type(v) is View and v.ndim > over.ndim:
        v = reshaped(v, v.shape[v.ndim - over.ndim:])             # NumPy lets a value have extra leading axes of length 1
    everywhere = accumulate and not arrays and over.complete()          # a sum like any other
    if everywhere:
        out = pitched(shape, dtype, lowering.fuser.aligned if rows else 0)
        over = lowering.cut(out, index)
    elif again:
        lowering.fuser.written(out.buffer)
    elif node not in lowering.writing or type(node.operands[0]) is Node:
        lowering.cast(0 if x is None else x, out, out.shape)
    if 0 not in over.shape:
        target = Indirect(over, wide, places, lowering.code(node)) if arrays else over
        out.buffer.stored = True
        if arrays and type(v) in (View, Padded, Columns) and _by_columns(v, over, wide):
            want, wide = type_name(dtype), [column(a, 0) for a in wide]
            values = columns(broadcast(v, over.shape) if type(v) is View else v)
            lowering.fuser.together([Map(c.shape, scalar.CAST, want, (want,), (x,), Indirect(c, wide, places, target.origin), accumulate)
                                     for x, c in zip(values, columns(over)) if x is not None])
        elif accumulate and not arrays:
            lowering.add(over, v, lowering.cut(x, index) if everywhere else None)
        else:
            lowering.cast(v, target, over.shape, accumulate)
    return out


def _setitem(lowering, node, x, v, *arrays, index):
    return _put(lowering, node, lowering.view(x), v, arrays, index, node.shape, False)


def _add_at(lowering, node, x, v, *arrays, index):
    return _put(lowering, node, lowering.view(x), v, arrays, index, node.shape, True)


def _scatter(lowering, node, v, *arrays, index, shape):
    if not arrays and type(v) is Columns and (found := _part(View(None, 0, v.shape, [0] * v.ndim, v.dtype), index, shape)) \
            and found.cuts[0][0] == v.ndim - 1 == len(shape) - 1:
        return Columns(shape, v.dtype, [v.columns[k - lo] if lo <= k < hi else None for _, lo, hi in found.cuts for k in range(shape[-1])])
    v = lowering.filled(v) if not arrays or type(v) is Deferred else v
    found = None if arrays or type(v) is not View else lowering.among_zeros(v, index, shape)
    if found is not None and v.dtype == node.dtype and type_name(v.dtype) is not None:
        return found
    return _put(lowering, node, None, v, arrays, index, shape, bool(arrays))


def _part(v, index, shape):
    """See Lowering.among_zeros."""
    parts, strides, rest, cuts = spans(index, shape), [], list(v.strides), []
    if parts is None:
        return None
    for k, (i, n) in enumerate(zip(parts, shape)):
        lo, hi, step = (i, i + 1, 1) if type(i) is int else (i.start, i.stop, i.step)
        strides.append(0 if type(i) is int else rest.pop(0))
        if step != 1:
            return None
        if (lo, hi) != (0, n):
            cuts.append((k, lo, hi))
    found = Padded(View(v.buffer, v.offset - sum([lo * strides[axis] for axis, lo, _ in cuts]), shape, strides, v.dtype), cuts)
    return found if cuts and not rest else None


def _concatenate(lowering, node, *parts, axis):
    parts = [lowering.view(p) for p in parts]
    if not all(castable(p, node.dtype) for p in parts):
        return None
    turned = gone_round(parts, node.shape, axis) if parts[0].dtype == node.dtype else None
    if turned is not None and not many_short_rows(node.shape):
        return turned
    beside = axis == len(node.shape) - 1 and many_short_rows(node.shape) and all([walks_across(p) for p in parts]) and not lowering.contiguous
    out, start = upright(node.shape, node.dtype) if beside else new("arena", node.shape, node.dtype), 0          # columns stay what they are
    out.buffer.stored = True
    for p in parts:
        stop = start + p.shape[axis]
        piece = View(out.buffer, start * out.strides[axis], p.shape, out.strides, node.dtype)
        if 0 not in p.shape:
            lowering.cast(p, piece, p.shape)
        start = stop
    return out


def _pad(lowering, node, x, *, widths, value):
    if not castable(x, node.dtype) or not castable(value, node.dtype):
        return None
    out = new("arena", node.shape, node.dtype)
    out.buffer.stored = True
    lowering.cast(value, out, out.shape)
    if 0 not in x.shape:
        offset = sum(before * s for (before, _), s in zip(widths, out.strides))
        lowering.cast(x, View(out.buffer, offset, x.shape, out.strides, node.dtype), x.shape)
    return out


def _rows():
    """Primitive -> row(lowering, node, *operands). Elementwise ones need none."""
    def plain(f):
        return lambda lowering, node, *operands: f(lowering, node, *operands, **node.params)

    def viewed(f):                            # the first operand as a view, whatever it is
        return lambda lowering, node, x, *rest: f(lowering, node, lowering.view(x), *rest, **node.params)
    return {
        "constant":     lambda lowering, node, x: lowering.view(x, node.dtype),
        "reshape":      viewed(_reshape),
        "transpose":    viewed(lambda lowering, node, x, *, axes: transposed(x, axes)),
        "broadcast_to": viewed(lambda lowering, node, x, *, shape: broadcast(x, shape)),
        "random_bits":  plain(_random_bits),
        "scan":         in_turns,
        "getitem":      viewed(_getitem),
        "setitem":      plain(_setitem),
        "add_at":       plain(_add_at),
        "scatter":      plain(_scatter),
        "concatenate":  plain(_concatenate),
        **dict.fromkeys(TRANSFORMS, transformed),
        "cofactor":     viewed(cofactor),
        "det":          viewed(det),
        "pad":          viewed(_pad),
        **{name: plain(_contract) for name in "matmul dot tensordot einsum".split()},
        "argmax":       viewed(positions),
        "argmin":       viewed(positions),
        **{name: viewed(reduced) for name in "sum mean var prod max min logsumexp any all".split()},
    }


ROWS = _rows()
