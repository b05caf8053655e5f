"""The Report of compare: a table for people, JSON for machines, a picture, and an exception for tests. It only says what the hearing found."""
import json
from dataclasses import asdict, dataclass

import numpy as np


@dataclass
class MethodResult:
    """What one method said and how it did.

    value, derivative: in the structure of the function's output and arguments. error: worst relative error of an entry, against
    max(|truth|, sum of |terms| in the last accumulating operation); ulp: the same in units in the last place. None without a truth. seconds: one derivation;
    preparation: imports and compilation before it. bytes: of the values kept. verdict: "right", "wrong", "inaccurate" or "no verdict"; note: why.
    per_leaf: (relative error, ULP error, index) of each array's worst entry. Where a method was asked along directions: derivative None, the errors those of
    the derivatives along them, and in per_leaf those of single arrays (None for an array that had no direction of its own). device: of a compiled program that
    ran elsewhere than on the CPU, where; apart: how far its numbers are from those of the CPU's program, in ULP of each array's largest entry.
    """

    value: object
    derivative: object
    error: float | None
    ulp: float | None
    seconds: float
    bytes: int | None
    preparation: float
    verdict: str
    note: str = ""
    per_leaf: list = None
    device: str = ""
    apart: float | None = None

    def said(self, reason=""):
        """The verdict in words; reason: what need not be said again."""
        words = [self.note] if self.note and self.note != reason else []
        if self.device:
            words.append(f"on {self.device}" + ("" if self.apart is None else f", {_number(self.apart)} ULP from the CPU's kernels"))
        return self.verdict + (": " + "; ".join(words) if words else "")


class DerivativeError(AssertionError):
    """Raised by Report.raise_if_wrong: a method disagrees with the judge."""


