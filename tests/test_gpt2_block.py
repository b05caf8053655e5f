"""The first witness: a GPT-2 block, all methods right, and every fault inside of it named with its line."""
import numpy as np
import pytest

import diffeng as de
from diffeng.llm import GPT2Config
from diffeng.llm.model import init_parameters, loss
from diffeng.nodes import Node, Primitive
from diffeng.testing import plant
from judged_once import Judgements

CONFIG = GPT2Config(vocab_size=11, context_length=4, emb_dim=4, n_heads=2, n_layers=1)
TOKENS, TARGETS = np.array([1, 7, 3, 3]), np.array([7, 3, 3, 9])
P = {k: v + 0.1 * np.random.default_rng(len(k)).normal(size=v.shape) for k, v in init_parameters(CONFIG).items()}

JUDGED = Judgements()


def block(parameters):
    return loss(parameters, TOKENS, TARGETS, CONFIG)


def rows_in_the_block():
    """(primitive, slot) pairs that carry a derivative in the recorded block, and the first line of each."""
    graph = de.trace(block, P)
    found, moving = {}, set()
    for n in graph.order:
        if n.primitive.name == "input":
            moving.add(id(n))
        for slot, p in enumerate(n.operands):
            if isinstance(p, Node) and id(p) in moving and n.dtype.kind == "f" and p.dtype.kind == "f" and n.primitive.differentiable(slot):
                moving.add(id(n))
                found.setdefault((n.primitive.name, slot), graph.nodes[graph.key[id(n)]]["line"])
    return sorted(found.items())


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_all_methods_agree(dtype):
    report = de.compare(block, {k: v.astype(dtype) for k, v in P.items()})
    assert report.agree, report.table(verbose=True)
    worst = max(m.error for m in report.methods.values())
    assert worst < (1e-11 if dtype == np.float64 else 1e-4)
    assert report.coverage["entries"] == CONFIG.parameter_count and report.coverage["operations"] > 60


def test_the_key_bias_has_no_gradient():
    """softmax does not see a shift: the truth is an exact zero, a method says 1e-19, and both are right."""
    report = de.compare(block, P, kernels=False)
    bias = report.truth["h.0.attn.c_attn.bias"][4:8]
    assert np.all(np.abs(bias) < 1e-60) and report.agree
    assert np.max(np.abs(report.methods["reverse"].derivative["h.0.attn.c_attn.bias"][4:8])) < 1e-16


@pytest.mark.parametrize("method", ["symbolic", "forward", "reverse"])
@pytest.mark.parametrize("row", rows_in_the_block(), ids=lambda r: f"{r[0][0]}-{r[0][1]}")
def test_every_planted_fault_is_named(row, method, tally):
    (name, slot), line = row
    kind = ("factor", "sign", "drop")[(len(name) + slot) % 3]
    with JUDGED.kept, plant(method, name, kind, slot):
        report = de.compare(block, P, kernels=False)
    assert (report.culprit.method, report.culprit.primitive, report.culprit.slot, report.culprit.line) == (method, name, slot, line), str(report)
    assert {(c.method, c.primitive, c.slot) for c in report.culprits} == {(method, name, slot)}, str(report)
    assert {m for m, r in report.methods.items() if r.verdict != "right"} == {method}, str(report)
    tally["planted faults inside the GPT-2 block, each named rightly"] += 1


@pytest.mark.parametrize("name,kind,slot", [("subtract", "swap", 0), ("divide", "swap", 0), ("matmul", "swap", 0), ("multiply", "lose", 0),
                                            ("multiply", "lose", 1), ("add", "lose", 0), ("exp", "lose", 0)])
def test_graph_faults_are_named(name, kind, slot):
    with plant("graph", name, kind, slot):
        report = de.compare(block, P, kernels=False)
    assert report.culprit.method == "graph" and report.culprit.primitive == name and {c.method for c in report.culprits} == {"graph"}, str(report)
    assert report.methods["forward"].verdict == "right"


def test_the_plant_reaches_the_kernels():
    with plant("reverse", "tanh", "factor"):
        report = de.compare(block, P)
    assert {m: r.verdict for m, r in report.methods.items()} == {"symbolic": "right", "forward": "right", "reverse": "wrong", "reverse (kernels)": "wrong"}
    assert report.culprit.method == "reverse" and report.culprit.primitive == "tanh" and Primitive.registry["tanh"]
    assert de.compare(block, P).agree
