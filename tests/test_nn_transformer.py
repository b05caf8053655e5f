"""MultiheadAttention and the Transformer: with PyTorch's weights, PyTorch's values and gradients."""
import numpy as np
import pytest

import diffeng as de
from beside_torch import both, both_refuse, needs_torch, torch

pytestmark = pytest.mark.filterwarnings("ignore:enable_nested_tensor")
RNG = np.random.default_rng(0)
X, Y = (RNG.standard_normal(s).astype(np.float32) for s in ((3, 4, 8), (3, 5, 8)))
CAUSAL = np.triu(np.ones((4, 4), bool), 1)
PADDING = np.array([[0, 0, 0, 1], [0, 0, 1, 1], [0, 0, 0, 0]], bool)
OF_Y = np.array([[0, 0, 0, 1, 0], [0, 0, 1, 1, 0], [0, 0, 0, 0, 1]], bool)
ADDED = RNG.standard_normal((4, 4)).astype(np.float64)


def same_weights(m, make):
    """A module of library m with numbers that are the same in both, and its parameters."""
    layer = make(m.nn)
    rng = np.random.default_rng(1)
    layer.load_state_dict({k: m.tensor((rng.standard_normal(tuple(v.shape)) * 0.3).astype(np.float32)) for k, v in layer.state_dict().items()})
    return layer


def check(make, run, *arrays):
    def f(m, F, *ts):
        layer = same_weights(m, make)
        out = run(m, layer, *ts)
        out = out if isinstance(out, tuple) else (out,)
        sum([(x * x).sum() for x in out if x is not None]).backward()
        return [x.detach() for x in out if x is not None] + [p.grad for p in layer.parameters()]
    both(f, *arrays, tol=1e-4)
    assert [*make(torch.nn).state_dict()] == [*make(de.nn).state_dict()]


@needs_torch
@pytest.mark.parametrize("options", [{}, {"bias": False}, {"batch_first": True}])
def test_attention_to_itself(options):
    check(lambda nn: nn.MultiheadAttention(8, 2, **options), lambda m, layer, x: layer(x, x, x), X)
    check(lambda nn: nn.MultiheadAttention(8, 2, **options), lambda m, layer, x: layer(x[0], x[0], x[0], average_attn_weights=False), X)


@needs_torch
@pytest.mark.parametrize("average", [True, False])
def test_attention_with_masks(average):
    def make(nn):
        return nn.MultiheadAttention(8, 2, batch_first=True)
    check(make, lambda m, layer, x, mask: layer(x, x, x, attn_mask=mask, average_attn_weights=average), X, CAUSAL)
    check(make, lambda m, layer, x, mask: layer(x, x, x, attn_mask=mask.to(m.float32), is_causal=True), X, ADDED)
    check(make, lambda m, layer, x, y, mask: layer(x, y, y, key_padding_mask=mask, average_attn_weights=average), X, Y, OF_Y)
    check(make, lambda m, layer, x, mask, pad: layer(x, x, x, key_padding_mask=pad, attn_mask=mask), X, CAUSAL, PADDING)
    check(make, lambda m, layer, x, mask, pad: layer(x, x, x, pad.double().to(m.float32), attn_mask=mask.to(m.float32)), X, ADDED, PADDING)
    check(make, lambda m, layer, x, mask: layer(x, x, x, attn_mask=mask, need_weights=False), X, np.stack([CAUSAL, ~CAUSAL | np.eye(4, dtype=bool) < 1] * 3) & ~np.eye(4, dtype=bool))


@needs_torch
def test_attention_to_vectors_of_other_sizes():
    def run(m, layer, x, y):
        return layer(x, y[..., :5], y[..., :6])
    check(lambda nn: nn.MultiheadAttention(8, 4, kdim=5, vdim=6, batch_first=True), run, X, Y)


def test_weights_are_initialised_as_pytorchs():
    de.manual_seed(0)
    layer = de.nn.MultiheadAttention(32, 4)
    bound = np.sqrt(6 / (32 + 96))
    w = np.abs(layer.in_proj_weight.detach().numpy())
    assert w.max() <= bound and abs(w.mean() / bound - 0.5) < 0.02 and not layer.in_proj_bias.any() and not layer.out_proj.bias.any()


@needs_torch
def test_attention_refuses():
    both_refuse(lambda m, F, x: m.nn.MultiheadAttention(8, 3), X)
    both_refuse(lambda m, F, x: m.nn.MultiheadAttention(6, 3)(x, x, x), X)
    both_refuse(lambda m, F, x: m.nn.MultiheadAttention(8, 2)(x, x, x, is_causal=True), X)
    both_refuse(lambda m, F, x: m.nn.MultiheadAttention(8, 2)(x, x, x, attn_mask=m.zeros(3, 3).bool()[:2]), X)
    both_refuse(lambda m, F, x: m.nn.MultiheadAttention(8, 2)(x, x, x, key_padding_mask=m.zeros(3, 3).bool()), X)
    both_refuse(lambda m, F, x: m.nn.TransformerEncoderLayer(8, 2, activation="tanh"), X)
    both_refuse(lambda m, F, x: m.nn.Transformer(8, 2, 1, 1, 8)(x, x[:, :2]), X)


LAYERS = [{}, {"norm_first": True, "activation": "gelu", "batch_first": True}, {"bias": False, "layer_norm_eps": 1e-3}]


@needs_torch
@pytest.mark.parametrize("options", LAYERS)
def test_layers(options):
    options = {"dropout": 0.0, "dim_feedforward": 16, **options}
    batch = (lambda x: x) if options.get("batch_first") else (lambda x: x.transpose(0, 1))
    check(lambda nn: nn.TransformerEncoderLayer(8, 2, **options), lambda m, layer, x, mask, pad: layer(batch(x), mask, pad), X, CAUSAL, PADDING)
    check(lambda nn: nn.TransformerDecoderLayer(8, 2, **options),
          lambda m, layer, x, y, mask, pad: layer(batch(x), batch(y), tgt_mask=mask, memory_key_padding_mask=pad), X, Y, CAUSAL, OF_Y)


@needs_torch
@pytest.mark.parametrize("norm_first", [False, True])
def test_stacks(norm_first):
    options = {"dropout": 0.0, "dim_feedforward": 16, "batch_first": True, "norm_first": norm_first}

    def encoder(nn):
        return nn.TransformerEncoder(nn.TransformerEncoderLayer(8, 2, **options), 2, nn.LayerNorm(8), enable_nested_tensor=False)
    check(encoder, lambda m, layer, x: layer(x, mask=m.nn.Transformer.generate_square_subsequent_mask(4), is_causal=True), X)
    check(lambda nn: nn.Transformer(8, 2, 1, 2, **options),
          lambda m, layer, x, y, pad: layer(x, y, tgt_mask=m.nn.Transformer.generate_square_subsequent_mask(5).isinf(), src_key_padding_mask=pad, memory_key_padding_mask=pad), X, Y,
          PADDING)


def test_a_causal_mask_and_dropout():
    assert de.nn.Transformer.generate_square_subsequent_mask(3).tolist() == [[0, -np.inf, -np.inf], [0, 0, -np.inf], [0, 0, 0]]
    x = de.tensor(X)
    layer = de.nn.TransformerEncoderLayer(8, 2, 16, dropout=0.5)
    assert not layer(x).equal(layer(x)) and layer.eval()(x).equal(layer(x))
    assert len({id(p) for p in de.nn.TransformerEncoder(layer, 3).parameters()}) == 3 * 12
