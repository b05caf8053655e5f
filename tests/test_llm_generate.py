"""Generation: what is remembered changes nothing but the speed, draws follow the probabilities, a seed says everything."""
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

import diffeng as de
from diffeng import cli
from diffeng.llm import GPT2, GPT2Config, gpt2, init_parameters
from diffeng.llm.generate import Memory
from diffeng.llm.sampling import choose
from diffeng.llm.tokenizers import ByteTokenizer, CharacterTokenizer, train_bpe

CONFIG = GPT2Config(vocab_size=31, context_length=20, emb_dim=16, n_heads=4, n_layers=3, drop_rate=0.0)
ROWS = [[1, 2, 3], [4], [5, 6, 7, 8, 9, 1, 2]]


@pytest.fixture(scope="module")
def model():
    random = np.random.default_rng(2)
    return GPT2(CONFIG, parameters={k: v + 0.3 * random.standard_normal(v.shape) for k, v in init_parameters(CONFIG).items()})


def slowly(model, tokens, n):
    """The likeliest tokens, each from a forward pass over everything before it."""
    text = list(tokens)
    for _ in range(n):
        text.append(int(np.argmax(model.logits(text)[-1])))
    return text


# ---- what is remembered -------------------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("dtype, within", [(np.float64, 1e-12), (np.float32, 2e-5)])
def test_reading_on_gives_the_scores_of_reading_it_all(model, dtype, within):
    p = {k: v.astype(dtype) for k, v in model.parameters.items()}
    tokens = np.random.default_rng(0).integers(0, 31, (2, 20))
    whole = gpt2(p, tokens, CONFIG)
    memory = Memory(p, CONFIG, rows=2, size=20)
    for begin, stop in ((0, 5), (5, 6), (6, 7), (7, 12), (12, 20)):
        scores = memory.read(tokens[:, begin:stop])
        assert scores.dtype == dtype and np.max(np.abs(scores - whole[:, stop - 1])) <= within * np.max(np.abs(whole))
    assert memory.length.tolist() == [20, 20]


def test_rows_of_different_lengths(model):
    tokens = np.random.default_rng(0).integers(0, 31, (2, 20))
    memory = Memory(model.parameters, CONFIG, rows=2, size=20)
    memory.read(tokens[:, :6], np.array([6, 2]))
    scores = memory.read(np.stack([tokens[0, 6:9], tokens[1, 2:5]]))
    for row, length in enumerate((9, 5)):
        np.testing.assert_allclose(scores[row], model.logits(tokens[row, :length])[-1], rtol=1e-11)


def test_the_likeliest_tokens(model):
    assert model.generate([1, 2, 3], 17, temperature=0).tolist() == slowly(model, [1, 2, 3], 17)
    found = model.generate(ROWS, 10, temperature=0)
    assert [row.tolist() for row in found] == [slowly(model, row, 10) for row in ROWS]


def test_nothing_is_planned_again_from_token_to_token(model):
    from diffeng.llm.generate import _compiled
    block = _compiled(4)[0]
    model.generate([1, 2, 3], 12)
    before = block.traces
    model.generate([3, 2, 1], 12)
    model.generate([7, 8, 9], 8)
    assert block.traces == before


def test_a_text_longer_than_the_context_is_known_by_its_end(model):
    new = model.generate([1, 2, 3], 60, temperature=0).tolist()
    assert new[:20] == slowly(model, [1, 2, 3], 17)
    text = new[:20]
    known = text + [int(np.argmax(model.logits(text)[-1]))]
    assert new[20] == known[-1]
    known = known[-10:]                                         # the context is full: its last half is read again
    for k in range(11):
        known.append(int(np.argmax(model.logits(known)[-1])))
    assert new[21:32] == known[10:]
    long = list(range(31)) * 2
    assert model.generate(long, 1, temperature=0)[-1] == slowly(model, long[-10:], 1)[-1]


# ---- draws --------------------------------------------------------------------------------------------------------------------------------

def test_a_seed_says_everything(model):
    first = model.generate([1, 2, 3], 40, seed=5)
    assert first.dtype == np.int64 and first[:3].tolist() == [1, 2, 3] and first.shape == (43,)
    assert np.array_equal(first, model.generate([1, 2, 3], 40, seed=5)) and not np.array_equal(first, model.generate([1, 2, 3], 40, seed=6))
    assert list(model.stream([1, 2, 3], 40, seed=5)) == first[3:].tolist()


def test_a_row_does_not_depend_on_the_others(model):
    alone = model.generate([1, 2, 3], 40, seed=5).tolist()
    assert model.generate([[1, 2, 3], [7, 7, 7]], 40, seed=5)[0].tolist() == alone
    assert model.generate(ROWS, 40, seed=5)[0].tolist() == alone
    same = model.generate([[1, 2, 3]] * 2, 40, seed=5)
    assert not np.array_equal(same[0], same[1])                  # each row draws for itself


