"""One step of training against the same written out in float64, and what may not change it: passes added up, recomputation, the place in memory."""
import dataclasses
import math

import numpy as np
import pytest

import diffeng as de
from diffeng import kernels
from diffeng.kernels import machine
from diffeng.llm import GPT2Config, gpt2, init_parameters, loss
from diffeng.llm.step import TrainingSettings, dropping, new_state, training_loss, training_step

CONFIG = GPT2Config(vocab_size=13, context_length=8, emb_dim=16, n_heads=4, n_layers=2, drop_rate=0.0)
SETTINGS = TrainingSettings(batch=3, steps=20, warmup=3, learning_rate=1e-2)


def passes(count, batch=3, first=0):
    draws = np.random.default_rng(first)
    return [(*draws.integers(0, 13, (2, batch, 8)), first + k) for k in range(count)]


def started(config=CONFIG, dtype=np.float32):
    random = np.random.default_rng(1)
    return new_state({k: (v + 0.1 * random.standard_normal(v.shape)).astype(dtype) for k, v in init_parameters(config).items()})


def by_hand(state, some, step, settings):
    """The step, entry by entry in float64."""
    state = {part: {k: x.astype(float) for k, x in d.items()} for part, d in state.items()}
    found = [de.value_and_grad(lambda p: loss(p, tokens, targets, CONFIG))(state["parameters"]) for tokens, targets, _ in some]
    value = np.mean([v for v, _ in found])
    g = {k: np.mean([x[k] for _, x in found], axis=0) for k in state["parameters"]}
    norm = math.sqrt(sum((x * x).sum() for x in g.values()))
    factor = min(1.0, settings.clip / (norm + 1e-6)) if settings.clip else 1.0
    rate = settings.rate(step)
    for k, p in state["parameters"].items():
        m, v = state["first"][k], state["second"][k]
        m[...] = settings.beta1 * m + (1 - settings.beta1) * g[k] * factor
        v[...] = settings.beta2 * v + (1 - settings.beta2) * (g[k] * factor) ** 2
        if p.ndim == 2:
            p *= 1 - rate * settings.decay
        p -= rate * (m / (1 - settings.beta1 ** step)) / (np.sqrt(v / (1 - settings.beta2 ** step)) + settings.epsilon)
    return state, value, norm


@pytest.mark.parametrize("count, changes", [(1, {}), (3, {}), (1, dict(clip=0.0)), (2, dict(clip=0.05, decay=0.5))])
def test_steps_are_those_written_out(count, changes):
    settings = dataclasses.replace(SETTINGS, accumulate=count, **changes)
    step, state = training_step(CONFIG, settings), started()
    want = state
    for k in range(1, 5):
        some = passes(count, first=10 * k)
        want, value, norm = by_hand(want, some, k, settings)
        state, got, length = step(state, some, settings.numbers(k))
        assert got.dtype == np.float32 and abs(got - value) < 3e-6 and abs(length - norm) < 3e-5 * norm
        for part, tolerance in (("parameters", 2e-4), ("first", 1e-6), ("second", 1e-7)):
            for name, x in want[part].items():
                assert state[part][name].dtype == np.float32
                if part != "parameters" or not name.endswith("c_attn.bias"):          # the keys' gradient is rounding, and its moments' quotient any number
                    np.testing.assert_allclose(state[part][name], x, rtol=2e-3, atol=tolerance, err_msg=f"{part} {name}")


def test_a_step_writes_over_the_old_state():
    step, state = training_step(CONFIG, SETTINGS), started()
    first = state["parameters"]["h.0.mlp.c_fc.weight"]
    before = first.copy()
    new, *_ = step(state, passes(1), SETTINGS.numbers(1))
    assert all(new[part][k] is state[part][k] for part in state for k in state[part])
    assert new["parameters"]["h.0.mlp.c_fc.weight"] is first and not np.array_equal(first, before)


def test_passes_added_up_are_one_larger_batch():
    some = passes(2)
    together = [(np.concatenate([a[0] for a in some]), np.concatenate([a[1] for a in some]), 0)]
    one, first, length = training_step(CONFIG, dataclasses.replace(SETTINGS, accumulate=2))(started(), some, SETTINGS.numbers(1))
    two, second, other = training_step(CONFIG, SETTINGS)(started(), together, SETTINGS.numbers(1))
    assert abs(first - second) < 1e-6 and abs(length - other) < 1e-5
    for k, x in two["first"].items():
        np.testing.assert_allclose(one["first"][k], x, rtol=1e-4, atol=1e-8)


def test_recomputing_changes_nothing_but_the_memory():
    config = dataclasses.replace(CONFIG, drop_rate=0.2)
    states = []
    for recompute in (False, True):
        settings = dataclasses.replace(SETTINGS, recompute=recompute)
        state, *_ = training_step(config, settings)(started(config), passes(1), settings.numbers(1))
        states.append(state)
    for k, x in states[0]["first"].items():
        np.testing.assert_allclose(states[1]["first"][k], x, rtol=1e-5, atol=1e-8)


