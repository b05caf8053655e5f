"""The command line: options in, one table out, and an exit status.

0: all methods agree with the judge. 1: a method is wrong, or no verdict was possible. 2: the input is wrong. 130: interrupted.
What it is not: no derivative and no judgement are made here. Why a file: setuptools' entry point, and the only place that prints.
Nothing heavy is imported before a command runs, so that --help answers at once.
"""
import contextlib
import os
import sys

import click

from . import __version__
from .bench.command import bench
from .llm.commands import generate, train
from .writing import FULL, refused, replacing

BLOCK, MODEL = "gpt2-block", "gpt2"
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
@click.argument("what", metavar=f"{BLOCK} | {MODEL} | {_EXISTING}")
@click.option("--at", help='Arguments of FUNCTION: "x=1.0, y=[1,2,3]". Numbers are floating-point; 3i is an integer.')
@click.option("--load", "directory", type=click.Path(), metavar="DIR", help=f"{MODEL}: config.json, model.safetensors and perhaps a tokenizer.")
@click.option("--text", help=f"{BLOCK}, {MODEL}: the text whose next bytes or tokens are to be predicted.  [default: a sentence]")
@click.option("--tokens", help=f'{MODEL}: the tokens themselves: "464,3290,318".')
@click.option("--dtype", type=click.Choice(["float64", "float32"]), help=f"Of parameters and arguments.  [default: float64; {MODEL}: as stored]")
@click.option("--context", type=int, help=f"Tokens at once.  [default: {BLOCK} 16, {MODEL} 8]")
@click.option("--width", type=int, help=f"{BLOCK}: width of the residual stream.  [default: 32]")
@click.option("--heads", type=int, help=f"{BLOCK}: attention heads; they divide the width.  [default: 4]")
@click.option("--layers", type=int, help=f"{BLOCK}: blocks.  [default: 1]")
@click.option("--directions", type=click.IntRange(1), help="Random directions through all parameters, for the judge.  [default: 2]")
@click.option("--seed", type=int, help=f"{BLOCK}: of the parameters; {MODEL}: of the directions.  [default: 0]")
@click.option("--verbose", "-v", is_flag=True, help="One row a parameter tensor; the traceback of an unexpected error.")
@click.option("--out", default="diffeng-report", show_default=True, type=click.Path(file_okay=False), help="Directory for the picture and the report.")
@click.option("--plant", "fault", metavar="METHOD:PRIMITIVE[:KIND[:SLOT]]", help="Put a fault into one rule: factor (default), sign or drop.")
def compare(what, at, directory, text, tokens, dtype, context, width, heads, layers, directions, seed, verbose, out, fault):
    """Derive one gradient by every method, and let the judge decide.

    gpt2-block is a GPT-2 with one block that predicts the bytes of a sentence; gpt2 is the checkpoint of --load, of any size; FILE.py:FUNCTION is anybody's
    function of NumPy arrays.
    """
    sizes = dict(text=text, context=context, width=width, heads=heads, layers=layers, seed=seed, tokens=tokens, load=directory)
    options = {} if directions is None else {"directions": directions}
    with _planted(fault), _Progress() as progress:
        if what == MODEL:
            progress("reading the checkpoint", 0, 1)
        fun, args = (_gpt2_block(at, dtype, sizes) if what == BLOCK else _gpt2(at, dtype, sizes, options) if what == MODEL
                     else _user_function(what, at, dtype or "float64", **sizes))
        out = _directory(out)
        import diffeng as de
        report = de.compare(fun, *args, progress=progress, **options)
    click.echo(report.table(verbose=True) if verbose else str(report))
    if fault:
        _note_absent(report, fault.split(":")[1])
    drawn, told = os.path.join(out, "graph.svg"), os.path.join(out, "report.json")
    with _Progress() as progress:
        progress("drawing the picture", 0, 1)
        from .picture import render
        with replacing(told) as file:
            file.write(report.to_json().encode())
        try:
            render(report.picture(), drawn)
        except RuntimeError as error:                        # no Graphviz, say: the verdict stands without a picture
            drawn = f"none: {error}"
    click.echo(f"picture: {drawn}\nreport:  {told}")
    return 0 if report.agree else 1


