"""Sums over pieces on Dask's workers: the same bits for any number of workers, and after some were killed; errors that name piece, line and cure."""
import doctest
import os
import pathlib
import signal
import subprocess
import sys
import threading
import time

import numpy as np
import pytest

import diffeng as de
from diffeng.llm import GPT2Config, init_parameters, loss

dask_distributed = pytest.importorskip("distributed")

rng = np.random.default_rng(5)
X, Y = rng.normal(size=(60, 4)), (rng.random(60) < 0.5).astype(float)
PIECES = [(X[k:k + 10], Y[k:k + 10]) for k in range(0, 60, 10)]
W = rng.normal(size=4)


@pytest.fixture(scope="module")
def cluster():
    """Its workers are killed more often than Dask bears: it would give up one that dies while it is being started again, and no test could wait for it."""
    import dask
    with dask.config.set({"distributed.deploy.lost-worker-timeout": "1h"}):
        cluster = dask_distributed.LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=":0", silence_logs=50)
        yield cluster
        try:
            cluster.close()
        except KeyError:                     # Dask looks up a worker that was killed, which it has forgotten: by then all is closed but its word for it
            cluster.status = dask_distributed.Status.closed


@pytest.fixture(scope="module")
def client(cluster):
    with dask_distributed.Client(cluster, set_as_default=False) as client:
        yield client


def logistic(w, piece):
    x, y = piece
    z = x @ w
    return np.sum(np.logaddexp(0.0, z) - y * z)


def same(one, other):
    """Equal to the last bit, values and nested gradients."""
    assert one[0].dtype == other[0].dtype and one[0].tobytes() == other[0].tobytes()
    for a, b in zip(*(x[1].values() if isinstance(x[1], dict) else [x[1]] for x in (one, other)), strict=True):
        assert a.dtype == b.dtype and a.shape == b.shape and a.tobytes() == b.tobytes()


# ---- pieces ---------------------------------------------------------------------------------------------------------------------------

def test_partition_cuts_views():
    data = {"x": X, "y": [Y]}
    pieces = de.distributed.partition(data, 7)
    assert [len(p["x"]) for p in pieces] == [8, 9, 8, 9, 8, 9, 9] and sum(len(p["y"][0]) for p in pieces) == 60
    np.testing.assert_array_equal(np.concatenate([p["x"] for p in pieces]), X)
    assert all(np.shares_memory(p["x"], X) for p in pieces)


@pytest.mark.parametrize("data,pieces,error,text", [
    (np.empty((0, 3)), 2, ValueError, "no data"), ([], 1, ValueError, "no data"), (X, 61, ValueError, "1 to 60 pieces"), (X, 0, ValueError, "1 to 60"),
    (X, 2.0, ValueError, "pieces=2.0"), ((X, Y[:5]), 2, ValueError, "5 and 60 rows"), ((X, 3.0), 2, TypeError, r"data\[1\] is float"),
])
def test_what_partition_refuses(data, pieces, error, text):
    with pytest.raises(error, match=text):
        de.distributed.partition(data, pieces)


@pytest.mark.parametrize("pieces,text", [
    ([], "no pieces"), ([()], "piece 0 is empty"), ([X, X[:0]], r"piece 1 is empty: piece has shape \(0, 4\)"),
    ([(X, Y), [X, Y]], r"piece 1 is made of \['float64 of rank 2', 'float64 of rank 1'\], piece 0 of \('float64"),
    ([X, X.astype(np.float32)], "piece 1 is made of float32 of rank 2, piece 0 of float64 of rank 2"), ([X, Y], "same dtypes and ranks"),
    ([{"x": X}, {"z": X}], "piece 1"),
])
def test_pieces_that_do_not_fit(client, pieces, text):
    with pytest.raises(ValueError, match=text):
        de.distributed.value_and_grad(logistic, pieces, client=client)


# ---- the same as here -----------------------------------------------------------------------------------------------------------------

def test_value_and_gradient_are_those_of_the_sum(client):
    value, gradient = de.distributed.value_and_grad(logistic, PIECES, client=client)(W)
    here, there = de.value_and_grad(logistic)(W, (X, Y))
    assert type(value) is np.float64 and gradient.shape == W.shape
    np.testing.assert_allclose(value, here, rtol=1e-14)
    np.testing.assert_allclose(gradient, there, rtol=1e-13, atol=1e-14)
    gradient += 1.0                                                                # it belongs to the caller


