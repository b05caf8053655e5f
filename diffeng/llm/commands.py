"""The language model's commands: `diffeng generate`.

What it is: options in, text out. What it is not: no mathematics, no files beyond what the options name. Why a file: the command line's own (diffeng/cli.py)
derives and judges functions, and registers these as it does the benchmarks'; nothing heavy is imported before one of them runs.
"""
import time

import click

_verbose = click.option("--verbose", "-v", is_flag=True, expose_value=False, help="The traceback of an unexpected error.")          # cli.main looks for it


@click.command()
@click.argument("directory", metavar="DIR", type=click.Path(exists=True, file_okay=False))
@click.option("--prompt", default="", help="The text to go on with.  [default: the mark between texts, where the tokenizer has one]")
@click.option("--max-new-tokens", type=click.IntRange(0), default=200, show_default=True, help="Tokens to write, unless the text ends before.")
@click.option("--temperature", type=click.FloatRange(0), default=1.0, show_default=True, help="0 takes the likeliest token each time.")
@click.option("--top-k", type=click.IntRange(1), help="Draw from the k likeliest tokens.")
@click.option("--top-p", type=click.FloatRange(0, 1, min_open=True), help="Draw from the fewest tokens whose probabilities sum to p.")
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True, help="The same one writes the same text.")
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
