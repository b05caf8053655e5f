"""The text to train on, as tokens in a file that is mapped and never read as a whole.

What it is: `prepare`, which makes that file once, piece by piece, and goes on where it was killed; `Tokens`, its training and validation parts, and the batches
drawn from them: batch number n is a function of a seed and n, so that the position in the data is one integer.
What it is not: what a token is (tokenizers.py), and what is done with a batch (step.py). Why a file: only here text is met, and it may be larger than memory.
"""
import codecs
import contextlib
import hashlib
import json
import os
import re

import numpy as np

from ..writing import refused, replacing

PIECE = 1 << 22                          # bytes of text encoded at a time
VALIDATION = 0.1                         # of all tokens, the last ones
_TOKENS, _STATE = "tokens.bin", "tokens.json"
_SEAM = re.compile(r"\S\n(?=\S)")        # where a text can be cut: what GPT-2's words see of each other ends here, so that the tokens are those of the whole


def pieces(path, begin=0):
    """(text, byte that follows it) of each piece of a file in UTF-8, from byte `begin` on, where a piece begins.

    Raises ValueError that names the byte where the file is not UTF-8, OSError when it cannot be read.
    """
    decoder, held, at = codecs.getincrementaldecoder("utf-8")(), "", begin
    with open(path, "rb") as file:
        file.seek(begin)
        while True:
            raw = file.read(PIECE)
            try:
                text = held + decoder.decode(raw, final=not raw)
            except UnicodeDecodeError as error:
                raise ValueError(f"{path} is not UTF-8 at byte {file.tell() - len(raw) - (len(error.object) - len(raw)) + error.start}: "
                                 f"{error.reason}; convert it, with iconv for one") from error
            if not raw:
                if text:
                    yield text, at + len(text.encode())
                return
            end = max((m.end() for m in _SEAM.finditer(text)), default=len(text) if len(text) > 4 * PIECE else 0)
            if end:
                at += len(text[:end].encode())
                yield text[:end], at
            held = text[end:]


def characters(path):
    """Every character of a text file once, as one text: what a CharacterTokenizer is made of. Raises as `pieces` does."""
    found = set()
    for text, _ in pieces(path):
        found |= set(text)
    return "".join(sorted(found))


def prepare(path, tokenizer, directory, context=0, progress=lambda done, total: None):
    """Write the tokens of a text file into a directory, unless they are there; `Tokens` reads them. Killed in the middle, or out of disk, it goes on from its
    last piece; of a text that cannot be trained on nothing stays.

    path: UTF-8; a line break and the text after it begin a new piece now and then, nothing else is cut. context: as of Tokens. progress(bytes done, bytes in
    all).
    Raises ValueError on a text that is empty, not UTF-8, too short, or another one than before; OSError when a file cannot be read, or the disk is full.
    """
    target, state = os.path.join(directory, _TOKENS), os.path.join(directory, _STATE)
    size = os.path.getsize(path)
    if not size:
        raise ValueError(f"{path} is empty: there is nothing to train on")
    dtype = _dtype_of(tokenizer.vocab_size)
    said = {"bytes": size, "vocab_size": tokenizer.vocab_size, "dtype": dtype.str, "begins": _begins(path, tokenizer)}
    new = said | {"done": 0, "tokens": 0}
    before = _read(state) if os.path.exists(state) else new
    if {name: before.get(name) for name in said} != said:
        raise ValueError(f"the tokens in {directory} were made of another text, or otherwise: of {before.get('bytes')} bytes, with "
                         f"{before.get('vocab_size')} kinds of tokens; {path} has {size}, and there are {tokenizer.vocab_size} now: give the same "
                          "text and tokenizer, or another directory")
    if before["done"] == size and os.path.exists(target):
        return
    part = target + ".part"
    try:
        with open(part, "ab") as file:
            if file.tell() < before["tokens"] * dtype.itemsize:          # somebody took away what was there
                before = new
            file.truncate(before["tokens"] * dtype.itemsize)
            for text, done in pieces(path, before["done"]):
                tokens = np.asarray(tokenizer.encode(text))
                if tokens.size and (tokens.min() < 0 or tokens.max() >= tokenizer.vocab_size):
                    raise ValueError(f"the tokenizer gave tokens from {tokens.min()} to {tokens.max()}, and says that there are {tokenizer.vocab_size}")
                file.write(tokens.astype(dtype).tobytes())
                file.flush()
                os.fsync(file.fileno())
                before |= {"done": done, "tokens": before["tokens"] + tokens.size}
                _write(state, before)
                progress(done, size)
        if before["done"] != size:
            raise ValueError(f"{path} had {size} bytes, and {before['done']} could be read: it changes while it is read")
        _held(before["tokens"], context)
        os.replace(part, target)
    except ValueError:
        for name in (part, state):
            with contextlib.suppress(OSError):
                os.remove(name)
        raise
    except OSError as error:
        raise refused(target, error) from error