@pytest.mark.parametrize("n", [1, 4, 5, 17])
def test_any_number_of_pieces(client, n):
    value, gradient = de.distributed.value_and_grad(logistic, de.distributed.partition((X, Y), n), client=client)(W)
    np.testing.assert_allclose(np.append(gradient, value), np.append(*de.value_and_grad(logistic)(W, (X, Y))[::-1]), rtol=1e-13)


def test_nested_parameters_keep_structure_and_dtypes(client):
    def fun(p, x):
        return np.sum(np.tanh(x @ p["w"][0] + p["w"][1]).astype(np.float32) * p["s"])
    p = {"w": [W.astype(np.float32), np.float32(0.5)], "s": np.float32(2.0), "unused": np.ones((2, 0))}
    value, gradient = de.distributed.value_and_grad(fun, de.distributed.partition(X.astype(np.float32), 3), client=client)(p)
    assert value.dtype == np.float32 and type(gradient["w"]) is list and gradient["unused"].shape == (2, 0) and gradient["w"][0].dtype == np.float32
    here = de.grad(fun)(p, X.astype(np.float32))
    np.testing.assert_allclose(gradient["w"][0], here["w"][0], rtol=1e-5)
    np.testing.assert_allclose(gradient["s"], here["s"], rtol=1e-5)


def test_a_mean_weighs_pieces_by_their_rows(client):
    def fun(w, piece):
        return np.mean((piece[0] @ w - piece[1]) ** 2)
    value, gradient = de.distributed.value_and_grad(fun, de.distributed.partition((X, Y), 7), mean=True, client=client)(W)
    here, there = de.value_and_grad(fun)(W, (X, Y))
    np.testing.assert_allclose(value, here, rtol=1e-14)
    np.testing.assert_allclose(gradient, there, rtol=1e-13)


def test_pieces_that_workers_load(client, tmp_path):
    for k, piece in enumerate(PIECES):
        np.savez(tmp_path / f"{k}.npz", x=piece[0], y=piece[1])

    def loader(path):
        def load():
            with np.load(path) as file:
                return file["x"], file["y"]
        return load
    loaders = [loader(tmp_path / f"{k}.npz") for k in range(6)]
    same(de.distributed.value_and_grad(logistic, loaders, client=client)(W), de.distributed.value_and_grad(logistic, PIECES, client=client)(W))
    with pytest.raises(FileNotFoundError, match=r"loads piece 1, on a worker, at test_distributed.py:\d+"):
        de.distributed.value_and_grad(logistic, [loaders[0], loader(tmp_path / "none.npz")], client=client)(W)


def test_a_sum_leaves_its_terms_alone():
    """Dask may need them again."""
    parts = [(np.float64(k), [np.full(2, 10.0 * k), np.float64(k)], k) for k in (1, 2, 3)]
    value, (array, number), rows = de.distributed._total(parts)
    assert (value, number, rows) == (6.0, 6.0, 6) and array.tolist() == [60.0, 60.0]
    assert [p[1][0][0] for p in parts] == [10.0, 20.0, 30.0]


def test_scipy_finds_the_same_point(client):
    from scipy.optimize import minimize
    f = de.distributed.value_and_grad(logistic, PIECES, client=client)
    there = minimize(f, np.zeros(4), jac=True, method="BFGS", options={"gtol": 1e-9})
    here = minimize(de.jit(de.value_and_grad(lambda w: logistic(w, (X, Y)))), np.zeros(4), jac=True, method="BFGS", options={"gtol": 1e-9})
    assert np.linalg.norm(there.jac) < 1e-6
    np.testing.assert_allclose(there.x, here.x, atol=1e-8)


def test_the_function_is_compiled_once_a_worker(client):
    def compiled_there():
        import gc

        from diffeng.distributed import _Compiled
        return [c.derivative.traces for c in gc.get_objects() if type(c) is _Compiled and c.fun.__name__ == "only_here"]

    def only_here(w, piece):
        return logistic(w, piece)
    f = de.distributed.value_and_grad(only_here, PIECES, client=client)
    for k in range(3):
        f(W + k)
    assert set(map(tuple, client.run(compiled_there).values())) in ({(1,)}, {(1,), ()})
    assert set(client.run(os.getenv, "DIFFENG_THREADS").values()) == {"1"} and os.environ.get("DIFFENG_THREADS") != "1"


# ---- GPT-2 ----------------------------------------------------------------------------------------------------------------------------

