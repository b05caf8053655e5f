"""Runs: killed, interrupted, out of disk or out of numbers, the last checkpoint is whole, and what goes on from it ends where it would have ended."""
import builtins
import errno
import json
import os
import pathlib
import random
import signal
import subprocess
import sys
import time
import xml.etree.ElementTree

import numpy as np
import pytest

from diffeng import cli
from diffeng.llm import GPT2Config, files, loss, run as runs
from diffeng.llm.curve import draw
from diffeng.llm.data import prepare
from diffeng.llm.run import Run
from diffeng.llm.step import TrainingSettings, new_state
from diffeng.llm.tokenizers import ByteTokenizer, load_tokenizer
from diffeng.llm.train import pretrain
from diffeng.llm.weights import load

CONFIG = GPT2Config(vocab_size=256, context_length=8, emb_dim=16, n_heads=2, n_layers=2, drop_rate=0.1)
SETTINGS = TrainingSettings(batch=4, accumulate=2, steps=30, warmup=5, learning_rate=3e-3, seed=2)
TEXT = "the quick brown fox jumps over the lazy dog\n" * 200


@pytest.fixture
def text(tmp_path):
    path = tmp_path / "text.txt"
    path.write_text(TEXT)
    return path


@pytest.fixture
def begun(tmp_path, text):
    directory = tmp_path / "run"
    directory.mkdir()
    prepare(text, ByteTokenizer(), directory)
    ByteTokenizer().save(directory)
    return directory


def train(directory, settings=SETTINGS, **options):
    return pretrain(directory, CONFIG, settings, **dict(save_every=10, evaluate_every=10, evaluate_batches=2, log_every=5) | options)


def kept(directory):
    """What a checkpoint is: the bytes of its files."""
    return {f.name: f.read_bytes() for f in sorted(directory.glob("*.safetensors"))}


def test_it_learns_and_leaves_a_model_anybody_can_load(begun):
    outcome = train(begun, TrainingSettings(batch=8, steps=200, warmup=10, learning_rate=1e-2))
    assert outcome.step == 200 and not outcome.interrupted and outcome.validation < 1.5 < np.log(256)
    config, parameters = load(begun)
    assert config == CONFIG and parameters["wte.weight"].dtype == np.float32
    tokens = load_tokenizer(begun).encode(TEXT)[:9]
    assert loss(parameters, tokens[:8], tokens[1:], config) < 1.5
    entries = Run(begun).entries()
    assert [e["step"] for e in entries] == list(range(5, 201, 5)) and entries[0]["loss"] > entries[-1]["loss"]
    assert {"step", "loss", "rate", "norm", "tokens_per_second"} <= set(entries[0]) and entries[-1]["validation"] == outcome.validation
    picture = (begun / "loss.svg").read_text()
    xml.etree.ElementTree.fromstring(picture)
    assert "validation" in picture and "step" in picture
    assert train(begun, TrainingSettings(batch=8, steps=200, warmup=10, learning_rate=1e-2)).loss is None          # done is done


def test_in_two_halves_it_ends_with_the_same_bits(tmp_path, text, begun):
    train(begun)
    whole = kept(begun)
    other = tmp_path / "other"
    other.mkdir()
    prepare(text, ByteTokenizer(), other)
    state = Run(other)
    state.begin(CONFIG, SETTINGS)
    seen = []

    def killed(*args, **options):
        seen.append(args)
        if len(seen) == 3:                       # after 0 and 10 the checkpoint of step 20 does not come about
            raise KeyboardInterrupt
        return writing(*args, **options)
    writing, runs.write_tensors = runs.write_tensors, killed
    try:
        with pytest.raises(KeyboardInterrupt):
            train(other)
    finally:
        runs.write_tensors = writing
    assert Run(other).step() == 10
    train(other)
    assert kept(other) == whole and len(whole) == 2
    logs = [[{k: v for k, v in e.items() if k != "tokens_per_second"} for e in Run(d).entries()] for d in (begun, other)]
    assert logs[0] == logs[1]


SCRIPT = """
import sys
sys.path.insert(0, {tests!r})
from pathlib import Path
from test_llm_train import train
print("ready", flush=True)
outcome = train(Path({directory!r}), {more})
sys.exit(130 if outcome.interrupted else 0)
"""


def started(directory, more=""):
    """A process that trains, once it has loaded all it needs."""
    script = SCRIPT.format(tests=os.path.dirname(__file__), directory=str(directory), more=more)
    process = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE)
    with process.stdout:
        process.stdout.readline()
    return process


