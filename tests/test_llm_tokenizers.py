"""Text to tokens and back, whatever the text; what is saved is found again, here and by the library whose format it is."""
import builtins
import json

import numpy as np
import pytest

from diffeng.llm.tokenizers import END, ByteTokenizer, CharacterTokenizer, Tokenizer, load_tokenizer, streamed, train_bpe

TEXT = "To be, or not to be:\n\n  that is the quéstion\t你好 \U0001f600\x00\x7f\xa0 to be\r\n"
LEARNT = "to be or not to be, that is the question; to be is to do\n" * 20


@pytest.fixture(scope="module")
def learnt(tmp_path_factory):
    pytest.importorskip("tokenizers")
    path = tmp_path_factory.mktemp("bpe") / "text.txt"
    path.write_text(LEARNT)
    return train_bpe(path, 280)


@pytest.fixture(params=["bytes", "characters", "pairs"])
def tokenizer(request):
    return {"bytes": ByteTokenizer, "characters": lambda: CharacterTokenizer(TEXT), "pairs": lambda: request.getfixturevalue("learnt")}[request.param]()


def test_text_comes_back(tokenizer):
    tokens = tokenizer.encode(TEXT)
    assert tokens.dtype == np.int64 and tokens.ndim == 1 and 0 <= tokens.min() and tokens.max() < tokenizer.vocab_size
    assert tokenizer.decode(tokens) == TEXT and tokenizer.decode(tokens.tolist()) == TEXT and tokenizer.decode(tokens.astype(np.uint16)) == TEXT
    assert tokenizer.encode("").shape == (0,) and tokenizer.decode([]) == tokenizer.decode(np.zeros(0)) == ""


def test_what_is_saved_is_found_again(tokenizer, tmp_path):
    tokenizer.save(tmp_path / "new")
    again = load_tokenizer(tmp_path / "new")
    assert type(again) is type(tokenizer) and again.vocab_size == tokenizer.vocab_size and again.end == tokenizer.end
    assert np.array_equal(again.encode(TEXT), tokenizer.encode(TEXT))


def test_the_library_reads_the_same_from_what_is_saved(tokenizer, tmp_path):
    library = pytest.importorskip("tokenizers")
    tokenizer.save(tmp_path)
    theirs = library.Tokenizer.from_file(str(tmp_path / "tokenizer.json"))
    assert theirs.encode(TEXT).ids == tokenizer.encode(TEXT).tolist() and theirs.decode(theirs.encode(TEXT).ids) == TEXT
    assert theirs.get_vocab_size() == tokenizer.vocab_size


def test_pieces_of_a_stream_are_whole_characters(tokenizer):
    pieces = list(streamed(tokenizer, iter(tokenizer.encode(TEXT))))
    assert "".join(pieces) == TEXT and len(pieces) > 20 and not any("\ufffd" in piece for piece in pieces)


def test_a_stream_ends_with_what_it_has():
    assert "".join(streamed(ByteTokenizer(), [65, 0xf0, 0x9f])) == "A\ufffd"
    assert "".join(streamed(ByteTokenizer(), [0xff] * 100 + [65])).endswith("A")
    assert list(streamed(ByteTokenizer(), [])) == []


@pytest.mark.parametrize("tokens, kind", [([-1], ValueError), ([10 ** 6], ValueError), ([0.5], TypeError), ([[1]], TypeError), (3, TypeError)])
def test_tokens_that_are_none(tokenizer, tokens, kind):
    with pytest.raises(kind, match="tokens"):
        tokenizer.decode(tokens)


def test_texts_that_are_none(tokenizer):
    with pytest.raises(TypeError, match="bytes"):
        tokenizer.encode(b"to be")
    with pytest.raises(ValueError, match="no UTF-8.*position 2"):
        tokenizer.encode("to\ud800")


def test_characters_of_one_text():
    tokenizer = CharacterTokenizer("hello")
    assert tokenizer.characters == "ehlo" and tokenizer.encode("hole").tolist() == [1, 3, 2, 0]
    with pytest.raises(ValueError, match="'a' at position 1 is not among the 4"):
        tokenizer.encode("ha")
    with pytest.raises(ValueError, match="'z' at position 0"):
        tokenizer.encode("z")
    with pytest.raises(ValueError, match="empty"):
        CharacterTokenizer("")


