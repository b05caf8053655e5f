"""Recurrent layers and convolutions: values, gradients, names, shapes and errors are PyTorch's; four times in a row, so that programs take over."""
import numpy as np
import pytest

import diffeng as de

torch = pytest.importorskip("torch")


def numbers(library, *shape, k=1.0, grad=False):
    return library.tensor(np.sin(np.arange(1, np.prod(shape) + 1) * 1.7 * k).reshape(shape).astype(np.float32), requires_grad=grad)


def filled(library, module):
    with library.no_grad():
        for k, p in enumerate(module.parameters()):
            p.copy_(numbers(library, *p.shape, k=0.3 + 0.1 * k) * 0.5)
    return module


def same(program):
    a, b = [program(library) for library in (torch, de)]
    assert a[0] == b[0]
    for x, y in zip(a[1], b[1], strict=True):
        x, y = x.detach().numpy(), y.detach().numpy()
        assert x.shape == y.shape and x.dtype == y.dtype
        np.testing.assert_allclose(y, x, 1e-3, 1e-4)


def described(module):
    return repr(module), [(name, tuple(x.shape)) for name, x in module.state_dict().items()]


OPTIONS = [{}, {"batch_first": True}, {"num_layers": 2, "bidirectional": True}, {"num_layers": 2, "bidirectional": True, "bias": False, "batch_first": True}]


@pytest.mark.parametrize("given", [True, False])
@pytest.mark.parametrize("single", [False, True])
@pytest.mark.parametrize("options", OPTIONS)
@pytest.mark.parametrize("name", ["RNN", "LSTM", "GRU"])
def test_recurrent_layers_equal_pytorchs(name, options, single, given):
    def program(library):
        layer = filled(library, getattr(library.nn, name)(3, 4, **options))
        count = options.get("num_layers", 1) * (2 if "bidirectional" in options else 1)
        x = numbers(library, *(() if single else (2,)), 5, 3, grad=True)
        h = numbers(library, count, *(() if single else (2 if "batch_first" in options else 5,)), 4, grad=True)
        for _ in range(4):
            for t in (x, h, *layer.parameters()):
                t.grad = None
            first = ((h, h * 0.5) if name == "LSTM" else h) if given else None
            out, state = layer(x, first)
            state = state if isinstance(state, tuple) else (state,)
            ((out * out).sum() + sum(s.sum() for s in state)).backward()
        return described(layer), [out, *state, x.grad, *([h.grad] if given else []), *[p.grad for p in layer.parameters()]]
    same(program)


@pytest.mark.parametrize("given", [True, False])
@pytest.mark.parametrize("name, options", [("RNNCell", {}), ("RNNCell", {"nonlinearity": "relu"}), ("LSTMCell", {}), ("GRUCell", {"bias": False})])
def test_cells_equal_pytorchs(name, options, given):
    def program(library):
        cell, x, h = filled(library, getattr(library.nn, name)(3, 4, **options)), numbers(library, 2, 3, grad=True), numbers(library, 2, 4)
        state = ((h, h * 0.3) if name == "LSTMCell" else h) if given else None
        for _ in range(4):
            state = cell(x, state)
        parts = state if isinstance(state, tuple) else (state,)
        parts[0].sum().backward()
        return described(cell)[1], [*parts, x.grad, *[p.grad for p in cell.parameters()], cell(x[0])[0] if name == "LSTMCell" else cell(x[0])]
    same(program)


def test_recurrent_layers_learn_and_drop_between_layers_only():
    de.manual_seed(0)
    layer, readout = de.nn.LSTM(1, 8, batch_first=True), de.nn.Linear(8, 1)
    optimizer = de.optim.Adam([*layer.parameters(), *readout.parameters()], lr=0.05)
    x = de.randn(16, 6, 1)
    for _ in range(60):
        optimizer.zero_grad()
        loss = de.nn.functional.mse_loss(readout(layer(x)[0][:, -1]), x[:, 0])
        loss.backward()
        optimizer.step()
    assert loss.item() < 0.2
    one, two = de.nn.GRU(1, 8, dropout=0.9), de.nn.GRU(1, 8, num_layers=2, dropout=0.9)
    assert one(x)[0].equal(one(x)[0]) and not two(x)[0].equal(two(x)[0]) and two.eval()(x)[0].equal(two(x)[0])


@pytest.mark.parametrize("options", [{}, {"stride": 2, "padding": 1}, {"dilation": 2, "padding": 2, "bias": False}, {"groups": 2, "padding": "same"}, {"padding": "same", "dilation": 2}])
@pytest.mark.parametrize("single", [False, True])
@pytest.mark.parametrize("size", [1, 2])
def test_convolutions_equal_pytorchs(size, single, options):
    def program(library):
        layer = filled(library, (library.nn.Conv1d if size == 1 else library.nn.Conv2d)(4, 6, 3, **options))
        x = numbers(library, *(() if single else (2,)), 4, *((9,) if size == 1 else (7, 8)), grad=True)
        for _ in range(4):
            for t in (x, *layer.parameters()):
                t.grad = None
            out = layer(x)
            (out * out).sum().backward()
        return described(layer), [out, x.grad, *[p.grad for p in layer.parameters()]]
    same(program)


@pytest.mark.parametrize("call, kind", [
    (lambda nn, x: nn.LSTM(3, 4)(x(2, 5, 2)), RuntimeError), (lambda nn, x: nn.GRU(3, 4)(x(2, 5, 3), x(1, 4, 4)), RuntimeError), (lambda nn, x: nn.RNN(3, 4, nonlinearity="x"), ValueError),
    (lambda nn, x: nn.Conv1d(3, 4, 3)(x(2, 5, 9)), RuntimeError), (lambda nn, x: nn.Conv1d(3, 4, 5)(x(2, 3, 3)), RuntimeError), (lambda nn, x: nn.Conv1d(3, 4, 5)(x(3)), RuntimeError),
    (lambda nn, x: nn.Conv1d(3, 4, 5, groups=2), ValueError), (lambda nn, x: nn.Conv1d(3, 4, 5, padding="same", stride=2), ValueError),
    (lambda nn, x: nn.functional.conv1d(x(3, 9), x(4, 3, 5), padding="same", stride=2), RuntimeError)])
def test_what_they_refuse(call, kind):
    for library in (torch, de):
        with pytest.raises(kind):
            call(library.nn, library.zeros)


@pytest.mark.parametrize("name", ["std", "var"])
def test_where_all_entries_are_equal(name):
    for shape, options in (((3,), {}), ((2, 4), {"dim": 1, "keepdim": True})):
        found = []
        for library in (torch, de):
            x = library.ones(*shape, requires_grad=True)
            (getattr(x, name)(**options) * 2 + 1e-5).sum().backward()
            found.append(x.grad.tolist())
        assert found[0] == found[1]


def test_heads_of_queries_may_share_keys():
    def program(library):
        q, k, v = numbers(library, 2, 4, 5, 3, grad=True), numbers(library, 2, 2, 5, 3, k=0.6, grad=True), numbers(library, 2, 2, 5, 3, k=0.8, grad=True)
        out = library.nn.functional.scaled_dot_product_attention(q, k, v, is_causal=True, enable_gqa=True)
        (out * out).sum().backward()
        return None, [out, q.grad, k.grad, v.grad]
    same(program)
