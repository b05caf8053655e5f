"""Training a GPT-2: diffeng against PyTorch eager, the same weights, batches and settings, in the same run.

speed: a step (forward, backward, clipping, AdamW; float32, no dropout) of two shapes, on two threads; rounds interleaved, the best counts, losses compared
first.
memory: the peak of a process that makes four steps and does nothing else, one process a side.
first: how long the first step takes (recording, planning, compiling).
parts: what the parts of a step cost, beside the least they could: products at the speed of the best one, memory at the speed of a = b + c.
learning: 2000 steps of the small shape on a megabyte of Python's standard library, by characters, and both validation losses.

PyTorch's side is written twice: by hand (nn.Linear, scaled_dot_product_attention) and as transformers' GPT2LMHeadModel; AdamW is its default. The faster one
counts.
Expected: the products are the same library's in speed, so that all there is to gain lies between them; see docs/memory-and-cost.md.

Run: python benchmarks/gpt2_training.py [speed] [memory] [first] [parts] [learning]           (needs `pip install torch transformers`; the large shape 6 GB)
"""
import dataclasses
import json
import pathlib
import subprocess
import sys
import sysconfig
import tempfile
import time

import numpy as np

from diffeng.llm import GPT2Config, init_parameters
from diffeng.llm.step import TrainingSettings, new_state, training_step

SHAPES = {"4 layers, 4 heads, width 128, context 64, batch 12, vocabulary 65": (4, 4, 128, 64, 12, 65),
          "12 layers, 12 heads, width 768, context 64, batch 4, vocabulary 50257": (12, 12, 768, 64, 4, 50257)}
SIDES = ("diffeng", "PyTorch", "transformers")


def settings_of(batch, **changes):
    return TrainingSettings(batch=batch, **dict(steps=2000, warmup=100, learning_rate=1e-3) | changes)


def config_of(shape):
    layers, heads, width, context, _, vocabulary = shape
    return GPT2Config(vocabulary, context, width, heads, layers, 0.0)


# ---- one side each: a function of (tokens, targets, number of the step), which returns the loss -------------------------------------------------

def diffeng_side(config, settings):
    step, state = training_step(config, settings), [new_state(init_parameters(config, 0, np.float32))]

    def run(tokens, targets, k):
        state[0], loss, _ = step(state[0], [(tokens, targets, k)], settings.numbers(k))
        return float(loss)
    run.parameters = lambda: state[0]["parameters"]
    return run


def torch_side(config, settings, make):
    import torch
    torch.set_num_threads(2)
    model = make(config)
    with torch.no_grad():
        for name, p in model.named_parameters():
            p.copy_(torch.from_numpy(init(config)[name.removeprefix("transformer.")]))
    init.known.clear()
    parameters = list(model.parameters())
    optimizer = torch.optim.AdamW([{"params": [p for p in parameters if p.ndim > 1], "weight_decay": settings.decay},
                                   {"params": [p for p in parameters if p.ndim == 1], "weight_decay": 0.0}],
                                  betas=(settings.beta1, settings.beta2), eps=settings.epsilon)

    def loss_of(tokens, targets):
        logits = model(torch.from_numpy(tokens))
        return torch.nn.functional.cross_entropy(getattr(logits, "logits", logits).flatten(0, 1), torch.from_numpy(targets).flatten())

    def run(tokens, targets, k):
        for group in optimizer.param_groups:
            group["lr"] = settings.rate(k)
        optimizer.zero_grad(set_to_none=True)
        loss = loss_of(tokens, targets)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(parameters, settings.clip)
        optimizer.step()
        return loss.item()

    def validation(batches):
        with torch.no_grad():
            return float(np.mean([loss_of(*pair).item() for pair in batches]))
    run.validation = validation
    return run


def init(config):
    """The initial weights, made once."""
    if config not in init.known:
        init.known[config] = init_parameters(config, 0, np.float32)
    return init.known[config]


init.known = {}


