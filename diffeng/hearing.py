"""The judge's side of compare: is the recording what the function did, which gradient is the truth, and how far is each method from it.

A method is *wrong* when it is wrong in 100-digit arithmetic, where rounding is no excuse; when it is right there but its float64 numbers are far off, either
one of its rules loses digits (blame names it), or the function itself is ill-conditioned or at a kink, and nobody is accused.
"""
import time

import numpy as np

from . import blame, candidates, judge, magnitude, suspects
from .blame import tolerance
from .devices import WITNESSES
from .differentiate import Recorded, backward
from .directions import inner, way
from .nodes import Node, Primitive, reachable
from .precise import PreciseArray, Refused, Run, Undecided, arbs, call, certainly, numbers, precise, precision, radius
from .vocabulary import linalg
from .wide_arrays import large
from .report import MethodResult
from .lines import line_of
from .measure import along, shaken, worst_entry

ENTRYWISE = 24                # so few entries are differenced one by one; more are certified along random directions
CERTIFIED_BY = ("reverse", "symbolic")
PATIENCE = 2 * 10 ** 9        # operations on balls that a judgement may take: some ten minutes
SLICED = 64                   # multiplications by slices of a large array (slices.py) that take as long as one operation on balls
RUNS = 8                      # evaluations of the function that one direction or one method's gradient costs
MARGIN = 10                   # digits given away between what the judge is sure of and what is asked of a certified gradient
VALUES_OFF = "its value differs from the plain function's"


def _work(node):
    """Operations on balls behind a node."""
    sizes = [np.size(p.value if type(p) is Node else p) for p in node.operands]
    if node.primitive.kind == "contract":
        terms = int(np.sqrt(float(node.value.size) * np.prod(sizes, dtype=float)))              # (m, k) @ (k, n): the root of mk kn mn
        return terms // SLICED if any(large(p.value if type(p) is Node else p) for p in node.operands) else terms
    if node.primitive.kind == "linalg":
        return linalg.work(node.primitive.name, [np.shape(p.value if type(p) is Node else p) for p in node.operands])
    if node.primitive.kind in ("view", "gather", "scatter"):
        return 1 if large(node.value) else node.value.size                                     # large arrays are moved about as they are
    return max(node.value.size, *sizes, 1) if sizes else 0


def _summed(scale, weights, d):
    """The size of all terms behind a directional derivative, those of large arrays apart; 0 where it is not finite, so that it excuses nothing."""
    with np.errstate(all="ignore"):
        total = sum(float(np.sum(np.asarray(s, float) * np.absolute(w) * r)) for s, w, r in zip(scale, weights, d.scale) if not large(w))
    return total if np.isfinite(total) else 0.0


def _known(d, k):
    """Has the derivative of round k a verdict? (There are none where the function was refused.)"""
    return bool(d.decided) and bool(d.decided[0][k])


def _columns(x, scale, differences, rounds):
    """(gradient, lower, upper bounds where there is a kink) with respect to x, each with an axis of rounds in front; differences: of every entry."""
    if not differences:
        nothing = np.zeros((rounds, *x.shape))
        return precise(nothing), nothing, nothing

    def every(name):
        data = np.stack([arbs(getattr(d, name)[0]) for d in differences], axis=-1) / arbs(scale).reshape(-1)
        return PreciseArray(data.reshape(rounds, *x.shape), np.dtype(float))
    left, right = numbers(every("left")), numbers(every("right"))
    kink = np.reshape(np.stack([d.kink[0] for d in differences], axis=-1), left.shape)
    return every("value"), np.where(kink, np.minimum(left, right), np.nan), np.where(kink, np.maximum(left, right), np.nan)


def _dtypes(nodes, leaves):
    """One dtype a leaf: its own, or the coarser one in which something was computed on the way: no gradient has more digits than that."""
    computed = [n.dtype for n in nodes if n.dtype.kind == "f" and n.primitive.kind not in ("input", "constant", "view", "gather")]
    return [max([np.asarray(x).dtype, *computed], key=lambda d: np.finfo(d).eps) for x in leaves]


