"""Functions of tensors beyond the core, as PyTorch has them where it is installed: values, gradients, dtypes, shapes and kinds of errors."""
import numpy as np
import pytest

import diffeng as de
from beside_torch import both, both_refuse, needs_torch

RNG = np.random.default_rng(0)
A, B, V, W = (RNG.standard_normal(s).astype(np.float32) for s in ((3, 4), (3, 4), (5,), (5,)))
T = np.array([[1.0, 3.0, 3.0, 2.0], [2.0, 2.0, -1.0, 2.0]], np.float32)
N = np.array([[1.0, np.nan, 3.0, 0.5], [np.nan, np.nan, np.nan, np.nan], [2.0, 5.0, -1.0, 4.0]], np.float32)
C = RNG.standard_normal((2, 3, 4)).astype(np.float32)
I, J = np.array([0, 2, 2, 1, 0]), np.array([[0, 1, 0, 2], [2, 1, 1, 0]])
CASES = {
    "cummax": (lambda m, F, x: m.cummax(x, 1), T), "cummin": (lambda m, F, x: x.cummin(dim=0), T), "cummax of nan": (lambda m, F, x: m.cummax(x, 1), N),
    "logcumsumexp": (lambda m, F, x: m.logcumsumexp(x * 50, -1), A), "cumsum dtype": (lambda m, F, x: x.cumsum(0, dtype=m.float64), A),
    "quantile": (lambda m, F, x: m.quantile(x, 0.3), A), "quantiles": (lambda m, F, x: x.quantile(m.tensor([0.0, 0.25, 0.9, 1.0]), dim=1, keepdim=True), A),
    "quantile dim": (lambda m, F, x: x.quantile(0.6, dim=0), A), "quantile nan": (lambda m, F, x: m.quantile(x.detach(), 0.5, dim=1), N),
    "nanquantile": (lambda m, F, x: m.nanquantile(x.detach(), m.tensor([0.2, 0.5]), dim=1), N), "nanmedian": (lambda m, F, x: x.detach().nanmedian(), N),
    "nanmedian dim": (lambda m, F, x: x[::2].nanmedian(1), N), "median nan": (lambda m, F, x: m.median(x.detach()), N), "median of rows": (lambda m, F, x: m.median(x, 1, True), A),
    "median nan dim": (lambda m, F, x: m.median(x.detach(), 1).values, N),
    "nansum": (lambda m, F, x: m.nansum(x, 1), N), "nanmean": (lambda m, F, x: x[::2].nanmean(dim=1, keepdim=True), N), "nanmean of all": (lambda m, F, x: m.nanmean(x), N),
    "kthvalue": (lambda m, F, x: m.kthvalue(x, 2, 1), A), "mode": (lambda m, F, x: m.mode(x, 1), T), "aminmax": (lambda m, F, x: m.aminmax(x, dim=1), A), "msort": (lambda m, F, x: m.msort(x), A),
    "searchsorted": (lambda m, F, x, y: m.searchsorted(x.detach().sort(1)[0], y.detach(), right=True), A, B), "bucketize": (lambda m, F, x: m.bucketize(x.detach(), m.tensor([-1.0, 0.0, 2.0])), T),
    "searchsorted of a number": (lambda m, F, x: m.searchsorted(x.detach().sort()[0], 0.1, side="right", out_int32=True), V),
    "histc": (lambda m, F, x: m.histc(x.detach(), 4, -1, 1), A), "histc of its own": (lambda m, F, x: x.detach().histc(bins=3), A), "bincount": (lambda m, F, i: m.bincount(i, minlength=5), I),
    "bincount weights": (lambda m, F, i, w: i.bincount(w.detach()), I, V), "unique": (lambda m, F, j: m.unique(j, return_inverse=True, return_counts=True), J),
    "unique rows": (lambda m, F, j: m.unique(m.cat([j, j]), dim=0, return_inverse=True), J), "unique_consecutive": (lambda m, F, i: m.unique_consecutive(i, return_inverse=True, return_counts=True), I),
    "unfold": (lambda m, F, x: x.unfold(1, 2, 1), A), "unfold step": (lambda m, F, x: x.unfold(0, 3, 2), V), "diag_embed": (lambda m, F, x: m.diag_embed(x), A),
    "diag_embed offset": (lambda m, F, x: x.diag_embed(-1, 0, 2), A), "diagflat": (lambda m, F, x: m.diagflat(x, 1), A), "rot90": (lambda m, F, x: m.rot90(x, 1, [0, 1]), A),
    "rot90 -1": (lambda m, F, x: x.rot90(-1, (1, 2)), C), "rot180": (lambda m, F, x: m.rot90(x, 2), A), "flips": (lambda m, F, x: (m.fliplr(x), m.flipud(x)), A),
    "tensor_split": (lambda m, F, x: m.tensor_split(x, 3), V), "tensor_split at": (lambda m, F, x: x.tensor_split((1, 3), dim=1), A), "hsplit": (lambda m, F, x: m.hsplit(x, 2), A),
    "vsplit": (lambda m, F, x: m.vsplit(x, [1]), A), "stacks": (lambda m, F, x, y: (m.dstack([x, y]), m.column_stack([x[:, 0], y]), m.row_stack([x[0], y])), A, B),
    "atleast": (lambda m, F, x: (m.atleast_1d(x[0]), m.atleast_2d(x), m.atleast_3d(x)), V), "block_diag": (lambda m, F, x, v: m.block_diag(x, v, x[:1], v[0]), A, V),
    "cartesian_prod": (lambda m, F, x, y: m.cartesian_prod(x, y[:2]), V, W), "combinations": (lambda m, F, x: (m.combinations(x), m.combinations(x, 3), m.combinations(x, with_replacement=True)), V),
    "vander": (lambda m, F, x: (m.vander(x.detach()), m.vander(x.detach(), 3, increasing=True)), V), "take_along_dim": (lambda m, F, x, j: (m.take_along_dim(x, j[:, :1], 1), x.take_along_dim(j)), A[:2], J),
    "repeat_interleave": (lambda m, F, x, i: (x.repeat_interleave(i), m.repeat_interleave(x, 2), m.repeat_interleave(x, m.tensor([2, 0, 1, 1, 3]), dim=0)), V, I),
    "repeats alone": (lambda m, F, i: m.repeat_interleave(i), I), "argwhere": (lambda m, F, j: m.argwhere(j), J),
    "index_put": (lambda m, F, x, i, v: (x.index_put((i[2:4],), v[:2]), x.index_put((i,), v, accumulate=True), x.index_put((i[:2], i[1:3]), m.tensor(1.5))), A, I, RNG.standard_normal((5, 4)).astype(np.float32)),
    "index_fill": (lambda m, F, x, i: x.index_fill(0, i[:2], 2.0), A, I), "index_copy": (lambda m, F, x, i, y: x.index_copy(0, i[2:4], y[:2]), A, I, B),
    "masked_scatter": (lambda m, F, x, y: x.masked_scatter(x > 0, y), A, B), "select_scatter": (lambda m, F, x, v: x.select_scatter(v[:4], 0, 1), A, V),
    "slice_scatter": (lambda m, F, x, y: x.slice_scatter(y[:, :2], 1, 0, 4, 2), A, B), "scatter reduce": (lambda m, F, x, i, v: x.detach().scatter(0, i, v.detach(), reduce="add"), V, I, W),
    "xlogy": (lambda m, F, x: m.xlogy(x, x), np.abs(V)), "xlogy 0": (lambda m, F, x: m.xlogy(m.zeros(5), x.detach() * 0), V), "sinc": (lambda m, F, x: m.sinc(x), V),
    "copysign": (lambda m, F, x, y: (m.copysign(x, y.detach()), m.copysign(x, -1.0)), V, W), "heaviside": (lambda m, F, x: m.heaviside(x.detach(), m.tensor(0.5)), T),
    "fmax": (lambda m, F, x, y: m.fmax(x.detach(), y.detach()), N[::2], N[:2]), "logaddexp2": (lambda m, F, x, y: m.logaddexp2(x, y), V, W), "frac": (lambda m, F, x: x.frac(), V * 3),
    "float_power": (lambda m, F, x: m.float_power(x, 2), V), "inner": (lambda m, F, x, y: m.inner(x, y), A, B), "degrees": (lambda m, F, x: (m.rad2deg(x), m.deg2rad(x)), V),
    "signs": (lambda m, F, x: (m.signbit(x), m.isposinf(x), m.isneginf(x)), np.array([-0.0, 1.0, -np.inf, np.inf, np.nan])), "logit": (lambda m, F, x: m.logit(x, eps=0.2), np.abs(V) % 1),
    "cdist": (lambda m, F, x, y: m.cdist(x, y), A, B[:2]), "cdist 1": (lambda m, F, x, y: m.cdist(x, y[0], p=1), C, C), "cdist inf": (lambda m, F, x, y: m.cdist(x, y, p=float("inf")), A, B[:2]),
    "cdist to itself": (lambda m, F, x: m.cdist(x, x.detach()), A), "dist": (lambda m, F, x, y: (m.dist(x, y), x.dist(y, 1)), A, B), "renorm": (lambda m, F, x: m.renorm(x, 2, 0, 1.5), A),
    "trapezoid": (lambda m, F, x, y: (m.trapezoid(x), m.trapezoid(x, dx=0.5, dim=0), m.trapezoid(x, y), m.cumulative_trapezoid(x, dim=1), m.trapz(x, y[0])), A, B),
    "cov": (lambda m, F, x: (m.cov(x), m.cov(x[0]), m.corrcoef(x)), A), "addmv": (lambda m, F, x, v: m.addmv(v[:3], x, v[:4], beta=0.5, alpha=2), A, V),
    "addr": (lambda m, F, x, v: m.addr(x, v[:3], v[:4], alpha=2), A, V), "gcd": (lambda m, F, i: (m.gcd(i, i + 2), m.lcm(i, i + 2)), I),
    "einsum lists": (lambda m, F, x, y: m.einsum(x, [0, 1], y, [2, 1], [0, 2]), A, B), "cat axis": (lambda m, F, x, y: m.cat([x, y], axis=1), A, B),
    "pairwise_distance": (lambda m, F, x, y: F.pairwise_distance(x, y), A, B),
}


