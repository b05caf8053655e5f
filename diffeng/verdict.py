"""compare: the witnesses, the judge, the verdict.

Order of the proceedings: the function runs plainly; it is recorded; each method derives; the judge runs the function in 100 digits, checks that the
recording is what the function did, and certifies a gradient evaluated in 100 digits by differences along random directions; that truth, entry by entry,
measures the methods; and every operation is checked on its own (blame.py). Never a majority vote.
"""
import time
import warnings
from dataclasses import dataclass, field

import numpy as np

from . import directions as through
from .devices import WITNESSES, present, program_maker
from .differentiate import Recorded, backward
from .every_direction import contracted, forward_rows
from .measure import apart
from .nodes import reachable
from .report import Report
from .refusals import judged
from .trees import Flat, flatten, function_name, is_float
from .wide_arrays import large

FORWARD = 10 ** 10           # numbers that forward mode may compute for a whole gradient (half a minute); beyond, it is asked along directions
OWN = 10 ** 12               # operations of one evaluation, times arrays, up to which each array has a direction of its own (a minute); beyond, some have
LARGE_DIGITS = 25            # asked of the judge where an array is too large for balls: one evaluation takes seconds there
LARGE_GROWTH = 1.4
FEWEST, MOST = 20, 400       # digits: fewer do not tell rounding from a fault in float64, more the judge's own limit forbids


def compare(fun, *args, argnums=None, candidates=None, digits=50, directions=through.DIRECTIONS, seed=1, progress=None, kernels=True):
    """Derive the gradient of fun at args by every method, and judge them.

    fun: plain NumPy code. args: nested arrays; argnums: which to differentiate (None: every floating-point one, the others are held). A function with several
    or array outputs is compared along a random cotangent and on chosen entries. candidates: {name: gradient function called with *args}, returning
    what diffeng.grad would return, judged likewise. digits: how many the judge must be sure of. directions, seed: random directions through all arguments
    at once, along which the judge differences. progress: called as progress(stage, done, total). kernels: judge the reverse method as compiled programs compute
    it, too: those of the CPU, and of a GPU where there is one (or DIFFENG_CUDA=simulator in the environment).

    An argument of any size will do: docs/large.md says what is done, and what is not, where one has more than 262,144 entries.

    Returns a Report. Raises what fun raises, and TypeError for arguments or results that no derivative can be taken of.

    >>> import numpy as np, diffeng as de
    >>> de.compare(lambda x: np.sum(np.exp(x) * x), np.array([0.5, 1.5])).agree
    True
    """
    candidates = {} if candidates is None else candidates
    if not isinstance(candidates, dict) or not all(map(callable, candidates.values())):
        raise TypeError("candidates must be a dict of functions: {\"mine\": my_gradient}")
    taken = sorted({"symbolic", "forward", "reverse", *WITNESSES.values(), "graph"} & set(candidates))
    if taken:
        raise ValueError(f"candidates: {taken[0]!r} is the name of a method: give yours another")
    for name, given, least, most, what in (("digits", digits, FEWEST, MOST, f"the judge can be sure of {FEWEST} to {MOST}"),
                                           ("directions", directions, 1, np.inf, "give a number of at least 1"), ("seed", seed, 0, np.inf, "give 0 or more")):
        if not isinstance(given, (int, np.integer)) or isinstance(given, bool) or not least <= given <= most:
            raise ValueError(f"{name}={given!r}: {what}")
    if progress is not None and not callable(progress):
        raise TypeError(f"progress is of type {type(progress).__name__}: give a function, which is called as progress(stage, done, total)")
    return _Trial(fun, args, argnums, candidates, digits, (directions, seed), progress, kernels).report()


