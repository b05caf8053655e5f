"""Planted faults, and derivative checks for test-suites.

>>> import numpy as np, diffeng as de
>>> from diffeng.testing import plant
>>> with plant("reverse", "tanh"):
...     report = de.compare(lambda x: np.sum(np.tanh(x)), np.array([0.3, 0.7]))
>>> report.culprit.method, report.culprit.primitive
('reverse', 'tanh')
"""
import contextlib

from . import numpy_api          # noqa: F401  the vocabulary must be there
from .nodes import Node, Primitive, Tracing

KINDS = ("factor", "sign", "drop")
GRAPH_KINDS = ("swap", "lose")
FACTOR = {8: 1 + 1e-5, 4: 1 + 1e-3}          # by the item size of the dtype: well above the rounding of each


def _faulty(contribution, kind):
    if kind == "factor":
        return contribution * FACTOR[contribution.dtype.itemsize]
    return -contribution if kind == "sign" else contribution * 0


class _Row:
    """A row of a book with a fault in one slot."""

    def __init__(self, row, kind, slot):
        self.row, self.kind, self.slot = row, kind, slot

    def __getitem__(self, slot):
        rule = self.row[slot]
        if slot != self.slot:
            return rule
        return lambda *args, **params: _faulty(rule(*args, **params), self.kind)


@contextlib.contextmanager
def plant(method, primitive, kind="factor", slot=0):
    """A fault in one rule while the context lasts: nothing is left behind.

    method: "symbolic", "forward" or "reverse" with kind "factor" (1 + 1e-5; 1 + 1e-3 in float32), "sign" or "drop" for operand `slot`;
    or "graph" with kind "swap" (the first two operands recorded in the wrong order) or "lose" (the edge of operand `slot` is lost).
    Raises ValueError for an unknown method, primitive, kind or slot without a derivative.
    """
    if not isinstance(primitive, str) or not isinstance(slot, int):
        raise TypeError(f"plant({method!r}, {primitive!r}, slot={slot!r}): give the primitive's name, as in plant(\"reverse\", \"tanh\"), and the operand's number")
    known = Primitive.registry.get(primitive)
    if known is None or known.kind in ("input", "constant"):
        import difflib
        near = difflib.get_close_matches(primitive, Primitive.registry, 3)
        raise ValueError(f"no primitive {primitive!r}" + (f"; did you mean {', '.join(near)}?" if near else "; docs/vocabulary.md lists them"))
    with _graph_fault(known, kind, slot) if method == "graph" else _rule_fault(method, known, kind, slot):
        yield


@contextlib.contextmanager
def _rule_fault(method, known, kind, slot):
    """A book whose rule for one operand is at fault."""
    if kind not in KINDS:
        raise ValueError(f"kind={kind!r}: choose one of {', '.join(KINDS)}")
    if not known.differentiable(slot):
        raise ValueError(f"{known.name!r} has no derivative with respect to operand {slot}"
                         + (f"; it has for {', '.join(map(str, known.slots))}" if known.slots else ""))
    if method == "symbolic":
        from .symbolic import FAULTS as book
    elif method == "forward":
        from .forward_mode import PUSH as book
    elif method == "reverse":
        from .reverse_mode import PULL as book
    else:
        raise ValueError(f"method={method!r}: choose symbolic, forward, reverse or graph")
    before = book.get(known.name)
    if method != "symbolic" and not _has_rule(before, slot):
        raise ValueError(f"{known.name!r} has no operand {slot} in the {method} book")
    book[known.name] = _Row(before, kind, slot) if method != "symbolic" else lambda s, c: _faulty(c, kind) if s == slot else c
    try:
        yield
    finally:
        if before is None:
            del book[known.name]
        else:
            book[known.name] = before


def _has_rule(row, slot):
    try:
        return row is not None and row[slot] is not None
    except IndexError:
        return False


@contextlib.contextmanager
def _graph_fault(known, kind, slot):
    """Every recording of the primitive gets wrong edges; the value is the right one, as with a fault in graph construction."""
    kind = "swap" if kind == "factor" else kind                  # plant's default
    if kind not in GRAPH_KINDS:
        raise ValueError(f"kind={kind!r}: a graph fault is one of {', '.join(GRAPH_KINDS)}")
    from .specimens import names, specimen
    operands = len(specimen(known.name)[0]) if known.name in names() else None
    if kind == "lose" and known.kind == "map" and operands is not None and slot >= operands:
        raise ValueError(f"{known.name!r} has no operand {slot}, and no edge to lose there")
    if kind == "swap" and operands is not None and operands < 2:
        raise ValueError(f"{known.name!r} has one operand, and none to swap it with: its edge can be lost (kind=\"lose\")")
    original = Tracing.apply

    def apply(self, p, operands, params):
        tracer = original(self, p, operands, params)
        if p.name == known.name:
            edges = list(tracer.node.operands)
            if kind == "swap":
                edges[:2] = edges[1::-1]
            elif slot < len(edges) and isinstance(edges[slot], Node) and edges[slot].value is not None:          # without values: no recording, a graph is rewritten
                edges[slot] = edges[slot].value
            tracer.node.operands = tuple(edges)
        return tracer

    Tracing.apply = apply
    try:
        yield
    finally:
        Tracing.apply = original


def assert_derivatives_agree(fun, *args, **options):
    """Raise AssertionError with the whole report when compare(fun, *args) finds a method wrong."""
    from .verdict import compare
    report = compare(fun, *args, **options)
    if not report.agree:
        raise AssertionError(str(report))
    return report


def check_grads(func, inputs, eps=1e-6, atol=1e-5, rtol=1e-3, raise_exception=True, nondet_tol=0.0):
    """torch.autograd.gradcheck's contract for NumPy functions: True when reverse mode agrees with the judge.

    func(*inputs); inputs: an array or a tuple of float64 arrays. The judge replaces the difference quotient of step eps, so an entry must
    agree to atol + rtol |truth|. Raises (or returns False with raise_exception=False) when it does not.
    """
    from .verdict import compare
    inputs = inputs if isinstance(inputs, tuple) else (inputs,)
    report = compare(func, *inputs)
    fine = report.within(atol, rtol)
    if not fine and raise_exception:
        raise AssertionError(str(report))
    return fine
