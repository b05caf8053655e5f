"""Text to tokens on disk: the same as of the whole text, made once, gone on with after a kill; batches that depend on nothing but a seed and a number."""
import json
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from diffeng.llm import data
from diffeng.llm.data import Tokens, characters, pieces, prepare
from diffeng.llm.tokenizers import ByteTokenizer, CharacterTokenizer

TEXT = "".join(f"line {k}: caf\u00e9 \u4e16\u754c {'x' * (k % 7)}\n" + "\n" * (k % 3) for k in range(400))


def written(tmp_path, text=TEXT, name="text.txt"):
    path = tmp_path / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


@pytest.mark.parametrize("piece", [16, 100, 1 << 20])
def test_pieces_make_up_the_text_and_know_where_they_are(tmp_path, monkeypatch, piece):
    monkeypatch.setattr(data, "PIECE", piece)
    path = written(tmp_path)
    found = list(pieces(path))
    assert "".join(text for text, _ in found) == TEXT and found[-1][1] == len(TEXT.encode())
    assert (len(found) > 20) == (piece < 200)
    middle = found[len(found) // 2 - 1][1]
    assert "".join(text for text, _ in pieces(path, middle)) == TEXT.encode()[middle:].decode()
    assert characters(path) == "".join(sorted(set(TEXT)))


@pytest.mark.parametrize("make", [ByteTokenizer, lambda: CharacterTokenizer(TEXT)])
def test_the_tokens_are_those_of_the_whole_text(tmp_path, monkeypatch, make):
    monkeypatch.setattr(data, "PIECE", 64)
    tokenizer = make()
    seen = []
    prepare(written(tmp_path), tokenizer, tmp_path, progress=lambda done, total: seen.append(done / total))
    tokens = Tokens(tmp_path, 8, tokenizer.vocab_size)
    assert np.array_equal(np.concatenate([tokens.training, tokens.validation]), tokenizer.encode(TEXT))
    assert tokens.training.dtype == np.uint16 and len(tokens.validation) == round(len(tokenizer.encode(TEXT)) / 10)
    assert seen == sorted(seen) and seen[-1] == 1
    prepare(tmp_path / "text.txt", tokenizer, tmp_path, progress=lambda *_: pytest.fail("made twice"))


def test_byte_pairs_do_not_notice_the_seams(tmp_path, monkeypatch):
    pytest.importorskip("tokenizers")
    from diffeng.llm.tokenizers import train_bpe
    monkeypatch.setattr(data, "PIECE", 64)
    path = written(tmp_path)
    tokenizer = train_bpe(path, 400)
    prepare(path, tokenizer, tmp_path)
    tokens = Tokens(tmp_path, 8, tokenizer.vocab_size)
    assert np.array_equal(np.concatenate([tokens.training, tokens.validation]), tokenizer.encode(TEXT))


class Slow(ByteTokenizer):
    def encode(self, text):
        time.sleep(0.01)
        return super().encode(text)


KILLED = """
import sys
from pathlib import Path
sys.path.insert(0, {tests!r})
from diffeng.llm import data
from test_llm_data import Slow
data.PIECE = 64
data.prepare(Path({directory!r}) / "text.txt", Slow(), {directory!r})
"""


def test_killed_it_goes_on(tmp_path, monkeypatch):
    path = written(tmp_path)
    script = KILLED.format(tests=os.path.dirname(__file__), directory=str(tmp_path))
    process = subprocess.Popen([sys.executable, "-c", script])
    deadline = time.monotonic() + 60
    while not (tmp_path / "tokens.json").exists() or json.loads((tmp_path / "tokens.json").read_text())["tokens"] < 1000:
        assert time.monotonic() < deadline and process.poll() is None
        time.sleep(0.005)
    process.send_signal(signal.SIGKILL)
    process.wait()
    done = json.loads((tmp_path / "tokens.json").read_text())["done"]
    assert 0 < done < path.stat().st_size and not (tmp_path / "tokens.bin").exists()
    monkeypatch.setattr(data, "PIECE", 64)
    seen = []
    prepare(path, ByteTokenizer(), tmp_path, progress=lambda now, _: seen.append(now))
    assert seen[0] > done
    tokens = Tokens(tmp_path, 8, 256)
    assert bytes(np.concatenate([tokens.training, tokens.validation]).astype(np.uint8)) == TEXT.encode()


@pytest.mark.parametrize("size", [None, 0, 100])
def test_what_somebody_took_away_is_made_anew(tmp_path, monkeypatch, size):
    """Not filled up with zeros."""
    monkeypatch.setattr(data, "PIECE", 64)
    path = written(tmp_path)
    prepare(path, ByteTokenizer(), tmp_path)
    (tmp_path / "tokens.bin").unlink()
    if size is not None:
        (tmp_path / "tokens.bin.part").write_bytes(b"x" * size)
    prepare(path, ByteTokenizer(), tmp_path)
    assert np.fromfile(tmp_path / "tokens.bin", "<u2").astype(np.uint8).tobytes() == TEXT.encode()
    assert json.loads((tmp_path / "tokens.json").read_text())["tokens"] == len(TEXT.encode())


@pytest.mark.parametrize("text, word", [(b"", "empty"), (b"caf\xe9 au lait" * 20, "not UTF-8 at byte 3"), (b"x" * 300 + b"\xc3", "not UTF-8 at byte 300")])
@pytest.mark.parametrize("piece", [7, 1 << 20])
def test_texts_that_are_none_say_so(tmp_path, monkeypatch, text, word, piece):
    monkeypatch.setattr(data, "PIECE", piece)
    with pytest.raises(ValueError, match=word):
        prepare(written(tmp_path, text), ByteTokenizer(), tmp_path)
    assert os.listdir(tmp_path) == ["text.txt"]


def test_a_text_shorter_than_the_context(tmp_path):
    prepare(written(tmp_path, "short" * 20), ByteTokenizer(), tmp_path)
    with pytest.raises(ValueError, match="100 tokens, 10 of them.*context of 16.*170"):
        Tokens(tmp_path, 16, 256)
    assert Tokens(tmp_path, 9, 256).batch(0, 2)[0].shape == (2, 9)
    other = tmp_path / "other"
    other.mkdir()
    with pytest.raises(ValueError, match="100 tokens, 10 of them.*context of 16.*170"):
        prepare(tmp_path / "text.txt", ByteTokenizer(), other, context=16)
    assert not os.listdir(other)


def test_tokens_out_of_range(tmp_path):
    prepare(written(tmp_path), ByteTokenizer(), tmp_path)
    with pytest.raises(ValueError, match="256 kinds, and the model's vocab_size is 100"):
        Tokens(tmp_path, 8, 100)
    said = json.loads((tmp_path / "tokens.json").read_text())
    (tmp_path / "tokens.json").write_text(json.dumps(said | {"vocab_size": 50}))          # a file that lies
    tokens = Tokens(tmp_path, 8, 50)
    with pytest.raises(ValueError, match="token .* stands in the text, and the model's vocab_size is 50"):
        tokens.batch(0, 4)

    class Lying(ByteTokenizer):
        vocab_size = 100

    other = tmp_path / "other"
    other.mkdir()
    with pytest.raises(ValueError, match="says that there are 100"):
        prepare(tmp_path / "text.txt", Lying(), other)


def test_another_text_or_a_cut_file_is_noticed(tmp_path):
    path = written(tmp_path)
    prepare(path, ByteTokenizer(), tmp_path)
    with pytest.raises(ValueError, match="give the same text"):
        prepare(written(tmp_path, TEXT + "more", "more.txt"), ByteTokenizer(), tmp_path)
    with pytest.raises(ValueError, match="another text, or otherwise"):                  # as long, and other words
        prepare(written(tmp_path, TEXT.replace("line", "LINE"), "more.txt"), ByteTokenizer(), tmp_path)

    class Backwards(ByteTokenizer):
        def encode(self, text):
            return 255 - super().encode(text)
    with pytest.raises(ValueError, match="give the same text and tokenizer"):
        prepare(path, Backwards(), tmp_path)
    with open(tmp_path / "tokens.bin", "ab") as file:
        file.truncate(100)
    with pytest.raises(ValueError, match="has 100 bytes"):
        Tokens(tmp_path, 8, 256)
    (tmp_path / "tokens.json").write_text("[]")
    with pytest.raises(ValueError, match="remove it"):
        prepare(path, ByteTokenizer(), tmp_path)
    with pytest.raises(FileNotFoundError, match="no tokens"):
        Tokens(tmp_path / "nowhere", 8, 256)


def test_a_batch_is_a_function_of_seed_and_number(tmp_path):
    prepare(written(tmp_path), ByteTokenizer(), tmp_path)
    tokens, other = Tokens(tmp_path, 16, 256, seed=3), Tokens(tmp_path, 16, 256, seed=4)
    x, y = tokens.batch(7, 5)
    assert x.shape == y.shape == (5, 16) and x.dtype == np.int64 and np.array_equal(x[:, 1:], y[:, :-1])
    again = Tokens(tmp_path, 16, 256, seed=3)
    again.batch(0, 5)
    assert np.array_equal(again.batch(7, 5)[0], x)
    assert not np.array_equal(tokens.batch(8, 5)[0], x) and not np.array_equal(other.batch(7, 5)[0], x)
    text = TEXT.encode()[:len(tokens.training)]
    assert all(bytes(row.astype(np.uint8)) in text for row in x)                  # of the training part alone
    first, second = tokens.validation_batches(3, 4), tokens.validation_batches(3, 4)
    assert len(first) == 3 and all(np.array_equal(a, b) for p, q in zip(first, second) for a, b in zip(p, q))
    held = TEXT.encode()[len(tokens.training):]
    assert bytes(first[0][0][0].astype(np.uint8)) == held[:16] and bytes(first[-1][1][-1].astype(np.uint8)) == held[-17:][1:]
    places = {int(s) for k in range(200) for s in tokens.batch(k, 5)[0][:, 0]}
    assert len(places) > 20                                                        # from everywhere
