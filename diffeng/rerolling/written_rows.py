"""An array that is written into row by row, as its rows: y[t + 1] = y[t] + ... of a Python loop, and the cotangent of what a loop reads row by row, to which every turn adds one.

What it is: `by_rows(outputs)`, a graph rewritten for those who look for what turns have in common: a turn makes its row of those before it then, and not a whole
array of another. Who reads a row gets what was written there last; the array is put together where somebody reads it.

What it is not: arrays of which many versions are read as a whole, and what is written at places that are not numbers: these stay.
"""
import numpy as np

from ..nodes import Node, Outputs, Primitive, Tracer, Tracing, reachable

MOST_READ = 4                            # versions of an array that are read as a whole


def by_rows(outputs, fewest):
    """The nodes of a graph, of arrays that are written at least so many times row by row the rows; the outputs themselves where there are none."""
    order = reachable(outputs)
    versions = _versions(order, outputs, fewest)
    return _InRows(order, versions).outputs(outputs) if versions else outputs


def _place(n, shape):
    """(axes, row): which entries an index reads or writes, along which axes, whole along the others; None for other indices."""
    index = n.params["index"]
    if type(index) is not tuple or len(index) > len(shape):
        return None
    axes = tuple([axis for axis, i in enumerate(index) if type(i) is int])
    if not axes or not all([type(i) is int or type(i) is slice and i.indices(m) == (0, m, 1) for i, m in zip(index, shape)]):
        return None
    return axes, tuple([index[axis] % shape[axis] for axis in axes])


class _Array:
    """What is written row by row. axes: those along which rows are numbered; base: what it was before, None for zeros; length: of how many versions; read: those that are
    read as a whole; shape: the array's, row_shape: a row's; rows: {row: [(version, what was written)]}."""

    def __init__(self, axes, base, like):
        self.axes, self.base, self.shape, self.dtype, self.length, self.read, self.rows = axes, base, like.shape, like.dtype, 0, set(), {}
        self.row_shape = tuple([m for axis, m in enumerate(like.shape) if axis not in axes])


class _Version:
    """An array after a row was written. value: what was written, or `added`; of: the nodes that are no more needed for it."""

    def __init__(self, array, row, value, added, *of):
        self.array, self.number, self.row, self.value, self.added, self.of = array, array.length, row, value, added, of
        array.length += 1


def _versions(order, outputs, fewest):
    """{node: its _Version}"""
    found, parts = {}, {}                                        # parts: {a scatter of one row: its place}
    for n in order:
        name = n.primitive.name
        if name in ("setitem", "add_at") and len(n.operands) == 2 or name == "scatter" and len(n.operands) == 1:
            place = _place(n, n.shape)
            if place is not None and name == "scatter":
                parts[n] = place
            elif place is not None:
                found[n] = _after(found, n, n.operands[0], *place, n.operands[1], name == "add_at")
        elif name == "add" and parts:
            for x, part in (n.operands, n.operands[::-1]):
                if type(part) is Node and part in parts and part not in found and np.shape(x) == n.shape and getattr(x, "dtype", None) == n.dtype == part.dtype:
                    if type(x) is Node and x in parts and x not in found:
                        found[x] = _Version(_Array(parts[x][0], None, x), parts[x][1], x.operands[0], False)
                    found[n] = _after(found, n, x, *parts[part], part.operands[0], True, part)
                    break
    found = {n: v for n, v in found.items() if v.array.length >= fewest}
    for x in [x for x in outputs if type(x) is Node] + [x for n in order for x in n.operands if type(x) is Node and not (n in found and x in found[n].of)
                                                        and not (x in found and _reads_row(n, found[x].array))]:
        if x in found:
            found[x].array.read.add(found[x].number)
    return {n: v for n, v in found.items() if len(v.array.read) <= MOST_READ}


def _after(found, n, before, axes, row, value, added, *of):
    """The version after `before`."""
    last = found.get(before) if type(before) is Node else None
    if last is None or last.array.axes != axes or last.number != last.array.length - 1:
        return _Version(_Array(axes, before, n), row, value, added, *of)
    return _Version(last.array, row, value, added, before, *of)


