"""simplify: the same numbers from fewer nodes. Every rule of the tables, on values where identities usually break."""
import numpy as np
import pytest
import scipy.special
from numpy.lib.stride_tricks import sliding_window_view

import diffeng as de
from diffeng.kernels import Program
from diffeng.nodes import INPUT, Node, Tracing, reachable
from diffeng.recording import record
from diffeng.contractions import CONTRACTIONS
from diffeng.simplify import IDENTITIES, simplify
from diffeng.vocabulary import elementwise as e, indexing, reductions, shaping

SPECIAL = np.array([0.0, -0.0, 1.0, -1.0, np.inf, -np.inf, np.nan, 5e-324, -5e-324, 3e-308, 1.7e308, -1.7e308, 0.1, 3.0, -7.5, 2.0 ** -1060])


def numbers(shape, dtype=np.float64, seed=0, special=True):
    x = np.random.default_rng(seed).normal(size=shape)
    if special and x.size:
        places = np.random.default_rng(seed + 1).random(shape) < 0.5
        x = np.where(places, np.random.default_rng(seed + 2).choice(SPECIAL, shape), x)
    with np.errstate(over="ignore"):
        return x.astype(dtype)


def evaluate(inputs, outputs, leaves):
    env = {id(n): x for n, x in zip(inputs, leaves)}
    with np.errstate(all="ignore"):
        for n in reachable(outputs):
            if id(n) not in env:
                env[id(n)] = n.primitive(*[env[id(p)] if isinstance(p, Node) else p for p in n.operands], **n.params)
                assert np.shape(env[id(n)]) == n.shape and env[id(n)].dtype == n.dtype, n
    return [env[id(o)] if isinstance(o, Node) else o for o in outputs]


def both(fun, *leaves):
    """(names of what is left, values before, values after) of a function on symbols."""
    tracing = Tracing()
    inputs = [tracing.input(None, f"x{k}", x.shape, x.dtype) for k, x in enumerate(leaves)]
    with np.errstate(all="ignore"):
        out = fun(*inputs)
    outputs = [o.node for o in (out if isinstance(out, (tuple, list)) else [out])]
    nodes = [i.node for i in inputs]
    found = simplify(outputs)
    assert [(o.shape, o.dtype) for o in found] == [(o.shape, o.dtype) for o in outputs]
    assert {n for n in reachable(found) if n.primitive is INPUT} <= set(nodes)
    names = [n.primitive.name for n in reachable(found) if n.primitive is not INPUT]
    return names, evaluate(nodes, outputs, leaves), evaluate(nodes, found, leaves)


def identical(a, b):
    """Equal bits, but for which NaN a NaN is."""
    return a.dtype == b.dtype and a.shape == b.shape and bool(np.all((np.isnan(a) & np.isnan(b)) | (a == b) & (np.signbit(a) == np.signbit(b))))


