"""The language model's commands: `diffeng generate`.

What it is: options in, text out. What it is not: no mathematics, no files beyond what the options name. Why a file: the command line's own (diffeng/cli.py) derives and
judges functions, and registers these as it does the benchmarks'; nothing heavy is imported before one of them runs.
"""
import click


@click.command()
@click.argument("directory", metavar="DIR", type=click.Path(exists=True, file_okay=False))
@click.option("--prompt", default="", help="The text to go on with.")
@click.option("--verbose", "-v", is_flag=True, expose_value=False, help="The traceback of an unexpected error.")
def generate(directory, prompt):
    """Let the model of DIR write."""
    raise NotImplementedError
