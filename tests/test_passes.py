"""loss.picture(): the numbers are those of backward, the order is that of the two passes, names are the user's."""
import re

import numpy as np
import pytest

import diffeng as de
from diffeng.passes import Passes


def network():
    de.manual_seed(0)
    net = de.nn.Sequential(de.nn.Linear(4, 3), de.nn.Tanh(), de.nn.Linear(3, 1))
    x = de.randn(8, 4)
    return net, ((net(x) - 1) ** 2).mean()


def test_adjoints_are_what_backward_gives():
    net, loss = network()
    passes = Passes(loss.variable())
    loss.backward()
    found = {id(n.params["tensor"]()): passes.adjoints[n] for n in passes.leaves}
    for p in net.parameters():
        assert np.allclose(found[id(p)], p.grad.numpy(), rtol=1e-6, atol=1e-7)


def test_arrivals_come_in_the_order_of_the_walk_and_add_up():
    w = de.tensor(1.5, dtype=de.float64, requires_grad=True)
    loss = (w * w.sin() + w).exp()
    passes = Passes(loss.variable())
    names = [(n.primitive.name, p.primitive.name) for n, _, p, _ in passes.arrivals]
    assert names == [("exp", "add"), ("add", "multiply"), ("add", "input"), ("multiply", "input"), ("multiply", "sin"), ("sin", "input")]
    total = sum(g for n, _, p, g in passes.arrivals if p.primitive.name == "input")
    assert np.isclose(total, np.exp(1.5 * np.sin(1.5) + 1.5) * (np.sin(1.5) + 1.5 * np.cos(1.5) + 1), rtol=1e-14)


def test_the_neurons_picture():
    x, y = de.tensor([1.1]), de.tensor([1.0])
    w, b = de.tensor([2.2], requires_grad=True), de.tensor([0.0], requires_grad=True)
    loss = de.nn.functional.binary_cross_entropy_with_logits(x * w + b, y)
    source = loss.picture().source
    for text in (r"w (1,)\n= 2.2", r"w.grad\n∂ −0.089826", r"b.grad\n∂ −0.08166", "multiply", r"= 2.42", "test_passes.py:"):
        assert text in source, text
    assert [int(k) for k in re.findall(r'label="(\d+): ', source)] == [*range(1, 1 + len(re.findall(r'label="(\d+): ', source)))]
    assert source == loss.picture().source and "weight (1,)" in loss.picture(names={"weight": w}).source
    loss.backward()
    assert f"{w.grad.item():.4f} {b.grad.item():.4f}" == "-0.0898 -0.0817"


def test_parameters_of_modules_have_their_names(tmp_path):
    net, loss = network()
    source = loss.picture().source
    assert all(f"net.{name} (" in source for name, _ in net.named_parameters())
    path = tmp_path / "passes.svg"
    try:
        assert loss.picture(path) == str(path) and "net.0.weight" in path.read_text()
    except RuntimeError as error:
        assert "Graphviz" in str(error)


def test_errors():
    w = de.tensor([1.0, 2.0], requires_grad=True)
    with pytest.raises(RuntimeError, match=r"begins with one number, and this tensor has shape \[2\]"):
        (w * 2).picture()
    with pytest.raises(RuntimeError, match="does not require grad"):
        de.tensor(1.0).picture()
    loss = (w * w).sum()
    loss.backward(retain_graph=True)
    assert "multiply" in loss.picture().source
    loss.backward()
    with pytest.raises(RuntimeError, match="retain_graph=True"):
        loss.picture()
    x = w.sum()
    for _ in range(500):
        x = x * 1.01
    with pytest.raises(ValueError, match="too many for a picture"):
        x.picture()
