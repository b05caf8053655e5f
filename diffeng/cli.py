"""The command line: options in, one table out, and an exit status.

0: all methods agree with the judge. 1: a method is wrong, or no verdict was possible. 2: the input is wrong. 130: interrupted.
What it is not: no derivative and no judgement are made here. Why a file: setuptools' entry point, and the only place that prints.
Nothing heavy is imported before a command runs, so that --help answers at once.
"""
import os
import sys

import click

from . import __version__
from .bench.command import bench
from .llm.commands import generate, train

SENTENCE = "All happy families are alike; every unhappy family is unhappy in its own way."      # Tolstoy, Anna Karenina, 1877 (tr. Garnett)
BLOCK = "gpt2-block"
_EXISTING = "FILE.py:FUNCTION"


def main(arguments=None):
    """Run the command line; returns the exit status (and so the entry point passes it on)."""
    try:
        status = commands.main(args=arguments, prog_name="diffeng", standalone_mode=False)
    except click.exceptions.Abort:
        click.echo("interrupted", err=True)
        return 130
    except click.ClickException as error:
        error.show()
        return 2
    except Exception as error:
        given = sys.argv[1:] if arguments is None else arguments
        _explain(error, "-v" in given or "--verbose" in given)
        return 2
    return status if isinstance(status, int) else 0


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(__version__)
def commands():
    """Derivatives of NumPy code, derived three times by rules that share no code, and judged in 100-digit arithmetic."""


# ---- compare ---------------------------------------------------------------------------------------------------------------------

@commands.command(epilog="Exit status: 0 all agree, 1 a method is wrong (or no verdict was possible), 2 wrong input.")
@click.argument("what", metavar=f"{BLOCK} | {_EXISTING}")
@click.option("--at", help='Arguments of FUNCTION: "x=1.0, y=[1,2,3]". Numbers are floating-point; 3i is an integer.')
@click.option("--text", help=f"{BLOCK}: the text whose next bytes are to be predicted.  [default: a sentence]")
@click.option("--dtype", type=click.Choice(["float64", "float32"]), default="float64", show_default=True, help="Of parameters and arguments.")
@click.option("--context", type=int, help=f"{BLOCK}: tokens at once.  [default: 16]")
@click.option("--width", type=int, help=f"{BLOCK}: width of the residual stream.  [default: 32]")
@click.option("--heads", type=int, help=f"{BLOCK}: attention heads; they divide the width.  [default: 4]")
@click.option("--layers", type=int, help=f"{BLOCK}: blocks.  [default: 1]")
@click.option("--seed", type=int, help=f"{BLOCK}: of the parameters.  [default: 0]")
@click.option("--verbose", "-v", is_flag=True, help="One row a parameter tensor; the traceback of an unexpected error.")
@click.option("--out", default="diffeng-report", show_default=True, type=click.Path(file_okay=False), help="Directory for the picture and the report.")
@click.option("--plant", "fault", metavar="METHOD:PRIMITIVE[:KIND[:SLOT]]", help="Put a fault into one rule: factor (default), sign or drop.")
def compare(what, at, text, dtype, context, width, heads, layers, seed, verbose, out, fault):
    """Derive one gradient by every method, and let the judge decide.

    gpt2-block is a GPT-2 with one block that predicts the bytes of a sentence; FILE.py:FUNCTION is anybody's function of NumPy arrays.
    """
    sizes = dict(context=context, width=width, heads=heads, layers=layers, seed=seed)
    with _planted(fault), _Progress() as progress:
        fun, args = _gpt2_block(text, dtype, at, **sizes) if what == BLOCK else _user_function(what, at, dtype, text=text, **sizes)
        directory = _directory(out)
        import diffeng as de
        report = de.compare(fun, *args, progress=progress)
    click.echo(report.table(verbose=True) if verbose else str(report))
    if fault:
        _note_absent(report, fault.split(":")[1])
    files = {"graph.svg": lambda path: _draw(report.picture(), path), "report.json": lambda path: _save_json(report.to_json(), path)}
    with _Progress() as progress:
        progress("drawing the picture", 0, 1)
        written = [_write(os.path.join(directory, name), make) for name, make in files.items()]
    click.echo(f"picture: {written[0]}\nreport:  {written[1]}")
    return 0 if report.agree else 1