CONFIG = GPT2Config(vocab_size=65, context_length=16, emb_dim=32, n_heads=4, n_layers=2, drop_rate=0.0)


def gpt2(parameters, piece):
    return loss(parameters, piece[0], piece[1], CONFIG)


def test_one_two_and_three_workers_give_the_same_bits(cluster, client):
    parameters = init_parameters(CONFIG, dtype=np.float32)
    tokens = rng.integers(0, 65, (12, 17))
    batch = tokens[:, :-1], tokens[:, 1:]
    here = de.value_and_grad(gpt2)(parameters, batch)
    results = []
    for n in (1, 2, 3):
        cluster.scale(n)
        client.wait_for_workers(n)
        while len(client.nthreads()) != n:
            time.sleep(0.02)
        f = de.distributed.value_and_grad(gpt2, de.distributed.partition(batch, 6), mean=True, client=client)
        results.append(f(parameters))
        step = de.distributed.training_step(gpt2, lambda p, g, state: ({name: p[name] - g[name] for name in p}, state + 1), client=client)
        results.append(step(parameters, 0, de.distributed.partition(batch, 6))[::-2])
    cluster.scale(2)
    for result in results[2::2]:
        same(result, results[0])
    for result in results[3::2]:
        same(result, results[1])
    same(results[0], (results[1][0], results[0][1]))
    np.testing.assert_allclose(results[0][0], here[0], rtol=1e-6)
    for name, g in here[1].items():
        assert np.linalg.norm(results[0][1][name] - g) <= 1e-6 * np.linalg.norm(g) + 1e-9, name
        np.testing.assert_array_equal(results[1][1][name], parameters[name] - results[0][1][name])


def test_training_is_that_of_the_whole_batch(client):
    """Momentum on a least-squares loss, batches cut into pieces of unequal length."""
    def fun(w, piece):
        return np.mean((piece[0] @ w - piece[1]) ** 2)

    def update(w, gradient, momentum):
        momentum = 0.9 * momentum + gradient
        return w - 0.05 * momentum, momentum
    step = de.distributed.training_step(fun, update, client=client)
    w, momentum = v, other = np.zeros(4), np.zeros(4)
    for k in range(0, 60, 15):
        batch = X[k:k + 15], Y[k:k + 15]
        w, momentum, value = step(w, momentum, de.distributed.partition(batch, 4))
        here, gradient = de.value_and_grad(fun)(v, batch)
        v, other = update(v, gradient, other)
        assert abs(value - here) <= 1e-14 * here
    np.testing.assert_allclose(w, v, rtol=1e-12)


# ---- workers that die ------------------------------------------------------------------------------------------------------------------

def marking(folder, seconds):
    """logistic, which takes its time and leaves the number of its process in a folder."""
    def slow(w, piece):
        pathlib.Path(folder, str(os.getpid())).touch()
        time.sleep(seconds)
        return logistic(w, piece)
    return slow


def evaluated_while(f, w, disturb):
    """f(w), and `disturb` called meanwhile in another thread."""
    failed = []

    def work():
        try:
            disturb()
        except BaseException as error:
            failed.append(error)
    thread = threading.Thread(target=work)
    thread.start()
    result = f(w)
    thread.join()
    assert not failed, failed
    return result


def kill_marked(folder, how_many):
    deadline = time.monotonic() + 30
    while len(found := os.listdir(folder)) < how_many:
        assert time.monotonic() < deadline
        time.sleep(0.02)
    for pid in found[:how_many]:
        os.kill(int(pid), signal.SIGKILL)


@pytest.mark.parametrize("victims", [1, 2], ids=["one of two workers", "every worker"])
def test_a_killed_worker_costs_its_work_and_nothing_else(client, tmp_path, victims):
    expected = de.distributed.value_and_grad(logistic, PIECES, jit=False, client=client)(W)
    client.wait_for_workers(2, timeout=60)
    f = de.distributed.value_and_grad(marking(str(tmp_path), 0.1), PIECES, jit=False, client=client)
    before = set(client.run(os.getpid).values())
    same(evaluated_while(f, W, lambda: kill_marked(tmp_path, victims)), expected)
    same(f(W), expected)
    client.wait_for_workers(2, timeout=60)
    assert len(before - set(client.run(os.getpid).values())) == victims


