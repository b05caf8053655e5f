"""diffeng.kernels.cuda without a GPU: every kernel becomes PTX, and the simulator's results are those of the CPU's kernels."""
import glob
import importlib.util
import itertools
import subprocess
from types import SimpleNamespace

import numpy as np
import pytest
import test_adding
import test_kernels
import test_random_programs

import diffeng as de
from diffeng import kernels
from diffeng.kernels import sizes
from diffeng.kernels.cuda import compile, plan, program, proof, tiling
from diffeng.kernels.cuda.program import CudaProgram
from diffeng.kernels.cuda.simulator import Simulator
from diffeng.llm import GPT2Config, block, init_parameters
from diffeng.llm.block import softmax
from diffeng.llm.step import TrainingSettings, training_loss
from diffeng.kernels.scipys import OPERANDS
from diffeng.nodes import Primitive
from diffeng.recording import Outline, record
from diffeng.specimens import names, specimen


def graph(f, *args):
    """(inputs, outputs, arrays) of a function at these arguments."""
    holder = record(f, args, Outline())
    return holder.inputs, holder.outputs, [np.asarray(x) for x in holder.leaves(args)]


def both(f, *args, device=None, **options):
    """(results of the simulator, of the CPU's program, the simulator's program)."""
    inputs, outputs, arrays = graph(f, *args)
    program = CudaProgram(inputs, outputs, device=device or Simulator(), **options)
    return program(*arrays), kernels.Program(inputs, outputs)(*arrays), program


def agree(f, *args, rtol=1e-13, **options):
    got, want, program = both(f, *args, **options)
    for g, w in zip(got, want, strict=True):
        assert g.shape == w.shape and g.dtype == w.dtype
        scale = max(np.max(np.abs(w), initial=0), 1.0 if w.dtype == np.float32 else 1e-3) if w.dtype.kind == "f" else 0
        np.testing.assert_allclose(g, w, rtol=0, atol=max(rtol, np.finfo(w.dtype).eps * 8 if w.dtype.kind == "f" else 0) * scale)
    return program


def layer_norm(x, w, b):
    return block.layer_norm({"weight": w, "bias": b}, "", x)


def logsumexp(x):
    top = np.max(x, axis=-1, keepdims=True)
    return np.log(np.sum(np.exp(x - top), axis=-1)) + top[:, 0]


@pytest.fixture
def random():
    return np.random.default_rng(0)


def has_libdevice():
    try:
        return bool(compile._libdevice())
    except RuntimeError:
        return False


ON_HOST = test_kernels.NUMPY | {"cumsum", "cumprod", "solve", "inv", "slogdet", "slogdet_sign", "cholesky", "fft", "rfft", "irfft", *OPERANDS}          # what has no kernel for a GPU


def assemblers():
    """Where NVIDIA's assembler is."""
    places = importlib.util.find_spec("nvidia")
    return [path for folder in places.submodule_search_locations for path in glob.glob(f"{folder}/*/bin/ptxas")] if places else []


def assembled(text, processor, folder):
    """NVIDIA's assembler takes the PTX, where it is installed."""
    found = assemblers()
    if found:
        (folder / "kernel.ptx").write_text(text)
        subprocess.run([found[0], f"-arch={processor}", "kernel.ptx", "-o", "kernel"], cwd=folder, check=True)


# ---- every primitive ---------------------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("name", names())
def test_every_primitive_compiles_and_computes(name):
    operands, params, slots = specimen(name)

    def fun(*moving):
        given = iter(moving)
        return Primitive.registry[name](*[next(given) if k in slots else x for k, x in enumerate(operands)], **params)
    inputs, outputs, arrays = graph(fun, *[operands[k] for k in slots])
    try:
        found = proof.prove(inputs, outputs, arrays)
    except RuntimeError as error:
        assert not has_libdevice() and "libdevice" in str(error)
        pytest.skip("NVIDIA's libdevice is not installed")
    assert found.on_host == (() if name not in ON_HOST else (name,))
    assert found.difference <= 4, found
    if found.kernels:
        assert all([n > 10 for n in found.instructions.values()]) and [*found.instructions] == [*compile.PROCESSORS]


