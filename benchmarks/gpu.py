"""Programs on a GPU: are they right, how near are they to what the memory can do, and how fast are training steps, of tensors and of GPT-2, beside PyTorch's.

    python benchmarks/gpu.py [--markdown FILE] [--compile] [--layers 12] [--batch 8] [--context 1024]

Needs diffeng[cuda] and, for the comparison, PyTorch with CUDA. Without a GPU it checks the same functions in the simulator, says what it would measure, and
ends. Times are of steady calls: the mean over many, the device idle before and after.
"""
import argparse
import datetime
import os
import sys
import time

import numpy as np

import diffeng as de
from diffeng.kernels import Program
from diffeng.kernels.cuda.program import CudaProgram
from diffeng.kernels.cuda.simulator import Simulator
from diffeng.llm import block
from diffeng.llm.block import softmax
from diffeng.nodes import Outline
from diffeng.recording import record

F32 = np.float32


def layer_norm(x, w, b):
    return block.layer_norm({"weight": w, "bias": b}, "", x)


def logsumexp(x):
    top = np.max(x, axis=-1, keepdims=True)
    return np.log(np.sum(np.exp(x - top), axis=-1)) + top[:, 0]


def attention(q, k, v):
    scores = q @ np.swapaxes(k, -1, -2) / q.shape[-1] ** 0.5
    return np.sum(np.sin(softmax(np.where(np.tri(scores.shape[-1], dtype=bool), scores, -1e10)) @ v))


def gradient(f, n):
    return de.grad(lambda *x: np.sum(np.sin(f(*x))), argnums=tuple(range(n)))


def functions(small):
    """(name, function, arguments, arrays of the first argument's size that are read or written at least) of everything that has a skeleton of its own."""
    r = np.random.default_rng(0)

    def of(*shape):
        return r.standard_normal(shape, F32)
    n, m, long, width = (6, 9, 70, 24) if small else (98304, 1024, 50257, 768)
    rows, places = (5, 7) if small else (8192, 50257)
    index = r.integers(0, places, rows)
    x, narrow, logits, table, w, b = of(n, m), of(n, width), of(rows, long), of(places, width), of(width), of(width)          # numbers are made once
    yield "x + 1", lambda x: x + F32(1), (x,), 2
    yield "tanh(x)", np.tanh, (x,), 2
    yield f"softmax of {m}", softmax, (x,), 2
    yield f"its gradient, {m}", gradient(softmax, 1), (x,), 2
    yield f"layer norm of {width}", layer_norm, (narrow, w, b), 2
    yield f"its gradients, {width}", gradient(layer_norm, 3), (narrow, w, b), 2
    yield "sum over rows", lambda x: np.sum(x, axis=0), (x,), 1
    yield "sum along rows", lambda x: np.sum(x, axis=1), (x,), 1
    yield "sum of all", np.sum, (x,), 1
    yield "transposed", lambda x: x.T + F32(1), (x[:n // 12 or n],), 2
    yield f"logsumexp of {long}", logsumexp, (logits,), 1
    yield f"its gradient, {long}", gradient(logsumexp, 1), (logits,), 2
    yield f"lookup in {places} rows, its gradient", gradient(lambda t: t[index], 1), (table,), 1


def checked(device, small):
    """Largest relative difference of each function's results on the device from those on the CPU in float64."""
    out = {}
    cases = [(name, f, args) for name, f, args, _ in functions(True)]
    size = (2, 3, 40, 8) if small else (2, 3, 700, 64)
    args = [np.random.default_rng(k).standard_normal(size) for k in range(3)]
    cases.append(("attention and its gradients", de.value_and_grad(attention, argnums=(0, 1, 2)), args))
    for name, f, args in cases:
        exact = [np.asarray(a, float) for a in args]
        holder, found = record(f, exact, Outline()), record(f, args, Outline())
        want = Program(holder.inputs, holder.outputs)(*exact)
        got = CudaProgram(found.inputs, found.outputs, device=device)(*args)
        out[name] = max(float(np.max(np.abs(g - w)) / np.max(np.abs(w))) for g, w in zip(got, want))
    return out


def verdict():
    """What compare says of the GPU's kernels: (verdict, distance from the CPU's)."""
    r = np.random.default_rng(0)
    report = de.compare(attention, *[r.standard_normal((2, 6, 4)) for _ in range(3)])
    return report.methods["reverse (CUDA)"].said()


def network(library, device, width, rows):
    """A training step of a network of tensors, in the words that diffeng and PyTorch share: a function that returns the loss, a tensor."""
    nn, r = library.nn, np.random.default_rng(0)
    model = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), nn.LayerNorm(4 * width), nn.Linear(4 * width, width))
    model.load_state_dict({k: library.tensor(0.02 * r.standard_normal(tuple(p.shape), F32) + F32(k == "2.weight")) for k, p in model.state_dict().items()})
    model.to(device)
    x, y = (library.tensor(r.standard_normal((rows, width), F32)).to(device) for _ in range(2))
    optimizer, loss_of = library.optim.AdamW(model.parameters(), lr=1e-3), nn.MSELoss()

    def step():
        optimizer.zero_grad()
        loss = loss_of(model(x), y)
        loss.backward()
        optimizer.step()
        return loss.detach()
    return step


