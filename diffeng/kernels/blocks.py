"""Where words lie in what machine code (native.py) and Python share: a program's context, the pool of threads, and the objects of Python and NumPy.

Why apart from native.py: who calls machine code that lies on disk (runtime.py, threads.py) writes none, and does not import what writes it.
"""
import platform
import sys

# Words of a program's context.
STATUS, BUSY, INPUTS, ARGUMENTS, TABLE, ROWS, WORDS, PATCHES, PATCHED, SPECS, RELEASE, PRODUCTS, NDARRAY, POOL, OUTPUTS, FRESH, SINGLE, NONE = range(18)
CONTEXT = 18
# Words of the pool. What different threads write lies in different cache lines.
TAKEN, GENERATION, INSIDE, SLEEPERS, STOP, WORKERS, SPINS = 0, 8, 24, 32, 40, 48, 49
JOB = 56                                   # kernel, words, rows, chunk, threads
USERS, BEFORE, GET, SET = 64, 65, 66, 67   # BLAS: programs inside, its number of threads before them, addresses of its two functions
MOST = 64                                  # threads; their number is the lower part of an address of the pool, which is a multiple of that
NEXT = 72                                  # of each thread: how many chunks of its share are taken
POOL_WORDS = NEXT + 8 * MOST
# Where a PyObject and a PyArrayObject have their fields (bytes), and the flags that an array must have: C-contiguous, aligned.
TYPE, VALUE, DATA, ND, DIMENSIONS, DESCR, FLAGS = 8, 16, 16, 24, 32, 56, 64
LENGTH, ITEMS = 16, 24                     # the number of items and the first item of a PyTupleObject
FIRST, SECOND = 16, 24                     # what __slots__ of a class without parents begins with
WANTED = 0x0101

CONVERT, REENTERED = -1, -2                # what a call returns instead of a status

# The system's call by which threads sleep and are woken. Without one there are no workers: regions run their chunks in order.
FUTEX = {"x86_64": 202, "aarch64": 98}.get(platform.machine()) if sys.platform == "linux" else None
