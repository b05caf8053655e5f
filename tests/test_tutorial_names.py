"""Names that the tutorials use beside the core of the tensors, without PyTorch: what they mean, and what they refuse."""
import math

import numpy as np
import pytest

import diffeng as de
from diffeng.nn import functional as F

PROBS = np.array([[0.1, 0.0, 0.6, 0.3], [0.25, 0.25, 0.25, 0.25]], np.float32)


# ---- drawing ------------------------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("replacement", [True, False])
def test_multinomial_draws_with_these_probabilities_and_is_seeded(replacement):
    p = de.tensor(np.tile(PROBS[:1] * 5, (4000, 1)))
    de.manual_seed(3)
    drawn = de.multinomial(p, 1, replacement)
    assert drawn.shape == (4000, 1) and drawn.dtype == de.int64
    np.testing.assert_allclose(np.bincount(drawn.numpy()[:, 0], minlength=4) / 4000, PROBS[0], atol=0.03)
    de.manual_seed(3)
    assert de.multinomial(p, 1, replacement).equal(drawn)
    one, other = de.Generator().manual_seed(1), de.Generator().manual_seed(1)
    assert p[0].multinomial(2, generator=one).equal(de.multinomial(input=p[0], num_samples=2, generator=other))


def test_multinomial_without_replacement_takes_each_once_and_what_cannot_come_last():
    for _ in range(20):
        drawn = de.multinomial(de.tensor(PROBS), 4).tolist()
        assert sorted(drawn[0]) == sorted(drawn[1]) == [0, 1, 2, 3] and drawn[0][-1] == 1
    many = de.multinomial(de.tensor([0.0, 1.0, 0.0]), 50, replacement=True)
    assert many.tolist() == [1] * 50


@pytest.mark.parametrize("p, n, text", [([1, 2], 1, "floating-point"), ([[[1.0]]], 1, "1 or 2 dim"), ([1.0, 2.0], 3, "replacement=True"), ([1.0], 0, "<= 0"),
                                        ([-1.0, 2.0], 1, "softmax"), ([math.nan, 1.0], 1, "softmax"), ([0.0, 0.0], 1, "sum of probabilities")])
def test_multinomial_refuses(p, n, text):
    with pytest.raises(RuntimeError, match=text):
        de.multinomial(de.tensor(p), n)


# ---- names --------------------------------------------------------------------------------------------------------------------------

def test_constants():
    assert (de.pi, de.e, de.inf) == (math.pi, math.e, math.inf) and math.isnan(de.nan)
    assert de.tensor([1.0, 2.0]).masked_fill(de.tensor([True, False]), -de.inf).tolist() == [-math.inf, 2.0]


def test_a_shape_counts_its_entries():
    x = de.zeros(2, 3)
    assert x.shape.numel() == x.size().numel() == 6 and de.zeros(()).shape.numel() == 1 and (x * 2).shape == (2, 3) == de.Size([2, 3])
    assert isinstance(x.shape, de.Size) and isinstance(x.shape, tuple) and de.ones(x.shape).shape == x.shape


def test_a_range_is_an_index():
    x = de.arange(12).reshape(3, 4).float()
    assert x[range(3), de.tensor([3, 0, 1])].tolist() == [3.0, 4.0, 9.0] and x[range(1, 3)].shape == (2, 4)
    x[range(3), [0, 1, 2]] = -1.0
    assert x.diagonal().tolist() == [-1.0] * 3


def test_the_first_argument_may_be_called_input():
    x = de.tensor(PROBS)
    for a, b in ((de.softmax(input=x, dim=-1), x.softmax(-1)), (de.sum(input=x, dim=0), x.sum(0)), (de.add(input=x, other=1.0), x + 1.0),
                 (F.relu(input=-x), de.zeros(2, 4)), (de.squeeze(input=x[:1]), x[0]), (de.topk(input=x, k=2)[0], x.topk(2)[0]),
                 (de.clamp(input=x, max=0.2), x.clamp(max=0.2)), (de.where(x > 0.2, input=x, other=0.0), de.where(x > 0.2, x, 0.0)),
                 (de.t(input=x), x.T), (de.addmm(input=x, mat1=x[:, :2], mat2=x), de.addmm(x, x[:, :2], x))):
        assert a.equal(b)


@pytest.mark.parametrize("f", [F.relu, F.silu, F.leaky_relu, F.elu, F.dropout])
def test_activations_write_in_place_where_they_are_told(f):
    x = de.tensor([1.0, -2.0])
    de.manual_seed(0)
    a = f(x, inplace=False)
    assert x.tolist() == [1.0, -2.0]
    de.manual_seed(0)
    assert f(x, inplace=True) is x and a.equal(x)


def test_new_tensors_are_like_the_old_one():
    x = de.tensor([1.0], dtype=de.float64)
    assert x.new_zeros(2, 3).shape == x.new_empty((2, 3)).shape == (2, 3) and x.new_ones(2).dtype == de.float64
    assert x.new_full((2,), 7).tolist() == [7.0, 7.0] and x.new_tensor([1, 2]).dtype == de.float64 and x.new_ones(1, dtype=de.int32).dtype == de.int32


