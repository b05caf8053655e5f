"""Suspects beside the rules: the graph, which NumPy function means what, rules of the user's own that are differentiated again, and the kernels.

What it is: four searches. `edges`: is the recording what the function did, call by call? `misread`: does a NumPy function give on traced values what it gives
on arrays? `own_rules`: is a rule of de.custom, asked by a derivative inside the function, right, and its own derivative? `kernel`: does a compiled operation
give what NumPy gives?

What it is not: no derivative is checked here (blame.py), and nothing is decided about a method (hearing.py).
"""
import contextlib
import warnings

import numpy as np

from . import blame, forward_mode, judge, magnitude, numpy_api
from .blame import Culprit, tolerance as tolerance_of
from .devices import WITNESSES, program_maker
from .differentiate import Recorded, jvp, vjp
from .nodes import Node, Tracer, reachable
from .own_rules import Rules
from .precise import certainly, numbers, precise, precision
from .recording import of_some
from .lines import line_of, user_frames
from .traced import Traced

CALLS = 64               # calls of custom functions whose rules are checked where a derivative inside the function asked them


def _same(value, exact, tolerance):
    """Is a float64 value that of a 100-digit run, but for rounding?"""
    if np.shape(value) != exact.shape:
        return False
    with np.errstate(all="ignore"):
        truth = numbers(exact)
        return bool(np.all(np.absolute(value - truth) <= tolerance * np.max(np.absolute(truth), initial=0)))


def _plain(x):
    """Traced arguments as the arrays they stand for."""
    if isinstance(x, (list, tuple)):
        return [_plain(v) for v in x] if type(x) is list else tuple([_plain(v) for v in x])
    return x.node.value if isinstance(x, Tracer) else x


def edges(recorded, calls, keys, tolerance):
    """The recorded nodes against the calls of the judge's own run: primitive, parameters, where each operand came from.
    (culprits, reason why there can be none)."""
    log = recorded.tracing.log
    if len(log) != len(calls):
        return [], (f"the function does not do the same twice: it made {len(log)} operations when recorded and {len(calls)} in the judge's run "
                    "(random numbers? changing globals?)")
    place = {id(n): k for k, n in enumerate(log)}
    place_input = {id(n): k for k, n in enumerate(recorded.nodes)}
    found = []
    for node, (primitive, inputs, params, out) in zip(log, calls):
        anew = node.primitive.own is not None and primitive.own is not None and node.primitive.name == primitive.name          # made inside the function
        if node.primitive is not primitive and not anew:
            if not _same(node.value, out, tolerance):
                return [], (f"the function does not do the same twice: {node.primitive.name} at {line_of(node.frames)} "
                            f"became {primitive.name} in the judge's run")
            found.append(Culprit(primitive.name, "graph", None, line_of(node.frames), np.inf, "wrong", keys.get(id(node), -1),
                                 f"it is recorded as {node.primitive.name}"))
            continue
        if id(node) in keys and repr(node.params) != repr(params):
            found.append(Culprit(primitive.name, "graph", None, line_of(node.frames), np.inf, "wrong", keys[id(node)],
                                 f"it is recorded with {node.params}, the function used {params}"))
        for slot, (edge, want) in enumerate(zip(node.operands, inputs)):
            if isinstance(edge, Node):
                have = place[id(edge)] if id(edge) in place else ("input", place_input.get(id(edge)))
            else:
                have = "constant"
            want = "constant" if isinstance(want, tuple) and want[0] == "constant" else want
            if have != want and id(node) in keys:
                found.append(Culprit(primitive.name, "graph", slot, line_of(node.frames), np.inf, "wrong", keys[id(node)],
                                     "the edge is not the operand that the function used"))
    return found, ""


def misread(flat, tolerance):
    """The first NumPy function that gives another value on traced arguments than on arrays."""
    found, originals = [], (numpy_api.call_function, Traced.__array_ufunc__)

    def compared(out, function, want):
        mine = [np.asarray(_plain(x)) for x in (out if isinstance(out, (list, tuple)) else [out])]
        for a, b in zip(mine, map(np.asarray, want if isinstance(want, (list, tuple)) else [want])):
            if a.dtype.kind != "f" or b.dtype.kind != "f":
                continue
            error = (blame.relative_error(a, b.astype(float), np.maximum(np.absolute(b), np.max(np.absolute(b), initial=0, where=np.isfinite(b))))
                     if a.shape == b.shape else np.inf)
            if error > tolerance and not found:
                found.append(Culprit(function.__name__, "graph", None, line_of(user_frames()), error, "wrong", -1,
                                     "this NumPy function is read as something else"))

    def call_function(function, args, kwargs):
        plain = [_plain(x) for x in args], {k: _plain(x) for k, x in kwargs.items()}
        out = originals[0](function, args, kwargs)
        if "out" not in plain[1]:
            with contextlib.suppress(Exception):                   # what plain NumPy refuses cannot be compared
                compared(out, function, function(*plain[0], **plain[1]))
        return out

    def call_ufunc(self, ufunc, method, *inputs, **kwargs):
        plain = [_plain(x) for x in inputs]
        out = originals[1](self, ufunc, method, *inputs, **kwargs)
        if method == "__call__" and not kwargs:
            with contextlib.suppress(Exception):
                compared(out, ufunc, ufunc(*plain))
        return out

    numpy_api.call_function, Traced.__array_ufunc__ = call_function, call_ufunc
    try:
        Recorded(flat)
    finally:
        numpy_api.call_function, Traced.__array_ufunc__ = originals
    return found