def by_hand(config):
    """GPT-2 in PyTorch's words, with the names and the (in, out) weights of the checkpoint."""
    import torch
    from torch import nn
    from torch.nn import functional as F

    class Affine(nn.Module):
        def __init__(self, n, m):
            super().__init__()
            self.weight, self.bias = nn.Parameter(torch.empty(n, m)), nn.Parameter(torch.zeros(m))

        def forward(self, x):
            return torch.addmm(self.bias, x.view(-1, x.shape[-1]), self.weight).view(*x.shape[:-1], -1)

    class Block(nn.Module):
        def __init__(self, C, H):
            super().__init__()
            self.ln_1, self.ln_2, self.heads = nn.LayerNorm(C), nn.LayerNorm(C), H
            self.attn = nn.ModuleDict(dict(c_attn=Affine(C, 3 * C), c_proj=Affine(C, C)))
            self.mlp = nn.ModuleDict(dict(c_fc=Affine(C, 4 * C), c_proj=Affine(4 * C, C)))

        def forward(self, x):
            B, T, C = x.shape
            q, k, v = (part.view(B, T, self.heads, -1).transpose(1, 2) for part in self.attn["c_attn"](self.ln_1(x)).split(C, 2))
            mixed = F.scaled_dot_product_attention(q, k, v, is_causal=True).transpose(1, 2).reshape(B, T, C)
            x = x + self.attn["c_proj"](mixed)
            return x + self.mlp["c_proj"](F.gelu(self.mlp["c_fc"](self.ln_2(x)), approximate="tanh"))

    class Model(nn.Module):
        def __init__(self):
            super().__init__()
            C = config.emb_dim
            self.wte, self.wpe = nn.Embedding(config.vocab_size, C), nn.Embedding(config.context_length, C)
            self.h, self.ln_f = nn.ModuleList([Block(C, config.n_heads) for _ in range(config.n_layers)]), nn.LayerNorm(C)

        def forward(self, tokens):
            x = self.wte(tokens) + self.wpe(torch.arange(tokens.shape[1]))
            for block in self.h:
                x = block(x)
            return self.ln_f(x) @ self.wte.weight.T
    return Model()


def from_transformers(config):
    import transformers
    transformers.logging.set_verbosity_error()
    return transformers.GPT2LMHeadModel(transformers.GPT2Config(
        vocab_size=config.vocab_size, n_positions=config.context_length, n_embd=config.emb_dim, n_layer=config.n_layers, n_head=config.n_heads,
        resid_pdrop=0.0, embd_pdrop=0.0, attn_pdrop=0.0, bos_token_id=None, eos_token_id=None)).train()


def side(name, config, settings):
    if name == "diffeng":
        return diffeng_side(config, settings)
    return torch_side(config, settings, by_hand if name == "PyTorch" else from_transformers)


# ---- what is measured -----------------------------------------------------------------------------------------------------------------------------

def batches_of(shape, count):
    *_, context, batch, vocabulary = shape
    random = np.random.default_rng(0)
    return [random.integers(0, vocabulary, (2, batch, context)) for _ in range(count)]


def speed(shape):
    config, settings = config_of(shape), settings_of(shape[4])
    rounds, steps = (12, 10) if shape[2] < 500 else (8, 1)
    sides = {name: side(name, config, settings) for name in SIDES}
    best, k = dict.fromkeys(SIDES, np.inf), 0
    for tokens, targets in batches_of(shape, 4):
        k += 1
        losses = {name: run(tokens, targets, k) for name, run in sides.items()}
        assert all(abs(x - losses["diffeng"]) < 1e-5 * x for x in losses.values()), f"wrong before it is timed: {losses}"
    (tokens, targets), = batches_of(shape, 1)
    for _ in range(rounds):
        for name, run in sides.items():
            for _ in range(steps):
                began = time.perf_counter()
                run(tokens, targets, k)
                best[name] = min(best[name], time.perf_counter() - began)
    for name in SIDES:
        print(f"    {name:>12}  {best[name] * 1e3:9.1f} ms a step  {shape[3] * shape[4] / best[name]:9,.0f} tokens/s")
    print(f"    PyTorch / diffeng: {min(best['PyTorch'], best['transformers']) / best['diffeng']:.2f}")


def process(name, shape):
    """Four steps in this process: (peak memory in MB, seconds of the first step)."""
    run, times = side(name, config_of(shape), settings_of(shape[4])), []
    for k, (tokens, targets) in enumerate(batches_of(shape, 4), 1):
        began = time.perf_counter()
        run(tokens, targets, k)
        times.append(time.perf_counter() - began)
    peak, = [line.split()[1] for line in open("/proc/self/status") if line.startswith("VmHWM")]          # getrusage would tell of the parent, too
    return int(peak) * 1024 / 1e6, times[0]


def alone(name, shape, environment=None):
    import os
    command = [sys.executable, __file__, "process", name, json.dumps(shape)]
    return json.loads(subprocess.run(command, check=True, capture_output=True, env=os.environ | (environment or {})).stdout)


def memory(shape):
    for name in SIDES:
        print(f"    {name:>12}  {alone(name, shape)[0]:9.0f} MB at the peak")


def first(shape):
    with tempfile.TemporaryDirectory() as empty:
        for words in ("empty cache", "second process"):
            print(f"    diffeng, {words:>14}: {alone('diffeng', shape, {'DIFFENG_CACHE': empty})[1]:6.2f} s for the first step")
    print(f"    PyTorch:                 {alone('PyTorch', shape)[1]:6.2f} s")


