"""Memory of tensors: shared with NumPy, and not growing."""
import gc

import numpy as np
import pytest

import diffeng as de
from diffeng import tensors as T
from diffeng.tensor_engine import entries, tape
from test_tensors import SGD, carried_out, forward, from_the_beginning, network, step          # noqa: F401


# ---- memory shared with NumPy ------------------------------------------------------------------------------------------------------------------------

def test_from_numpy_shares_and_is_read_when_the_operation_is_written():
    a = np.ones(3, np.float32)
    t = de.from_numpy(a)
    for k in range(5):
        a[0] = k
        y = t * 2 + 1 - t.sum() * 0 + t * 0
        a[0] = 100
        assert y.tolist() == [2 * k + 1, 3, 3]
    t[1] = 7
    assert a[1] == 7
    t.mul_(2)
    assert a[1] == 14 and np.shares_memory(t.numpy(), a)


def test_an_array_that_is_gone_is_no_hindrance(carried_out):
    w, x, y = network()
    for turn in range(8):
        step(w, x, y)
        sum(p.detach().numpy().sum() for p in w)
        if turn == 4:
            carried_out.clear()
    assert set(carried_out) <= {"detach"}


def test_what_numpy_writes_is_seen_by_the_next_operation_and_not_by_the_last():
    t, w = de.ones(3), de.ones(3, requires_grad=True)
    held = np.ones(3, np.float32)
    s = de.from_numpy(held)
    for turn in range(6):
        t = t * 0 + 1
        y = t * 2 + w.detach() * 0 + 1 - 1
        a = t.numpy()
        a[0] = 5
        z = t * 2 + y * 0 + 1 - 1
        assert y.tolist() == [2, 2, 2] and z.tolist() == [10, 2, 2]
        held[:] = 1
        y = s * 2 + 1 - 1
        held[0] = 5
        z = s * 2 + y * 0
        assert y.tolist() == [2, 2, 2] and z.tolist() == [10, 2, 2]
        y = (w * t.sum() * 2).detach()
        y.numpy()[0] = 0
        assert y.sum().item() == 28


def test_a_loss_given_to_numpy_is_still_differentiated_by_a_program(carried_out):
    w, x, y = network()
    for turn in range(8):
        if turn == 4:
            carried_out.clear()
        for p in w:
            p.grad = None
        loss = ((forward(w, x) - y) ** 2).mean()
        loss.detach().numpy()
        loss.backward()
        T.update(SGD, w, (*[p.grad for p in w], 0.1))
    assert set(carried_out) <= {"detach"}


def test_numpy_gives_the_memory_itself():
    for _ in range(4):
        t = de.ones(3) * 2 + 1 - 0.5 + 0.5
        a = t.numpy()
        a[0] = 5
        assert t.tolist() == [5, 3, 3]
        t[1] = 6
        assert a.tolist() == [5, 6, 3]
        v = t[1:]
        v += 1
        assert a.tolist() == [5, 7, 4]


def test_parameters_seen_from_outside_change_with_every_step():
    w, x, y = network()
    seen = w[0].detach().numpy()
    for _ in range(5):
        before = seen.copy()
        step(w, x, y)
        assert not np.array_equal(before, seen)
        assert np.array_equal(seen, w[0].detach().numpy())


def test_tensor_copies():
    a = np.ones(3)
    t = de.tensor(a)
    a[0] = 5
    assert t.tolist() == [1, 1, 1] and t.dtype == de.float64


def test_views_share_and_copies_do_not():
    for _ in range(4):
        t = de.zeros(2, 3)
        v, f, c = t.view(6), t[1], t.T.reshape(6)
        v[0] = 1
        f[1] = 2
        t.T[2, 0] = 3
        assert t.tolist() == [[1, 0, 3], [0, 2, 0]] and v.tolist() == [1, 0, 3, 0, 2, 0] and c.tolist() == [0] * 6


def test_detach_shares_memory_and_keeps_no_history():
    w = de.ones(1000, requires_grad=True)
    y = w * 2
    d = y.detach()
    d[0] = 5
    assert y.tolist()[0] == 5
    node = __import__("weakref").ref(y._node)
    del y
    gc.collect()
    assert node() is None and d.tolist()[0] == 5


VIEWS = {"row": lambda t: t[0], "flat": lambda t: t.view(-1)[:2], "row of a transpose": lambda t: t.t()[:, 0], "step": lambda t: t[::2][0]}


@pytest.mark.parametrize("name", VIEWS)
@pytest.mark.parametrize("computed", [False, True])
def test_a_write_beside_the_history_goes_through_a_view(name, computed):
    for _ in range(3):
        w = de.ones(3, 2, requires_grad=True)
        t = w * 2 if computed else w
        one = t.tolist()[1]
        VIEWS[name](t).data.fill_(5.0)
        assert t.tolist() == [[5, 5], one, one]
        VIEWS[name](t).detach().mul_(2.0)
        VIEWS[name](t.detach())[0] -= 3.0
        held = VIEWS[name](t)
        held.data[1:].mul_(-1.0)
        assert t.tolist() == [[7, -10], one, one] and held.tolist() == [7, -10] and held.requires_grad
        (held.sum() + t.sum()).backward()
        np.testing.assert_array_equal(w.grad.numpy(), np.array([[2, 2], [1, 1], [1, 1]]) * (1 + computed))