def test_what_kernels_compute_is_numpys(random, monkeypatch):
    """The cases that the CPU's kernels are tested with."""
    monkeypatch.setattr(kernels, "Program", lambda inputs, outputs: CudaProgram(inputs, outputs, device=Simulator()))
    x, y = random.uniform(0.2, 3.0, (2, 3, 4))
    for name, cases in test_kernels.CASES.items():
        for got, case in zip(test_kernels.compiled(lambda x, y: [case(x, y) for case in cases], x, y)(x, y), cases, strict=True):
            assert test_kernels.ulps(got, np.asarray(case(x, y))) <= 24, name


# ---- skeletons -----------------------------------------------------------------------------------------------------------------------------

@pytest.fixture(params=["held", "read again"])
def rows(request, monkeypatch):
    """Rows of both kinds: their entries stay in registers, or are read again in every phase, as those of long rows are."""
    if request.param == "read again":
        for room in ("HELD", "HELD_WITH_SUMS"):
            monkeypatch.setattr(plan, room, 0)


SHAPES = [(1,), (3,), (64,), (203,), (1, 1), (5, 7), (16, 12), (3, 40), (2, 3, 33), (70, 2), (9, 130)]
FUNCTIONS = {
    "entries":  lambda x: np.sin(x) * x + 1.0,
    "total":    lambda x: np.sum(np.cos(x) * x),
    "turned":   lambda x: x.T * 2.0 + np.float64(1),
    "strided":  lambda x: x[..., ::-1] * x,
    "along":    lambda x: np.sum(x * x, axis=-1),
    "highest":  lambda x: np.max(x, axis=-1, keepdims=True) - x,
    "across":   lambda x: np.sum(np.exp(x), axis=0),
    "softmax":  softmax,
    "norm":     lambda x: layer_norm(x, x[..., 0:1], 2.0),
    "chosen":   lambda x: np.any(x > 0.5, axis=-1),
    "gradient": de.grad(lambda x: np.sum(np.sin(softmax(x)))),
}


BOTH = [(name, kind) for name in FUNCTIONS for kind in ("held", "read again") if kind == "held" or name in "along highest softmax norm gradient".split()]


@pytest.mark.parametrize("name, rows", BOTH, indirect=["rows"])
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_skeletons(random, rows, name, dtype):
    for shape in SHAPES:
        agree(FUNCTIONS[name], random.standard_normal(shape).astype(dtype))


INDEX = np.random.default_rng(1).integers(-1, 1, 30)
SKELETONS = {
    "entries": lambda x: np.sin(x) * x,
    "rows":    lambda x: np.exp(x - np.sum(x, axis=-1, keepdims=True)),
    "columns": lambda x: np.sum(np.exp(x), axis=0),
    "all":     lambda x: np.sum(x * x),
    "gather":  lambda x: x[INDEX],
    "scatter": de.grad(lambda x: np.sum(np.sin(x[INDEX]) + np.cos(x[0]))),
}
VIEWS = [lambda x: x.T, lambda x: x[::-1, ::-1], lambda x: x[::2, 1::2], lambda x: x[3:4, 2:3], lambda x: x[1:2], lambda x: x[:, 3:4],
         lambda x: np.broadcast_to(x[:1], x.shape), lambda x: np.broadcast_to(x[:, :1], x.shape)]


@pytest.mark.parametrize("name, rows", [*[(name, "held") for name in SKELETONS], ("rows", "read again")], indirect=["rows"])
def test_skeletons_read_memory_as_it_lies(random, rows, name):
    for view, (dtype, shape) in zip(VIEWS, itertools.cycle([(np.float32, (9, 12)), (np.float64, (7, 35)), (np.float64, (8, 16))])):
        agree(lambda x, view=view: SKELETONS[name](view(x)), random.standard_normal(shape).astype(dtype))


@pytest.mark.parametrize("shape", [(2, 33), (9, 40), (30, 21)])
@pytest.mark.parametrize("name", ["highest", "softmax", "norm", "gradient", "logsumexp"])
def test_long_rows_overlap(random, monkeypatch, name, shape):
    """The next row's first phase runs with the last one of the row before."""
    monkeypatch.setattr(plan, "HELD", 0)
    monkeypatch.setattr(plan, "VERY_LONG", 20)
    monkeypatch.setattr(plan, "SHARED", 0)                    # nothing waits there: it is computed again
    f, x = {**FUNCTIONS, "logsumexp": logsumexp}[name], random.standard_normal(shape)
    agree(f, x)
    inputs, outputs, _ = graph(f, x)
    assert all("(None, (), ((0, " in x.key for x in proof.kernels(inputs, outputs)[0] if x.name.startswith("rows_") and name != "norm")


