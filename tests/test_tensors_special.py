"""diffeng.special's functions of tensors, and ufuncs without a name in PyTorch: values, dtypes, first and second derivatives."""
import numpy as np
import pytest
import scipy.special

import diffeng as de
from beside_torch import both_refuse, needs_torch, torch

X, U, Y = np.array([0.3, 1.7, 2.5, 0.9]), np.array([0.1, 0.35, 0.6, 0.92]), np.array([1.2, 0.4, 3.0, 2.2])
OF_ONE = ("i0 i1 i0e i1e entr log_ndtr erfcx digamma psi gammaln erf erfc expm1 exp2 log1p ndtr sinc expit ndtri erfinv logit bessel_j0 bessel_j1 bessel_y0 bessel_y1 modified_bessel_i0 "
          "modified_bessel_i1 modified_bessel_k0 modified_bessel_k1 scaled_modified_bessel_k0 scaled_modified_bessel_k1 spherical_bessel_j0").split()
CALLS = {name: (lambda m, x, name=name: getattr(m.special, name)(x), U if name in ("ndtri", "erfinv", "logit") else X) for name in OF_ONE} | {
    **{name: (lambda m, x, y, name=name: getattr(m.special, name)(x, y), X, Y) for name in ("xlog1py", "xlogy")},
    **{name: (lambda m, x, name=name: getattr(m.special, name)(m.tensor(1.5, dtype=x.dtype), other=x), X) for name in ("zeta", "gammainc", "gammaincc")},
    **{f"polygamma {n}": (lambda m, x, n=n: m.special.polygamma(n, x), Y) for n in range(4)},
    "multigammaln": (lambda m, x: m.special.multigammaln(x + 3, 3), X), "methods": (lambda m, x: x.erfinv() + x.i0() + (x + 2).polygamma(1) + (x + 2).mvlgamma(p=2) + (x.detach() + 1).igamma(x), U),
    "of the namespace": (lambda m, x: m.erfinv(x) * m.i0(x) + m.polygamma(1, x) + m.mvlgamma(x + 1, p=2) + m.igammac(m.tensor(2.0).to(x.dtype), x), U),
    "along an axis": (lambda m, x: m.special.log_softmax(x, 0) + m.special.softmax(x, dim=0) + m.special.logsumexp(x, dim=0), X)}


def _derivatives(m, f, arrays, dtype):
    ts = [m.tensor(np.asarray(a, dtype), requires_grad=True) for a in arrays]
    y = f(m, *ts)
    out = [y]
    if y.requires_grad:
        try:
            out += m.autograd.grad(y.sum(), ts, create_graph=True, allow_unused=True)
            out += m.autograd.grad(sum([(g * g).sum() for g in out[1:] if g is not None]), ts, allow_unused=True)
        except (RuntimeError, NotImplementedError):              # PyTorch has no derivative of some
            assert m is torch
    return [None if t is None else t.detach().numpy() for t in out]


@needs_torch
@pytest.mark.parametrize("name", CALLS)
@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.filterwarnings("ignore")
def test_special_functions_are_pytorchs(name, dtype):
    f, *arrays = CALLS[name]
    theirs = _derivatives(torch, f, arrays, dtype)
    tol = 1e-9 if dtype == "float64" else 2e-4
    for _ in range(3):
        ours = _derivatives(de, f, arrays, dtype)
        for a, b in zip(ours, theirs):
            assert b is None or a.dtype == b.dtype and a.shape == b.shape
            if b is not None:
                np.testing.assert_allclose(a, b, rtol=tol, atol=tol)


@needs_torch
@pytest.mark.parametrize("name", OF_ONE)
def test_of_integers_they_are_float32(name):
    ours, theirs = (getattr(m.special, name)(m.tensor([1, 2, 3])).numpy() for m in (de, torch))
    assert ours.dtype == theirs.dtype == np.float32
    np.testing.assert_allclose(ours, theirs, rtol=2e-5, atol=1e-6, equal_nan=True)


@pytest.mark.parametrize("f, scipys", [(lambda x: de.special.entr(x), scipy.special.entr), (scipy.special.erfinv, scipy.special.erfinv), (np.cbrt, np.cbrt), (np.deg2rad, np.deg2rad),
                                       (lambda x: de.special.boxcox(x, 0.5), lambda x: scipy.special.boxcox(x, 0.5)), (lambda x: de.special.kl_div(2.0, x), lambda x: scipy.special.kl_div(2.0, x)),
                                       (lambda x: de.special.betainc(2.0, 1.5, x), lambda x: scipy.special.betainc(2.0, 1.5, x)), (lambda x: np.fmax(x, 0.5), lambda x: np.fmax(x, 0.5)),
                                       (lambda x: np.divmod(x, 0.4)[1], lambda x: np.divmod(x, 0.4)[1])])
def test_functions_of_arrays_are_functions_of_tensors(f, scipys):
    x = de.tensor(U, requires_grad=True)
    y = f(x)
    np.testing.assert_allclose(y.detach().numpy(), scipys(U), rtol=1e-13)
    y.sum().backward()
    np.testing.assert_allclose(x.grad.numpy(), (scipys(U + 1e-6) - scipys(U - 1e-6)) / 2e-6, rtol=1e-6)
    assert isinstance(f(x.detach()), de.Tensor) and not f(x.detach()).requires_grad


def test_of_arrays_they_are_scipys():
    np.testing.assert_allclose(de.special.entr(U), scipy.special.entr(U), rtol=1e-14)
    assert de.special.j0.__name__ == "j0" and de.special.erf.__module__ == "diffeng.special" and float(de.special.zeta(2.0, 1.0)) == pytest.approx(np.pi ** 2 / 6)


def test_what_is_refused():
    x = de.tensor(U, requires_grad=True)
    with pytest.raises(RuntimeError, match=r"np.spacing at .*detach"):
        np.spacing(x)
    with pytest.raises(NotImplementedError, match="zeta"):
        de.special.zeta(x, 1.5).sum().backward()
    with pytest.raises(AttributeError, match="did you mean erfinv"):
        de.special.erfinf
    with pytest.raises(RuntimeError, match="whole number"):
        de.special.polygamma(1.5, x)
    if torch is not None:
        both_refuse(lambda m, F, x: m.special.polygamma(-1, x), X)