def _gpt2_block(text, dtype, at, context, width, heads, layers, seed):
    """(loss as a function of the parameters, (parameters,)) for a text."""
    if at is not None:
        raise _bad(f"--at belongs to {_EXISTING}; {BLOCK} takes --text, --context, --width, --heads, --layers and --seed")
    import numpy as np
    from .llm import GPT2Config, init_parameters, loss
    asked, context = context, 16 if context is None else context
    data = (SENTENCE if text is None else text).encode("utf-8", "surrogateescape")
    if context >= 1 and len(data) < context + 1:
        if len(data) < 2:
            raise _bad(f"--text has {len(data)} byte(s): give at least 2, one to see and one to predict")
        if asked is not None:
            raise _bad(f"--context {context} needs {context + 1} bytes of text, and there are {len(data)}: give a longer --text or --context {len(data) - 1}")
        context = len(data) - 1
        click.echo(f"the text has {len(data)} bytes: context shortened to {context}", err=True)
    if seed is not None and seed < 0:
        raise _bad(f"--seed {seed}: give 0 or more")
    try:
        config = GPT2Config(vocab_size=256, context_length=context, emb_dim=32 if width is None else width, n_heads=4 if heads is None else heads,
                            n_layers=1 if layers is None else layers, drop_rate=0.0)
    except (ValueError, TypeError) as error:
        words = dict(context_length="--context", emb_dim="--width", n_heads="--heads", n_layers="--layers")
        message = str(error).removeprefix("GPT2Config: ")
        for name, option in words.items():
            message = message.replace(name, option)
        raise _bad(message) from error
    data = np.frombuffer(data[:context + 1], np.uint8).astype(np.int64)
    tokens, targets = data[:-1], data[1:]
    parameters = init_parameters(config, 0 if seed is None else seed, np.dtype(dtype))
    click.echo(f"GPT-2, {config.n_layers} block{'s' * (config.n_layers > 1)}, width {config.emb_dim}, {config.n_heads} heads, context {context}, {dtype}: "
               f"{config.parameter_count:,} parameters; the bytes of {bytes(data.astype(np.uint8)).decode('utf-8', 'replace')!r}")

    def next_byte_loss(parameters):
        return loss(parameters, tokens, targets, config)

    next_byte_loss.__name__ = BLOCK                # what reports call it
    return next_byte_loss, (parameters,)


def _user_function(what, at, dtype="float64", **foreign):
    """(function, arguments), run once already. foreign: options of another job, which must not have been given."""
    for name, value in foreign.items():
        if value is not None:
            raise _bad(f"--{name} belongs to {BLOCK}; {_EXISTING} takes its arguments with --at \"x=1.0\"")
    from . import loading
    if ":" not in what:
        raise _bad(f"{what!r} is neither {BLOCK} nor {_EXISTING}: name a function in a file, as in model.py:loss")
    fun = loading.load(what)
    args = loading.bind(fun, at, dtype)
    loading.check(fun, args)
    return fun, args


def _planted(fault):
    """The context manager of --plant METHOD:PRIMITIVE[:KIND[:SLOT]]."""
    import contextlib
    if fault is None:
        return contextlib.nullcontext()
    parts = fault.split(":")
    if not 2 <= len(parts) <= 4 or not all(parts):
        raise _bad(f"--plant {fault!r}: write METHOD:PRIMITIVE[:KIND[:SLOT]], as in reverse:tanh or forward:multiply:sign:1")
    if len(parts) == 4 and not parts[3].isdecimal():
        raise _bad(f"--plant {fault!r}: the slot {parts[3]!r} is no number; the first operand is 0")
    from . import testing
    return testing.plant(parts[0], parts[1], kind=parts[2] if len(parts) > 2 else "factor", slot=int(parts[3]) if len(parts) > 3 else 0)


def _note_absent(report, primitive):
    graph = report.graph()
    if report.agree and all(graph.nodes[k]["primitive"] != primitive for k in graph):
        click.echo(f"the fault was planted in {primitive}, which this function never uses: nothing to find", err=True)


# ---- formula, picture, card ----------------------------------------------------------------------------------------------------------

_verbose = click.option("--verbose", "-v", is_flag=True, expose_value=False, help="The traceback of an unexpected error.")       # main() looks for it


@commands.command()
@click.argument("what", metavar=f"{_EXISTING} | EXPRESSION")
@click.option("--wrt", metavar="NAME", help="Show the derivative with respect to this input instead.")
@click.option("--at", help="Arguments to trace FUNCTION at; without them every parameter is a scalar symbol.")
@click.option("--latex", is_flag=True, help="As LaTeX.")
@click.option("--source", metavar="LANGUAGE", help="As stand-alone code: numpy, numba or c.")
@_verbose
def formula(what, wrt, at, latex, source):
    """Print the formula of a function or of its derivative."""
    if latex and source:
        raise _bad("--latex and --source are two answers to one question: give one of them")
    if source not in (None, "numpy", "numba", "c"):
        raise _bad(f"--source {source}: choose numpy, numba or c")
    graph = _graph(what, at)
    if wrt is not None:
        graph = graph.derivative(_input_named(graph, wrt))
    click.echo(graph.latex() if latex else graph.source(source) if source else graph.formula())
    return 0


