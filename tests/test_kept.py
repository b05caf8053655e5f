"""Values that a function keeps elsewhere, and that are used when it has ended: an error that says so, never a derivative that lacks a term."""
import numpy as np
import pytest

import diffeng as de

X = np.array([0.5, 1.2, 0.3])


def by(transform):
    """f(x): uses what was kept while another function ran under a transformation."""
    def keeping(use):
        def f(x):
            kept = []

            def inner(y):
                kept.append(2 * y)
                return np.sum(y * y)
            transform(inner, x)
            return use(kept[0], x)
        return f
    return keeping


INNER = {
    "reverse": lambda f, x: de.grad(f, method="reverse")(x), "forward": lambda f, x: de.grad(f, method="forward")(x),
    "symbolic": lambda f, x: de.grad(f, method="symbolic")(x), "jvp": lambda f, x: de.jvp(f, (x,), (np.ones(3),)), "vjp": lambda f, x: de.vjp(f, x),
    "vmap": lambda f, x: de.vmap(f)(x), "hessian": lambda f, x: de.hessian(f)(x), "trace": lambda f, x: de.trace(f, X)}
USES = {"computed with": lambda kept, x: np.sum(kept * x), "returned": lambda kept, x: (np.sum(x), kept), "alone": lambda kept, x: np.exp(kept).sum(),
        "written": lambda kept, x: np.sum(de.at(x, 0).set(kept[0]))}
OUTER = {"plain": lambda f: f(X), "gradient": lambda f: de.vjp(f, X), "forward": lambda f: de.jvp(f, (X,), (np.ones(3),)), "vmap": lambda f: de.vmap(f)(np.stack([X, X])),
         "jit": lambda f: de.jit(f)(X), "jit of a gradient": lambda f: de.jit(de.jacobian(f))(X)}


@pytest.mark.parametrize("inner", INNER)
@pytest.mark.parametrize("use", USES)
def test_what_was_kept_is_refused(inner, use):
    f = by(INNER[inner])(USES[use])
    for name, outer in OUTER.items():
        if name != "plain" or use != "returned":         # (nobody of ours sees that)
            with pytest.raises(RuntimeError, match="meets a value of a derivative, a vmap or the body of a scan that has ended"):
                outer(f)


def test_the_line_that_uses_it_is_named():
    f = by(INNER["reverse"])(USES["computed with"])
    with pytest.raises(RuntimeError, match=r"multiply at test_kept\.py:\d+ meets .*: it was kept outside .* Return it from the function"):
        de.grad(f)(X)
    kept = []
    de.grad(lambda x: (kept.append(x), np.sum(x))[1])(X)
    for used in (lambda: kept[0] + 1, lambda: np.sin(kept[0]), lambda: np.asarray(kept[0]), lambda: kept[0][1], lambda: de.grad(np.sum)(kept[0])):
        with pytest.raises(RuntimeError, match="has ended"):
            used()
    assert "traced" in repr(kept[0])                     # it can be looked at


@pytest.mark.parametrize("transform", [lambda f: f, de.jit])
def test_bodies_of_scans(transform):
    """One that is recorded once has ended; one that turns for the values keeps them."""
    def f(x):
        kept = []
        de.scan(lambda c, a: (kept.append(c) or c * a, None), x[0], x[1] * np.ones(20))
        return np.sum(np.stack(kept))
    want = sum([X[1] ** k for k in range(20)])
    if transform is de.jit:
        with pytest.raises(RuntimeError, match=r"at test_kept\.py:\d+ meets .* or as a y of the scan"):
            de.jit(de.grad(f))(X)
    else:
        assert de.grad(f)(X)[0] == pytest.approx(want, rel=1e-13)


def test_what_is_kept_and_used_inside_is_right():
    def f(x):
        kept = []
        slope = de.grad(lambda y: (kept.append(y * x) or np.sum(kept[-1] ** 2)))(x)          # 2 y x^2 at y = x
        return np.sum(slope)
    np.testing.assert_allclose(de.grad(f)(X), 6 * X ** 2, rtol=1e-14)
    assert de.compare(f, X).agree
