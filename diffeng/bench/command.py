"""The order of a benchmark run, and its options.

Why a file: `diffeng bench`, `python -m diffeng.bench` and `python benchmarks/run.py` are this one command; it imports no numerical library before threads are limited.
"""
import datetime
import json
import os
import warnings

import click

from ..writing import replacing
from . import threads


@click.command()
@click.option("--only", multiple=True, metavar="NAME", help="This workload, or all whose names begin so; may be repeated.")
@click.option("--peers", metavar="A,B", help='Only these of: JAX, PyTorch, torch.compile, "HIPS autograd", CasADi, PyTensor (diffeng is always there).')
@click.option("--threads", "n_threads", type=click.IntRange(1), help="For everybody.  [default: the processors allowed]")
@click.option("--rounds", type=click.IntRange(1), default=15, show_default=True, help="Turns each peer has on each workload.")
@click.option("--quick", is_flag=True, help="Three short rounds, no torch.compile, no fresh processes.")
@click.option("--fresh/--no-fresh", default=True, show_default=True, help="First calls and peak memory, each in a process of its own.")
@click.option("--json", "json_file", type=click.Path(dir_okay=False), help="Write everything measured.")
@click.option("--markdown", "markdown_file", type=click.Path(dir_okay=False), help="Write the tables between their marks in this page (docs/performance.md).")
@click.option("--list", "list_only", is_flag=True, help="Name the workloads and leave.")
def bench(only, peers, n_threads, rounds, quick, fresh, json_file, markdown_file, list_only):
    """Time diffeng on this machine, side by side with whatever peers are installed (pip install "diffeng[peers]").

    Every answer is checked against a reference before it is timed; all peers take turns in one process, with equal threads and precision. The table
    gives the shortest time a call, best peer / diffeng (above 1: diffeng is faster), what bounds each workload, first calls and memory. Several minutes.
    """
    threads.limit(n_threads or threads.count())
    warnings.simplefilter("ignore")                  # the peers'
    from . import control, fresh as processes, harness, table
    from .peers import OURS, PEERS, load
    from .workloads import WORKLOADS
    chosen = [w for w in WORKLOADS.values() if not only or any(w.name.startswith(o) for o in only)]
    if not chosen:
        raise click.UsageError(f"--only {', '.join(only)}: there is no such workload; there are {', '.join(WORKLOADS)}")
    if list_only:
        click.echo("\n".join(w.name for w in chosen))
        return 0
    asked = [*(p.name for p in OURS), *_named(peers, PEERS)] if peers is not None else [n for n in PEERS if not (quick and n == "torch.compile")]
    asked = [PEERS[name] for name in dict.fromkeys(asked)]
    for peer in asked:
        load(peer)                          # before diffeng loads a library whose symbols could take the place of those that it brings
    plan = harness.Plan(rounds=3, sample=0.005, budget=0.5) if quick else harness.Plan(rounds=rounds)
    report = {"date": datetime.date.today().isoformat(), "processor": control.processor(), "threads": threads.count(), "versions": control.versions(asked),
              "control": control.measure(_progress), "workloads": {}}
    beside = [PEERS[n] for n in ("JAX", "PyTorch") if PEERS[n] in asked and report["versions"][PEERS[n].package]]
    for workload in chosen:
        row = report["workloads"][workload.name] = harness.run(workload, asked, plan, progress=_progress)
        if fresh and not quick:
            row["fresh"] = processes.row(workload.name, beside, _progress)
        if json_file:
            _write(json_file, json.dumps(report, indent=1))          # after each workload: an interrupted run keeps what it has
    click.echo(table.text(report))
    if markdown_file:
        page = ""
        if os.path.exists(markdown_file):
            with open(markdown_file, encoding="utf-8") as file:
                page = file.read()
        _write(markdown_file, table.replaced(page, table.markdown(report)))
    return 0


def _named(text, peers):
    """The peers of --peers, by name, whatever the case."""
    known = {name.lower(): name for name in peers}
    names = [name.strip() for name in text.split(",") if name.strip()]
    for name in names:
        if name.lower() not in known:
            raise click.UsageError(f"--peers {name}: there is no such peer; there are {', '.join(peers)}")
    return [known[name.lower()] for name in names]


def _progress(text):
    click.echo(f"{text} ...", err=True)


def _write(path, text):
    with replacing(path) as file:
        file.write(text.encode())
