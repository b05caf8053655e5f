"""Calls of compiled programs: what is refused, what is computed, by how many threads, and that nothing hangs or leaks."""
import ctypes
import gc
import os
import pathlib
import subprocess
import sys
import threading
import tracemalloc
import weakref

import numpy as np
import pytest
from kernels_by_hand import add, ask, bounds, entry, store

from diffeng.kernels import blas, blocks, runtime, threads
from diffeng.kernels.runtime import CONVERT, Entry

HERE = str(pathlib.Path(__file__).parent)


@pytest.fixture(params=["native", "in Python"])
def kind(request, monkeypatch):
    if request.param == "in Python":
        monkeypatch.setattr(runtime, "as_expected", lambda: False)
    elif not runtime.as_expected():
        pytest.skip("this Python's objects look otherwise")
    return request.param


def elsewhere(code, count=3, limit=60):
    """A process of its own, which must end by itself; what it printed."""
    env = {**os.environ, "DIFFENG_THREADS": str(count), "PYTHONPATH": os.pathsep.join([HERE, *sys.path])}
    head = "import os, sys, time, threading, numpy as np\nfrom kernels_by_hand import *\nfrom diffeng.kernels import threads, blocks, runtime\n"
    done = subprocess.run([sys.executable, "-c", head + code], env=env, capture_output=True, text=True, timeout=limit)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


# ---- one call --------------------------------------------------------------------------------------------------------------

def test_computes(kind):
    x, out = np.arange(12.0).reshape(3, 4), np.zeros((3, 4))
    for options in ({}, {"release": True}, {"chunk": 5}, {"products": True}):
        assert entry(add(1.0), (3, 4), **options).run(x, out) == 0
        assert np.array_equal(out, x + 1)
        out[:] = 0
    empty = np.zeros((0, 4))
    assert entry(add(1.0), (0, 4)).run(empty, empty.copy()) == 0


def test_many_calls_in_a_row(kind):
    """Each reads what the last one wrote, a row of the input is another one each time."""
    x, out, pair = np.arange(15.0).reshape(5, 3), np.zeros((5, 3)), np.zeros((2, 3))
    at = lambda a: a.ctypes.data                                    # noqa: E731
    for options in ({}, {"release": True}, {"chunk": 2}, {"products": True}):
        program = entry(add(1.0), (3,), **options)
        rows = np.array([[at(x[4])] * 3 + [-24], [at(out)] * 3 + [24]])
        assert program.repeat(rows, 0, 2) == 0 and np.array_equal(out, [*(x[4:2:-1] + 1), *np.zeros((3, 3))])
        assert program.repeat(rows, 2, 5) == 0 and np.array_equal(out, x[::-1] + 1)
        carry = np.array([[at(x[1]), at(pair), at(pair[1]), 0], [at(pair), at(pair[1]), at(pair), 0]])
        assert program.repeat(carry, 0, 4) == 0 and np.array_equal(pair, [x[1] + 3, x[1] + 4])
        assert program.repeat(carry, 4, 4) == 0 and np.array_equal(pair, [x[1] + 3, x[1] + 4])
        out[:] = 0


class Named(np.ndarray):
    pass


UNALIGNED = np.zeros(8 * 12 + 1, np.uint8)[1:].view(np.float64).reshape(3, 4)
REFUSED = {"dtype": np.zeros((3, 4), np.float32), "byte order": np.zeros((3, 4), np.dtype(float).newbyteorder()), "shape": np.zeros((4, 3)),
           "length": np.zeros((3, 5)), "more axes": np.zeros((1, 3, 4)), "fewer axes": np.zeros(12), "no axes": np.zeros(()), "order": np.zeros((4, 3)).T,
           "strides": np.zeros((3, 8))[:, ::2],
           "alignment": UNALIGNED, "subclass": np.zeros((3, 4)).view(Named), "list": np.zeros((3, 4)).tolist(), "number": 1.0, "None": None}


@pytest.mark.parametrize("name", REFUSED)
def test_refuses_and_touches_nothing(kind, name):
    program, out = entry(add(1.0), (3, 4)), np.full((3, 4), 7.0)
    assert program.run(REFUSED[name], out) == CONVERT and np.all(out == 7)
    if name not in ("shape", "length", "more axes", "fewer axes", "no axes", "order", "number", "None"):
        assert program.run(np.array(REFUSED[name], np.float64, order="C"), out) == 0 and np.all(out == 1)