def _begins(path, tokenizer):
    """What tells a text and a tokenizer from others, at a glance: the first few thousand bytes, and their tokens."""
    with open(path, "rb") as file:
        raw = file.read(1 << 16)
    tokens = np.asarray(tokenizer.encode(raw.decode("utf-8", "ignore")), "<i8")
    return hashlib.sha256(raw + tokens.tobytes()).hexdigest()


def _held(count, context):
    """How many of a text's tokens are for validation. Raises ValueError where they are too few for one row."""
    held = round(count * VALIDATION)
    if held < context + 1:
        raise ValueError(f"the text has {count} tokens, {held} of them for validation, and a context of {context} needs {context + 1} there: "
                         f"give a longer text (from {round((context + 1) / VALIDATION)} tokens on), or a shorter context")
    return held


def _dtype_of(vocab_size):
    """What a token is in the file."""
    return np.dtype("<u2" if vocab_size <= 1 << 16 else "<u4")


def _read(state):
    try:
        with open(state, encoding="utf-8") as file:
            found = json.load(file)
        if not isinstance(found, dict) or not all(isinstance(found.get(k), int) and found[k] >= 0 for k in ("bytes", "vocab_size", "done", "tokens")):
            raise ValueError("it lacks its numbers")
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{state} cannot be read ({error}): remove it, and the tokens beside it are made anew") from error
    return found


def _write(state, found):
    with replacing(state) as file:
        file.write(json.dumps(found).encode())


class Tokens:
    """The tokens that `prepare` wrote: `training` and `validation`, mapped arrays of integers.

    context: positions in a row that the model takes; both parts must have one token more.
    Raises FileNotFoundError where nothing was prepared, ValueError on a text that is too short, or tokens that the vocabulary does not have.
    """

    def __init__(self, directory, context, vocab_size, seed=0):
        target, state = os.path.join(directory, _TOKENS), os.path.join(directory, _STATE)
        if not os.path.exists(target):
            raise FileNotFoundError(f"{directory} has no {_TOKENS}: there are no tokens to train on")
        said = _read(state)
        if said["vocab_size"] > vocab_size:
            raise ValueError(f"the text has tokens of {said['vocab_size']} kinds, and the model's vocab_size is {vocab_size}")
        dtype = _dtype_of(said["vocab_size"])
        if os.path.getsize(target) != said["tokens"] * dtype.itemsize:
            raise ValueError(f"{target} has {os.path.getsize(target)} bytes, and {said['tokens']} tokens need {said['tokens'] * dtype.itemsize}: "
                             f"remove it and {state}, and they are made anew")
        every = np.memmap(target, dtype, mode="r", shape=(said["tokens"],)) if said["tokens"] else np.zeros(0, dtype)
        held = _held(len(every), context)
        self.training, self.validation = every[:-held], every[-held:]
        self.context, self.seed, self.vocab_size = context, seed, vocab_size

    def batch(self, number, size):
        """(tokens, targets), both (size, context) int64: batch `number` of all that there ever are, its rows from random places of the training part."""
        from ..random import bits
        places = len(self.training) - self.context
        high, low = bits(self.seed, number, (2, size)).astype(np.uint64)
        return self._rows(self.training, (high << np.uint64(32) | low) % np.uint64(places))

    def validation_batches(self, count, size):
        """`count` times (tokens, targets), the same each time: rows evenly spread over the validation part."""
        places = len(self.validation) - self.context
        starts = np.linspace(0, places - 1, count * size).round().astype(np.int64)
        return [self._rows(self.validation, starts[k * size:(k + 1) * size]) for k in range(count)]

    def _rows(self, part, starts):
        rows = np.stack([part[s:s + self.context + 1] for s in starts.tolist()]).astype(np.int64)
        if rows.max() >= self.vocab_size:                        # a program reads them as they come
            raise ValueError(f"token {rows.max()} stands in the text, and the model's vocab_size is {self.vocab_size}")
        return np.ascontiguousarray(rows[:, :-1]), np.ascontiguousarray(rows[:, 1:])
