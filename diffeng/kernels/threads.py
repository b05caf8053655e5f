"""Who may be parallel: the one place that decides, and the keeper of the threads that are.

What it is: `count` and `split` say into how many rows a chunk goes; `pool` gives the address of the block of words over which native.py shares
chunks, `start` and `stop` the workers. Workers are Python's threads inside one ctypes call without the interpreter lock, for they
survive what OpenMP and numba's layers do not (a fork, two Python threads at once). Chunks do not depend on the number of threads (but those of transforms, whose bits do
not depend on chunks), and every chunk is computed by one thread: neither do the bits, but for products, which contract.py cuts into as many parts as there are threads.

What it is not: no protocol (native.py says it), no table.

DIFFENG_THREADS in the environment sets the number; default: the processors this process may use. BLAS brings its own threads: a program with
products has them set to one while it runs, and shares out the products itself.
"""
import atexit
import ctypes
import os
import threading
import time

SERIAL_BELOW = 10_000                       # nanoseconds of work: a region costs 1 000 while the workers spin, some 15 000 when they sleep
CHUNKS = 32                                 # where the work allows it: a thread that comes late, or shares its processor, delays less
CHUNK_ABOVE = 5_000                        # nanoseconds of work in each of those
SPIN = 40                                   # microseconds a worker spins before it sleeps

_lock = threading.Lock()
_block = None                               # the words of native.py's pool; lives as long as the process
_workers = []


def count():
    """Threads a program may use."""
    asked = os.environ.get("DIFFENG_THREADS", "")
    if asked:
        return max(1, int(asked))
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def split(rows, cost):
    """Rows a chunk, for so many rows of so many nanoseconds each; `rows` itself means: no parallel region. There are 2, 4, 8, ... chunks: of three, one of two
    threads would do two.

    >>> split(10, 1.0), split(100, 176.0)
    (10, 50)
    """
    work = rows * cost
    return rows if rows < 2 or work < SERIAL_BELOW else -(-rows // min(CHUNKS, 1 << (int(work / CHUNK_ABOVE).bit_length() - 1)))


def pool():
    """The address of the pool's words."""
    global _block
    from . import blas, blocks
    with _lock:
        if _block is None:
            block = (ctypes.c_int64 * (blocks.POOL_WORDS + 8))()
            block.start = -(-ctypes.addressof(block) // 64) * 64                  # cache lines begin where they should
            block.words = (ctypes.c_int64 * blocks.POOL_WORDS).from_address(block.start)
            block.words[blocks.GET], block.words[blocks.SET] = blas.threads()
            _block = block
    return _block.start


def start():
    """Workers, if there are none: `count() - 1` of them. Cheap when they run already."""
    if _workers:
        return
    from . import blocks, runtime
    address, wanted = pool(), min(count(), blocks.MOST) - 1
    with _lock:
        if _workers or not wanted or blocks.FUTEX is None or _stopped:
            return
        words = _block.words
        rest, worker = runtime.function("rest"), runtime.function("worker")
        if not words[blocks.SPINS]:
            took = min(_timed(rest, 2000) for _ in range(3))
            words[blocks.SPINS] = max(100, int(2000 * SPIN * 1e-6 / took))
        words[blocks.STOP] = 0
        for k in range(wanted):
            thread = threading.Thread(target=worker, args=(address + k + 1,), name=f"diffeng-{k + 1}", daemon=True)
            thread.start()
            _workers.append(thread)
        words[blocks.WORKERS] = wanted


_stopped = False


def _timed(function, n):
    begun = time.perf_counter()
    function(n)
    return time.perf_counter() - begun


def stop():
    """Workers leave; regions that come later run alone. Waits for them, but not for ever: a kernel may be long, and the process is ending."""
    from . import runtime
    with _lock:
        if not _workers:
            return
        runtime.function("halt")(_block.start)
        for thread in _workers:
            thread.join(timeout=5.0)
        _workers.clear()


@atexit.register
def _at_exit():
    global _stopped
    _stopped = True                         # machine code must not run while the interpreter takes its memory apart
    stop()


def _after_fork():
    """A child has none of its parent's threads, and perhaps a lock or a region that nobody will open. It starts workers when it wants them."""
    global _lock
    _lock = threading.Lock()
    _workers.clear()
    if _block is None:
        return
    from . import blocks
    words = _block.words
    if words[blocks.USERS] > 0 and words[blocks.BEFORE] != 1:
        ctypes.CFUNCTYPE(None, ctypes.c_int)(words[blocks.SET])(words[blocks.BEFORE])
    for k in (blocks.TAKEN, blocks.GENERATION, blocks.NEXT, blocks.INSIDE, blocks.SLEEPERS, blocks.STOP, blocks.WORKERS, blocks.USERS):
        words[k] = 0


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