@pytest.mark.parametrize("name", SKELETONS)
def test_skeletons_of_nothing(name):
    """Arrays without entries, and places without number: what is left to do."""
    f, none = SKELETONS[name], INDEX[:0]
    for shape in ((4, 0),) if name in ("gather", "scatter") else ((4, 0), (0, 4), (0, 0)):
        agree(f, np.zeros(shape))
    if name == "gather":
        agree(lambda x: x[none] * 2.0, np.ones((3, 4)))
    if name == "scatter":
        agree(de.grad(lambda x: np.sum(np.sin(x[none])) + np.sum(x)), np.ones((3, 4)))


def test_skeletons_are_all_there(random, tmp_path):
    """The functions above and below reach every skeleton, and in a program for a real GPU each becomes PTX for all three processors."""
    index = random.integers(0, 50, 300)
    functions = [*FUNCTIONS.values(), de.grad(lambda x: np.sum(np.sin(x[index])))]
    launches = {}
    for f in functions:
        inputs, outputs, _ = graph(f, random.standard_normal((300, 200)).astype(np.float32))
        launches |= {x.key: x for x in proof.kernels(inputs, outputs)[0]}
    inputs, outputs, _ = graph(softmax, random.standard_normal((2, 20000)).astype(np.float32))
    launches |= {x.key: x for x in proof.kernels(inputs, outputs)[0]}
    assert {x.name.split("_")[0] for x in launches.values()} == {"entries", "held", "rows", "columns", "scatter", "combine"}
    for x in launches.values():
        for processor in compile.PROCESSORS:
            text = compile.ptx(x, processor).decode()
            assembled(text, processor, tmp_path)
            assert f".target {processor}" in text and ".entry kernel(" in text and f".maxntid {x.threads}," in text
            assert "ld.global" in text or "st.global" in text
            if not {"sin", "cos"} & set(x.name.split("_")):                 # libdevice's for huge arguments keep a table
                assert "__local_depot" not in text                         # nothing lies in a thread's slow memory


@pytest.mark.skipif(not assemblers(), reason="half a minute: where NVIDIA's assembler is there, too")
def test_kernels_of_gpt2_compile(random, tmp_path):
    """Loss and gradients of a GPT-2 whose rows are as long as the real one's, products in float32 and in bfloat16, attention in registers."""
    config = GPT2Config(vocab_size=50257, context_length=1024, emb_dim=64, n_heads=1, n_layers=1, drop_rate=0.1)
    parameters, tokens = init_parameters(config, 0, np.float32), random.integers(0, 50257, (2, 1, 1024))
    inputs, outputs, _ = graph(de.value_and_grad(lambda p: training_loss(p, *tokens, 0, 0, config, TrainingSettings())), parameters)
    launches = {x.key: x for precision in ("float32", "bfloat16") for x in proof.kernels(inputs, outputs, precision=precision)[0]}
    assert any("bfloat16" in x.name for x in launches.values()) and sum([x.name.startswith("attention") for x in launches.values()]) == 6
    for x in launches.values():
        for processor in compile.PROCESSORS:
            text = compile.ptx(x, processor).decode()
        assembled(text, processor, tmp_path)                          # the last one's: a tenth of a second each


def test_gradients_of_layer_norm_sum_over_rows(random, rows):
    f = de.grad(lambda x, w, b: np.sum(np.sin(layer_norm(x, w, b))), argnums=(0, 1, 2))
    for n, m in ((30, 32), (7, 13), (100, 40), (3, 300)):
        agree(f, random.standard_normal((n, m)), random.standard_normal(m), random.standard_normal(m))


def test_what_does_not_fit_into_shared_memory(random, monkeypatch):
    """Long rows: what waits is computed again, or lies in global memory."""
    monkeypatch.setattr(plan, "SHARED", 512)
    for n in (300, 301):
        agree(de.value_and_grad(lambda x: np.sum(np.log(np.sum(np.exp(x - np.max(x, axis=-1, keepdims=True)), axis=-1)))), random.standard_normal((5, n)))
        agree(de.grad(lambda x: np.sum(np.sin(layer_norm(layer_norm(x, 1.0, 0.5) ** 2, 1.0, 0.0)))), random.standard_normal((5, n)))