def saves_and_dies(directory):
    """Save three checkpoints, killed before file operation 0, then 1, ..., until none is left: each time one whole checkpoint is there, and goes on."""
    run, n, done = Run(directory), 0, False
    with run.alone():
        run.begin(CONFIG, SETTINGS)
    state = new_state({name: np.zeros(shape, np.float32) for name, shape in CONFIG.parameter_shapes.items()})
    while not done:
        child = os.fork()
        if not child:
            left = iter(range(n))
            for module, name in ((os, "replace"), (os, "fsync"), (runs.os, "remove"), (builtins, "open")):
                def dying(*args, real=getattr(module, name), **options):
                    if next(left, None) is None:
                        os.kill(os.getpid(), signal.SIGKILL)
                    return real(*args, **options)
                setattr(module, name, dying)
            begun = run.step() or 0
            for step in range(begun, begun + 3):
                run.save(step, state)
            os._exit(0)
        done = os.waitpid(child, 0)[1] == 0
        with run.alone():
            step = run.step()
            assert step is None or run.load()[0] == step
            assert len(list(directory.glob("moments*"))) == (step is not None) and not list(directory.glob("*.part"))
        n += 1
    return n


def test_killed_at_every_file_operation_of_a_checkpoint(tmp_path):
    script = f"import sys; sys.path.insert(0, {os.path.dirname(__file__)!r})\nfrom test_llm_train import *\nprint(saves_and_dies(pathlib.Path({str(tmp_path)!r})))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)          # a process without threads, which may be forked
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) > 50


LONGER = "__import__('dataclasses').replace(__import__('test_llm_train').SETTINGS, steps=400)"


def test_killed_at_random_moments_it_ends_with_the_same_bits(tmp_path, text, begun):
    import dataclasses
    settings = dataclasses.replace(SETTINGS, steps=400)
    train(begun, settings)
    other = tmp_path / "other"
    other.mkdir()
    prepare(text, ByteTokenizer(), other)
    dice, died = random.Random(11), 0
    while True:
        process = started(other, LONGER)
        if died < 2:
            begun_at = Run(other).step()
            while Run(other).step() in (None, begun_at):                # it has kept something, and is somewhere on the way to the next
                assert process.poll() is None
                time.sleep(0.001)
            time.sleep(dice.random() * 0.05)
            process.send_signal(signal.SIGKILL)
        code = process.wait(timeout=120)
        if code == 0:
            break
        assert code == -signal.SIGKILL and Run(other).step() in (None, *range(0, 401, 10))
        died += 1
    assert died == 2 and kept(other) == kept(begun)


def test_interrupted_it_keeps_what_it_has(begun):
    process = started(begun, LONGER.replace("400", "100000"))
    deadline = time.monotonic() + 60
    while not (begun / "log.jsonl").exists() or not Run(begun).entries():
        assert time.monotonic() < deadline and process.poll() is None
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    assert process.wait(timeout=60) == 130
    step, state = Run(begun).load()
    assert step > 0 and len(kept(begun)) == 2 and np.isfinite(state["parameters"]["wte.weight"]).all()


def test_a_loss_that_is_no_number_stops_it(begun):
    import dataclasses
    train(begun)
    before = kept(begun)
    wild = dataclasses.replace(SETTINGS, learning_rate=1e30)
    with pytest.raises(ValueError, match="begun with learning_rate 0.003, and 1e\\+30"):
        train(begun, wild)
    about = json.loads((begun / "training.json").read_text())
    about["settings"] |= {"learning_rate": 1e30, "steps": 60}
    (begun / "training.json").write_text(json.dumps(about))
    with pytest.raises(RuntimeError, match=r"step 3\d: the loss is (nan|inf).*checkpoint of step 30 in .* is as it was"):
        train(begun, dataclasses.replace(wild, steps=60))
    assert kept(begun) == before


def test_what_is_not_finite_becomes_no_checkpoint(begun):
    train(begun)
    before, run = kept(begun), Run(begun)
    _, state = run.load()
    state["parameters"]["h.1.mlp.c_fc.bias"][3] = np.inf
    with pytest.raises(RuntimeError, match="h.1.mlp.c_fc.bias is not finite.*step 30"):
        run.save(31, state)
    assert kept(begun) == before


def on_a_full_disk(monkeypatch, last):
    """The system refuses to make a file's numbers last whose name contains this; returns a function that makes room again."""
    real = os.fsync

    def full(descriptor):
        if last in os.readlink(f"/proc/self/fd/{descriptor}"):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return real(descriptor)
    monkeypatch.setattr(os, "fsync", full)
    return lambda: monkeypatch.setattr(os, "fsync", real)


