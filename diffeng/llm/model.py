"""GPT-2 whole: embeddings, blocks, the tied head, and the loss of the next token, as plain NumPy functions of a dict of parameters.

What it is not: training, directories (weights.py) and generation (generate.py) are not here; GPT2's methods lead there. Why a file: block.py is one block,
this is what stands around it.
The parameters bear the names of Hugging Face's checkpoint: "wte.weight", "wpe.weight", "h.0.ln_1.weight", ..., "ln_f.bias".
"""
import numpy as np

from .block import block, init, keep, layer_norm
from .config import GPT2Config


def init_parameters(config, seed=0, dtype=np.float64):
    """A new model's parameters, name -> array of `dtype`, by GPT-2's own initialisation (block.init says which). The same seed, the same model.

    >>> parameters = init_parameters(GPT2Config.named("tiny"))
    >>> len(parameters), parameters["h.0.attn.c_attn.weight"].shape
    (16, (32, 96))
    """
    return init(config.parameter_shapes, config.n_layers, np.random.default_rng(seed), dtype)


def embedding(p, tokens):
    """What stands at each position, and where: (B, T) -> (B, T, C)."""
    return p["wte.weight"][tokens] + p["wpe.weight"][:tokens.shape[-1]]          # (B, T, C) + (T, C) -> (B, T, C)


def gpt2(p, tokens, config, drop=keep, block=block):
    """The scores of every token to come next: (B, T) integers -> (B, T, vocab_size). drop: see block.keep; block: another way to compute one, for training."""
    x = drop(embedding(p, tokens))
    for k in range(config.n_layers):
        x = block(p, f"h.{k}.", x, config.n_heads, drop)
    x = layer_norm(p, "ln_f.", x)
    return x @ p["wte.weight"].T                                                  # (B, T, C) @ (C, V) -> (B, T, V): the head is tied


def cross_entropy(logits, targets):
    """The mean of -log(softmax(logits)[target]), without overflow and without a logarithm of 0: (B, T, V), (B, T) -> ()."""
    logits, targets = logits.reshape((-1, logits.shape[-1])), targets.reshape(-1)  # (N, V), (N,) with N = B T
    top = np.max(logits, axis=-1, keepdims=True)
    log_sum = np.log(np.sum(np.exp(logits - top), axis=-1))                       # (N, V) -> (N,)
    return np.mean(log_sum - (logits[np.arange(targets.shape[0]), targets] - top[:, 0]))


def loss(parameters, tokens, targets, config):
    """How surprised the model is by the targets, in nats a token; log(vocab_size) when it knows nothing.

    parameters: dict as of init_parameters. tokens, targets: integers (T,) or (B, T) with T <= context_length, values below vocab_size.
    Returns a scalar of the parameters' dtype. Raises ValueError or TypeError on tokens that do not fit.

    >>> config = GPT2Config.named("tiny")
    >>> text = np.frombuffer(b"to be or not to be", np.uint8).astype(int)
    >>> round(float(loss(init_parameters(config), text[:16], text[1:17], config)), 2), round(float(np.log(256)), 2)
    (5.56, 5.55)
    """
    tokens, targets = check_tokens(tokens, "tokens", config), check_tokens(targets, "targets", config)
    if tokens.shape != targets.shape:
        raise ValueError(f"tokens have shape {tokens.shape}, targets {targets.shape}: each token needs the one that follows it as its target")
    return cross_entropy(gpt2(parameters, tokens, config), targets)


def check_tokens(tokens, name, config, longest=None):
    """tokens as an integer array, or an error that says what is wrong with them. longest: positions at most, context_length unless said otherwise."""
    tokens = np.asarray(tokens)
    if tokens.dtype.kind not in "iu":
        raise TypeError(f"{name} have dtype {tokens.dtype}: give integers, the numbers of the tokens")
    if tokens.ndim not in (1, 2) or tokens.size == 0:
        raise ValueError(f"{name} have shape {tokens.shape}: give (T,) or (B, T) of them, at least one")
    if tokens.shape[-1] > (config.context_length if longest is None else longest):
        raise ValueError(f"{tokens.shape[-1]} {name} in a row, but context_length is {config.context_length}: shorten them or enlarge it")
    if tokens.min() < 0 or tokens.max() >= config.vocab_size:
        raise ValueError(f"{name} reach from {tokens.min()} to {tokens.max()}, but vocab_size {config.vocab_size} allows 0 to {config.vocab_size - 1}")
    return tokens