full = np.s_[:]
EXACT = [
    # ---- (function of arrays of shape (4, 6), what is left)
    ("twice",           lambda x, y: np.sin(x) * np.sin(x), "sin square"),
    ("commuted",        lambda x, y: x * y - y * x, "multiply subtract"),
    ("2 is 2.0",        lambda x, y: (2 * x) / (2.0 * x) , "multiply divide"),
    ("0 is not -0",     lambda x, y: np.copysign(1.0, 1) * (x * 0.0) / (x * -0.0), "multiply multiply divide"),
    ("double negation", lambda x, y: -(-x) * y, "multiply"),
    ("x + -y",          lambda x, y: x + -y, "subtract"),
    ("-x + y",          lambda x, y: -x + y, "subtract"),
    ("x - -y",          lambda x, y: x - -y, "add"),
    ("-x -y",           lambda x, y: (-x) * (-y), "multiply"),
    ("-x y out",        lambda x, y: x + (-x) * y, "multiply subtract"),
    ("x / -y out",      lambda x, y: x - x / -y, "divide add"),
    ("-x c",            lambda x, y: (-x) * 3.0, "multiply"),
    ("-(x c)",          lambda x, y: -(x * 3), "multiply"),
    ("-(0 x)",          lambda x, y: -(x * 0), "multiply"),
    ("-(c / x)",        lambda x, y: -(3 / x), "divide"),
    ("units",           lambda x, y: (x * 1.0 / 1 - 0.0) ** 1 + -0.0, ""),
    ("x + 0 stays",     lambda x, y: x + 0.0, "add"),
    ("x * -1",          lambda x, y: x * -1.0 + y, "subtract"),
    ("x / 4 stays",     lambda x, y: x / 4, "divide"),
    ("x / 3 stays",     lambda x, y: x / 3, "divide"),
    ("x / 2**40 stays", lambda x, y: x / 2.0 ** 40, "divide"),
    ("2 (2 x)",         lambda x, y: 2 * (x * 2.0), "multiply"),
    ("half of half",    lambda x, y: 0.5 * (x * 0.5), "multiply multiply"),
    ("4 x / 4",         lambda x, y: (4 * x) * 0.25, "multiply multiply"),
    ("0.1 (0.1 x)",     lambda x, y: 0.1 * (x * 0.1), "multiply multiply"),
    ("100 (2 x)",       lambda x, y: 100.0 * (x * 2.0), "multiply"),
    ("100 (4 x) stays", lambda x, y: 100.0 * (x * 4.0), "multiply multiply"),
    ("2 (100 x)",       lambda x, y: 2.0 * (x * 100.0), "multiply multiply"),
    ("same values",     lambda x, y: np.copy(e.stop_gradient(x)).astype(float), ""),
    ("where twice",     lambda x, y: np.where(x > 0, np.where(x > 0, y, 1.0), 0), "greater where"),
    ("where else",      lambda x, y: np.where(x > 0, 0, np.where(x > 0, 1.0, y)), "greater where"),
    ("where of another", lambda x, y: np.where(x > 0, np.where(y > 0, y, 1.0), 0), "greater greater where where"),
    ("where the sign",  lambda x, y: np.where(np.signbit(x), -x, x), "absolute"),
    ("where its sign",  lambda x, y: np.where(np.signbit(y), -x, x), "signbit negative where"),
    ("where the same",  lambda x, y: np.where(x > 0, y, y), ""),
    ("reshapes",        lambda x, y: np.reshape(np.reshape(np.reshape(x, (24,)), (2, 12)), (4, 6)), ""),
    ("reshape twice",   lambda x, y: np.reshape(np.reshape(x, (24,)), (2, 12)), "reshape"),
    ("transposes",      lambda x, y: np.transpose(np.transpose(np.reshape(x, (2, 2, 6)), (1, 2, 0)), (2, 0, 1)), "reshape"),
    ("transpose twice", lambda x, y: np.transpose(np.transpose(np.reshape(x, (2, 2, 6)), (1, 2, 0)), (1, 0, 2)), "reshape transpose"),
    ("in order",        lambda x, y: np.transpose(x, (0, 1)), ""),
    ("spread of spread", lambda x, y: np.broadcast_to(np.broadcast_to(x, (1, 4, 6)), (3, 4, 6)), "broadcast_to"),
    ("spread in a sum", lambda x, y: x + np.broadcast_to(y[:1], (4, 6)), "getitem add"),
    ("spread is last",  lambda x, y: -np.exp(np.broadcast_to(x[0], (4, 6))), "getitem exp negative broadcast_to"),
    ("spread of both",  lambda x, y: np.broadcast_to(x[0], (4, 6)) * np.broadcast_to(y[0], (4, 6)), "getitem getitem multiply broadcast_to"),
    ("ones",            lambda x, y: x * np.broadcast_to(np.float64(1.0), (4, 6)), ""),
    ("ones, spread",    lambda x, y: x[0] * np.broadcast_to(np.float64(1.0), (4, 6)), "getitem broadcast_to"),
    ("minus through views", lambda x, y: np.reshape(x, (24,)) + np.reshape(np.transpose(-y), (24,)), "reshape transpose reshape subtract"),
    ("all of it",       lambda x, y: x[full, full][...], ""),
    ("parts",           lambda x, y: x[1:, ::2][1:3, 1], "getitem"),
    ("parts backwards", lambda x, y: x[::-1, 4:0:-1][::2, ::-1], "getitem"),
    ("rows of a part",  lambda x, y: x[2][::-1][..., 1:], "getitem"),
    ("new axes stay",   lambda x, y: x[:, None][1:], "getitem getitem"),
    ("put and read",    lambda x, y: indexing.getitem(indexing.scatter(x, index=np.s_[1:5, ::2], shape=(6, 12)), index=np.s_[1:5, ::2]), ""),
    ("put, read aside", lambda x, y: indexing.getitem(indexing.scatter(x, index=np.s_[1:5, ::2], shape=(6, 12)), index=np.s_[1:5, 1::2]), "scatter getitem"),
    ("zeros around it", lambda x, y: shaping.pad(x, widths=((1, 0), (0, 2)), value=0), "scatter"),
    ("ones around it",  lambda x, y: shaping.pad(x, widths=((1, 0), (0, 2)), value=1), "pad"),
    ("-0 around it",    lambda x, y: shaping.pad(x, widths=((1, 0), (0, 2)), value=-0.0), "pad"),
    ("written, read",   lambda x, y: indexing.getitem(indexing.setitem(x, y[1:3], index=np.s_[2:4,]), index=np.s_[2:4,]), "getitem"),
    ("written elsewhere", lambda x, y: indexing.getitem(indexing.setitem(indexing.setitem(x, y[3], index=(3,)), y[1:3], index=np.s_[-2:,]), index=(1,)), "getitem"),
    ("written partly",  lambda x, y: indexing.getitem(indexing.setitem(x, y[1:3], index=np.s_[2:4,]), index=np.s_[1:3,]), "getitem setitem getitem"),
    ("between",         lambda x, y: indexing.getitem(indexing.setitem(indexing.setitem(x, 1.0, index=(0,)), 2.0, index=(3,)), index=np.s_[1:3,]), "getitem"),
    ("a spread value",  lambda x, y: indexing.getitem(indexing.setitem(x, 2.0, index=np.s_[2:4,]), index=np.s_[2:4,]), "setitem getitem"),
    ("put everywhere",  lambda x, y: indexing.scatter(x, index=np.s_[:, :], shape=(4, 6)), ""),
    ("new axes again",  lambda x, y: indexing.scatter(np.reshape(-x, (4, 1, 6)), index=np.s_[:, None], shape=(4, 6)) * y, "multiply negative"),
    ("joined",          lambda x, y: np.concatenate([np.concatenate([x, y]), x]), "concatenate"),
    ("joined otherwise", lambda x, y: np.concatenate([np.concatenate([x, x[:, :1]], axis=1), np.concatenate([y, y[:, :1]], axis=1)]),
     "getitem concatenate getitem concatenate concatenate"),
    ("numbers",         lambda x, y: e.exp(np.sum(np.broadcast_to(np.float64(2.0), (3,)), keepdims=False)) * x, "multiply"),
]


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("fun, left", [pytest.param(f, n, id=i) for i, f, n in EXACT])
def test_identities_keep_every_bit(fun, left, dtype):
    for seed in range(3):
        names, before, after = both(fun, numbers((4, 6), dtype, seed), numbers((4, 6), dtype, seed + 10))
        if dtype is np.float64:
            assert names == left.split()
        assert all(map(identical, before, after))