@pytest.mark.parametrize("which", ["moments", "model"])
def test_a_full_disk_leaves_the_old_checkpoint(begun, monkeypatch, which):
    train(begun)
    before, run = kept(begun), Run(begun)
    step, state = run.load()
    on_a_full_disk(monkeypatch, which)
    with pytest.raises(OSError, match=f"cannot write .*{which}.*No space left on device"):
        run.save(step + 1, state)
    assert kept(begun) == before and Run(begun).load()[0] == 30
    assert not list(begun.glob("*.part"))


COMMAND = ["--config", "tiny", "--width", "16", "--heads", "2", "--context", "8", "--batch", "4", "--warmup", "2", "--steps", "6",
           "--save-every", "2", "--evaluate-every", "3"]


def test_the_command_says_what_to_do_on_a_full_disk_and_then_goes_on(tmp_path, text, monkeypatch, capsys):
    whole, out = str(tmp_path / "whole"), str(tmp_path / "out")
    given = ["train", "--data", str(text), *COMMAND, "--out"]
    assert cli.main([*given, whole]) == 0
    for last, told in (("tokens.bin", ""), ("tokens.json", ""), ("training.json", ""), ("model", ""), ("moments.4", "step 2"), ("loss.svg", "step 6")):
        make_room = on_a_full_disk(monkeypatch, last)
        capsys.readouterr()
        assert cli.main([*given, out]) == 2
        error = capsys.readouterr().err
        assert error.count("cannot write") == 1 and last in error and "No space left on device" in error and "make room there" in error
        assert "Errno" not in error and f"The checkpoint of {told}" in error or not told and "checkpoint" not in error
        make_room()
        assert not [name for name in os.listdir(out) if name.endswith(".part") and name != "tokens.bin.part"]
    assert cli.main([*given, out]) == 0
    assert kept(pathlib.Path(out)) == kept(pathlib.Path(whole))


def test_parameters_that_were_given_are_not_forgotten_with_the_first_checkpoint(tmp_path, text, begun, monkeypatch, capsys):
    """The disk was full before they were kept: what goes on must not begin with new ones."""
    train(begun)
    out = str(tmp_path / "out")
    given = ["train", "--data", str(text), "--out", out, "--steps", "1", "--lr", "0", "--batch", "2"]
    make_room = on_a_full_disk(monkeypatch, "moments")
    assert cli.main([*given, "--load", str(begun)]) == 2
    make_room()
    assert cli.main(given) == 2 and "--load" in capsys.readouterr().err
    assert cli.main([*given, "--load", str(begun)]) == 0
    assert all(np.array_equal(x, load(out)[1][k]) for k, x in load(begun)[1].items())
    assert cli.main([*given, "--steps", "2"]) == 0                     # now it has them


def test_training_goes_on_where_nothing_can_be_shown(begun, monkeypatch):
    class Gone:
        def isatty(self):
            return False

        def write(self, text):
            raise OSError(errno.EIO, "the terminal is gone")
        flush = write
    monkeypatch.setattr(sys, "stderr", Gone())
    assert train(begun, progress=True).step == 30


def test_two_at_a_time_are_refused(begun):
    with Run(begun).alone(), pytest.raises(RuntimeError, match="another process is training"):
        train(begun)


def test_directories_that_are_no_run(tmp_path, begun):
    from diffeng.llm import init_parameters
    from diffeng.llm.weights import save
    stranger = tmp_path / "stranger"
    save(stranger, CONFIG, init_parameters(CONFIG, 0, np.float32))
    with pytest.raises(ValueError, match="not trained here"):
        Run(stranger)
    (stranger / "model.safetensors").rename(stranger / "model-00001-of-00001.safetensors")                # one of several files
    with pytest.raises(ValueError, match="not trained here"):
        Run(stranger)
    (begun / "training.json").write_text('{"config": {}}')
    with pytest.raises(ValueError, match="does not describe a run"):
        Run(begun)


def test_broken_checkpoints_say_so(begun):
    train(begun)
    moments, = begun.glob("moments.*")
    whole = moments.read_bytes()
    moments.write_bytes(whole[:-100])
    with pytest.raises(ValueError, match="truncated"):
        Run(begun).load()
    os.remove(moments)
    with pytest.raises(FileNotFoundError, match="training cannot go on from step 30"):
        Run(begun).load()
    run = Run(begun)
    files.write_tensors(moments, {"first.wte.weight": np.zeros(3, np.float32)})
    with pytest.raises(ValueError, match="has no first.wte.weight"):
        run.load()


