"""One GPT-2 block as plain NumPy functions of a dict of parameters.

What it is: the mathematics, once, with GPT-2's names. The functions know no engine: on arrays they compute, on traced values they
are recorded. A module's parameters are p[at + name], where `at` is its prefix, "h.0." for the first block.
B, the batch axis, may be missing. Why a file: the block is what pictures fold, compilers reuse and papers discuss.
"""
import numpy as np

from .config import GPT2Config

EPSILON = 1e-5        # under the root of a layer norm: GPT-2's own value
MASKED = -1e10        # GPT-2's own score for what lies ahead: its exp is an exact 0 in float32 and float64, and no inf - inf can arise


def linear(p, at, x):
    """x W + b, with W stored as (in, out). A layer without a bias has no such key."""
    y = x @ p[at + "weight"]                                          # (B, T, in) @ (in, out) -> (B, T, out)
    return y + p[at + "bias"] if at + "bias" in p else y


def layer_norm(p, at, x):
    """Each position's C numbers to mean 0 and variance 1, then scaled and shifted (Ba, Kiros & Hinton 2016)."""
    centred = x - np.mean(x, axis=-1, keepdims=True)                  # (B, T, C) - (B, T, 1) -> (B, T, C)
    variance = np.mean(centred * centred, axis=-1, keepdims=True)     # (B, T, 1), divided by C, not by C - 1
    return centred / np.sqrt(variance + EPSILON) * p[at + "weight"] + p[at + "bias"]


def gelu(x):
    """x P(N < x), in the tanh form that GPT-2 was trained with (Hendrycks & Gimpel 2016, section 2)."""
    return 0.5 * x * (1.0 + np.tanh((2.0 / np.pi) ** 0.5 * (x + 0.044715 * (x * x * x))))


def softmax(x):
    """exp(x) over its sum along the last axis. The largest entry is taken out first: no overflow, and mathematically no change."""
    weights = np.exp(x - np.max(x, axis=-1, keepdims=True))
    return weights / np.sum(weights, axis=-1, keepdims=True)


def keep(x):
    """What happens in use wherever training may drop something (Srivastava et al. 2014): nothing. Training passes another function as `drop`."""
    return x


def attention(p, at, x, n_heads, drop=keep):
    """Causal self-attention: each position mixes the values of the positions up to its own (Vaswani et al. 2017, section 3.2)."""
    T, C = x.shape[-2:]
    query, key, value = [heads(part, n_heads) for part in np.split(linear(p, at + "c_attn.", x), 3, axis=-1)]
    scores = query @ np.swapaxes(key, -1, -2)                         # (B, H, T, D) @ (B, H, D, T) -> (B, H, T, T)
    visible = np.tri(T, dtype=bool)                                   # row: the position that looks; column: the one looked at
    shares = softmax(np.where(visible, scores * (C // n_heads) ** -0.5, MASKED))
    mixed = np.swapaxes(drop(shares) @ value, -2, -3)                 # (B, H, T, T) @ (B, H, T, D) -> (B, T, H, D)
    return linear(p, at + "c_proj.", mixed.reshape(x.shape))          # (B, T, C)


def heads(x, n_heads):
    """(B, T, C) -> (B, H, T, D): every head reads its own D = C / H columns."""
    return np.swapaxes(x.reshape(x.shape[:-1] + (n_heads, x.shape[-1] // n_heads)), -2, -3)


def mlp(p, at, x):
    """Four times as wide, GELU, and back: (B, T, C) -> (B, T, 4C) -> (B, T, C)."""
    return linear(p, at + "c_proj.", gelu(linear(p, at + "c_fc.", x)))


def block(p, at, x, n_heads, drop=keep):
    """Attention and MLP, each on a normalised copy and added to what flows through: (B, T, C) -> (B, T, C)."""
    x = x + drop(attention(p, at + "attn.", layer_norm(p, at + "ln_1.", x), n_heads, drop))
    return x + drop(mlp(p, at + "mlp.", layer_norm(p, at + "ln_2.", x)))


class Block:
    """One block with parameters of its own, named as in GPT-2 ("ln_1.weight", "attn.c_attn.weight", ...).

    config: a GPT2Config; only emb_dim, n_heads, n_layers (it scales the residual projections) and qkv_bias matter here.

    >>> import numpy as np
    >>> Block(GPT2Config.named("tiny"), seed=0)(np.zeros((16, 32))).shape
    (16, 32)
    """

    def __init__(self, config, seed=0, dtype=np.float64):
        self.config = config
        self.parameters = init(config.block_shapes, config.n_layers, np.random.default_rng(seed), dtype)

    def __call__(self, x, parameters=None):
        """x: (B, T, C) or (T, C), floating. parameters: another dict of the same names, for derivatives."""
        return block(self.parameters if parameters is None else parameters, "", x, self.config.n_heads)


def init(shapes, n_layers, random, dtype):
    """GPT-2's initialisation: weights normal with standard deviation 0.02, those that write into the residual stream divided by
    sqrt(2 n_layers) because 2 n_layers of them add up, norms the identity, biases 0.

    wpe has 0.02 as in Hugging Face's model; OpenAI's code has 0.01 there. Numbers are drawn in float64 and rounded to dtype.
    """
    p = {}
    for name, shape in shapes.items():
        if name.endswith("bias"):
            p[name] = np.zeros(shape, dtype)
        elif len(shape) == 1:
            p[name] = np.ones(shape, dtype)
        else:
            deviation = 0.02 / (2 * n_layers) ** 0.5 if name.endswith("c_proj.weight") else 0.02
            p[name] = random.normal(0.0, deviation, shape).astype(dtype)
    return p
