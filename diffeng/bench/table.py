"""What the numbers say: ratios, the geometric mean, where we lose; as text and as Markdown.

What it is not: nothing is measured. Times are compared by their minimum over the rounds: the machine's noise only ever adds.
"""
import math
import re

from . import peers

OURS = [p.name for p in peers.OURS]
BEGIN, END = "<!-- begin: diffeng bench -->", "<!-- end: diffeng bench -->"
CACHED = 4e6                       # bytes: arrays together smaller than this stay in the second-level caches or near


def best_peer(row):
    """(name, seconds) of the fastest of the others; None when none was timed."""
    timed = [(r["minimum"], name) for name, r in row["peers"].items() if name not in OURS and "minimum" in r]
    return min(timed)[::-1] if timed else None


def ratio(row):
    """Best peer's time over diffeng's: above 1 we win. None where one of them is missing."""
    ours, peer = row["peers"].get("diffeng", {}).get("minimum"), best_peer(row)
    return peer[1] / ours if ours and peer else None


def geometric_mean(values):
    """exp of the mean logarithm of what is not None; None of nothing."""
    known = [math.log(v) for v in values if v is not None]
    return math.exp(sum(known) / len(known)) if known else None


def losses(rows):
    """[(ratio, workload, best peer)], the worst first, of the workloads on which a peer is faster or diffeng has no time."""
    lost = [(ratio(row) or 0.0, name, best_peer(row)[0]) for name, row in rows.items() if best_peer(row) and (ratio(row) or 0.0) < 1]
    return sorted(lost)


def bound(row, control):
    """(what bounds it, least seconds by that, what was reached): the largest of the times that products, memory and elementary functions need at the ceilings."""
    work, ours, dtype = row["work"], row["peers"].get("diffeng", {}).get("minimum"), row["dtype"]
    threads = max(int(key.split()[1]) for key in control if re.fullmatch(r"add \d+", key))
    bandwidth = control["add in cache"] * threads if work["bytes"] < CACHED else control[f"add {threads}"]
    exp = (control["exp diffeng"] or control["exp numpy"]) / threads
    needs = {"products": (work["flops"] / control[f"gemm {dtype}"] * 1e-9, work["flops"], "GFLOP/s", control[f"gemm {dtype}"]),
             "memory": (work["bytes"] / bandwidth * 1e-9, work["bytes"], "GB/s", bandwidth),
             "functions": (work["functions"] * exp * 1e-9, work["functions"], "G functions/s", 1 / exp)}
    name = max(needs, key=lambda k: needs[k][0])
    seconds, amount, unit, ceiling = needs[name]
    if seconds < 5e-6:
        return "calls", seconds, ""
    return name, seconds, f"{amount / ours * 1e-9:.3g} of {ceiling:.3g} {unit}" if ours else f"ceiling {ceiling:.3g} {unit}"


def seconds(t):
    """Three digits and a unit: 15.2 us, 1.04 ms."""
    if t is None:
        return "-"
    for unit, scale in (("s", 1), ("ms", 1e-3), ("us", 1e-6)):
        if t >= scale:
            break
    return f"{t / scale:.3g} {unit}" if t / scale < 999.5 else f"{t / scale:.0f} {unit}"


def _times(row, name):
    r = row["peers"].get(name)
    if r is None:
        return ""
    return seconds(r["minimum"]) if "minimum" in r else "failed" if "failed" in r else "-"


def _columns(rows):
    return list(dict.fromkeys(name for row in rows.values() for name in row["peers"]))


def _steady(report):
    rows = report["workloads"]
    names = _columns(rows)
    table = [["workload", *names, "best peer / diffeng", "median / minimum"]]
    for name, row in rows.items():
        r, ours = ratio(row), row["peers"].get("diffeng", {})
        table.append([name, *(_times(row, n) for n in names), f"{r:.2f}" if r else "-", f"{ours['median'] / ours['minimum']:.2f}" if "minimum" in ours else "-"])
    return table


def _bounds(report):
    table = [["workload", "bound by", "least time", "diffeng", "reached", "gradient / primal", "by operations"]]
    for name, row in report["workloads"].items():
        what, least, reached = bound(row, report["control"])
        ours, primal, counted = row["peers"].get("diffeng", {}).get("minimum"), (row.get("primal") or {}).get("minimum"), row.get("operations")
        table.append([name, what, seconds(least), seconds(ours), reached, f"{ours / primal:.2f}" if ours and primal else "-",
                      f"{counted['gradient'] / counted['primal']:.2f}" if counted else "-"])
    return table