def test_wider_formats_lose_nothing():
    x = numbers((4, 6), np.float32)
    names, before, after = both(lambda x: (x.astype(np.float64).astype(np.float32), x.astype(np.float64).astype(np.float32) * 2), x)
    assert names == ["multiply"] and all(map(identical, before, after))
    names, before, after = both(lambda x: x.astype(np.float32).astype(np.float64), numbers((4, 6)))
    assert names == ["astype", "astype"] and all(map(identical, before, after))


@pytest.mark.parametrize("fun", [
    lambda i: i * 1.0, lambda i: -(-i) + -i, lambda i: i / 1, lambda i: i / 2, lambda i: i - 0.0, lambda i: i ** 1, lambda i: i * i, lambda i: (i * 2) * 2,
    lambda i: i.astype(np.float32).astype(np.int64), lambda i: i.astype(np.int8).astype(np.int64), lambda i: np.sum(i, axis=0), lambda i: (-i) * 2.5,
    lambda i: np.sum(np.broadcast_to(i, (3, 4)), axis=0), lambda i: (i > 1) * 1, lambda i: np.where(i > 1, i, 0.5) * 1], ids=range(15))
def test_integers_and_truth_values(fun):
    """What is right for floats need not be for these: types decide."""
    for i in (np.array([0, 1, 2, -3]), np.array([0, 1, 255, 3], np.uint8), np.array([[7, 2 ** 62, -2 ** 62, 1]])):
        _, before, after = both(fun, i)
        assert all(a.dtype == b.dtype and np.array_equal(a, b) for a, b in zip(before, after))