def test_sizes_by_name_and_what_is_no_name():
    assert de.zeros(size=(2, 3)).shape == de.randn(size=(2, 3)).shape == (2, 3) and de.arange(end=3).tolist() == [0, 1, 2]
    with pytest.raises(TypeError, match="unexpected argument 'shape'"):
        de.zeros(shape=(2, 3))


def test_softplus_is_the_identity_above_its_threshold():
    x = de.tensor([-1.0, 0.5, 3.0, 30.0], requires_grad=True)
    y = F.softplus(x, beta=2, threshold=5)
    np.testing.assert_allclose(y.detach().numpy(), [math.log1p(math.exp(-2)) / 2, math.log1p(math.exp(1)) / 2, 3, 30], rtol=1e-6)
    y.sum().backward()
    np.testing.assert_allclose(x.grad.numpy(), [1 / (1 + math.exp(2)), 1 / (1 + math.exp(-1)), 1, 1], rtol=1e-6)
    assert de.nn.Softplus(2.0, 5.0)(x).equal(y)


def test_inference_mode_records_nothing():
    w = de.ones(2, requires_grad=True)

    @de.inference_mode()
    def f():
        return w * 2
    with de.inference_mode():
        inside = w * 2
        with de.inference_mode(False):
            assert (w * 2).requires_grad
    assert not inside.requires_grad and not f().requires_grad and not de.inference_mode(lambda: w * 2)().requires_grad and (w * 2).requires_grad


def test_backward_of_several():
    x = de.tensor([1.0, 2.0], requires_grad=True)
    y = x * x
    de.autograd.backward([y.sum(), y], [None, de.tensor([1.0, 0.0])])
    assert x.grad.tolist() == [4.0, 4.0]


def test_devices_dtypes_and_options_by_pytorchs_names():
    x = de.ones(3)
    assert x.device.type == de.device("cpu").type == "cpu" and isinstance(x.device, de.device) and x.device == "cpu" and de.device("cpu", 0) == "cpu"
    assert x.to("cpu", non_blocking=True) is x and [p.shape for p in de.ones(4).split(split_size=3)] == [(3,), (1,)]
    assert de.finfo(de.float32).max == float(np.finfo(np.float32).max) and de.finfo().eps == 2.0 ** -23 and de.iinfo(de.int8).min == -128
    assert de.nn.Linear(1, 1).to("cpu", non_blocking=True).weight.device.type == "cpu"


def test_how_tensors_are_printed_is_an_option():
    x = de.tensor([1.23456, 100.0])
    try:
        de.set_printoptions(precision=2)
        assert repr(x) == "tensor([  1.23, 100.00])"
        de.set_printoptions(sci_mode=True, precision=1)
        assert repr(x) == "tensor([1.2e+00, 1.0e+02])"
        de.set_printoptions(threshold=4, edgeitems=1)
        assert repr(de.arange(6)) == "tensor([0,  ..., 5])"
    finally:
        de.set_printoptions(profile="default")
    assert repr(x) == "tensor([  1.2346, 100.0000])"


def test_what_there_is_not_names_the_cure():
    for name, cure in (("compile", "de.jit"), ("bfloat16", "float16"), ("autocast", "one dtype")):
        with pytest.raises(AttributeError, match=f"no attribute {name!r}: .*{cure}"):
            getattr(de, name)
    for owner, name, cure in ((de.nn, "TransformerEncoderlayer", "did you mean TransformerEncoderLayer"),):
        with pytest.raises(AttributeError, match=f"no attribute {name!r}.*{cure}"):
            getattr(owner, name)
    for owner in (de, de.ones(1), de.nn, de.autograd):
        assert not hasattr(owner, "nothing")
        with pytest.raises(AttributeError, match="no attribute 'nothing'$"):
            owner.nothing


# ---- truth values and small integers -------------------------------------------------------------------------------------------------

def test_masks_are_not_subtracted_and_small_integers_wrap_around():
    mask = de.tensor([True, False])
    for subtract in (lambda: 1 - mask, lambda: mask - 1.0, lambda: de.ones(2) - mask, lambda: de.sub(mask, mask, alpha=2)):
        with pytest.raises(RuntimeError, match="with a bool tensor is not supported"):
            subtract()
    with pytest.raises(NotImplementedError, match="not implemented for 'Float'"):
        mask & de.ones(2)
    x = de.tensor([0, 3], dtype=de.uint8)
    assert (x - 1).tolist() == [255, 2] and (x + -1).tolist() == [255, 2] and (x * -1).tolist() == [0, 253] and (x + -1).dtype == de.uint8


