"""What every test file shares: the seed in the header, and counts of what was judged, summed over parallel workers."""
import collections
import gc
import os
import shutil
import signal
import sys
import tempfile

import pytest

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:          # as in the background of a script; some tests ask what comes of it
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture
def tally(request):
    """tally["text"] += 1: counted over the whole run and printed at its end."""
    return request.config.stash[_COUNTS]


@pytest.fixture(autouse=True)
def no_shapes_of_other_tests():
    """Which kernels a plan asks for hangs on the shapes that were compiled before (kernels/families.py): a test knows its own alone."""
    if "diffeng.kernels.machine" in sys.modules:
        sys.modules["diffeng.kernels.machine"].settle()
    shutil.rmtree(os.path.join(os.environ["DIFFENG_CACHE"], "families"), ignore_errors=True)
    if "diffeng.kernels.families" in sys.modules:
        sys.modules["diffeng.kernels.families"].known.cache_clear()


@pytest.fixture(autouse=True)
def numbers_of_its_own(request):
    """A test draws the same numbers whichever ran before it, in this process or in the other one: the module's generators begin again."""
    for x in vars(request.module).values():
        if type(x).__name__ == "Generator":
            x.bit_generator.state = _generators.setdefault(id(x), x.bit_generator.state)


_generators = {}                       # id -> the state in which a module left it


@pytest.fixture
def simulated(monkeypatch):
    """device="cuda" means the simulator (diffeng/devices.py)."""
    monkeypatch.setenv("DIFFENG_CUDA", "simulator")


_COUNTS = pytest.StashKey()


def pytest_report_header(config):
    return "random numbers: numpy.random.default_rng with the seeds written in the tests"


def pytest_sessionfinish(session):
    """A worker hands its counts to the process that prints."""
    if hasattr(session.config, "workeroutput"):
        session.config.workeroutput["counts"] = dict(session.config.stash.get(_COUNTS, {}))


def pytest_configure(config):
    """What workers inherit. Before anybody imports NumPy, whose products are made by one thread in tests: two workers with two threads each, which spin while
    they wait for one another, took 7 times as long for test_contract.py. What diffeng does with BLAS's number of threads, tests set it for (test_runtime.py)."""
    config.stash[_COUNTS] = collections.Counter()
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    if "DIFFENG_CACHE" not in os.environ:              # kernels of a test run are its own; workers inherit the folder
        os.environ["DIFFENG_CACHE"] = folder = tempfile.mkdtemp(prefix="diffeng-tests-")
        config.add_cleanup(lambda: shutil.rmtree(folder, ignore_errors=True))


def pytest_collection():
    """Thousands of tests come to be, and stay: whoever looks for garbage among them finds none, at each time in a tenth of a second."""
    gc.disable()


def pytest_collection_finish():
    gc.collect()
    gc.freeze()
    gc.enable()


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node, error):
    node.config.stash[_COUNTS].update(getattr(node, "workeroutput", {}).get("counts", {}))


def pytest_terminal_summary(terminalreporter, config):
    for text, n in sorted(config.stash[_COUNTS].items()):
        terminalreporter.write_line(f"{text}: {n}")
