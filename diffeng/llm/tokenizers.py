"""Text to the numbers of tokens and back: bytes, characters, and byte-pair encodings; found again in the directory where they were saved.

What it is: three classes with one face (encode, decode, vocab_size, end, save), `train_bpe`, `load_tokenizer`, and `streamed`, which decodes tokens as they
come.
What it is not: merging pairs of bytes is the business of the `tokenizers` library (pip install "diffeng[llm]"), which is imported when a byte-pair encoding
is used.
Why a file: training, generation and the command line ask for a tokenizer without asking which. All three save tokenizer.json in that library's format, so
that transformers read them too; bytes and characters need no library here.
"""
import json
import os

import numpy as np

from ..writing import replacing

END = "<|endoftext|>"          # GPT-2's own mark between texts
_FILE = "tokenizer.json"


class ByteTokenizer:
    """One token a byte of UTF-8: 256 of them, for every text there is.

    >>> tokenizer = ByteTokenizer()
    >>> tokenizer.encode("né")
    array([110, 195, 169])
    >>> tokenizer.decode([110, 195, 169])
    'né'
    """

    vocab_size = 256
    end = None

    def encode(self, text):
        """(T,) int64. Raises TypeError if text is no str, ValueError if it has no UTF-8 (half a surrogate pair)."""
        return np.frombuffer(_utf8(text), np.uint8).astype(np.int64)

    def decode(self, tokens):
        """A str; bytes that are no UTF-8 become U+FFFD. tokens: integers (T,). Raises TypeError, ValueError on others."""
        return bytes(_checked(tokens, 256).tolist()).decode("utf-8", "replace")

    def save(self, directory):
        """Write tokenizer.json, from which load_tokenizer makes this tokenizer again."""
        _write(directory, _BYTES)


class CharacterTokenizer:
    """One token a character, for the characters of one text, in Unicode's order.

    text: whatever contains them all. Raises ValueError if it is empty.

    >>> tokenizer = CharacterTokenizer("to be or not to be")
    >>> tokenizer.vocab_size, tokenizer.encode("robe")
    (7, array([5, 4, 1, 2]))
    >>> tokenizer.decode([5, 4, 1, 2])
    'robe'
    """

    end = None

    def __init__(self, text):
        self.characters = "".join(sorted(set(text)))
        if not self.characters:
            raise ValueError("the text is empty: there are no characters to make tokens of")
        _utf8(self.characters)
        self.vocab_size = len(self.characters)
        self._codes = _codes(self.characters)

    def encode(self, text):
        """(T,) int64. Raises TypeError if text is no str, ValueError if it has a character that is not in the vocabulary."""
        _utf8(text)
        codes = _codes(text)
        tokens = np.minimum(np.searchsorted(self._codes, codes), self.vocab_size - 1)
        wrong = np.flatnonzero(self._codes[tokens] != codes)
        if wrong.size:
            raise ValueError(f"character {text[wrong[0]]!r} at position {wrong[0]} is not among the {self.vocab_size} of this vocabulary")
        return tokens.astype(np.int64)

    def decode(self, tokens):
        """A str. tokens: integers (T,). Raises TypeError, ValueError on others."""
        return self._codes[_checked(tokens, self.vocab_size)].astype("<u4").tobytes().decode("utf-32-le")

    def save(self, directory):
        """Write tokenizer.json, from which load_tokenizer makes this tokenizer again."""
        _write(directory, _each_character({c: k for k, c in enumerate(self.characters)}))


