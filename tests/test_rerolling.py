"""Python loops as loops: the same values and derivatives, of a graph that does not grow with the number of turns."""
import numpy as np
import pytest
from python_loops import arguments, chosen, entries_written, heated, network, nested, normal, solved, solved_anew, three_ago, walked

import diffeng as de
from diffeng import kernels, rerolling
from diffeng.nodes import reachable
from diffeng.rerolling import rewriting, turns, written_rows
from diffeng.trees import flatten

TURNS = 120
ARGUMENTS = arguments(TURNS)


@pytest.fixture
def counted(monkeypatch):
    """[(operations of a graph that is compiled, of what rerolling makes of it)]"""
    counts, own, depth = [], rerolling.rerolled, []

    def rerolled(outputs):
        depth.append(0)
        found = own(outputs)
        depth.pop()
        if not depth:                                            # not the turn of a loop that was found
            counts.append((len(reachable(outputs)), len(reachable(found))))
        return found
    monkeypatch.setattr(rerolling, "rerolled", rerolled)
    return counts


def alike(got, want, rounding=1e-9):
    for x, y in zip(flatten(got)[0], flatten(want)[0], strict=True):
        assert np.asarray(x).dtype == np.asarray(y).dtype
        np.testing.assert_allclose(x, y, rtol=rounding, atol=rounding * np.max(np.abs(y)))


@pytest.mark.parametrize("f", ARGUMENTS, ids=lambda f: f.__name__)
def test_the_same_value_and_gradient_of_few_operations(f, counted):
    args, count = ARGUMENTS[f]
    both = de.value_and_grad(f, argnums=tuple(range(count)))
    alike(de.jit(both)(*args), both(*args))
    (before, after), = counted
    assert before > 250 and after < 150


@pytest.mark.parametrize("f", [network, entries_written, three_ago, heated, nested], ids=lambda f: f.__name__)
def test_other_methods_and_higher_derivatives(f):
    args, count = ARGUMENTS[f]
    for derivative in (de.grad(f, method="forward"), de.hessian(f)):
        alike(de.jit(derivative)(*args), derivative(*args))


def test_float32(counted):
    args, _ = ARGUMENTS[network]
    args = [x.astype(np.float32) for x in args]
    both = de.value_and_grad(network, argnums=(0, 1, 2, 3))
    alike(de.jit(both)(*args), both(*args), 1e-4)
    assert counted[0][1] < 130


@pytest.mark.parametrize("f", ARGUMENTS, ids=lambda f: f.__name__)
def test_another_number_of_turns_compiles_nothing(f):
    def run(number):
        args, count = arguments(number)[f]
        de.jit(de.value_and_grad(f, argnums=tuple(range(count))))(*args)
    run(130)
    before = kernels.compilations
    for number in (200, 201):
        run(number)
    assert kernels.compilations == before


@pytest.mark.parametrize("f", [network, heated, chosen, walked, solved], ids=lambda f: f.__name__)
def test_few_turns_compile_what_many_do(f):
    def run(number):
        args, count = arguments(number)[f]
        both = de.value_and_grad(f, argnums=tuple(range(count)))
        alike(de.jit(both)(*args), both(*args))
    run(14)
    before = kernels.compilations
    for number in (13, 19, 40):
        run(number)
    assert kernels.compilations == before


def test_what_is_the_same_in_all_turns_is_computed_before(counted, monkeypatch):
    """The matrix of a system of equations, though each turn makes it anew, and its factors."""
    made = []

    class Loop(turns.Loop):
        def __init__(self, *args, **more):
            super().__init__(*args, **more)
            made.append([n.primitive.name for n in self.order])
    monkeypatch.setattr(turns, "Loop", Loop)
    args, count = ARGUMENTS[solved_anew]
    both = de.value_and_grad(solved_anew, argnums=(0, 1))
    alike(de.jit(both)(*args), both(*args))
    assert made and all(["solve" in names and "multiply" not in names and "divide" not in names for names in made[:1]])


def test_what_is_no_loop_stays(counted):
    """Entries of large arrays by themselves, which are fused, and of all turns' rows would be many; a few turns of many operations."""
    def pointwise(x):
        for k in range(100):
            x = np.sin(x) * 1.1 + k
        return x

    def few(x):
        for _ in range(7):
            for function in (np.sin, np.cos, np.tanh, np.arctan, np.expm1, np.square):
                x = function(x) / np.sum(x ** 2 + 1)
        return x
    for f, x in (pointwise, np.ones(70_000)), (few, np.full(3, 0.1)):
        alike(de.jit(f)(x), f(x))
        before, after = counted[-1]
        assert before > 150 and after == before


