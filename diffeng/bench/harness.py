"""Check, then time in turns.

What it is: the reference, the comparison of every answer with it, and rounds in which all who passed are timed one after the other, so that a noisy minute is shared.
What it is not: no library is known here (peers.py), and nothing is printed (table.py).
"""
import gc
import math
import time

import numpy as np

from . import peers as all_peers
from .workloads import apply, as_dtype, bytes_touched, leaves

TOLERANCE = {"float64": 1e-9, "float32": 2e-4}          # of the largest entry of each array: sums of 10^6 terms, in 16 and 7 digits
ALONG = 1e-8                                            # reverse against forward mode, float64, along one direction


class Plan:
    """How long to measure. rounds: turns each; sample: seconds of calls a turn at least; budget: seconds a peer may use before its rounds are cut to 3."""

    def __init__(self, rounds=15, sample=0.02, budget=4.0):
        self.rounds, self.sample, self.budget = rounds, sample, budget


class Wrong(Exception):
    """An answer that differs from the reference: it is not timed."""


def reference(workload, sizes=None):
    """The answer in float64 by diffeng's reverse mode, uncompiled, after forward mode has confirmed it along a random direction.

    Raises Wrong when the two disagree. The two share no rule.
    """
    import diffeng as de
    problem, ours = workload.problem(sizes, "float64"), all_peers.DiffengPlain()
    fun, args = ours.derivative(problem)
    answer = [np.asarray(a, float) for a in leaves(fun(*args))]
    f, n, random = problem.bound(), len(problem.parameters), np.random.default_rng(1)
    direction = apply(lambda a: random.normal(size=a.shape), problem.parameters)

    def held(g):
        return lambda *p: g(*p, *problem.data)
    if workload.asks == "gradient":
        _, slope = de.jvp(held(f), problem.parameters, direction)
        _agree(workload, _dot(answer[1:], leaves(direction)), float(slope), _dot(map(np.abs, answer[1:]), map(np.abs, leaves(direction))))
    elif workload.asks == "jacobian":
        _, slope = de.jvp(held(f), problem.parameters, direction)
        _agree(workload, answer[0] @ direction[0], slope, 1.0)
    else:
        half = len(answer) // 2
        gradient = de.grad(f, argnums=tuple(range(n)), method="forward") if sum(a.size for a in leaves(problem.parameters)) < 200 else None
        _, slope = de.jvp(held(f), problem.parameters, direction)
        _agree(workload, _dot(answer[:half], leaves(direction)), float(slope), _dot(map(np.abs, answer[:half]), map(np.abs, leaves(direction))))
        if gradient is not None:
            h = 1e-5
            up, down = (leaves(gradient(*_moved(problem, sign * h), *problem.data)) for sign in (1, -1))
            for got, a, b in zip(answer[half:], up, down):
                _agree(workload, got, (a - b) / (2 * h), 1e2)          # a difference quotient: 1e-6
    return answer


def _moved(problem, h):
    moved = [a + h * v for a, v in zip(leaves(problem.parameters), leaves(problem.tangents))]
    left = iter(moved)
    return apply(lambda _: next(left), problem.parameters)


def _dot(a, b):
    return float(sum(np.sum(x * y) for x, y in zip(a, b)))


def _agree(workload, got, expected, scale):
    if not np.all(np.abs(got - expected) <= ALONG * np.maximum(np.abs(expected), scale)):
        raise Wrong(f"{workload.name}: reverse mode says {got}, forward mode {expected}")


def check(answer, expected, tolerance):
    """The largest error of each array's entries over its largest entry; raises Wrong when it is past the tolerance, NaN, or of another shape."""
    if len(answer) != len(expected):
        raise Wrong(f"{len(answer)} arrays, and {len(expected)} were expected")
    worst = 0.0
    for k, (got, want) in enumerate(zip(answer, expected)):
        if np.shape(got) != np.shape(want):
            raise Wrong(f"array {k} has shape {np.shape(got)}, not {np.shape(want)}")
        error = np.max(np.abs(got - want), initial=0.0) / max(np.max(np.abs(want), initial=0.0), 1e-300)
        if not error <= tolerance:
            raise Wrong(f"array {k} is off by {error:.1e} of its largest entry; {tolerance:.0e} is allowed")
        worst = max(worst, float(error))
    return worst