class GPT2:
    """A configuration with its parameters. dtype: of the parameters, float32 as in the published weights, unless said otherwise.

    >>> model = GPT2(GPT2Config.named("tiny"), seed=0)
    >>> model.logits([1, 2, 3]).shape
    (3, 256)
    """

    def __init__(self, config, seed=0, dtype=np.float32, parameters=None):
        self.config, self.parameters = config, init_parameters(config, seed, dtype) if parameters is None else parameters

    @classmethod
    def load(cls, directory, dtype=None):
        """The model of a directory with config.json and model.safetensors, as transformers and `save` leave it. Arguments and errors: weights.load."""
        from . import weights
        config, parameters = weights.load(directory, dtype)
        return cls(config, parameters=parameters)

    def save(self, directory):
        """Write config.json and model.safetensors, which transformers' GPT2LMHeadModel reads, too. Errors: weights.save."""
        from . import weights
        weights.save(directory, self.config, self.parameters)

    def logits(self, tokens):
        """tokens: integers (T,) or (B, T). Returns (T, V) or (B, T, V)."""
        return gpt2(self.parameters, check_tokens(tokens, "tokens", self.config), self.config)

    def loss(self, tokens, targets):
        """tokens, targets: integers (T,) or (B, T). Returns a scalar, nats a token."""
        return loss(self.parameters, tokens, targets, self.config)

    def generate(self, tokens, max_new_tokens, temperature=1.0, top_k=None, seed=0, *, top_p=None, end=None):
        """The tokens, and those that the model writes after them.

        tokens: integers (T,) or (B, T), or a list of B rows of different lengths. temperature: 0 takes the likeliest token each time; sampling.choose says
        what it, top_k and top_p mean. seed: the same one, the same text; a row's text does not depend on the other rows. end: the token at which a row stops,
        None for none. A text that outgrows context_length is known by its last half a context and more.

        Returns (T + n,), with n < max_new_tokens if it ended before; (B, T + n), where rows that ended are filled up with `end`; or a list of rows.
        Raises TypeError or ValueError that name what does not fit.

        >>> GPT2(GPT2Config.named("tiny"), seed=0).generate([1, 2, 3], 4, seed=1).shape
        (7,)
        """
        rows = prompts(tokens, self.config)
        new = np.array(list(self._stream(rows, max_new_tokens, temperature, top_k, seed, top_p, end)), np.int64).reshape(-1, len(rows)).T          # (B, n)
        texts = [np.concatenate([row, more]) for row, more in zip(rows, new)]
        if _alone(tokens):
            return texts[0]
        if len({len(row) for row in rows}) == 1:
            return np.stack(texts)
        return [text if end is None else text[:len(row) + 1 + np.argmax(np.append(more == end, True))] for text, row, more in zip(texts, rows, new)]

    def stream(self, tokens, max_new_tokens, temperature=1.0, top_k=None, seed=0, *, top_p=None, end=None):
        """An iterator over the new tokens of `generate`, as they come: integers for tokens (T,), else arrays (B,)."""
        found = self._stream(prompts(tokens, self.config), max_new_tokens, temperature, top_k, seed, top_p, end)
        return (int(new[0]) for new in found) if _alone(tokens) else found

    def _stream(self, rows, max_new_tokens, temperature, top_k, seed, top_p, end):
        from . import generate, sampling
        sampling.check(max_new_tokens, temperature, top_k, top_p, end, self.config.vocab_size)
        return generate.stream(self.parameters, self.config, rows, max_new_tokens, temperature, top_k, seed, top_p, end)


def _alone(tokens):
    """Is this one sequence, not several?"""
    return not (np.iterable(tokens) and any(np.iterable(row) for row in tokens))


def prompts(tokens, config):
    """A list of integer arrays (T,), one a sequence, or an error."""
    rows = [check_tokens(row, "tokens", config, longest=np.inf) for row in ([tokens] if _alone(tokens) else tokens)]
    if any(row.ndim > 1 for row in rows):
        raise ValueError(f"tokens have shape {np.shape(tokens)}: give (T,) or (B, T) of them, or a list of rows")
    return [row.astype(np.int64) for row in rows]