def trained(width, rows, steps=5):
    """Largest relative difference of the losses of some steps on the GPU from those on the CPU."""
    losses = []
    for device in ("cpu", "cuda"):
        step = network(de, device, width, rows)
        losses.append([step().item() for _ in range(steps)])
    return max(abs(a / b - 1) for a, b in zip(*losses))


# ---- with a GPU ---------------------------------------------------------------------------------------------------------------------------

def timed(f, synchronize, n=10, warm=3):
    """Seconds a call."""
    for _ in range(warm):
        f()
    synchronize()
    start = time.perf_counter()
    for _ in range(n):
        f()
    synchronize()
    return (time.perf_counter() - start) / n


def bandwidth(cupy, ceiling):
    """(name, ms, TB/s, of the copy) rows."""
    sync = cupy.cuda.Device().synchronize
    for name, f, args, passes in functions(False):
        args = [cupy.asarray(a) for a in args]
        run = de.jit(f, device="cuda")
        seconds = timed(lambda: run(*args), sync)
        speed = passes * args[0].nbytes / seconds
        yield name, seconds * 1e3, speed / 1e12, speed / ceiling
        del run, args
        cupy.get_default_memory_pool().free_all_blocks()


def transfers(gpu, cupy):
    """(what, GB/s) between host and GPU."""
    host, sync = np.ones(1 << 28, np.uint8), cupy.cuda.Device().synchronize
    there = gpu.array(host)
    for what, move in (("to the GPU", lambda: gpu.array(host)), ("from it", lambda: gpu.host(there)), ("from it, not pinned", there.get)):
        yield what, host.nbytes / timed(move, sync) / 1e9


def tensors(cupy, width=1024, rows=4096):
    """(library, ms) of a training step of tensors that is not looked at."""
    import torch
    torch.set_float32_matmul_precision("highest")
    sync = cupy.cuda.Device().synchronize
    for name, library in (("PyTorch", torch), ("diffeng", de)):
        yield name, timed(network(library, "cuda", width, rows), sync, 20, 8) * 1e3


