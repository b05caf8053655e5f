"""Training a GPT-2: the loop, which knows when to look, when to keep, and when to stop.

What it is: `pretrain`. Every step does the same whatever happened before in this process: the batch, the dropout and the learning rate are functions of the
step's number, so that a run that was killed ends with the same weights as one that was not (on the same number of threads). What it is not: no arithmetic
(step.py), no files (run.py), no text (data.py). Why a file: signals, clocks and the terminal meet here, and nowhere else.
"""
import contextlib
import os
import signal
import sys
import threading
import time
from dataclasses import dataclass

import numpy as np

from .curve import draw
from .data import Tokens
from .model import cross_entropy, gpt2, init_parameters
from .run import Run
from .step import new_state, training_step


@dataclass(frozen=True)
class Outcome:
    """step: how far training came. loss: of the last step, None if there was none. validation: the last one, None if there was none. interrupted: by Ctrl-C."""

    step: int
    loss: float | None
    validation: float | None
    interrupted: bool


def pretrain(directory, config, settings, parameters=None, *, save_every=250, evaluate_every=250, evaluate_batches=20, log_every=10, progress=False,
             device="cpu", precision="float32"):
    """Train in a directory in which data.prepare left tokens; from its checkpoint, if it has one.

    config: GPT2Config; its drop_rate is the dropout. settings: TrainingSettings. parameters: to begin with, instead of new ones. Every so many steps: a
    checkpoint; the validation loss over so many batches; a line of log.jsonl, loss.svg. progress: a bar on the terminal, or lines where there is none. device,
    precision: where and how, see jit; a run may go on elsewhere, though not with the same bits. Returns an Outcome. SIGINT (Ctrl-C) and SIGTERM
    end it after the step in which they come, with a checkpoint.

    Raises RuntimeError when the loss is no number any more, with the last checkpoint as it was; ValueError on a run that was begun otherwise, or tokens that do
    not fit; OSError when the disk refuses.
    """
    run = Run(directory)
    with run.alone():
        tokens = Tokens(directory, config.context_length, config.vocab_size, settings.seed)
        run.begin(config, settings, parameters is not None)
        if run.step() is None:
            run.save(0, new_state(init_parameters(config, settings.seed, np.float32) if parameters is None else parameters))
        step, state = run.load()
        run.back_to(step)
        training, validation = training_step(config, settings, device, precision), evaluation(config, device, precision)
        state = _placed(state, device)
        held = tokens.validation_batches(evaluate_batches, settings.batch)
        loss = looked = None
        with _Interruption() as interruption, _Bar(step, settings, progress) as bar:
            while step < settings.steps and not interruption.came:
                step += 1
                numbers = [(step - 1) * settings.accumulate + k for k in range(settings.accumulate)]
                state, *found = training(state, [(*tokens.batch(n, settings.batch), n) for n in numbers], settings.numbers(step))
                loss, norm = map(float, found)                          # from a GPU, where the state stays
                if not np.isfinite(loss) or not np.isfinite(norm):
                    raise RuntimeError(f"step {step}: the loss is {loss}, and the norm of its gradient {norm}, at learning rate {settings.rate(step):.3g}. "
                                       f"The checkpoint of step {run.step()} in {run.directory} is as it was; begin anew in another directory "
                                       "with a lower rate")
                entry = bar.after(step, loss, settings.batch * settings.accumulate * config.context_length)
                if step % evaluate_every == 0 or step == settings.steps:
                    looked = entry["validation"] = float(np.mean([float(validation(state["parameters"], *pair)) for pair in held]))
                    bar.say(f"step {step}: loss {loss:.4f}, validation {looked:.4f}")
                if step % log_every == 0 or "validation" in entry:
                    run.log(step=step, loss=loss, rate=settings.rate(step), norm=norm, **entry)
                if step % save_every == 0:
                    run.save(step, _fetched(state, device))
                if "validation" in entry:
                    draw(run.entries(), os.path.join(directory, "loss.svg"))
            if run.step() != step:
                run.save(step, _fetched(state, device))
    return Outcome(step, loss, looked, interruption.came and step < settings.steps)


def evaluation(config, device="cpu", precision="float32"):
    """loss(parameters, tokens, targets), compiled, in which nothing is dropped."""
    from .. import jit
    return jit(lambda parameters, tokens, targets: cross_entropy(gpt2(parameters, tokens, config), targets), device=device, precision=precision)


def _memory(device):
    from ..devices import program_maker
    return program_maker(device).device


def _placed(state, device):
    """The state in the memory of its device."""
    memory = _memory(device)
    return state if memory is None else {part: {k: memory.array(x) for k, x in arrays.items()} for part, arrays in state.items()}


def _fetched(state, device):
    """The state as NumPy's arrays."""
    memory = _memory(device)
    return state if memory is None else {part: {k: memory.host(x) for k, x in arrays.items()} for part, arrays in state.items()}


class _Interruption:
    """Whether SIGINT or SIGTERM came. The second SIGINT is a KeyboardInterrupt again."""

    def __init__(self):
        self.came, self._before = False, {}

    def __enter__(self):
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM):
                self._before[number] = signal.signal(number, self._come)
        return self

    def _come(self, number, frame):
        if self.came:
            raise KeyboardInterrupt
        self.came = True

    def __exit__(self, *_):
        for number, handler in self._before.items():
            signal.signal(number, handler)


class _Bar:
    """The progress: loss, tokens a second and the time left, on stderr; lines where there is no terminal, nothing where nobody asked. Training goes on where
    nothing can be shown any more: the terminal is gone, or the disk full to which it is redirected."""

    def __init__(self, step, settings, wanted):
        self._bar, self._wanted, self._tokens, self._since = None, wanted, 0.0, None
        if wanted and sys.stderr.isatty():
            from tqdm import tqdm
            self._bar = tqdm(initial=step, total=settings.steps, unit="step", file=sys.stderr, dynamic_ncols=True,
                             bar_format="{n_fmt}/{total_fmt} {bar} {elapsed}, {remaining} left{postfix}")

    def __enter__(self):
        return self

    def after(self, step, loss, tokens):
        """One step is done. Returns what the log says of its speed, which the first step, in which kernels are compiled, does not know."""
        now = time.perf_counter()
        if self._since is not None:
            current = tokens / (now - self._since)
            self._tokens = 0.9 * self._tokens + 0.1 * current if self._tokens else current
        self._since = now
        if self._bar is not None:
            self._bar.set_postfix_str(f"loss {loss:.4f}, {self._tokens:,.0f} tokens/s", refresh=False)
            with contextlib.suppress(OSError):
                self._bar.update()
        return {"tokens_per_second": round(self._tokens)}

    def say(self, line):
        """A line above the bar. What was done since the last step does not count as a step's time."""
        with contextlib.suppress(OSError):
            if self._bar is not None:
                self._bar.write(line, file=sys.stderr)
            elif self._wanted:
                print(f"{line}, {self._tokens:,.0f} tokens/s", file=sys.stderr, flush=True)
        self._since = time.perf_counter()

    def __exit__(self, *_):
        if self._bar is not None:
            with contextlib.suppress(OSError):
                self._bar.close()
