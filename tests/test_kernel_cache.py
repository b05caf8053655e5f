"""Kernels on disk: found without a compiler, and never trusted when damaged, foreign or writable by others."""
import ctypes
import gc
import json
import os
import pathlib
import signal
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor, wait

import numpy as np
import pytest
from kernels_by_hand import add, kernel, total

from diffeng import jit
from diffeng.kernels import cache, machine, objects, scalar

HERE = str(pathlib.Path(__file__).parent)
CODE = """
import sys, numpy as np
from kernels_by_hand import add, entry
import diffeng.kernels as kernels
for k, (constant, function) in enumerate([(1.0, None), (2.0, None), (3.0, "exp"), (4.0, "cbrt")]):
    x, out = np.linspace(0, 1, {n}), np.empty({n})
    assert entry(add(constant, function), ({n},)).run(x, out) == 0
    assert np.allclose(out, (x if function is None else getattr(np, function)(x)) + constant)
print(kernels.compilations, "numba" in sys.modules)
"""
KERNELS = 5                                                              # the four above and the runtime itself


def environment(folder):
    return {**os.environ, "DIFFENG_CACHE": str(folder), "PYTHONPATH": os.pathsep.join([HERE, *sys.path])}


def process(folder, n=100):
    """(compilations, was numba imported?) of a fresh process."""
    done = subprocess.run([sys.executable, "-c", CODE.format(n=n)], env=environment(folder), capture_output=True, text=True, check=True, timeout=120)
    count, imported = done.stdout.split()
    return int(count), imported == "True"


def test_second_process_compiles_nothing_and_damage_is_repaired(tmp_path):
    assert process(tmp_path / "kernels") == (KERNELS, False)
    assert process(tmp_path / "kernels") == (0, False)
    assert process(tmp_path / "kernels", n=1000) == (0, False)          # another size is no other kernel
    files = sorted((tmp_path / "kernels").iterdir())
    assert len(files) == KERNELS and all(f.stat().st_mode & 0o077 == 0 for f in files)
    whole = [f.read_bytes() for f in files]
    files[0].write_bytes(whole[0][:-20])                                                # truncated, as after a crash
    flipped = bytearray(whole[1])
    flipped[-30] ^= 0xFF
    files[1].write_bytes(flipped)
    assert process(tmp_path / "kernels")[0] == 2
    assert [f.read_bytes() for f in sorted((tmp_path / "kernels").iterdir())] == whole
    for f in files:
        f.write_bytes(b"")
    assert process(tmp_path / "kernels")[0] == KERNELS


@pytest.mark.parametrize("part, value", [("key", "another processor"), ("needs", ["no_such_function"])])
def test_a_file_for_another_machine_is_replaced(tmp_path, part, value):
    process(tmp_path)
    for f in tmp_path.iterdir():
        header, code = f.read_bytes().split(b"\n", 1)
        f.write_bytes(json.dumps({**json.loads(header), part: value}).encode() + b"\n" + code)
    assert process(tmp_path)[0] == KERNELS
    assert process(tmp_path)[0] == 0


def test_a_header_is_whole_or_the_file_is_not_found(fresh, tmp_path):
    """Whatever byte of it is another one: names of functions and of what they need are trusted no more than code is."""
    fresh.setenv("DIFFENG_CACHE", str(tmp_path))
    cache.keep("a kernel", {"code": b"code", "symbols": {"kernel": "kernel.5"}, "needs": ["exp", "log"]})
    (path,) = tmp_path.iterdir()
    whole, found = path.read_bytes(), cache.find("a kernel")
    assert found == {"code": b"code", "symbols": {"kernel": "kernel.5"}, "needs": ["exp", "log"]}
    for k in range(len(whole)):
        for bit in (0x01, 0x10, 0x80):
            damaged = bytearray(whole)
            damaged[k] ^= bit
            path.write_bytes(damaged)
            assert cache.find("a kernel") in (None, found), damaged


