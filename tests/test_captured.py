"""What jit sees of the objects a function reads: every change is followed or noticed, no answer is stale, and nothing of the user's is touched."""
import copy
import dataclasses
import enum
import functools
import logging
import threading
import time
import types
from collections import namedtuple
from typing import NamedTuple

import numpy as np
import pytest

import diffeng as de
from diffeng.captured import Captured

X = np.array([0.5, -1.0, 2.0])
HELPERS = types.SimpleNamespace(factor=2.0, w=np.ones(3))


class Layer:
    offset = 1.0                                   # of the class

    def __init__(self, seed=0, gain=2.0):
        self.w, self.gain, self.unread = np.random.default_rng(seed).normal(size=3), gain, 0

    def __call__(self, x):
        return np.tanh(self.w * x) * self.gain + self.offset


class Model:
    def __init__(self):
        self.first, self.layers, self.named = Layer(1), [Layer(2), Layer(3)], {"out": np.full(3, 0.5), "scale": 3.0}
        self.steps = 0

    @property
    def scale(self):
        return self.named["scale"] * 2

    def loss(self, x):
        x = self.first(x)
        for layer in self.layers:
            x = layer(x)
        return np.sum(x * self.named["out"]) * self.scale


def follows(jitted, plain, *args):
    """The same answer as the plain function; returns how many recordings there are."""
    np.testing.assert_allclose(jitted(*args), plain(*args), rtol=1e-13)
    return jitted.traces


CHANGES = [                                                         # (what happens to the model, does it need another recording?)
    (lambda m: m.first.w.__setitem__(0, 9.0), False), (lambda m: setattr(m.first, "w", np.arange(3.0)), False),
    (lambda m: setattr(m, "first", Layer(7)), False), (lambda m: m.named.update(out=np.ones(3)), False), (lambda m: m.layers.__setitem__(1, Layer(5)), False),
    (lambda m: setattr(m, "steps", m.steps + 1), False), (lambda m: setattr(m.first, "unread", 4), False),                # nothing of it is read
    (lambda m: m.layers[0].w.__imul__(2), False), (lambda m: setattr(m.first, "gain", -1.0), True), (lambda m: setattr(m.first, "gain", 2), True),
    (lambda m: m.named.update(scale=0.5), True), (lambda m: m.layers.append(Layer(6)), True), (lambda m: m.layers.reverse(), False),
    (lambda m: m.layers.__setitem__(0, m.layers[1]), False), (lambda m: setattr(m.first, "offset", 4.0), True),            # hides that of the class
    (lambda m: setattr(m, "first", lambda x: x * 2), True), (lambda m: setattr(m.layers[0], "w", np.float64(2.0)), True),
    (lambda m: setattr(m.layers[0], "w", 2.0), True), (lambda m: setattr(m, "named", types.MappingProxyType({"out": 2.0, "scale": 1.0})), True),
]


@pytest.mark.parametrize("jitted_of", [
    lambda m: de.jit(m.loss), lambda m: de.jit(lambda x: m.loss(x)), lambda m: de.jit(functools.partial(Model.loss, m)),
    lambda m: de.jit(lambda x, m=m: m.loss(x)), lambda m: functools.partial(_of_argument, de.jit(lambda m, x: m.loss(x)), m),
], ids=["bound method", "closure", "partial", "default", "argument"])
def test_changes_of_a_model_are_followed(jitted_of):
    m = Model()
    jitted = jitted_of(m)
    before = jitted(X)
    for change, again in CHANGES:
        known = _traces(jitted)
        change(m)
        now = jitted(X)
        np.testing.assert_allclose(now, m.loss(X), rtol=1e-13)
        assert _traces(jitted) - known == again, change.__code__.co_firstlineno
    assert not np.isclose(before, now) and type(m.layers[2].w) is np.ndarray


def _of_argument(jitted, m, x):
    return jitted(m, x)


def _traces(jitted):
    return (jitted.args[0] if isinstance(jitted, functools.partial) else jitted).traces


