"""Parts of arrays and parts among zeros: rules of simplify.py that make one index of two.

What it is: `spans`, an index of slices and integers as ranges, and what follows from it: a part of a part, what was put among zeros and is read or put again,
neighbours that are put among zeros one by one, as the adjoint of a split does.

What it is not: no values: indices are known when a graph is recorded. Of indices with arrays it has parts alone (contractions.py has those that are added).
Why a file: these rules are about ranges, those of simplify.py about operations.
"""
from .contractions import inner, shape_of
from .lengths import extent, part, weight
from .vocabulary.indexing import Slot, expand

EDGE, UNEQUAL = 2, 16     # so few entries (a stencil's edge) are added beside others as cheaply as they are put there, unless the others are at most so many times as
                          # many, and no vector
LOOKS = 16                # how many parts are looked behind that were written one after the other, and not side by side
_PLAIN = {slice, int, type(Ellipsis)}


def spans(index, shape):
    """An index of slices and integers as a range or an integer for each axis; None for other indices. What is empty is range(0): 3:-1 of three entries ends
    before it begins, and -9::-1 begins before the first."""
    kinds = {*map(type, index)}
    if not kinds <= _PLAIN:
        return None
    if len(index) != len(shape) or type(Ellipsis) in kinds:
        at = index.index(Ellipsis) if type(Ellipsis) in kinds else len(index)
        rest = [slice(None)] * (len(shape) - len(index) + (type(Ellipsis) in kinds))
        index = [*index[:at], *rest, *index[at + 1:]]
    return [range(k)[i] if type(i) is int else p if extent(p := part(i, k)) else range(0) for i, k in zip(index, shape)]


def _slice(r):
    return slice(r.start, r.stop if r.stop >= 0 else None, r.step)


def _index(parts, axis, of_axis):
    """The index of these parts, with another slice on one axis."""
    return (*map(_slice, parts[:axis]), of_axis, *map(_slice, parts[axis + 1:]))


def steps(parts):
    """Are these parts of single steps?"""
    return all([type(p) is not int and p.step == 1 for p in parts])


def part_of_part(walk, n, x, *arrays):
    """x[a][b] = x[c] for plain slices and integers."""
    y = None if arrays or inner(x, "getitem") is None or len(x.operands) > 1 else x.operands[0]
    first = None if y is None else spans(x.params["index"], shape_of(y))
    second = None if first is None else spans(n.params["index"], x.shape)
    if second is None:
        return None
    left = iter(second)
    index = [r if type(r) is int else r[_slice(s)] if type(s := next(left)) is not int else r[s] for r in first]
    return walk.make(n, "getitem", y, params={"index": tuple([i if type(i) is int else _slice(i) for i in index])})


def part_of_scatter(walk, n, x, *arrays):
    """What was put there is read again."""
    same = not arrays and inner(x, "scatter") is not None and len(x.operands) == 1 and spans(n.params["index"], x.shape) is not None
    return x.operands[0] if same and spans(n.params["index"], x.shape) == spans(x.params["index"], x.shape) else None


def part_beside(walk, n, x, *arrays):
    """What was written elsewhere is not there: x with x[a] = v, read at b, is x[b], or v where that is what is read. So a loop that fills an array needs none of
    those in between."""
    mine, y = None if arrays else spans(n.params["index"], shape_of(x)), x
    if mine is None:
        return None
    for _ in range(LOOKS):
        over = _written(y)
        if over is None:
            break
        base, around = _since(walk, y)
        if _apart(mine, around):
            y = base
        elif _apart(mine, _reach(over)):
            y = y.operands[0]
        else:
            v = y.operands[1]
            return v if over == mine and shape_of(v) == n.shape and type(v) is type(n) and v.dtype == n.dtype else None
    else:
        return None
    return None if y is x or type(y) is not type(n) else walk.make(n, "getitem", y, params=n.params)


def _written(x):
    """Which part of an array was written over to make x of it, where an index says so that is known when a graph is recorded; None for another x."""
    return spans(x.params["index"], x.shape) if inner(x, "setitem") is not None and len(x.operands) == 2 else None