def test_concurrent_processes_share_a_cache(tmp_path):
    running = [subprocess.Popen([sys.executable, "-c", CODE.format(n=50)], env=environment(tmp_path), stdout=subprocess.PIPE) for _ in range(3)]
    assert [p.wait(timeout=120) for p in running] == [0, 0, 0]
    for p in running:
        p.stdout.close()
    assert not [f for f in tmp_path.iterdir() if f.name.startswith(".new")]
    assert process(tmp_path) == (0, False)


@pytest.fixture
def fresh(monkeypatch):
    """The process's store forgets, and the folder is looked up anew."""
    monkeypatch.setattr(machine, "_kernels", {})
    cache._folder.cache_clear()
    yield monkeypatch
    cache._folder.cache_clear()


def build():
    x = np.array([1.0, 2.0, 0.0, 0.0])
    words = np.array([x.ctypes.data, x.ctypes.data + 16])
    add(0.25)(words.ctypes.data, 0, 2)
    return x.tolist() == [1.0, 2.0, 1.25, 2.25]


def one():
    """The module of a kernel that does nothing."""
    module, b, *_ = kernel()
    b.ret_void()
    return module


def test_a_folder_that_others_may_write_is_not_used(fresh, tmp_path):
    tmp_path.chmod(0o777)
    fresh.setenv("DIFFENG_CACHE", str(tmp_path))
    assert build() and not list(tmp_path.iterdir())


@pytest.mark.parametrize("place", ["off", "/proc/no/such/folder"])
def test_without_a_folder_everything_still_works(fresh, place):
    fresh.setenv("DIFFENG_CACHE", place)
    assert build()


def test_a_full_disk_is_no_error(fresh, tmp_path):
    fresh.setenv("DIFFENG_CACHE", str(tmp_path))

    def full(*_):
        raise OSError(28, "No space left on device")
    fresh.setattr(cache.os, "replace", full)
    assert build() and not list(tmp_path.iterdir())


def test_a_kernel_is_built_once(fresh, tmp_path):
    fresh.setenv("DIFFENG_CACHE", str(tmp_path))
    before = machine.compilations
    first = add(0.5)
    assert add(0.5) is first and machine.compilations == before + 1
    fresh.setattr(machine, "_kernels", {})
    assert add(0.5).address != 0 and machine.compilations == before + 1              # the second time from disk, beside the first


def test_who_asks_for_a_kernel_that_is_being_made_waits_for_it(fresh, tmp_path):
    fresh.setenv("DIFFENG_CACHE", str(tmp_path))
    begun, go, built = threading.Event(), threading.Event(), []

    def build():
        built.append(begun.set())
        assert go.wait(60)
        return one()
    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(machine.kernel, "test: slow", build)
        assert begun.wait(60)
        other = machine.kernel("test: meanwhile", one)                   # another one need not wait
        second = pool.submit(machine.kernels, [("test: slow", build), ("test: meanwhile", one)])
        assert not wait([second], 0.05).done
        go.set()
        assert second.result(60) == [first.result(60), other] and len(built) == 1


def test_a_kernel_that_could_not_be_made_is_tried_again(fresh, tmp_path):
    fresh.setenv("DIFFENG_CACHE", str(tmp_path))
    with pytest.raises(ZeroDivisionError):
        machine.kernels([("test: fails", lambda: 1 / 0), ("test: beside it", one)])
    assert machine.kernel("test: fails", one).address and machine.kernel("test: beside it", one).address


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork")
def test_a_fork_waits_until_nobody_compiles():
    code = """
import os, threading, time
from test_kernel_cache import machine, one
begun = threading.Event()
def slow():
    begun.set()
    time.sleep(0.2)
    return one()
thread = threading.Thread(target=machine.kernel, args=("test: slow", slow))
thread.start()
begun.wait()
pid = os.fork()
if not pid:
    os._exit(not (machine.known("test: slow") and machine.kernel("test: child", one)))
raise SystemExit(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
"""
    assert subprocess.run([sys.executable, "-W", "ignore", "-c", code], env=environment("off"), timeout=60).returncode == 0