def _gpt2_block(at, dtype, sizes):
    """(loss as a function of the parameters, (parameters,)) for a text."""
    if at is not None:
        raise _bad(f"--at belongs to {_EXISTING}; {BLOCK} takes --text, --context, --width, --heads, --layers and --seed")
    _foreign(sizes, ("load", "tokens"), MODEL, f"{BLOCK} has new parameters, and the bytes of --text")
    from .llm import compared
    return _said(*compared.block(**{k: v for k, v in sizes.items() if k not in ("load", "tokens")}, dtype=dtype))


def _gpt2(at, dtype, sizes, options):
    """The same for the checkpoint of a directory."""
    if at is not None:
        raise _bad(f"--at belongs to {_EXISTING}; {MODEL} takes --load, --text or --tokens, --context, --directions and --seed")
    if sizes["load"] is None:
        raise _bad(f"{MODEL} needs --load DIR: a directory with config.json and model.safetensors, as transformers' save_pretrained writes it")
    if not os.path.isdir(sizes["load"]):
        raise _bad(f"--load {sizes['load']}: there is no such directory; name one with config.json and model.safetensors")
    _foreign(sizes, ("width", "heads", "layers"), BLOCK, f"{MODEL} has the sizes of the config.json in --load")
    if sizes["seed"] is not None:
        if sizes["seed"] < 0:
            raise _bad(f"--seed {sizes['seed']}: give 0 or more")
        options["seed"] = sizes["seed"]
    from .llm import compared
    return _said(*compared.checkpoint(sizes["load"], sizes["text"], sizes["tokens"], sizes["context"], dtype))


def _foreign(sizes, names, owner, instead):
    for name in names:
        if sizes[name] is not None:
            raise _bad(f"--{name} belongs to {owner}; {instead}")


def _said(fun, args, what, note):
    if note:
        click.echo(note, err=True)
    click.echo(what)
    return fun, args


def _user_function(what, at, dtype="float64", **foreign):
    """(function, arguments), run once already. foreign: options of another job, which must not have been given."""
    if ":" not in what:
        raise _bad(f"{what!r} is neither {BLOCK} nor {MODEL} nor {_EXISTING}: name a function in a file, as in model.py:loss")
    for name, value in foreign.items():
        if value is not None:
            raise _bad(f"--{name} belongs to {MODEL if name in ('load', 'tokens') else BLOCK}; {_EXISTING} takes its arguments with --at \"x=1.0\"")
    from . import loading
    fun = loading.load(what)
    args = loading.bind(fun, at, dtype)
    loading.check(fun, args)
    return fun, args


def _planted(fault):
    """The context manager of --plant METHOD:PRIMITIVE[:KIND[:SLOT]]."""
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
    if os.path.splitext(output)[1].lower() not in (".svg", ".png", ".pdf", ".html", ".dot"):
        raise _bad(f"cannot draw into {output!r}: give it one of the suffixes .svg, .png, .pdf, .html, .dot")
    fun, args = _user_function(what, at)
    import diffeng as de
    de.trace(fun, *args).save(output)
    click.echo(f"picture: {output}")
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
    """What an error says. Whoever could not write a file has named it (writing.py); where there was no room and no name, it was for what is printed."""
    if isinstance(error, KeyError) and error.args:
        return str(error.args[0])
    if isinstance(error, OSError) and getattr(error, "explained", False):
        return error.strerror
    if isinstance(error, OSError) and error.filename is None:
        if error.errno in FULL:
            return refused("to the standard output", error).strerror
    return str(error) or type(error).__name__


def _explain(error, verbose):
    """What the engine refuses is the user's to mend: one paragraph. Anything else is ours, and says so."""
    if verbose:
        import traceback
        traceback.print_exception(error)
    if getattr(error, "explained", False) or isinstance(error, (ValueError, TypeError, NotImplementedError, OSError)) or type(error) is RuntimeError:
        text = _text(error)
    else:
        text = f"{type(error).__name__}: {_text(error)}: this is a fault of diffeng, not of the input; --verbose shows where it happened"
    text = "\n".join([text, *getattr(error, "__notes__", [])])
    with contextlib.suppress(OSError):                       # where even this has no room, the exit status is left
        click.echo(f"Error: {text}", err=True)


class _Progress:
    """progress(stage, done, total): a bar on a terminal, else one line a stage; always on stderr, so that stdout is the table alone."""

    def __init__(self):
        self.bar, self.stage = None, None

    def __enter__(self):
        return self

    def __call__(self, stage, done=0, total=None):
        with contextlib.suppress(OSError):                   # nothing depends on somebody's seeing it
            self._show(stage, done, total)

    def _show(self, stage, done, total):
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


if __name__ == "__main__":
    sys.exit(main())
