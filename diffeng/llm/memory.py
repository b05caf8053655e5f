"""The memory that a GPT-2 takes, before it is taken: for training and for generation.

What it is: `memory`, in bytes, by name, and `enough`, which refuses what cannot be. Parameters, gradients, moments and remembered keys and values follow from
the shapes. Activations do not: how many a backward pass holds at once is a matter of what is fused and when memory is used again, so the program is planned,
from shapes alone, and its plan is asked.
What it is not: no measurement of a process, which holds Python and libraries besides. Why a file: the configuration (config.py) knows shapes and no engine.
"""
import contextlib
import math
import os

import numpy as np


def memory(config, batch, length=None, dtype=np.float32):
    """Name -> bytes, of training with AdamW by `de.jit(de.value_and_grad(...))` on (batch, length) tokens, and of generating for `batch` rows of that length.

    parameters, gradients, moments (two a parameter), activations (what the compiled gradient takes besides),
    training (the sum of these), remembered (keys and values), generating (with the parameters). length: positions, context_length unless said otherwise.
    Raises ValueError on a batch or a length that does not fit.

    >>> from diffeng.llm import GPT2Config
    >>> found = GPT2Config.named("tiny").memory(batch=1)
    >>> found["parameters"], found["moments"], found["remembered"]
    (85888, 171776, 4096)
    """
    length = config.context_length if length is None else length
    if batch < 1 or not 1 <= length <= config.context_length:
        raise ValueError(f"batch {batch} of {length} tokens: give 1 or more of both, and no more than context_length {config.context_length} in a row")
    dtype = np.dtype(dtype)
    parameters = config.parameter_count * dtype.itemsize
    found = {"parameters": parameters, "gradients": parameters, "moments": 2 * parameters, "activations": _activations(config, batch, length, dtype)}
    found["training"] = sum(found.values())
    found["remembered"] = 2 * config.n_layers * batch * length * config.emb_dim * dtype.itemsize
    return found | {"generating": parameters + found["remembered"]}


def enough(config, batch):
    """Raise ValueError where not even the parameters, gradients, moments and scores of a float32 training fit into this machine's memory."""
    there = math.inf
    with contextlib.suppress(AttributeError, ValueError, OSError):          # a system that does not say how much it has
        there = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    needed = 4 * (4 * config.parameter_count + batch * config.context_length * (config.vocab_size + config.n_layers * config.emb_dim))
    if needed > there:
        raise ValueError(f"training a model of {config.parameter_count:,} parameters on {batch} x {config.context_length} tokens takes "
                         f"{needed / 1e9:,.1f} GB and more, and this machine has {there / 1e9:,.1f}: make it smaller")


def _activations(config, batch, length, dtype):
    """What the plan of the compiled gradient says. Arrays of one number stand for the parameters: only their shapes are looked at."""
    import diffeng as de
    from diffeng.kernels import Program
    from diffeng.recording import Outline, record

    from .model import cross_entropy, gpt2

    def loss(p, tokens, targets):
        return cross_entropy(gpt2(p, tokens, config), targets)
    parameters = {name: np.broadcast_to(np.ones((), dtype), shape) for name, shape in config.parameter_shapes.items()}
    tokens = np.broadcast_to(np.zeros((), np.int64), (batch, length))
    recorded = record(de.value_and_grad(loss), [parameters, tokens, tokens], Outline())
    return Program.peak(recorded.inputs, recorded.outputs)