def test_of_a_full_room_the_oldest_files_go(fresh, tmp_path):
    fresh.setenv("DIFFENG_CACHE", str(tmp_path))
    fresh.setattr(cache, "_known", {})
    looks, whole = [], os.scandir
    fresh.setattr(cache.os, "scandir", lambda folder: looks.append(folder) or whole(folder))          # (of others, too)
    for k in range(12):
        cache.keep(f"program {k}", {"code": bytes(10_000), "symbols": {}, "needs": []}, "programs")
        cache.bound("programs", 65_000, 10_000)
        path, _ = cache._place(f"program {k}", "programs")
        os.utime(path, ns=(k * 10 ** 9, k * 10 ** 9))
        assert sum([f.stat().st_size for f in (tmp_path / "programs").iterdir()]) <= 65_000
    assert [cache.find(f"program {k}", "programs") is not None for k in range(12)] == [False] * 6 + [True] * 6
    assert 1 < sum(str(tmp_path) in str(folder) for folder in looks) < 10                  # not for each file that is written


INTERRUPTED = """
import contextlib, gc, sys
from diffeng.kernels import compile, machine
from test_kernel_cache import one
def interrupted(*_):
    raise KeyboardInterrupt
place, name = (compile, "_apart") if "run" in sys.argv else (contextlib.ExitStack, "close")
whole = getattr(place, name)
setattr(place, name, interrupted)
try:
    machine.kernel("a kernel", one)
except KeyboardInterrupt:
    pass
gc.collect()                                  # a module of LLVM's that outlived its context would end the process here
setattr(place, name, whole)
machine.kernel("a kernel", one)
"""


@pytest.mark.parametrize("where", ["run", "close"])
def test_a_signal_while_a_kernel_is_compiled(where):
    subprocess.run([sys.executable, "-c", INTERRUPTED, where], env=environment("off"), check=True, timeout=60)


BEGUN = """
import os, signal, sys, threading, time
from diffeng.kernels import compile, machine
from test_kernel_cache import one
machine.begin("a kernel", one)
if "twice" in sys.argv:
    machine.begin("a kernel", None)
if "interrupted" in sys.argv:                # LLVM goes on with what nobody may have closed
    whole = compile._apart
    compile._apart = lambda *how: time.sleep(0.5) or whole(*how)
    machine.begin("another kernel", one)
    threading.Timer(0.2, os.kill, (os.getpid(), signal.SIGINT)).start()
    try:
        machine.kernel("another kernel", None)
    except KeyboardInterrupt:
        assert machine.kernel("another kernel", None).address and machine.compilations == 1
    else:
        sys.exit("nothing was interrupted")
if "asked" in sys.argv:
    assert machine.kernel("a kernel", one).address
if "forked" in sys.argv:
    child = os.fork()
    if not child:
        os._exit(machine.kernel("a kernel", one).address == 0)
    sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""


@pytest.mark.parametrize("then", ["", "asked", "forked", "twice", "interrupted"])
def test_a_kernel_that_is_begun_ahead(then):
    """Let go as the process ends, asked for, asked for by a child, begun again, and asked for until a signal comes."""
    subprocess.run([sys.executable, "-W", "ignore", "-c", BEGUN, then], env=environment("off"), check=True, timeout=60)

LATER = """
import os, time
from diffeng.kernels import compile, machine
from test_kernel_cache import one
run = compile.Compilation.run
compile.Compilation.run = lambda self: (time.sleep(0.1), run(self))[1]          # long enough to be met
before = machine.compilations
if THEN == "begun":                                       # ahead, for a plan that was not taken
    machine.begin("second", one)
machine.later([("first", one), ("second", one), ("first", one)])
assert machine.compilations == before + 2 and machine.has("first") and machine.has("second")          # counted, and promised
if THEN == "asked":                                       # by who cannot wait for its turn
    assert machine.kernel("second", None).address
elif THEN == "forked":
    pid = os.fork()
    if not pid:
        os._exit(not (machine.kernel("second", one) and machine.kernel("first", one)))
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
elif THEN == "unfinished":                                # a signal came before its thread was there
    machine._prepared("third", one)
    assert machine.kernel("third", None).address and machine.compilations == before + 3
    before += 1
    machine._prepared("fourth", one)
