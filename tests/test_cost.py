"""Counted costs: known by hand for small graphs, and in the proportions that theory says."""
import subprocess
import sys

import numpy as np
import pytest

import diffeng as de


def test_operations_and_bytes_by_hand():
    graph = de.trace(lambda x, w: np.sum(np.tanh(x @ w)), np.ones((4, 3)), np.ones((3, 2)))
    found = graph.cost()
    assert found["operations"] == 2 * 4 * 3 * 2 + 4 * 2 + 4 * 2          # product, tanh, sum
    assert found["bytes"] == 8 * (8 + 8 + 1)


def test_methods_in_the_proportions_of_theory():
    """Reverse mode costs a few times the function, whatever the number of inputs; forward mode that for each of them."""
    small, large = (de.trace(lambda x: np.sum(np.sin(x) * np.exp(x)), np.ones(n)).cost() for n in (10, 1000))
    for found in (small, large):
        assert 2 < found["methods"]["reverse"]["operations"] / found["operations"] < 6
        assert 1 < found["methods"]["symbolic"]["operations"] / found["operations"] < 8
    assert large["methods"]["forward"]["operations"] > 100 * large["methods"]["reverse"]["operations"]
    assert de.trace(lambda x: x * 2, np.ones(3)).cost()["methods"] == {}          # no scalar output, no gradient


def test_nothing_is_computed():
    x = de.symbols("x", shape=(10 ** 6, 10 ** 6))          # eight terabytes
    assert de.to_graph(np.sum(x * x)).cost()["operations"] == 2 * 10 ** 12


MEASURED = """
import sys
import numpy as np
import diffeng as de
from diffeng.kernels import Program

def recurrent(x, w, u):
    h = 0.0
    for part in x:
        h = np.tanh(part @ w + h) @ u
    return np.mean(h)

def perceptron(x, w, u):
    return np.sum(np.tanh(np.tanh(x @ w) @ u) ** 2)

def args(scale):
    ones = lambda *shape: np.full(shape, 0.01)
    return {"recurrent": (ones(8, 200 * scale, 64), ones(64, 128), ones(128, 128)), "perceptron": (ones(1000 * scale, 64), ones(64, 256), ones(256, 256))}[sys.argv[1]]

def resident(what):
    with open("/proc/self/status") as file:
        return next(int(line.split()[1]) for line in file if line.startswith(what + ":"))

def grown(scale):
    graph = de.trace(globals()[sys.argv[1]], *args(scale))
    derivative = graph.derivative(tuple(range(3)), method="reverse")
    program = Program(graph.input_nodes, graph.output_nodes + derivative.output_nodes)
    arrays = args(scale)
    with open("/proc/self/clear_refs", "w") as file:
        file.write("5")                            # the highest so far is what there is now
    before = resident("VmRSS")
    out = program(*arrays)
    more = resident("VmHWM") - before
    return graph.cost().methods["reverse"].peak, more * 1024 - sum(a.nbytes for a in out)

grown(1)                                           # what a first call needs besides: kernels, threads
print(*grown(20))
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="the unit of ru_maxrss differs")
@pytest.mark.parametrize("name", ["recurrent", "perceptron"])
def test_the_predicted_peak_is_what_a_process_grows_by(name):
    """Resident memory while the compiled program runs for the first time, less its results."""
    done = subprocess.run([sys.executable, "-c", MEASURED, name], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    predicted, measured = map(int, done.stdout.split())
    assert predicted > 2e7 and 0.85 * predicted < measured < 1.2 * predicted, (predicted, measured)


def test_the_predicted_peak_of_a_loop_is_that_of_its_program():
    """With what is kept of all its turns, in which a loop is split."""
    def f(w, v, h, xs):
        return np.sum(de.scan(lambda h, x: (np.tanh(h @ w + x @ v), h), h, xs)[1] ** 2)
    arguments = np.ones((20, 20)) * 0.1, np.ones((10, 20)), np.ones((8, 20)), np.ones((50, 8, 10))
    compiled = de.jit(de.value_and_grad(f, argnums=(0, 1, 2, 3)))
    compiled(*arguments)
    (trace,), = compiled._traces.values()
    predicted = de.trace(f, *arguments).cost().methods["reverse"].peak
    assert trace.program.peak_bytes == pytest.approx(predicted, rel=0.02) and predicted > 50 * 8 * 20 * 8


def test_attributes_and_table():
    found = de.trace(lambda x: np.sum(np.exp(x)), np.ones(1000)).cost()
    assert (found.operations, found.methods["reverse"].operations) == (found["operations"], found["methods"]["reverse"]["operations"])
    assert found.methods["forward"].peak is None and "value and gradient, reverse" in str(found) and len({len(line) for line in str(found).splitlines()}) == 1