@commands.command()
@click.argument("what", metavar=_EXISTING)
@click.option("--at", help='Arguments of FUNCTION: "x=1.0, y=[1,2,3]".')
@click.option("-o", "--output", default="graph.svg", show_default=True, type=click.Path(dir_okay=False), help="svg, png, pdf, html or dot.")
@_verbose
def picture(what, at, output):
    """Draw the graph of a function."""
    if not os.path.isdir(os.path.dirname(output) or "."):
        raise _bad(f"there is no directory {os.path.dirname(output)!r}: make it, or name another file with -o")
    if os.path.splitext(output)[1] not in (".svg", ".png", ".pdf", ".html", ".dot"):
        raise _bad(f"cannot draw into {output!r}: give it one of the suffixes .svg, .png, .pdf, .html, .dot")
    fun, args = _user_function(what, at)
    import diffeng as de
    written = _write(output, de.trace(fun, *args).save)
    click.echo(f"picture: {written}")
    return 0


@commands.command()
@click.argument("primitive")
@_verbose
def card(primitive):
    """Print what is known of one primitive: its row in each method, its domain, its measured error."""
    from . import cards
    click.echo(cards.card(primitive))
    return 0


def _graph(what, at):
    """The graph of a function in a file, or of a formula."""
    import diffeng as de
    if ".py:" not in what:
        if at is not None:
            raise _bad(f"--at belongs to {_EXISTING}; the names of an expression are its inputs")
        return de.parse(what)
    from . import loading
    fun = loading.load(what)
    if at is None:
        import inspect
        names = [p.name for p in inspect.signature(fun).parameters.values() if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD) and p.default is p.empty]
        if names:
            from .buffers import call
            inputs = [de.symbols(name) for name in names]
            try:
                return de.to_graph(call(fun, inputs), inputs)
            except Exception as error:
                raise _bad(f"{what} cannot be written with a scalar symbol for each parameter ({type(error).__name__}: {_text(error)}); "
                           f"give values with --at \"{', '.join(f'{n}=1.0' for n in names)}\"") from error
    args = loading.bind(fun, at)
    loading.check(fun, args)
    return de.trace(fun, *args)


def _input_named(graph, name):
    names = [graph.nodes[k]["name"] for k in graph.inputs]
    if name not in names:
        raise _bad(f"--wrt {name}: there is no such input; there are {', '.join(names)}")
    return names.index(name)


for command in (bench, generate, train):
    commands.add_command(command)


# ---- what all commands share ------------------------------------------------------------------------------------------------------------

def _bad(message):
    from .loading import BadInput
    return BadInput(message)


def _text(error):
    return str(error.args[0]) if isinstance(error, KeyError) and error.args else str(error) or type(error).__name__


def _explain(error, verbose):
    """What the engine refuses is the user's to mend: one paragraph. Anything else is ours, and says so."""
    if verbose:
        import traceback
        traceback.print_exception(error)
    if getattr(error, "explained", False) or isinstance(error, (ValueError, TypeError, NotImplementedError, OSError)) or type(error) is RuntimeError:
        text = _text(error)
    else:
        text = f"{type(error).__name__}: {_text(error)}: this is a fault of diffeng, not of the input; --verbose shows where it happened"
    click.echo(f"Error: {text}", err=True)


class _Progress:
    """progress(stage, done, total): a bar on a terminal, else one line a stage; always on stderr, so that stdout is the table alone."""

    def __init__(self):
        self.bar, self.stage = None, None

    def __enter__(self):
        return self

    def __call__(self, stage, done=0, total=None):
        if stage != self.stage:
            self.stage = stage
            if not sys.stderr.isatty():
                click.echo(f"{stage} ...", err=True)
                return
            from tqdm import tqdm
            self.__exit__()
            self.bar = tqdm(desc=stage, total=total, file=sys.stderr, leave=False, bar_format="{desc:28} {bar:30} {n_fmt}/{total_fmt} {elapsed}")
        if self.bar is not None:
            self.bar.total, self.bar.n = total, done
            self.bar.refresh()

    def __exit__(self, *_):
        if self.bar is not None:
            self.bar.close()


def _directory(path):
    """The directory of --out, made before anything is computed: an error then costs nothing."""
    try:
        os.makedirs(path, exist_ok=True)
    except OSError as error:
        raise _bad(f"--out {path}: {error.strerror}; name a directory that can be written") from error
    if not os.access(path, os.W_OK):
        raise _bad(f"--out {path}: it cannot be written; name another directory")
    return path


def _write(path, make):
    """make(temporary path), then rename: whoever reads sees the old file or the whole new one."""
    stem, ending = os.path.splitext(path)
    temporary = f"{stem}.{os.getpid()}.part{ending}"
    try:
        make(temporary)
        os.replace(temporary, path)
    finally:
        if os.path.exists(temporary):
            os.remove(temporary)
    return path


def _draw(digraph, path):
    from . import picture
    picture.render(digraph, path)


def _save_json(text, path):
    with open(path, "w", encoding="utf-8") as file:
        file.write(text)


if __name__ == "__main__":
    sys.exit(main())