def test_a_captured_array_is_no_number():
    """Whoever holds an array may write into it; a spread scalar that nobody holds is one."""
    one, x = np.ones(()), numbers((3,))
    tracing = Tracing()
    s = tracing.input(None, "x", (3,), np.float64)
    outputs = simplify([(s * one).node, (s * np.broadcast_to(one, (3,))).node])
    assert [len(o.operands) for o in outputs] == [2, 2]
    one[...] = 5.0
    assert all(identical(v, 5 * x) for v in evaluate([s.node], outputs, [x]))


def test_parameters_are_part_of_the_key():
    mask, other = np.array([True, False, True]), np.array([True, True, False])
    names, before, after = both(lambda x: x[mask] + x[other] - x[mask] - x[np.array([0, 1])] * x[np.array([0, 2])], numbers((3,), special=False))
    assert names.count("getitem") == 4 and all(map(identical, before, after))
    names, _, _ = both(lambda x: np.sum(x, axis=0) + np.sum(x, axis=1) + np.sum(x, axis=0) + np.var(x, axis=1, ddof=1) + np.var(x, axis=1), np.ones((3, 3)))
    assert names.count("sum") == 2 and names.count("var") == 2


# ---- better, or in another order -------------------------------------------------------------------------------------------------------

ROUNDED = [
    ("square",          lambda x, y: x ** 2 * y, "square multiply"),
    ("sum of one",      lambda x, y: np.sum(np.reshape(x, (4, 1, 6)), axis=1) + np.mean(np.reshape(y, (4, 6, 1)), axis=2), "add"),
    ("sum of equal",    lambda x, y: np.sum(np.broadcast_to(x[:, :1], (4, 7)), axis=1, keepdims=True), "getitem multiply"),
    ("and of others",   lambda x, y: np.sum(np.broadcast_to(x, (3, 4, 6)), axis=(0, 2)), "sum multiply reshape"),
    ("and of some",     lambda x, y: np.sum(np.broadcast_to(x[:1], (3, 4, 6)), axis=0), "getitem multiply broadcast_to"),
    ("mean of equal",   lambda x, y: np.mean(np.broadcast_to(x, (3, 4, 6)), axis=0), ""),
    ("sum of sum",      lambda x, y: np.sum(np.sum(np.reshape(x, (2, 2, 6)), axis=1), axis=1), "reshape sum"),
    ("sum of kept sum", lambda x, y: np.sum(np.sum(np.reshape(x, (2, 2, 6)), axis=1, keepdims=True), axis=(0, 1), keepdims=True), "reshape sum reshape"),
    ("both are needed", lambda x, y: np.sum(s := np.sum(x, axis=0)) + s, "sum sum add"),
    ("batch",           lambda x, y: np.sum(np.reshape(x, (2, 2, 6)) @ np.reshape(y, (2, 6, 2)), axis=0), "reshape reshape einsum"),
    ("rows first",      lambda x, y: np.sum(np.reshape(x, (2, 2, 6)) @ np.reshape(y, (2, 6, 2)), axis=1), "reshape reshape sum einsum"),
    ("columns first",   lambda x, y: np.sum(x @ np.transpose(y), axis=1), "transpose sum einsum"),
    ("both first",      lambda x, y: np.sum(x @ np.transpose(y)), "transpose sum sum einsum"),
    ("the sign last",   lambda x, y: np.sum(-(x @ np.transpose(y)), axis=0, keepdims=True), "transpose sum einsum reshape negative"),
    ("a diagonal",      lambda x, y: np.sum(np.einsum("ii,ij->ij", x[:, :4], y), axis=1), None),
    ("made in order",   lambda x, y: np.transpose(np.sin(x @ np.transpose(y)) * y[:, 0]), "transpose getitem einsum sin reshape multiply"),
    ("no result",       lambda x, y: np.transpose(np.sin(x @ np.transpose(y)) * y[:, 0]) @ x, "transpose matmul sin getitem multiply transpose matmul"),
    ("not of two",      lambda x, y: np.transpose(np.sin(x @ np.transpose(y)) * x[:, :4]), "transpose matmul sin getitem multiply transpose"),
    ("made elsewhere",  lambda x, y: np.transpose(p := np.sin(x @ np.transpose(y)) * y[:, 0]) + p, None),
    ("read in order",   lambda x, y: x @ (2 * np.transpose(y) * x[1][:, None]) + 1, "getitem getitem multiply reshape multiply transpose matmul add"),
    ("batch in order",  lambda x, y: np.reshape(x, (2, 2, 6)) @ np.exp(np.transpose(np.reshape(y, (2, 2, 6)), (0, 2, 1))), "reshape reshape exp transpose matmul"),
    ("one column",      lambda x, y: (x @ y[0][:, None])[:, 0] + (x @ y[1][:, None])[..., 0], "getitem getitem reshape einsum getitem getitem reshape einsum add"),
    ("of directions",   lambda x, y: (x @ y[:, :, None])[..., 0], "getitem reshape einsum"),
    ("read elsewhere",  lambda x, y: np.sum(p := x @ np.transpose(y), axis=0) + p, "transpose matmul sum add"),
    ("unequal batch",   lambda x, y: np.sum(np.reshape(x, (2, 2, 6)) @ np.reshape(y[:2], (1, 6, 2)), axis=0), "reshape getitem reshape matmul sum"),
    ("outer",           lambda x, y: np.sum(np.expand_dims(x, 2) * np.expand_dims(y, 1), axis=0), "einsum"),
    ("outer, kept",     lambda x, y: np.sum(np.expand_dims(x, 2) * np.expand_dims(y, 1), axis=0, keepdims=True), None),
    ("not outer",       lambda x, y: np.sum(x * y, axis=0), "multiply sum"),
    ("of one factor",   lambda x, y: np.sum(np.expand_dims(x, 2) * y[0], axis=1), None),
    ("split's adjoint", lambda x, y: indexing.scatter(y, index=np.s_[:, 6:12], shape=(4, 18)) + indexing.scatter(x, index=np.s_[:, :6], shape=(4, 18))
     + indexing.scatter(y, index=np.s_[..., 12:], shape=(4, 18)), "concatenate"),
    ("with a gap",      lambda x, y: indexing.scatter(y, index=np.s_[:, 7:13], shape=(4, 18)) + indexing.scatter(x, index=np.s_[:, :6], shape=(4, 18)),
     "scatter scatter add"),
    ("overlapping",     lambda x, y: indexing.scatter(y, index=np.s_[:, 5:11], shape=(4, 18)) + indexing.scatter(x, index=np.s_[:, :6], shape=(4, 18)),
     "scatter scatter add"),
    ("part of a place", lambda x, y: indexing.scatter(y, index=np.s_[1:5, 6:], shape=(6, 12)) + indexing.scatter(x, index=np.s_[1:5, :6], shape=(6, 12)),
     "concatenate scatter"),
]


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("fun, left", [pytest.param(f, n, id=i) for i, f, n in ROUNDED])
def test_sums_in_another_order(fun, left, dtype):
    for seed in range(3):
        names, before, after = both(fun, numbers((4, 6), dtype, seed, False), numbers((4, 6), dtype, seed + 10, False))
        assert left is None or names == left.split()
        for a, b in zip(before, after):
            assert a.dtype == b.dtype and a.shape == b.shape
            np.testing.assert_allclose(a, b, rtol=1e-12 if dtype is np.float64 else 1e-4, atol=1e-13 if dtype is np.float64 else 1e-5)


