"""GPT-2 in plain NumPy, against a second one written entry by entry, and under the recording interpreter."""
import ast
import dataclasses
import math
import sys
from pathlib import Path

import numpy as np
import pytest

from diffeng import buffers
from diffeng.llm import GPT2, Block, GPT2Config, gpt2, init_parameters, loss
from diffeng.llm.block import block, gelu, layer_norm, softmax
from diffeng.llm.model import cross_entropy
from diffeng.nodes import Tracing, reachable

ALLOWED = sys.stdlib_module_names | {"numpy", "click"}
SMALL = GPT2Config(vocab_size=11, context_length=6, emb_dim=8, n_heads=2, n_layers=2, drop_rate=0.0)


def lively(config, seed=1, dtype=np.float64):
    """Parameters far from the initial ones, so that nothing is nearly linear."""
    random = np.random.default_rng(seed)
    return {k: (v + 0.4 * random.standard_normal(v.shape)).astype(dtype) for k, v in init_parameters(config).items()}


# ---- a second GPT-2: lists, loops and math, one sequence, no array arithmetic ----------------------------------------------------

def second_gpt2(p, tokens, config):
    C, H = config.emb_dim, config.n_heads
    D = C // H

    def norm(row, at):
        mean = math.fsum(row) / C
        root = math.sqrt(math.fsum((v - mean) ** 2 for v in row) / C + 1e-5)
        return [(v - mean) / root * p[at + "weight"][c] + p[at + "bias"][c] for c, v in enumerate(row)]

    def affine(row, at):
        W = p[at + "weight"]
        return [math.fsum(row[i] * W[i, j] for i in range(len(row))) + p[at + "bias"][j] for j in range(W.shape[1])]

    x = [[p["wte.weight"][t, c] + p["wpe.weight"][i, c] for c in range(C)] for i, t in enumerate(tokens)]
    for layer in range(config.n_layers):
        at = f"h.{layer}."
        qkv = [affine(norm(row, at + "ln_1."), at + "attn.c_attn.") for row in x]
        for i in range(len(x)):                        # position i sees positions 0 .. i
            mixed = []
            for h in range(H):
                q = qkv[i][h * D:(h + 1) * D]
                s = [math.fsum(q[d] * qkv[j][C + h * D + d] for d in range(D)) / math.sqrt(D) for j in range(i + 1)]
                e = [math.exp(v) for v in s]
                mixed += [math.fsum(e[j] * qkv[j][2 * C + h * D + d] for j in range(i + 1)) / math.fsum(e) for d in range(D)]
            x[i] = [a + b for a, b in zip(x[i], affine(mixed, at + "attn.c_proj."))]
        for i, row in enumerate(x):
            wide = affine(norm(row, at + "ln_2."), at + "mlp.c_fc.")
            wide = [v / 2 * (1 + math.tanh(math.sqrt(2 / math.pi) * (v + 0.044715 * v ** 3))) for v in wide]
            x[i] = [a + b for a, b in zip(row, affine(wide, at + "mlp.c_proj."))]
    x = [norm(row, "ln_f.") for row in x]
    return [[math.fsum(row[c] * p["wte.weight"][v, c] for c in range(C)) for v in range(config.vocab_size)] for row in x]


def second_loss(p, tokens, targets, config):
    total = 0.0
    for row, t in zip(second_gpt2(p, tokens, config), targets):
        total += math.log(math.fsum(math.exp(v) for v in row)) - row[t]
    return total / len(tokens)


TOKENS, TARGETS = np.array([3, 1, 4, 1, 5, 9]), np.array([1, 4, 1, 5, 9, 2])


def test_logits_and_loss_are_those_of_the_second_gpt2():
    p = lively(SMALL)
    np.testing.assert_allclose(gpt2(p, TOKENS, SMALL), second_gpt2(p, TOKENS, SMALL), rtol=1e-12, atol=1e-12)
    assert abs(loss(p, TOKENS, TARGETS, SMALL) - second_loss(p, TOKENS, TARGETS, SMALL)) < 1e-13