def _reads_row(n, array):
    if n.primitive.name != "getitem" or len(n.operands) > 1:
        return False
    place = _place(n, array.shape)
    return place is not None and place[0] == array.axes


class _InRows:
    """A graph with the rows. now: {node: what stands for it}."""

    def __init__(self, order, versions):
        self.order, self.versions, self.now, self.tracing = order, versions, {}, Tracing(values=False, frames=())

    def outputs(self, outputs):
        for n in self.order:
            if n in self.versions:
                self._write(self.versions[n])
            elif n.primitive.name == "getitem" and type(n.operands[0]) is Node and n.operands[0] in self.versions and _reads_row(n, self.versions[n.operands[0]].array):
                version = self.versions[n.operands[0]]
                self.now[n] = self._row(version.array, _place(n, version.array.shape)[1], version.number)
            else:
                self.now[n] = n.on([self._node(x) for x in n.operands]) if n.operands else n          # (all of them anew: the order stays)
        return Outputs([self._node(x) for x in outputs])

    def _write(self, version):
        array, value, shape = version.array, self._traced(version.value), version.array.row_shape
        if value.dtype != array.dtype:
            value = Primitive.registry["astype"](value, dtype=array.dtype)
        if value.shape != shape:
            value = np.broadcast_to(np.reshape(value, value.shape[value.ndim - len(shape):]) if value.ndim > len(shape) else value, shape)
        if version.added:
            before = self._traced(self._row(array, version.row, version.number - 1))
            value = value if type(before) is np.ndarray and not before.any() else before + value
        array.rows.setdefault(version.row, []).append((version.number, value.node if type(value) is Tracer else value))

    def _row(self, array, row, number):
        """What stands in a row, as of this version."""
        for k, value in reversed(array.rows.get(row, ())):
            if k <= number:
                return value
        if array.base is None:
            return np.zeros(array.row_shape, array.dtype)
        index = _index(array, row)
        if type(array.base) is not Node:
            return np.asarray(array.base)[index]
        row_of_base = self._traced(array.base)[index]
        array.rows.setdefault(row, []).insert(0, (-1, row_of_base.node))
        return row_of_base.node

    def _node(self, x):
        if type(x) is not Node:
            return x
        if x not in self.now:
            self.now[x] = self._whole(self.versions[x])
        return self.now[x]

    def _traced(self, x):
        x = self._node(x) if type(x) is not Node or x in self.versions or x in self.now else x
        return Tracer(self.tracing, x) if type(x) is Node else np.asarray(x)

    def _whole(self, version):
        """The array, put together."""
        array = version.array
        rows = {row: self._row(array, row, version.number) for row, writes in array.rows.items() if writes[0][0] <= version.number}
        whole = np.zeros(array.shape, array.dtype) if array.base is None else self._traced(array.base)
        axis = max(range(len(array.axes)), key=lambda a: len({row[a] for row in rows}))          # along which most are numbered
        others = {}
        for row in sorted(rows):
            others.setdefault(row[:axis] + row[axis + 1:], []).append(row)
        for along in others.values():
            for first, step, count in _progressions([row[axis] for row in along]):
                some = along[:count]
                along = along[count:]
                index = list(_index(array, some[0]))
                index[array.axes[axis]] = slice(first, first + (count - 1) * step + 1, step)
                before = sum([type(i) is slice for i in index[:array.axes[axis]]])
                stacked = np.stack([self._traced(rows[row]) for row in some], axis=before)
                whole = stacked if stacked.shape == array.shape else Primitive.registry["setitem"](whole, stacked, index=tuple(index))
        return whole.node if type(whole) is Tracer else whole


def _index(array, row):
    at = dict(zip(array.axes, row))
    return tuple([at.get(axis, slice(None)) for axis in range(max(array.axes) + 1)])


def _progressions(numbers):
    """[(first, step, how many)] that make up increasing numbers."""
    found, k = [], 0
    while k < len(numbers):
        step, end = numbers[k + 1] - numbers[k] if k + 1 < len(numbers) else 1, k + 1
        while end < len(numbers) and numbers[end] - numbers[end - 1] == step:
            end += 1
        found.append((numbers[k], step, end - k))
        k = end
    return found