def test_error_functions_keep_their_digits():
    u = np.concatenate([np.linspace(-30, 30, 2001), SPECIAL])
    names, before, after = both(lambda u: ((1 + e.erf(u)) * u, (e.erf(u) + 1.0) * u, (1.0 - e.erf(u)) * u, 2 + e.erf(u)), u)
    assert names.count("erfc") == 2 and names.count("erf") == 1
    with np.errstate(all="ignore"):
        assert identical(after[0], scipy.special.erfc(-u) * u) and identical(after[1], after[0]) and identical(after[2], scipy.special.erfc(u) * u)
    for a, b in zip(before, after):
        np.testing.assert_allclose(a, b, atol=1e-14)
    names, _, _ = both(lambda u: 1.0 + e.erf(u), np.ones(3, np.float32))
    assert names == ["negative", "erfc"]


# ---- whole functions ---------------------------------------------------------------------------------------------------------------------

def attention(p):
    from diffeng.llm.block import block
    return np.sum(block(p, "", p["x"], 2) ** 2)


def network(p):
    hidden = np.tanh(p["x"] @ p["a"] + p["b"])
    return np.mean(np.square(np.concatenate([hidden, p["x"]], axis=1)[:, 1:][:, ::2] - p["b"][:8]) / 4) + np.sum(hidden, axis=0) @ np.ones(8)