def test_gradients_of_methods_and_callable_objects():
    layer = Layer()
    gradient, plain = de.jit(de.value_and_grad(lambda x: np.sum(layer(x)))), de.value_and_grad(lambda x: np.sum(layer(x)))
    jitted = de.jit(layer)
    for change in (lambda: None, lambda: layer.w.__setitem__(1, 3.0), lambda: setattr(layer, "gain", 5.0), lambda: setattr(layer, "w", np.ones(3))):
        change()
        for mine, right in zip(gradient(X), plain(X)):
            np.testing.assert_allclose(mine, right, rtol=1e-13)
        follows(jitted, layer, X)
    assert gradient.traces == jitted.traces == 2


def test_a_training_loop_records_once():
    m = Model()
    loss = de.jit(m.loss)
    for k in range(70):                             # more than jit's limit of recordings
        m.first.w = m.first.w - 0.01
        m.named["out"] -= 0.01
        follows(loss, m.loss, X)
    assert loss.traces == 1


@dataclasses.dataclass(frozen=True)
class Frozen:
    w: np.ndarray
    k: int = 2

    def apply(self, x):
        return np.sum(self.w * x) * self.k


class Slotted:
    __slots__ = ("w", "k", "late")

    def __init__(self):
        self.w, self.k = np.ones(3), 2.0

    def apply(self, x):
        late = self.late if hasattr(self, "late") else 0.0
        return np.sum(self.w * x) * self.k + late


class Pair(NamedTuple):
    w: np.ndarray
    k: float

    def apply(self, x):
        return np.sum(self.w * x) * self.k


class Lists(list):
    def apply(self, x):
        return np.sum(self[0] * x) * self.k * len(self)


class Computed:
    def __init__(self):
        self.held = {"w": np.ones(3)}

    def __getattr__(self, name):
        try:
            return self.__dict__["held"][name]
        except KeyError:
            raise AttributeError(name) from None

    def apply(self, x):
        return np.sum(self.w * x) * getattr(self, "k", 2.0)


def test_kinds_of_objects():
    slotted, computed, lists, space = Slotted(), Computed(), Lists([np.ones(3)]), types.SimpleNamespace(w=np.ones(3), k=2.0)
    lists.k = 2.0
    frozen, pair = Frozen(np.ones(3)), Pair(np.ones(3), 2.0)

    def of_space(x):
        return np.sum(space.w * x) * space.k
    f, p = de.jit(lambda x: frozen.apply(x)), de.jit(lambda x: pair.apply(x))
    for plain, jitted, changes, recordings in (
            (slotted.apply, de.jit(slotted.apply), [lambda: slotted.w.fill(2), lambda: setattr(slotted, "w", X), lambda: setattr(slotted, "k", 3.0),
                                                    lambda: setattr(slotted, "late", 5.0), lambda: delattr(slotted, "late")], 3),
            (computed.apply, de.jit(computed.apply), [lambda: computed.held["w"].fill(3), lambda: computed.held.update(w=X), lambda: setattr(computed, "k", 1.0)], 2),
            (lists.apply, de.jit(lists.apply), [lambda: lists[0].fill(3), lambda: lists.__setitem__(0, X), lambda: setattr(lists, "k", 1.0), lambda: lists.append(0)], 5),
            (of_space, de.jit(of_space), [lambda: space.w.fill(3), lambda: setattr(space, "w", X), lambda: setattr(space, "k", 1.0)], 2)):
        follows(jitted, plain, X)
        for change in changes:
            change()
            count = follows(jitted, plain, X)
        assert count == recordings, plain
    for other in (Frozen(X), dataclasses.replace(frozen, w=X * 2), Frozen(X, 3)):
        frozen = other
        follows(f, other.apply, X)
    for other in (pair._replace(w=X), pair._replace(k=3.0)):
        pair = other
        follows(p, other.apply, X)
    assert f.traces == p.traces == 2