@needs_torch
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", CASES)
def test_functions_are_pytorchs(name):
    f, *arrays = CASES[name]
    both(f, *arrays)


@needs_torch
@pytest.mark.parametrize("reduce", ["sum", "prod", "mean", "amax", "amin"])
@pytest.mark.parametrize("include_self", [True, False])
@pytest.mark.filterwarnings("ignore")
def test_scatter_reduce(reduce, include_self):
    both(lambda m, F, x, i, v: x.scatter_reduce(0, i, v, reduce, include_self=include_self), V, I, W)
    both(lambda m, F, x, j, y: m.scatter_reduce(x, 1, j, y[:2], reduce=reduce, include_self=include_self), A, J, B)
    both(lambda m, F, x, j, y: m.scatter_reduce(x[:, :3].T.contiguous(), 0, j.T.contiguous()[:2], y.T[:2, :2], reduce=reduce, include_self=include_self), A, J, B)
    both(lambda m, F, x, j: x.scatter_reduce(1, j, x[:2], reduce, include_self=include_self), np.arange(12).reshape(3, 4) + 1, J)


@needs_torch
def test_in_place():
    def f(m, F, x, i):
        y = x.clone()
        y.index_put_((i[:2],), m.tensor(2.0))
        y.index_fill_(1, i[:1], 0.5)
        y.nan_to_num_().tril_().clip_(-1, 1).expm1_()
        z = m.zeros(3, 3)
        z.fill_diagonal_(2.0)
        z.scatter_reduce_(0, m.tensor([[0, 1, 2]]), x[:1, :3].detach(), "amax")
        return y, z
    both(f, A, I)


