"""The functions that `diffeng compare` knows by name: gpt2-block, a block with new parameters, and gpt2, a checkpoint from a directory.

What it is: options in, (loss as a function of the parameters, (parameters,), a line that says what it is) out. What it is not: no derivative, no judgement.
Why a file: the command line's own (diffeng/cli.py) knows neither models nor tokens.
"""
import numpy as np
from click import ClickException

SENTENCE = "All happy families are alike; every unhappy family is unhappy in its own way."      # Tolstoy, Anna Karenina, 1877 (tr. Garnett)
FEW = 8                       # tokens of context for a checkpoint, unless asked for more: the judge's work grows with them


class Unfit(ClickException):
    """Options that do not fit: one paragraph, exit status 2."""

    exit_code = 2


def block(text=None, context=None, width=None, heads=None, layers=None, seed=None, dtype=None):
    """gpt2-block: a small GPT-2 over bytes, with new parameters."""
    from .commands import named_as_options
    from .config import GPT2Config
    from .model import init_parameters
    if seed is not None and seed < 0:
        raise Unfit(f"--seed {seed}: give 0 or more")
    data, context, note = _window(_bytes(SENTENCE if text is None else text), context, 16, "byte")
    with named_as_options():
        config = GPT2Config(vocab_size=256, context_length=context, emb_dim=32 if width is None else width, n_heads=4 if heads is None else heads,
                            n_layers=1 if layers is None else layers, drop_rate=0.0)
    dtype = np.dtype(dtype or "float64")
    said = (f"GPT-2, {config.n_layers} block{'s' * (config.n_layers > 1)}, width {config.emb_dim}, {config.n_heads} heads, context {context}, {dtype}: "
            f"{config.parameter_count:,} parameters; the bytes of {bytes(data.astype(np.uint8)).decode('utf-8', 'replace')!r}")
    return _loss("gpt2-block", config, data), (init_parameters(config, 0 if seed is None else seed, dtype),), said, note


def checkpoint(directory, text=None, tokens=None, context=None, dtype=None):
    """gpt2: the model of a directory, on the first tokens of a text."""
    from .weights import load
    if text is not None and tokens is not None:
        raise Unfit("--text and --tokens are two answers to one question: give one of them")
    config, parameters = load(directory, dtype)
    data, what = (_numbers(tokens), "these tokens") if tokens is not None else _encoded(directory, SENTENCE if text is None else text)
    most = min(FEW, config.context_length)
    if context is not None and context > config.context_length:
        raise Unfit(f"--context {context}: the model of {directory} has at most {config.context_length}")
    data, context, note = _window(data, context, len(data) - 1 if tokens is not None and len(data) - 1 <= config.context_length else most, "token")
    if data.min() < 0 or data.max() >= config.vocab_size:
        raise Unfit(f"the tokens reach from {data.min()} to {data.max()}, and the model of {directory} has {config.vocab_size}, from 0"
                    + ("" if tokens is not None else ": its tokenizer is another model's, or missing; give --tokens"))
    parameters = {name: np.asarray(x) for name, x in parameters.items()}                  # files mapped into memory are arrays like others
    said = (f"GPT-2 of {directory}, {config.n_layers} blocks, width {config.emb_dim}, {config.n_heads} heads, context {context}, "
            f"{parameters['wte.weight'].dtype}: {config.parameter_count:,} parameters; {what}: {' '.join(map(str, data))}")
    return _loss("gpt2", config, data), (parameters,), said, note


def _loss(name, config, data):
    from .model import loss
    tokens, targets = data[:-1], data[1:]

    def next_token_loss(parameters):
        return loss(parameters, tokens, targets, config)

    next_token_loss.__name__ = name                # what reports call it
    return next_token_loss


def _window(data, asked, default, unit):
    """(the first context + 1 of data, context, a remark or ""). asked: the context the user wants, or None."""
    context = default if asked is None else asked
    if context >= 1 and len(data) < context + 1:
        if len(data) < 2:
            raise Unfit(f"--text has {len(data)} {unit}(s): give at least 2, one to see and one to predict")
        if asked is not None:
            raise Unfit(f"--context {context} needs {context + 1} {unit}s of text, and there are {len(data)}: "
                        f"give a longer --text or --context {len(data) - 1}")
        return data, len(data) - 1, f"the text has {len(data)} {unit}s: context shortened to {len(data) - 1}"
    if context < 1 and unit == "token":
        raise Unfit(f"--context {context}: give 1 or more")
    return data[:max(context, 0) + 1], context, ""


def _bytes(text):
    return np.frombuffer(text.encode("utf-8", "surrogateescape"), np.uint8).astype(np.int64)


def _encoded(directory, text):
    """(tokens, what they are): by the directory's tokenizer where it has one, else the text's bytes."""
    from .tokenizers import load_tokenizer
    try:
        tokenizer = load_tokenizer(directory)
    except FileNotFoundError:
        return _bytes(text), "it has no tokenizer: bytes"
    return np.asarray(tokenizer.encode(text), np.int64), "tokens"


def _numbers(text):
    try:
        numbers = [int(part) for part in text.replace(",", " ").split()]
    except ValueError as error:
        raise Unfit(f"--tokens {text!r}: give whole numbers, as in --tokens \"464,3290,318\"") from error
    if len(numbers) < 2 or any(abs(n) >= 2 ** 62 for n in numbers):
        raise Unfit(f"--tokens {text!r}: give at least two tokens, one to see and one to predict, as in --tokens \"464,3290,318\"")
    return np.array(numbers, np.int64)