def own_rules(flat, digits):
    """The rules of de.custom that derivatives inside the function ask: are they right, and so differentiated again? The judge differences what they stand for."""
    asked, originals = {}, (Rules.push, Rules.pulled)                # of equal calls one

    def noted(name, ask):
        def asking(own, *args):
            numbers_ = [_value(x) for x in (args[0] if name == "push" else args[2])]
            asked.setdefault((id(own), name, repr(numbers_)), (own, name, numbers_, user_frames() or own.begins))
            return ask(own, *args)
        return asking
    Rules.push, Rules.pulled = map(noted, ("push", "pull"), originals)
    try:
        Recorded(flat)
    finally:
        Rules.push, Rules.pulled = originals
    found = []
    for each in [e for e in asked.values() if e[0].has(e[1])][:CALLS]:
        with contextlib.suppress(Exception):                       # what cannot be run in 100 digits has no verdict
            found += _own_rule(*each, digits)
    return found


def _value(x):
    """The array that a traced value of any depth stands for."""
    while isinstance(x, Traced):
        x = x.node.value if isinstance(x, Tracer) else x.primal
    return x


def _own_rule(own, name, values, frames, digits):
    """[Culprit] where the rule, or its derivative along a random direction, is not what the judge's differences of the function are."""
    rng, moves = np.random.default_rng(3), own.moves
    whole, xs = of_some(own.primitive, values, moves), [np.asarray(values[s]) for s in moves]
    g = precise(rng.uniform(0.5, 1.5, np.shape(own.body(*values))))          # precise, lest a rule's own constants are rounded with it
    ways = [rng.uniform(0.5, 1.5, x.shape) for x in xs]

    def derivative(*primals):
        return [jvp(whole, primals, tuple(map(precise, ways)))[1]] if name == "push" else [*vjp(whole, *primals)[1](g)]
    court = judge.Judge(derivative, xs, digits)
    found = court.along(ways)
    with precision(2 * digits + 20):
        way = [precise(w) * precise(s) for w, s in zip(ways, found.scale)]
        got = forward_mode.push(derivative, [precise(x) for x in xs], [np.reshape(w, (1, *w.shape)) for w in way])
        wants = court.value(2 * digits + 20), found.value
        for mine, want, what in zip((got[0], [0 if t is None else t[0] for t in got[1]]), wants, ("is wrong", "is right, but differentiated again it is wrong")):
            error = max(blame.relative_error(np.where(known & ~kink, certainly(precise(m) - w), 0), 0, np.maximum(np.absolute(numbers(w)), 1e-60))
                        for m, w, known, kink in zip(mine, want, found.decided, found.kink))
            if error > 10.0 ** (10 - digits):
                return [Culprit(own.primitive.name, "reverse" if name == "pull" else "forward", None, line_of(frames), error, "wrong", -1,
                                f"its rule {name}, asked by a derivative inside the function, {what}")]
    return []


def kernel(trial, device):
    """The first node whose kernel value differs from NumPy's, found by asking a device's program for every node."""
    inputs, outputs = trial.adjoint
    nodes = [n for n in reachable(outputs) if n.primitive.name not in ("input", "constant")]
    leaves = [np.asarray(x) for x in trial.flat.leaves] + [np.asarray(c) for c in trial.cotangents[0]]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        values = program_maker(device)(inputs, nodes, as_recorded=True)(*leaves)
    known = dict(zip(map(id, inputs), leaves))
    for k, (n, v) in enumerate(zip(nodes, values)):
        operands = [known[id(p)] if isinstance(p, Node) and id(p) in known else p.operands[0] if isinstance(p, Node) else p for p in n.operands]
        with np.errstate(all="ignore"):
            want = np.asarray(n.primitive(*operands, **n.params))
            scale = magnitude.value_scale(n.primitive, operands, want, n.params) if want.dtype.kind == "f" else np.ones(want.shape)
            error = blame.relative_error(v, want.astype(float), np.maximum(np.absolute(want), scale))
        if error > tolerance_of(want.dtype if want.dtype.kind == "f" else float):
            return Culprit(n.primitive.name, WITNESSES[device], None, line_of(n.frames), error, "wrong", k, "its kernel computes something else than NumPy")
        known[id(n)] = v
    return None
