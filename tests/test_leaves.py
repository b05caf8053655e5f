"""Tensors that become leaves, or cease to require a gradient, between calls that are otherwise the same: where a program takes over, nothing changes."""
import pytest

import diffeng as de


@pytest.mark.parametrize("make", [lambda a: a.detach(), lambda a: a.clone(), lambda a: (a * 0).detach()])
def test_what_requires_a_gradient_is_seen_at_every_call(make):
    a = de.tensor([0.5, 1.0, 2.0])
    for flag in (True, True, True, False, False, True, False, True):
        x = make(a)
        before = x * 2
        if flag:
            x.requires_grad_()
        y = (x * 3).sin()
        assert (before.requires_grad, y.requires_grad, (y * 2).requires_grad) == (False, flag, flag)
        if flag:
            y.sum().backward()
            assert de.allclose(x.grad, 3 * (x.detach() * 3).cos())


def test_other_calls_after_a_leaf_was_made_keep_their_history():
    a = de.tensor([0.5, 1.0, 2.0])
    for _ in range(3):
        for f, derivative in ((lambda x: x.tanh(), lambda x: 1 - x.tanh() ** 2), (lambda x: (x * 3).exp(), lambda x: 3 * (x * 3).exp()), (lambda x: (x * 3).sin(), lambda x: 3 * (x * 3).cos())):
            x = a.clone().detach().requires_grad_()
            (f(x) * a).sum().backward()
            assert de.allclose(x.grad, derivative(a) * a, rtol=1e-4)


def test_detached_in_place_every_other_time():
    w = de.tensor([1.0, 2.0], requires_grad=True)
    for k in range(8):
        h, w.grad = w * 2, None
        if k % 2:
            h.detach_()
        (h * w).sum().backward()
        assert w.grad.tolist() == ([2.0, 4.0] if k % 2 else [4.0, 8.0])


def test_two_players_who_freeze_each_other():
    w, v, x = de.tensor([1.0, 2.0], requires_grad=True), de.tensor([0.5, -1.0], requires_grad=True), de.tensor([[1.0, 2.0], [3.0, -1.0]])
    for k in range(12):
        for mine, other in ((w, v), (v, w)):
            other.requires_grad_(False)
            w.grad = v.grad = None
            ((x * w).tanh() * v).sum().backward()
            assert mine.grad is not None and other.grad is None
            with de.no_grad():
                mine -= 0.1 * mine.grad
            other.requires_grad_()
