"""Programs on a GPU: are they right, how fast are training steps of GPT-2 and of tensors beside PyTorch's, how near are kernels to what the memory can do.

    python benchmarks/gpu.py [--markdown FILE] [--minutes 10] [--parts "right,gpt2 tf32"] [--layers 12] [--batch 8] [--context 1024]

Needs diffeng[cuda] and, for the comparison, PyTorch with CUDA and transformers. What matters most comes first, and each part is a process of its own, so that
one that fails, crashes or hangs costs itself alone; lines are printed, and written to the file, as they come. Without a GPU the same functions are checked in
the simulator, and what would be measured is said. Times are of steady calls: the mean over many, the device idle before and after.
"""
import argparse
import datetime
import gc
import os
import subprocess
import sys
import threading
import time
import traceback

import numpy as np

import diffeng as de
from diffeng.kernels import Program
from diffeng.kernels.cuda.program import CudaProgram
from diffeng.kernels.cuda.simulator import Simulator
from diffeng.llm import GPT2Config, block, init_parameters
from diffeng.llm.block import softmax
from diffeng.llm.model import loss as loss_of
from diffeng.llm.step import TrainingSettings, new_state, training_step
from diffeng.recording import Outline, record

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
    return de.grad(lambda *x: np.sum(f(*x) ** 2), argnums=tuple(range(n)))          # cotangents that cost nothing: the row's own adjoint is what counts


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
    yield "transposed", lambda x: x.T + F32(1), (x,), 2
    yield f"logsumexp of {long}", logsumexp, (logits,), 1
    yield f"its gradient, {long}", gradient(logsumexp, 1), (logits,), 2
    yield f"lookup in {places} rows, its gradient", gradient(lambda t: t[index], 1), (table,), 1


def cases(small):
    """(name, function, arguments) of what is checked."""
    size = (2, 3, 40, 8) if small else (2, 3, 700, 64)
    yield from [(name, f, args) for name, f, args, _ in functions(True)]
    yield "attention and its gradients", de.value_and_grad(attention, argnums=(0, 1, 2)), [np.random.default_rng(k).standard_normal(size) for k in range(3)]


def difference(device, f, args):
    """Largest relative difference of a function's results on the device from those on the CPU in float64."""
    exact = [np.asarray(a, float) for a in args]
    holder, found = record(f, exact, Outline()), record(f, args, Outline())
    want = Program(holder.inputs, holder.outputs)(*exact)
    got = CudaProgram(found.inputs, found.outputs, device=device)(*args)
    return max([float(np.max(np.abs(g - w)) / np.max(np.abs(w))) for g, w in zip(got, want)])


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


def small_gpt2():
    """Relative errors of loss and gradients of a small GPT-2 on the GPU: the loss', and the worst gradient's in norm, from those on the CPU in float64."""
    config = GPT2Config(vocab_size=17, context_length=8, emb_dim=16, n_heads=2, n_layers=2, drop_rate=0.0)
    parameters, tokens, targets = init_parameters(config, 0, F32), *np.random.default_rng(0).integers(0, 17, (2, 2, 8))

    def both(p):
        return de.value_and_grad(lambda p: loss_of(p, tokens, targets, config))(p)
    (loss, found), (exact, wanted) = de.jit(both, device="cuda")(parameters), de.jit(both)({k: v.astype(float) for k, v in parameters.items()})
    return abs(float(loss) / float(exact) - 1), _worst({k: v.astype(float) for k, v in found.items()}, wanted)


def _worst(found, reference):
    return max([np.linalg.norm(found[k] - g) / np.linalg.norm(g) for k, g in reference.items()])


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


def released(cupy):
    """Give memory back that nobody holds. Programs hold each other in circles."""
    gc.collect()
    cupy.get_default_memory_pool().free_all_blocks()


def attempted(name, columns, row):
    """A table's row; what went wrong in its place, if something did."""
    try:
        return f"| {name} | {row()} |"
    except Exception as error:
        traceback.print_exc()
        return f"| {name} | {_said(error)} {'| ' * (columns - 2)}|"


def _said(error):
    return f"**failed**: {type(error).__name__}: {error}".replace("\n", " ").replace("|", "\\|")[:300]