def _first(report):
    rows = {name: row["fresh"] for name, row in report["workloads"].items() if "fresh" in row}
    if not rows:
        return None
    names = list(dict.fromkeys(n for row in rows.values() for n in row))
    heads = {"cold": "diffeng, empty cache", "warm": "diffeng, second process", "scan": "diffeng with de.scan, empty cache"}
    table = [["workload", *(f"{heads.get(n, n)}: first call" for n in names), "cold / JAX", *(f"{heads.get(n, n)}: peak memory" for n in names if n != "cold")]]
    for name, row in rows.items():
        cold, scan, jax = (row.get(kind, {}).get("first") for kind in ("cold", "scan", "JAX"))
        table.append([name, *(seconds(row[n].get("first")) if n in row else "" for n in names),
                      (f"{cold / jax:.2f}" if cold and jax else "-") + (f" ({scan / jax:.2f} with de.scan)" if scan and jax else ""),
                      *(f"{row[n]['steady'] / 1e6:.0f} ({row[n]['peak'] / 1e6:.0f}) MB" if "steady" in row.get(n, {}) else "-" for n in names if n != "cold")])
    return table


def _sentences(report):
    """What the tables come to."""
    rows = report["workloads"]
    mean, lost = geometric_mean(map(ratio, rows.values())), losses(rows)
    yield f"Geometric mean of best peer / diffeng over {sum(ratio(r) is not None for r in rows.values())} workloads: {mean:.2f}." if mean else "No ratio: no peer was timed."
    yield "Where we lose: " + ("; ".join(f"{name}, {r:.2f} of {peer}'s speed" if r else f"{name}, no time of ours" for r, name, peer in lost) or "nowhere") + "."
    plain = [row["peers"]["HIPS autograd"]["minimum"] / row["peers"]["diffeng, no jit"]["minimum"] for row in rows.values() if row["small"]
             and "minimum" in row["peers"].get("HIPS autograd", {}) and "minimum" in row["peers"].get("diffeng, no jit", {})]
    if plain:
        yield f"Without jit, HIPS autograd / diffeng on the small workloads: {', '.join(f'{p:.2f}' for p in plain)} (geometric mean {geometric_mean(plain):.2f})."


def _notes(report):
    """Failures and absences, one line each, equal ones together."""
    said = {}
    for name, row in report["workloads"].items():
        for peer, r in {**row["peers"], **{f"{k}, fresh process": v for k, v in row.get("fresh", {}).items()}}.items():
            for kind in ("failed", "reason"):
                if kind in r:
                    said.setdefault(f"{peer}: {'FAILED, ' if kind == 'failed' else ''}{r[kind]}", []).append(name)
    return [f"{text} ({', '.join(names)})" for text, names in said.items()]


def machine(report):
    """The machine, versions and ceilings in three lines."""
    control = report["control"]
    bandwidth = ", ".join(f"{v:.1f} GB/s on {k.split()[1]}" for k, v in control.items() if re.fullmatch(r"add \d+", k))
    return [f"{report['processor']}, {report['threads']} threads for everybody, {report['date']}",
            ", ".join(f"{k} {v}" if v else f"{k} not installed" for k, v in report["versions"].items()),
            f"Ceilings: products {control['gemm float32']:.0f} GFLOP/s float32, {control['gemm float64']:.0f} float64; memory (a = b + c) {bandwidth} threads, "
            f"{control['add in cache']:.0f} from cache; exp {control['exp numpy']:.2f} ns an entry in NumPy, {control['exp diffeng']:.2f} in diffeng, one thread"]


def text(report):
    """The whole report for a terminal."""
    parts = machine(report) + [""] + _aligned(_steady(report)) + ["", *_sentences(report), ""] + _aligned(_bounds(report))
    first = _first(report)
    if first:
        parts += ["", *_aligned(first)]
    notes = _notes(report)
    return "\n".join(parts + ([""] + notes if notes else []))


def markdown(report):
    """The tables between their marks, for docs/performance.md."""
    parts = [BEGIN, "", *machine(report)[:2], "", machine(report)[2] + ".", "", "### Value and gradient, time a call", "",
             "The minimum over the rounds; the last column says how far the median lay above it, diffeng's.", "", *_piped(_steady(report)), ""]
    parts += [line + "\n" for line in _sentences(report)]
    parts += ["### What bounds each workload", "", *_piped(_bounds(report)), ""]
    first = _first(report)
    if first:
        parts += ["### First calls and memory", "", "Each in a fresh process after import. Memory: above what the process held before its first call, in steady calls (first call included).", "",
                  *_piped(first), ""]
    parts += ["### Who is not in the table, and why", "", *(f"- {note}" for note in _notes(report)), ""] if _notes(report) else []
    return "\n".join(parts + [END])


def replaced(page, block):
    """The page with what stands between the marks replaced; a page without marks gets the block at its end."""
    if BEGIN in page and END in page:
        return page[:page.index(BEGIN)] + block + page[page.index(END) + len(END):]
    return page.rstrip("\n") + "\n\n" * bool(page.strip()) + block + "\n"


def _aligned(table):
    widths = [max(len(row[k]) for row in table) for k in range(len(table[0]))]
    return ["  ".join(cell.ljust(w) if k == 0 else cell.rjust(w) for k, (cell, w) in enumerate(zip(row, widths))).rstrip() for row in table]


def _piped(table):
    return ["| " + " | ".join(row) + " |" for row in (table[0], ["---"] + ["---:"] * (len(table[0]) - 1), *table[1:])]
