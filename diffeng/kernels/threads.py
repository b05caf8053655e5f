"""Who may be parallel: the one place that decides.

What it is: `split` says into how many rows a chunk goes, `share` runs the chunks of one instruction on several threads. A kernel called through
ctypes has released the interpreter lock, so plain Python threads do; they survive what OpenMP and numba's own layers do not (a fork, two Python
threads at once). Chunks depend on the number of threads alone, and every row is computed by one thread: the bits do not vary.

DIFFENG_THREADS in the environment sets the number; default: the processors this process may use. BLAS brings its own threads, so an instruction
that calls it for large products is never shared out here (source.product).
"""
import os
import threading

SERIAL_BELOW = 200_000                      # nanoseconds of work: handing a chunk to a thread costs some 20 000

_lock = threading.Lock()                    # one parallel region at a time
_pool = None


def count():
    """Threads a program may use."""
    asked = os.environ.get("DIFFENG_THREADS", "")
    if asked:
        return max(1, int(asked))
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def split(rows, cost):
    """Rows a chunk, for so many rows of so many nanoseconds each; `rows` itself means: no parallel region."""
    n = count()
    if n == 1 or rows < 2 or rows * cost < SERIAL_BELOW:
        return rows
    return -(-rows // n)


def share(call, table, rows, chunk):
    """call(table, lo, hi) over all rows, in chunks, on several threads; returns when all are done."""
    with _lock:
        pool = _threads()
        waiting = [pool.submit(call, table, lo, min(rows, lo + chunk)) for lo in range(chunk, rows, chunk)]
        call(table, 0, min(chunk, rows))
        for w in waiting:
            w.result()


def _threads():
    global _pool
    if _pool is None:
        from concurrent.futures import ThreadPoolExecutor
        _pool = ThreadPoolExecutor(max(1, count() - 1), thread_name_prefix="diffeng")
    return _pool


def _after_fork():
    """A child has none of its parent's threads, and perhaps a lock that nobody will open."""
    global _pool, _lock
    _pool, _lock = None, threading.Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