def language_model(cupy, arguments, say):
    """GPT-2's training step, here and in PyTorch: agreement, and tokens a second."""
    import torch
    import torch.nn.functional as F
    from transformers import GPT2Config as Config
    from transformers import GPT2LMHeadModel

    from diffeng.llm import GPT2Config, init_parameters
    from diffeng.llm.step import TrainingSettings, new_state, training_step
    B, T = arguments.batch, arguments.context
    config = GPT2Config(n_layers=arguments.layers, context_length=T, drop_rate=0.0)
    settings = TrainingSettings(batch=B, learning_rate=1e-4, warmup=0, steps=1000)
    r = np.random.default_rng(0)
    parameters = {k: v + (0.02 * r.standard_normal(v.shape, F32) if v.ndim == 1 else 0) for k, v in init_parameters(config, 0, F32).items()}
    tokens, targets = r.integers(0, config.vocab_size, (2, B, T))
    model = GPT2LMHeadModel(Config(n_positions=T, n_layer=config.n_layers, resid_pdrop=0.0, embd_pdrop=0.0, attn_pdrop=0.0)).cuda().train()
    own = {k.removeprefix("transformer."): p for k, p in model.named_parameters()}
    with torch.no_grad():
        for k, p in own.items():
            p.copy_(torch.from_numpy(parameters[k]))
    given, wanted = torch.from_numpy(tokens).cuda(), torch.from_numpy(targets).cuda()

    def loss(forward, precision):
        with torch.autocast("cuda", torch.bfloat16, enabled=precision == "bfloat16"):
            logits = forward(given, use_cache=False).logits
        logits = logits if logits.dtype == torch.float64 else logits.float()
        return F.cross_entropy(logits.view(-1, logits.shape[-1]), wanted.view(-1))
    model.double()
    value = loss(model, "float64")
    value.backward()
    exact, reference = float(value.detach()), {k: p.grad.cpu().numpy() for k, p in own.items()}
    model.zero_grad(set_to_none=True)
    model.float()
    sync, rows = cupy.cuda.Device().synchronize, []
    for precision in ("float32", "tf32", "bfloat16"):
        torch.set_float32_matmul_precision("highest" if precision == "float32" else "high")
        for kind in ("eager", "compile") if arguments.compile else ("eager",):
            forward = torch.compile(model) if kind == "compile" else model
            optimiser = torch.optim.AdamW(model.parameters(), lr=0.0, weight_decay=0.0)          # a rate of 0: the weights stay the same for all

            def step():
                optimiser.zero_grad(set_to_none=True)
                value = loss(forward, precision)
                value.backward()
                torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
                optimiser.step()
                return value
            torch.cuda.reset_peak_memory_stats()
            seconds = timed(step, sync, 6)
            optimiser.zero_grad(set_to_none=True)
            value = loss(forward, precision)
            value.backward()
            error = _worst({k: p.grad.double().cpu().numpy() for k, p in own.items()}, reference)
            rows.append((f"PyTorch {kind}", precision, seconds, torch.cuda.max_memory_allocated(), abs(float(value.detach()) / exact - 1), error))
            say(rows[-1])
            del optimiser, value
            model.zero_grad(set_to_none=True)
            torch.cuda.empty_cache()
    on_device = {k: cupy.asarray(v) for k, v in parameters.items()}
    for precision in ("float32", "tf32", "bfloat16"):
        from diffeng.llm.model import loss as loss_of
        both = de.jit(lambda p: de.value_and_grad(lambda p: loss_of(p, tokens, targets, config))(p), device="cuda", precision=precision)
        value, found = both(on_device)
        value, error = float(value), _worst({k: v.get().astype(float) for k, v in found.items()}, reference)
        del both, found
        state = new_state({k: v.copy() for k, v in on_device.items()})
        state = {part: {k: cupy.asarray(v) for k, v in each.items()} for part, each in state.items()}
        run, numbers = training_step(config, settings, device="cuda", precision=precision), settings.numbers(1) | {"size": F32(0), "kept": F32(1)}
        held = [state]

        def advance():
            held[0] = run(held[0], [(tokens, targets, 0)], numbers)[0]
        started = time.perf_counter()
        advance()
        sync()
        first = time.perf_counter() - started
        seconds = timed(advance, sync, 6)
        memory = cupy.get_default_memory_pool().total_bytes()
        rows.append(("diffeng", precision, seconds, memory, abs(value / exact - 1), error))
        say((*rows[-1], f"first call {first:.1f} s"))
        del run, held, state, advance
        cupy.get_default_memory_pool().free_all_blocks()
    return rows, B * T


