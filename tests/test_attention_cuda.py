"""Attention in registers (kernels/cuda/attention.py), in the simulator: values and gradients are those of float64, whatever is between the products."""
import numpy as np
import pytest

import diffeng as de
from diffeng import kernels
from diffeng.kernels import recompute, sizes
from diffeng.kernels.cuda import compile
from diffeng.kernels.cuda.program import CudaProgram
from diffeng.kernels.cuda.simulator import Simulator
from diffeng.llm.block import softmax
from diffeng.recording import Outline
from diffeng.recording import record

EXACT = {"float32": 4e-6, "tf32": 4e-3, "bfloat16": 4e-2}            # relative errors in norm


@pytest.fixture(autouse=True)
def scores_are_large(monkeypatch):
    """So large that they are made again for the adjoint, and taken through in tiles, as those of a thousand positions are."""
    monkeypatch.setattr(sizes, "LARGE", 1 << 8)
    monkeypatch.setattr(recompute, "RATIO", 0.1)


def arrays(*shapes):
    random = np.random.default_rng(0)
    return [random.standard_normal(shape, np.float32) for shape in shapes]


def program_of(f, args, precision="float32"):
    found = record(f, args, Outline())
    return CudaProgram(found.inputs, found.outputs, device=Simulator(), precision=precision)


def names(program):
    return ["_".join(w.name.split("_")[:2]) for w in program._work if hasattr(w, "name") and w.name.startswith("attention")]


def agree(f, args, precision="float32"):
    """The simulator's results are those of float64 on the CPU. The names of the attention's kernels."""
    exact = [a.astype(float) if a.dtype == np.float32 else a for a in args]
    found = record(f, exact, Outline())
    program = program_of(f, args, precision)
    for got, want in zip(program(*args), kernels.Program(found.inputs, found.outputs)(*exact), strict=True):
        assert got.dtype == np.float32 and got.shape == want.shape
        assert np.linalg.norm(got - want) <= EXACT[precision] * np.linalg.norm(want) + 1e-30
    return names(program)


def scores(q, k):
    return q @ np.swapaxes(k, -1, -2) / q.shape[-1] ** 0.5


def plain(q, k, v):
    return np.sin(softmax(scores(q, k)) @ v)


def causal(q, k, v):
    return np.sin(softmax(np.where(np.tri(q.shape[-2], k.shape[-2], dtype=bool), scores(q, k), -1e10)) @ v)


def windowed(q, k, v):
    """Each position sees the ten before it."""
    seen = np.tri(q.shape[-2], k.shape[-2], dtype=bool) & ~np.tri(q.shape[-2], k.shape[-2], -10, dtype=bool)
    return np.sin(softmax(np.where(seen, scores(q, k), -1e10)) @ v)


def capped(q, k, v):
    """Scores softly capped."""
    return np.sin(softmax(3 * np.tanh(scores(q, k) / 3)) @ v)


def biased(q, k, v):
    """A number a row and one a column are added: their adjoints are sums of the scores'."""
    return np.sin(softmax(scores(q, k) + q[..., :, :1] + np.swapaxes(k[..., :, :1], -1, -2)) @ v)


def linear(q, k, v):
    """No softmax: nothing is reduced."""
    return np.sin(np.cos(scores(q, k)) @ v)


def gradients(f):
    return de.grad(lambda *x: np.sum(f(*x)), argnums=(0, 1, 2))


def both(f):
    return lambda *x: (f(*x), *gradients(f)(*x))


@pytest.mark.parametrize("f, q, k, precision", [
    (plain, (2, 1, 20, 32), (2, 1, 69, 32), "float32"), *[(causal, (1, 70, 16), (1, 70, 16), p) for p in EXACT], (windowed, (1, 45, 16), (1, 45, 16), "bfloat16"),
    (capped, (1, 33, 16), (1, 40, 16), "tf32"), (linear, (1, 17, 48), (1, 96, 48), "bfloat16"), (plain, (1, 17, 64), (1, 130, 64), "tf32")])
def test_values_and_gradients(f, q, k, precision):
    """Rows and columns that fill no tile, batches of one and two axes, all that goes on between the products."""
    assert agree(both(f), arrays(q, k, k), precision) == ["attention_rows", "attention_rows", "attention_columns"]


def test_forward_alone_is_one_kernel():
    assert agree(causal, arrays(*[(1, 70, 32)] * 3)) == ["attention_rows"]


def test_heads_lie_beside_each_other():
    """Queries, keys and values of all heads as they come out of one product: strides, no copies."""
    def f(x):
        q, k, v = (np.swapaxes(part.reshape(2, 40, 2, 16), 1, 2) for part in np.split(x, 3, axis=-1))
        return np.sum(causal(q, k, v))
    assert agree(de.grad(f), arrays((2, 40, 96))) == ["attention_rows", "attention_rows", "attention_columns"]


def test_dropped_shares():
    def f(q, k, v):
        return np.sum(np.sin(de.random.dropout(softmax(scores(q, k)), 0.3, key=1, counter=2) @ v))
    found = agree(lambda *x: de.grad(f, argnums=(0, 1, 2))(*x), arrays(*[(1, 40, 16)] * 3))
    assert "attention_columns" in found


def test_masked_columns_are_not_computed():
    """Under a causal mask no block computes tiles that it does not see; those that it sees as a whole ask no mask."""
    program = program_of(gradients(causal), arrays(*[(1, 256, 16)] * 3))
    for w in program._work:
        if getattr(w, "name", "").startswith("attention"):
            table = next(x[0].array for x in w.words if type(x) is tuple and x[0].kind == "constant" and x[0].dtype == np.int64 and x[0].array.ndim == 2)
            part, first, stop, whole, end = table.T
            assert np.all(np.diff(stop - first) <= 0) and sorted(part) == list(range(4))
            assert sorted(stop - first) == [4, 8, 12, 16] and sorted(end - whole) == [0, 4, 8, 12]


@pytest.mark.parametrize("change", ["wide", "odd", "float64", "returned", "biased"])
def test_what_does_not_fit_is_computed_all_the_same(change):
    d = {"wide": 80, "odd": 15}.get(change, 16)
    args = arrays(*[(2, 2 * d + 5, d)] * 3)
    f = (lambda q, k, v: (softmax(scores(q, k)), plain(q, k, v))) if change == "returned" else gradients(biased) if change == "biased" else plain
    if change == "float64":
        args = [a.astype(float) for a in args]
        found = program_of(f, args)
        np.testing.assert_allclose(found(*args)[0], f(*args), rtol=1e-12)
        assert names(found) == []
    else:
        assert agree(f, args) == [] or change == "biased"


def test_kernels_compile():
    """For every processor; test_cuda.py compiles those of float32 and bfloat16 at the width of GPT-2's heads."""
    launches = [w for w in program_of(gradients(causal), arrays(*[(1, 128, 32)] * 3), "tf32")._work if getattr(w, "name", "").startswith("attention")]
    assert len(launches) == 3
    for w in launches:
        for processor in compile.PROCESSORS:
            text = compile.ptx(w, processor).decode()
            assert "mma.sync" in text and "cp.async" in text and "__local_depot" not in text and f".minnctapersm {w.resident // w.threads}" in text
