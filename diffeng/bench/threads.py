"""Equal threads for everybody: set before any numerical library is imported.

Why a file: it must import nothing, since libraries read these variables when they load.
"""
import os

_VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS", "DIFFENG_THREADS")


def limit(n):
    """At most n threads, here and in child processes: variables, and the processors allowed (XLA and oneDNN count those)."""
    for name in _VARIABLES:
        os.environ[name] = str(n)
    allowed = sorted(os.sched_getaffinity(0))
    if n < len(allowed):
        os.sched_setaffinity(0, allowed[:n])


def count():
    """The threads asked for by limit, else the processors allowed."""
    return int(os.environ.get("OMP_NUM_THREADS") or len(os.sched_getaffinity(0)))