def _worst(found, reference):
    return max(np.linalg.norm(found[k] - g) / np.linalg.norm(g) for k, g in reference.items())


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--markdown", metavar="FILE")
    parser.add_argument("--compile", action="store_true", help="torch.compile too")
    parser.add_argument("--layers", type=int, default=12)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--context", type=int, default=1024)
    arguments = parser.parse_args()
    os.environ.pop("DIFFENG_CUDA", None)                 # the GPU itself is asked for here
    try:
        from diffeng.kernels.cuda.device import device
        gpu = device()
    except RuntimeError as error:
        print(f"{error}\n\nIn the simulator, largest difference from float64 on the CPU, relative:")
        for name, worst in checked(Simulator(), True).items():
            print(f"  {name:42s} {worst:.1e}")
        os.environ["DIFFENG_CUDA"] = "simulator"
        print(f"  {'steps of a network of tensors, float32':42s} {trained(10, 7):.1e}\n  compare: {verdict()}")
        print("\nWith a GPU this would measure, as a share of the bandwidth of a copy:\n  " + "\n  ".join(name for name, *_ in functions(True)))
        print("GB a second between host and GPU, a step of a network of tensors (1024-4096-1024, batch 4096) beside PyTorch's,")
        print("and tokens a second of a training step of GPT-2 (12 layers, batch 8, context 1024) beside PyTorch's in float32, tf32 and bfloat16.")
        return
    import cupy
    lines = []

    def say(text=""):
        print(text, flush=True)
        lines.append(str(text))
    versions = f"CuPy {cupy.__version__}, driver for CUDA {cupy.cuda.runtime.driverGetVersion() / 1000:.1f}"
    say(f"# On a {gpu.name}\n\nMeasured on {datetime.date.today()} by `benchmarks/gpu.py`; {versions}; {gpu.grid.multiprocessors} multiprocessors.\n")
    one, other = cupy.empty(1 << 30, np.uint8), cupy.empty(1 << 30, np.uint8)
    ceiling = 2 * one.nbytes / timed(lambda: cupy.copyto(other, one), cupy.cuda.Device().synchronize)
    del one, other
    say("| largest relative difference from float64 on the CPU | |\n|---|---|")
    for name, worst in checked(gpu, False).items():
        say(f"| {name} | {worst:.1e} |")
    say(f"| steps of a network of tensors, float32 | {trained(64, 32):.1e} |\n\n`compare`: {verdict()}")
    say(f"\nA copy of 1 GiB moves {ceiling / 1e12:.2f} TB/s, reading and writing. Bytes below are those that have to be moved, at least.\n")
    say("| kernels, float32 | ms | TB/s | of the copy |\n|---|---|---|---|")
    for name, ms, speed, share in bandwidth(cupy, ceiling):
        say(f"| {name} | {ms:.3f} | {speed:.2f} | {share:.0%} |")
    say("\n| 256 MiB | GB/s |\n|---|---|")
    for what, speed in transfers(gpu, cupy):
        say(f"| {what} | {speed:.1f} |")
    try:
        say("\n| a step of tensors, 1024-4096-1024, batch 4096, AdamW, float32 | ms |\n|---|---|")
        for name, ms in tensors(cupy):
            say(f"| {name} | {ms:.2f} |")
        rows, count = language_model(cupy, arguments, lambda row: print(row, file=sys.stderr, flush=True))
    except ImportError as error:
        say(f"\nGPT-2 beside PyTorch: {error}")
    else:
        say(f"\nGPT-2, {arguments.layers} layers, batch {arguments.batch}, context {arguments.context}: one training step (loss, gradients, clipping, "
            "AdamW).\n")
        say("| | products in | ms | tokens/s | peak memory | loss, relative error | worst gradient, relative error in norm |\n"
            "|---|---|---|---|---|---|---|")
        for name, precision, seconds, memory, off, error in sorted(rows, key=lambda row: ("float32 tf32 bfloat16".index(row[1]), row[0])):
            say(f"| {name} | {precision} | {seconds * 1e3:.1f} | {count / seconds:,.0f} | {memory / 1e9:.1f} GB | {off:.1e} | {error:.1e} |")
    if arguments.markdown:
        with open(arguments.markdown, "w", encoding="utf-8") as file:
            file.write("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