def right(gpu, cupy, asked):
    yield "| largest relative difference from float64 on the CPU | |\n|---|---|"
    for name, f, args in cases(False):
        yield attempted(name, 2, lambda f=f, args=args: f"{difference(gpu, f, args):.1e}")
    yield attempted("a small GPT-2: its loss, the worst of its gradients", 2, lambda: "{:.1e}, {:.1e}".format(*small_gpt2()))
    yield attempted("steps of a network of tensors, float32", 2, lambda: f"{trained(64, 32):.1e}")
    yield f"\n`compare`: {verdict()}"


def kernels(gpu, cupy, asked):
    sync, two = cupy.cuda.Device().synchronize, [cupy.empty(1 << 30, np.uint8) for _ in range(2)]
    ceiling = 2 * two[0].nbytes / timed(lambda: cupy.copyto(*two), sync)
    two.clear()
    yield f"A copy of 1 GiB moves {ceiling / 1e12:.2f} TB/s, reading and writing. Bytes below are those that have to be moved, at least.\n"
    yield "| kernels, float32 | ms | TB/s | of the copy |\n|---|---|---|---|"
    for name, f, args, passes in functions(False):
        def row(f=f, args=args, passes=passes):
            args = [cupy.asarray(a) for a in args]
            run = de.jit(f, device="cuda")
            seconds = timed(lambda: run(*args), sync)
            speed = passes * args[0].nbytes / seconds
            return f"{seconds * 1e3:.3f} | {speed / 1e12:.2f} | {speed / ceiling:.0%}"
        yield attempted(name, 4, row)
        released(cupy)


def transfers(gpu, cupy, asked):
    host, sync = np.ones(1 << 28, np.uint8), cupy.cuda.Device().synchronize
    there = gpu.array(host)
    yield "| 256 MiB | GB/s |\n|---|---|"
    for what, move in (("to the GPU", lambda: gpu.array(host)), ("from it", lambda: gpu.host(there)), ("from it, not pinned", there.get)):
        yield attempted(what, 2, lambda move=move: f"{host.nbytes / timed(move, sync) / 1e9:.1f}")


def tensors(gpu, cupy, asked, width=1024, rows=4096):
    sync = cupy.cuda.Device().synchronize
    yield f"| a step of tensors that is not looked at, {width}-{4 * width}-{width}, batch {rows}, AdamW, float32 | ms |\n|---|---|"

    def peer():
        import torch
        torch.set_float32_matmul_precision("highest")
        return torch
    for name, library in (("diffeng", lambda: de), ("PyTorch", peer)):
        yield attempted(name, 2, lambda library=library: f"{timed(network(library(), 'cuda', width, rows), sync, 20, 8) * 1e3:.2f}")


