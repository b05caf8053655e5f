"""Derivatives of functions of tensors, Variable, grad_fn, and the paths by which PyTorch's users import, as PyTorch has them."""
import importlib

import numpy as np
import pytest

import diffeng as de
from beside_torch import needs_torch, torch

X, Y = np.array([0.5, -1.0, 2.0], np.float32), np.array([[1.0, 0.3, -0.2], [0.4, 2.0, 1.5]], np.float32)
SCALAR = [(lambda m, x: (x ** 3).sum() + x.prod(), (X,)), (lambda m, x, y: ((y @ x).sin() * 2).sum() + (y ** 2).sum(), (X, Y)), (lambda m, x, y: (x * x).sum(), (X, Y))]
VECTOR = [(lambda m, x: x.sin() * x[0], (X,)), (lambda m, x, y: (y @ x, y * 2), (X, Y)), (lambda m, x, y: y.sum(), (X, Y)), (lambda m, x: m.ones(2), (X,)), (lambda m, x: (x.sum(), x * 2), (X,))]


def flat(x):
    return [a for part in x for a in flat(part)] if isinstance(x, tuple) else [x.detach().numpy()]


def the_same(ask):
    ours, theirs = ask(de), ask(torch)

    def kinds(x):
        return tuple(map(kinds, x)) if isinstance(x, tuple) else tuple(x.shape)
    assert kinds(ours) == kinds(theirs)
    for a, b in zip(flat(ours), flat(theirs), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)


def called(m, f, arrays, v=None, **options):
    inputs = tuple([m.tensor(a) for a in arrays])
    given = [] if v is None else [tuple([m.tensor(a) for a in v]) if len(v) > 1 else m.tensor(v[0])]
    return lambda name: getattr(m.autograd.functional, name)(lambda *x: f(m, *x), inputs if len(inputs) > 1 else inputs[0], *given, **options)


@needs_torch
@pytest.mark.parametrize("k", range(len(VECTOR)))
def test_products_with_jacobians_equal_pytorchs(k):
    f, arrays = VECTOR[k]
    the_same(lambda m: called(m, f, arrays)("jacobian"))
    out = f(torch, *map(torch.tensor, arrays))
    shapes = [tuple(o.shape) for o in out] if isinstance(out, tuple) else [tuple(out.shape)]
    the_same(lambda m: called(m, f, arrays, [np.ones(s, np.float32) * (k + 2) for k, s in enumerate(shapes)])("vjp"))
    if k != 3:                                        # PyTorch has no derivative of a constant along a direction without strict=False's zeros
        the_same(lambda m: called(m, f, arrays, [np.cos(a) for a in arrays])("jvp"))


@needs_torch
@pytest.mark.parametrize("k", range(len(SCALAR)))
def test_second_derivatives_equal_pytorchs(k):
    f, arrays = SCALAR[k]
    the_same(lambda m: called(m, f, arrays)("hessian"))
    for name in ("hvp", "vhp"):
        the_same(lambda m: called(m, f, arrays, [np.cos(a) for a in arrays])(name))

    def through(m):
        x = m.tensor(X, requires_grad=True)
        a = m.autograd.functional.jacobian(lambda x: x ** 3, x, create_graph=True)
        b = m.autograd.functional.hessian(lambda x: (x ** 4).sum(), x, create_graph=True)
        return m.autograd.grad((a * a).sum() + b.sum(), x)
    the_same(through)


@needs_torch
def test_what_is_refused():
    for m in (de, torch):
        functional = m.autograd.functional
        for name, f, more in (("hessian", lambda x: x * 2, {}), ("vjp", lambda x: x * 2, {}), ("jacobian", lambda x: m.ones(2), dict(strict=True)), ("vjp", lambda x: x, dict(v=m.ones(2)))):
            with pytest.raises(RuntimeError):
                getattr(functional, name)(f, m.ones(3), **more)
        with pytest.raises(TypeError):
            functional.jacobian(lambda x: 3.0, m.ones(3))


@needs_torch
def test_variables_and_history():
    for m in (de, torch):
        v = m.autograd.Variable(m.ones(2), requires_grad=True)
        plain = m.ones(3)
        assert isinstance(v, m.autograd.Variable) and v.requires_grad and not m.autograd.Variable(plain).requires_grad and not isinstance(X, m.autograd.Variable)
        y = (v * 3).sin() + plain[0]
        assert y.grad_fn.name() == "AddBackward0" and v.grad_fn is None and (y.detach() * 2).grad_fn is None
        (sine, _), *_ = y.grad_fn.next_functions
        (times, _), = sine.next_functions
        leaf = times.next_functions[0][0]
        assert [sine.name(), times.name()] == ["SinBackward0", "MulBackward0"] and times.next_functions[1] == (None, 0) and leaf.variable is v
        assert sine == y.grad_fn.next_functions[0][0] and len({sine, y.grad_fn.next_functions[0][0]}) == 1
        for _ in range(3):                                    # what a program has computed has a history all the same
            z = (v * v).exp().sum()
            assert z.grad_fn.next_functions[0][0].name() == "ExpBackward0"
            z.backward()


PATHS = """autograd.functional:jacobian autograd.variable:Variable autograd.function:Function nn.parameter:Parameter nn.modules:Module nn.modules.module:Module nn.modules.batchnorm:_BatchNorm
nn.modules.conv:_ConvNd nn.modules.utils:_pair nn.modules.loss:_Loss nn.modules.container:Sequential nn.utils.rnn:pad_sequence nn.utils.clip_grad:clip_grad_norm_
nn.utils.parametrizations:weight_norm nn.utils.weight_norm:weight_norm optim.optimizer:Optimizer optim.adam:Adam optim.lr_scheduler:LambdaLR utils.data.dataset:Dataset
utils.data.dataloader:DataLoader utils.data.sampler:Sampler utils.checkpoint:checkpoint distributions.normal:Normal distributions.kl:kl_divergence nn.functional:relu""".split()


@needs_torch
@pytest.mark.parametrize("path", PATHS)
def test_paths_of_imports(path):
    module, name = path.split(":")
    for library in ("diffeng", "torch"):
        assert callable(getattr(importlib.import_module(f"{library}.{module}"), name))


def test_layers_are_of_the_kinds_that_isinstance_asks_for():
    from diffeng.nn.modules.batchnorm import _BatchNorm
    from diffeng.nn.modules.conv import _ConvNd
    from diffeng.nn.modules.utils import _pair
    assert isinstance(de.nn.BatchNorm2d(2), _BatchNorm) and not isinstance(de.nn.InstanceNorm2d(2), _BatchNorm) and isinstance(de.nn.ConvTranspose1d(1, 1, 1), _ConvNd)
    assert _pair(3) == (3, 3) and _pair([1, 2]) == (1, 2) and callable(de.nn.utils.weight_norm)
    with pytest.raises(AttributeError, match="has no attribute 'detect_anomaly': errors name the user's lines"):
        de.autograd.detect_anomaly