# ---- pairs -----------------------------------------------------------------------------------------------------------------------------------

def test_frequent_pairs_become_tokens(learnt, tmp_path):
    assert learnt.vocab_size == 280 and len(learnt.encode("to be or not to be")) < 12
    path = tmp_path / "text.txt"
    path.write_text(LEARNT)
    assert train_bpe([str(path)], 280).inner.to_str() == learnt.inner.to_str()
    assert train_bpe(path, 10 ** 15).vocab_size <= 257 + path.stat().st_size          # more pairs than there can be are no reason to reserve memory


def test_the_mark_between_texts_is_one_token(learnt):
    assert learnt.encode("a" + END + "b").tolist()[1] == learnt.end and learnt.decode([learnt.end]) == END


def test_a_vocabulary_and_its_merges(learnt, tmp_path):
    learnt.inner.model.save(str(tmp_path))
    again = load_tokenizer(tmp_path)
    assert np.array_equal(again.encode(TEXT + END), learnt.encode(TEXT + END)) and again.decode(again.encode(TEXT)) == TEXT and again.end == learnt.end
    (tmp_path / "merges.txt").write_text("x y z\n")
    with pytest.raises(ValueError, match="vocab.json and .*merges.txt are no tokenizer"):
        load_tokenizer(tmp_path)
    (tmp_path / "merges.txt").unlink()
    with pytest.raises(FileNotFoundError, match="neither"):
        load_tokenizer(tmp_path)


@pytest.mark.parametrize("text", ["", "[]", "{", '{"model": 3}', "null"])
def test_a_file_that_is_no_tokenizer(tmp_path, text):
    pytest.importorskip("tokenizers")
    (tmp_path / "tokenizer.json").write_text(text)
    with pytest.raises(ValueError, match="tokenizer.json is no tokenizer"):
        load_tokenizer(tmp_path)


@pytest.mark.parametrize("edit", [lambda v: v.update(x=9), lambda v: v.update({"a": 1, "b": 0}), lambda v: v.update(ab=2), lambda v: v.clear()])
def test_characters_that_were_tampered_with(tmp_path, edit):
    CharacterTokenizer("ab").save(tmp_path)
    said = json.loads((tmp_path / "tokenizer.json").read_text())
    edit(said["model"]["vocab"])
    (tmp_path / "tokenizer.json").write_text(json.dumps(said))
    with pytest.raises(ValueError, match="tokenizer.json is no tokenizer"):
        load_tokenizer(tmp_path)


def test_texts_without_pairs(tmp_path):
    pytest.importorskip("tokenizers")
    path = tmp_path / "text.txt"
    path.write_bytes(b"")
    with pytest.raises(ValueError, match="text.txt is empty"):
        train_bpe(path, 300)
    path.write_bytes(b"\xff\xfe\n" * 10)
    with pytest.raises(ValueError, match="text.txt.*UTF-8"):
        train_bpe(path, 300)
    with pytest.raises(ValueError, match="vocab_size is 256"):
        train_bpe(path, 256)
    with pytest.raises(ValueError, match="no files"):
        train_bpe([], 300)
    with pytest.raises(FileNotFoundError):
        train_bpe(tmp_path / "none", 300)


def test_without_the_library(tmp_path, monkeypatch):
    """Bytes and characters need none; pairs say what to install."""
    real = builtins.__import__

    def without(name, globals=None, locals=None, fromlist=(), level=0):
        if name == "tokenizers" and level == 0:
            raise ImportError("none")
        return real(name, globals, locals, fromlist, level)
    monkeypatch.setattr(builtins, "__import__", without)
    for tokenizer in (ByteTokenizer(), CharacterTokenizer(TEXT)):
        tokenizer.save(tmp_path)
        assert load_tokenizer(tmp_path).decode(tokenizer.encode(TEXT)) == TEXT
    (tmp_path / "tokenizer.json").write_text("{}")
    with pytest.raises(ImportError, match="diffeng\\[llm\\]"):
        load_tokenizer(tmp_path)
    assert Tokenizer.__module__ == "diffeng.llm.tokenizers"
