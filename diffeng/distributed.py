"""Value and gradient of a sum over pieces of data, computed by the workers of a Dask cluster; training steps averaged over them.

What it is: `partition`, `value_and_grad`, `training_step`: the tasks that Dask runs, and the order of summation, which the number of pieces fixes and the
workers do not: results are the same to the last bit for any number of workers, and after any of them has died.

What it is not: no scheduler, no protocol, no serialisation; all of that is Dask's, functions travel by its cloudpickle, and whoever may submit to a Dask
cluster may run code there. Why a file: it is the one place that knows Dask, which is imported when something here is called.

What dies with a worker: nothing that is needed. Pieces, parameters and compiled functions are results of tasks whose arguments the scheduler keeps (data that
is merely scattered is lost with the worker that has it), so Dask runs these tasks again elsewhere.
"""
import asyncio
import atexit
import os
import uuid
import warnings
from concurrent.futures import CancelledError
from itertools import pairwise
from traceback import walk_tb

import numpy as np

from .lines import is_user_code, line_of
from .travel import Travelling
from .trees import flatten

TOGETHER = 4                      # results added by one task: fewer cost more tasks (a millisecond each), more hold more gradients in one worker's memory
PATIENCE = 10.0                   # seconds to wait for a scheduler to answer; seconds between looks at whether there are workers
_HERE = uuid.uuid4().hex          # this process
_clients = {}                     # address -> client; None -> that of the LocalCluster


# ---- what users call --------------------------------------------------------------------------------------------------------------------