def parameters(name, dtype):
    random = np.random.default_rng(3)
    if name == "attention":
        from diffeng.llm.block import Block
        from diffeng.llm.config import GPT2Config
        return {**Block(GPT2Config.named("tiny"), dtype=dtype).parameters, "x": random.normal(size=(2, 16, 32)).astype(dtype)}
    return {"x": random.normal(size=(5, 8)), "a": random.normal(size=(8, 8)), "b": random.normal(size=8)}


@pytest.mark.parametrize("fun, dtype, most", [(attention, np.float32, 0.95), (attention, np.float64, 0.95), (network, np.float64, 0.95)])
def test_gradients_through_programs(fun, dtype, most):
    """Recorded as jit does: fewer nodes, the same numbers, compiled or not."""
    holder = record(de.value_and_grad(fun), [parameters(fun.__name__, dtype)])
    leaves = [np.asarray(n.value) for n in holder.inputs]
    found = simplify(holder.outputs)
    assert len(reachable(found)) < most * len(reachable(holder.outputs))
    again = simplify(found)
    assert len(reachable(again)) == len(reachable(found))
    want = evaluate(holder.inputs, holder.outputs, leaves)
    for values in (evaluate(holder.inputs, found, leaves), Program(holder.inputs, found)(*leaves)):
        for a, b in zip(want, values):
            np.testing.assert_allclose(a, b, rtol=1e-10 if dtype is np.float64 else 1e-3, atol=1e-13 if dtype is np.float64 else 1e-5)


def test_float32_stays_float32_in_a_square():
    holder = record(de.grad(lambda x: np.sum(x ** 2 + x ** 3.0)), [np.ones(3, np.float32)])
    assert {n.dtype for n in reachable(holder.outputs)} == {np.dtype(np.float32)}


