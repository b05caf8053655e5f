"""The directory of a training run: what it is, how far it has come, and what happened.

What it is: `Run`. training.json says what is trained and how; model.safetensors, which anybody can load, and moments.STEP.safetensors are a checkpoint;
log.jsonl has a line for each look at the loss. What it is not: no training (train.py), no tokens (data.py).

A checkpoint takes effect in one instant: the moments are written under a new name, then model.safetensors, whose header says the step, is replaced; only then
do the old moments go. Whenever the process dies or the disk fills up, one whole checkpoint is there, and what else lies about is removed when the run goes on.
Why a file: it alone decides what is kept.
"""
import contextlib
import dataclasses
import json
import os
import re

import numpy as np

from ..writing import refused, replacing
from .config import GPT2Config
from .files import read_metadata, read_tensors, write_tensors
from .step import TrainingSettings, new_state
from .weights import load, save

MAY_CHANGE = ("steps",)                          # settings with which a run may go on under another value
_ABOUT, _MODEL, _LOG, _LOCK = "training.json", "model.safetensors", "log.jsonl", "lock"
_MOMENTS = re.compile(r"moments\.(\d+)\.safetensors")


class Run:
    """A run in a directory, which may be missing. config, settings: those it was begun with, or None. given: whether it began with parameters of others."""

    def __init__(self, directory):
        self.directory = os.fspath(directory)
        self.config, self.settings, self.given = None, None, False
        path = self.path(_ABOUT)
        if not os.path.exists(path):
            if any(os.path.exists(self.path(name)) for name in (_MODEL, "config.json", _MODEL + ".index.json")):
                raise ValueError(f"{self.directory} has a model that was not trained here (there is no {_ABOUT}), and would be written over: "
                                 "name another directory")
            return
        try:
            with open(path, encoding="utf-8") as file:
                said = json.load(file)
            self.config, self.settings, self.given = GPT2Config(**said["config"]), TrainingSettings(**said["settings"]), said.get("given", False)
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            raise ValueError(f"{path} does not describe a run: {error}") from error

    def path(self, name):
        return os.path.join(self.directory, name)

    @contextlib.contextmanager
    def alone(self):
        """Nobody else may train here meanwhile. The directory is made where it is missing, and goes again if nothing comes into it; what a killed process left
        half written, or no longer needed, is removed. Raises RuntimeError if somebody else trains here, OSError where nobody can; an OSError that comes from
        inside gets a note of what is left."""
        made, lock = not os.path.isdir(self.directory), self.path(_LOCK)
        try:
            os.makedirs(self.directory, exist_ok=True)
            file = open(lock, "w")
        except OSError as error:
            raise refused(self.directory, error) from error
        with file:
            with contextlib.suppress(ImportError):                 # Windows has no fcntl
                import fcntl
                try:
                    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except BlockingIOError:
                    raise RuntimeError(f"another process is training in {self.directory}: stop it, or name another directory") from None
            for name in os.listdir(self.directory):
                if re.search(r"\.\d+\.part$", name):
                    os.remove(self.path(name))
            self._tidy()
            try:
                yield
            except OSError as error:
                if (step := self.step()) is not None:
                    error.add_note(f"The checkpoint of step {step} in {self.directory} is as it was: the same command goes on from there.")
                raise
            finally:
                if os.listdir(self.directory) == [_LOCK]:
                    os.remove(lock)
                    if made:
                        os.rmdir(self.directory)

    def begin(self, config, settings, given=False):
        """Write down what is trained, or see that it is what was begun. given: with parameters of others? Raises ValueError that says what differs."""
        if self.config is not None:
            for mine, other in ((self.config, config), (self.settings, settings)):
                changed = [f for f in dataclasses.asdict(mine) if getattr(mine, f) != getattr(other, f) and f not in MAY_CHANGE]
                if changed:
                    f = changed[0]
                    raise ValueError(f"the run in {self.directory} was begun with {f} {getattr(mine, f)!r}, and {getattr(other, f)!r} is asked for now: "
                                     "go on as it was begun, or name another directory")
            if self.given and not given and self.step() is None:
                raise ValueError(f"the run in {self.directory} was begun with the parameters of another model, and stopped before they were kept: "
                                 "give them once more (--load)")
        self.config, self.settings, self.given = config, settings, given or self.given
        with replacing(self.path(_ABOUT)) as file:
            about = {"config": dataclasses.asdict(config), "settings": dataclasses.asdict(settings), "given": self.given}
            file.write(json.dumps(about, indent=2).encode() + b"\n")

    # ---- checkpoints ------------------------------------------------------------------------------------------------------------------------

    def step(self):
        """The step of the checkpoint, or None where there is none yet."""
        if not os.path.exists(self.path(_MODEL)):
            return None
        step = read_metadata(self.path(_MODEL)).get("step", "")
        if not step.isdecimal():
            raise ValueError(f"{self.path(_MODEL)} does not say at which step of the training it was written: it is of another origin")
        return int(step)

    def save(self, step, state):
        """Make this state the checkpoint. Raises RuntimeError, with the old one untouched, where it is not finite; OSError where the disk refuses."""
        for name, p in state["parameters"].items():
            if not np.isfinite(p).all():
                raise RuntimeError(f"after step {step} {name} is not finite any more; the checkpoint of step {self.step()} in {self.directory} is as it was")
        moments = self.path(f"moments.{step}.safetensors")
        try:
            write_tensors(moments, {f"{part}.{name}": x for part in ("first", "second") for name, x in state[part].items()}, {"step": str(step)})
            # the counter of the random numbers, and so the position in the data, is this number of steps; their key is a setting
            save(self.directory, self.config, state["parameters"], {"step": str(step)})
        finally:
            self._tidy()

    def load(self):
        """(step, state) of the checkpoint, in memory of its own. Raises ValueError on files that are no checkpoint of this run, OSError on a missing one."""
        step = self.step()
        config, parameters = load(self.directory)
        if config != self.config:
            raise ValueError(f"{self.directory}: config.json and {_ABOUT} describe different models")
        state = new_state({name: np.array(p, np.float32) for name, p in parameters.items()})
        path = self.path(f"moments.{step}.safetensors")
        if not os.path.exists(path):
            raise FileNotFoundError(f"{path} is missing, without which training cannot go on from step {step}; {_MODEL} itself can be loaded")
        found = read_tensors(path)
        for part in ("first", "second"):
            for name, zeros in state[part].items():
                x = found.get(f"{part}.{name}")
                if x is None or x.shape != zeros.shape or x.dtype != zeros.dtype:
                    raise ValueError(f"{path} has no {part}.{name} of shape {zeros.shape} and dtype {zeros.dtype}")
                zeros[...] = x
        return step, state

    def _tidy(self):
        """Moments that belong to no checkpoint go."""
        step = self.step()
        for name in os.listdir(self.directory):
            if (found := _MOMENTS.fullmatch(name)) and int(found[1]) != step:
                os.remove(self.path(name))

    # ---- the log ------------------------------------------------------------------------------------------------------------------------------

    def log(self, **entry):
        """One line more: step, and numbers. Raises OSError that names the file when the disk refuses."""
        try:
            with open(self.path(_LOG), "a", encoding="utf-8") as file:
                file.write(json.dumps(entry) + "\n")
        except OSError as error:
            raise refused(self.path(_LOG), error) from error

    def entries(self):
        """What was logged, oldest first; a line that a kill cut off is left out."""
        found = []
        if os.path.exists(self.path(_LOG)):
            with open(self.path(_LOG), encoding="utf-8", errors="replace") as file:
                for line in file:
                    with contextlib.suppress(ValueError):
                        entry = json.loads(line)
                        if isinstance(entry, dict) and isinstance(entry.get("step"), int):
                            found.append(entry)
        return found

    def back_to(self, step):
        """Forget what was logged after a step: it will happen again."""
        kept = [e for e in self.entries() if e["step"] <= step]
        with replacing(self.path(_LOG)) as file:
            file.write("".join(json.dumps(e) + "\n" for e in kept).encode())