if THEN != "ended":
    machine.settle()
    assert machine.kernel("first", None) and machine.kernel("second", None) and machine.compilations == before + 2 and not machine._counted
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork")
@pytest.mark.parametrize("then", ["", "begun", "asked", "forked", "unfinished", "ended"])
def test_a_kernel_that_nobody_waits_for(then, tmp_path):
    folder = str(tmp_path / "cache")
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", f"THEN = {then!r}" + LATER], env=environment(folder), timeout=60, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    asked = "from diffeng.kernels import machine; raise SystemExit(not (machine.known('first') and machine.known('second')))"
    assert subprocess.run([sys.executable, "-c", asked], env=environment(folder), timeout=60).returncode == 0          # kept, also where the process has ended


def test_a_signal_as_kernels_are_claimed_keeps_nobody_waiting(fresh):
    fresh.setenv("DIFFENG_CACHE", "off")

    class Claims(dict):
        def update(self, *claims):
            super().update(*claims)
            raise KeyboardInterrupt
    with fresh.context() as patch:
        patch.setattr(machine, "_making", Claims())
        with pytest.raises(KeyboardInterrupt):
            machine.kernel("a claimed kernel", one)
        assert not machine._making
    assert machine.kernel("a claimed kernel", one).address


@pytest.mark.skipif(os.name != "posix", reason="signals of POSIX")
def test_a_signal_as_a_lock_is_let_go_leaves_it_free(fresh):
    """The interpreter hears of a signal between two of its own instructions: after the last one inside a `with`, it may be the first one of its way out."""
    class Raises:
        __setitem__ = ctypes.CDLL(None).kill                             # a function of C's: nobody looks for signals before it returns
    with pytest.raises(KeyboardInterrupt):
        with machine._state:
            Raises()[os.getpid()] = signal.SIGINT
    with ThreadPoolExecutor(1) as pool:
        assert pool.submit(machine._state.acquire, timeout=1).result(10)
        pool.submit(machine._state.release).result(10)


def test_what_llvmlite_fills_when_it_is_first_asked_is_full_before_threads_ask():
    """Two threads that write IR at once read its table of escaped characters half full otherwise: a KeyError in one of fifty first calls."""
    asked = "import diffeng.kernels.compile as c; c.binding(); from llvmlite.ir import values; print(len(values._escape_string.__defaults__[0]))"
    assert subprocess.run([sys.executable, "-c", asked], capture_output=True, text=True, env=environment("off"), timeout=60).stdout.strip() == "256"


def test_what_was_compiled_leaves_the_collector_nothing_to_do(fresh):
    """llvmlite's objects refer to each other, and to each instruction belong some ten of them."""
    add(1.5)                                                                # what is loaded now stays
    gc.collect()
    gc.disable()
    try:
        add(2.5)
        assert gc.collect() < 70                                            # 140 of so small a one
    finally:
        gc.enable()


def test_a_function_that_is_nowhere_is_named(fresh, tmp_path):
    fresh.setenv("DIFFENG_CACHE", str(tmp_path))
    with pytest.raises(RuntimeError, match="no_such_function"):
        add(0.0, "no_such_function")
    assert not list(tmp_path.iterdir())


def test_helpers_of_two_kernels_do_not_meet(fresh):
    """Internal functions of one name in several kernels."""
    from llvmlite import ir

    def build(value):
        def made():
            module, b, words, lo, hi = kernel()
            helper = ir.Function(module, ir.FunctionType(ir.DoubleType(), []), "helper")
            helper.linkage = "internal"
            helper.attributes.add("noinline")
            ir.IRBuilder(helper.append_basic_block("entry")).ret(ir.DoubleType()(value))
            b.store(b.call(helper, []), b.inttoptr(b.load(words), ir.DoubleType().as_pointer()))
            b.ret_void()
            return module
        return machine.kernel(f"test: helper {value}", made)
    out = np.zeros(1)
    words = np.array([out.ctypes.data])
    one, two = build(1.0), build(2.0)
    for k, value in ((one, 1.0), (two, 2.0), (one, 1.0)):
        k(words.ctypes.data, 0, 1)
        assert out[0] == value