def test_order_and_lines_stay():
    """Nodes come in the order of the recording, each with the user's line."""
    def fun(x):
        a = np.sin(x) * 1.0
        b = np.cos(a) + -a
        return np.sum(b * np.exp(-a))
    holder = record(de.grad(fun), [np.ones(3)])
    found = simplify(holder.outputs)
    names = [n.primitive.name for n in reachable(found)]
    assert names.index("cos") < names.index("exp") < len(names) - 1
    lines = [{n.primitive.name: n.frames for n in reachable(nodes) if n.frames} for nodes in (holder.outputs, found)]
    assert lines[1]["cos"] == lines[0]["cos"] and lines[1]["subtract"] == lines[0]["add"]


def test_constants_pass_and_results_may_become_constant():
    tracing = Tracing()
    x = tracing.input(None, "x", (3,), np.float64)
    two = tracing.apply(shaping.broadcast_to, (np.float64(2.0),), {"shape": (3,)})
    total = reductions.sum(two, axis=(0,), keepdims=False)
    outputs = simplify([x.node, 1.5, total.node, (e.exp(total) * 1.0).node, x.node])
    assert outputs[0] is x.node and outputs[4] is x.node and outputs[1] == 1.5
    assert [o.primitive.name for o in outputs[2:4]] == ["constant", "constant"]
    values = Program([x.node], outputs)(np.zeros(3))
    assert float(values[2]) == 6.0 and float(values[3]) == np.exp(6.0)


def test_long_chains():
    """No recursion, and time linear in the length."""
    tracing = Tracing()
    x = y = tracing.input(None, "x", (), np.float64)
    for _ in range(5_000):
        y = -(-y) * 1.0 + x
    names = [n.primitive.name for n in reachable(simplify([y.node]))]
    assert names == ["input"] + ["add"] * 5_000


def test_every_rule_is_listed_with_its_reason():
    from diffeng.nodes import Primitive
    for name, reason, rule, *_ in (*IDENTITIES, *CONTRACTIONS):
        assert name in Primitive.registry and reason and callable(rule)


def test_a_product_read_in_another_order_is_written_in_it():
    tracing = Tracing()
    a, b = (tracing.input(None, name, shape, np.float64) for name, shape in (("a", (2, 3, 4)), ("b", (2, 4, 5))))
    outputs = simplify([np.transpose(a @ b, (1, 0, 2)).node])
    assert [n.primitive.name for n in reachable(outputs)] == ["input", "input", "einsum"]
    x, y = np.arange(24.0).reshape(2, 3, 4), np.arange(40.0).reshape(2, 4, 5)
    np.testing.assert_array_equal(Program([a.node, b.node], outputs)(x, y)[0], np.transpose(x @ y, (1, 0, 2)))
    product = a @ b
    twice = simplify([np.transpose(product, (1, 0, 2)).node, product.node])
    assert [n.primitive.name for n in reachable(twice)].count("matmul") == 1           # who else reads it keeps it


@pytest.mark.parametrize("function, shape", [
    (lambda A, u: A @ u[..., None], (4, 4, 1)), (lambda A, u: u[:, None] @ A, (4, 1, 4)), (lambda A, u: np.einsum("ij,kj->ik", A, u), (4, 4)),
    (lambda A, u: np.einsum("ji,jk->ik", A, u), (4, 4)), (lambda A, u: np.tensordot(u, A, (1, 1)), (4, 4))])
def test_a_product_with_directions_is_a_transpose(function, shape):
    """Only where nobody else can write into the unit matrix."""
    def recorded(made):
        A = Tracing().input(None, "A", (4, 4), np.float64)
        outputs = simplify([function(A, made()).node])
        return [n.primitive.name for n in reachable(outputs)], Program([A.node], outputs)(a)[0]
    a, kept = np.random.default_rng(0).normal(size=(4, 4)), np.eye(4)

    def fixed():
        u = np.eye(4)
        u.flags.writeable = False
        return u.reshape(4, 4)
    names, value = recorded(fixed)
    assert not {"matmul", "einsum", "tensordot"} & set(names)
    np.testing.assert_array_equal(value, function(a, np.eye(4)))
    names, value = recorded(lambda: kept)
    assert {"matmul", "einsum", "tensordot"} & set(names)
    np.testing.assert_array_equal(value, function(a, kept))


