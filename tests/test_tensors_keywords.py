"""Arguments by the names, and at the places, that PyTorch documents, and those of NumPy that it takes as well: the same call here and there."""
import numpy as np
import pytest

import diffeng as de
from beside_torch import both, both_refuse, needs_torch

RNG = np.random.default_rng(0)
X, V, I = RNG.standard_normal((2, 3)).astype(np.float32), RNG.standard_normal(3).astype(np.float32), np.array([0, 1])
N = np.array([1.0, np.nan, 2.0], np.float32)
LOW = RNG.standard_normal((4, 2)) @ RNG.standard_normal((2, 3))                 # of rank 2
CALLS = {
    "two operands": lambda m, F, x, v, i: (m.float_power(x, exponent=2), m.heaviside(x.detach(), values=m.tensor(1.0)), m.add(x1=x, x2=v), m.sub(x, other=v, alpha=2), m.true_divide(x, other=2),
                                           m.fmod(x, other=2), m.rsub(x, 2.0, alpha=3), m.tensordot(a=x, b=x.T, dims=1), m.lerp(x, end=v, weight=0.5)),
    "three operands": lambda m, F, x, v, i: (m.addcmul(x, tensor1=x, tensor2=v, value=2), m.addcdiv(x, value=3, tensor1=v, tensor2=x), m.addmm(x, mat1=x[:, :2], mat2=x),
                                             m.baddbmm(x[None], batch1=x[None, :, :2], batch2=x[None]), x.masked_fill(mask=x > 0, value=2.0), m.where(x > 0, input=x, other=0.0)),
    "one operand": lambda m, F, x, v, i: (m.exp(x=x), m.tanh(a=x), m.sum(input=x, axis=1, keepdims=True), m.mean(x, axis=(0, 1)), m.logsumexp(x, axis=0), m.cumsum(x, axis=1)),
    "sizes": lambda m, F, x, v, i: (m.reshape(x, shape=(3, 2)), x.reshape(shape=(3, -1)), x.view(size=(6,)), v.expand(size=(2, 3)), v.repeat(repeats=(2, 1)), v.tile(dims=(2,)),
                                    m.broadcast_to(v, size=(2, 3)), m.split(x, split_size_or_sections=1), m.split(tensor=x, split_size_or_sections=[1, 2], dim=1)),
    "axes": lambda m, F, x, v, i: (m.flip(x, dims=(0, 1)), x.flip(dims=[1]), m.permute(x, dims=(1, 0)), x.permute(dims=(1, 0)), m.swapaxes(x, axis0=0, axis1=1), x.unsqueeze(axis=0),
                                   m.squeeze(x[:1], axis=0), m.stack([x, x], axis=1), m.concatenate([x, x], axis=1), m.cat([x, x], axis=0)),
    "orders": lambda m, F, x, v, i: (x.max(axis=1), m.sort(x, axis=0), m.median(x, axis=0), m.argsort(x, axis=0), m.quantile(x, q=0.5, axis=0), m.topk(x, k=2, dim=1, largest=False)),
    "parts": lambda m, F, x, v, i: (x.hsplit(sections=3), m.tensor_split(x, indices=(1,), dim=1), m.gather(x, 1, i[None], sparse_grad=False), x.take_along_dim(i[None] - 2, dim=-1)),
    "spread": lambda m, F, x, v, i: (m.var(x, 0, False, True), m.std(x, axis=0, correction=0), m.var_mean(x, 1, True, True), m.std_mean(x, dim=0, correction=0, keepdim=True), x.std(False),
                                     m.var(x, dim=None, correction=None), m.var_mean(x, correction=None), m.std(x, 1, unbiased=False)),
    "norms": lambda m, F, x, v, i: (m.norm(x, dtype=m.float64), m.norm(x, "nuc"), x.norm("nuc", dim=(0, 1), keepdim=True), m.linalg.vector_norm(x, dtype=m.float64),
                                    m.linalg.matrix_norm(x, dtype=m.float64), m.linalg.norm(x, 1, dtype=m.float64)),
    "diff": lambda m, F, x, v, i: (m.diff(v, 1, 0, v[:1]), x.diff(n=2, dim=1, prepend=x, append=x[:, :1]), m.diff(x, dim=0, append=v[None])),
    "index_add": lambda m, F, x, v, i: (v.index_add(0, i, v[:2], alpha=3), v.clone().index_add_(dim=0, index=i, source=v[:2], alpha=-1), x.index_add(1, i, x[:, :2])),
    "isin": lambda m, F, x, v, i: (m.isin(x.detach(), v.detach(), invert=True, assume_unique=False), m.isin(1.0, v.detach()), m.isin(i, 1)),
    "writing": lambda m, F, x, v, i: (m.zeros(7, 2).fill_diagonal_(1.0, wrap=True), m.zeros(3, 3, 3).fill_diagonal_(2.0), m.zeros(3).copy_(v, non_blocking=True), F.celu_(x.clone(), alpha=2.0)),
    "making": lambda m, F, x, v, i: (m.full_like(input=x, fill_value=2), m.zeros_like(input=i), m.tensor(m.promote_types(type1=m.float32, type2=m.int64) == m.float32), m.bernoulli(x.detach() * 0, p=1)),
    "solving": lambda m, F, x, v, i: (m.linalg.lstsq(x.T, v, driver="gelsd")[:3], m.linalg.lstsq(x.T, v[:, None], driver="gels")[:2], m.linalg.lstsq(x, v[:2, None], rcond=1e-3)[0],
                                      m.linalg.vander(v, N=4), m.logdet(input=x @ x.T), m.matrix_power(input=x[:, :2], n=2)),
}