def test_each_step_draws_anew(model):
    flat = GPT2(CONFIG, parameters=model.parameters | {"wte.weight": np.zeros((31, 16))})          # every token equally likely
    new = flat.generate([[1], [1]], 400, seed=5)[:, 1:]
    assert np.all(np.abs(np.stack([np.bincount(row, minlength=31) for row in new]) - 400 / 31) < 16)
    assert np.mean(new[0] == new[1]) < 0.1 and np.mean(new[0, 1:] == new[0, :-1]) < 0.1


def test_an_end(model):
    text = model.generate([1, 2, 3], 40, seed=5)
    end = int(text[10])
    first = 3 + int(np.argmax(text[3:] == end))
    assert model.generate([1, 2, 3], 40, seed=5, end=end).tolist() == text[:first + 1].tolist()
    together = model.generate([[1, 2, 3], [4, 5, 6]], 40, seed=5, end=end)
    assert together[0, :first + 1].tolist() == text[:first + 1].tolist() and (together[0, first:] == end).all()
    rows = model.generate(ROWS, 40, seed=5, end=end)
    assert rows[0].tolist() == text[:first + 1].tolist() and all(end not in row[len(old):-1] for row, old in zip(rows, ROWS))


def test_nothing_new(model):
    assert model.generate([1, 2, 3], 0).tolist() == [1, 2, 3]
    assert model.generate(ROWS, 0)[2].tolist() == ROWS[2] and model.generate([[1], [2]], 0).shape == (2, 1)


def shares(logits, n=4000, **options):
    draws = de.random.uniform(3, 0, n)
    return np.bincount(choose(np.broadcast_to(logits, (n, len(logits))), draws, **options), minlength=len(logits)) / n


def test_draws_follow_the_probabilities():
    logits = np.array([0.3, -1.0, 2.0, -np.inf, 0.0])
    p = np.exp(logits) / np.exp(logits).sum()
    assert np.max(np.abs(shares(logits) - p)) < 0.025 and shares(logits)[3] == 0
    hot = np.exp(logits / 2) / np.exp(logits / 2).sum()
    assert np.max(np.abs(shares(logits, temperature=2.0) - hot)) < 0.025
    assert shares(logits, temperature=0)[2] == 1 and shares(logits, temperature=1e-300)[2] == 1
    two = np.where(np.isin(np.arange(5), [0, 2]), p, 0)
    for options in (dict(top_k=2), dict(top_p=(p[2] + p[0]) * 0.999), dict(top_k=3, top_p=0.8)):
        assert np.max(np.abs(shares(logits, **options) - two / two.sum())) < 0.025, options
    assert shares(logits, top_p=1e-9)[2] == 1 and np.array_equal(shares(logits, top_k=100, top_p=1.0), shares(logits))


def test_the_edges_of_a_draw():
    logits = np.array([[0.0, 0.0, -np.inf, -np.inf]])
    assert [int(choose(logits, [u])[0]) for u in (0.0, 0.4999, 0.5, np.nextafter(1, 0))] == [0, 0, 1, 1]
    assert choose([[3.0, 3.0, 1.0]], [0.99], top_k=1).tolist() == [1]          # equals stay together
    for wrong in (np.nan, np.inf):
        with pytest.raises(ValueError, match="NaN"):
            choose([[wrong, 1.0]], [0.5])
    for temperature in (1e-300, 5e-324):                                       # quotients beyond the largest number
        assert choose([[-1e10, 3.0, 2.0]] * 2, [0.0, 0.99], temperature).tolist() == [1, 1]


@pytest.mark.parametrize("options, kind, word", [
    (dict(tokens=[]), TypeError, "float64"), (dict(tokens=[[1], []]), TypeError, "float64"), (dict(tokens=[31]), ValueError, "vocab_size 31"),
    (dict(tokens=[0.5]), TypeError, "float64"), (dict(tokens=[[[1]]]), ValueError, "shape"), (dict(max_new_tokens=-1), ValueError, "max_new_tokens is -1"),
    (dict(max_new_tokens=None), TypeError, "max_new_tokens"), (dict(max_new_tokens=2.0), TypeError, "max_new_tokens"),
    (dict(temperature=-1), ValueError, "temperature"),
    (dict(temperature=float("nan")), ValueError, "temperature"), (dict(temperature=float("inf")), ValueError, "temperature"),
    (dict(temperature=None), TypeError, "temperature"), (dict(top_k=0), ValueError, "top_k is 0"), (dict(top_k=1.5), TypeError, "top_k"),
    (dict(top_p=0), ValueError, "top_p is 0"), (dict(top_p=1.1), ValueError, "top_p is 1.1"), (dict(top_p="x"), TypeError, "top_p"),
    (dict(end=31), ValueError, "end is 31"), (dict(end=True), TypeError, "end is True"),
])
def test_wrong_options_are_named_before_anything_is_computed(model, options, kind, word):
    for method in (model.generate, model.stream):
        with pytest.raises(kind, match=word):
            method(**(dict(tokens=[1, 2], max_new_tokens=3) | options))