class Tokenizer:
    """A tokenizer of the `tokenizers` library, GPT-2's own for one; load_tokenizer and train_bpe make it. end: the number of <|endoftext|>, or None."""

    def __init__(self, inner):
        self.inner = inner
        self.end = inner.token_to_id(END)

    @property
    def vocab_size(self):
        """The number of tokens, special ones among them."""
        return self.inner.get_vocab_size()

    def encode(self, text):
        """(T,) int64; nothing is added at the ends. Raises TypeError if text is no str, ValueError if it has no UTF-8."""
        _utf8(text)
        return np.array(self.inner.encode(text, add_special_tokens=False).ids, np.int64)

    def decode(self, tokens):
        """A str, with special tokens written out. tokens: integers (T,). Raises TypeError, ValueError on others."""
        return self.inner.decode(_checked(tokens, self.vocab_size).tolist(), skip_special_tokens=False)

    def save(self, directory):
        """Write tokenizer.json, from which load_tokenizer and transformers make this tokenizer again."""
        _write(directory, json.loads(self.inner.to_str()))


def load_tokenizer(directory):
    """The tokenizer of a directory: of its tokenizer.json, or of its vocab.json and merges.txt.

    Raises FileNotFoundError when neither is there, ValueError when they are broken, ImportError when the tokenizers library is needed and not installed.
    """
    path, vocabulary, merges = (os.path.join(directory, name) for name in (_FILE, "vocab.json", "merges.txt"))
    if os.path.exists(path):
        try:
            with open(path, encoding="utf-8") as file:
                text = file.read()
            said = json.loads(text)
            if said == _BYTES:
                return ByteTokenizer()
            if isinstance(said, dict) and said.get("pre_tokenizer") == _EACH:
                return _of_characters(said)
            return Tokenizer(_library().Tokenizer.from_str(text))
        except ImportError:
            raise
        except Exception as error:                    # the library raises Exception itself
            raise ValueError(f"{path} is no tokenizer: {error}") from error
    if not (os.path.exists(vocabulary) and os.path.exists(merges)):
        raise FileNotFoundError(f"{directory} has no tokenizer: neither tokenizer.json nor vocab.json and merges.txt are there")
    library = _library()
    try:
        inner = _byte_level(library, library.models.BPE.from_file(vocabulary, merges))
    except Exception as error:
        raise ValueError(f"{vocabulary} and {merges} are no tokenizer: {error}") from error
    if inner.token_to_id(END) is not None:
        inner.add_special_tokens([END])
    return Tokenizer(inner)


def train_bpe(files, vocab_size):
    """A byte-level byte-pair encoding (Sennrich et al. 2016; on bytes as in GPT-2) of text files: the most frequent pair becomes a token, again and again.

    files: a path or a list of paths, UTF-8. vocab_size: 257 or more: the bytes, <|endoftext|>, and the pairs (fewer, where the text has no more).
    Raises ValueError on a smaller vocabulary or a file that is empty or not UTF-8, OSError when one cannot be read.
    """
    files = [os.fspath(f) for f in ([files] if isinstance(files, (str, os.PathLike)) else files)]
    if vocab_size < 257:
        raise ValueError(f"vocab_size is {vocab_size}: the bytes and {END} alone are 257")
    if not files:
        raise ValueError("no files to learn a byte-pair encoding from")
    for path in files:
        if not os.path.getsize(path):
            raise ValueError(f"{path} is empty: there is nothing to learn a byte-pair encoding from")
    library = _library()
    inner = _byte_level(library, library.models.BPE())
    possible = 257 + sum([os.path.getsize(path) for path in files])          # each pair joins two tokens of the text: there are no more than it has bytes
    trainer = library.trainers.BpeTrainer(vocab_size=min(vocab_size, possible), special_tokens=[END], show_progress=False,
                                          initial_alphabet=sorted(library.pre_tokenizers.ByteLevel.alphabet()))
    try:
        inner.train(files, trainer)
    except Exception as error:
        raise ValueError(f"cannot learn a byte-pair encoding from {', '.join(files)}: {error}") from error
    return Tokenizer(inner)