class Entry:
    """One call to be timed, and its times: seconds a call, one a round."""

    def __init__(self, call, plan):
        self.call, self.times = call, []
        call()
        once = sample(call, 1)
        self.calls = max(1, math.ceil(plan.sample / max(once, 1e-8)))
        if self.calls > 1:
            self.calls = max(1, math.ceil(plan.sample / max(sample(call, max(1, self.calls // 10)), 1e-8)))
        one = self.calls * once
        self.rounds = max(min(3, plan.rounds), min(plan.rounds, int(plan.budget / max(one, 1e-8))))

    def turn(self):
        """One untimed call (another library's threads may still spin, the caches are its), then the sample."""
        self.call()
        self.times.append(sample(self.call, self.calls))

    def result(self):
        return {"median": float(np.median(self.times)), "minimum": min(self.times), "rounds": len(self.times), "calls": self.calls}


def sample(call, calls):
    """Seconds a call, of so many."""
    began = time.perf_counter()
    for _ in range(calls):
        call()
    return (time.perf_counter() - began) / calls


def interleave(entries):
    """Turn by turn, there and back, until each has had its rounds."""
    collecting = gc.isenabled()
    gc.collect()
    gc.disable()
    try:
        for r in range(max(e.rounds for e in entries)):
            for e in entries if r % 2 == 0 else entries[::-1]:
                if r < e.rounds:
                    e.turn()
            gc.collect()
    finally:
        if collecting:
            gc.enable()


def run(workload, peers, plan, sizes=None, progress=lambda text: None):
    """One row: {"peers": {name: result | {"reason"} | {"failed"}}, "primal": result, "work": ..., "operations": ...}."""
    progress(f"{workload.name}: reference")
    problem, entries, found = workload.problem(sizes), {}, {}
    expected = reference(workload, sizes)
    for peer in peers:
        progress(f"{workload.name}: {peer.name}")
        try:
            spelling, call, error = _fastest(peer, problem, expected)
            entries[peer.name] = Entry(call, plan)
            found[peer.name] = {"spelling": spelling, "error": error}
        except ImportError as missing:
            found[peer.name] = {"reason": f"not installed ({missing})"}
        except all_peers.NotApplicable as reason:
            found[peer.name] = {"reason": str(reason)}
        except Exception as failure:                # whatever a peer raises is shown, and the others go on
            found[peer.name] = {"failed": f"{type(failure).__name__}: {' '.join(str(failure).split())[:300]}"}
    row = {"peers": found}
    ours = next((p for p in peers if p.name == "diffeng"), None)
    if ours is not None and workload.asks == "gradient" and "diffeng" in entries:
        entries["primal"] = Entry(ours.primal(problem), plan)
        row["operations"] = operations(problem)
    progress(f"{workload.name}: timing")
    if entries:
        interleave(list(entries.values()))
    for name, entry in entries.items():
        found.setdefault(name, {}).update(entry.result())
    row["primal"] = found.pop("primal", None)
    work = workload.work(**(sizes or workload.sizes))
    row["work"] = {"flops": work.flops, "functions": work.functions, "bytes": bytes_touched(problem, as_dtype(expected, np.dtype(workload.dtype)))}
    row["dtype"], row["small"], row["asks"] = workload.dtype, workload.small, workload.asks
    return row


def _fastest(peer, problem, expected):
    """(spelling, call, error) of the fastest of a peer's spellings; all of them have been checked."""
    tried = []
    for spelling, call in peer.prepare(problem).items():
        error = check(peer.arrays(call()), expected, TOLERANCE[problem.workload.dtype])
        call()
        seconds = min(sample(call, 1) for _ in range(5))
        tried.append((seconds, spelling, call, error))
    return min(tried, key=lambda t: t[0])[1:]


def operations(problem):
    """{"primal", "gradient"}: operations counted in the graphs, the data held constant."""
    import diffeng as de
    from ..cost import count
    from ..graph import adjoint
    from ..nodes import reachable
    f, data = problem.bound(), problem.data
    graph = de.trace(lambda *p: f(*p, *data), *problem.parameters)
    primal = [n for n in graph.order if n.primitive.kind not in ("input", "constant")]
    inputs = [n for n in graph.input_nodes if n.dtype.kind == "f"]
    known = {id(n) for n in graph.order}
    more = [n for n in reachable(adjoint(graph.output_nodes, inputs, "reverse", values=False)) if id(n) not in known]
    total = count(primal)[0]
    return {"primal": total, "gradient": total + count(more)[0]}