@needs_torch
def test_errors_are_of_pytorchs_kind():
    for f in (lambda m, F, x: m.quantile(x, 1.5), lambda m, F, x: m.quantile(x.int(), 0.5), lambda m, F, x: x.quantile(0.5, interpolation="cubic"), lambda m, F, x: x.unfold(0, 4, 1),
              lambda m, F, x: m.tensor_split(x, 0), lambda m, F, x: m.hsplit(x, 3), lambda m, F, x: x.repeat_interleave(m.tensor([1, 2]), dim=0),
              lambda m, F, x: x.kthvalue(9),
              lambda m, F, x: m.cdist(x, x[:, :2]), lambda m, F, x: m.searchsorted(x, x[:2]), lambda m, F, x: m.histc(x.long()), lambda m, F, x: x.long().nanmean(),
              lambda m, F, x: m.take_along_dim(x, m.tensor([0]), 1), lambda m, F, x: x.masked_scatter(x == x, x[0])):
        both_refuse(f, A)


def test_without_pytorch():
    x = de.tensor([1.0, 3.0, 2.0])
    assert x.cummax(0).values.tolist() == [1, 3, 3] and x.quantile(0.5).item() == 2 and de.block_diag(x, x[:1]).shape == (2, 4) and de.unravel_index(de.tensor(5), (2, 3))[1].item() == 2
    assert de.tensor([1.0, float("nan")]).median().isnan() and de.broadcast_shapes((2, 1), (3,)) == (2, 3) and x.unfold(0, 2, 1).tolist() == [[1, 3], [3, 2]]
    de.manual_seed(0)
    z = de.zeros(1000)
    assert 250 < z.bernoulli_(0.3).sum() < 350 and set(z.random_(3).tolist()) == {0.0, 1.0, 2.0} and set(z.random_(5, 7).tolist()) == {5.0, 6.0}