def test_refuses_another_number_of_arguments(kind):
    x, out = np.zeros(3), np.full(3, 7.0)
    program = entry(add(1.0), (3,))
    assert [program.run(*args) for args in ((), (x,), (x, out, out))] == [CONVERT] * 3 and np.all(out == 7)
    with pytest.raises(TypeError):
        program.run(x, out=out)


def test_scalars_need_no_conversion():
    if not runtime.as_expected():
        pytest.skip("this Python's objects look otherwise")
    program, out = entry(add(1.0), ()), np.zeros(())
    for x in (2.5, np.float64(2.5), np.array(2.5)):
        assert program.run(x, out) == 0 and out == 3.5
        out[()] = 0
    for x in (2, True, np.float32(2.5), np.int64(2), "2.5", 2.5j, np.array([2.5])):
        assert program.run(x, out) == CONVERT and out == 0
    narrow = entry(add(1.0), (), dtype=np.float32)
    assert narrow.run(2.5, out) == CONVERT and narrow.run(np.float32(2.5), out) == 0


def test_offsets_and_the_order_of_rows(kind):
    """Two kernels: what the first one writes the second one reads; the words of each lie one after the other."""
    words, k, two = np.zeros(4, np.int64), add(1.0), add(2.0)
    program = Entry([((4,), np.float64), ((4,), np.float64)], 1, words, [(0, 1, 16), (1, 2, 0), (2, 2, 0), (3, 2, 16)],
                    [(k.address, 0, 2, 2), (two.address, 2, 2, 2)], np.zeros(1, np.int64))
    out = np.zeros(4)
    assert program.run(np.zeros(4), np.arange(4.0), out) == 0
    assert out.tolist() == [3, 4, 5, 6]


def test_status_is_returned_once(kind):
    status, words, k = np.zeros(1, np.int64), np.zeros(4, np.int64), store()
    words[2:] = status.ctypes.data, 41
    rows = [(add(1.0).address, 0, 3, 3), (k.address, 2, 1, 1)]
    program = Entry([((3,), np.float64)], 1, words, [(0, 0, 0), (1, 1, 0)], rows, status)
    x, out = np.zeros(3), np.zeros(3)
    assert [program.run(x, out), program.run(x, out)] == [41, 41] and status[0] == 0
    words[3] = 0
    assert program.run(x, out) == 0
    words[3] = 5_000_000_000
    assert program.run(x, out) == 5_000_000_000


def test_stretches_with_numpy_in_between(kind):
    words, k = np.zeros(4, np.int64), add(1.0)
    program = Entry([((3,), np.float64)], 1, words, [(0, 0, 0), (1, 1, 0), (2, 1, 0), (3, 1, 0)], [(k.address, 0, 3, 3), (k.address, 2, 3, 3)],
                    np.zeros(1, np.int64))
    x, out = np.arange(3.0), np.zeros(3)
    with program.call(x, out) as (code, stretch):
        assert code == 0
        stretch(0, 1)
        out *= 10
        stretch(1, 2)
    assert out.tolist() == [11, 21, 31] and program.code == 0
    with program.call(x[::2], out) as (code, stretch):
        assert code == CONVERT
    with pytest.raises(ZeroDivisionError), program.call(x, out):
        1 / 0
    with program.call(x, out) as (code, _):                                # the error gave the memory back
        assert code == 0
        with pytest.raises(RuntimeError, match="within its own call"), program.call(x, out):
            pass


# ---- life ------------------------------------------------------------------------------------------------------------------

class Held:
    pass


@pytest.mark.parametrize("last", ["_begin", "_end"])
def test_a_signal_at_either_end_of_a_call_leaves_the_program_free(monkeypatch, last):
    program, x, out = entry(add(1.0), (4,)), np.arange(4.0), np.empty(4)
    whole = getattr(program, last)

    def interrupted(*arrays):
        monkeypatch.setattr(program, last, whole)
        if last == "_begin":
            whole(*arrays)                         # the signal comes as it returns; of the other one, before it is called
        raise KeyboardInterrupt
    monkeypatch.setattr(program, last, interrupted)
    with pytest.raises(KeyboardInterrupt), program.call(x, out) as (code, stretch):
        stretch(0, 1)
    for _ in range(2):
        with program.call(x, out) as (code, stretch):
            stretch(0, 1)
        assert code == program.code == 0 and np.array_equal(out, x + 1)