def streamed(tokenizer, tokens):
    """The text of tokens as they come, piece by piece: a character whose bytes are in several tokens waits for the last of them.

    tokens: an iterator of integers. Yields str.

    >>> list(streamed(ByteTokenizer(), [110, 195, 169]))
    ['n', 'é']
    """
    seen, shown, start = [], "", 0          # shown: the text of seen[start:] that is out already
    for token in tokens:
        seen.append(int(token))
        text = tokenizer.decode(seen[start:])
        if text.endswith("\ufffd") and len(seen) - start < 6:          # four bytes at most make a character
            continue
        if piece := text[len(shown):]:
            yield piece
        start = max(0, len(seen) - 1)       # one token stays, for those who write a word's first piece without the space before it
        shown = tokenizer.decode(seen[start:])
    if seen and (piece := tokenizer.decode(seen[start:])[len(shown):]):
        yield piece


# ---- the format of tokenizer.json -----------------------------------------------------------------------------------------------------

def _byte_alphabet():
    """The characters that stand for bytes in byte-level vocabularies: printable ones for themselves, the others from U+0100 on."""
    itself = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
    others = iter(range(256, 512))
    return [chr(b) if b in itself else chr(next(others)) for b in range(256)]


def _described(pre_tokenizer, decoder, model):
    return {"version": "1.0", "truncation": None, "padding": None, "added_tokens": [], "normalizer": None,
            "pre_tokenizer": pre_tokenizer, "post_processor": None, "decoder": decoder, "model": model}


_LEVEL = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": False}
_BYTES = _described(_LEVEL, _LEVEL, {"type": "BPE", "vocab": {c: b for b, c in enumerate(_byte_alphabet())}, "merges": []})
_EACH = {"type": "Split", "pattern": {"Regex": r"[\s\S]"}, "behavior": "Isolated", "invert": False}


def _each_character(vocabulary):
    return _described(_EACH, {"type": "Fuse"}, {"type": "WordLevel", "vocab": vocabulary, "unk_token": ""})


def _of_characters(said):
    vocabulary = said["model"]["vocab"]
    tokenizer = CharacterTokenizer("".join(vocabulary))
    if vocabulary != {c: k for k, c in enumerate(tokenizer.characters)}:
        raise ValueError("its characters are not in Unicode's order")
    return tokenizer


def _byte_level(library, model):
    """GPT-2's way around a model of pairs: words by its pattern, every byte a character before, and back after."""
    inner = library.Tokenizer(model)
    inner.pre_tokenizer = library.pre_tokenizers.ByteLevel(add_prefix_space=False)
    inner.decoder = library.decoders.ByteLevel()
    return inner


def _library():
    try:
        import tokenizers
    except ImportError as error:
        raise ImportError('byte-pair encodings need the tokenizers library: pip install "diffeng[llm]"') from error
    return tokenizers


def _write(directory, described):
    os.makedirs(directory, exist_ok=True)
    with replacing(os.path.join(directory, _FILE)) as file:
        file.write(json.dumps(described, ensure_ascii=False, indent=2).encode())


# ---- what goes in -------------------------------------------------------------------------------------------------------------------------

def _utf8(text):
    if not isinstance(text, str):
        raise TypeError(f"a text is needed, not {type(text).__name__}")
    try:
        return text.encode("utf-8")
    except UnicodeEncodeError as error:
        raise ValueError(f"the text has no UTF-8: character {text[error.start]!r} at position {error.start}") from error


def _codes(text):
    return np.frombuffer(text.encode("utf-32-le"), "<u4")


def _checked(tokens, vocab_size):
    """tokens as an integer array (T,), or an error."""
    tokens = np.asarray(tokens)
    if tokens.size == 0:
        return np.zeros(0, np.int64)
    if tokens.dtype.kind not in "iu" or tokens.ndim != 1:
        raise TypeError(f"tokens have dtype {tokens.dtype} and shape {tokens.shape}: give integers in a row")
    if tokens.min() < 0 or tokens.max() >= vocab_size:
        raise ValueError(f"tokens reach from {tokens.min()} to {tokens.max()}, and the vocabulary from 0 to {vocab_size - 1}")
    return tokens
