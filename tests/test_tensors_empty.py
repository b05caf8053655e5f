"""Tensors without axes, which count as one entry along one, and axes without entries, as PyTorch has them."""
import numpy as np
import pytest

import diffeng as de
from beside_torch import both, both_refuse, needs_torch

X, I = np.array(2.0, np.float32), np.array(0)
NUMBERS = {
    "orders": lambda m, F, x, i: (*m.topk(x, 1), *x.sort(), *x.sort(descending=True), x.argsort(dim=0), *m.median(x, dim=0), *m.median(x, 0, True), *x.kthvalue(1), *x.kthvalue(1, 0, True), m.msort(x)),
    "nanmedian": lambda m, F, x, i: (m.nanmedian(x), *m.nanmedian(x, dim=0), *m.nanmedian(x, dim=-1, keepdim=True)),
    "quantiles": lambda m, F, x, i: (m.quantile(x, 0.5, dim=0), m.quantile(x, 0.5, dim=0, keepdim=True), m.quantile(x, m.tensor([0.5, 0.2]), dim=-1), m.nanquantile(x, 0.5, dim=0)),
    "places": lambda m, F, x, i: (x.flip(0), x.flip(-1), x.roll(1), x.movedim(0, 0), x.transpose(0, -1), m.hstack([x, x]), x.masked_fill(x > 0, 3.0)),
    "gather": lambda m, F, x, i: (x.gather(0, i), x.gather(0, i[None]), (x * m.ones(3)).gather(0, i), x.index_select(0, i), x.index_select(0, i[None])),
    "scatter": lambda m, F, x, i: (x.scatter(0, i, x * 3), x.scatter(0, i[None], x[None] * 3), x.scatter(0, i, 3.0), x.scatter_add(0, i, x * 3), x.scatter_reduce(0, i, x * 3, "prod")),
    "index": lambda m, F, x, i: (x.index_fill(0, i, 2.0), x.index_fill(0, i[None], 2.0), x.index_copy(0, i, x * 2), x.index_copy(0, i[None], x * 2), x.index_add(0, i, x * 2),
                                 x.index_add(0, i[None], x * 2, alpha=3)),
    "sums": lambda m, F, x, i: (x.sum(0, keepdim=True), x.var(0, correction=0), m.logsumexp(x, 0), m.softmax(x, 0), m.log_softmax(x, -1), x.amax(0, True), *x.max(0), x.norm(2, 0), m.cov(x), m.corrcoef(x)),
}
NONE = {
    "softmax": lambda m, F, x: (m.softmax(x, -1), m.softmax(x, 0), m.log_softmax(x, 1), F.softmin(x, 1)), "logsumexp": lambda m, F, x: (m.logsumexp(x, 1), m.logsumexp(x, (0, 1), True), m.logsumexp(x, 0)),
    "sums": lambda m, F, x: (x.sum(1), x.mean(1), x.prod(1), x.var(1), x.norm(2, 1), x.cumsum(1)), "medians": lambda m, F, x: (x.detach().median(), x.detach().nanmedian()),
    "chunks": lambda m, F, x: (*x.chunk(3, 1), *x.split(2, 1)), "order": lambda m, F, x: (*x.sort(1), *x.topk(0), x.amax(0), x.flip(0, 1)),
}
ONE_AXIS = {
    "one variable": lambda m, F, x: (m.cov(x[:1]), m.corrcoef(x[:1]), m.cov(x[:, :1], correction=0)),
    "axes that broadcast": lambda m, F, x: (m.tensordot(x[:1, None, :1], x[:, None, :2] * 3, dims=([0, 1], [2, 0])), m.tensordot(x, x[:1], dims=([1], [0])),
                                            m.tensordot(x, x, dims=([0, -1], [-2, 1])), m.tensordot(x, x.T, dims=1), m.tensordot(x, x[0], dims=0)),
}


@needs_torch
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("f", NUMBERS.values(), ids=NUMBERS)
def test_without_axes(f):
    both(f, X, I)


@needs_torch
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("f", NONE.values(), ids=NONE)
def test_without_entries(f):
    both(f, np.zeros((5, 0), np.float32))


@needs_torch
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("f", ONE_AXIS.values(), ids=ONE_AXIS)
def test_of_length_one(f):
    both(f, np.random.default_rng(0).standard_normal((2, 3)).astype(np.float32))


@needs_torch
def test_what_is_refused():
    for f in (lambda m, F, x, e: m.topk(x, 2), lambda m, F, x, e: x.index_select(0, m.tensor([0, 0])), lambda m, F, x, e: m.softmax(x, 1), lambda m, F, x, e: x.split(1), lambda m, F, x, e: x.chunk(1),
              lambda m, F, x, e: x.narrow(0, 0, 1), lambda m, F, x, e: m.tensor_split(x, 1), lambda m, F, x, e: m.flipud(x), lambda m, F, x, e: x.gather(1, m.tensor(0)),
              lambda m, F, x, e: x.index_fill(1, m.tensor(0), 2.0), lambda m, F, x, e: e.amax(1), lambda m, F, x, e: e.max(1),
              lambda m, F, x, e: e.argmax(), lambda m, F, x, e: m.kthvalue(e, 1, 1), lambda m, F, x, e: m.tensordot(m.ones(2, 3), m.ones(2, 4), dims=([1], [0])),
              lambda m, F, x, e: m.tensordot(m.ones(2, 3), m.ones(3, 4), dims=3), lambda m, F, x, e: m.tensordot(m.ones(2, 3), m.ones(3, 4).double(), dims=1),
              lambda m, F, x, e: m.cat([m.ones(2), m.ones(2, 2)]), lambda m, F, x, e: m.cat([m.ones(2), m.ones(2, 2)], 1)):
        both_refuse(f, X, np.zeros((5, 0), np.float32))


def test_without_pytorch():
    x = de.tensor(2.0, requires_grad=True)
    (x.topk(1).values + x.quantile(0.5, dim=0) + x.flip(0) + x.gather(0, de.tensor(0)) + x.index_add(0, de.tensor(0), x)).backward()
    assert x.grad == 6 and de.softmax(de.zeros(5, 0), -1).shape == (5, 0) and de.logsumexp(de.zeros(2, 0), 1).tolist() == [-np.inf] * 2 and de.cov(de.ones(1, 2)).shape == ()