@dataclass(repr=False)
class Report:
    """The verdict of compare. See the fields of MethodResult for a method's part.

    agree: every method is right. culprit: the first wrong operation, or None; culprits: all of them. kinks: operations at a point without a derivative.
    nonfinite: the first NaN or infinity. coverage: what the judge saw, and how sure it is. reason: why there is no verdict, or "".
    """

    methods: dict
    culprits: list
    kinks: list
    nonfinite: dict | None
    coverage: dict
    reason: str
    names: list
    rows: list
    function: str
    truth: object
    recorded: object
    digits: int
    adjoints: dict
    adjoint: float | None = None            # of a custom function's two rules: how far they are from being adjoint to each other, relative to the terms summed

    @property
    def agree(self):
        return all(m.verdict == "right" for m in self.methods.values()) and not self.culprits

    @property
    def culprit(self):
        return self.culprits[0] if self.culprits else None

    # ---- text ------------------------------------------------------------------------------------------------------------

    def table(self, verbose=False):
        """The report as text; verbose: one row a parameter tensor and method too."""
        lines = [f"{self.function}: {_count(self.coverage['entries'], 'entry', 'entries')} in {_count(len(self.rows), 'array', 'arrays')}", ""]
        head = ("method", "seconds", "worst relative error", "worst ULP error", "verdict")
        body = [(name, _seconds(m.seconds) + (f" (+{_seconds(m.preparation)} to prepare)" if m.preparation > 0.05 else ""), _number(m.error), _number(m.ulp),
                 m.said(self.reason)) for name, m in self.methods.items()]
        lines += _columns(head, body)
        if verbose:
            lines += ["", *_columns(("array", "shape", "method", "relative error", "ULP", "worst at"),
                                    [(name, str(shape), method, _number(m.per_leaf[k][0]), _number(m.per_leaf[k][1]),
                                      "along a direction" if m.derivative is None else str(list(m.per_leaf[k][2])))
                                     for k, (name, shape) in enumerate(self.rows) for method, m in self.methods.items() if m.per_leaf and m.per_leaf[k]])]
        lines += ["", self._judge()]
        if self.reason and any(m.verdict == "no verdict" for m in self.methods.values()):
            lines.append(f"No verdict: {self.reason}")
        if self.culprits:
            first = self.culprits[0]
            lines.append(f"Wrong: {first}")
            others = self.culprits[1:]
            if others:
                where = {f"{c.method} {c.primitive}" + (f" operand {c.slot}" if c.slot is not None else "") + (f" at {c.line}" if c.line else ""): None
                         for c in others}
                lines.append(f"       and {_count(len(others), 'more place', 'more places')}: " + "; ".join(list(where)[:6])
                             + ("; ..." if len(where) > 6 else ""))
        for k in self.kinks[:3]:
            lines.append(f"Kink: {k['primitive']} at {k['line']} has no derivative at {_count(k['entries'], 'entry', 'entries')}; "
                         "every method must lie between the one-sided ones")
        if self.nonfinite:
            n = self.nonfinite
            lines.append(f"Not finite: the first is the {n['what']} of "
                         f"{n['primitive']}{' ' + n['name'] if n['name'] else ''}{' at ' + n['line'] if n['line'] else ''}")
        if self.adjoint is not None:
            lines.append(f"<g, J v> and <J' g, v> differ by {_number(self.adjoint)} of the size of their terms.")
        lines.append("All methods agree." if self.agree else "The methods do not all agree."
                     if any(m.verdict in ("wrong", "inaccurate") for m in self.methods.values()) or self.culprits
                     else "Nothing wrong was found, but there is no full verdict.")
        return "\n".join(lines)

    def _judge(self):
        c = self.coverage
        seen = (f"differenced {'the one entry' if c['differenced'] == 1 else 'each of the %d entries' % c['differenced']}" if c["differenced"]
                else f"certified the truth of all {c['entries']} entries along {c['directions']} random directions" if c["directions"] and not self.reason
                else "could not difference the whole function")
        sure = f", sure of {c['digits']} digits at precision {c['precision']}" if c["digits"] else ""
        alone = "one operand of an operation on its own" if c["operations"] == 1 else f"{c['operations']} operands of operations on their own"
        parts = [f"The judge {seen}{sure}, and checked {alone}"]
        if c["undecided"]:
            parts.append(f"{c['undecided']} could not be decided ({c['reasons'][0]})")
        if c.get("unstructured"):
            parts.append(c["unstructured"])
        if c["sampled"]:
            parts.append(f"elementwise operations sampled in {_count(c['sampled'], 'case', 'cases')}")
        if c["parts"] or c["integers"]:
            parts.append(f"{c['parts']} of them in part, and {c['integers']} that only move numbers about on integers")
        return "; ".join(parts) + f" ({_seconds(c['judge_seconds'])})."

    def __str__(self):
        return self.table()

    def __repr__(self):
        return f"<Report {self.function}: {'all agree' if self.agree else self.culprit or 'not all agree'}>"

    def _repr_html_(self):
        from html import escape
        rows = "".join(f"<tr><td>{escape(name)}</td><td>{_seconds(m.seconds)}</td><td>{_number(m.error)}</td><td>{_number(m.ulp)}</td>"
                       f"<td>{escape(m.said())}</td></tr>"
                       for name, m in self.methods.items())
        tail = "<br>".join(escape(line) for line in self.table().split("\n\n", 2)[-1].splitlines())
        return f"<table><tr><th>method</th><th>time</th><th>relative error</th><th>ULP</th><th>verdict</th></tr>{rows}</table><p>{tail}</p>"

    # ---- machines ---------------------------------------------------------------------------------------------------------

    def to_json(self, derivatives=False):
        """The report as JSON text (infinities and NaN as strings). derivatives: include every method's numbers."""
        methods = {}
        for name, m in self.methods.items():
            methods[name] = dict(error=m.error, ulp=m.ulp, seconds=m.seconds, preparation=m.preparation, bytes=m.bytes, verdict=m.verdict, note=m.note,
                                 device=m.device, apart=m.apart,
                                 arrays=[dict(name=n, shape=list(s), error=p[0], ulp=p[1], worst_at=list(p[2]))
                                         for (n, s), p in zip(self.rows, m.per_leaf or []) if p])
            if derivatives:
                from .trees import flatten
                methods[name]["derivative"] = [np.asarray(g).tolist() for g in flatten(m.derivative)[0]]
        culprits = [asdict(c) for c in self.culprits]
        return json.dumps(_plain(dict(function=self.function, agree=self.agree, methods=methods, culprit=culprits[0] if culprits else None,
                                      culprits=culprits, kinks=self.kinks, nonfinite=self.nonfinite, coverage=self.coverage,
                                      reason=self.reason, digits=self.digits)), indent=1, allow_nan=False)

    def picture(self, detail="auto"):
        """A graphviz.Digraph of the recorded function: values, adjoints, and the wrong operations in red."""
        from . import picture
        graph = self.graph()
        marks, adjoints = {}, {}
        by_line = {}
        for c in self.culprits:
            by_line.setdefault((c.primitive, c.line), f"{c.method} {c.kind}" + (f" (operand {c.slot})" if c.slot is not None else ""))
        nodes = {graph.key[id(n)]: n for n in graph.order}
        for k in graph:
            mark = by_line.get((graph.nodes[k]["primitive"], graph.nodes[k]["line"]))
            if mark and k in nodes:
                marks[k] = ("wrong", mark)
        for key, g in self.adjoints.items():
            if key in graph.key:
                adjoints[graph.key[key]] = g
        return picture.draw(graph, adjoints=adjoints, marks=marks, detail=detail,
                            title=f"{self.function}: {'all methods agree' if self.agree else self.culprit or 'not all methods agree'}")

    def graph(self):
        from .graph import Graph
        outputs = [o if o is not None else v for o, v in zip(self.recorded.outputs, self.recorded.values)]
        return Graph(self.recorded.nodes, outputs, name=self.function)

    # ---- tests -------------------------------------------------------------------------------------------------------------

    def raise_if_wrong(self):
        """Raise DerivativeError, with the whole report, unless every method is right."""
        if not self.agree:
            raise DerivativeError(str(self))

    def within(self, atol, rtol, method="reverse"):
        """Does a method agree with the truth to atol + rtol |truth| in every entry?"""
        from .trees import flatten
        m = self.methods[method]
        if self.truth is None or m.derivative is None:
            return False
        return all(np.all(np.absolute(np.asarray(g) - t) <= atol + rtol * np.absolute(t)) for g, t in zip(flatten(m.derivative)[0], flatten(self.truth)[0]))


def _count(n, one, many):
    return f"{n} {one if n == 1 else many}"


def _seconds(t):
    return "-" if t is None else f"{t:.2f} s" if t >= 0.1 else f"{1e3 * t:.2f} ms"


def _number(x):
    return "-" if x is None else "0" if x == 0 else f"{x:.2f}" if 0.01 <= x < 1000 else f"{x:.1e}"


def _columns(head, body):
    rows = [head, *body]
    widths = [max(len(r[k]) for r in rows) for k in range(len(head))]
    text = ["  ".join(c.ljust(w) for c, w in zip(r, widths)).rstrip() for r in rows]
    return [text[0], "-" * min(120, max(map(len, text))), *text[1:]]


def _plain(x):
    if isinstance(x, dict):
        return {k: _plain(v) for k, v in x.items()}
    if isinstance(x, (list, tuple)):
        return [_plain(v) for v in x]
    if isinstance(x, (float, np.floating)):
        return float(x) if np.isfinite(x) else str(float(x))
    return int(x) if isinstance(x, np.integer) else bool(x) if isinstance(x, np.bool_) else x
