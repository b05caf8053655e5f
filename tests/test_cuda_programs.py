"""Programs for a GPU, in the simulator: training, what is given away, branches, what the host computes, and the errors of a machine without one."""
import warnings

import numpy as np
import pytest
from test_cuda import graph

import diffeng as de
from diffeng import cli, devices
from diffeng.kernels.cuda.program import CudaProgram
from diffeng.kernels.cuda.simulator import Simulator
from diffeng.llm import GPT2Config, init_parameters, train, weights
from diffeng.llm.step import TrainingSettings, new_state, training_step


def test_training_steps_of_gpt2_are_the_cpus(simulated):
    """Loss, gradients, accumulation, dropout, clipping, AdamW, with the state given away."""
    config = GPT2Config(vocab_size=17, context_length=8, emb_dim=16, n_heads=2, n_layers=2, drop_rate=0.1)
    settings = TrainingSettings(batch=2, accumulate=2)
    ends = []
    for device in ("cpu", "cuda"):
        random, state, run = np.random.default_rng(0), new_state(init_parameters(config, 0, np.float32)), training_step(config, settings, device=device)
        for k in range(2):
            passes = [(*random.integers(0, 17, (2, 2, 8)), 2 * k + j) for j in range(2)]
            state, loss, norm = run(state, passes, settings.numbers(k + 1))
        ends.append((state, loss, norm))
    (one, loss, norm), (other, its_loss, its_norm) = ends
    assert abs(loss - its_loss) < 1e-5 and abs(norm - its_norm) < 1e-5
    for part in one:
        for k in one[part]:
            np.testing.assert_allclose(other[part][k], one[part][k], rtol=0, atol=2e-7)


class There:
    """A number on a GPU, as CuPy has it: float() fetches it, and NumPy does not get it."""

    def __init__(self, x):
        self.x = x

    def __float__(self):
        return float(self.x)

    def __array__(self, *args, **kwargs):
        raise TypeError("implicit conversion to a NumPy array")


def numbers_stay(make):
    """What make() makes, but the numbers that it returns stay on the device."""
    def made(*given):
        run = make(*given)

        def ran(*args):
            out = run(*args)
            return (out[0], *map(There, out[1:])) if type(out) is tuple else There(out)
        return ran
    return made


def test_a_run_of_training(simulated, tmp_path, monkeypatch):
    """`diffeng train --device cuda`: what is kept on disk is what training on the CPU keeps, to rounding."""
    for name in ("training_step", "evaluation"):
        monkeypatch.setattr(train, name, numbers_stay(getattr(train, name)))
    text, ends = tmp_path / "text.txt", []
    text.write_text("the quick brown fox jumps over the lazy dog\n" * 20)
    for device in ("cpu", "cuda"):
        out = tmp_path / device
        given = "--config tiny --width 16 --heads 2 --context 8 --batch 2 --steps 2 --warmup 1".split()
        assert cli.main(["train", "--data", str(text), "--out", str(out), "--device", device, *given]) == 0
        ends.append(weights.load(out)[1])
    for k, x in ends[0].items():
        np.testing.assert_allclose(ends[1][k], x, rtol=0, atol=1e-6)


def test_training_without_a_gpu_writes_nothing(tmp_path, capsys):
    try:
        devices.program_maker("cuda")
    except RuntimeError:
        assert cli.main(["train", "--out", str(tmp_path / "run"), "--device", "cuda"]) == 2
        assert "leave device out" in capsys.readouterr().err and not (tmp_path / "run").exists()
    else:
        pytest.skip("there is a GPU")


def test_dropout_draws_the_same_mask(simulated):
    f = lambda x: de.random.dropout(x, 0.4, 7, 3)                        # noqa: E731
    x = np.ones((11, 13), np.float32)
    np.testing.assert_array_equal(de.jit(f, device="cuda")(x), de.jit(f)(x))
    assert 0 < np.count_nonzero(f(x)) < x.size


def test_what_the_host_copies_is_in_no_graph_of_launches(monkeypatch):
    """There are no kernels for float16: the host takes part in every call, which a captured stream does not allow."""
    captured = []
    monkeypatch.setattr(Simulator, "captured", lambda self, work: captured.append(work) or work)
    for dtype, graphs in ((np.float32, 1), (np.float16, 0)):
        inputs, outputs, arrays = graph(lambda x: x[::2], np.arange(6, dtype=dtype))
        made, given, out = CudaProgram(inputs, outputs, device=Simulator()), *[Simulator().array(a) for a in (arrays[0], np.zeros(3, dtype))]
        monkeypatch.setattr(made.device, "empty", lambda shape, dtype, out=out: out, raising=True)
        for _ in range(3):
            out[...] = 0
            assert made(given)[0].tolist() == [0, 2, 4]
        assert len(captured) == graphs
        captured.clear()


def test_donated_arguments(simulated):
    f = de.jit(lambda p, g: p - 0.5 * g, device="cuda", donate_argnums=0)
    np.testing.assert_array_equal(f(np.ones(50), np.ones(50)), np.full(50, 0.5))
    p = np.ones(50)
    np.testing.assert_array_equal(f(p, p), np.full(50, 0.5))


def test_branches_are_guarded(simulated):
    f = de.jit(lambda x: x * 2 if np.sum(x) > 0 else x * 3, device="cuda")
    assert f(np.ones(3))[0] == 2 and f(-np.ones(3))[0] == -3 and f(np.ones(3))[2] == 2


def test_what_has_no_kernel(simulated, monkeypatch):
    monkeypatch.setattr(Simulator, "distant", True)
    with pytest.warns(UserWarning, match="cumsum: computed on the host"):
        np.testing.assert_array_equal(de.jit(lambda x: np.cumsum(x) * 2, device="cuda")(np.arange(4.0)), [0, 2, 6, 12])
    with warnings.catch_warnings(), pytest.raises(NotImplementedError, match="cumsum: there is no kernel for the GPU; leave strict out"):
        de.jit(lambda x: np.cumsum(x) * 2, device="cuda", strict=True)(np.arange(4.0))


def test_without_a_gpu():
    """The error names what is missing and the cure."""
    try:
        from diffeng.kernels.cuda.device import device
        device()
    except RuntimeError:
        pass
    else:
        pytest.skip("there is a GPU")
    for call in (lambda: de.jit(np.sin, device="cuda"), lambda: de.trace(np.sin, np.ones(2)).compile("cuda")):
        with pytest.raises(RuntimeError, match=r'device="cuda".*(pip install|install one|no GPU was found).*leave device out'):
            call()


def test_wrong_devices_and_precisions():
    with pytest.raises(ValueError, match="there are 'cpu' and 'cuda'"):
        de.jit(np.sin, device="tpu")
    with pytest.raises(ValueError, match='is for device="cuda"'):
        de.jit(np.sin, precision="tf32")
    with pytest.raises(ValueError, match="there are 'float32', 'tf32', 'bfloat16'"):
        de.jit(np.sin, device="cuda", precision="half")
