"""Generation: the text so far is computed once, its keys and values are remembered, and each new token costs one position.

What it is: attention of new positions to what is remembered and to themselves, the memory, and `stream`, which yields a token at a time. The compiled
function is one block, and every block calls it: planned once for a length of memory, it serves all blocks and all steps.
What it is not: which token follows is sampling.py's question; text is tokenizers.py's. Why a file: the model (model.py) is a function of all tokens at once,
as training needs it; here is the same function, taken apart by time. The engine is imported where it is used.
B: sequences, S: new positions, L: remembered ones, H: heads, D: a head's width.
"""
import functools

import numpy as np

from .block import MASKED, heads, layer_norm, linear, mlp, softmax
from .sampling import choose

SHORTEST = 64          # positions of a memory at least; longer ones double, so that few lengths are ever planned


def attention(p, at, x, n_heads, keys, values, length):
    """Causal attention of new positions to the first `length` remembered ones and to themselves.

    x: (B, S, C). keys, values: (B, H, L, D). length: (B,) integers. Returns what flows on (B, S, C), and the keys and values of x, (B, H, S, D) each.
    """
    S, L = x.shape[-2], keys.shape[-2]
    query, key, value = [heads(part, n_heads) for part in np.split(linear(p, at + "c_attn.", x), 3, axis=-1)]
    scale = query.shape[-1] ** -0.5
    known = np.arange(L) < length[:, None, None, None]                                            # (B, 1, 1, L)
    before = np.where(known, query @ np.swapaxes(keys, -1, -2) * scale, MASKED)                  # (B, H, S, D) @ (B, H, D, L) -> (B, H, S, L)
    among = np.where(np.tri(S, dtype=bool), query @ np.swapaxes(key, -1, -2) * scale, MASKED)    # (B, H, S, D) @ (B, H, D, S) -> (B, H, S, S)
    shares = softmax(np.concatenate([before, among], axis=-1))                                    # (B, H, S, L + S)
    mixed = np.swapaxes(shares[..., :L] @ values + shares[..., L:] @ value, -2, -3)               # (B, H, S, D) -> (B, S, H, D)
    return linear(p, at + "c_proj.", mixed.reshape(x.shape)), key, value


def block(p, x, n_heads, keys, values, length):
    """A GPT-2 block that remembers. p: the block's own parameters. Arguments and results as of `attention`."""
    mixed, key, value = attention(p, "attn.", layer_norm(p, "ln_1.", x), n_heads, keys, values, length)
    x = x + mixed
    return x + mlp(p, "mlp.", layer_norm(p, "ln_2.", x)), key, value


def head(p, x):
    """The scores of every token to come next: (B, C) -> (B, V)."""
    return layer_norm(p, "ln_f.", x) @ p["wte.weight"].T


@functools.lru_cache(maxsize=None)
def _compiled(n_heads):
    import diffeng as de
    return de.jit(lambda p, x, keys, values, length: block(p, x, n_heads, keys, values, length)), de.jit(head)


class Memory:
    """Keys and values of what B sequences have read, at most `size` positions each, and the model that reads on.

    >>> from diffeng.llm import GPT2, GPT2Config
    >>> model = GPT2(GPT2Config.named("tiny"))
    >>> memory = Memory(model.parameters, model.config, rows=1, size=16)
    >>> first, second = memory.read(np.array([[5, 6]])), memory.read(np.array([[7]]))
    >>> bool(np.allclose(second, model.logits([5, 6, 7])[-1], atol=1e-6))
    True
    """

    def __init__(self, parameters, config, rows, size):
        self.parameters = parameters
        self.blocks = [{name: parameters[f"h.{k}.{name}"] for name in config.block_shapes} for k in range(config.n_layers)]
        self.ends = {name: parameters[name] for name in ("wte.weight", "ln_f.weight", "ln_f.bias")}
        shape = (config.n_layers, rows, config.n_heads, size, config.emb_dim // config.n_heads)
        self.keys, self.values = (np.zeros(shape, parameters["wte.weight"].dtype) for _ in range(2))
        self.length = np.zeros(rows, np.int64)
        self.block, self.head = _compiled(config.n_heads)

    def read(self, tokens, count=None):
        """The scores after the last of the new tokens, (B, V). tokens: (B, S); count: (B,), how many of them belong to each row, S unless said otherwise;
        the rest is computed and forgotten."""
        rows, S = np.arange(len(tokens)), tokens.shape[1]
        count = np.full(len(tokens), S) if count is None else count
        at = np.minimum(self.length[:, None] + np.arange(S), self.keys.shape[-2] - 1)                # (B, S)
        x = self.parameters["wte.weight"][tokens] + self.parameters["wpe.weight"][at]               # (B, S, C)
        L = self.keys.shape[-2] if self.length.any() else 0                                            # a first text is compared with itself alone
        for p, keys, values in zip(self.blocks, self.keys, self.values):
            x, key, value = self.block(p, x, keys[:, :, :L], values[:, :, :L], self.length)
            for memory, new in ((keys, key), (values, value)):
                memory[rows[:, None], :, at] = np.swapaxes(new, 1, 2)                                 # (B, S, H, D)
        self.length += count
        return self.head(self.ends, x[rows, np.maximum(count - 1, 0)])


def stream(parameters, config, tokens, max_new_tokens, temperature=1.0, top_k=None, seed=0, top_p=None, end=None):
    """The tokens that follow, one (B,) array of int64 after the other; a row that has reached `end` repeats it, and when all have, there are no more.

    tokens: a list of B integer arrays, checked already. GPT2.generate says what the other arguments are.
    """
    import diffeng as de
    context, texts = config.context_length, [list(row) for row in tokens]          # of each text, what is still known
    memory, alive, new = None, np.ones(len(texts), bool), np.zeros(len(texts), np.int64)
    for step in range(max_new_tokens):
        if memory is None or (memory.length + alive > memory.keys.shape[-2]).any():
            texts = [text if len(text) <= context else text[-max(1, context // 2):] for text in texts]          # half, so that this is rare
            memory, logits = _begun(parameters, config, texts, max_new_tokens - step)
        else:
            logits = memory.read(new[:, None], alive.astype(int))
        new = choose(logits, de.random.uniform(seed, step, len(texts)), temperature, top_k, top_p)
        if end is not None:
            new[~alive] = end
        for text in np.flatnonzero(alive):
            texts[text].append(int(new[text]))
        yield new.copy()
        if end is not None:
            alive &= new != end
        if not alive.any():
            return


def _begun(parameters, config, texts, more):
    """(a memory that has read the texts and has room for `more` tokens, as far as the context allows; the scores after the texts)"""
    count = np.array([len(text) for text in texts])
    size, longest = SHORTEST, int(count.max())
    while size < longest + more - 1:
        size *= 2
    memory = Memory(parameters, config, len(texts), min(size, config.context_length))
    tokens = np.zeros((len(texts), longest), np.int64)
    for row, text in zip(tokens, texts):
        row[:len(text)] = text
    return memory, memory.read(tokens, count)
