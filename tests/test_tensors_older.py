"""What PyTorch's older code asks of tensors: out=, in-place functions and shapes, formats of memory, typed constructors, svd with V, the state of random numbers."""
import numpy as np
import pytest

import diffeng as de
from beside_torch import both, both_refuse, needs_torch, seeded, torch          # noqa: F401  seeded: a fixture

X, Y = np.linspace(-1, 2, 6, dtype=np.float32).reshape(2, 3), np.arange(1, 7, dtype=np.float32).reshape(2, 3)
INTO = [lambda m, x, y, o: m.mul(x, 2, out=o), lambda m, x, y, o: m.add(x, y, alpha=2, out=o), lambda m, x, y, o: m.matmul(x, y.mT, out=o), lambda m, x, y, o: m.sum(x, dim=0, out=o),
        lambda m, x, y, o: m.cat([x, y], dim=1, out=o), lambda m, x, y, o: m.sin(x, out=o), lambda m, x, y, o: m.max(x, y, out=o), lambda m, x, y, o: m.clamp(x, 0, 1, out=o),
        lambda m, x, y, o: m.mean(x, 1, out=o), lambda m, x, y, o: m.where(x > 0, x, y, out=o), lambda m, x, y, o: m.zeros(2, 3, out=o), lambda m, x, y, o: m.logcumsumexp(x, 1, out=o)]


@needs_torch
@pytest.mark.filterwarnings("ignore:An output with one or more elements was resized")
@pytest.mark.parametrize("k", range(len(INTO)))
def test_results_are_written_into_out(k):
    def f(m, F, x, y):
        x, y = x.detach(), y.detach()
        views = m.zeros(4, 3)
        same, other = views[1:3], m.zeros(1)
        a, b = INTO[k](m, x, y, other), other
        return (a, b, m.tensor(a is b), INTO[k](m, x, y, same), views) if a.shape == same.shape else (a, b, m.tensor(a is b))
    both(f, X, Y)


@needs_torch
def test_out_of_several_and_what_is_refused():
    def f(m, F, x):
        values, places = m.zeros(2), m.zeros(2, dtype=m.int64)
        found = m.max(x.detach(), dim=1, out=(values, places))
        return values, places, m.tensor(found.values is values and found.indices is places)
    both(f, X)
    both_refuse(lambda m, F, x: m.mul(x.requires_grad_(), 2, out=m.zeros(2, 3)), X)
    both_refuse(lambda m, F, x: m.sin(x, out=m.zeros(2, 3, dtype=m.int64)), X)
    with pytest.raises(RuntimeError, match=r"mul at .*test_tensors_older.py:\d+: functions with out=.*no_grad"):
        de.mul(de.ones(2, requires_grad=True), 2, out=de.zeros(2))


@needs_torch
def test_functions_and_shapes_in_place():
    def f(m, F, x, y):
        z = y * 2
        m.sin_(z)
        m.clamp_(z, 0.1, 0.9)
        m.nn.init.ones_(w := m.zeros(2, 3))
        a = w[0].unsqueeze_(0)                                   # a view goes on to be one
        a.mul_(5)
        b = m.arange(6.0)
        c = b.view(2, 3)
        b.unsqueeze_(1).add_(1)
        c.t_()[0] += 10
        d = m.ones(2, 1, 3).squeeze_(1).transpose_(0, 1)
        d[0, 1] = 7
        e = m.zeros(1, 2, 1).squeeze_()
        return z * x, w, a, b, c, d, d.contiguous(), e, b.squeeze(1) @ m.arange(6.0)
    both(f, X, Y)
    shared = np.zeros((2, 3), np.float32)
    t = de.from_numpy(shared).unsqueeze_(0)
    t += 1
    assert t.shape == (1, 2, 3) and shared.tolist() == [[1.0] * 3] * 2
    with pytest.raises(RuntimeError, match="does not change in place: write x = x.unsqueeze"):
        (de.ones(2, requires_grad=True) * 2).unsqueeze_(0)


