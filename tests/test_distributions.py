"""Distributions: as PyTorch has them where it is installed; samples by their frequencies."""
import numpy as np
import pytest

import diffeng as de
from beside_torch import both, both_refuse, needs_torch
from diffeng import distributions as D

RNG = np.random.default_rng(0)
X, Y = (RNG.standard_normal((3, 4)).astype(np.float32) for _ in range(2))
K = np.array([0, 3, 1])


def of(m):
    return m.distributions


@needs_torch
def test_values_and_gradients():
    both(lambda m, F, x, k: (of(m).Categorical(logits=x).log_prob(k), of(m).Categorical(logits=x).entropy(), of(m).Categorical(probs=x.exp()).log_prob(k)), X, K)
    both(lambda m, F, x, k: of(m).Categorical(logits=x[0]).log_prob(k), X, K)
    both(lambda m, F, x, y: (of(m).Normal(x, y.exp()).log_prob(y), of(m).Normal(x, y.exp()).entropy(), of(m).Normal(x, 2.0).cdf(y), of(m).Normal(0.0, y.exp()).log_prob(x)), X, Y)
    both(lambda m, F, x, y: (of(m).Bernoulli(logits=x).log_prob((y > 0).float()), of(m).Bernoulli(logits=x).entropy(), of(m).Bernoulli(x.sigmoid()).log_prob(m.tensor(1.0))), X, Y)
    both(lambda m, F, x, y: of(m).kl_divergence(of(m).Normal(x, 0.5), of(m).Normal(y, x.exp())), X, Y)
    both(lambda m, F, x, y: of(m).kl_divergence(of(m).Categorical(logits=x), of(m).Categorical(logits=y)), X, Y)
    both(lambda m, F, x, y: of(m).kl_divergence(of(m).Bernoulli(logits=x), of(m).Bernoulli(logits=y)), X, Y)


@needs_torch
def test_errors():
    for f in (lambda m, F, x: of(m).Categorical(), lambda m, F, x: of(m).Categorical(probs=x), lambda m, F, x: of(m).Normal(x, -abs(x)), lambda m, F, x: of(m).Bernoulli(x),
              lambda m, F, x: of(m).Categorical(logits=x[0, 0]), lambda m, F, x: of(m).kl_divergence(of(m).Normal(x, 1.0), of(m).Bernoulli(logits=x))):
        both_refuse(f, X)


def test_samples():
    de.manual_seed(0)
    p = D.Categorical(probs=de.tensor([[1.0, 3.0], [3.0, 1.0]]))
    drawn = p.sample((2000,))
    assert drawn.shape == (2000, 2) and drawn.dtype == de.int64 and p.sample().shape == (2,) and D.Categorical(p.probs[0]).sample().shape == ()
    np.testing.assert_allclose(drawn.float().mean(0).numpy(), [0.75, 0.25], atol=0.04)
    loc = de.tensor([1.0, -1.0], requires_grad=True)
    n = D.Normal(loc, de.tensor([0.5, 2.0]))
    assert not n.sample().requires_grad and n.stddev.tolist() == [0.5, 2.0]
    many = n.rsample((4000,))
    np.testing.assert_allclose(many.detach().mean(0).numpy(), [1, -1], atol=0.1)
    np.testing.assert_allclose(many.detach().std(0).numpy(), [0.5, 2], rtol=0.05)
    many.sum().backward()
    assert loc.grad.tolist() == [4000, 4000]
    b = D.Bernoulli(de.tensor([0.2, 0.9])).sample((3000,))
    np.testing.assert_allclose(b.mean(0).numpy(), [0.2, 0.9], atol=0.04)


def test_a_policy_gradient_learns():
    de.manual_seed(1)
    net = de.nn.Linear(2, 3)
    optimizer = de.optim.Adam(net.parameters(), lr=0.1)
    states = de.eye(2)
    for _ in range(60):
        policy = D.Categorical(logits=net(states))
        action = policy.sample()
        loss = -(policy.log_prob(action) * (action == de.tensor([2, 0])).float()).mean() - 0.01 * policy.entropy().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert net(states).argmax(1).tolist() == [2, 0]


def test_it_is_found_from_the_package():
    with pytest.raises(ValueError, match="not both"):
        de.distributions.Bernoulli(probs=0.5, logits=0.0)


@needs_torch
def test_events_of_several_entries_equal_pytorchs():
    rng = np.random.default_rng(0)
    loc, scale, other = (rng.normal(size=(2, 3)).astype(np.float32) for _ in range(3))
    half = rng.normal(size=(3, 3)).astype(np.float32)
    both(lambda m, F, a, b, x: (lambda d: (d.log_prob(x), d.entropy(), d.mean, d.variance, m.tensor([*d.batch_shape, *d.event_shape]), m.distributions.kl_divergence(
        d, m.distributions.Independent(m.distributions.Normal(x, 1.0 + b.abs()), 1))))(m.distributions.Independent(m.distributions.Normal(a, b.exp()), 1)), loc, scale, other, tol=1e-4)
    both(lambda m, F, p, x: m.distributions.Independent(m.distributions.Bernoulli(logits=p), 2).log_prob((x > 0).float()), loc, other)
    for option in ("covariance_matrix", "precision_matrix", "scale_tril"):
        def vectors(m, F, a, h, x, given=option):
            matrix = h.tril(-1) + m.diag(h.diagonal().abs() + 0.5)
            d = m.distributions.MultivariateNormal(a, **{given: matrix if given == "scale_tril" else matrix @ matrix.mT})
            q = m.distributions.MultivariateNormal(x[0], scale_tril=m.eye(3) * 2)
            return (d.log_prob(x), d.log_prob(m.stack([x, a])), d.entropy(), d.mean, d.variance, d.covariance_matrix, d.precision_matrix, m.distributions.kl_divergence(d, q),
                    m.tensor([*d.batch_shape, *d.event_shape, d.has_rsample]))
        both(vectors, loc, half, other, tol=5e-4)
    d = de.distributions.MultivariateNormal(de.tensor([1.0, -2.0]), de.tensor([[2.0, 0.6], [0.6, 0.5]]))
    drawn = d.sample((40000,)).numpy()
    assert np.allclose(drawn.mean(0), [1, -2], atol=0.03) and np.allclose(np.cov(drawn.T), [[2.0, 0.6], [0.6, 0.5]], atol=0.05)
    assert d.rsample((2, 5)).shape == (2, 5, 2) and de.distributions.Independent(de.distributions.Normal(de.zeros(4), de.ones(4)), 1).rsample((3,)).shape == (3, 4)
    with pytest.raises(ValueError, match="exactly one of"):
        de.distributions.MultivariateNormal(de.zeros(2))
    with pytest.raises(ValueError, match="reinterpreted_batch_ndims"):
        de.distributions.Independent(d, 1)