def test_a_function_keeps_its_memory_and_no_longer(kind):
    for options in ({}, {"release": True}):
        held = Held()
        program, alive = entry(add(1.0), (3,), keep=[held], **options), weakref.ref(held)
        del held
        run = program.run
        gc.disable()
        try:
            del program
            out = np.zeros(3)
            assert run(np.zeros(3), out) == 0 and out[0] == 1 and alive() is not None
            del run
            assert alive() is None                                        # without waiting for the garbage collector
        finally:
            gc.enable()


def test_a_million_calls_leak_nothing():
    program, x, out = entry(add(1.0), (3,)), np.zeros(3), np.zeros(3)
    wrong, run = np.zeros(4), program.run
    counted = lambda: [sys.getrefcount(a) for a in (x, out, wrong, program._block, float, np.ndarray, x.dtype)]
    run(x, out)
    before = counted()
    tracemalloc.start()
    try:
        size = tracemalloc.get_traced_memory()[0]
        for _ in range(500_000 if runtime.as_expected() else 5_000):
            run(x, out)
            run(wrong, out)
        assert tracemalloc.get_traced_memory()[0] - size < 50_000          # other threads, of who distributes tests, make things, too: a call that leaves anything leaves megabytes
    finally:
        tracemalloc.stop()
    assert counted() == before


# ---- threads ---------------------------------------------------------------------------------------------------------------