def test_parts_put_back_where_they_were_are_the_whole():
    x = Tracing().input(None, "x", (6,), np.float64)
    parts = [indexing.scatter(x[i], index=(i,), shape=(6,)) for i in (slice(0, 1), slice(1, 5), slice(5, 6))]
    assert simplify([(parts[2] + parts[1] + parts[0]).node]) == [x.node]
    assert [n.primitive.name for n in reachable(simplify([(parts[1] + parts[0]).node]))] == ["input", "getitem", "scatter"]


def test_a_part_of_what_is_negated_is_subtracted():
    x = Tracing().input(None, "x", (6,), np.float64)
    outputs = simplify([(x + indexing.scatter(-x[1:], index=(slice(0, 5),), shape=(6,))).node])
    assert [n.primitive.name for n in reachable(outputs)] == ["input", "getitem", "scatter", "subtract"]
    value = np.arange(6.0)
    np.testing.assert_array_equal(Program([x.node], outputs)(value)[0], value - [1, 2, 3, 4, 5, 0])


def test_equal_parameters_are_one_object_and_unequal_zeros_are_not():
    tracing = Tracing()
    x = tracing.input(None, "x", (6,), np.float64)
    parts = [x[1:] for _ in range(3)] + [(x * 2.0)[1:]]
    assert len({id(p.node.params) for p in parts}) == 1
    padded = [np.pad(x, 1, constant_values=zero) for zero in (0.0, -0.0, 0.0)]
    assert padded[0].node.params is padded[2].node.params
    value = Program([x.node], simplify([p.node for p in padded]))(np.ones(6))
    assert [np.signbit(v[0]) for v in value] == [False, True, False]


def test_the_order_of_nodes_is_handed_on():
    x = Tracing().input(None, "x", (6,), np.float64)
    outputs = simplify([(np.sin(x) * 1.0 + x).node, 2.0])
    assert reachable(outputs) is reachable(outputs) and reachable(outputs) == reachable([*outputs])


PLACES = np.array([[0, 3, 2], [1, 0, 3], [3, 3, 1]])


@pytest.mark.parametrize("fun, whole", [
    (lambda x, y: sliding_window_view(x, 3, axis=1)[::2, 1:], (4, 4, 3)),
    (lambda x, y: x[1:, PLACES][::-2, 1:, ::2], (3, 3, 3)),
    (lambda x, y: np.expand_dims(x, 0)[:, PLACES, PLACES[:1]][:, 1:, ::2], (1, 3, 3)),
    (lambda x, y: indexing.scatter(indexing.scatter(y[:, 1:3], index=np.s_[:, ::2], shape=(4, 3)), PLACES[:, 0], index=(full, indexing.Slot(0)), shape=(4, 9)), (4, 3)),
])
def test_a_part_of_what_arrays_name_is_read_alone(fun, whole):
    for leaves in (numbers((4, 6)), numbers((4, 6), seed=10)), (numbers((4, 6), np.float32), numbers((4, 6), np.float32, 10)):
        tracing = Tracing()
        inputs = [tracing.input(None, name, x.shape, x.dtype) for name, x in zip("xy", leaves)]
        nodes, before = [x.node for x in inputs], [fun(*inputs).node]
        after = simplify(before)
        assert whole in [n.shape for n in reachable(before)] and whole not in [n.shape for n in reachable(after)]
        assert all(map(identical, evaluate(nodes, before, leaves), evaluate(nodes, after, leaves)))


def test_what_others_read_too_stays_one_gather():
    names, before, after = both(lambda x: np.sum((w := x[:, PLACES])[::2], axis=0) + np.sum(w, axis=0), numbers((4, 6)))
    assert names == ["getitem", "getitem", "sum", "sum", "add"] and all(map(identical, before, after))
