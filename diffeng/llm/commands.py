"""The language model's commands: `diffeng train` and `diffeng generate`.

What it is: options in, text out. What it is not: no mathematics, no files beyond what the options name. Why a file: the command line's own (diffeng/cli.py)
derives and judges functions, and registers these as it does the benchmarks'; nothing heavy is imported before one of them runs.
"""
import contextlib
import os
import time

import click

SIZES = {"n_layers": "layers", "n_heads": "heads", "emb_dim": "width", "context_length": "context", "drop_rate": "dropout"}          # field: its option
_verbose = click.option("--verbose", "-v", is_flag=True, expose_value=False, help="The traceback of an unexpected error.")          # cli.main looks for it


@click.command()
@click.argument("directory", metavar="DIR", type=click.Path(exists=True, file_okay=False))
@click.option("--prompt", default="", help="The text to go on with.  [default: the mark between texts, where the tokenizer has one]")
@click.option("--max-new-tokens", type=click.IntRange(0), default=200, show_default=True, help="Tokens to write, unless the text ends before.")
@click.option("--temperature", type=click.FloatRange(0), default=1.0, show_default=True, help="0 takes the likeliest token each time.")
@click.option("--top-k", type=click.IntRange(1), help="Draw from the k likeliest tokens.")
@click.option("--top-p", type=click.FloatRange(0, 1, min_open=True), help="Draw from the fewest tokens whose probabilities sum to p.")
@click.option("--seed", type=click.IntRange(0, 2 ** 32 - 1), default=0, show_default=True, help="The same one writes the same text.")
@_verbose
def generate(directory, prompt, max_new_tokens, temperature, top_k, top_p, seed):
    """Let the model of DIR go on with a text.

    DIR has config.json and model.safetensors, and a tokenizer: tokenizer.json, or vocab.json and merges.txt. The text appears as it is written.
    """
    from .model import GPT2
    from .tokenizers import load_tokenizer, streamed
    model, tokenizer = GPT2.load(directory), load_tokenizer(directory)
    if tokenizer.vocab_size > model.config.vocab_size:
        raise click.ClickException(f"{directory}: the tokenizer has {tokenizer.vocab_size} tokens, and the model's vocab_size is {model.config.vocab_size}: "
                                   "one of them is another model's")
    tokens = tokenizer.encode(prompt)
    if not len(tokens):
        if tokenizer.end is None:
            raise click.UsageError("--prompt is empty, and this tokenizer has no mark to begin with: give at least one character")
        tokens = [tokenizer.end]
    following = model.stream(tokens, max_new_tokens, temperature, top_k, seed, top_p=top_p, end=tokenizer.end)
    count, began = 0, time.perf_counter()

    def arriving():
        nonlocal count
        for count, token in enumerate(following, 1):
            if token != tokenizer.end:
                yield token
    try:
        click.echo(prompt, nl=False)
        for piece in streamed(tokenizer, arriving()):
            click.echo(piece, nl=False)                 # echo flushes
    finally:
        click.echo()
    click.echo(f"{count} tokens, {count / (time.perf_counter() - began):.1f} tokens a second", err=True)
    return 0


