"""Training steps with tensors, modules and an optimiser: diffeng against PyTorch, one body for both, in the same run.

What it is: networks written once and given the same weights; their losses are compared before anything is timed. Rounds are interleaved, the best round counts.
"item" looks at the loss in every step, "mid" before the backward pass; otherwise nothing is looked at until the end. The control is one matrix product of
NumPy.
Expected: ten times PyTorch's speed where the arrays are small, for there both do nothing but pass calls on; one and a half times for the larger network, whose
products take the same time in both. The last lines are the memory of the process over many steps: it must not grow.

Run: python benchmarks/training.py [steps to watch memory over, 20000]           (needs `pip install torch`)
"""
import sys
import time

import numpy as np
import torch

import diffeng as de

ROUNDS, SECONDS = 9, 0.1
TOLERANCE = {"SGD": 1e-5, "Adam": 5e-5}              # Adam divides small gradients by their size: it makes much of the last bit


def network(m, sizes, sigmoid):
    """Linear layers with ReLU between them, with weights that are the same for every m."""
    rng, layers = np.random.default_rng(0), []
    for k, (n, o) in enumerate(zip(sizes, sizes[1:])):
        layer = m.nn.Linear(n, o)
        with m.no_grad():
            layer.weight.copy_(m.tensor((rng.standard_normal((o, n)) / n ** 0.5).astype(np.float32)))
            layer.bias.copy_(m.tensor(np.zeros(o, np.float32)))
        layers += [layer] + ([m.nn.ReLU()] if k < len(sizes) - 2 else [])
    return m.nn.Sequential(*layers, *([m.nn.Sigmoid()] if sigmoid else []))


def training(m, sizes, batch, sigmoid, look, optimiser):
    """A function that makes one step and returns the loss."""
    rng = np.random.default_rng(1)
    x = m.tensor(rng.standard_normal((batch, sizes[0])).astype(np.float32))
    y = m.tensor((rng.random((batch, 1)) > 0.5).astype(np.float32) if sigmoid else rng.integers(0, sizes[-1], batch))
    model, criterion = network(m, sizes, sigmoid), m.nn.BCELoss() if sigmoid else m.nn.CrossEntropyLoss()
    optimiser = getattr(m.optim, optimiser)(model.parameters(), lr=0.01)

    def step():
        optimiser.zero_grad()
        loss = criterion(model(x), y)
        if look == "mid":
            loss.item()
        loss.backward()
        optimiser.step()
        if look == "item":
            loss.item()
        return loss
    return step


CASES = {
    "10-5-1, batch 32": ((10, 5, 1), 32, True, "", "SGD"), "10-5-1, batch 32, item": ((10, 5, 1), 32, True, "item", "SGD"),
    "10-5-1, batch 32, mid": ((10, 5, 1), 32, True, "mid", "SGD"), "10-5-1, batch 32, Adam": ((10, 5, 1), 32, True, "", "Adam"),
    "784-256-128-10, batch 128": ((784, 256, 128, 10), 128, False, "", "SGD"), "784-256-128-10, Adam": ((784, 256, 128, 10), 128, False, "", "Adam"),
}


def seconds(run):
    n, began = 0, time.perf_counter()
    while time.perf_counter() - began < SECONDS:
        for _ in range(5):
            run()
        n += 5
    return (time.perf_counter() - began) / n


def main(steps):
    torch.set_num_threads(2)
    a = np.ones((256, 256), np.float32)
    print(f"{'':>28}  {'diffeng':>10}  {'PyTorch':>10}  {'times':>6}   microseconds a step")
    for name, case in CASES.items():
        ours, theirs = training(de, *case), training(torch, *case)
        for _ in range(10):
            mine, other = ours().item(), theirs().item()
            assert abs(mine - other) < TOLERANCE[case[-1]] * max(1, abs(other)), "wrong before it is timed"
        best = [1e9, 1e9]
        for _ in range(ROUNDS):
            for k, run in enumerate((ours, theirs)):
                best[k] = min(best[k], seconds(run))
        print(f"{name:>28}  {best[0] * 1e6:10.1f}  {best[1] * 1e6:10.1f}  {best[1] / best[0]:6.1f}")
    print(f"{'control':>28}  {min(seconds(lambda: a @ a) for _ in range(3)) * 1e6:10.1f}")
    step, pages = training(de, *CASES["10-5-1, batch 32"]), []
    for k in range(6):
        for _ in range(steps // 5):
            step()
        pages.append(int(open("/proc/self/statm").read().split()[1]) * 4)
    print(f"memory over {steps} steps, KiB: " + " ".join(map(str, pages)))


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 20_000)