def parts(shape):
    """The whole step, and programs that do less, one after the other in turns; their differences are the parts."""
    import diffeng as de
    from diffeng.llm.step import training_loss
    from diffeng.llm.train import evaluation
    layers, _, width, context, batch, vocabulary = shape
    config, positions, key = config_of(shape), context * batch, np.array(0, np.uint64)
    (tokens, targets), = batches_of(shape, 1)
    dropped, settings = dataclasses.replace(config, drop_rate=0.1), settings_of(batch)
    again = settings_of(batch, recompute=True)
    p = init_parameters(config, 0, np.float32)
    gradient = de.jit(lambda p, x, y: de.value_and_grad(training_loss)(p, x, y, key, key, config, settings))
    runs = {"forward": lambda f=evaluation(config): f(p, tokens, targets), "gradient": lambda: gradient(p, tokens, targets)}
    for name, c, s in (("whole", config, settings), ("dropout", dropped, settings), ("recompute", config, again)):
        runs[name] = lambda run=diffeng_side(c, s): run(tokens, targets, 1)
    a, b, big = np.ones((2048, 2048), np.float32), np.ones((2048, 2048), np.float32), [np.ones(1 << 25, np.float32) for _ in range(2)]
    runs |= {"product": lambda: a @ b, "triad": lambda f=de.jit(lambda x, y: x + y): f(*big)}
    best = dict.fromkeys(runs, np.inf)
    for _ in range(60 if width < 500 else 7):
        for name, run in runs.items():
            began = time.perf_counter()
            run()
            best[name] = min(best[name], time.perf_counter() - began)
    flops, bandwidth = 2 * 2048 ** 3 / best["product"], 12 * (1 << 25) / best["triad"]
    forward = 2 * positions * (layers * (12 * width ** 2 + 2 * context * width) + width * vocabulary) / flops
    n = config.parameter_count
    print(f"    ceilings: products {flops / 1e9:.0f} GFLOP/s, memory {bandwidth / 1e9:.1f} GB/s")
    for words, took, least in (
            ("forward pass", best["forward"], forward), ("backward pass", best["gradient"] - best["forward"], 2 * forward),
            ("norm and AdamW", best["whole"] - best["gradient"], 32 * n / bandwidth), ("whole step", best["whole"], 3 * forward + 32 * n / bandwidth)):
        print(f"    | {words} | {took * 1e3:.1f} ms | {least * 1e3:.1f} ms | {100 * least / took:.0f} % |")
    for words, name in (("dropout 0.1 adds", "dropout"), ("recomputing blocks adds", "recompute")):
        print(f"    | {words} | {(best[name] - best['whole']) * 1e3:.1f} ms |")


def a_megabyte():
    """Sources of the standard library, in ASCII: every machine has them."""
    found, size = [], 0
    for path in sorted(pathlib.Path(sysconfig.get_path("stdlib")).glob("*.py")):
        text = path.read_text(encoding="utf-8", errors="ignore")
        if text.isascii():
            found.append(text)
            size += len(text)
        if size >= 1_000_000:
            return "".join(found)[:1_000_000]


def learning():
    """2000 steps on both sides."""
    from diffeng.llm.data import Tokens, prepare
    from diffeng.llm.tokenizers import CharacterTokenizer
    from diffeng.llm.train import evaluation
    with tempfile.TemporaryDirectory() as directory:
        text = a_megabyte()
        path = pathlib.Path(directory) / "text.txt"
        path.write_text(text)
        tokenizer = CharacterTokenizer(text)
        prepare(path, tokenizer, directory)
        config = dataclasses.replace(config_of(next(iter(SHAPES.values()))), vocab_size=tokenizer.vocab_size)
        settings = settings_of(12)
        tokens = Tokens(directory, config.context_length, config.vocab_size)
        held, found = tokens.validation_batches(50, settings.batch), {}
        for name in ("diffeng", "PyTorch"):
            run, began = side(name, config, settings), time.perf_counter()
            for k in range(1, settings.steps + 1):
                run(*tokens.batch(k - 1, settings.batch), k)
            took = time.perf_counter() - began
            found[name] = run.validation(held) if name == "PyTorch" else float(np.mean([evaluation(config)(run.parameters(), *pair) for pair in held]))
            print(f"    {name:>12}  validation loss {found[name]:.4f} after {settings.steps} steps, {took:.0f} s")
        print(f"    difference: {100 * (found['diffeng'] / found['PyTorch'] - 1):+.2f} %")


def main(wanted):
    if wanted[:1] == ["process"]:
        print(json.dumps(process(wanted[1], json.loads(wanted[2]))))
        return
    for name in wanted or ["speed", "memory", "first", "parts", "learning"]:
        if name == "learning":
            print("learning, a megabyte of characters, the first shape")
            learning()
            continue
        for words, shape in SHAPES.items():
            print(f"{name}, {words}", flush=True)
            {"speed": speed, "memory": memory, "first": first, "parts": parts}[name](shape)


if __name__ == "__main__":
    main(sys.argv[1:])
