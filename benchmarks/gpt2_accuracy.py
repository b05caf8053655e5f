"""GPT-2 at real size beside transformers' GPT2LMHeadModel: logits, loss and the gradient of every parameter, with the same random weights; ten AdamW steps.

What it is: tests/test_llm_torch.py and test_llm_training_torch.py at the published sizes, by hand, because that takes gigabytes. Each way of the directory is
gone: theirs saved and loaded here, ours saved and loaded there. Nothing is timed. Asked: logits and loss within 1e-5 in float32 and 1e-12 in float64, of the
largest; gradients within 1e-4 and 1e-10 in norm; the losses of the steps, in float32, within 1e-5.

Run: python benchmarks/gpt2_accuracy.py [tiny odd gpt2] [float32 float64]           (needs `pip install torch transformers`; 8 GB for gpt2 in float64)
"""
import dataclasses
import gc
import itertools
import sys
import tempfile

import numpy as np
import torch
import transformers

import diffeng as de
from diffeng.llm import GPT2, GPT2Config, TrainingSettings
from diffeng.llm.model import cross_entropy, gpt2
from gpt2_training import SIDES, side          # beside this file

BATCH, LENGTH = 2, 64


def config_of(name):
    """odd: no size is a multiple of another's, or of a vector's length."""
    return GPT2Config(vocab_size=83, context_length=13, emb_dim=35, n_heads=5, n_layers=3) if name == "odd" else GPT2Config.named(name)


def compared(name, dtype):
    """(name of a quantity, relative difference, what is asked), one after the other."""
    logits_within, gradient_within = (1e-5, 1e-4) if dtype == "float32" else (1e-12, 1e-10)
    config = config_of(name)
    torch.manual_seed(0)
    theirs = transformers.GPT2LMHeadModel(transformers.GPT2Config(
        vocab_size=config.vocab_size, n_positions=config.context_length, n_embd=config.emb_dim, n_head=config.n_heads, n_layer=config.n_layers))
    theirs = theirs.to(getattr(torch, dtype)).eval()
    with torch.no_grad():
        for p in theirs.parameters():
            p += 0.02 * torch.randn_like(p)
    with tempfile.TemporaryDirectory() as directory:
        theirs.save_pretrained(directory)
        ours = GPT2.load(directory)
        ours.parameters = {k: a.copy() for k, a in ours.parameters.items()}
    random = np.random.default_rng(0)
    tokens, targets = random.integers(0, config.vocab_size, (2, BATCH, min(LENGTH, config.context_length)))
    want = theirs(torch.tensor(tokens)).logits
    loss = torch.nn.functional.cross_entropy(want.flatten(0, 1), torch.tensor(targets).flatten())
    loss.backward()
    want = want.detach().numpy()
    yield "logits", np.max(np.abs(ours.logits(tokens) - want)) / np.max(np.abs(want)), logits_within
    value, gradient = de.jit(de.value_and_grad(lambda p, x, y: cross_entropy(gpt2(p, x, config), y)))(ours.parameters, tokens, targets)
    yield "loss", abs(value / loss.item() - 1), logits_within
    apart = {}
    for k, p in theirs.named_parameters():
        g, w = gradient.pop(k.removeprefix("transformer.")), p.grad.numpy()
        apart[k] = np.linalg.norm(g - w) / np.linalg.norm(w)
    assert not gradient, f"{list(gradient)} have a gradient here alone"
    worst = max(apart, key=apart.get)
    yield f"gradient of {worst}, the worst of {len(apart)}", apart[worst], gradient_within
    del gradient
    with tempfile.TemporaryDirectory() as directory:
        ours.save(directory)
        back = transformers.GPT2LMHeadModel.from_pretrained(directory).eval()
    with torch.no_grad():
        yield "logits of what is saved here and loaded there", np.max(np.abs(back(torch.tensor(tokens)).logits.numpy() - want)) / np.max(np.abs(want)), 0


def trained(name):
    """The same of ten steps, on a new batch each, from the weights that training begins with."""
    config = dataclasses.replace(config_of(name), drop_rate=0.0)
    settings = TrainingSettings(batch=BATCH, steps=10, warmup=3)
    random, losses = np.random.default_rng(1), {}
    batches = random.integers(0, config.vocab_size, (10, 2, BATCH, min(LENGTH, config.context_length)))
    for who in SIDES:
        run = side(who, config, settings)
        losses[who] = np.array([run(*pair, k) for k, pair in enumerate(batches, 1)])
        del run
        gc.collect()
    for who in SIDES[1:]:
        yield f"losses of ten AdamW steps, from {losses[who][0]:.2f} to {losses[who][-1]:.2f}, beside {who}", \
            np.max(np.abs(losses["diffeng"] / losses[who] - 1)), 1e-5


def main(names):
    transformers.logging.set_verbosity_error()
    wrong = 0
    for name in [n for n in names if not n.startswith("float")] or ["tiny", "odd", "gpt2"]:
        for dtype in [n for n in names if n.startswith("float")] or ["float32", "float64"]:
            for what, found, within in itertools.chain(compared(name, dtype), trained(name) if dtype == "float32" else ()):
                print(f"{name} {dtype}: {what}: {found:.1e}{'' if found <= within else f', more than {within:.0e}'}", flush=True)
                wrong += not found <= within
    return int(wrong > 0)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