def test_a_batch_is_its_rows():
    p = lively(SMALL)
    batch = np.stack([TOKENS, TARGETS])
    both = gpt2(p, batch, SMALL)
    assert both.shape == (2, 6, 11)
    for row, tokens in zip(both, batch):
        np.testing.assert_allclose(row, gpt2(p, tokens, SMALL), rtol=1e-13, atol=1e-13)
    rows = [loss(p, TOKENS, TARGETS, SMALL), loss(p, TARGETS, TOKENS, SMALL)]
    assert abs(loss(p, batch, batch[::-1], SMALL) - np.mean(rows)) < 1e-14


def test_nothing_looks_ahead():
    p = lively(SMALL)
    other = TOKENS.copy()
    other[4:] = 7
    assert np.array_equal(gpt2(p, TOKENS, SMALL)[:4], gpt2(p, other, SMALL)[:4])        # to the last bit
    assert not np.allclose(gpt2(p, TOKENS, SMALL)[4:], gpt2(p, other, SMALL)[4:])


def test_without_qkv_bias():
    config = dataclasses.replace(SMALL, qkv_bias=False)
    p = init_parameters(config)
    assert "h.0.attn.c_attn.bias" not in p and len(p) == len(init_parameters(SMALL)) - 2
    with_zero_bias = p | {f"h.{k}.attn.c_attn.bias": np.zeros(24) for k in range(2)}
    assert np.array_equal(gpt2(p, TOKENS, config), gpt2(with_zero_bias, TOKENS, SMALL))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_the_dtype_stays(dtype):
    p = lively(SMALL, dtype=dtype)
    assert gpt2(p, TOKENS, SMALL).dtype == dtype and loss(p, TOKENS, TARGETS, SMALL).dtype == dtype
    assert abs(loss(p, TOKENS, TARGETS, SMALL) - second_loss(p, TOKENS, TARGETS, SMALL)) < 200 * np.finfo(dtype).eps


# ---- the parts --------------------------------------------------------------------------------------------------------------------

def test_layer_norm_has_mean_bias_and_deviation_weight():
    x = np.random.default_rng(0).standard_normal((5, 400)) * 30 + 7
    y = layer_norm({"a.weight": np.full(400, 2.0), "a.bias": np.full(400, 3.0)}, "a.", x)
    np.testing.assert_allclose(y.mean(-1), 3.0, atol=1e-12)
    np.testing.assert_allclose(y.std(-1), 2.0, rtol=1e-7)


def test_gelu_is_near_its_definition():
    x = np.linspace(-6, 6, 301)
    exact = [v / 2 * (1 + math.erf(v / math.sqrt(2))) for v in x]
    assert np.max(np.abs(gelu(x) - exact)) < 5e-4            # the tanh form's own distance, 4.7e-4
    assert gelu(np.zeros(1)) == 0 and gelu(np.array([60.0])) == 60 and gelu(np.array([-60.0])) == 0


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_softmax_and_cross_entropy_at_extremes(dtype):
    x = np.array([[1e4, -1e4, 0], [700, 710, 720], [-1e10, 1, -1e10]], dtype)
    shares = softmax(x)
    assert np.isfinite(shares).all() and shares.dtype == dtype
    np.testing.assert_allclose(shares.sum(-1), 1, rtol=1e-6)
    assert shares[2].tolist() == [0, 1, 0]
    assert cross_entropy(x[:1], np.array([1])) == 2e4            # -log of a probability that underflows
    assert cross_entropy(np.zeros((2, 3, 4), dtype), np.zeros((2, 3), int)) == pytest.approx(math.log(4))


def test_scores_of_a_thousand_stay_finite():
    p = lively(SMALL)
    p["h.0.attn.c_attn.weight"] = p["h.0.attn.c_attn.weight"] * 1e3
    assert np.isfinite(gpt2(p, TOKENS, SMALL)).all()


def test_block_class_is_the_function():
    one = Block(SMALL, seed=3)
    x = np.random.default_rng(0).standard_normal((2, 6, 8))
    assert list(one.parameters) == list(SMALL.block_shapes)
    assert np.array_equal(one(x), block(one.parameters, "", x, 2))
    assert not np.array_equal(one(x), one(x, Block(SMALL, seed=4).parameters))