class Hearing:
    def __init__(self, trial):
        self.trial, self.flat, self.recorded = trial, trial.flat, trial.recorded
        self.digits = trial.digits
        self.reason = ""                     # why there is no verdict
        self.coverage = {"entries": int(sum(np.size(x) for x in self.flat.leaves)), "differenced": 0, "directions": 0, "digits": None, "precision": None}
        self.certificates, self.excess, self.adjoints = {}, {}, {}
        self.value = trial.plain             # in 100 digits, once the judge's own run has ended
        self.refusal = ""                    # what the judge could not spell out
        self.truths, self.scales, self.intervals, self.differences, self.inners = [], [], [], [], []
        self.local = None

    def verdicts(self):
        began = time.perf_counter()
        say = self.trial.progress
        nodes = reachable([o for o in self.recorded.outputs if o is not None])
        keys = {id(n): k for k, n in enumerate(nodes)}
        self.dtypes = _dtypes(nodes, self.flat.leaves)
        self.tolerance = max(map(tolerance, self.dtypes))
        say("judge: running the function in 100 digits", 0, 1)
        self.work = sum(map(_work, nodes))
        culprits = self._structure(keys) if self._repeats() and self._affordable() else []
        say("judge: every operation on its own", 0, max(1, len(nodes)))
        self.local = blame.check(nodes, keys, self.digits, lambda k, n: say("judge: every operation on its own", k, n),
                                 {c.node for c in culprits})
        value = self.trial.answers["reverse"].value
        culprits += self.local.culprits or (suspects.misread(self.flat, self.tolerance)
                                            if not culprits and not self.reason and value is not None and self._value_off(value) else [])
        say("judge: certifying the truth", 0, 1)
        if not self.reason:
            self._truths()
        if self.local.sampled and self._unexplained(culprits):
            say("judge: every entry of every operation", 0, max(1, len(nodes)))
            self.local = blame.check(nodes, keys, self.digits, lambda k, n: say("judge: every entry of every operation", k, n), sample=blame.EVERY)
            culprits += self.local.culprits
        self.edges = blame.edges(self.recorded.tracing.log)
        # of three that tie at a median, each slope is 0 along its own axis, and no line through the point is bent: there it shows as a gradient that misses them
        bent = self._unexplained(culprits) or any(bool(kink) for _, d in self.differences for kink, decided in zip(*d.kink, *d.decided) if decided)
        self.kinks = self.local.kinks + [dict(e, node=keys.get(id(self.recorded.tracing.log[e["node"]]), -1)) for e in self.edges
                                         if bent and not self.local.kinks]
        culprits.sort(key=lambda c: (c.node, c.method != "graph"))
        self.nonfinite = self._nonfinite(nodes, keys)
        methods = {name: self._verdict(name, answer, culprits) for name, answer in self.trial.answers.items()}
        for device, name in WITNESSES.items():
            if name in methods and methods[name].verdict == "wrong" and methods["reverse"].verdict == "right" and not self.trial.answers[name].failure:
                culprit = suspects.kernel(self.trial, device)
                culprits += [culprit] if culprit else []
        found = self.local
        self.coverage.update(operations=found.checked, undecided=found.open, sampled=found.sampled, parts=found.parts, integers=found.integers,
                             reasons=sorted(set(found.reasons))[:5], judge_seconds=time.perf_counter() - began)
        return dict(methods=methods, culprits=culprits, kinks=self.kinks,
                    nonfinite=self.nonfinite, coverage=self.coverage, reason=self.reason, names=self.flat.names, rows=self._rows(),
                    function=getattr(self.flat.fun, "__name__", "function"), truth=self._truth_tree(), recorded=self.recorded, digits=self.digits,
                    adjoints=self.adjoints)

    def _unexplained(self, culprits):
        """Is a method's gradient wrong, and no operation found that is?"""
        return not culprits and any("wrong" in answers for answers in self.certificates.values())

    def _repeats(self):
        """Does the plain function return the same twice? Without that there is nothing to judge."""
        again = self.flat.plain()
        if len(again) == len(self.trial.plain) and all(np.array_equal(a, b, equal_nan=True) for a, b in zip(again, self.trial.plain)):
            return True
        self.reason = "the function does not return the same twice (random numbers? a counter?): seed it, or make it depend on its arguments only"
        return False

    def _affordable(self):
        """Would a run in 100 digits and its repetitions end within minutes?"""
        whole = RUNS * (len(self.trial.weights) + 1 + len(CERTIFIED_BY) * len(self.trial.cotangents)) * self.work
        if whole <= PATIENCE:
            return True
        self.reason = f"the judge would need {whole:.0e} operations in 100 digits, and takes on {PATIENCE:.0e}: compare with smaller arrays or fewer steps"
        return False

    # ---- is the graph what the function did? --------------------------------------------------------------------------------------

    def _structure(self, keys):
        """The judge's own run, call by call, against the recorded nodes: primitive, parameters, where each operand came from."""
        digits = 2 * self.digits
        while True:
            run = Run(self.recorded.tracing.looks, record=True)
            try:
                with precision(digits):
                    self.value = call(self.flat, [precise(np.asarray(x)) for x in self.flat.leaves], run)
                break
            except Refused as error:
                self.reason = str(error)
                return []
            except Undecided as error:
                digits *= 2
                if digits > judge.LIMIT:
                    self.reason = f"{error} (up to {digits // 2} digits)"
                    return []
        if run.derivatives:                # the methods differentiate inside by their rules, the judge by differences: the two runs make different calls
            self.coverage["unstructured"] = "the function takes a derivative inside: its edges were not compared"
            return suspects.own_rules(self.flat, self.digits) if Primitive.some_own else []
        found, self.reason = suspects.edges(self.recorded, run.calls, keys, self.tolerance)
        return found

    # ---- the truth -------------------------------------------------------------------------------------------------------------------

    def _against(self, *leaves):
        """What is judged, a number a round: the outputs against the cotangents of each."""
        total = None
        for out, g in zip(self.flat(*leaves), self.cotangents):
            if out.dtype.kind == "f":
                term = g @ np.reshape(out, (-1,))
                total = term if total is None else total + term
        return [total]

    def _truths(self):
        """Append, for each round, the gradient (100-digit arrays) that is certified, the scale of its entries, and one-sided bounds where known."""
        leaves, weights, rounds, say = [np.asarray(x) for x in self.flat.leaves], self.trial.weights, self.trial.cotangents, self.trial.progress
        self.cotangents = [precise(np.stack([np.reshape(g, (-1,)) for g in same])) for same in zip(*rounds)]
        court = judge.Judge(self._against, leaves, self.digits, self.recorded.tracing.looks, growth=self.trial.growth)
        for k, w in enumerate(weights):
            say("judge: differences along directions", k, len(weights))
            d = court.along(w)
            if d.sure is None:
                self.reason = self.reason or d.reason
            else:
                self.coverage["digits"] = min(d.sure, self.coverage["digits"] or d.sure)
                self.coverage["precision"] = max(d.precision, self.coverage["precision"] or 0)
            self.differences.append((w, d))
        self.coverage["directions"] = sum([d.sure is not None for _, d in self.differences])
        with precision(2 * self.digits + 20), np.errstate(all="ignore"):
            say("judge: forward in many digits", 0, 1)
            pushed = [self._pushed(leaves, w, d) for w, d in self.differences]
            recorded = self._exactly(lambda: Recorded(self.flat, [precise(x) for x in leaves]))
            for k, cotangents in enumerate(rounds):
                self._certified(k, cotangents, recorded, pushed)
                say("judge: certifying the truth", k + 1, len(rounds))
        if self.coverage["entries"] <= ENTRYWISE and RUNS * self.coverage["entries"] * self.work <= PATIENCE // 4:
            self._entrywise(court, leaves)
        if any(t is None for t in self.truths) and not self.reason:
            self.reason = "no method's gradient could be certified, and there are too many entries to difference one by one" + (
                f" ({self.refusal})" if self.refusal else "")

    def _certified(self, k, cotangents, recorded, pushed):
        """Round k: the first gradient in many digits that has the judge's derivatives along directions. recorded: in many digits, or why there is none."""
        truth, found, certified, scale = None, None, "reverse", self._scale("reverse", cotangents)
        for method in CERTIFIED_BY:
            self.trial.progress(f"judge: {method} in many digits", k, len(self.trial.cotangents))
            g, inners = recorded if isinstance(recorded, str) else self._exact_gradient(recorded, method, cotangents), []
            verdict = g if isinstance(g, str) else self._certify(k, g, scale, inners)
            self.certificates.setdefault(method, []).append(verdict)
            if verdict == "certified" and truth is None:
                truth, found, certified = g, inners, method
        self.certificates.setdefault("forward", []).append(self._certify_forward(k, pushed, scale))
        self.truths.append(truth)
        self.inners.append(found)
        self.intervals.append(None)
        self.scales.append(scale if certified == "reverse" else self._scale(certified, cotangents))

    def _scale(self, method, cotangents):
        """The size of the terms that were summed into each gradient entry (of a large array a function that computes it); sets the adjoints, too."""
        outputs = [(o, g) for o, g in zip(self.recorded.outputs, cotangents) if o is not None and o.dtype.kind == "f"]
        try:
            scale, self.adjoints = magnitude.gradient_scale(backward(method), [o for o, _ in outputs], [g for _, g in outputs], self.recorded.nodes, large)
        except Exception:                            # a faulty rule: it is judged elsewhere
            scale = [np.zeros(np.shape(x)) if not large(x) else None for x in self.flat.leaves]
        return scale

    def _exact_gradient(self, recorded, method, cotangents):
        """The method's gradient in 100 digits, or the text of its failure."""
        found = self._exactly(lambda: recorded.pull([precise(np.asarray(g)) for g in cotangents], method))
        return found if isinstance(found, str) else [precise(g if isinstance(g, PreciseArray) else np.asarray(g)) for g in found]

    def _exactly(self, compute):
        """compute() in a run of the branches that float64 took; "open" where the digits or the judge's room do not suffice, else the text of the failure."""
        try:
            with Run(self.recorded.tracing.looks):
                return compute()
        except (Refused, Undecided) as error:
            self.refusal = str(error)
            return "open"
        except Exception as error:
            return f"{type(error).__name__}: {error}"

    def _certify(self, k, gradient, scale, inners):
        """"certified", "wrong", or "open" when no difference could be taken. inners takes, a direction, (derivative, size of its terms) of each array."""
        answer = "open"
        for w, d in self.differences:
            try:
                inners.append([inner(*each) for each in zip(gradient, w, d.scale)])
            except Refused as error:
                self.refusal = str(error)
                return "open"
            if not _known(d, k):
                continue
            terms, sizes = zip(*inners[-1])
            verdict = self._agrees(sum(terms[1:], terms[0]), sum(sizes[1:], sizes[0]), d, k, _summed(scale, w, d))
            if verdict != "certified":
                return verdict
            answer = "certified"
        return answer

    def _agrees(self, got, size, d, k, summed):
        """size: of the terms got was summed from, in 100 digits;
        summed: the same, further back in the function, in float64: what rounding can be measured by."""
        if d.kink[0][k]:
            return "wrong" if blame.beyond_slopes(got, d.left[0][k], d.right[0][k], np.array(True)) else "certified"
        off, slack = got - d.value[0][k], precise(10.0 ** (MARGIN - self.digits))
        size = np.absolute(size) + np.absolute(d.value[0][k])
        if not np.isfinite(radius(off)):
            return "open"
        if certainly(np.maximum(np.absolute(off) - slack * size, precise(0.0))) > 0:
            return "wrong"
        return "certified" if radius(off) <= numbers(slack * (size + precise(summed))) else "open"

    def _pushed(self, leaves, w, d):
        """The tangent of each round's function along a direction, by forward mode in many digits; "open", or the text of a failure."""
        from . import forward_mode
        if not np.any(d.decided):
            return "open"
        try:
            with Run(self.recorded.tracing.looks):
                tangents = forward_mode.push(self._against, [precise(x) for x in leaves], [way(x, s)[None] for x, s in zip(w, d.scale)])[1]
            return precise(np.zeros(len(self.trial.cotangents))) if tangents[0] is None else tangents[0][0]
        except (Refused, Undecided):
            return "open"
        except Exception as error:
            return f"{type(error).__name__}: {error}"

    def _certify_forward(self, k, pushed, scale):
        answer = "open"
        for (w, d), got in zip(self.differences, pushed):
            if not _known(d, k):
                continue
            verdict = got if isinstance(got, str) else self._agrees(got[k], np.absolute(got[k]), d, k, _summed(scale, w, d))
            if verdict != "certified":
                return verdict
            answer = "certified"
        return answer

    def _entrywise(self, court, leaves):
        """Few entries: each is differenced on its own, so the truth needs no method at all."""
        found = []
        for k, x in enumerate(leaves):
            found.append([])
            for entry in np.ndindex(*x.shape):
                unit = np.zeros(x.shape)
                unit[entry] = 1.0
                d = court.along([unit if j == k else None for j in range(len(leaves))])
                if d.sure is None:
                    self.reason = self.reason or d.reason
                if not np.any(d.decided):
                    return
                found[-1].append(d)
                self.coverage["differenced"] += 1
        known = np.all([d.decided[0] for column in found for d in column], axis=0) if any(found) else [True] * len(self.truths)
        with precision(2 * self.digits + 20):
            columns = [_columns(x, s, column, len(self.truths)) for x, s, column in zip(leaves, court.scale, found)]
        for k in range(len(self.truths)):
            if known[k]:
                self.truths[k] = [value[k] for value, _, _ in columns]
                self.intervals[k] = [low[k] for _, low, _ in columns], [high[k] for _, _, high in columns]

    # ---- the methods against the truth ----------------------------------------------------------------------------------------------------

    def _errors(self, gradient, round_):
        """The worst entry of each array: (relative error, ULP error, index)."""
        bounds = self.intervals[round_]
        return [worst_entry(g, t, s, np.asarray(x).dtype, coarse, 2 * self.digits, bounds and (bounds[0][k], bounds[1][k]))
                for k, (g, t, s, x, coarse) in enumerate(zip(gradient, self.truths[round_], self.scales[round_], self.flat.leaves, self.dtypes))]

    def _along(self, answer):
        """The same of a method that was asked along directions: of each array alone where it was asked so, and the worst of all directions."""
        rows = []
        for round_, inners in enumerate(self.inners):
            eps = [float(np.finfo(d).eps) for d in self.dtypes]
            with precision(2 * self.digits + 20):
                own = {k: along(answer.own[k][round_], [inners[0][k]]) for k in answer.own}
                whole = max(along(got[round_], parts) for got, parts in zip(answer.along, inners))
            rows.append([(own.get(k, 0.0), own.get(k, 0.0) / e, ()) for k, e in enumerate(eps)] + [(whole, whole / max(eps), ())])
        return rows

    def _excess(self, rows):
        """The worst relative error in tolerances of the dtype that the numbers came through: right up to 1."""
        return max((r / tolerance(dtype) for round_ in rows for (r, _, _), dtype in zip(round_, [*self.dtypes, self._coarsest()])), default=0.0)

    def _coarsest(self):
        return max(self.dtypes, key=lambda d: np.finfo(d).eps)

    def _rows_of(self, answer):
        return [self._errors(g, k) for k, g in enumerate(answer.gradients)] if answer.along is None else self._along(answer)

    def _verdict(self, name, answer, culprits):
        """A MethodResult."""
        result = MethodResult(value=answer.value, derivative=None, error=None, ulp=None, seconds=answer.seconds, bytes=answer.bytes,
                              preparation=answer.preparation, verdict="no verdict", device=answer.device, apart=answer.apart)
        if answer.gradients:
            result.derivative = self.flat.restore(answer.gradients[0])
        if answer.value is not None and self.flat.out is not None:
            result.value = self.flat.out(answer.value)
        if answer.failure:
            result.verdict, result.note = "no verdict" if answer.refused else "wrong", answer.failure
            return result
        worst = self._measured(name, answer, result) if self.truths and all(t is not None for t in self.truths) else None
        base = "reverse" if name in WITNESSES.values() else name
        mine = [c for c in culprits if c.method == base or c.method == "graph" and base != "forward" and name not in self.trial.candidates]
        certificate = self.certificates.get(base, [])
        found = self._accused(answer, mine, certificate)
        if found is None and worst is None:
            found = self._along_directions(result, answer) if self.differences and "certified" in certificate else ("no verdict", self.reason)
        result.verdict, result.note = found or self._judged(name, answer, result, worst, any(c.kind == "inaccurate" for c in mine))
        return result

    def _measured(self, name, answer, result):
        """The worst error against the truth, in tolerances; the result learns of all of them."""
        self.trial.progress(f"judge: the numbers of {name}", 0, 1)
        rows = self._rows_of(answer)
        result.error = max((r for round_ in rows for r, _, _ in round_), default=0.0)
        result.ulp = max((u for round_ in rows for _, u, _ in round_), default=0.0)
        result.per_leaf = rows[0][:len(self.flat.leaves)]
        if answer.along is not None:
            result.per_leaf = [row if k in answer.own else None for k, row in enumerate(result.per_leaf)]
        self.excess[name] = self._excess(rows)
        return self.excess[name]

    def _accused(self, answer, mine, certificate):
        """(verdict, note) of a method that is wrong whatever its numbers are: by its culprits, its certificate, or its value; None of another."""
        uncertified = [c for c in certificate if c not in ("certified", "open")]
        if set(uncertified) == {"wrong"} and not mine and (self.local.kinks or self.edges):
            return "no verdict", candidates.AT_A_KINK
        if any(c.kind in ("wrong", "missing") for c in mine) or uncertified:
            return "wrong", "" if mine else next((c for c in uncertified if c != "wrong"), "its 100-digit gradient fails the judge's differences")
        if answer.value is not None and not self.reason and self._value_off(answer.value):
            return "wrong", VALUES_OFF
        return None

    def _judged(self, name, answer, result, worst, lossy):
        """(verdict, note) by the numbers. lossy: does one of the rules lose digits?"""
        if name in self.trial.candidates and (found := candidates.verdict(self, answer, result, worst)):
            return found
        if lossy:
            return "inaccurate", "a rule loses digits"
        if worst <= 1:
            if answer.along is None:
                return "right", ""
            return "right", f"asked along {len(answer.along)} directions" + (f" and {len(answer.own)} of single arrays" if answer.own else "")
        if name in WITNESSES.values() and (self.worst("reverse") or 0.0) <= 1:
            return "wrong", "the kernels compute something else than NumPy"
        if self.kinks:
            return "right", "at a kink: rounding decides the side"
        if self.nonfinite:
            return "no verdict", f"the {self.nonfinite['what']} of {self.nonfinite['primitive']} is not finite in floating point"
        return "no verdict", "ill-conditioned: every operation is right, but rounding or underflow is amplified beyond half of the digits"

    def _along_directions(self, result, answer):
        """(verdict, note) without a truth for every entry (the graph itself is wrong): the float64 gradient along the judge's directions."""
        result.error = 0.0
        for round_ in range(len(self.trial.cotangents)):
            for k, (w, d) in enumerate(self.differences):
                if not _known(d, round_):
                    continue
                with precision(2 * self.digits):
                    if answer.along is not None:
                        got = precise(answer.along[k][round_])
                        parts = [(got, np.absolute(got))]
                    else:
                        parts = [inner(np.asarray(g), x, s) for g, x, s in zip(answer.gradients[round_], w, d.scale)]
                    result.error = max(result.error, along(numbers(d.value[0][round_]), parts))
        return "right" if result.error <= self.tolerance else "no verdict", "judged along random directions only"

    def worst(self, name):
        answer = self.trial.answers[name]
        if answer.failure or any(t is None for t in self.truths) or any(c not in ("certified", "open") for c in self.certificates.get(name, [])):
            return None
        if name not in self.excess:
            self.excess[name] = self._excess(self._rows_of(answer))
        return self.excess[name]

    def _value_off(self, value):
        """Does a method's value differ from the plain one by more than the function's own rounding?"""
        for k, (mine, plain, exact) in enumerate(zip(value, self.trial.plain, self.value)):
            if plain.dtype.kind != "f":
                continue
            with np.errstate(all="ignore"):
                known = numbers(exact) if isinstance(exact, PreciseArray) else np.asarray(plain, float)
                # an ill-conditioned function amplifies rounding in both
                noise = np.minimum(*[np.absolute(np.asarray(x, float) - known) for x in (plain, mine)])
                size = np.maximum(np.absolute(plain), np.absolute(known)) + np.max(np.absolute(known), initial=0)
                off = np.absolute(np.asarray(mine, float) - np.asarray(plain, float)) > self.tolerance * size + 1000 * noise
                off &= np.isfinite(plain)
                if np.any(off):                      # terms that cancel to the last bit in one order of summation, and not in another
                    off &= np.absolute(np.asarray(mine, float) - plain) > shaken(lambda leaves: self.flat.plain(leaves)[k], self.flat.leaves, plain)
            if np.any(off):
                return True
        return False

    # ---- what else the report says -------------------------------------------------------------------------------------------------------------

    def _nonfinite(self, nodes, keys):
        for n in nodes:
            if n.dtype.kind == "f" and not np.all(np.isfinite(n.value)):
                return dict(node=keys[id(n)], primitive=n.primitive.name, line=line_of(n.frames), what="value", name=n.params.get("name", ""))
        for n in reversed(nodes):
            g = self.adjoints.get(id(n))
            if g is not None and not np.all(np.isfinite(g)):
                return dict(node=keys[id(n)], primitive=n.primitive.name, line=line_of(n.frames), what="adjoint", name=n.params.get("name", ""))
        return None

    def _rows(self):
        return [(name, tuple(np.shape(x))) for name, x in zip(self.flat.names, self.flat.leaves)]

    def _truth_tree(self):
        if not self.truths or self.truths[0] is None:
            return None
        return self.flat.restore([numbers(t).astype(np.asarray(x).dtype)[()] for t, x in zip(self.truths[0], self.flat.leaves)])