def test_the_log_forgets_what_will_happen_again(begun):
    run = Run(begun)
    for k in range(1, 5):
        run.log(step=k, loss=1.0 / k)
    with open(begun / "log.jsonl", "a") as file:
        file.write('{"step": 5, "lo')                       # killed while it wrote
    run.back_to(3)
    assert [e["step"] for e in run.entries()] == [1, 2, 3]


def test_a_curve_needs_two_points(tmp_path):
    draw([{"step": 1, "loss": 2.0}], tmp_path / "a.svg")
    assert not (tmp_path / "a.svg").exists()
    draw([{"step": k, "loss": 2.0} for k in (1, 2)] + [{"step": 3, "loss": float("nan")}], tmp_path / "a.svg")
    xml.etree.ElementTree.fromstring((tmp_path / "a.svg").read_text())


# ---- the command ------------------------------------------------------------------------------------------------------------------------------

FAST = "--width 16 --heads 2 --context 8 --batch 4 --warmup 2".split()


def test_the_command_trains_and_goes_on(tmp_path, text, capsys):
    out = str(tmp_path / "out")
    given = ["train", "--data", str(text), "--config", "tiny", "--out", out, "--tokenizer", "characters", *FAST]
    assert cli.main([*given, "--steps", "6"]) == 0
    assert "step 6 of 6, validation loss" in capsys.readouterr().out
    assert load(out)[0].vocab_size == len(set(TEXT)) == load_tokenizer(out).vocab_size
    assert cli.main(["train", "--out", out, "--steps", "9"]) == 0 and "step 9 of 9" in capsys.readouterr().out
    assert cli.main(["train", "--out", out, "--batch", "5"]) == 2 and "begun with batch 4" in capsys.readouterr().err
    assert cli.main([*given, "--steps", "9"]) == 0 and cli.main([*given[:-len(FAST)], "--steps", "9"]) == 2 and "begun with" in capsys.readouterr().err
    again = str(tmp_path / "again")
    assert cli.main(["train", "--data", str(text), "--load", out, "--out", again, "--steps", "1", "--batch", "2", "--lr", "0"]) == 0
    assert all(np.array_equal(x, load(again)[1][k]) for k, x in load(out)[1].items())


@pytest.mark.parametrize("given, word", [
    ([], "--data is missing"), (["--data", "nowhere.txt"], "--data nowhere.txt: there is no such file; name a text"), (["--data", "TEXT", "--tokenizer", "words"], "--tokenizer words"),
    (["--data", "TEXT", "--config", "gpt9"], "gpt9"), (["--data", "TEXT", "--context", "5000"], "longer text"),
    (["--data", "TEXT", "--lr", "-1"], "--lr is -1"), (["--data", "TEXT", "--lr", "nan"], "--lr is nan"), (["--data", "TEXT", "--batch", "0"], "batch is 0"),
    (["--data", "TEXT", "--width", "-4"], "--width is -4"), (["--data", "TEXT", "--width", "30", "--heads", "4"], "--width 30 does not divide into --heads 4"),
    (["--data", "TEXT", "--width", "100000000"], "make it smaller"), (["--data", "TEXT", "--layers", "1" + 40 * "0"], "make it smaller"),
    (["--data", "TEXT", "--batch", "1" + 12 * "0"], "make it smaller"), (["--data", "TEXT", "--seed", "1" + 40 * "0"], "seed"),
    (["--data", "EMPTY"], "empty"), (["--data", "EMPTY", "--tokenizer", "characters"], "empty"), (["--data", "LATIN"], "not UTF-8 at byte 3"),
    (["--data", "LATE"], "not UTF-8 at byte 10000"),
])
def test_the_command_says_what_is_wrong(tmp_path, text, capsys, given, word):
    (tmp_path / "EMPTY").write_bytes(b"")
    (tmp_path / "LATIN").write_bytes(b"caf\xe9" * 100)
    (tmp_path / "LATE").write_bytes(10000 * b"x" + b"\xe9")
    given = [str(tmp_path / g) if g in ("EMPTY", "LATIN", "LATE") else str(text) if g == "TEXT" else g for g in given]
    assert cli.main(["train", "--out", str(tmp_path / "out"), *given]) == 2
    assert word in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
    (tmp_path / "out").mkdir()
    assert cli.main(["train", "--out", str(tmp_path / "out"), *given]) == 2
    assert not os.listdir(tmp_path / "out")