# ---- configuration and initialisation -----------------------------------------------------------------------------------------------

@pytest.mark.parametrize("name, count", [("gpt2", 124_439_808), ("gpt2-medium", 354_823_168), ("gpt2-large", 774_030_080),
                                         ("gpt2-xl", 1_557_611_200), ("tiny", 21_472)])
def test_parameter_counts_are_the_published_ones(name, count):
    config = GPT2Config.named(name)
    assert config.parameter_count == count
    if name == "tiny":
        assert sum(v.size for v in init_parameters(config).values()) == count


def test_defaults_are_gpt2s():
    assert GPT2Config() == GPT2Config.named("gpt2") == GPT2Config(50257, 1024, 768, 12, 12, 0.1, True)
    with pytest.raises(dataclasses.FrozenInstanceError):
        GPT2Config().emb_dim = 3


@pytest.mark.parametrize("wrong, kind, word", [
    (dict(emb_dim=30, n_heads=4), ValueError, "emb_dim 30"), (dict(n_layers=0), ValueError, "n_layers"), (dict(vocab_size=-1), ValueError, "vocab_size"),
    (dict(context_length=2.5), TypeError, "context_length"), (dict(n_heads=True), TypeError, "n_heads"), (dict(drop_rate=1.0), ValueError, "drop_rate"),
    (dict(drop_rate=float("nan")), ValueError, "drop_rate"), (dict(drop_rate="0.1"), TypeError, "drop_rate"), (dict(qkv_bias=1), TypeError, "qkv_bias"),
])
def test_wrong_configurations_say_which_field(wrong, kind, word):
    with pytest.raises(kind, match=word):
        GPT2Config(**wrong)


def test_an_unknown_name_lists_the_known_ones():
    with pytest.raises(ValueError, match="gpt3.*gpt2-medium.*tiny"):
        GPT2Config.named("gpt3")


def test_names_and_shapes_are_the_checkpoints():
    p = init_parameters(SMALL)
    assert {k: v.shape for k, v in p.items()} == SMALL.parameter_shapes
    assert p["h.1.attn.c_attn.weight"].shape == (8, 24) and p["h.1.mlp.c_proj.weight"].shape == (32, 8) and p["wpe.weight"].shape == (6, 8)
    assert list(p)[:4] == ["wte.weight", "wpe.weight", "h.0.ln_1.weight", "h.0.ln_1.bias"] and list(p)[-1] == "ln_f.bias"
    assert len(p) == 4 + 2 * 12


def test_initialisation():
    config = GPT2Config(vocab_size=500, context_length=200, emb_dim=64, n_heads=4, n_layers=8)
    p = init_parameters(config, seed=5)
    deviation = {k: v.std() for k, v in p.items() if v.ndim == 2}
    for name, s in deviation.items():
        assert s == pytest.approx(0.005 if name.endswith("c_proj.weight") else 0.02, rel=0.05), name          # 0.02 / sqrt(16)
    assert all((v == (0 if k.endswith("bias") else 1)).all() for k, v in p.items() if v.ndim == 1)
    again, other, single = init_parameters(config, 5), init_parameters(config, 6), init_parameters(config, 5, np.float32)
    assert all(np.array_equal(p[k], again[k]) for k in p)
    assert not np.array_equal(p["wte.weight"], other["wte.weight"])
    assert all(single[k].dtype == np.float32 and np.array_equal(single[k], p[k].astype(np.float32)) for k in p)


def test_a_new_model_knows_nothing():
    model = GPT2(GPT2Config.named("tiny"), seed=0)
    tokens = np.frombuffer(b"All happy families", np.uint8)
    assert model.loss(tokens[:16], tokens[1:17]) == pytest.approx(math.log(256), abs=0.05)
    assert model.logits(tokens[:16]).dtype == np.float32


# ---- tokens that do not fit ---------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("tokens, kind, word", [
    ([0.5], TypeError, "float64"), ([], TypeError, "float64"), (3, ValueError, r"shape \(\)"), ([1] * 7, ValueError, "context_length is 6"),
    ([11], ValueError, "vocab_size 11"), ([-1], ValueError, "vocab_size 11"), (np.zeros((0, 3), int), ValueError, "shape"), ([[[1]]], ValueError, "shape"),
])
def test_wrong_tokens_say_what_is_wrong(tokens, kind, word):
    with pytest.raises(kind, match=word):
        loss(init_parameters(SMALL), tokens, tokens, SMALL)