def test_names_of_statistics_shapes_and_sequences():
    x = de.tensor(PROBS, requires_grad=True)
    variance, mean = de.var_mean(x, 1, keepdim=True)
    deviation, _ = de.std_mean(x, dim=0, correction=0)
    assert variance.equal(x.var(1, keepdim=True)) and mean.shape == (2, 1) and deviation.equal(x.std(0, correction=0))
    assert de.diff(x, dim=0).equal(x[1:] - x[:-1]) and de.moveaxis(x, 0, 1).equal(x.T) and x.swapdims(0, 1).shape == (4, 2)
    assert de.kron(de.eye(2), de.tensor([[1.0, 2.0]])).tolist() == [[1.0, 2.0, 0.0, 0.0], [0.0, 0.0, 1.0, 2.0]]
    assert x.clamp_min(0.2).min().item() == np.float32(0.2) and de.clamp_max(x, 0.2).max().item() == np.float32(0.2)
    assert de.isin(de.tensor([1, 2, 3]), de.tensor([3, 1])).tolist() == [True, False, True] and de.promote_types(de.float32, de.int64) == de.float32
    assert de.cosine_similarity(x, x).tolist() == pytest.approx([1.0, 1.0]) and de.lgamma(de.tensor(5.0)).item() == pytest.approx(math.log(24))
    a, b, c = de.ones(2, 2, 3), de.ones(2, 3, 2), de.ones(2, 2)
    assert de.baddbmm(c, a, b, beta=0.5, alpha=2.0).equal(a @ b * 2 + c / 2)
    x.lgamma().sum().backward()
    assert de.allclose(x.grad, de.digamma(x))


def test_unique_says_where_and_how_often():
    values, where, counts = de.unique(de.tensor([3, 1, 3, 2]), return_inverse=True, return_counts=True)
    assert (values.tolist(), where.tolist(), counts.tolist()) == ([1, 2, 3], [2, 0, 2, 1], [1, 1, 2])
    assert de.tensor([3, 1, 3]).unique(True).tolist() == [1, 3]


def test_exponential_numbers_draw_like_multinomial():
    p, counts = de.tensor([0.1, 0.0, 0.6, 0.3]), np.zeros(4)
    de.manual_seed(0)
    for _ in range(2000):
        counts[(p / de.empty_like(p).exponential_(1)).argmax().item()] += 1
    np.testing.assert_allclose(counts / 2000, p.numpy(), atol=0.04)
    assert abs(de.empty(20000).exponential_(4.0).mean().item() - 0.25) < 0.02


def test_sequences_are_padded_and_vectors_go_back_into_parameters():
    parts = [de.ones(3, 2), de.ones(1, 2) * 2]
    padded = de.nn.utils.rnn.pad_sequence(parts, padding_value=-1.0)
    assert padded.shape == (3, 2, 2) and padded[:, 1].tolist() == [[2.0, 2.0], [-1.0, -1.0], [-1.0, -1.0]]
    assert de.nn.utils.rnn.pad_sequence(parts, batch_first=True, padding_side="left")[1].tolist() == [[0.0, 0.0], [0.0, 0.0], [2.0, 2.0]]
    with pytest.raises(RuntimeError, match="empty list"):
        de.nn.utils.rnn.pad_sequence([])
    layer = de.nn.Linear(2, 1)
    de.nn.utils.vector_to_parameters(de.tensor([1.0, 2.0, 3.0]), layer.parameters())
    assert layer.weight.tolist() == [[1.0, 2.0]] and layer.bias.tolist() == [3.0]
    assert de.nn.utils.parameters_to_vector(layer.parameters()).tolist() == [1.0, 2.0, 3.0]


def test_older_names_of_tensors_and_seeds():
    assert de.FloatTensor([1, 2]).dtype == de.float32 and de.LongTensor([[1.0]]).tolist() == [[1]] and de.FloatTensor(2, 3).shape == (2, 3) and de.BoolTensor([0, 2]).tolist() == [False, True]
    x = de.ones(2)
    assert x.pin_memory() is x
    de.cuda.manual_seed(3)
    first = de.rand(2)
    de.cuda.manual_seed_all(3)
    assert de.rand(2).equal(first)


def test_slopes_at_0_of_sinc_and_xlogy():
    """Not those of sin(y) / y, which has no digits left there, nor 0, where y has a logarithm; PyTorch masks what has none."""
    x = de.tensor([1e-4, 1e-3], dtype=de.float64, requires_grad=True)
    de.sinc(x).sum().backward()
    np.testing.assert_allclose(x.grad.numpy(), -np.pi ** 2 * x.detach().numpy() / 3 * (1 - np.pi ** 2 * x.detach().numpy() ** 2 / 10), rtol=1e-11)
    x, y = de.tensor([0.0, 0.0, 0.0, 2.0], requires_grad=True), de.tensor([2.0, 0.0, -1.0, 3.0])
    out = de.xlogy(x, y)
    out.sum().backward()
    np.testing.assert_allclose(x.grad.numpy(), [math.log(2), 0, 0, math.log(3)], rtol=1e-6)
    np.testing.assert_allclose(out.tolist(), [0, 0, 0, 2 * math.log(3)], rtol=1e-6)
    assert de.xlogy(2.0, y).dtype == de.float32