def partition(data, pieces):
    """Nested arrays cut along their first axis into so many consecutive pieces, nested alike, each at most one row longer than another: views, no copies.

    data: an array, or nested tuples, lists and dicts of arrays with equally long first axes. Raises TypeError for leaves that are no arrays, ValueError for
    lengths that differ, for no data, and for more pieces than rows.

    >>> import numpy as np, diffeng as de
    >>> for piece in de.distributed.partition({"x": np.arange(5), "y": np.eye(5)}, 2):
    ...     print(piece["x"], piece["y"].shape)
    [0 1] (2, 5)
    [2 3 4] (3, 5)
    """
    leaves, rebuild, paths = flatten(data)
    for x, path in zip(leaves, paths):
        if not isinstance(x, np.ndarray) or x.ndim == 0:
            raise TypeError(f"partition: data{_at(path)} is {_kind(x)}: every leaf must be an array whose first axis counts the rows")
    lengths = sorted({len(x) for x in leaves})
    if len(lengths) > 1:
        raise ValueError(f"partition: first axes of {' and '.join(map(str, lengths))} rows: arrays that are cut together must be equally long")
    if lengths in ([], [0]):
        raise ValueError("partition: there is no data: give at least one array with at least one row")
    (rows,) = lengths
    if isinstance(pieces, bool) or not isinstance(pieces, (int, np.integer)) or not 1 <= pieces <= rows:
        raise ValueError(f"partition: pieces={pieces!r}: {rows} rows can be cut into 1 to {rows} pieces")
    bounds = [k * rows // int(pieces) for k in range(int(pieces) + 1)]
    return [rebuild([x[first:last] for x in leaves]) for first, last in pairwise(bounds)]


def value_and_grad(fun, partitions, *, mean=False, jit=True, client=None):
    """A function of the parameters that returns (value, gradient) of the sum of fun(parameters, piece) over the pieces, computed by Dask's workers.

    fun: fun(parameters, piece) -> a scalar; it travels once, with what it closes over as that is now. partitions: the pieces, such as `partition` makes: nested
    arrays, or functions without arguments that load such on a worker (for data larger than the scheduler's memory, which keeps what it was sent, lest a
    worker's copy be lost). They must be nested alike, with the same dtypes and ranks; lengths may differ. mean: fun is a mean over the rows of its piece, and
    the mean over all rows is wanted: each piece counts by the length of the first axis of its first array. jit: compile fun, once a worker. client: a
    dask.distributed.Client, the address of a scheduler ("tcp://host:8786"), or None: the current client if there is one, else a LocalCluster with a worker
    for each processor, which lasts as long as the process.

    The returned function takes nested float arrays, sends them once to each worker, and returns the value as a scalar and the gradient in the parameters'
    structure, shapes and dtypes; it suits scipy.optimize.minimize(..., jac=True). Each piece is computed by one thread, unless DIFFENG_THREADS is set where
    the workers were started. The bits of the results depend on the pieces, on the processors' kind, on the BLAS and on DIFFENG_THREADS, not on the workers.

    Raises what fun raises on a worker, with a note that names the piece and the line; ImportError when Dask is not installed; ConnectionError when no scheduler
    answers, or it is lost on the way; TypeError for a function that cannot travel; ValueError for no pieces, empty ones, and pieces that differ in more than
    their lengths; RuntimeError when a piece kills the workers that try it. While there are no workers at all it waits, and warns (RuntimeWarning).

    >>> import numpy as np, diffeng as de
    >>> def squares(w, piece):
    ...     return np.sum((piece["x"] @ w - piece["y"]) ** 2)
    >>> data = {"x": np.eye(4)[:, :2], "y": np.arange(4.0)}
    >>> f = de.distributed.value_and_grad(squares, de.distributed.partition(data, 2))
    >>> value, gradient = f(np.ones(2))
    >>> print(value, gradient)
    14.0 [2. 0.]
    """
    pieces, client = _checked(partitions), _client(client)
    function = _sent(client, fun, jit)
    with _large_tasks():
        held = client.map(_held, pieces, range(len(pieces)), pure=False)

    def evaluate(parameters):
        return _evaluate(client, function, held, parameters, mean)
    return evaluate


def training_step(fun, update, *, jit=True, client=None):
    """step(parameters, state, pieces) -> (parameters, state, value): the gradient of a batch's mean loss, computed by Dask's workers, then an optimiser.

    fun: fun(parameters, piece) -> the mean loss over the rows of the piece; the pieces of a step are weighted by their rows, so that value and gradient are
    those of the batch, however it was cut. update: update(parameters, gradient, state) -> (parameters, state), called here, not on a worker. pieces, jit,
    client, errors: as of value_and_grad; pieces are sent with each step and not kept.

    >>> import numpy as np, diffeng as de
    >>> def descend(w, gradient, step):
    ...     return w - 0.5 / step * gradient, step + 1
    >>> step = de.distributed.training_step(lambda w, piece: np.mean((piece - w) ** 2), descend)
    >>> w, state = 0.0, 1
    >>> for batch in (np.array([1.0, 2.0, 6.0]), np.array([3.0, 4.0, 8.0])):
    ...     w, state, loss = step(w, state, de.distributed.partition(batch, 2))
    ...     print(round(float(loss), 4), round(float(w), 4))
    13.6667 3.0
    8.6667 4.0
    """
    client = _client(client)
    function = _sent(client, fun, jit)

    def step(parameters, state, pieces):
        value, gradient = _evaluate(client, function, _checked(pieces), parameters, mean=True)
        parameters, state = update(parameters, gradient, state)
        return parameters, state, value
    return step


# ---- one evaluation -------------------------------------------------------------------------------------------------------------------

def _evaluate(client, function, pieces, parameters, mean):
    """(value, gradient). pieces: futures of them, or what they are made from."""
    distributed, n = _dask(), len(pieces)
    try:
        with _large_tasks():
            sent = client.submit(_Parameters, parameters, pure=False)
            parts = client.map(_piece, [function] * n, [sent] * n, pieces, range(n), pure=False, mean=mean)
        while len(parts) > 1:                      # futures that are let go here live on in the tasks that wait for them
            parts = [client.submit(_total, parts[k:k + TOGETHER], pure=False) for k in range(0, n, TOGETHER)]
            n = len(parts)
        value, leaves, rows = _awaited(client, parts[0])
    except (CancelledError, distributed.comm.CommClosedError, distributed.client.ClosedClientError) as error:
        raise ConnectionError("the connection to the Dask scheduler is lost, or the scheduler has let go of what it held (the pieces, the function): see that "
                              f"one runs, make this function anew, and go on with the parameters you have. {error}") from error
    except distributed.KilledWorker as error:
        raise RuntimeError("a piece killed every worker that tried it: it needs more memory than one has (cut the data into more pieces), "
                           f"or crashes in machine code. {error}") from error
    value, *leaves = [np.array(x / rows if mean else x)[()] for x in (value, *leaves)]          # memory of their own, to write into
    return value, flatten(parameters)[1](leaves)


def _awaited(client, future):
    """A future's result. Dask waits for workers for as long as it takes; the user should know that."""
    result = asyncio.run_coroutine_threadsafe(client.gather(future, asynchronous=True), client.loop.asyncio_loop)
    try:
        while True:
            _manned(client.cluster)
            try:
                return result.result(PATIENCE)
            except TimeoutError:
                if result.done():                  # the task's own error, or a result that has just come
                    return result.result()
                if not client.nthreads():
                    warnings.warn(f"the Dask cluster at {client.scheduler.address} has no workers: waiting for one", RuntimeWarning, stacklevel=4)
    finally:
        result.cancel()


def _manned(cluster):
    """A LocalCluster looks 15 seconds after a death whether the worker is there again. One that has died a second time just then it gives up, though it still
    counts it among those it should have; and one that it could not start it keeps for one that runs. It is asked for all that are missing."""
    distributed = _dask()
    if not isinstance(cluster, distributed.SpecCluster):
        return
    for name, worker in list(cluster.workers.items()):
        if worker.status in (distributed.Status.failed, distributed.Status.closed):
            cluster.workers.pop(name, None)
    if len(cluster.workers) < len(cluster.worker_spec):
        cluster.scale(len(cluster.worker_spec))


class _Parameters:
    """The parameters, on a worker."""

    def __init__(self, tree):
        self.tree = _settled(tree)

    def __reduce__(self):
        return _Parameters, (self.tree,)

    def __sizeof__(self):
        """Next to nothing, for Dask prefers workers that have what a task needs by its bytes, and these are needed everywhere."""
        return 64


class _Compiled:
    """On a worker: the function and its compiled derivative. Sent on to another worker it is compiled there."""

    def __init__(self, travelling, jit, home):
        from .compiled import jit as compiled
        from .differentiate import value_and_grad
        self.made_from, self.fun = (travelling, jit, home), travelling.arrived()
        if home != _HERE:                          # a process of its own: Dask runs as many tasks in it as it has processors
            os.environ.setdefault("DIFFENG_THREADS", "1")
        derivative = value_and_grad(self.fun)
        self.derivative = compiled(derivative) if jit else derivative

    def __reduce__(self):
        return _Compiled, self.made_from


def _held(piece, k):
    """A piece's data, on a worker."""
    if not isinstance(piece, Travelling):
        return _settled(piece)
    try:
        data = piece.arrived()()
    except Exception as error:
        error.add_note(f"raised by the function that loads piece {k}, on a worker{_raised_at(error)}")
        raise
    return _checked([data])[0]


def _settled(tree):
    """Nested arrays as kernels take them without a copy: aligned, and with NumPy's own dtypes. Those that have come in a message are neither."""
    from .kernels.memory import native
    leaves, rebuild, _ = flatten(tree)
    dtypes = [np.dtype(x.dtype.str) if isinstance(x, np.ndarray) and x.dtype.kind in "fiub" else None for x in leaves]
    return rebuild([x if dtype is None else native(x, dtype) for x, dtype in zip(leaves, dtypes)])


def _piece(compiled, parameters, piece, k, mean):
    """(value, leaves of the gradient, rows), the first two times the third if a mean is wanted."""
    piece = _held(piece, k)
    try:
        value, gradient = compiled.derivative(parameters.tree, piece)
    except Exception as error:
        error.add_note(f"raised in piece {k}, on a worker{_raised_at(error)}")
        raise
    leaves = flatten(gradient)[0]
    if not mean:
        return value, leaves, None
    first = flatten(piece)[0][0]
    if np.ndim(first) == 0:
        raise TypeError(f"piece {k} begins with a number: a mean counts rows by the first axis of a piece's first array")
    rows = len(first)
    return value * rows, [x * rows for x in leaves], rows


def _total(parts):
    """The sum of what _piece or _total returned, from left to right; parts stay as they are, for Dask may need them again."""
    value, leaves, rows = parts[0]
    for k, (more, others, more_rows) in enumerate(parts[1:]):
        value = value + more
        leaves = [np.add(x, y, out=x if k and x.ndim else None) for x, y in zip(leaves, others)]
        rows = None if rows is None else rows + more_rows
    return value, leaves, rows


# ---- Dask ------------------------------------------------------------------------------------------------------------------------------

def _dask():
    try:
        import distributed
    except ImportError as error:
        raise ImportError("diffeng.distributed needs Dask: python -m pip install 'diffeng[distributed]'") from error
    return distributed


def _large_tasks():
    """Dask warns of tasks that hold more than 10 MB. Ours do on purpose: what the scheduler keeps, a dead worker cannot lose."""
    import dask
    return dask.config.set({"distributed.admin.large-graph-warning-threshold": "1PB"})


def _client(client):
    distributed = _dask()
    if isinstance(client, distributed.Client):
        if client.asynchronous:
            raise TypeError("client is asynchronous: diffeng.distributed needs a Client made with asynchronous=False")
        return client
    if client is None:
        try:
            return distributed.default_client()
        except ValueError:
            pass
    elif not isinstance(client, str):
        raise TypeError(f"client is a {type(client).__name__}: give a dask.distributed.Client, the address of a scheduler such as 'tcp://host:8786', "
                        "or None")
    known = _clients.get(client)
    if known is None or known.status != "running":
        known = _clients[client] = _connected(distributed, client)
    return known


def _connected(distributed, address):
    if address is None:
        from .kernels import threads
        try:
            cluster = distributed.LocalCluster(n_workers=threads.count(), threads_per_worker=1, dashboard_address=":0")
        except RuntimeError as error:
            raise RuntimeError("the workers did not start. Each of them imports the script: what the script does must stand below "
                               f"`if __name__ == \"__main__\":`. {error}") from error
        client = distributed.Client(cluster, set_as_default=False)
        atexit.register(cluster.close)             # after the client: what it holds is released, and not lost
        atexit.register(client.close)
        return client
    try:
        return distributed.Client(address, timeout=PATIENCE, set_as_default=False)
    except (OSError, ValueError) as error:
        raise ConnectionError(f"no Dask scheduler answers at {address!r}: start one with `dask scheduler`, workers with `dask worker {address}`. "
                              f"{error}") from error


def _sent(client, fun, jit):
    """The future of a _Compiled."""
    if not callable(fun):
        raise TypeError(f"the first argument must be a function, not {type(fun).__name__}")
    with _large_tasks():
        return client.submit(_Compiled, Travelling(fun), jit, _HERE, pure=False)


# ---- what is checked -------------------------------------------------------------------------------------------------------------------

def _checked(partitions):
    """The pieces as a list, ready to travel; an error that says which one does not fit."""
    pieces = [Travelling(piece) if callable(piece) else piece for piece in partitions]
    if not pieces:
        raise ValueError("there are no pieces: give at least one, such as partition(data, 4) makes them")
    first = None
    for k, piece in enumerate(pieces):
        if isinstance(piece, Travelling):
            continue
        leaves, rebuild, paths = flatten(piece)
        if not leaves:
            raise ValueError(f"piece {k} is empty: it holds no arrays")
        for x, path in zip(leaves, paths):
            if np.size(x) == 0:
                raise ValueError(f"piece {k} is empty: piece{_at(path)} has shape {np.shape(x)}; leave out pieces without data")
        kinds = rebuild([_kind(x) for x in leaves])
        if first is None:
            first = k, kinds
        elif kinds != first[1]:
            raise ValueError(f"piece {k} is made of {kinds}, piece {first[0]} of {first[1]}: pieces must be nested alike, with the same dtypes and ranks")
    return pieces


def _kind(x):
    return f"{x.dtype} of rank {x.ndim}" if isinstance(x, (np.ndarray, np.generic)) else type(x).__name__


def _at(path):
    return "".join(f"[{key!r}]" for key in path)


def _raised_at(error):
    """" at file.py:12": the innermost line of user code below this function's caller."""
    frames = [((frame.f_code, frame.f_lasti),) for frame, _ in walk_tb(error.__traceback__) if is_user_code(frame.f_code)]
    return f", at {line_of(frames[-1])}" if frames else ""