def test_the_layers_of_a_network_stay(counted):
    """Of a few turns what each has of its own is not put side by side."""
    def layers(Ws, x):
        for W in Ws:
            x = np.tanh(x @ W) + x
        return np.sum(x ** 2)
    args = [normal(4, 4) for _ in range(12)], normal(5, 4)
    alike(de.jit(de.grad(layers))(*args), de.grad(layers)(*args))
    assert counted[-1][0] == counted[-1][1] > 100


def test_long_work_stays(counted, monkeypatch):
    monkeypatch.setattr(turns, "LONG", 40 * 5 * TURNS)
    args, _ = ARGUMENTS[heated]
    alike(de.jit(heated)(*args), heated(*args))
    assert counted[0][0] == counted[0][1]


def test_turns_that_wait_for_none_are_computed_at_once(counted):
    def f(x, A):
        return np.sum(np.array([np.sum(np.tanh(A @ x[k]) * k) ** 2 for k in range(len(x))]))
    args = normal(150, 3), normal(3, 3)
    alike(de.jit(de.value_and_grad(f, argnums=(0, 1)))(*args), de.value_and_grad(f, argnums=(0, 1))(*args))
    assert counted[0][1] < 60


def test_parts_that_follow_one_another(counted):
    """Windows of an array, each of which begins where the one before did, or further on; of their adjoint no loop is made."""
    def f(x, w):
        total, Y = 0.0, np.stack([x, x ** 2])
        for t in range(100):
            total = np.tanh(total * 0.9 + np.dot(w, x[t:t + 5]) + np.sum(Y[1, 2 * t:2 * t + 2]))
        return total ** 2
    args = normal(210), normal(5)
    alike(de.jit(f)(*args), f(*args))
    assert counted[-1][1] < 60
    alike(de.jit(de.value_and_grad(f, argnums=(0, 1)))(*args), de.value_and_grad(f, argnums=(0, 1))(*args))


def test_a_failure_in_a_turn_names_the_line():
    """Of a loop, and of turns that wait for none."""
    def one_after_the_other(A, b):
        for _ in range(100):
            b = np.linalg.solve(A, np.tanh(b))
        return b

    def each_by_itself(A, b):
        return sum([np.sum(np.linalg.solve(A * (t - 90), b)) for t in range(200)])
    for f, A, line in (one_after_the_other, np.zeros((3, 3)), 2), (each_by_itself, np.eye(3), 1):
        with pytest.raises(np.linalg.LinAlgError, match=f"test_rerolling.py:{f.__code__.co_firstlineno + line}"):
            de.jit(f)(A, np.ones(3))


def made_of_what_is_the_same(x, y):
    """0.1 x is made again where the gradient reads it, of nothing that a turn has made."""
    z = y
    for _ in range(100):
        y = np.maximum(y, 0.0) * np.maximum(x, z) * 0.3
        z = z + 0.1 * x
    return np.sum(y) + np.sum(z)


def beside_the_argument(x, y):
    """Rows that do not depend on what is traced."""
    rows = np.zeros(200)
    rows[-1], rows[0] = y[0], 0.5
    for t in range(1, 199):
        rows[t] = np.cos(rows[t - 1]) + 0.1
    return np.sum(rows) * x[0]


def looked_up(x, y):
    rows, place, numbers = np.zeros(90), np.argmax(y), np.arange(3.0)
    for t in range(90):
        rows[t] = numbers[place] * x[0] * np.tanh(rows[t - 1])
    return np.sum(rows)


def in_a_ring(x, y):
    ring = np.zeros(4)
    ring[0] = x[0]
    for t in range(200):
        ring[t % 4] = np.sin(ring[(t - 1) % 4]) + y[1]
    return np.sum(ring)


def begun_with_a_number(x, y):
    """What is read three turns later begins with Python's numbers and the argument."""
    kept, total = [0.5, x[0], 1, y[0]], 0.0
    for t in range(60):
        kept.append(np.sin(kept[t] * x[1]) + y[2])
        total = total + kept[t] * kept[t + 2]
    return total