def test_every_token_needs_a_target():
    with pytest.raises(ValueError, match=r"\(3,\).*\(2,\)"):
        loss(init_parameters(SMALL), [1, 2, 3], [1, 2], SMALL)


# ---- under the interpreter that records ------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("batched", [False, True])
def test_recording_computes_the_same_bits(dtype, batched):
    p = lively(SMALL, dtype=dtype)
    tokens, targets = (np.stack([TOKENS, TARGETS]), np.stack([TARGETS, TOKENS])) if batched else (TOKENS, TARGETS)
    tracing = Tracing()
    traced = {k: tracing.input(v, k) for k, v in p.items()}
    out = buffers.call(lambda q: loss(q, tokens, targets, SMALL), (traced,))
    assert out.dtype == dtype and out.node.value == loss(p, tokens, targets, SMALL)
    nodes = reachable([out.node])
    assert {n.params["name"] for n in nodes if n.primitive.name == "input"} == set(p)          # the loss depends on every parameter
    assert tracing.looks == []                                                                   # and on no branch


def test_recorded_operations_know_their_module():
    from diffeng.lines import line_of, modules_of
    tracing = Tracing()
    p = {k: tracing.input(v, k) for k, v in init_parameters(SMALL).items()}
    out = buffers.call(lambda q: gpt2(q, TOKENS, SMALL), (p,))
    tanh = [n for n in reachable([out.node]) if n.primitive.name == "tanh"]
    assert len(tanh) == 2 and all(modules_of(n.frames)[-4:] == ("gpt2", "block", "mlp", "gelu") for n in tanh)
    assert line_of(tanh[0].frames).startswith("block.py:")


def test_the_model_imports_nothing_of_the_engine():
    """The mathematics never; what uses it (generation, commands) only inside of functions, so that importing the model stays light."""
    import diffeng.llm
    for file in Path(diffeng.llm.__file__).parent.glob("*.py"):
        tree = ast.parse(file.read_text())
        for node in ast.walk(tree) if file.stem in ("config", "block", "model", "files", "weights") else tree.body:
            if isinstance(node, ast.ImportFrom):
                assert node.level == 1 or node.module.split(".")[0] in ALLOWED | {"writing"}, (file.name, node.module)
            elif isinstance(node, ast.Import):
                assert {a.name.split(".")[0] for a in node.names} <= ALLOWED, file.name


# ---- memory ---------------------------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("batch, length, dtype", [(1, 6, np.float64), (3, 4, np.float32)])
def test_memory_is_what_is_allocated(batch, length, dtype):
    import diffeng as de
    from diffeng.llm.generate import Memory
    found = SMALL.memory(batch, length, dtype)
    p, tokens = init_parameters(SMALL, dtype=dtype), np.zeros((batch, length), int)
    step = de.jit(de.value_and_grad(lambda p, tokens, targets: cross_entropy(gpt2(p, tokens, SMALL), targets)))
    gradient = step(p, tokens, tokens)[1]
    (trace,), = step._traces.values()
    assert found["activations"] == trace.program.peak_bytes > 0
    assert found["parameters"] == sum(a.nbytes for a in p.values()) and found["gradients"] == sum(a.nbytes for a in gradient.values())
    memory = Memory(p, SMALL, batch, length)
    assert found["remembered"] == memory.keys.nbytes + memory.values.nbytes and found["generating"] == found["parameters"] + found["remembered"]
    assert found["moments"] == 2 * found["parameters"]
    assert found["training"] == sum(found[name] for name in ("parameters", "gradients", "moments", "activations"))


def test_memory_of_what_does_not_fit():
    for batch, length, words in ((1, 7, "context_length 6"), (0, 1, "batch 0"), (1, 0, "of 0 tokens")):
        with pytest.raises(ValueError, match=words):
            SMALL.memory(batch, length)