def test_a_worker_without_a_nanny_that_dies(client, cluster, tmp_path):
    """Nobody starts it again; the others do its work."""
    command = [sys.executable, "-m", "dask", "worker", cluster.scheduler_address, "--no-nanny", "--nthreads", "1", "--no-dashboard"]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=environment) as process:
        client.wait_for_workers(3, timeout=60)
        f = de.distributed.value_and_grad(marking(str(tmp_path), 0.1), PIECES, jit=False, client=client)

        def kill():
            deadline = time.monotonic() + 30
            while not (tmp_path / str(process.pid)).exists():
                assert time.monotonic() < deadline
                time.sleep(0.02)
            process.kill()
        result = evaluated_while(f, W, kill)
    same(result, de.distributed.value_and_grad(logistic, PIECES, jit=False, client=client)(W))
    assert process.returncode == -signal.SIGKILL and len(client.nthreads()) == 2


def test_no_workers_are_waited_for(monkeypatch):
    monkeypatch.setattr(de.distributed, "PATIENCE", 0.2)
    threads = os.environ.get("DIFFENG_THREADS")
    with (dask_distributed.LocalCluster(n_workers=0, processes=False, dashboard_address=":0") as empty,
          dask_distributed.Client(empty, set_as_default=False) as client):
        f = de.distributed.value_and_grad(logistic, PIECES, jit=False, client=client)
        later = threading.Timer(0.5, empty.scale, (1,))
        later.start()
        with pytest.warns(RuntimeWarning, match="has no workers: waiting for one"):
            value, _ = f(W)
        later.join()
    assert os.environ.get("DIFFENG_THREADS") == threads                            # a worker in this process leaves it alone
    np.testing.assert_allclose(value, logistic(W, (X, Y)))


# ---- what the documentation says ------------------------------------------------------------------------------------------------------

def test_the_examples_of_docs_and_docstrings_run(cluster):
    options = doctest.NORMALIZE_WHITESPACE | doctest.ELLIPSIS
    page = pathlib.Path(__file__).parent.parent / "docs" / "distributed.md"
    with dask_distributed.Client(cluster):
        for found in (doctest.testmod(de.distributed, optionflags=options), doctest.testfile(str(page), module_relative=False, optionflags=options)):
            assert found.attempted >= 13 and found.failed == 0


# ---- errors ----------------------------------------------------------------------------------------------------------------------------

def test_an_exception_names_the_piece_and_the_line(client):
    def fails(w, piece):
        return np.sum(piece[0] @ np.ones(3)) * w[0]

    def fails_later(w, piece):
        if piece[0].sum() > 1e6:
            raise KeyError("mine")
        return np.sum(w * piece[0][0])
    with pytest.raises(ValueError, match=r"(?s)matmul.*raised in piece \d, on a worker, at test_distributed.py:\d+"):
        de.distributed.value_and_grad(fails, PIECES, client=client)(W)
    large = [PIECES[0], (PIECES[1][0] * 1e9, PIECES[1][1])]
    large[1][0][:] = np.abs(large[1][0])
    with pytest.raises(KeyError, match=r"(?s)mine.*in piece 1, on a worker, at test_distributed.py:\d+"):
        de.distributed.value_and_grad(fails_later, large, client=client)(W)
    with pytest.raises(TypeError, match="argument 'w' of logistic is of type int64"):
        de.distributed.value_and_grad(logistic, PIECES, client=client)(np.arange(4))
    with pytest.raises(TypeError, match=r"piece \d begins with a number"):
        de.distributed.value_and_grad(lambda w, piece: np.sum(w) * piece[0], [(2.0, X)] * 2, mean=True, client=client)(W)
    with pytest.raises(TypeError, match="one scalar output"):
        de.distributed.value_and_grad(lambda w, piece: piece[0] * w, PIECES, client=client)(W)


def test_a_function_that_cannot_travel(client):
    lock = threading.Lock()

    def locked(w, piece):
        with lock:
            return logistic(w, piece)
    with pytest.raises(TypeError, match="locked cannot travel to another process, because 'lock', which it uses, is of type lock"):
        de.distributed.value_and_grad(locked, PIECES, client=client)
    with pytest.raises(TypeError, match="must be a function, not int"):
        de.distributed.value_and_grad(3, PIECES, client=client)


