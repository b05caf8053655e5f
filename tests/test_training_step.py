"""Steps of layers so large that weights are written where they lie and gradients never, against the same in NumPy: whatever else somebody looks at."""
import numpy as np
import pytest

import diffeng as de
from test_tensors import from_the_beginning          # noqa: F401

IN, HIDDEN, OUT, BATCH, STEPS = 160, 130, 140, 32, 9


def start():
    rng = np.random.default_rng(5)
    arrays = [rng.standard_normal(s) / s[-1] ** 0.5 for s in ((HIDDEN, IN), (OUT, HIDDEN))] + [rng.standard_normal((BATCH, n)) for n in (IN, OUT)]
    return [a.astype(np.float32) for a in arrays]


def by_numpy(rates):
    """[(loss, gradients, weights after the step)]: rates(step) gives one learning rate for each weight."""
    v, w, x, y = [a.astype(float) for a in start()]
    out = []
    for k in range(STEPS):
        h = np.maximum(x @ v.T, 0)
        e = h @ w.T - y
        d = 2 * e / e.size
        grads = ((d @ w) * (h > 0)).T @ x, d.T @ h
        v, w = (p - r * g for p, r, g in zip((v, w), rates(k), grads))
        out.append((np.mean(e ** 2), grads, (v, w)))
    return out


def steps(optimisers, rates, look=lambda k, when, v, w: None):
    """Yields the loss and the tensors (v, w) after each step. look is called before the backward pass, after it, and after the step."""
    v, w, x, y = map(de.tensor, start())
    v.requires_grad_()
    w.requires_grad_()
    optimisers = optimisers(v, w)
    groups = [g for o in optimisers for g in o.param_groups]
    for k in range(STEPS):
        for g, r in zip(groups, dict.fromkeys(rates(k)) if len(groups) == 1 else rates(k)):
            g["lr"] = r
        for o in optimisers:
            o.zero_grad()
        loss = (((x @ v.T).relu() @ w.T - y) ** 2).mean()
        look(k, "before", v, w)
        loss.backward()
        look(k, "between", v, w)
        for o in optimisers:
            o.step()
        look(k, "after", v, w)
        yield loss, v, w


OPTIMISERS = {
    "one": (lambda v, w: [de.optim.SGD([v, w], lr=1.0)], lambda k: (1.0, 1.0)),
    "whose rate changes": (lambda v, w: [de.optim.SGD([v, w], lr=1.0)], lambda k: (1.0 / (k + 1),) * 2),
    "that waits at first": (lambda v, w: [de.optim.SGD([v, w], lr=0.0)], lambda k: ((0.0, 1.0)[k > 4],) * 2),
    "of two groups": (lambda v, w: [de.optim.SGD([{"params": [v]}, {"params": [w], "lr": 2.0}], lr=0.5)], lambda k: (0.5, 2.0)),
    "two": (lambda v, w: [de.optim.SGD([v], lr=0.5), de.optim.SGD([w], lr=2.0)], lambda k: (0.5, 2.0)),
}


def close(tensor, wanted):
    np.testing.assert_allclose(tensor.detach().numpy(), wanted, rtol=2e-5, atol=2e-6)


@pytest.mark.parametrize("name", OPTIMISERS)
@pytest.mark.parametrize("seen", ["nothing", "loss", "weights", "gradients"])
def test_steps_are_those_of_numpy(name, seen):
    optimisers, rates = OPTIMISERS[name]
    wanted = by_numpy(rates)
    for k, (loss, v, w) in enumerate(steps(optimisers, rates)):
        value, grads, weights = wanted[k]
        if seen == "loss" or k == STEPS - 1:
            np.testing.assert_allclose(loss.item(), value, rtol=1e-5)
        if seen == "weights" or k == STEPS - 1:
            close(v, weights[0]), close(w, weights[1])
        if seen == "gradients" or k == STEPS - 1:
            close(v.grad, grads[0]), close(w.grad, grads[1])


@pytest.mark.parametrize("when", ["before", "between", "after"])
def test_a_gradient_may_be_looked_at_at_any_time(when):
    optimisers, rates = OPTIMISERS["one"]
    wanted, seen = by_numpy(rates), []

    def look(k, now, v, w):
        if now == when and k % 3 == 2:
            assert (v.grad is None) is (when == "before")
            for t, g in zip((v, w), wanted[k][1]):
                if when != "before":
                    close(t.grad, g)
            seen.append(k)
    for k, (_, v, w) in enumerate(steps(optimisers, rates, look)):
        pass
    close(v, wanted[-1][2][0]), close(w, wanted[-1][2][1])
    assert len(seen) == STEPS // 3


def place(t):
    """Where a tensor's numbers lie, without giving them to anybody."""
    de.tensor_engine.core.look(t)
    return t._array.__array_interface__["data"][0]


def test_weights_stay_where_they_are(from_the_beginning):
    places = []
    for _, v, w in steps(*OPTIMISERS["one"]):
        places.append((place(v), place(w)))
    assert len(set(places[-4:])) == 1


@pytest.mark.parametrize("hold", [lambda t: t.detach().clone(), lambda t: t.detach().numpy().copy(), lambda t: t + 0, lambda t: t * 2 - t])
def test_what_somebody_holds_of_old_weights_stays(hold):
    optimisers, rates = OPTIMISERS["one"]
    wanted, kept = by_numpy(rates), []
    for k, (_, v, w) in enumerate(steps(optimisers, rates)):
        kept.append((hold(v), hold(w)))
    for held, (_, _, weights) in zip(kept, wanted):
        for a, b in zip(held, weights):
            np.testing.assert_allclose(a.detach().numpy() if type(a) is not np.ndarray else a, b, rtol=2e-5, atol=2e-6)


def test_what_numpy_holds_of_weights_goes_on_with_them():
    optimisers, rates = OPTIMISERS["one"]
    wanted, seen = by_numpy(rates), []
    for k, (_, v, w) in enumerate(steps(optimisers, rates, lambda k, when, v, w: seen.append(v.detach().numpy()) if (k, when) == (4, "before") else None)):
        if seen:
            v.sum().item()
            np.testing.assert_allclose(seen[0], wanted[k][2][0], rtol=2e-5, atol=2e-6)


def test_a_second_backward_pass_says_what_is_freed():
    losses = []
    for loss, _, _ in steps(*OPTIMISERS["one"]):
        losses = [loss]
    with pytest.raises(RuntimeError, match="backward through the graph a second time"):
        losses[0].backward()


def test_losses_that_are_kept_are_numbers_later():
    """A backward pass has let go of what they were computed from: they are stacked and averaged all the same, and only another pass says so."""
    w, losses = de.tensor([1.0, 2.0], requires_grad=True), []
    for _ in range(10):
        w.grad = None
        losses.append((w * w).sum())
        losses[-1].backward()
        with de.no_grad():
            w -= 0.1 * w.grad
    mean = de.stack(losses).mean()
    assert mean.item() == pytest.approx(np.mean([5 * 0.64 ** k for k in range(10)]), rel=1e-5)
    with pytest.raises(RuntimeError, match="second time"):
        mean.backward()
