"""First calls and peak memory, each in a process of its own: `python -m diffeng.bench.fresh PEER WORKLOAD`.

The process imports the library, makes the inputs, and only then starts the clock; memory is read from Linux (VmHWM and VmRSS in /proc/self/status).
What it is not: no steady timing. Why a file: it is the program of those processes, and must import no more than one library.
"""
import compileall
import json
import os
import pathlib
import subprocess
import sys
import tempfile
import time

STEADY_CALLS = 3
TURNS = 2
PATIENCE = 900                     # seconds a process may take


def main(peer_name, workload_name):
    """Print {"first": seconds, "second": seconds, "peak": bytes, "steady": bytes} of one peer on one workload."""
    from .peers import PEERS
    from .workloads import WORKLOADS
    import importlib
    peer, problem = PEERS[peer_name], WORKLOADS[workload_name].problem()
    importlib.import_module(peer.package)
    calls = peer.prepare(problem)
    call = calls[next(reversed(calls))]          # the library's own spelling stands last
    _forget_peak()
    before = _memory("VmRSS")
    began = time.perf_counter()
    call()
    first = time.perf_counter() - began
    peak = _memory("VmHWM")
    began = time.perf_counter()
    call()
    second = time.perf_counter() - began
    _forget_peak()
    for _ in range(STEADY_CALLS):
        call()
    steady = _memory("VmHWM")
    print(json.dumps({"first": first, "second": second, "peak": max(peak, steady) - before, "steady": steady - before}))


def _memory(field):
    """Bytes of a field of /proc/self/status; 0 where there is none."""
    try:
        with open("/proc/self/status", encoding="utf-8") as file:
            return next(int(line.split()[1]) * 1024 for line in file if line.startswith(field + ":"))
    except (OSError, StopIteration):
        return 0


def _forget_peak():
    """Set VmHWM to what is held now, so that making the inputs does not count."""
    try:
        with open("/proc/self/clear_refs", "w", encoding="utf-8") as file:
            file.write("5")
    except OSError:
        pass


def ask(peer_name, workload_name, **environment):
    """What main prints, of a fresh process; {"failed": ...} when it dies."""
    done = subprocess.run([sys.executable, "-W", "ignore", "-m", "diffeng.bench.fresh", peer_name, workload_name], capture_output=True, text=True, timeout=PATIENCE,
                          env={**os.environ, **environment})
    if done.returncode:
        return {"failed": (done.stderr.strip().splitlines() or ["no message"])[-1][:300]}
    return json.loads(done.stdout.strip().splitlines()[-1])


def row(workload_name, peers, progress=lambda text: None):
    """{"cold": ..., "warm": ..., "scan": ..., peer: ...}: diffeng with an empty cache, with the cache that this left, for loops with an empty cache where they are
    written with de.scan, and the others. Of TURNS processes each, in turns, the one with the shortest first call counts, as whatever else the machine does can
    only add to it."""
    from .peers import LOOPS
    found = {}

    def turn(kind, peer_name, **environment):
        progress(f"{workload_name}: first call, {kind}")
        told, best = ask(peer_name, workload_name, **environment), found.get(kind)
        if best is None or "failed" in told or told["first"] < best.get("first", 0):          # a failure stays
            found[kind] = told
    compileall.compile_dir(pathlib.Path(__file__).parent.parent, quiet=2)          # as pip does for every library: a checkout may lack it
    for _ in range(TURNS):
        with tempfile.TemporaryDirectory(prefix="diffeng-bench-") as folder:
            for kind in ("cold", "warm"):
                turn(kind, "diffeng", DIFFENG_CACHE=folder)
        if workload_name in LOOPS:
            with tempfile.TemporaryDirectory(prefix="diffeng-bench-") as folder:
                turn("scan", "diffeng, scan", DIFFENG_CACHE=folder)
        for peer in peers:
            turn(peer.name, peer.name)
    return found


if __name__ == "__main__":
    main(*sys.argv[1:])