def test_weights_that_are_not_numbers(model):
    broken = GPT2(CONFIG, parameters=model.parameters | {"ln_f.bias": np.full(16, np.nan)})
    with pytest.raises(ValueError, match="NaN"):
        broken.generate([1], 1)


# ---- the command ----------------------------------------------------------------------------------------------------------------------------

TEXT = "to be or not to be"


@pytest.fixture(scope="module")
def directory(tmp_path_factory):
    path = tmp_path_factory.mktemp("run")
    tokenizer = CharacterTokenizer(TEXT)
    GPT2(GPT2Config(vocab_size=tokenizer.vocab_size, context_length=16, emb_dim=16, n_heads=2, n_layers=1)).save(path)
    tokenizer.save(path)
    return path


def run(capsys, *arguments):
    status = cli.main(["generate", *map(str, arguments)])
    seen = capsys.readouterr()
    return status, seen.out, seen.err


def test_the_command_writes_what_the_model_does(capsys, directory):
    options = ["--prompt", "to be", "--max-new-tokens", 30, "--seed", 4, "--temperature", 0.7, "--top-k", 5, "--top-p", 0.9]
    status, out, err = run(capsys, directory, *options)
    tokenizer, model = CharacterTokenizer(TEXT), GPT2.load(directory)
    assert status == 0 and out == tokenizer.decode(model.generate(tokenizer.encode("to be"), 30, 0.7, 5, 4, top_p=0.9)) + "\n"
    assert run(capsys, directory, *options)[1] == out and "tokens a second" in err


def test_without_a_prompt_it_begins_at_the_mark_between_texts(capsys, tmp_path):
    pytest.importorskip("tokenizers")
    (tmp_path / "text.txt").write_text(TEXT)
    tokenizer = train_bpe(tmp_path / "text.txt", 300)
    model = GPT2(GPT2Config(vocab_size=tokenizer.vocab_size, context_length=16, emb_dim=16, n_heads=2, n_layers=1))
    model.save(tmp_path)
    tokenizer.save(tmp_path)
    status, out, err = run(capsys, tmp_path, "--max-new-tokens", 20)
    new = model.generate([tokenizer.end], 20, end=tokenizer.end)[1:].tolist()
    assert status == 0 and out == tokenizer.decode([t for t in new if t != tokenizer.end]) + "\n" and f"{len(new)} tokens" in err


@pytest.mark.parametrize("arguments, words", [
    (["--prompt", "xyz"], "'x'"), (["--prompt", "to", "--temperature", -1], "--temperature"), (["--prompt", "to", "--top-p", 2], "--top-p"),
    (["--prompt", "to", "--max-new-tokens", -2], "--max-new-tokens"),
    (["--prompt", "to", "--temperature", "nan"], "temperature"), (["--prompt", "to", "--seed", -1], "--seed"), ([], "--prompt"),
])
def test_wrong_options_of_the_command(capsys, directory, arguments, words):
    status, out, err = run(capsys, directory, *arguments)
    assert status == 2 and out == "" and words in err and "Traceback" not in err


def test_directories_that_are_no_models(capsys, tmp_path, directory):
    assert run(capsys, tmp_path / "none", "--prompt", "x")[0] == 2
    status, _, err = run(capsys, tmp_path, "--prompt", "x")
    assert status == 2 and "config.json" in err
    ByteTokenizer().save(tmp_path)
    GPT2.load(directory).save(tmp_path)
    status, _, err = run(capsys, tmp_path, "--prompt", "x")
    assert status == 2 and "256" in err and "vocab_size" in err


@pytest.mark.skipif(not hasattr(signal, "SIGINT") or sys.platform == "win32", reason="signals")
def test_an_interrupt_ends_it_cleanly(directory):
    process = subprocess.Popen([sys.executable, "-m", "diffeng.cli", "generate", str(directory), "--prompt", "to be", "--max-new-tokens", "1000000"],
                               stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=os.environ | {"PYTHONUNBUFFERED": "1"},
                               preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL))          # who runs the tests may ignore it
    assert process.stdout.read(10)                        # it writes
    time.sleep(0.2)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=30)
    assert process.returncode == 130 and out.endswith(b"\n") and b"Traceback" not in err and b"interrupted" in err