def test_empty_and_unusual_arguments(random):
    x = random.standard_normal((6, 8))
    assert agree(lambda x: np.sin(x), np.zeros((0, 3)))
    assert agree(lambda x: np.sum(x, axis=1), np.zeros((4, 0)))
    inputs, outputs, _ = graph(lambda x, y: x * y + np.arange(8.0), x, x[0])
    program = CudaProgram(inputs, outputs, device=Simulator())
    for a in (x[::-1], np.asfortranarray(x), np.broadcast_to(x[0], (6, 8))):
        np.testing.assert_array_equal(program(a, x[1])[0], a * x[1] + np.arange(8.0))
    with pytest.raises(ValueError, match="has the shape"):
        program(x[:3], x[1])
    with pytest.raises(TypeError, match="convert it with astype"):
        program(x.astype(np.float32), x[1])
    view = np.arange(24.0).reshape(4, 6)[::2, ::-1]
    agree(lambda x: x @ view + view[0, 0], random.standard_normal((3, 2)))


@pytest.mark.parametrize("shape", [(9,), (9, 5), (9, 3, 2)])
def test_gather_and_scatter(random, shape):
    index = random.integers(-9, 9, 40)
    agree(de.value_and_grad(lambda x: np.sum(np.sin(x[index]) ** 2)), random.standard_normal(shape))

    def put(x):
        x = x.copy()
        x[index] = np.sin(np.arange(40.0)).reshape((40,) + (1,) * (len(shape) - 1))         # the last one wins
        return x
    agree(put, random.standard_normal(shape))


@pytest.mark.parametrize("f", [test_adding.columns, test_adding.stored])
def test_parts_are_added_in_place(random, f):
    agree(de.value_and_grad(f), random.standard_normal(20).astype(np.float32))


@pytest.mark.parametrize("shape, axes, squares", [((8, 32), (1, 0), True), ((36, 20), (1, 0), True), ((2, 8, 16), (0, 2, 1), True), ((4, 4), (1, 0), True),
                                                  ((7, 16), (1, 0), False), ((8, 18), (1, 0), False), ((16, 32), (0, 1), False)])
def test_what_lies_across_is_read_in_squares(random, shape, axes, squares):
    """Also beside what does not, and where entries are summed."""
    def f(x):
        y = np.transpose(x, axes)
        return y + np.arange(y.size).reshape(y.shape)
    x = random.standard_normal(shape)
    agree(f, x)
    inputs, outputs, _ = graph(f, x)
    launch, = proof.kernels(inputs, outputs)[0]
    assert ("('grid', 'entries', 256, 256, ((" in launch.key) == squares


@pytest.mark.parametrize("places, width", [(1, 3), (70, 3), (70, 40), (5, 16)])
def test_scatters_of_more_rows_than_a_block_looks_at(random, places, width):
    """Rows, and entries, of which many meet; the first and the last of a round; none in a round."""
    index = np.concatenate([random.integers(0, places, 37), [0] * 16, [places - 1] * 16, [-1, 0]])
    terms = random.standard_normal((len(index), width))
    agree(de.grad(lambda x: np.sum(np.sin(x[index]) * terms)), random.standard_normal((places, width)))
    agree(de.grad(lambda x: np.sum(np.sin(x[index, 0]) * terms[:, 0])), random.standard_normal((places, width)))


def test_equal_loops_write_to_places_aligned_otherwise(monkeypatch):
    """Loops that are planned once write to parts of one array: four entries at a time only where every part lies so."""
    def f(x, u):
        parts = [x]
        for _ in range(6):
            parts.append(np.tanh(parts[-1] @ u))
        return np.stack(parts)
    inputs, outputs, _ = graph(f, np.ones((2, 3), np.float32), np.ones((3, 3), np.float32))
    once = [x.key for x in CudaProgram(inputs, outputs, device=Simulator())._work if type(x) is plan.Launch]
    monkeypatch.setattr(program, "Plans", lambda make, aligned: SimpleNamespace(instructions=make))
    assert once == [x.key for x in CudaProgram(inputs, outputs, device=Simulator())._work if type(x) is plan.Launch]


def test_an_index_out_of_bounds_is_an_error(random):
    inputs, outputs, _ = graph(lambda x, i: x[i], random.standard_normal(5), np.array([0, 1]))
    program = CudaProgram(inputs, outputs, device=Simulator())
    with pytest.raises(IndexError, match=r"getitem at test_cuda.py:\d+: an index is out of bounds"):
        program(np.zeros(5), np.array([0, 5]))
    np.testing.assert_array_equal(program(np.arange(5.0), np.array([4, -5]))[0], [4.0, 0.0])