@pytest.mark.parametrize("f", [begun_with_a_number, made_of_what_is_the_same, beside_the_argument, looked_up, in_a_ring], ids=lambda f: f.__name__)
def test_turns_of_which_something_is_known_before(f):
    args = np.array([0.3, 0.4, -0.2]), np.array([0.5, 0.1, 0.9])
    both = de.value_and_grad(f, argnums=(0, 1))
    alike(de.jit(both)(*args), both(*args))


def test_the_graph_stays_where_loops_make_it_no_smaller(counted, monkeypatch):
    """A value of ten turns ago is no carry: each would be a loop of nine. And time is linear."""
    def delayed(x):
        out = [x] * 9
        for _ in range(300):
            out.append(np.sin(out[-1]) + 0.1 * out[-9])
        return out[-1]
    alike(de.jit(delayed)(0.3), delayed(0.3))
    assert counted[-1][0] == counted[-1][1]
    tried, own = [], turns.Turns.become_a_loop
    monkeypatch.setattr(turns.Turns, "become_a_loop", lambda self: tried.append(self.count) or own(self))
    alike(de.jit(de.grad(delayed))(0.3), de.grad(delayed)(0.3))
    assert sum(tried) < 20 * 300


def test_a_loop_keeps_what_is_cheaply_made_of_it(counted):
    """Of a flux k (u[1:] - u[:-1]) the gradient reads the differences, which are made of the rows of u."""
    found = []

    class Loop(turns.Loop):
        def __init__(self, *args, **more):
            super().__init__(*args, **more)
            found.append(self)
    own, turns.Loop = turns.Loop, Loop
    try:
        args, _ = ARGUMENTS[heated]
        de.jit(de.value_and_grad(heated, argnums=(0, 1)))(*args)
    finally:
        turns.Loop = own
    forward, backward = [loop for loop in found if loop.packing and not loop.integers]
    assert forward.outputs[1:] == forward.inputs[:1] and [n.shape for n in backward.inputs[backward.carried:backward.carried + backward.read]] == [(40,)]


# ---- arrays that are written row by row ---------------------------------------------------------------------------------------------------------

def added_to(x):
    y = np.zeros((20, 3)) + x[0]
    for t in range(20):
        y[t] += x * t
        y[-1 - t, :] += 2.0
    return y


def written_twice(x):
    y = np.ones((21, 3))
    for t in range(20):
        y[t] = x[0]
        y[t] = y[t - 1] * x + y[t + 1]
    return y[3:9], y


def read_in_between(x):
    y, total = np.zeros((20, 3)), 0.0
    for t in range(20):
        y[t] = x * t
        if t in (7, 11):
            total = total + np.sum(y ** 2)
    return total, y[::2], y[4, 1]


def red_and_black(x):
    y = np.zeros(41) + x[0]
    for color in (0, 1):
        for t in range(1 + color, 40, 2):
            y[t] = np.sin(y[t - 1] + y[t + 1]) + x[t % 3]
    return y


def of_integers(x):
    y = np.zeros((20, 2), int)
    for t in range(20):
        y[t, 1] = t + (x[0] > 0)
    return np.sum(y), x * y[3, 1]


def branched(x):
    y = np.zeros((20, 3))
    for t in range(20):
        y[t] = x * t
    z = y.copy()
    for t in range(20):
        z[t] = y[t] + z[t - 1]
        y[t] = z[t] * 2
    return y, z


@pytest.mark.parametrize("f", [added_to, written_twice, read_in_between, red_and_black, of_integers, branched], ids=lambda f: f.__name__)
def test_rows_say_what_the_array_says(f, monkeypatch):
    """Of values and of gradients, whether loops are found in it or not."""
    made = []
    own = written_rows.by_rows
    monkeypatch.setattr(written_rows, "by_rows", lambda outputs, fewest: made.append((outputs, own(outputs, fewest))) or made[-1][1])
    monkeypatch.setattr(rerolling, "LEAST", 20)
    monkeypatch.setattr(rerolling, "FEWEST", 5)
    monkeypatch.setattr(rewriting.Rewriting, "outputs", lambda self, *_: self._outputs + [])          # as if there had been a loop
    x = np.array([0.3, -0.2, 0.5])
    alike(de.jit(f)(x), f(x))
    slope = de.grad(lambda x: sum([np.sum(np.sin(y)) for y in flatten(f(x))[0]]))
    alike(de.jit(slope)(x), slope(x))
    assert any([rows is not outputs for outputs, rows in made])