@needs_torch
def test_formats_of_memory_are_taken():
    def f(m, F, x):
        formats = m.preserve_format, m.contiguous_format
        made = [g(x, memory_format=k) for k in formats for g in (m.zeros_like, m.ones_like, m.clone)]
        image = m.ones(1, 2, 3, 3).to(memory_format=m.channels_last)
        return *made, image, x.contiguous(memory_format=m.contiguous_format), m.zeros(2, layout=m.strided, pin_memory=False), x.clone(memory_format=m.preserve_format)
    both(f, X)
    assert de.nn.Conv2d(1, 1, 1).to(memory_format=de.channels_last)(de.ones(1, 1, 2, 2)).shape == (1, 1, 2, 2)


@needs_torch
def test_older_words():
    def f(m, F, x, y):
        u, s, v = m.svd(x)
        q, r = m.qr(y.detach())
        n = x.detach()
        fresh = n.new([1, 2]), n.new_zeros(2), n.new(y.shape).zero_(), m.as_tensor(n.new(2, 2).shape)
        flags = m.tensor([m.is_complex(x), x.is_complex(), x.is_sparse, x.is_cuda, x.is_quantized, x.is_meta, x.ndimension() == 2, x.get_device() == -1, m.is_signed(x), x.is_same_size(y)])
        return (u * s) @ v.mT, s, q @ r, *fresh, flags, x.real * y, x.H, x.adjoint(), x.sum_to_size(1, 3), x.sum_to_size(3), m.spmm(x, y.t()), m.chain_matmul(x, y.t(), x), \
            m.randint_like(n, 3, 4), m.greater_equal(x, y), m.add(x, 2, y), x.sub(2, y), m.addcmul(x, 0.5, x, y), x.addcdiv(0.5, x, y)
    with pytest.warns(UserWarning):
        both(f, X, Y, tol=1e-4)


@needs_torch
def test_typed_constructors():
    names = "Float Double Half Long Int Short Char Byte Bool".split()
    for name in names:
        ours, theirs = getattr(de, name + "Tensor"), getattr(torch, name + "Tensor")
        for data in ([1, 0], np.array([1, 0], theirs([1]).numpy().dtype)):
            assert ours(data).tolist() == theirs(data).tolist() and str(theirs(data).dtype) == f"torch.{ours(data).dtype}"
        assert ours(2, 3).shape == (2, 3) and [isinstance(ours([1]), getattr(de, n + "Tensor")) for n in names] == [n == name for n in names]
        assert de.tensor([2.0, 0.0]).type(ours).tolist() == torch.tensor([2.0, 0.0]).type(theirs).tolist()
    assert de.Tensor(np.ones((2, 2))).dtype == np.float32 and de.nn.Linear(2, 1)(de.Tensor(np.ones((3, 2)))).shape == (3, 1)


def test_random_numbers_go_on_from_a_state():
    def drawn():
        return [de.rand(3).tolist(), de.randn(2).tolist(), de.randint(100, (3,), dtype=de.int32).tolist(), de.dropout(de.ones(9)).tolist(), de.randperm(5).tolist()]
    de.manual_seed(-3)
    drawn()
    state = de.get_rng_state()
    first = drawn()
    assert drawn() != first and state.dtype == np.uint8
    de.set_rng_state(state)
    assert drawn() == first
    one, other = de.Generator().manual_seed(5), de.Generator()
    de.rand(3, generator=one)
    assert de.rand(4, generator=other.set_state(one.get_state())).tolist() == de.rand(4, generator=one).tolist() and other.initial_seed() == 5
    with pytest.raises(RuntimeError, match="get_state"):
        de.set_rng_state(de.zeros(3))


def test_scripts_are_what_they_were():
    @de.jit.script
    def gelu(x):
        return x * 0.5 * (1.0 + (x / 1.41421).erf())
    net = de.nn.Linear(2, 2)
    assert de.jit.script(net) is net and gelu(de.zeros(2)).tolist() == [0.0, 0.0]