@click.command()
@click.option("--out", required=True, type=click.Path(file_okay=False), help="Directory of the run; where there is one already, it goes on.")
@click.option("--data", type=click.Path(dir_okay=False), help="The text, in UTF-8.  [needed at first]")
@click.option("--config", "name", metavar="NAME", help="tiny, gpt2, gpt2-medium, gpt2-large or gpt2-xl.  [default: tiny]")
@click.option("--load", metavar="DIR", type=click.Path(exists=True, file_okay=False), help="Begin with the model of DIR, and its tokenizer.")
@click.option("--tokenizer", metavar="KIND", help="bytes, characters, bpe:SIZE (learnt from the text), or a directory.  [default: bytes]")
@click.option("--layers", type=int, help="Blocks.")
@click.option("--heads", type=int, help="Attention heads; they divide the width.")
@click.option("--width", type=int, help="Width of the residual stream.")
@click.option("--context", type=int, help="Tokens at once.")
@click.option("--dropout", type=float, help="Probability that an activation is dropped.")
@click.option("--batch", type=int, help="Sequences in one pass.  [default: 12]")
@click.option("--accumulate", type=int, help="Passes in one step.  [default: 1]")
@click.option("--steps", type=int, help="Of the whole training.  [default: 2000]")
@click.option("--lr", "learning_rate", type=float, help="The highest learning rate.  [default: 0.001]")
@click.option("--least", type=float, help="What is left of it at the end.  [default: 0.1]")
@click.option("--warmup", type=int, help="Steps in which it rises.  [default: 100]")
@click.option("--decay", type=float, help="Weight decay, of weights alone.  [default: 0.1]")
@click.option("--clip", type=float, help="The largest norm of the gradient; 0: any.  [default: 1]")
@click.option("--recompute/--keep", default=None, help="Compute what happens inside a block again on the way back: less memory, more time.")
@click.option("--seed", type=int, help="Of parameters, data and dropout.  [default: 0]")
@click.option("--device", type=click.Choice(["cpu", "cuda"]), default="cpu", show_default=True, help="cuda: a GPU; needs diffeng[cuda].")
@click.option("--precision", type=click.Choice(["float32", "tf32", "bfloat16"]), default="float32", show_default=True, help="Of products on a GPU.")
@click.option("--save-every", type=click.IntRange(1), default=250, show_default=True, help="Steps between two checkpoints.")
@click.option("--evaluate-every", type=click.IntRange(1), default=250, show_default=True, help="Steps between two looks at the validation loss.")
@_verbose
def train(out, data, name, load, tokenizer, device, precision, save_every, evaluate_every, **asked):
    """Train a GPT-2 on a text. Killed or interrupted, the same command goes on from the last checkpoint.

    DIR can be given to `diffeng generate` and to transformers' from_pretrained at any time. log.jsonl and loss.svg in it show how it goes.
    """
    from dataclasses import fields, replace

    from ..devices import program_maker
    from .data import prepare
    from .memory import enough
    from .run import Run
    from .step import TrainingSettings
    from .train import pretrain
    if data is not None and not os.path.isfile(data):
        raise ValueError(f"--data {data}: there is no such file; name a text in UTF-8, by its path as seen from here")
    program_maker(device, precision)                     # raises where there is no such device, before anything is written
    run = Run(out)
    words = {option: ours for ours, option in SIZES.items()}
    asked = {words.get(k, k): v for k, v in asked.items() if v is not None}
    trained = {f.name for f in fields(TrainingSettings)}
    sizes, settings = ({k: v for k, v in asked.items() if (k in trained) is mine} for mine in (False, True))
    with run.alone():
        with named_as_options():
            settings = replace(run.settings or TrainingSettings(), **settings)
        config, parameters, encoding = _to_begin_with(run, data, name, load, tokenizer, sizes)
        enough(config, settings.batch)
        if data is not None:
            prepare(data, encoding, out, config.context_length)
        if run.config is None:
            encoding.save(out)
    outcome = pretrain(out, config, settings, parameters, save_every=save_every, evaluate_every=evaluate_every, progress=True, device=device,
                       precision=precision)
    reached = f"step {outcome.step} of {settings.steps}" + ("" if outcome.validation is None else f", validation loss {outcome.validation:.4f}")
    click.echo(f"{reached}: {out}")
    return 130 if outcome.interrupted else 0


def _to_begin_with(run, data, name, load, kind, sizes):
    """(config, parameters or None for new ones, tokenizer) of a training run, new or to be gone on with."""
    from dataclasses import replace

    from . import data as texts
    from . import tokenizers, weights
    from .config import GPT2Config
    if run.config is not None:
        found = tokenizers.load_tokenizer(run.directory)
        with named_as_options():                                 # whoever says what is trained is told where that differs
            config = replace(run.config if name is None else replace(GPT2Config.named(name), vocab_size=run.config.vocab_size), **sizes)
        if run.step() is None and load is not None:
            return config, weights.load(load)[1], found
        return config, None, found
    if data is None:
        raise ValueError(f"--data is missing: {run.directory} holds no run yet, and a new one needs a text")
    if load is not None:
        if name is not None or kind is not None or sizes.keys() - {"drop_rate"}:
            raise ValueError("--load brings the model's sizes and its tokenizer: leave --config, --tokenizer, --layers, --heads, --width and --context out")
        config, parameters = weights.load(load)
        with named_as_options():
            return replace(config, **sizes), parameters, tokenizers.load_tokenizer(load)
    with named_as_options():
        config = replace(GPT2Config.named("tiny" if name is None else name), **sizes)
    kind = "bytes" if kind is None else kind
    if kind == "bytes":
        found = tokenizers.ByteTokenizer()
    elif kind == "characters":
        found = tokenizers.CharacterTokenizer(texts.characters(data))
    elif kind.startswith("bpe:") and kind[4:].isdecimal():
        found = tokenizers.train_bpe(data, int(kind[4:]))
    elif os.path.isdir(kind):
        found = tokenizers.load_tokenizer(kind)
    else:
        raise ValueError(f"--tokenizer {kind}: give bytes, characters, bpe:SIZE as in bpe:4096, or a directory with a tokenizer")
    return replace(config, vocab_size=found.vocab_size), None, found


@contextlib.contextmanager
def named_as_options():
    """What is wrong with a field is said of the option that sets it."""
    try:
        yield
    except (ValueError, TypeError) as error:
        message = str(error).removeprefix("GPT2Config: ")
        for field, option in (SIZES | {"learning_rate": "lr"}).items():
            message = message.replace(field, f"--{option}")
        raise ValueError(message) from error