def test_objects_as_arguments_and_decorated_methods():
    class Scale:
        def __init__(self, w, k):
            self.w, self.k = w, k

        @de.jit
        def apply(self, x, how=np.sum):
            return how(self.w * x) * self.k

    a, b = Scale(np.ones(3), 2.0), Scale(X, 2.0)
    plain = Scale.apply.__wrapped__
    for s in (a, b, a):
        follows(Scale.apply, plain, s, X)
    assert Scale.apply.traces == 1
    b.k = 3.0
    assert a.apply(X) == plain(a, X) and b.apply(X) == pytest.approx(plain(b, X))
    assert b.apply(X, np.max) == plain(b, X, np.max) and b.apply(X, np.sum) == pytest.approx(plain(b, X))


class Mode(enum.Enum):
    A, B = 1, 2


class Colour:
    pass


Colour.RED, Colour.BLUE = Colour(), Colour()


def test_who_an_object_is_stays_as_it_is():
    m = types.SimpleNamespace(mode=Mode.A, colour=Colour.RED, w=np.ones(3))

    def f(x):
        return np.sum(m.w * x) * (2 if m.mode is Mode.A else 3) * (5 if m.colour is Colour.RED else 7)
    jitted = de.jit(f)
    for mode in Mode:
        for colour in (Colour.RED, Colour.BLUE):
            m.mode, m.colour = mode, colour
            follows(jitted, f, X)
    tied = types.SimpleNamespace(a=np.ones(3))
    tied.b = tied.a

    def g(x):
        return np.sum(tied.a * x) if tied.a is tied.b else np.sum(tied.b * x) * 2
    jitted = de.jit(g)
    follows(jitted, g, X)
    tied.b = X
    follows(jitted, g, X)


def act(x):
    return np.sin(x)


def test_functions_modules_containers_and_caches():
    module = types.ModuleType("configuration")
    module.__file__, module.scale, module.table = __file__, 2.0, np.ones(3)
    weights, mixed, chosen, many = [np.ones(3), {"b": np.zeros(3)}], [1, (2.0, np.float32(3))], [act], [1.0] * 20_000
    looked_up, product = {"k": 2.0}.get, np.ones((3, 3))
    dot, cached = product.dot, functools.lru_cache(lambda k: k * HELPERS.factor)

    def f(x, *, bias=np.zeros(3)):
        return np.sum((module.table * x + weights[0] + weights[1]["b"] + bias) * chosen[0](x)) * module.scale * mixed[1][1] * many[-1] * looked_up("k")

    def g(x):
        return np.sum(x * dot(np.ones(3))) + np.sum(HELPERS.w * x) * (3 if cached is None else 1)
    jitted, other = de.jit(f), de.jit(g)
    for change, new in ((lambda: None, 1), (lambda: setattr(module, "table", X), 0), (lambda: setattr(module, "scale", 3.0), 1), (lambda: weights[1]["b"].fill(2), 0),
                        (lambda: weights.__setitem__(0, X), 0), (lambda: f.__kwdefaults__["bias"].fill(1), 0), (lambda: f.__kwdefaults__.update(bias=X), 0),
                        (lambda: mixed.__setitem__(1, (2.0, np.float32(4))), 1), (lambda: chosen.__setitem__(0, np.cos), 1), (lambda: many.__setitem__(-1, 2.0), 1),
                        (lambda: looked_up.__self__.update(k=9.0), 1)):
        known = jitted.traces
        change()
        assert follows(jitted, f, X) == known + new
    for change in (lambda: None, lambda: product.fill(2), lambda: HELPERS.w.fill(3), lambda: setattr(HELPERS, "w", X)):
        change()
        follows(other, g, X)


def test_jit_within_jit_follows_too():
    layer = Layer()
    inner = de.jit(lambda x: np.sum(layer(x)))
    outer = de.jit(de.grad(inner))
    for change in (lambda: None, lambda: layer.w.fill(2), lambda: setattr(layer, "gain", 3.0)):
        change()
        np.testing.assert_allclose(outer(X), de.grad(lambda x: np.sum(layer(x)))(X), rtol=1e-13)
    np.testing.assert_allclose(de.grad(lambda a: de.jit(lambda b: b * a)(3.0) * a)(2.0), 12.0)               # closes over a traced value