class LanguageModel:
    """GPT-2's training step, here and in PyTorch: agreement, and tokens a second."""

    def __init__(self, asked, cupy):
        self.cupy, self.sync, self.B, self.T = cupy, cupy.cuda.Device().synchronize, asked.batch, asked.context
        self.config, r = GPT2Config(n_layers=asked.layers, context_length=self.T, drop_rate=0.0), np.random.default_rng(0)
        self.parameters = {k: v + (0.02 * r.standard_normal(v.shape, F32) if v.ndim == 1 else 0) for k, v in init_parameters(self.config, 0, F32).items()}
        self.tokens, self.targets = r.integers(0, self.config.vocab_size, (2, self.B, self.T))
        self.exact = None                                    # what PyTorch says in float64: loss, gradients

    def in_pytorch(self):
        """The model there, with these parameters, and self.exact, an entry of the batch at a time."""
        import torch
        from transformers import GPT2Config as Config
        from transformers import GPT2LMHeadModel
        self.torch = torch
        made = Config(n_positions=self.T, n_layer=self.config.n_layers, vocab_size=self.config.vocab_size, resid_pdrop=0.0, embd_pdrop=0.0, attn_pdrop=0.0)
        model = GPT2LMHeadModel(made).cuda().train()
        self.own = {k.removeprefix("transformer."): p for k, p in model.named_parameters()}
        with torch.no_grad():
            for k, p in self.own.items():
                p.copy_(torch.from_numpy(self.parameters[k]))
        self.given, self.wanted = (torch.from_numpy(x).cuda() for x in (self.tokens, self.targets))
        model.double()
        loss = 0.0
        for k in range(self.B):
            part = self.loss(model, "float64", slice(k, k + 1)) / self.B
            part.backward()
            loss += float(part.detach())
        self.exact = loss, {k: p.grad.cpu().numpy() for k, p in self.own.items()}
        model.zero_grad(set_to_none=True)
        model.float()
        torch.cuda.empty_cache()
        return model

    def loss(self, forward, precision, some=slice(None)):
        torch = self.torch
        with torch.autocast("cuda", torch.bfloat16, enabled=precision == "bfloat16"):
            logits = forward(self.given[some], use_cache=False).logits
        logits = logits if logits.dtype == torch.float64 else logits.float()
        return torch.nn.functional.cross_entropy(logits.view(-1, logits.shape[-1]), self.wanted[some].reshape(-1))

    def row(self, step, memory, loss, found):
        started = time.perf_counter()
        step()
        self.sync()
        first, seconds = time.perf_counter() - started, timed(step, self.sync, 6)
        apart = " | " if self.exact is None else f"{abs(loss / self.exact[0] - 1):.1e} | {_worst(found, self.exact[1]):.1e}"
        return f"{first:.1f} s | {seconds * 1e3:.1f} | {self.B * self.T / seconds:,.0f} | {memory() / 1e9:.1f} GB | {apart}"

    def pytorch(self, model, precision, compiled):
        torch = self.torch
        torch.set_float32_matmul_precision("highest" if precision == "float32" else "high")
        forward = torch.compile(model) if compiled else model
        optimiser = torch.optim.AdamW(model.parameters(), lr=0.0, weight_decay=0.0)          # a rate of 0: the weights stay the same for all

        def step():
            optimiser.zero_grad(set_to_none=True)
            value = self.loss(forward, precision)
            value.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimiser.step()
        value = self.loss(forward, precision)
        value.backward()
        loss, found = float(value.detach()), {k: p.grad.double().cpu().numpy() for k, p in self.own.items()}
        del value
        torch.cuda.reset_peak_memory_stats()
        return self.row(step, torch.cuda.max_memory_allocated, loss, found)

    def diffeng(self, precision):
        cupy, config, tokens, targets = self.cupy, self.config, self.tokens, self.targets
        on_device = {k: cupy.asarray(v) for k, v in self.parameters.items()}
        both = de.jit(lambda p: de.value_and_grad(lambda p: loss_of(p, tokens, targets, config))(p), device="cuda", precision=precision)
        loss, found = both(on_device)
        loss, found = float(loss), {k: v.get().astype(float) for k, v in found.items()}
        del both
        released(cupy)
        settings = TrainingSettings(batch=self.B, learning_rate=1e-4, warmup=0, steps=1000)
        state = {part: {k: cupy.array(v) for k, v in each.items()} for part, each in new_state(on_device).items()}
        run, numbers = training_step(config, settings, device="cuda", precision=precision), settings.numbers(1) | {"size": F32(0), "kept": F32(1)}

        def advance():
            nonlocal state
            state = run(state, [(tokens, targets, 0)], numbers)[0]
        return self.row(advance, cupy.get_default_memory_pool().total_bytes, loss, found)


def gpt2(precision, compiled=False):
    def part(gpu, cupy, asked):
        model, trial = None, LanguageModel(asked, cupy)
        try:
            model = trial.in_pytorch()
        except Exception as error:                           # diffeng is measured all the same
            traceback.print_exc()
            yield f"PyTorch beside it {_said(error)}\n"
        yield f"| GPT-2, {asked.layers} layers, batch {asked.batch}, context {asked.context}: a training step (loss, gradients, clipping, AdamW) " \
              "| first call | ms | tokens/s | peak memory | loss, relative error | worst gradient, relative error in norm |\n|---|---|---|---|---|---|---|"
        if not compiled:
            yield attempted(f"diffeng, {precision}", 7, lambda: trial.diffeng(precision))
        released(cupy)
        if model is not None:
            yield attempted(f"PyTorch {'compiled' if compiled else 'eager'}, {precision}", 7, lambda: trial.pytorch(model, precision, compiled))
    return part