@pytest.mark.parametrize("seed", range(8))
def test_random_functions(seed):
    f, args = test_random_programs.program(np.random.default_rng(seed))
    with np.errstate(all="ignore"):
        got, want, _ = both(de.grad(lambda *x: f(*x)[0], argnums=(0, 1, 2, 3)), *args)
    for g, w in zip(got, want, strict=True):
        if np.all(np.isfinite(w)):
            np.testing.assert_allclose(g, w, rtol=0, atol=(1e-10 if w.dtype == np.float64 else 1e-4) * (np.max(np.abs(w), initial=0) + 1e-3))


def test_the_same_bits_every_time(random):
    f = de.value_and_grad(lambda x, w: np.sum(np.sin(layer_norm(x, w, w) @ x.T)), argnums=(0, 1))
    inputs, outputs, arrays = graph(f, random.standard_normal((17, 20)), random.standard_normal(20))
    program = CudaProgram(inputs, outputs, device=Simulator())
    first = [x.copy() for x in program(*arrays)]
    for _ in range(3):
        assert all(np.array_equal(a, b) for a, b in zip(first, program(*arrays)))


# ---- attention -------------------------------------------------------------------------------------------------------------------------------

def attention(q, k, v):
    scores = q @ np.swapaxes(k, -1, -2) / 2.0
    return np.sum(np.sin(softmax(np.where(np.tri(scores.shape[-1], dtype=bool), scores, -1e10)) @ v))


def unmasked(q, k, v):
    return np.sum(np.sin(softmax(q @ np.swapaxes(k, -1, -2) / 2.0) @ v))


@pytest.fixture
def small_tiles(monkeypatch):
    """What is large begins at a kilobyte; device(bytes) is a simulator with tiles of so many bytes."""
    monkeypatch.setattr(sizes, "LARGE", 1 << 10)
    monkeypatch.setattr(tiling, "FEWEST", 4)

    def device(size):
        simulator = Simulator()
        simulator.grid = plan.Grid(4, 1, 16, 16, size, 64 << 10)
        return simulator
    return device


@pytest.mark.parametrize("shape", [(6, 32, 4), (2, 3, 32, 4), (5, 30, 3)])
@pytest.mark.parametrize("f", [attention, unmasked])
def test_attention_in_tiles(random, small_tiles, f, shape):
    args = [random.standard_normal(shape) for _ in range(3)]
    launched = [len(agree(de.value_and_grad(f, argnums=(0, 1, 2)), *args, device=small_tiles(size), rtol=1e-12)._table) for size in (1 << 20, 20000, 4000)]
    assert launched[0] < launched[2]                                      # it was cut
    args = [x.astype(np.float32) for x in args]
    program = agree(de.value_and_grad(f, argnums=(0, 1, 2)), *args, device=small_tiles(4000), precision="bfloat16", rtol=0.05)
    assert any(w.narrow for w in program._work if type(w).__name__ == "Gemm")


def test_attention_needs_memory_linear_in_the_positions(small_tiles):
    def peak(n):
        inputs, outputs, _ = graph(de.value_and_grad(attention, argnums=(0, 1, 2)), *[np.zeros((1, n, 4))] * 3)
        return CudaProgram(inputs, outputs, device=small_tiles(16 << 10)).peak_bytes
    small, large = peak(128), peak(512)
    assert large < 6 * small                                              # the scores alone grow sixteenfold


def test_bfloat16_rounds_factors_and_nothing_else(random):
    x, y = random.standard_normal((2, 24, 24)).astype(np.float32)
    got, want, _ = both(lambda x, y: (x @ y, x * y), x, y, precision="bfloat16")
    off = np.max(np.abs(got[0] - want[0])) / np.max(np.abs(want[0]))
    assert 1e-4 < off < 2 ** -7
    np.testing.assert_array_equal(got[1], want[1])
    exact = [(a.view(np.uint32) & 0xFFFF0000).view(np.float32) for a in (x, y)]          # what bfloat16 can hold comes through as it is
    np.testing.assert_allclose(both(np.matmul, *exact, precision="bfloat16")[0][0], exact[0] @ exact[1], rtol=1e-5, atol=1e-5)