def _since(walk, x):
    """(the array that x was before parts were written over, one after the other; (first, end) on each axis of all of these parts together)."""
    chain, y = [], x
    while not (type(y) is type(x) and y in walk.written) and (over := _written(y)) is not None:
        chain.append((y, over))
        y = y.operands[0]
    base, around = walk.written[y] if type(y) is type(x) and y in walk.written else (y, None)
    for y, over in reversed(chain):
        around = [(min(a, c), max(b, d)) for (a, b), (c, d) in zip(around or _reach(over), _reach(over))]
        walk.written[y] = base, around
    return base, around


def _reach(parts):
    """(first, end) of a part on each axis."""
    return [(p, p + 1) if type(p) is int else (min(p, default=0), max(p, default=-1) + 1) for p in parts]


def _apart(part, around):
    """Does a part have no entry within what others reach?"""
    return any([b <= c or d <= a for (a, b), (c, d) in zip(_reach(part), around)])


def put(walk, n, x):
    """What a pad puts among zeros."""
    index = tuple([slice(lo, lo + k) for (lo, _), k in zip(n.params["widths"], shape_of(x))])
    return walk.make(n, "scatter", x, params={"index": index, "shape": n.shape})


def put_twice(walk, n, x, *arrays):
    """Put among zeros which are put among zeros: put once."""
    if arrays or inner(x, "scatter") is None or len(x.operands) > 1:
        return None
    first, second = spans(x.params["index"], x.shape), spans(n.params["index"], n.shape)
    if first is None or second is None or not steps((*first, *second)):
        return None
    index = tuple([slice(s.start + r.start, s.start + r.stop) for r, s in zip(first, second)])
    return walk.make(n, "scatter", x.operands[0], params={"index": index, "shape": n.shape})


def part_of_gather(walk, n, x, *arrays):
    """x[i][part] = x[i[part]]: every hop-th window of a signal, say, without the windows in between. What others read too stays one gather."""
    found = None if arrays or not walk.once(x, "getitem") or len(x.operands) < 2 else _places(walk, n, shape_of(x.operands[0]), x.params["index"], x.operands[1:], x.shape)
    return found and walk.make(n, "getitem", x.operands[0], *found[1], params={"index": found[0]})


def put_at_part(walk, n, x, *arrays):
    """The adjoint of such a part: zeros with v among them, added at i, are v added at i[part]."""
    if not arrays or not walk.once(x, "scatter") or len(x.operands) > 1:
        return None
    found = _places(walk, x, n.shape, n.params["index"], arrays, x.shape)
    return found and walk.make(n, "scatter", x.operands[0], *found[1], params={"index": found[0], "shape": n.shape})


def _places(walk, n, shape, index, arrays, full):
    """(index, arrays) of the part that n's index, of slices, takes of an array of shape `full`, which is of an array of this shape what an index with arrays side
    by side takes; None for other indices."""
    parts, items = spans(n.params["index"], full), expand(index, len(shape))
    at = [k for k, i in enumerate(items) if type(i) is Slot]
    if parts is None or not {*map(type, items)} <= {slice, Slot} or at[-1] - at[0] >= len(at) or int in {*map(type, parts)}:
        return None
    end = at[0] + len(full) - len(items) + len(at)                  # behind the last axis of the result that is the arrays'
    rest = iter([*parts[:at[0]], *parts[end:]])
    index = tuple([i if type(i) is Slot else _slice(part(i, k)[_slice(next(rest))]) for i, k in zip(items, shape)])
    return index, [_part_of_places(walk, n, a, parts[at[0]:end]) for a in arrays]


def _part_of_places(walk, n, a, parts):
    """That part of one array of places, which is spread to the shape that they have together: of one place nothing but none is a part."""
    shape = shape_of(a)
    index = tuple([_slice(p) if m != 1 or not extent(p) else slice(None) for p, m in zip(parts[len(parts) - len(shape):], shape)])
    return walk.make(n, "getitem", a, params={"index": index}, shape=[extent(part(i, k)) for i, k in zip(index, shape)], dtype=a.dtype)