class Counts:
    def __init__(self):
        self.n, self.w, self.log, self.last = 0, np.ones(3), [], None

    def counted(self, x):
        self.n += 1
        return np.sum(x * self.w) * self.n

    def kept(self, x):
        self.last = np.sum(x * self.w)
        return self.last

    def logged(self, x):
        self.log.append(np.sum(self.w))
        return np.sum(x * self.w)

    def updated(self, x):
        self.w -= 0.1 * x
        return np.sum(self.w)

    def new(self, x):
        self.fresh = 3
        return x * 2

    @functools.cached_property
    def norm(self):
        return np.sqrt(np.sum(self.w ** 2))

    def cached(self, x):
        return x / self.norm


@pytest.mark.parametrize("method,what", [("counted", "attribute 'n' of a Counts"), ("kept", "attribute 'last'"), ("logged", "a variable that it captured"),
                                         ("updated", "a captured array"), ("new", "attribute 'fresh'")])
def test_what_a_call_would_change_is_refused(method, what):
    m = Counts()
    with pytest.raises(RuntimeError, match=what + ".*while it runs.*Return the new value"):
        de.jit(getattr(m, method))(X)
    assert m.n == 0 and m.last is None and m.w.tolist() == [1, 1, 1] or method == "new"


def test_variables_that_a_call_would_change_are_refused():
    n, w = 0, np.ones(3)

    def counted(x):
        nonlocal n
        n += 1
        return x * n

    def with_array(x):
        nonlocal n
        n += 1
        return x * n * w
    for f in (counted, with_array):
        with pytest.raises(RuntimeError, match="while it runs"):
            de.jit(f)(X)
    m = Counts()
    follows(de.jit(m.cached), Counts().cached, X)
    assert "norm" not in vars(m)


class Held:
    """One no copy of which can stand for it."""

    ended = []

    def __init__(self):
        self.w, self.k = np.ones(3), 2.0

    def __del__(self):
        Held.ended.append(self)

    def apply(self, x):
        return np.sum(self.w * x) * self.k + np.sum(HELPERS.w)


def test_what_cannot_be_copied_is_compared():
    h = Held()
    jitted = de.jit(h.apply)
    for change in (lambda: None, lambda: h.w.fill(2), lambda: setattr(h, "w", X), lambda: setattr(h, "k", 3.0), lambda: HELPERS.w.__imul__(2),
                   lambda: setattr(Layer, "offset", 2.0)):
        change()
        follows(jitted, h.apply, X)
    assert not Held.ended
    layer = Layer()
    jitted = de.jit(layer)
    for value in (1.0, 5.0):
        Layer.offset = value
        follows(jitted, layer, X)


def test_cycles_and_reflection():
    a = types.SimpleNamespace(w=np.ones(3))
    a.me, a.pair = a, (a, [a])

    def f(x):
        return np.sum(a.me.pair[1][0].w * x) + np.sum(vars(a)["w"]) + sum(np.sum(v) for k, v in sorted(vars(a).items()) if k.startswith("extra"))
    jitted = de.jit(f)
    for change in (lambda: None, lambda: a.w.fill(2), lambda: setattr(a, "w", X), lambda: setattr(a, "extra1", np.ones(2)), lambda: a.extra1.fill(4)):
        change()
        follows(jitted, f, X)
    b = Layer()

    def g(x):
        return np.sum(copy.copy(b)(x))
    jitted = de.jit(g)
    for change in (lambda: None, lambda: b.w.fill(2), lambda: setattr(b, "gain", 7.0)):
        change()
        follows(jitted, g, X)
    assert namedtuple("P", "w")(1).w == 1


def test_a_plain_function_is_not_watched():
    f = de.jit(de.value_and_grad(lambda x: (1.0 - x[0]) ** 2 + 100.0 * (x[1] - x[0] ** 2) ** 2))
    for _ in range(2):
        f(np.array([-1.2, 1.0]))
    assert not f._last.captured.watches


