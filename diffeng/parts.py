"""Large operations, checked on their own all the same: a product or a reduction in part, an index map in whole.

What it is: `part`, the same operation at fewer of the values that occurred; `index_map`, what each method makes of an operation that only moves numbers about,
decided on integers: there float64 itself is exact, so a difference of step 1 is the derivative, and nothing needs a hundred digits.
What it is not: no accusation (blame.py). Why a file: what is checked of an operation with a hundred million numbers is said here.
"""
import string

import numpy as np

from .vocabulary import fourier
from .vocabulary.contraction import subscripts

INTEGER = 1 << 10          # the numbers in index_map lie below: float32 adds two of them, and float64 all their products, without rounding


def _few(n, count):
    return np.unique(np.linspace(0, n - 1, count).astype(int))


def _taken(x, letters, chosen, sizes):
    """The chosen positions along each axis; one that stands still (length 1 under a longer letter) stays."""
    for axis, c in enumerate(letters):
        if c in chosen and x.shape[axis] == sizes[c]:
            x = np.take(x, chosen[c], axis)
    return x


def part(primitive, values, z, params, limit, sums=False):
    """(operands, value) at some entries of the result, so that no operand has more than about `limit` numbers; None where the operation has no such parts.

    What is summed is summed whole, so the value is part of the value that was recorded; with sums=True only some of it is, and the value is computed.
    """
    letters, kept = string.ascii_letters, set()                        # kept: what stays whole also where sums are cut
    if primitive.kind == "contract":
        inputs, out = subscripts(primitive.name, [x.ndim for x in values], params).split("->")
        terms, thinned = inputs.split(","), set(out)
    elif primitive.kind == "map":
        out = letters[:z.ndim]
        terms, thinned = [out[z.ndim - np.ndim(x):] for x in values], set(out)
    elif "axis" in params and params["axis"] is not None and primitive.kind in ("reduce", "opaque"):
        terms = [letters[:values[0].ndim]]
        axes = params["axis"] if isinstance(params["axis"], tuple) else (params["axis"],)
        thinned = {c for k, c in enumerate(terms[0]) if k not in axes}
        out = terms[0] if z.ndim == values[0].ndim else "".join(c for c in terms[0] if c in thinned)
    elif primitive.name in fourier.NAMES:
        terms, out, pairs = [letters[:values[0].ndim]], letters[:z.ndim], max(values[0].ndim, z.ndim) - 1
        thinned = {c for k, c in enumerate(letters[:pairs]) if k not in params["axes"]}
        kept = {letters[pairs], *[letters[params["axes"][-1]]] * (primitive.name == "irfft")}                   # (whose length the parameters say)
    elif primitive.kind == "linalg":                                  # some matrices of a stack; with sums=True some rows and columns of them
        batch = letters[:values[0].ndim - 2]
        terms = [batch + t for t in ("RS" if primitive.name in ("qr", "svd") else "RR", "RK")[:len(values)]]
        out, thinned = terms[-1][:z.ndim] if z.shape[-2:] == values[-1].shape[-2:] or z.ndim < values[0].ndim else batch + "PQ", set(batch)
    else:
        return None
    if primitive.kind == "contract" and len(set(out)) < len(out):
        return None
    sizes = {}
    for term, x in zip([*terms, out], [*values, z]):
        for c, n in zip(term, np.shape(x)):
            sizes[c] = max(n, sizes.get(c, 1))
    count = dict(sizes)

    def largest():
        return max(np.prod([min(count[c], np.shape(x)[k]) for k, c in enumerate(term)], dtype=float) for term, x in zip(terms, values))

    while largest() > limit:
        c = max(thinned, key=lambda c: (count[c], c), default=None)
        if c is None or count[c] == 1:
            break
        count[c] = -(-count[c] // 2)
    if sums:
        thinned = set("".join(terms)) - kept
        while largest() > limit and (c := max(thinned, key=lambda c: (count[c], c), default=None)) is not None and count[c] > 1:
            count[c] = -(-count[c] // 2)
        if "S" in count and primitive.name == "qr":                                   # no more columns than rows
            count["S"] = min(count["R"], count["S"])
    chosen = {c: _few(sizes[c], count[c]) for c in thinned if count[c] < sizes[c]}
    small = [_taken(x, term, chosen, sizes) for term, x in zip(terms, values)]
    return small, np.asarray(primitive(*small, **params)) if sums else _taken(z, out, chosen, sizes)


def index_map(primitive, values, slot, params, pull, push, number):
    """{method: (relative error, text)} of the methods that are wrong. values: the operands. pull: {method: pull(primitive, slot, g, z, operands, params)};
    push(function, primals, tangents)."""
    rng = np.random.default_rng(number + 1)

    def whole(x):
        return rng.integers(-INTEGER, INTEGER, x.shape, np.int16).astype(np.float32)

    def alone(y):
        return primitive(*[y if k == slot else v for k, v in enumerate(operands)], **params)

    operands = [whole(x) if primitive.differentiable(k) and getattr(x, "dtype", np.dtype(int)).kind == "f" else x for k, x in enumerate(values)]
    x, v = operands[slot], whole(operands[slot])
    z = alone(x)
    moved = (alone(x + v) - alone(x - v)) / 2                                    # exactly the derivative along v
    g, wrong = whole(z), {}
    want = _product(g, moved)
    for method, rule in pull.items():
        try:
            got = _product(np.asarray(rule(primitive, slot, g, z, operands, params)), v)
            if not got == want:
                wrong[method] = abs(got - want) / max(_product(np.absolute(g), np.absolute(moved)), 1.0), ""
        except Exception as error:                                               # whatever a faulty rule raises
            wrong[method] = np.inf, f"{type(error).__name__}: {error}"
    try:
        tangent = push(lambda y: [alone(y)], [x], [v[None]])[1][0]
        off = np.absolute(moved if tangent is None else tangent[0] - moved)
        if not np.max(off, initial=0) == 0:
            wrong["forward"] = float(np.max(off)) / INTEGER, ""
    except Exception as error:
        wrong["forward"] = np.inf, f"{type(error).__name__}: {error}"
    return wrong


def _product(a, b):
    """The sum of products, in float64: exact for integers of this size."""
    return float(np.einsum("i,i->", np.ravel(a), np.ravel(b), dtype=float, casting="unsafe"))
