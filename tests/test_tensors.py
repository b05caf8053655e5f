"""Tensors on their own: what waits computes the same as what does not; errors; threads."""
import random
import threading

import numpy as np
import pytest

import diffeng as de
from diffeng import tensors as T
from diffeng.tensor_engine import core, entries, plans

SGD = T.operation(lambda *a: tuple(p - a[-1] * g for p, g in zip(a[:len(a) // 2], a[len(a) // 2:-1])), "sgd")
LINEAR = T.operation(lambda x, w, b: np.matmul(x, w.T) + b, "linear")


@pytest.fixture(autouse=True)
def from_the_beginning():
    """Each test meets an empty tape."""
    entries.local.run.tree = entries.local.root()
    entries.local.run.begin()


@pytest.fixture
def one_by_one(monkeypatch):
    """Switch: carry out every call at once."""
    return lambda: monkeypatch.setattr(core.Operation, "__call__", lambda op, *operands, **params: core.compute(op, operands, params))


@pytest.fixture
def carried_out(monkeypatch):
    """The names of operations that are carried out one by one."""
    names, compute = [], core.compute

    def counted(op, *args):
        names.append(op.name)
        return compute(op, *args)
    monkeypatch.setattr(core, "compute", counted)
    return names


@pytest.fixture
def programs(monkeypatch):
    """The programs that are compiled."""
    made, compiled = [], plans._compiled

    def counted(*args):
        made.append(compiled(*args))
        return made[-1]
    monkeypatch.setattr(plans, "_compiled", counted)
    return made


def network(seed=0, dtype=np.float32):
    rng = np.random.default_rng(seed)
    shapes = (5, 10), (5,), (1, 5), (1,)
    weights = [de.tensor(rng.standard_normal(s).astype(dtype), requires_grad=True) for s in shapes]
    return weights, de.tensor(rng.standard_normal((32, 10)).astype(dtype)), de.tensor((rng.random((32, 1)) > 0.5).astype(dtype))


def forward(w, x):
    return LINEAR(LINEAR(x, w[0], w[1]).relu(), w[2], w[3]).sigmoid()


def step(w, x, y, lr=0.1):
    for p in w:
        p.grad = None
    loss = ((forward(w, x) - y) ** 2).mean()
    loss.backward()
    T.update(SGD, w, (*[p.grad for p in w], lr))
    return loss


# ---- what waits computes the same ------------------------------------------------------------------------------------------------------------------

KINDS = ("mul add tanh mm where sum0 view T row detach cat relu quiet clone inplace setitem viewwrite look bool copy_ softmax max").split()
AFTER = ("sgd", "update", "none", "zero", "every other")


def program(seed):
    """A random loop body: instructions that pick their operands from all that was computed before."""
    r = random.Random(seed)
    body = [(r.choice(KINDS), r.random(), r.random(), r.random()) for _ in range(r.randint(3, 14))]
    return body + [("backward", r.random() < 0.8, 0, 0), (r.choice(AFTER), 0, 0, 0), (r.choice(("loss", "again", "none")), 0, 0, 0)]


def carry_out(seed, turns=6, device="cpu"):
    """All that the random loop shows: values looked at, kinds of errors, parameters and gradients in the end."""
    rng, seen = np.random.default_rng(seed), []
    w = [de.tensor(rng.standard_normal(s).astype(np.float32) * 0.5, requires_grad=True, device=device) for s in ((3, 3), (3, 3), (3,))]
    state, odd = de.tensor(rng.standard_normal((3, 3)).astype(np.float32), device=device), random.Random(seed).random() < 0.5
    for turn in range(turns):
        pool = [de.tensor(rng.standard_normal((3, 3)).astype(np.float32), device=device), *w, state]
        for k, (kind, u, v, z) in enumerate(program(seed)):
            a, b = pool[int(u * len(pool)) % len(pool)], pool[int(v * len(pool))]
            if odd and turn % 3 == 1 and k == 2:
                seen.append(a.detach().cpu().numpy().copy())
            try:
                made = instruction(kind, a, b, z, u, w, state, pool, seen, turn)
                pool.extend(made if isinstance(made, list) else [made] if made is not None else [])
            except (RuntimeError, IndexError, TypeError, AttributeError) as error:
                seen.append((k, type(error)))
    return seen + [p.detach().cpu().numpy().copy() for p in pool + w] + [None if p.grad is None else p.grad.detach().cpu().numpy().copy() for p in w]


def instruction(kind, a, b, z, u, w, state, pool, seen, turn):
    if kind == "look":
        seen.append(a.detach().cpu().numpy().copy() if z < 0.5 else np.array(a.tolist()))
    elif kind == "copy_":
        state.copy_(a.detach() if a.shape == (3, 3) else pool[0])
    elif kind == "backward":
        loss = sum((p.tanh() * 0.1).sum() for p in pool[5:][-4:]) + (w[0] * w[1]).sum() * 0.1 + (w[2] * w[2]).sum()
        loss.backward(retain_graph=not u)
        if not u:
            loss.backward()
        pool.append(loss)
    elif kind == "sgd":
        with de.no_grad():
            for p in w:
                p -= 0.1 * p.grad
        for p in w:
            p.grad = None
    elif kind == "update" or kind == "every other" and turn % 2:
        T.update(SGD, w, (*[p.grad for p in w], 0.1 if turn < 3 else 0.05))
        for p in w:
            p.grad = None
    elif kind == "zero":
        with de.no_grad():
            for p in w:
                p.sub_(p.grad, alpha=0.01)
                p.grad.zero_()
    elif kind == "loss":
        seen.append(np.array(pool[-1].detach().tolist()))
    elif kind == "again":
        pool[-1].sum().backward()
        seen.append(w[0].grad.cpu().numpy().copy())
    elif kind in EXPRESSIONS:
        return EXPRESSIONS[kind](a, b, z, w)


def quiet(a, b):
    with de.no_grad():
        return a * b + 1


def set_item(c, value):
    c[0] = value
    return c


def write_through(c):
    d = c.reshape(-1)
    d[1] = 0.25
    return [c, d]


EXPRESSIONS = {
    "mul": lambda a, b, z, w: a * b if a.ndim and b.ndim else a * 0.5, "add": lambda a, b, z, w: a + b, "tanh": lambda a, b, z, w: a.tanh(),
    "mm": lambda a, b, z, w: a @ w[0] if a.shape[-1:] == (3,) else a * 1, "where": lambda a, b, z, w: de.where(a > 0, a, b),
    "row": lambda a, b, z, w: a[0] if a.ndim else a + 1,
    "sum0": lambda a, b, z, w: a.sum(0) if a.ndim else a.sum(), "view": lambda a, b, z, w: [v := a.reshape(-1), v * 2], "T": lambda a, b, z, w: a.T,
    "detach": lambda a, b, z, w: a.detach(),
    "cat": lambda a, b, z, w: de.cat([a.reshape(-1)[:3], b.reshape(-1)[:3]]), "relu": lambda a, b, z, w: a.relu(), "quiet": lambda a, b, z, w: quiet(a, b),
    "clone": lambda a, b, z, w: a.clone(), "inplace": lambda a, b, z, w: (a * 1.0).mul_(0.5),
    "setitem": lambda a, b, z, w: set_item(a.clone(), b.sum() if z < 0.5 else 1.0),
    "viewwrite": lambda a, b, z, w: write_through(a.clone()), "bool": lambda a, b, z, w: a * 0.3 if float((a * a).sum()) > 1 else a + 0.1,
    "softmax": lambda a, b, z, w: a.softmax(-1) if a.ndim else a * 2, "max": lambda a, b, z, w: a.max(-1).values if a.ndim else a.abs(),
}


@pytest.mark.parametrize("seed", range(60))
def test_what_waits_computes_the_same(seed, one_by_one):
    waited = carry_out(seed)
    one_by_one()
    plain = carry_out(seed)
    assert len(waited) == len(plain)
    for a, b in zip(waited, plain):
        if isinstance(b, np.ndarray):
            np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)
        else:
            assert a == b


def test_the_second_time_one_program_does_it_all(carried_out, programs):
    w, x, y = network()
    for _ in range(3):
        step(w, x, y)
    carried_out.clear()
    for _ in range(5):
        loss = step(w, x, y)
    assert carried_out == [] and programs and all(programs)
    assert isinstance(loss.item(), float)


def test_losses_are_those_of_numpy():
    w, x, y = network(dtype=np.float64)
    a, b, c, d = [p.detach().numpy().copy() for p in w]
    xs, ys = x.numpy().copy(), y.numpy().copy()
    for _ in range(6):
        loss = step(w, x, y).item()
        h = xs @ a.T + b
        r = np.maximum(h, 0)
        out = 1 / (1 + np.exp(-(r @ c.T + d)))
        assert abs(loss - np.mean((out - ys) ** 2)) < 1e-14
        g = 2 * (out - ys) / out.size * out * (1 - out)
        gh = (g @ c) * (h > 0)
        a, b, c, d = a - 0.1 * gh.T @ xs, b - 0.1 * gh.sum(0), c - 0.1 * g.T @ r, d - 0.1 * g.sum(0)
    for p, q in zip(w, (a, b, c, d)):
        np.testing.assert_allclose(p.detach().numpy(), q, rtol=1e-12, atol=1e-14)


def test_a_look_before_backward_computes_nothing_twice(programs):
    w, x, y = network()
    for _ in range(4):
        loss = ((forward(w, x) - y) ** 2).mean()
        loss.item()
        loss.backward()
        T.update(SGD, w, (*[p.grad for p in w], 0.1))
        for p in w:
            p.grad = None
    forwards = [p.program for p in programs[:2]]
    assert len(forwards[0].outputs) > 1                     # what the backward pass reads comes along
    assert "matmul" not in forwards[1].calls


def test_minibatches_at_changing_places_are_the_same_step(programs):
    w, x, y = network()
    for k in range(12):
        i = 8 * (k % 4)
        step(w, x[i:i + 8], y[i:i + 8]).item()
    assert len(programs) <= 3


def test_a_learning_rate_that_changes_compiles_nothing(programs):
    w, x, y = network()
    for k in range(4):
        step(w, x, y, lr=0.1 / (k + 1))
    before = len(programs)
    for k in range(10):
        step(w, x, y, lr=0.01 / (k + 1))
    assert len(programs) == before


def test_numbers_that_change_become_values(carried_out):
    x = de.tensor([1.0, 2.0])
    seen = []
    for k in range(30):
        y = x * (k + 0.5) + 1
        z = y * y - y
        seen.append(z.tolist()[0])
    np.testing.assert_allclose(seen, [(k + 1.5) ** 2 - (k + 1.5) for k in range(30)], rtol=1e-6)
    assert len(carried_out) < 60


def test_the_history_of_a_computed_result_can_be_asked_for_later():
    w, x, y = network()
    for turn in range(4):
        out = forward(w, x)
        out.detach().numpy()
        other = forward(w, x * 2)
        other.detach().numpy()
        out.sum().backward()
        gradient = w[3].grad.item()
        s = out.detach().numpy()
        assert abs(gradient - np.sum(s * (1 - s))) < 1e-4
        w[3].grad = None


def test_values_overwritten_since_are_noticed_in_a_computed_result_too():
    w, x, y = network()
    for turn in range(4):
        out = forward(w, x)
        out.detach().numpy()
        with de.no_grad():
            w[2].mul_(0.5)
        forward(w, x).detach().numpy()
        with pytest.raises(RuntimeError, match="modified by an inplace operation"):
            out.sum().backward()


def test_entries_found_by_integers_are_copies_and_may_be_needed_when_the_table_has_changed():
    for _ in range(3):
        table, scale = de.tensor([[1.0], [2.0], [3.0]], requires_grad=True), de.tensor(0.5, requires_grad=True)
        out = (table[de.tensor([0, 2, 2])] * scale).sum()
        with de.no_grad():
            table[0].zero_()
        out.backward()
        assert table.grad.tolist() == [[0.5], [0.0], [1.0]] and scale.grad.item() == 7.0


def test_gradients_accumulate_over_runs():
    w, x, y = network()
    for turn in range(4):
        for p in w:
            p.grad = None
        for k in range(3):
            ((forward(w, x) - y) ** 2).mean().backward()
        one = [p.grad.numpy().copy() for p in w]
        for p in w:
            p.grad = None
        ((forward(w, x) - y) ** 2).mean().backward()
        for p, g in zip(w, one):
            np.testing.assert_allclose(g, 3 * p.grad.numpy(), rtol=1e-5, atol=1e-7)


# ---- errors --------------------------------------------------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("make, words", [
    (lambda: de.ones(3) + de.ones(4), ("add", "(3,)", "(4,)", "made at test_tensors.py", "broadcast")),
    (lambda: de.ones(2, 3) @ de.ones(2, 3), ("matmul", "2x3", "made at")),
    (lambda: de.ones(2, 3) @ de.ones(3, 2, dtype=de.float64), ("same dtype", "double")),
    (lambda: de.ones(2, 3).T.view(6), ("view", "reshape")),
    (lambda: de.tensor([1, 2], requires_grad=True), ("floating point", "int64")),
    (lambda: de.ones(3, requires_grad=True).add_(1), ("leaf", "add_", "no_grad")),
    (lambda: (de.ones(3, requires_grad=True) * 2).backward(), ("scalar", "[3]", ".sum()")),
    (lambda: de.ones(3).to("cuda"), ("cuda", "CPU")),
    (lambda: de.tensor("abc"), ("str",)),
    (lambda: de.tensor([[1], [1, 2]]), ("different lengths",)),
    (lambda: de.ones(3) + "x", ()),
])
def test_errors_say_what_and_where(make, words):
    for _ in range(3):
        with pytest.raises((RuntimeError, ValueError, TypeError)) as caught:
            make()
        for word in words:
            assert word in str(caught.value), (word, str(caught.value))


def test_backward_twice_says_where():
    w = de.ones(3, requires_grad=True)
    for _ in range(3):
        loss = (w * w).sum()
        loss.backward()
        with pytest.raises(RuntimeError, match="second time.*retain_graph=True"):
            loss.backward()


def test_an_index_out_of_bounds_is_found_when_it_is_looked_at():
    table, at = de.randn(5, 3), [1, 4]
    for k in range(5):
        chosen = (table * 1.0 + 0.5 - 0.5)[de.tensor(at)] * 2 + 1
        chosen.sum().item()
    with pytest.raises(IndexError, match="test_tensors.py"):
        at = [1, 7]
        ((table * 1.0 + 0.5 - 0.5)[de.tensor(at)] * 2 + 1).sum().item()


def test_threads_have_tapes_of_their_own():
    w, x, y = network()
    for _ in range(3):
        step(w, x, y)
    found = []

    def work():
        v, a, b = network(1)
        found.extend([step(v, a, b).item() for _ in range(5)])
    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    v, a, b = network(1)
    np.testing.assert_allclose(found, [step(v, a, b).item() for _ in range(5)], rtol=1e-6)


# ---- small things ------------------------------------------------------------------------------------------------------------------------

def test_random_numbers_come_again_with_the_seed():
    de.manual_seed(1)
    a = [de.rand(3).tolist(), de.randn(2).tolist(), de.randint(10, (3,)).tolist(), de.randperm(5).tolist()]
    de.manual_seed(1)
    assert a == [de.rand(3).tolist(), de.randn(2).tolist(), de.randint(10, (3,)).tolist(), de.randperm(5).tolist()]
    u = de.rand(10000)
    assert 0 <= float(u.min()) and float(u.max()) < 1 and abs(float(u.mean()) - 0.5) < 0.02 and abs(float(de.randn(10000).std()) - 1) < 0.03


def test_numpy_functions_take_tensors():
    t = de.tensor([0.5, 1.0], requires_grad=True)
    y = np.exp(t) + np.multiply(t, 2.0)
    assert isinstance(y, de.Tensor) and y.requires_grad
    assert isinstance(np.asarray(t.detach()), np.ndarray) and np.ones(2, np.float32) * t.detach() == pytest.approx([0.5, 1.0])
    assert isinstance(np.ones(2, np.float32) * t, de.Tensor)


def test_no_grad_is_a_context_and_a_decorator():
    w = de.ones(2, requires_grad=True)

    @de.no_grad()
    def f():
        return w * 2
    assert not f().requires_grad and (w * 2).requires_grad
    with de.no_grad():
        with de.enable_grad():
            assert (w * 2).requires_grad
        assert not (w * 2).requires_grad


def test_the_other_names_of_the_package_still_take_arrays():
    assert float(de.sum(np.ones(3))) == 3.0 and float(de.exp(0.0)) == 1.0 and de.where(np.array([True]), 1, 2).tolist() == [1]
    assert de.exp(de.tensor(0.0)).item() == 1.0 and de.softmax(de.ones(2), dim=0).tolist() == [0.5, 0.5]


# ---- indices that are not there -----------------------------------------------------------------------------------------------------------------------------

OUTSIDE = {"gather": lambda x, i: x.gather(1, i.view(1, -1)), "scatter": lambda x, i: x.scatter(1, i.view(1, -1), 1.0), "index_select": lambda x, i: x.index_select(1, i),
           "scatter_add": lambda x, i: x.scatter_add(1, i.view(1, -1), de.ones(1, 2)), "index_add": lambda x, i: x.index_add(1, i, de.ones(3, 2))}


@pytest.mark.parametrize("place", [-1, 4])
@pytest.mark.parametrize("name", OUTSIDE)
def test_places_that_are_not_there_raise(name, place):
    w = de.ones(3, 4, requires_grad=True)

    def step(i):
        loss = (OUTSIDE[name](w, i) * 2).sum()
        loss.backward()
        return loss.item()
    for _ in range(10):
        step(de.tensor([0, 1]))
    with pytest.raises(IndexError, match=r"(?s)at test_tensors.py:\d+: .*out of bounds"):
        step(de.tensor([0, place]))
    with pytest.raises(IndexError, match=rf"{name} at test_tensors.py:\d+: index {place} is out of bounds for dimension 1 with size 4: indices from 0 to 3"):
        OUTSIDE[name](de.zeros(3, 4), de.tensor([place, 0])).tolist()


def test_an_index_of_another_rank_and_classes_that_are_not_there_raise():
    with pytest.raises(RuntimeError, match="gather at .*same number of dimensions"):
        de.ones(3, 4).gather(1, de.tensor([0])).tolist()
    for classes, n in (([0, -1], -1), ([0, 3], 3)):
        with pytest.raises(RuntimeError, match="one_hot at .*is not among the classes"):
            de.nn.functional.one_hot(de.tensor(classes), n)


def test_an_error_of_what_waits_is_raised_once():
    w, other = de.ones(5, 4, requires_grad=True), de.ones(2)

    def step(rows):
        w.grad = None
        loss = (w[rows] * 2).sum()
        loss.backward()
        with de.no_grad():
            w.sub_(w.grad, alpha=0.5)
        return loss.item()
    for _ in range(10):
        last = step(de.tensor([0, 1]))
    kept = w.detach().clone().tolist()
    with pytest.raises(IndexError):
        step(de.tensor([0, 7]))
    assert (other + 1).sum().item() == 4 and w.tolist() == kept
    assert step(de.tensor([0, 1])) == last - 16


def test_tensor_of_sizes_and_of_integers():
    assert de.Tensor(2, 3).tolist() == [[0] * 3] * 2 and de.Tensor(3).shape == (3,) and de.Tensor([3]).tolist() == [3.0]
    assert de.Tensor(np.arange(3)).dtype == de.Tensor(np.ones(2)).dtype == np.float32            # as PyTorch's FloatTensor
    assert de.Tensor(de.arange(3)).dtype == np.int64 and de.Tensor(de.ones(2).double()).dtype == np.float64


def test_numbers_with_alpha_keep_the_dtype_bytes_are_masks_and_tile_fills_up():
    x = de.arange(6.0).view(2, 3)
    assert x.add(1, alpha=2).dtype == de.add(x, 1, alpha=2).dtype == de.sub(x, 1, alpha=0.5).dtype == np.float32 and x.add(1, alpha=2)[0].tolist() == [2, 3, 4]
    assert x[de.tensor([0, 1], dtype=de.uint8)].tolist() == [[3, 4, 5]]
    assert x.tile(2).tolist() == np.tile(x.numpy(), 2).tolist() and de.tile(x, (2, 1, 1)).shape == (2, 2, 3)


def test_a_product_is_derived_twice_after_a_derivative_of_numpy_code():
    x = de.tensor([1.0, 2.0, 3.0], requires_grad=True)
    de.grad(np.sin)(1.0)
    for f in (de.prod, lambda x: x.cumprod(0)[-1]):
        g, = de.autograd.grad(f(x), x, create_graph=True)
        assert g.tolist() == [6, 3, 2]
        assert de.autograd.grad(g[0], x)[0].tolist() == [0, 3, 2]
