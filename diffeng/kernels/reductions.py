"""Kernel texts of reductions: sum, mean, var, prod, max, min, any, all, logsumexp over any axes of any strides.

What it is: two shapes of loop. Where memory runs along a reduced axis (or nowhere in particular) a row is an entry of the result; where it runs along the
result's last axis a row is a tile of its columns, whose accumulators lie on the stack.

Accuracy: float32 is summed in float64 (a sum of 10^6 entries in float32 would lose half its digits). Within a block a sum may be vectorised, that is taken
in another order, always the same one; blocks are added in order. logsumexp takes the largest entry out first (Blanchard, Higham & Higham 2021).
"""
from .fuse import Immediate
from .layout import collapse
from .source import Instruction, cast, element, indent, product_of, size_of, table_of, walk

TILE = 256                                 # columns whose accumulators lie on the stack together
BLOCK = 512                                # entries of one plain partial sum, more where there were more than so many of them: errors grow as a square root

# First entry and next entry into an accumulator m of type A; {x} is the entry. Sums start from 0, so that blocks can be added.
_MERGE = {
    "max": "m = max_{a}(m, {x})",
    "min": "m = min_{a}(m, {x})",
    "prod": "m = m * {x}",
    "any": "m = m | {x}",
    "all": "m = m & {x}",
}


def _plan(step):
    """Axes of a reduction melted: (kept dims, kept strides, reduced dims, reduced strides), outermost first."""
    v = step.view
    kept = [k for k in range(v.ndim) if k not in step.axes]
    kept_dims, (kept_strides,) = collapse([v.shape[k] for k in kept], [[v.strides[k] for k in kept]])
    # The order of a sum's axes is free: the longest strides outside, so that memory is read forwards.
    axes = sorted(step.axes, key=lambda k: -abs(v.strides[k]))
    dims, (strides,) = collapse([v.shape[k] for k in axes], [[v.strides[k] for k in axes]])
    return kept_dims, kept_strides, dims, strides