def test_interleaving_is_what_a_loop_asks_for(fresh):
    """Another number of partial sums: another rounding, and the same sum."""
    x, sums = np.random.default_rng(0).normal(size=999), []
    for times in (1, 4):
        out = np.zeros(1)
        words = np.array([x.ctypes.data, out.ctypes.data])
        total(times)(words.ctypes.data, 0, x.size)
        assert abs(out[0] - x.sum()) < 1e-12
        sums.append(out[0])
    assert sums[0] != sums[1]


def test_rules_from_one_factory_are_told_apart():
    """A kernel's key holds what its rules enclose: else arcsin would be found where arccos is asked for."""
    rules = {id(rule): rule for table in scalar.TABLES for rule in table.values()}
    assert len(rules) > 70 and len({scalar.fingerprint(rule) for rule in rules.values()}) == len(rules)


def test_keys_are_the_same_in_every_process():
    """Whatever a rule's code holds: comprehensions, lambdas, sets; a kernel whose key held an address would be compiled again by each process, and kept each time."""
    code = ("from diffeng.kernels import scalar, scipys\n"
            "rules = {f'{k} {name}': rule for k, table in enumerate(scalar.TABLES) for name, rule in table.items()}\n"
            "rules |= {name: scipys._rule(name, count) for name, count in scipys.OPERANDS.items()}\n"
            "print(*[scalar.fingerprint(rules[name]) for name in sorted(rules)])")
    first, second = (subprocess.run([sys.executable, "-c", code], env={**os.environ, "PYTHONHASHSEED": seed}, capture_output=True, text=True, check=True, timeout=60).stdout
                     for seed in ("1", "2"))
    assert first == second and len(first.split()) > 80


def test_a_process_with_its_kernels_on_disk_loads_no_llvm(tmp_path):
    code = ("import sys, numpy as np, diffeng as de\n"
            "f = de.jit(de.value_and_grad(lambda x: np.sum(np.sin(x) * np.exp(x))))\n"
            "print(f(np.arange(3.0))[1].sum(), 'llvmlite.binding' in sys.modules)")
    run = [sys.executable, "-c", code]
    first, second = (subprocess.run(run, env=environment(tmp_path), capture_output=True, text=True, check=True, timeout=120).stdout.split() for _ in range(2))
    assert first[0] == second[0] and first[1] == "True"
    if sys.platform == "linux" and os.uname().machine == "x86_64":
        assert second[1] == "False"


@pytest.mark.parametrize("load", [objects.load, lambda code, address_of: None], ids=["objects.py", "LLVM"])
def test_object_code_in_memory(fresh, load):
    """Constants, tables and functions outside are where the code looks for them, whoever puts it there."""
    fresh.setattr(objects, "load", load)
    x = np.linspace(-3, 3, 37)
    compiled = jit(lambda x: (np.exp(x), np.sin(1e6 * x), np.arctan(x)))(x)
    for got, want in zip(compiled, (np.exp(x), np.sin(1e6 * x), np.arctan(x))):
        np.testing.assert_allclose(got, want, rtol=1e-14, atol=1e-16)


def test_what_is_no_object_of_a_kernel_is_left_to_llvm(fresh, tmp_path):
    fresh.setenv("DIFFENG_CACHE", str(tmp_path))
    add(0.125, "cbrt")
    path, = tmp_path.iterdir()
    code = path.read_bytes().split(b"\n", 1)[1]
    if objects.load(code, machine.address_of) is None:
        pytest.skip("objects of this processor are LLVM's to load")
    assert objects.load(code, lambda name: None) is None                   # nobody knows the function outside
    for cut in range(0, len(code), 37):
        objects.load(code[:cut], machine.address_of)                       # no error
    other = bytearray(code)
    other[18] = 183                                                        # AArch64
    assert objects.load(bytes(other), machine.address_of) is None and objects.load(b"", machine.address_of) is None
