"""The sizes of a GPT-2, and the names and shapes of its parameters that follow from them.

What it is not: no arrays and no mathematics (block.py, model.py). Why a file: initialisation, checkpoints, the command line and the
parameter count all ask the same question, which tensors are there and how large, and it has one answer.
"""
import math
from dataclasses import dataclass

import numpy as np

# Radford et al., "Language Models are Unsupervised Multitask Learners" (2019), table 2. tiny: bytes for tokens, the model of `diffeng compare gpt2-block`.
_NAMED = {
    "gpt2":        dict(emb_dim=768, n_heads=12, n_layers=12),
    "gpt2-medium": dict(emb_dim=1024, n_heads=16, n_layers=24),
    "gpt2-large":  dict(emb_dim=1280, n_heads=20, n_layers=36),
    "gpt2-xl":     dict(emb_dim=1600, n_heads=25, n_layers=48),
    "tiny":        dict(vocab_size=256, context_length=16, emb_dim=32, n_heads=4, n_layers=1, drop_rate=0.0),
}


@dataclass(frozen=True)
class GPT2Config:
    """The sizes of a GPT-2.

    vocab_size: number of tokens. context_length: most positions at once. emb_dim: width C of the residual stream, a multiple of n_heads.
    drop_rate: probability that training drops an activation, 0 <= drop_rate < 1 (logits and loss never drop).
    qkv_bias: whether c_attn has a bias, as OpenAI's weights do.

    Raises TypeError or ValueError that name the field.

    >>> GPT2Config.named("gpt2").parameter_count
    124439808
    """

    vocab_size: int = 50257
    context_length: int = 1024
    emb_dim: int = 768
    n_heads: int = 12
    n_layers: int = 12
    drop_rate: float = 0.1
    qkv_bias: bool = True

    def __post_init__(self):
        for name in ("vocab_size", "context_length", "emb_dim", "n_heads", "n_layers"):
            value = getattr(self, name)
            if isinstance(value, (bool, np.bool_)) or not isinstance(value, (int, np.integer)):
                raise TypeError(f"GPT2Config: {name} is {value!r}; it must be an integer")
            if value < 1:
                raise ValueError(f"GPT2Config: {name} is {value}; it must be 1 or more")
            object.__setattr__(self, name, int(value))
        if self.emb_dim % self.n_heads:
            raise ValueError(f"GPT2Config: emb_dim {self.emb_dim} does not divide into n_heads {self.n_heads} equal heads; "
                             f"{self.emb_dim // self.n_heads * self.n_heads or self.n_heads} would")
        if isinstance(self.drop_rate, bool) or not isinstance(self.drop_rate, (int, float, np.integer, np.floating)):
            raise TypeError(f"GPT2Config: drop_rate is {self.drop_rate!r}; it must be a number")
        if not 0 <= self.drop_rate < 1:
            raise ValueError(f"GPT2Config: drop_rate is {self.drop_rate}; it must be at least 0 and less than 1")
        if not isinstance(self.qkv_bias, (bool, np.bool_)):
            raise TypeError(f"GPT2Config: qkv_bias is {self.qkv_bias!r}; it must be True or False")

    @classmethod
    def named(cls, name):
        """The configuration of that name: gpt2, gpt2-medium, gpt2-large, gpt2-xl (OpenAI's four), tiny (21,472 parameters over bytes)."""
        if name not in _NAMED:
            raise ValueError(f"no GPT-2 configuration is called {name!r}; there are {', '.join(_NAMED)}")
        return cls(**_NAMED[name])

    @property
    def block_shapes(self):
        """Name -> shape of one block's parameters. Weights are (in, out), so that x @ W applies them (GPT-2's own layout, "Conv1D")."""
        C = self.emb_dim
        shapes = {
            "ln_1.weight": (C,), "ln_1.bias": (C,),
            "attn.c_attn.weight": (C, 3 * C), "attn.c_attn.bias": (3 * C,),          # query, key, value side by side
            "attn.c_proj.weight": (C, C), "attn.c_proj.bias": (C,),
            "ln_2.weight": (C,), "ln_2.bias": (C,),
            "mlp.c_fc.weight": (C, 4 * C), "mlp.c_fc.bias": (4 * C,),
            "mlp.c_proj.weight": (4 * C, C), "mlp.c_proj.bias": (C,),
        }
        if not self.qkv_bias:
            del shapes["attn.c_attn.bias"]
        return shapes

    @property
    def parameter_shapes(self):
        """Name -> shape of every parameter, in the order in which the model meets them. The head is wte.weight again (tied), not a parameter."""
        shapes = {"wte.weight": (self.vocab_size, self.emb_dim), "wpe.weight": (self.context_length, self.emb_dim)}
        for k in range(self.n_layers):
            shapes.update({f"h.{k}.{name}": shape for name, shape in self.block_shapes.items()})
        return shapes | {"ln_f.weight": (self.emb_dim,), "ln_f.bias": (self.emb_dim,)}

    @property
    def parameter_count(self):
        """The exact number of trained numbers; the tied output head is counted once."""
        C, block = self.emb_dim, sum(math.prod(shape) for shape in self.block_shapes.values())
        return (self.vocab_size + self.context_length + 2) * C + self.n_layers * block          # not listed: a billion layers cost nothing to count

    def memory(self, batch, length=None, dtype=np.float32):
        """The bytes that training and generation take, by name: memory.memory says which, and how it knows."""
        from .memory import memory
        return memory(self, batch, length, dtype)