def test_a_write_beside_the_history_of_a_result_leaves_that_of_its_views():
    b = de.ones(2, requires_grad=True)
    t = b * 3
    v, d = t.view(2, 1), t.detach()
    t.data.mul_(-0.5)
    with de.no_grad():
        v += 1
    assert t.tolist() == [-0.5, -0.5] == d.tolist()
    del t
    (v.sum() * 2).backward()
    assert b.grad.tolist() == [6, 6]


def test_what_was_detached_shares_memory_when_the_result_is_gone():
    b = de.ones(2, 2, requires_grad=True)
    t = b * 3
    c, d, row = t.detach(), t.detach(), t[1].detach()
    del t
    d.fill_(7.0)
    row[0] = 1.0
    assert c.tolist() == [[7, 7], [1, 7]] == d.tolist() and row.tolist() == [1, 7]


@pytest.mark.parametrize("leaf", [False, True])
def test_what_is_detached_has_the_history_of_what_is_added_to_it(leaf):
    for _ in range(3):
        a, b = de.ones(2, requires_grad=leaf), de.ones(2, requires_grad=True)
        t = a.detach()
        u, s = t.detach(), t[:1]
        t += b * 2.0
        assert t.requires_grad and s.requires_grad and not u.requires_grad and a.requires_grad is leaf and a.is_leaf
        assert a.tolist() == u.tolist() == [3, 3] and s.tolist() == [3]
        (t.sum() + s.sum() + a.sum() * 0.5).backward()
        assert b.grad.tolist() == [4, 2] and (not leaf or a.grad.tolist() == [0.5, 0.5])


def test_a_write_into_what_was_detached_of_memory_that_numpy_sees():
    a = de.ones(2, 2, requires_grad=True)
    seen = a.detach().numpy()
    for k in range(3):
        row = a.detach()[1]
        row[0] += 2.0
        assert seen[1, 0] == a.tolist()[1][0] == 3 + 2 * k


def test_detach_right_after_an_update_that_began_a_run():
    entries.local.run = entries.Run(entries.local.root())
    for x in (de.ones(3), de.ones(3)):                       # the second run begins where the first has noted detach()
        x.detach().tolist()
    run = tape.end(entries.local.run)
    run.stepped = True
    assert de.ones(2, 2).detach().tolist() == [[1, 1], [1, 1]]


# ---- memory does not grow ---------------------------------------------------------------------------------------------------------------------------------

def growth(turn, before=300, turns=600):
    for _ in range(before):
        turn()
    gc.collect()
    first = len(gc.get_objects())
    for _ in range(turns):
        turn()
    gc.collect()
    return len(gc.get_objects()) - first


def test_steps_leave_nothing_behind():
    w, x, y = network()
    assert growth(lambda: step(w, x, y)) < 50
    assert growth(lambda: step(w, x, y).item()) < 50


def test_a_loop_that_never_looks_does_not_grow():
    held = [de.ones(10)]

    def turn():
        held[0] = held[0] * 0.5 + 1
    assert growth(turn, before=1000, turns=2000) < 2500          # no more than one run has
    assert len(entries.local.run.results) <= 1000
    np.testing.assert_allclose(held[0].tolist(), 2.0, rtol=1e-6)


def test_shapes_that_never_come_again_do_not_grow():
    def turn(n=iter(range(1, 10 ** 6))):
        (de.ones(next(n)) * 2 + 1).sum().item()
    assert growth(turn) < 3000


def test_the_first_momentum_is_not_the_memory_of_a_gradient_that_numpy_sees():
    w = de.tensor([1.0, 2.0], requires_grad=True)
    opt = de.optim.SGD([w], lr=1.0, momentum=0.5)
    for _ in range(4):
        opt.zero_grad(set_to_none=False)
        (w * w).sum().backward()
        w.grad.numpy()
        opt.step()
    assert w.tolist() == [-0.25, -0.5]


def test_memory_given_to_numpy_later_is_no_other_tensors():
    w = de.tensor([1.0, 2.0], requires_grad=True)
    opt = de.optim.SGD([w], lr=1.0, momentum=0.5)
    (w * 3).sum().backward()
    opt.step()
    w.detach().sum().item()
    (de.tensor([1.0]) * 2).sum().item()                             # another run of the tape
    w.grad.numpy()[:] = 100.0
    assert opt.state[w]["momentum_buffer"].tolist() == [3.0, 3.0]


def test_data_that_are_replaced_stay_with_those_who_shared_them():
    for _ in range(3):
        w = de.tensor([1.0, 2.0], requires_grad=True)
        old, part, seen = w.detach(), w.data[:1], w.detach().numpy()
        w.data = w.data * 3
        part.add_(5)
        assert old.tolist() == [6.0, 2.0] == seen.tolist() and w.tolist() == [3.0, 6.0]
        rows = de.tensor([[1.0, 2.0], [3.0, 4.0]])
        row = rows[0]
        row.data = row * 2
        row += 1
        rows += 10
        assert row.tolist() == [3.0, 5.0] and rows.tolist() == [[11.0, 12.0], [13.0, 14.0]]


@pytest.mark.parametrize("between", [lambda w: None, lambda w: (w * 2).sum().backward()])
def test_arrays_taken_again_and_again_share_the_memory_of_a_weight(between):
    """The array of the step before is still there when the next is taken, and a program may have made the view in between."""
    w = de.tensor([1.0, 2.0, 3.0], requires_grad=True)
    for k in range(8):
        between(w)
        array = w.detach().numpy()
        array += 1.0
        assert w.tolist() == array.tolist() == [2.0 + k, 3.0 + k, 4.0 + k]
