"""From scores to the next token: temperature, top-k, top-p, and a draw that a seed determines.

What it is: `choose`, on plain arrays. What it is not: no model (generate.py). Why a file: whoever has scores can draw from them, and each rule is three lines
that deserve to be read.
"""
import numpy as np


def choose(logits, draw, temperature=1.0, top_k=None, top_p=None):
    """One token a row. logits: (B, V) floating. draw: (B,) uniform numbers in [0, 1). Returns (B,) int64.

    temperature divides the scores first; 0 takes the largest, without chance. top_k: only the k largest (and their equals) remain. top_p: of these, the
    fewest whose probabilities sum to p or more (Holtzman et al. 2020). What remains is drawn in proportion to its probability, by inversion: the token at
    which the running sum passes draw. Raises ValueError if a score is NaN or infinite, unless it is -inf.

    >>> choose(np.log([[0.5, 0.25, 0.25]]), [0.6])
    array([1])
    """
    logits = np.asarray(logits, float)
    largest = np.max(logits, axis=-1, keepdims=True)
    if not np.isfinite(largest).all():                       # a NaN anywhere is the largest
        raise ValueError("the model's scores are not numbers (NaN or infinite): its weights are broken, or training went wrong")
    if temperature == 0:
        return np.argmax(logits, axis=-1)
    with np.errstate(over="ignore"):                         # at a tiny temperature what is not the largest is -inf, and its weight an exact 0
        scores = (logits - largest) / temperature
    return np.array([_drawn(row, u, top_k, top_p) for row, u in zip(scores, draw)], np.int64)


def _drawn(scores, u, top_k, top_p):
    candidates = np.arange(scores.size)
    if top_k is not None and top_k < scores.size:
        candidates = np.flatnonzero(scores >= np.partition(scores, -top_k)[-top_k])
    weights = np.exp(scores[candidates])                     # the largest score is 0
    if top_p is not None and top_p < 1:
        order = np.argsort(-weights, kind="stable")
        sums = np.cumsum(weights[order])
        order = np.sort(order[:1 + np.searchsorted(sums, top_p * sums[-1])])
        candidates, weights = candidates[order], weights[order]
    sums = np.cumsum(weights)
    return candidates[min(np.searchsorted(sums, u * sums[-1], side="right"), np.flatnonzero(weights)[-1])]          # never a token of probability 0


def check(max_new_tokens, temperature, top_k, top_p, end, vocab_size):
    """Raises TypeError or ValueError that name the option."""
    for name, value, least in (("max_new_tokens", max_new_tokens, 0), ("top_k", top_k, 1), ("end", end, 0)):
        if value is None and name != "max_new_tokens":
            continue
        if isinstance(value, (bool, np.bool_)) or not isinstance(value, (int, np.integer)):
            raise TypeError(f"{name} is {value!r}: give an integer")
        if value < least:
            raise ValueError(f"{name} is {value}: give {least} or more")
    if end is not None and end >= vocab_size:
        raise ValueError(f"end is {end}, but vocab_size {vocab_size} allows 0 to {vocab_size - 1}")
    for name, value, fits, words in (("temperature", temperature, lambda t: 0 <= t < np.inf, "0 or more"),
                                     ("top_p", top_p, lambda p: 0 < p <= 1, "more than 0 and at most 1")):
        if value is None and name == "top_p":
            continue
        if isinstance(value, (bool, np.bool_)) or not isinstance(value, (int, float, np.integer, np.floating)):
            raise TypeError(f"{name} is {value!r}: give a number")
        if not fits(value):
            raise ValueError(f"{name} is {value}: give {words}")