def neighbours(walk, n, x, y):
    """Zeros with a here plus zeros with b beside it: zeros with (a, b) there, and with b in the same place: with a + b there. The adjoint of a split becomes
    one concatenation."""
    if inner(x, "scatter") is None or inner(y, "scatter") is None or len(x.operands) + len(y.operands) > 2 or x.shape != y.shape or x.dtype != y.dtype:
        return None
    first, second = spans(x.params["index"], x.shape), spans(y.params["index"], y.shape)
    if first is None or second is None or not steps((*first, *second)):
        return None
    apart = [k for k, (r, s) in enumerate(zip(first, second)) if r != s]
    if len(apart) > 1 or any([[*map(int, shape_of(v.operands[0]))] != [*map(int, map(extent, s))] for v, s in ((x, first), (y, second))]):
        return None
    if not apart:
        return walk.make(n, "scatter", walk.make(n, "add", x.operands[0], y.operands[0], shape=shape_of(x.operands[0])), params=x.params)
    axis = apart[0]
    (r, a), (s, b) = sorted(((first[axis], x.operands[0]), (second[axis], y.operands[0])), key=lambda pair: pair[0].start)
    if r.stop != s.start:
        return None
    index = _index(first, axis, slice(r.start, s.stop))
    shape = (*shape_of(a)[:axis], extent(part(index[axis], n.shape[axis])), *shape_of(a)[axis + 1:])
    both = _part_of_both(walk, n, a, b, axis, shape)
    few, many = sorted([weight(extent(r)), weight(extent(s))])
    if both is None and (few > EDGE or len(first) > 1 and many <= UNEQUAL * few or _source(a) is not None and _source(a) is _source(b)):
        both = walk.make(n, "concatenate", a, b, params={"axis": axis}, shape=shape)
    if both is None:
        return None
    return walk.make(n, "scatter", both, params={"index": index, "shape": n.shape})


def added_neighbours(walk, n, x, y):
    """(x + zeros with a here) + zeros with b beside it, a and b parts of one array: the adjoint of what goes round (np.roll) goes round. Likewise (x - a) - b, -a - b."""
    for z, other, y in _added(walk, n.primitive.name, x, y) if _put_part(y) is not None or _put_part(x) is not None else ():
        if _put_part(other) is not None and _put_part(other) is _put_part(y) and other.params["index"] != y.params["index"]:
            both = neighbours(walk, y, other, y)
            if both is not None and (z is None or shape_of(z) == n.shape):
                return walk.make(n, "negative", both) if z is None else walk.make(n, n.primitive.name, z, both)
    return None


def _added(walk, name, x, y):
    """(z, a, b) with x + y = (z + a) + b, or with x - y = (z - a) - b (z None: -a - b)."""
    for one, b in ((x, y), (y, x)) if name == "add" else ((x, y),):
        if walk.once(one, name):
            yield one.operands[0], one.operands[1], b
            if name == "add":
                yield one.operands[1], one.operands[0], b
        a = inner(inner(one, "scatter"), "negative")
        if name == "subtract" and a is not None and len(one.operands) == 1:
            yield None, walk.make(one, "scatter", a, params=one.params), b


def _put_part(x):
    """The array of which a plain part is put among zeros; None for others."""
    return _source(x.operands[0]) if inner(x, "scatter") is not None and len(x.operands) == 1 else None


def _source(x):
    """Of what it is a plain part; None for others."""
    y = inner(x, "getitem")
    return y if y is not None and len(x.operands) == 1 else None


def _part_of_both(walk, n, a, b, axis, shape):
    """Neighbouring parts of one array as one part of it."""
    y = _source(a)
    if y is None or _source(b) is not y:
        return None
    first, second = spans(a.params["index"], shape_of(y)), spans(b.params["index"], shape_of(y))
    if first is None or second is None or not steps((*first, *second)):
        return None
    if [k for k, (r, s) in enumerate(zip(first, second)) if r != s] != [axis] or first[axis].stop != second[axis].start:
        return None
    return walk.make(n, "getitem", y, params={"index": _index(first, axis, slice(first[axis].start, second[axis].stop))}, shape=shape)