def reduce(step, type, result):
    """The kernel of a reduction: rows are entries of the result, or tiles of columns of it where memory runs along the result."""
    kept_dims, kept_strides, dims, strides = _plan(step)
    size = step.view.dtype.itemsize
    along = kept_dims and kept_strides[-1] == size and (not dims or abs(strides[-1]) > size) and kept_dims[-1] >= 8
    if along and step.name in ("sum", "mean", *_MERGE):
        return _columns(step, type, result, kept_dims, kept_strides, dims, strides)
    n, s = (dims.pop(), strides.pop()) if dims else (1, size)
    unit = s == size
    words = [(step.view.buffer, step.view.offset), (step.out.buffer, step.out.offset), len(kept_dims), len(dims), n, s, Immediate(step.divisor, "f64")]
    count = product_of(dims)
    words += [count, max(BLOCK, n // BLOCK)]
    first = len(words)
    words += table_of(kept_dims, [kept_strides]) + table_of(dims, [strides])
    entry = f"load_{element(type)}({'e' if unit else 'e + i * s'}, {'i' if unit else '0'})"
    inner = _Pass(entry)
    a, lines = accumulator(step.name, type, result), []
    if step.name in ("sum", "mean"):
        lines += inner.sum("total", a, [f"x = {_as(entry, type, a)}"])
        lines.append("y = total / divisor" if step.name == "mean" else "y = total")
    elif step.name == "var":
        lines += inner.sum("total", a, [f"x = {_as(entry, type, a)}"]) + ["mean = total / f64(runs * n0)"]
        lines += inner.sum("squares", a, [f"x = {_as(entry, type, a)} - mean", "x = x * x"]) + ["y = squares / divisor"]
    elif step.name == "logsumexp":
        lines += [f"m = {result}(-INF)", *inner.each([f"x = {_as(entry, type, result)}", _MERGE["max"].format(x="x", a=result)]),
                  f"top = m if fabs(m) < {result}(INF) else {result}(0)"]
        lines += inner.sum("total", a, [f"x = {a}(exp({_as(entry, type, result)} - top))"])
        # A NaN in the row makes m a NaN, top 0 and the sum a NaN.
        lines += ["y = log(total) + top"]
    else:
        start = f"load_{element(type)}(o, 0)"
        if step.name in ("any", "all"):
            entry = f"u8({entry} != {element(type)}(0))"
            lines += [f"m = u8({int(step.name == 'all')})", *inner.each([f"x = {entry}", _MERGE[step.name].format(x="x", a=a)])]
        elif step.name == "prod":
            lines += [f"m = {a}(1)", *inner.each([f"x = {_as(entry, type, a)}", f"m = {a}(m * x)"])]
        else:
            lines += [f"m = {start}", *inner.each([f"x = {entry}", _MERGE[step.name].format(x="x", a=a)])]
        lines.append("y = m")
    head = ["p = word(t, 0)", "out = word(t, 1)", "depth = word(t, 2)", "inside = word(t, 3)", "n0 = word(t, 4)", "s = word(t, 5)",
            "divisor = load_f64(t, 6)", "runs = word(t, 7)", "block = word(t, 8)", f"second = {first} + 2 * depth"]
    lines = [*head, "for r in range(lo, hi):", *indent(walk("r", "depth", first, [("o", "p")])), *indent(lines),
             f"    store_{element(result)}(out, r, {element(result)}(y))"]
    return Instruction(lines, words, step.out.size, step_cost(step) * n * count + 5)


def accumulator(name, type, result):
    """The type sums are kept in: float32 is summed in float64 (a sum of 10^6 entries would lose half its digits)."""
    if name in ("sum", "mean", "var", "logsumexp") and result[0] == "f":
        return "f64"
    return "u8" if name in ("any", "all") else result


def step_cost(step):
    return {"logsumexp": 8.0, "var": 1.5, "max": 1.0, "min": 1.0}.get(step.name, 0.7)


def _as(entry, have, want):
    return cast(f"({entry})", have, want) if have != "b1" else f"{want}({entry})"


class _Pass:
    """Lines that run over the reduced axes of one row: `runs` stretches of `n0` entries each."""

    def __init__(self, entry):
        self.entry = entry

    def _runs(self, lines):
        return ["for z in range(runs):", *indent(walk("z", "inside", "second", [("e", "o")])), *indent(lines)]

    def each(self, lines):
        return self._runs(["for i in range(n0):", *indent(lines)])

    def sum(self, name, type, lines):
        """The sum of x over all entries: within a block vectorised and in any order, block after block in order."""
        zero = f"{type}(0)"
        return [f"{name} = {zero}", *self._runs([
            "start = 0",
            "while start < n0:",
            "    stop = min(start + block, n0)",
            f"    part = {zero}",
            "    for i in range(start, stop):",
            *indent(indent([*lines, f"part = accumulate_{type}(part, x)"])),
            f"    {name} += part",
            "    start = stop"])]


def _columns(step, type, result, kept_dims, kept_strides, dims, strides):
    """Reduced axes outside, the result's columns inside: accumulators of a tile of columns on the stack. Every column starts from its first entry."""
    a = accumulator(step.name, type, result)
    columns = kept_dims[-1]
    tiles = -(-columns // TILE)
    count, rows = product_of(dims), product_of(kept_dims[:-1])
    words = [(step.view.buffer, step.view.offset), (step.out.buffer, step.out.offset), len(kept_dims) - 1, len(dims), columns, tiles,
             Immediate(step.divisor, "f64"), count]
    first = len(words)
    words += table_of(kept_dims[:-1], [kept_strides]) + table_of(dims, [strides])
    load = f"load_{element(type)}(e, i)"
    x = f"u8({load} != {element(type)}(0))" if step.name in ("any", "all") else _as(load, type, a)
    merge = _MERGE.get(step.name, "m = m + {x}").format(x="x", a=a)
    finish = "m / divisor" if step.name == "mean" else "m"
    lines = ["p = word(t, 0)", "out = word(t, 1)", "depth = word(t, 2)", "inside = word(t, 3)", "columns = word(t, 4)", "tiles = word(t, 5)",
             "divisor = load_f64(t, 6)", "count = word(t, 7)", f"second = {first} + 2 * depth", "acc = scratch()",
             "for r in range(lo, hi):",
             "    line = udiv(r, tiles)",
             f"    left = (r - line * tiles) * {TILE}",
             f"    width = min({TILE}, columns - left)",
             *indent(walk("line", "depth", first, [("o", "p")])),
             f"    o += left * {size_of(type)}",
             "    for z in range(count):",
             *indent(indent(walk("z", "inside", "second", [("e", "o")]))),
             "        if z == 0:",
             "            for i in range(width):",
             f"                poke_{a}(acc, i, {x})",
             "        else:",
             "            for i in range(width):",
             f"                x = {x}",
             f"                m = peek_{a}(acc, i)",
             f"                {merge}",
             f"                poke_{a}(acc, i, {a}(m))",
             "    for i in range(width):",
             f"        m = peek_{a}(acc, i)",
             f"        store_{element(result)}(out, line * columns + left + i, {element(result)}({finish}))"]
    return Instruction(lines, words, rows * tiles, step_cost(step) * count * min(columns, TILE))