def test_equal_layers_are_compiled_once(monkeypatch):
    """What is new in six layers is what all of them go into: the clipping of gradients, say."""
    monkeypatch.setenv("DIFFENG_CACHE", "off")
    monkeypatch.setattr(machine, "_kernels", {})
    made = []
    for n_layers in (3, 6):
        config = dataclasses.replace(CONFIG, n_layers=n_layers, emb_dim=24)
        before = kernels.compilations
        training_step(config, SETTINGS)(new_state(init_parameters(config, 0, np.float32)), passes(1), SETTINGS.numbers(1))
        made.append(kernels.compilations - before)
    assert made[1] < made[0] / 4, made


# ---- dropout ----------------------------------------------------------------------------------------------------------------------------------

def test_masks_are_functions_of_seed_pass_and_place():
    x = np.ones((50, 40), np.float32)

    def drawn(key, draw, count=2, rate=0.25):
        drop = dropping(rate, key, draw)
        return [drop(x) for _ in range(count)]

    first, second = drawn(1, 5)
    assert first.dtype == np.float32 and set(np.unique(first)) == {np.float32(0), np.float32(1 / 0.75)} and abs((first == 0).mean() - 0.25) < 0.03
    assert np.array_equal(drawn(1, 5)[0], first) and not np.array_equal(first, second)
    for other in (drawn(2, 5)[0], drawn(1, 6)[0]):
        assert not np.array_equal(other, first)
    assert dropping(0.0, 1, 5)(x) is x


def test_everything_that_gpt2_drops_is_dropped_and_nothing_in_use():
    config = dataclasses.replace(CONFIG, drop_rate=0.5)
    p, (tokens, targets, _) = started()["parameters"], passes(1)[0]
    seen = []
    gpt2(p, tokens, config, drop=lambda x: seen.append(x.shape) or x)
    assert seen == [(3, 8, 16)] + 2 * [(3, 4, 8, 8), (3, 8, 16), (3, 8, 16)]          # the embedding; shares, attention, MLP of each block

    def at(draw, config=config):
        return training_loss(p, tokens, targets, draw, 0, config, SETTINGS)

    assert at(1) == at(1) != at(2)
    assert at(1, CONFIG) == at(2, CONFIG) == loss(p, tokens, targets, config)


def test_compiled_and_plain_drop_the_same():
    config = dataclasses.replace(CONFIG, drop_rate=0.3)
    p, (tokens, targets, _) = started(dtype=np.float64)["parameters"], passes(1)[0]

    def at(p, tokens, targets, draw, key):
        return training_loss(p, tokens, targets, draw, key, config, SETTINGS)
    args = p, tokens, targets, np.array(2 ** 40 + 3, np.uint64), np.array(9, np.uint64)
    assert abs(de.jit(at)(*args) - at(*args)) < 1e-12


# ---- settings ---------------------------------------------------------------------------------------------------------------------------------

def test_the_rate_rises_and_falls():
    settings = TrainingSettings(steps=200, warmup=20, learning_rate=2.0, least=0.25)
    rates = [settings.rate(k) for k in range(1, 201)]
    assert rates[0] == 0.1 and rates[19] == 2.0 and rates[-1] == 0.5 and rates[109] == pytest.approx(1.25)
    assert all(a < b for a, b in zip(rates[:19], rates[1:20])) and all(a > b for a, b in zip(rates[19:], rates[20:]))
    assert TrainingSettings(steps=5, warmup=0).rate(5) == pytest.approx(1e-4) and TrainingSettings(steps=5, warmup=5).rate(5) == 1e-3
    assert settings.rate(500) == 0.5


@pytest.mark.parametrize("wrong, kind, word", [
    (dict(batch=0), ValueError, "batch is 0"), (dict(steps=1.5), TypeError, "steps"), (dict(learning_rate=-1), ValueError, "learning_rate"),
    (dict(learning_rate=math.nan), ValueError, "learning_rate"), (dict(beta2=1.0), ValueError, "beta2"), (dict(least=2), ValueError, "least"),
    (dict(recompute=1), TypeError, "recompute"), (dict(seed=-1), ValueError, "seed"), (dict(clip="1"), TypeError, "clip"),
    (dict(batch=True), TypeError, "batch"),
])
def test_wrong_settings_say_which(wrong, kind, word):
    with pytest.raises(kind, match=word):
        TrainingSettings(**wrong)


def test_it_is_recorded_once(monkeypatch):
    from diffeng import compiled
    recorded, original = [], compiled._Trace.__init__
    monkeypatch.setattr(compiled._Trace, "__init__", lambda *args: recorded.append(args) or original(*args))
    for count in (1, 3):
        recorded.clear()
        settings = dataclasses.replace(SETTINGS, accumulate=count)
        step, state = training_step(CONFIG, settings), started()
        for k in range(1, 4):
            state, *_ = step(state, passes(count, first=k), settings.numbers(k))
        assert len(recorded) == (1 if count == 1 else 3)