def test_a_function_of_a_module_that_workers_do_not_have(client, tmp_path, monkeypatch):
    (tmp_path / "only_at_home.py").write_text("def fun(w, piece):\n    return (w * w).sum()\n")
    monkeypatch.syspath_prepend(tmp_path)
    import only_at_home
    with pytest.raises(ModuleNotFoundError, match="(?s)only_at_home.*register_pickle_by_value"):
        de.distributed.value_and_grad(only_at_home.fun, PIECES, client=client)(W)


def test_addresses_and_clients(client, cluster, monkeypatch):
    expected = de.distributed.value_and_grad(logistic, PIECES, client=client)(W)
    same(de.distributed.value_and_grad(logistic, PIECES, client=cluster.scheduler_address)(W), expected)
    de.distributed._clients.pop(cluster.scheduler_address).close()
    monkeypatch.setattr(de.distributed, "PATIENCE", 0.3)
    for address in ("tcp://127.0.0.1:9", "nonsense://here"):
        with pytest.raises(ConnectionError, match="no Dask scheduler answers at .*dask scheduler"):
            de.distributed.value_and_grad(logistic, PIECES, client=address)
    with pytest.raises(TypeError, match="client is a LocalCluster"):
        de.distributed.value_and_grad(logistic, PIECES, client=cluster)


def test_without_dask_the_error_names_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(ImportError, match=r"diffeng\[distributed\]"):
        de.distributed.value_and_grad(logistic, PIECES)


def test_a_piece_that_kills_its_workers_is_an_error(client, cluster, monkeypatch):
    monkeypatch.setattr(cluster.scheduler, "allowed_failures", 0)                  # of 3: a nanny gives up on workers that die at once

    def deadly(w, piece):
        os.kill(os.getpid(), signal.SIGKILL)
    with pytest.raises(RuntimeError, match="a piece killed every worker that tried it"):
        de.distributed.value_and_grad(deadly, PIECES[:1], jit=False, client=client)(W)


def test_arrays_that_came_in_a_message_are_settled():
    """Aligned and of NumPy's own dtype: otherwise each evaluation would copy them."""
    import pickle
    odd = np.zeros(8 * 12 + 1, np.uint8)[1:].view(float).reshape(3, 4)
    foreign = pickle.loads(pickle.dumps(X))
    assert not odd.flags.aligned and foreign.dtype is not np.dtype(float)
    settled = de.distributed._settled({"odd": odd, "foreign": foreign, "fine": X, "number": 2.0})
    assert settled["odd"].flags.aligned and settled["number"] == 2.0 and all(settled[name].dtype is np.dtype(float) for name in ("odd", "foreign", "fine"))
    assert np.shares_memory(settled["foreign"], foreign) and np.shares_memory(settled["fine"], X)
    parameters = pickle.loads(pickle.dumps(de.distributed._Parameters({"w": X})))
    assert parameters.tree["w"].dtype is np.dtype(float)


# ---- clusters of their own, after the one above has seen its last death -----------------------------------------------------------------

@pytest.mark.parametrize("kept", [False, True], ids=["forgotten", "kept though it has failed"])
def test_a_cluster_that_gave_its_worker_up_is_asked_for_it_again(kept):
    """As after a second death at the wrong moment: nobody else starts another one."""
    with (dask_distributed.LocalCluster(n_workers=1, threads_per_worker=1, dashboard_address=":0", silence_logs=50) as weak,
          dask_distributed.Client(weak, set_as_default=False) as client):
        f = de.distributed.value_and_grad(logistic, PIECES, jit=False, client=client)
        given_up = weak.workers.pop(0)
        weak.sync(given_up.close)
        if kept:
            weak.workers[0] = given_up
        value, _ = f(W)
    np.testing.assert_allclose(value, logistic(W, (X, Y)))


@pytest.mark.parametrize("lose", ["the scheduler", "what it held"])
def test_a_lost_scheduler_is_an_error_with_a_cure(lose):
    with (dask_distributed.LocalCluster(n_workers=1, processes=False, dashboard_address=":0", silence_logs=50) as doomed,
          dask_distributed.Client(doomed, set_as_default=False, timeout=1) as client):
        f = de.distributed.value_and_grad(logistic, PIECES, jit=False, client=client)
        step = de.distributed.training_step(logistic, lambda *given: given, client=client)
        f(W)
        doomed.close() if lose == "the scheduler" else client.restart(wait_for_workers=False)
        for call in (lambda: f(W), lambda: step(W, 0, PIECES)):
            with pytest.raises(ConnectionError, match="connection to the Dask scheduler is lost.*make this function anew"):
                call()
