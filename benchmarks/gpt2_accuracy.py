"""GPT-2 at its published sizes beside transformers' GPT2LMHeadModel: logits, loss and the gradient of every parameter, with the same random weights.

What it is: tests/test_llm_torch.py at real size, by hand, because it takes gigabytes. Each way of the directory is gone: theirs saved and loaded here, ours
saved and loaded there. Nothing is timed. Asked: logits and loss within 1e-5 in float32 and 1e-12 in float64, of the largest; gradients within 1e-4 and 1e-10
in norm.

Run: python benchmarks/gpt2_accuracy.py [gpt2] [float32 float64]           (needs `pip install torch transformers`; 8 GB for gpt2 in float64)
"""
import sys
import tempfile

import numpy as np
import torch
import transformers

import diffeng as de
from diffeng.llm import GPT2, GPT2Config
from diffeng.llm.model import cross_entropy, gpt2

BATCH, LENGTH = 2, 64


def compared(name, dtype):
    """(name of a quantity, relative difference, what is asked), one after the other."""
    logits_within, gradient_within = (1e-5, 1e-4) if dtype == "float32" else (1e-12, 1e-10)
    config = GPT2Config.named(name)
    torch.manual_seed(0)
    theirs = transformers.GPT2LMHeadModel(transformers.GPT2Config(n_embd=config.emb_dim, n_head=config.n_heads, n_layer=config.n_layers))
    theirs = theirs.to(getattr(torch, dtype)).eval()
    with torch.no_grad():
        for p in theirs.parameters():
            p += 0.02 * torch.randn_like(p)
    with tempfile.TemporaryDirectory() as directory:
        theirs.save_pretrained(directory)
        ours = GPT2.load(directory)
        ours.parameters = {k: a.copy() for k, a in ours.parameters.items()}
    random = np.random.default_rng(0)
    tokens, targets = random.integers(0, config.vocab_size, (2, BATCH, LENGTH))
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


def main(names):
    transformers.logging.set_verbosity_error()
    wrong = 0
    for name in [n for n in names if not n.startswith("float")] or ["gpt2"]:
        for dtype in [n for n in names if n.startswith("float")] or ["float32", "float64"]:
            for what, found, within in compared(name, dtype):
                print(f"{name} {dtype}: {what}: {found:.1e}{'' if found <= within else f', more than {within:.0e}'}", flush=True)
                wrong += found > within
    return int(wrong > 0)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