PRECISIONS = "float32", "tf32", "bfloat16"
PARTS = {"right": right, **{f"gpt2 {p}": gpt2(p) for p in PRECISIONS}, "tensors": tensors, "kernels": kernels, "transfers": transfers,
         **{f"compiled {p}": gpt2(p, True) for p in PRECISIONS}}


def carry_out(part, asked):
    """A part, in this process."""
    import cupy

    from diffeng.kernels.cuda.device import device
    try:
        for line in PARTS[part](device(), cupy, asked):
            print(line, flush=True)
    except Exception as error:
        traceback.print_exc()
        print(f"\n{_said(error)}", flush=True)


def in_its_own_process(part, seconds, say):
    """A part, whose lines are said as they come."""
    child = subprocess.Popen([sys.executable, __file__, *sys.argv[1:], "--part", part], stdout=subprocess.PIPE, text=True)
    clock = threading.Timer(seconds, child.kill)
    clock.start()
    for line in child.stdout:
        say(line.rstrip("\n"))
    if child.wait():
        say(f"\n**failed**: the process ended with code {child.returncode}" + ("" if clock.is_alive() else ": it took too long"))
    clock.cancel()


def in_the_simulator():
    """The same functions, small."""
    print("In the simulator, largest difference from float64 on the CPU, relative:")
    device, width = Simulator(), 42
    for name, f, args in cases(True):
        print(f"  {name:{width}s} {difference(device, f, args):.1e}")
    os.environ["DIFFENG_CUDA"] = "simulator"
    print(f"  {'a small GPT-2: its loss':{width}s} {{:.1e}}\n  {'the worst of its gradients':{width}s} {{:.1e}}".format(*small_gpt2()))
    print(f"  {'steps of a network of tensors, float32':{width}s} {trained(10, 7):.1e}\n  compare: {verdict()}")
    print("\nWith a GPU this would measure tokens a second of a training step of GPT-2 (12 layers, batch 8, context 1024) in float32, tf32 and bfloat16,")
    print("beside PyTorch's, eager and compiled; a step of a network of tensors (1024-4096-1024, batch 4096) beside PyTorch's; GB a second between host and GPU;")
    print("and as a share of the bandwidth of a copy:\n  " + "\n  ".join(name for name, *_ in functions(True)))


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--markdown", metavar="FILE")
    parser.add_argument("--minutes", type=float, default=10, help="at most; a part is ended that takes more than half of what is left")
    parser.add_argument("--parts", default=",".join(PARTS), help="which of these, in this order: %(default)s")
    parser.add_argument("--part", choices=PARTS, help=argparse.SUPPRESS)
    parser.add_argument("--layers", type=int, default=12)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--context", type=int, default=1024)
    asked = parser.parse_args()
    if asked.part:
        return carry_out(asked.part, asked)
    parts = asked.parts.split(",")
    if not set(parts) <= set(PARTS):
        parser.error(f"--parts: there are {', '.join(PARTS)}")
    started = time.monotonic()
    os.environ.pop("DIFFENG_CUDA", None)                     # the GPU itself is asked for here
    try:
        from diffeng.kernels.cuda.device import device
        gpu = device()
    except RuntimeError as error:
        print(f"{error}\n")
        return in_the_simulator()
    import cupy
    if asked.markdown:
        open(asked.markdown, "w").close()

    def say(text):
        print(text, flush=True)
        if asked.markdown:
            with open(asked.markdown, "a", encoding="utf-8") as file:
                file.write(text + "\n")
    versions = f"CuPy {cupy.__version__}, driver for CUDA {cupy.cuda.runtime.driverGetVersion() / 1000:.1f}"
    say(f"# On a {gpu.name}\n\nMeasured on {datetime.date.today()} by `benchmarks/gpu.py`; {versions}; {gpu.grid.multiprocessors} multiprocessors.")
    for k, part in enumerate(parts):
        began = time.monotonic()
        left = 60 * asked.minutes - (began - started)
        if left < 5:
            say(f"\nThe time was over before: {', '.join(parts[k:])}.")
            break
        say(f"\n## {part}\n")
        in_its_own_process(part, left / 2, say)
        say(f"\n{time.monotonic() - began:.0f} s.")


if __name__ == "__main__":
    main()