@needs_torch
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", CALLS)
def test_calls_are_pytorchs(name):
    def flat(*args):
        found = CALLS[name](*args)
        return [y for x in found for y in (x if isinstance(x, tuple) else (x,))]
    both(flat, X, V, I, tol=2e-4 if name == "solving" else 2e-5)


@needs_torch
def test_nan_that_is_equal():
    both(lambda m, F, x: (m.isclose(x, x, equal_nan=True), m.isclose(x, x), m.tensor([m.allclose(x, x, equal_nan=True), m.allclose(x, x)])), N)


@needs_torch
@pytest.mark.parametrize("options", [{}, {"rtol": 1e-4}, {"atol": 1e-4, "rtol": 1e-4}, {"rcond": 1e-4}, {"atol": 100.0}])
def test_the_pseudo_inverse_among_matrices_of_its_rank(options):
    """Of matrices without full rank, too, of one rank or several; with derivatives of second order."""
    for array in (LOW, LOW.T.copy(), np.stack([LOW, RNG.standard_normal((4, 3))])):
        outs = []
        for m in de, __import__("torch"):
            a = m.tensor(array, requires_grad=True)
            y = m.linalg.pinv(a, **options)
            g = m.autograd.grad((y * y * y).sum(), [a], create_graph=True)[0]
            outs.append([t.detach().numpy() for t in (y, g, *(m.autograd.grad((g * g).sum(), [a]) if g.requires_grad else ()))])
        for ours, theirs in zip(*outs):
            np.testing.assert_allclose(ours, theirs, rtol=1e-8, atol=1e-8 * abs(theirs).max() + 1e-300)


@needs_torch
def test_ranks():
    low, square = LOW.astype(np.float32), (LOW.T @ LOW).astype(np.float32)
    both(lambda m, F, a, s: (m.linalg.matrix_rank(a.detach(), atol=1e-3), m.linalg.matrix_rank(a.detach(), rtol=0.9), m.linalg.matrix_rank(s.detach(), tol=1e-3, hermitian=True),
                             m.linalg.matrix_rank(m.stack([a, a * 1e-3]).detach(), atol=m.tensor([1e-3, 1.0])), m.linalg.matrix_rank(m.eye(3)), m.linalg.matrix_rank(m.zeros(2, 0, 3)),
                             m.linalg.pinv(s.detach(), atol=1e-3, hermitian=True), m.pinverse(a.detach(), rcond=1e-4), m.linalg.lstsq(a.detach(), a[:, :1].detach(), rcond=1e-4)[0]), low, square, tol=1e-3)


@needs_torch
@pytest.mark.filterwarnings("ignore")
def test_what_is_refused():
    for f in (lambda m, F, x: m.flip(x, dims=(0, 0)), lambda m, F, x: x.permute(dims=(0,)), lambda m, F, x: x.diff(dim=2), lambda m, F, x: m.diff(x[0, 0]), lambda m, F, x: m.diff(x, prepend=x[0]),
              lambda m, F, x: m.linalg.lstsq(x, x, driver="no"), lambda m, F, x: m.linalg.lstsq(x, x[0]), lambda m, F, x: m.linalg.matrix_rank(x.long()), lambda m, F, x: m.norm(x[0], "nuc"),
              lambda m, F, x: m.sum(x, unknown=1), lambda m, F, x: x.max(axes=0)):
        both_refuse(f, X)


def test_without_pytorch():
    x = de.tensor([[1.0, 2.0], [3.0, 5.0]])
    assert de.flip(x, dims=(0,)).tolist() == [[3, 5], [1, 2]] and x.permute(dims=(1, 0)).tolist() == [[1, 3], [2, 5]] and x.max(axis=1).values.tolist() == [2, 5]
    assert de.addcmul(x, tensor1=x, tensor2=x, value=2).tolist() == [[3, 10], [21, 55]] and x.diff(dim=0, prepend=x[:1]).tolist() == [[0, 0], [2, 3]]
    assert -3 <= de.zeros(100).uniform_(**{"from": -3, "to": -2}).min() < de.zeros(100).uniform_(1, to=2).max() < 2 and de.rand_like(x, generator=de.Generator()).shape == (2, 2)
    assert de.randint(5, size=(2,)).shape == de.randint(low=0, high=5, size=(2,)).shape == (2,) and de.linalg.matrix_rank(de.ones(2, 2), atol=3.0) == 0
