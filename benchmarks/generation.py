"""Generation with the 124M shape beside transformers' generate with its cache: tokens a second, with the same random weights, in the same run.

What it is: greedy and batched generation, checked before it is timed: both must choose the same tokens. Rounds are interleaved, the best round counts; the
whole call is timed, its prompt included. The bound is the weights read once a step, at the speed at which NumPy multiplies them with a vector.

Run: python benchmarks/generation.py [rounds, 3]           (needs `pip install torch transformers`)
"""
import os
import sys
import tempfile
import time

import numpy as np
import torch
import transformers

from diffeng.kernels import threads
from diffeng.llm import GPT2

PROMPT, NEW = 16, 64


def models():
    """The same weights twice: transformers' model, saved, and loaded here."""
    torch.manual_seed(0)
    theirs = transformers.GPT2LMHeadModel(transformers.GPT2Config()).eval()
    with torch.no_grad():                               # new weights give the same token again and again
        for p in theirs.parameters():
            p += 0.02 * torch.randn_like(p)
    with tempfile.TemporaryDirectory() as directory:
        theirs.save_pretrained(directory)
        ours = GPT2.load(directory)
        ours.parameters = {name: array.copy() for name, array in ours.parameters.items()}          # in memory, as theirs
    return ours, theirs


def seconds(run):
    began = time.perf_counter()
    result = run()
    return time.perf_counter() - began, result


def main(rounds):
    torch.set_num_threads(threads.count())
    transformers.logging.set_verbosity_error()
    ours, theirs = models()
    size = sum(a.nbytes for a in ours.parameters.values()) - ours.parameters["wpe.weight"].nbytes
    weights, x = [a for a in ours.parameters.values() if a.ndim == 2 and len(a) < 10_000], np.ones(4 * 768, np.float32)
    speed = max(sum(w.nbytes for w in weights) / seconds(lambda: [x[:len(w)] @ w for w in weights])[0] for _ in range(5))
    print(f"{size / 1e6:.0f} MB of weights a step, {speed / 1e9:.0f} GB/s: at most {speed / size:.0f} steps a second with {threads.count()} threads")
    print(f"{'batch':>6} {'diffeng':>9} {'transformers':>13}   tokens a second, {PROMPT} tokens in the prompt, {NEW} new ones", flush=True)
    for batch in (1, 2, 4, 8):
        tokens = np.random.default_rng(batch).integers(0, 50257, (batch, PROMPT))
        their = torch.tensor(tokens)

        def a():
            return ours.generate(tokens, NEW, temperature=0)

        def b():
            with torch.no_grad():
                return theirs.generate(their, max_new_tokens=NEW, min_new_tokens=NEW, do_sample=False, use_cache=True, pad_token_id=0).numpy()
        same = (a() == b()).mean()
        assert same > 0.99, f"only {same:.0%} of the tokens are the same"          # a tie may fall to either side
        best = [min(pair) for pair in zip(*[(seconds(a)[0], seconds(b)[0]) for _ in range(rounds)])]
        print(f"{batch:>6} {batch * NEW / best[0]:>9.1f} {batch * NEW / best[1]:>13.1f}", flush=True)


if __name__ == "__main__":
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 3)