def test_objects_of_other_packages_are_not_followed_into_these_and_may_fill_their_caches():
    import networkx
    graph = networkx.path_graph(3)
    log = logging.getLogger(__name__)

    def f(x):
        log.debug("a call")
        return sum([(x[u] - x[v]) ** 2 for u, v in graph.edges])
    jitted = de.jit(f)
    began = time.perf_counter()
    assert jitted(X) == pytest.approx(f(X))
    assert time.perf_counter() - began < 5                       # all of networkx and what it leads to took 15 s
    assert jitted(X + 1) == pytest.approx(f(X + 1)) and jitted.traces == 1
    graph.add_edge(0, 2)
    assert jitted(X) == pytest.approx(f(X))


def test_a_cache_is_filled_once():
    kept = {}

    def weights(n):
        if n not in kept:
            kept[n] = np.arange(n) * 1.0
        return kept[n]
    jitted = de.jit(lambda x: np.sum(x * weights(3)))
    assert jitted(X) == pytest.approx(X @ [0, 1, 2])


def test_a_module_without_a_file_is_the_users():
    settings = types.ModuleType("settings")
    settings.factor = 2.0
    jitted = de.jit(lambda x: x * settings.factor)
    assert jitted(X) == pytest.approx(2 * X)
    settings.factor = 3.0
    assert jitted(X) == pytest.approx(3 * X)


def test_arrays_among_the_named_arguments_of_a_partial_are_read():
    w, scales = np.ones(3), {"deep": [np.ones(3)]}
    jitted = de.jit(de.grad(functools.partial(lambda x, n, w, scales: np.sum(x**n * w * scales["deep"][0]), n=2, w=w, scales=scales)))
    assert jitted(X) == pytest.approx(2 * X)
    w *= 4
    assert jitted(X) == pytest.approx(8 * X)
    scales["deep"][0] = np.full(3, 0.5)
    assert jitted(X) == pytest.approx(4 * X)


def test_a_mask_that_is_written_into():
    mask, x = np.array([True, False, True]), np.array([1.0, 2.0, 3.0])
    captured, given = de.jit(de.grad(lambda x: np.sum(x[mask] ** 2))), de.jit(de.grad(lambda x, m: np.sum(x[m] ** 2)))
    for kept in ([True, False, True], [False, True, False], [False, False, False], [True, False, True]):
        mask[:] = kept
        assert np.array_equal(captured(x), np.where(kept, 2 * x, 0)) and np.array_equal(given(x, mask), np.where(kept, 2 * x, 0))


def test_who_waits_at_an_event_changes_no_function():
    ready = threading.Event()

    def f(x):
        waiting = len(ready._cond._waiters)
        threading.Thread(target=ready.wait, daemon=True).start()
        while len(ready._cond._waiters) == waiting:
            time.sleep(0.001)
        return x if ready.is_set() else np.sin(x)
    try:
        np.testing.assert_array_equal(de.jit(f)(np.ones(2)), np.sin(np.ones(2)))
    finally:
        ready.set()


def test_what_another_thread_changes_before_the_recording_begins_is_named():
    held, recorded = [1.0], de.jit(lambda x: x * held[0])
    was = Captured.read
    try:
        Captured.read = lambda self, objects=(): (held.append(2.0), was(self, objects))[1]
        with pytest.raises(RuntimeError, match="changes a variable that it captured"):
            recorded(np.ones(2))
    finally:
        Captured.read = was
    np.testing.assert_array_equal(recorded(np.ones(2)), np.ones(2))


def test_an_array_that_a_derivative_has_left_in_an_attribute():
    """Somebody's layer keeps what it computed last: values of a derivative that has ended, which the next call writes anew."""
    class Layer:
        def loss(self, x):
            self.states = np.zeros((3, 2))
            for t in range(3):
                self.states[t] = x * t + self.states[t - 1]
            return np.sum(self.states ** 2)
    layer, x = Layer(), np.array([1.0, 2.0])
    wanted = de.value_and_grad(layer.loss)(x)
    for _ in range(2):
        value, gradient = de.jit(de.value_and_grad(layer.loss))(x)
        assert value == wanted[0] and gradient.tolist() == wanted[1].tolist()