@dataclass
class _Answer:
    """What one method said: the flat value and, per cotangent, flat gradients."""

    value: list = None
    gradients: list = field(default_factory=list)
    seconds: float = None
    bytes: int = None
    failure: str = ""
    refused: bool = False        # it was not asked, or there was no room: nothing wrong was said
    preparation: float = 0.0
    along: list = None           # derivatives along the directions, (direction, round), where it was not asked for a gradient
    own: dict = None             # of array k alone along the first direction: {k: one a round}
    device: str = ""             # of a program that ran elsewhere than on the CPU: where,
    apart: float = None          # and how far its numbers are from those of the CPU's program, in ULP of each array's largest entry


class _Trial:
    def __init__(self, fun, args, argnums, candidates, digits, directions, progress, kernels):
        self.progress = progress or (lambda stage, done, total: None)
        self.digits, self.candidates, self.args = digits, candidates, args
        fun = getattr(fun, "__wrapped__", fun) if type(fun).__module__.startswith("diffeng") else fun       # see through jit
        chosen = argnums
        if argnums is None:
            chosen = tuple(k for k, a in enumerate(args) if any(map(is_float, flatten(a)[0])))
            if not chosen:
                raise TypeError(f"compare: {function_name(fun)} has no floating-point argument to differentiate; pass 3.0 instead of 3, or arrays of floats")
            chosen = chosen[0] if len(chosen) == 1 else chosen
        elif isinstance(argnums, (tuple, list)) and not argnums:
            raise ValueError("compare: argnums is empty: leave it out, or name an argument to differentiate")
        self.flat = Flat(fun, args, chosen, every_float=argnums is None)
        self.devices = present() if kernels else ()
        self.large = any(map(large, self.flat.leaves))
        if self.large:
            self.digits = min(digits, LARGE_DIGITS)
        self.growth = LARGE_GROWTH if self.large else 2
        self.weights = through.weights(self.flat.leaves, *directions)
        self.scale = [through.scale_of(x) for x in self.flat.leaves]
        self.answers, self.adjoint = {}, None

    def report(self):
        self.progress("running the function", 0, 1)
        self.plain = self.flat.plain()                 # NumPy's warnings are the user's here, and only here
        watched = judged.set(True)
        try:
            with np.errstate(all="ignore"):
                return self._proceed()
        finally:
            judged.reset(watched)

    def _proceed(self):
        flat, say = self.flat, self.progress
        self.cotangents = self._cotangents()
        say("recording the graph", 0, 1)
        self.recorded = Recorded(flat, log=True)
        self.answers |= {"symbolic": self._ask_backward("symbolic"), "forward": self._ask_forward(), "reverse": self._ask_backward("reverse")}
        for device in self.devices:
            self.answers[WITNESSES[device]] = self._ask_kernels(device)
        for name, gradient in self.candidates.items():
            self.answers[name] = self._ask_candidate(name, gradient)
        from .hearing import Hearing
        return Report(**Hearing(self).verdicts())

    def _cotangents(self):
        """One list of cotangents a round. A scalar needs one; others get a random one, and single entries of the output."""
        floats = [v.dtype.kind == "f" for v in self.plain]
        if not any(floats):
            raise TypeError(f"{function_name(self.flat.fun)} returned no floating-point value: there is no derivative to compare (dtype {self.plain[0].dtype})")
        if len(self.plain) == 1 and np.shape(self.plain[0]) == ():
            return [[np.ones((), self.plain[0].dtype)[()]]]
        rng = np.random.default_rng(0)
        rounds = [[rng.uniform(0.5, 1.5, np.shape(v)).astype(v.dtype)[()] if f else np.zeros(np.shape(v))[()] for v, f in zip(self.plain, floats)]]
        total = sum(int(np.size(v)) for v, f in zip(self.plain, floats) if f)
        for entry in sorted({0, total // 2, total - 1}) if total else ():
            start, unit = 0, []
            for v, f in zip(self.plain, floats):
                g = np.zeros(np.shape(v), v.dtype if f else float)
                if f:
                    if 0 <= entry - start < g.size:
                        g.reshape(-1)[entry - start] = 1
                    start += g.size
                unit.append(g[()])
            rounds.append(unit)
        return rounds

    # ---- the witnesses ----------------------------------------------------------------------------------------------------------

    def _ask(self, stage, derive):
        """Time a derivation; a method that fails is a finding, not a crash."""
        self.progress(stage, 0, 1)
        answer = _Answer()
        began = time.perf_counter()
        try:
            derive(answer)
        except Exception as error:                 # whatever a rule or somebody else's gradient raises
            answer.failure = f"{type(error).__name__}: {error}"
            answer.refused = answer.refused or isinstance(error, (MemoryError, np.linalg.LinAlgError))          # a singular matrix is the function's
        if answer.seconds is None:
            answer.seconds = time.perf_counter() - began
        if answer.bytes is None:
            answer.bytes = sum(np.asarray(g).nbytes for round_ in answer.gradients for g in round_)
        self.progress(stage, 1, 1)
        return answer

    def _ask_backward(self, method):
        def derive(answer):
            if method == "symbolic":
                began = time.perf_counter()
                backward(method)
                answer.preparation = time.perf_counter() - began
            began = time.perf_counter()
            recorded = Recorded(self.flat)
            answer.value = recorded.values
            answer.gradients.append(recorded.pull(self.cotangents[0], method))
            answer.seconds = time.perf_counter() - began
            answer.gradients += [recorded.pull(g, method) for g in self.cotangents[1:]]
            answer.bytes = sum(n.value.nbytes for n in _all_nodes(recorded))
        return self._ask(method, derive)

    def _ask_forward(self):
        sizes = [n.value.size for n in _all_nodes(self.recorded) if n.dtype.kind == "f"] or [1]
        total = sum(x.size for x in self.flat.leaves)

        def derive(answer):
            if total * sum(sizes) > FORWARD:
                return self._ask_along(answer)
            began = time.perf_counter()
            answer.value, rows = forward_rows(self.flat, lambda k, n: self.progress("forward", k, n))
            for g in self.cotangents:
                answer.gradients.append(contracted(answer.value, rows, g, self.flat.leaves))
                answer.seconds = answer.seconds or time.perf_counter() - began
        return self._ask("forward", derive)

    def _ask_along(self, answer):
        """Forward mode along the directions, and along each array's own part of the first."""
        from . import forward_mode
        from .cost import operations
        leaves, work = self.flat.leaves, sum(map(operations, _all_nodes(self.recorded)))
        own = np.unique(np.linspace(0, len(leaves) - 1, max(1, min(len(leaves), int(OWN // max(work, 1))))).astype(int)) if len(leaves) > 1 else []
        count = len(self.weights) + len(own)

        def ask(weights, done):
            self.progress("forward, along directions", done, count)
            tangents = [None if w is None else through.tangent(w, s, x.dtype)[None] for w, s, x in zip(weights, self.scale, leaves)]
            answer.value, out = forward_mode.push(self.flat, leaves, tangents)
            return [float(sum(np.sum(t[0] * g) for t, v, g in zip(out, answer.value, round_) if t is not None and v.dtype.kind == "f"))
                    for round_ in self.cotangents]

        began = time.perf_counter()
        answer.along = [ask(w, k) for k, w in enumerate(self.weights)]
        answer.seconds = (time.perf_counter() - began) / len(self.weights)
        answer.own = {int(k): ask([w if j == k else None for j, w in enumerate(self.weights[0])], len(self.weights) + n) for n, k in enumerate(own)}

    def _ask_kernels(self, device):
        name, known = WITNESSES[device], self.answers.get(WITNESSES["cpu"])

        def derive(answer):
            began = time.perf_counter()
            if self.adjoint is None:
                self.adjoint = gradient_nodes(Recorded(self.flat), self.plain)
            make = program_maker(device)
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")          # of what the host computes: the report says so
                try:
                    program = make(*self.adjoint)
                except RuntimeError:                     # libdevice is not installed, say: nothing wrong was computed
                    answer.refused = True
                    raise
            leaves = [np.asarray(x) for x in self.flat.leaves]
            run = [program(*leaves, *[np.asarray(c) for c in g]) for g in self.cotangents]
            answer.preparation = time.perf_counter() - began
            began = time.perf_counter()
            again = program(*leaves, *[np.asarray(c) for c in self.cotangents[0]])
            answer.seconds = time.perf_counter() - began
            n = len(self.plain)
            answer.value = [v[()] for v in again[:n]]
            answer.gradients = [[g[()] for g in r[n:]] for r in run]
            if make.device is not None:
                host = sorted(set(program.calls))
                answer.device = make.device.name + (f" and, for {', '.join(host)}, the host" if host else "")
                if known and known.gradients:
                    answer.apart = max([apart(g, w) for g, w in zip([*answer.value, *answer.gradients[0]], [*known.value, *known.gradients[0]])])
        return self._ask(name, derive)

    def _ask_candidate(self, name, gradient):
        def derive(answer):
            if len(self.cotangents) > 1:
                answer.refused = True
                raise TypeError("a candidate gradient needs a function with one scalar output")
            found, _, paths = flatten(gradient(*[_copied(a) for a in self.args]))
            leaves, names = [np.asarray(x) for x in found], self.flat.names
            wanted = flatten(self.flat.restore(self.flat.leaves))[2]
            keys, theirs = ([[k for k in path if isinstance(k, str)] for path in each] for each in (wanted, paths))        # (tuples and lists are alike)
            if len(leaves) != len(wanted) or any(theirs) and theirs != keys:
                what = f"{len(leaves)} arrays" if len(leaves) != len(wanted) else f"arrays named {', '.join(map('.'.join, theirs))}"
                raise ValueError(f"it returned {what} for {'those' if len(wanted) > 1 else 'the one'} of {', '.join(names[:4])}{', ...' if len(names) > 4 else ''}: "
                                 "return what de.grad returns, one array for each, nested as they are")
            for g, x, where in zip(leaves, self.flat.leaves, names):
                if g.dtype.kind not in "fiub":
                    raise TypeError(f"its gradient of {where} has dtype {g.dtype}, the argument {x.dtype}")
                if g.shape != np.shape(x):
                    raise ValueError(f"its gradient of {where} has shape {g.shape}, the argument {np.shape(x)}")
            answer.gradients = [[g[()] for g in leaves]]
        return self._ask(name, derive)


def _copied(tree):
    """A candidate may write into its arguments: they are copies."""
    leaves, rebuild, _ = flatten(tree)
    return rebuild([np.array(x) if isinstance(x, np.ndarray) else x for x in leaves])


def _all_nodes(recorded):
    return [n for n in reachable([o for o in recorded.outputs if o is not None]) if isinstance(n.value, (np.ndarray, np.generic))]


def gradient_nodes(recorded, plain):
    """(inputs, outputs) of the program that computes outputs and gradients from leaves and cotangents: the adjoint graph."""
    from . import reverse_mode
    from .graph import Adjoint, leaf_node
    tracing = Adjoint(values=False)
    seeds = [tracing.input(None, f"cotangent {k}", np.shape(v), v.dtype if v.dtype.kind == "f" else float) for k, v in enumerate(plain)]
    pairs = [(o, s) for o, s in zip(recorded.outputs, seeds) if o is not None and o.dtype.kind == "f"]
    found = reverse_mode.gradient([o for o, _ in pairs], [s for _, s in pairs], recorded.nodes, tracing.tracer, at=tracing.stand_at)
    outputs = [o if o is not None else leaf_node(v, None) for o, v in zip(recorded.outputs, plain)]
    return recorded.nodes + [s.node for s in seeds], outputs + [leaf_node(g, n) for g, n in zip(found, recorded.nodes)]