def test_chunks_do_not_depend_on_the_number_of_threads(monkeypatch):
    first = {}
    for n in (1, 2, 5):
        monkeypatch.setenv("DIFFENG_THREADS", str(n))
        assert threads.count() == n
        for rows, cost in ((10, 1.0), (1, 1e9), (1000, 100.0), (7, 1e6), (10**6, 1.0)):
            chunk = threads.split(rows, cost)
            assert 1 <= chunk <= rows
            assert (chunk == rows) == (rows < 2 or rows * cost < threads.SERIAL_BELOW)
            assert chunk == first.setdefault((rows, cost), chunk) and -(-rows // chunk) <= threads.CHUNKS


def test_chunks_are_the_same_whoever_computes_them(kind):
    x, alone, shared = np.zeros(103), np.zeros(103), np.zeros(103)
    entry(bounds(), (103,), chunk=10).run(x, shared)
    words = np.array([0, alone.ctypes.data])
    for lo in range(0, 103, 10):
        bounds()(words.ctypes.data, lo, min(lo + 10, 103))
    assert np.array_equal(alone, shared) and np.array_equal(shared, np.arange(103) // 10 * 10)


SHARED = """
ALL = 2 if blocks.FUTEX else 0
def work(seconds, chunk=7, n=1000, release=True, seed=0):
    program, rng, until, calls = entry(accumulate(), (n,), chunk=chunk, release=release), np.random.default_rng(seed), time.monotonic() + seconds, 0
    while time.monotonic() < until:
        x, out = rng.normal(size=n), np.ones(n)
        assert program.run(x, out) == 0 and np.array_equal(out, 1 + x)
        calls += 1
        if calls % 50 == 0:
            time.sleep(0.0005)                                     # workers sleep and wake
    return calls
"""


@pytest.mark.parametrize("count", [1, 2, 3])
def test_regions_one_after_the_other(count):
    code = SHARED + f"print(work(0.3)); assert len(threads._workers) == {count - 1} * (blocks.FUTEX is not None)"
    assert int(elsewhere(code, count)) > 100


def test_several_python_threads():
    out = elsewhere(SHARED + """
done = []
running = [threading.Thread(target=lambda k=k: done.append(work(0.5, release=bool(k % 2), seed=k))) for k in range(4)]
for t in running: t.start()
for t in running: t.join()
print(len(done), min(done) > 0)""")
    assert out == "4 True"


def test_one_program_in_several_python_threads():
    out = elsewhere("""
program, n, done = entry(add(1.0), (5000,), chunk=1000, release=True), 5000, []
def work(k):
    x, out = np.full(n, float(k)), np.empty(n)
    for _ in range(300):
        out[:] = 0
        assert program.run(x, out) == 0 and np.all(out == k + 1)
    done.append(k)
running = [threading.Thread(target=work, args=(k,)) for k in range(3)]
for t in running: t.start()
for t in running: t.join()
print(sorted(done))""")
    assert out == "[0, 1, 2]"


def test_the_interpreter_lock_is_released():
    """A kernel that waits for what another Python thread writes."""
    assert elsewhere("""
program, x, out = entry(wait(), (1,), release=True), np.zeros(1), np.zeros(1)
t = threading.Timer(0.1, lambda: x.__setitem__(0, 1.0))
t.start()
print(program.run(x, out))""") == "0"


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork")
def test_after_fork():
    """Children of a process whose workers run, and whose other Python thread is inside a region."""
    out = elsewhere("import warnings; warnings.simplefilter('ignore')\n" + SHARED + """
work(0.05)
other = threading.Thread(target=work, args=(0.4,))
other.start()
children = []
for k in range(5):
    time.sleep(0.02)
    pid = os.fork()
    if pid == 0:
        assert not threads._workers
        work(0.05, seed=k)
        assert len(threads._workers) == ALL
        threads.stop()
        os._exit(0)
    children.append(pid)
print([os.waitpid(pid, 0)[1] for pid in children])
other.join()""")
    assert out == "[0, 0, 0, 0, 0]"


def test_the_process_ends_while_threads_compute():
    for release in (True, False):
        assert elsewhere(SHARED + f"""
work(0.05)
threading.Thread(target=work, args=(30.0,), kwargs=dict(release={release}), daemon=True).start()
time.sleep(0.05)
print("end")""") == "end"


def test_stopped_workers_leave_and_come_back():
    assert elsewhere(SHARED + """
for _ in range(20):
    work(0.01)
    assert len(threads._workers) == ALL and threading.active_count() == 1 + ALL
    threads.stop()
    assert not threads._workers and threading.active_count() == 1
print("well")""") == "well"


# ---- BLAS ------------------------------------------------------------------------------------------------------------------

@pytest.mark.skipif(blocks.FUTEX is None, reason="no threads of our own")
def test_how_long_a_worker_spins_is_measured_beside_threads_of_python():
    """Which hold the interpreter lock for 5 ms at a time, as one that compiles does: workers would sleep between any two calls from then on, and wake in 50 us."""
    over = threading.Event()

    def compute():
        while not over.is_set():
            sum(range(1000))
    others = [threading.Thread(target=compute) for _ in range(2)]
    for other in others:
        other.start()
    try:
        took = [threads._timed(runtime.function("rest"), 200) for _ in range(20)]
    finally:
        over.set()
        for other in others:
            other.join()
    assert sum([t > 0.004 for t in took]) <= 5


def test_blas_is_serial_inside_a_program_with_products():
    if not blas.threads()[0]:
        pytest.skip("no OpenBLAS")
    get, set = ctypes.CFUNCTYPE(ctypes.c_int)(blas.threads()[0]), ctypes.CFUNCTYPE(None, ctypes.c_int)(blas.threads()[1])
    before, x, out = get(), np.zeros(1), np.zeros(1)
    inside, outside = (entry(ask(), (1,), more=[blas.threads()[0]], products=p, release=r) for p, r in ((True, False), (False, True)))
    try:
        for n in (2, 1):
            set(n)
            for program, expected in ((inside, 1), (outside, n), (inside, 1)):
                assert program.run(x, out) == 0 and out[0] == expected and get() == n
    finally:
        set(before)


def test_the_last_program_restores_blas():
    """Two programs at once: the first to end must not give BLAS its threads back."""
    if not blas.threads()[0]:
        pytest.skip("no OpenBLAS")
    assert elsewhere("""
import ctypes
from diffeng.kernels import blas
get, set = ctypes.CFUNCTYPE(ctypes.c_int)(blas.threads()[0]), ctypes.CFUNCTYPE(None, ctypes.c_int)(blas.threads()[1])
set(2)
long, x, out = entry(wait(), (1,), release=True, products=True), np.zeros(1), np.zeros(1)
short, y = entry(add(1.0), (1,), release=True, products=True), np.zeros(1)
t = threading.Thread(target=long.run, args=(x, out))
t.start()
while get() != 1: time.sleep(0.001)
short.run(y, np.zeros(1))
assert get() == 1
x[0] = 1
t.join()
print(get())""") == "2"


def test_results_made_by_machine_code(kind):
    """An array and a scalar, fresh at every call; None, and nothing computed, for what run would refuse; references are counted right."""
    status, words, k = np.zeros(1, np.int64), np.zeros(6, np.int64), store()
    words[4] = status.ctypes.data
    program = Entry([((3,), np.float64)], 2, words, [(0, 0, 0), (1, 1, 0), (2, 0, 8), (3, 2, 0)],
                    [(add(1.0).address, 0, 3, 3), (add(2.0).address, 2, 1, 1), (k.address, 4, 1, 1)], status)
    outputs = [((3,), np.dtype(float)), ((), np.dtype(float))]
    results = program.returning(outputs)
    if kind == "in Python":
        assert results is None
        return
    x = np.arange(3.0)
    first, second = results(x), results(x + 1)
    assert first[0].tolist() == [1, 2, 3] and second[0].tolist() == [2, 3, 4] and first[1] == 3 and second[1] == 4
    assert type(first) is tuple and type(first[1]) is np.float64 and first[0].flags.owndata
    for refused in ((), (x, x), (x[:2],), (x.astype(np.float32),), ([0.0, 1.0, 2.0],), (np.arange(6.0)[::2],)):
        assert results(*refused) is None
    before = sys.getrefcount(x), sys.getrefcount(x.dtype)
    for _ in range(100):
        results(x)
        results(x[:1])
    assert (sys.getrefcount(x), sys.getrefcount(x.dtype)) == before
    gone = weakref.ref(first[0])
    del first
    assert gone() is None
    words[5] = 7
    assert results(x) is None and program.run(x, np.zeros(3), np.zeros(())) == 7          # a kernel reported something
    words[5] = 0
    assert results(x)[0].tolist() == [1, 2, 3]
    only = Entry([((3,), np.float64)], 1, np.zeros(2, np.int64), [], [], status).returning(outputs[:1], single=True)(x)
    assert type(only) is np.ndarray and only.shape == (3,)


def test_a_call_is_the_first_slot_or_else_the_second():
    """Machine code as a method: arguments by place go to the first, what it does not answer and what has names to the second; references are counted right."""
    if not runtime.as_expected():
        pytest.skip("objects do not look as expected")

    class Pair:
        __slots__ = ("first", "second", "__dict__", "__weakref__")
    Pair.__call__ = runtime.dispatching(Pair)
    pair, met = Pair(), []

    def first(*args):
        met.append(args)
        if args == ("none",):
            return None
        if args == ("wrong",):
            raise ValueError("from the first")
        return "first", *args

    def second(self, *args, **options):
        if args == ("none",):
            raise KeyError("from the second")
        return type(self) is Pair, args, options
    pair.first, pair.second = first, second
    x, name = object(), "key" + str(len(met))
    before = sys.getrefcount(x), sys.getrefcount(pair), sys.getrefcount(second)
    for _ in range(50):
        assert pair(x, 2) == ("first", x, 2) and pair() == ("first",)
        assert pair(x, **{name: x}) == (True, (x,), {name: x}) and pair.__call__(x) == ("first", x)
        assert pair(*[x] * 1000) == ("first", *[x] * 1000)
        with pytest.raises(ValueError, match="from the first"):
            pair("wrong")
        with pytest.raises(KeyError, match="from the second"):
            pair("none")
        met.clear()
    assert (sys.getrefcount(x), sys.getrefcount(pair), sys.getrefcount(second)) == before
    with pytest.raises(TypeError):
        Pair.__call__(x)

    class Leaving:                                                      # what is called puts another one in its place
        def __call__(self):
            there.pop().first = first
            self.name = name
            return self.name
    there, pair.first = [pair], Leaving()
    assert pair() == name and pair() == ("first",)
    gone = weakref.ref(pair)
    del pair, second
    assert gone() is None
