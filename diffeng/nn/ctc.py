"""ctc_loss: the probability of a sequence of labels, summed over all the ways to spread it over more steps (Graves, Fernandez, Gomez & Schmidhuber, ICML 2006)."""
import numpy as np

from ..errors import refuse
from ..tensor_engine.core import Operation, beside
from ..tensor_engine.functions import operand
from ..vocabulary import elementwise as e, indexing
from .margins import checked

_NEVER = -1e30                                    # the logarithm of a probability of 0 that derivatives pass without NaN


def _ctc(logs, labels, begins, skips, ends, steps):
    """logs: (T, N, classes). labels: (N, S), with blanks between. begins, skips, ends: truth values (N, S): may a way begin here, skip the blank before, end here? steps: (N,)."""
    rows, never = np.arange(labels.shape[0])[:, None], np.full((), _NEVER, logs.dtype)
    at = indexing.getitem(logs, rows, labels, index=(slice(None), indexing.Slot(0), indexing.Slot(1)))          # (T, N, S)
    ahead = np.full((labels.shape[0], 2), _NEVER, logs.dtype)
    alpha = e.where(begins, at[0], never)
    for t in range(1, logs.shape[0]):
        behind = np.concatenate([ahead, alpha], 1)
        ways = np.logaddexp(np.logaddexp(alpha, behind[:, 1:-1]), e.where(skips, behind[:, :-2], never))
        alpha = e.where(e.less(t, steps)[:, None], ways + at[t], alpha)
    best = e.where(ends, alpha, never)
    top = e.stop_gradient(np.max(best, axis=1, keepdims=True))
    return -(np.log(np.sum(np.exp(best - top), axis=1)) + top[:, 0])


_CTC = Operation(_ctc, "ctc_loss")


def ctc_loss(log_probs, targets, input_lengths, target_lengths, blank=0, reduction="mean", zero_infinity=False):
    """-log of the probability of targets, one each example. log_probs: (T, N, classes), or (T, classes), logarithms. targets: (N, S) int64, or all one after the other.

    input_lengths, target_lengths: (N,), how many steps and labels each example has. blank: the class of no label. reduction "mean": each over its target's length, then the mean.
    Where there are too few steps it is inf, or, with zero_infinity, 0 without a gradient.
    """
    log_probs, single = operand(log_probs), log_probs.ndim == 2
    logs = log_probs.unsqueeze(1) if single else log_probs
    given, steps, counts = [np.asarray(x.value if hasattr(x, "value") else x, np.int64) for x in (targets, input_lengths, target_lengths)]
    steps, counts, n = steps.reshape(-1), counts.reshape(-1), logs.shape[1]
    if len(steps) != n or len(counts) != n or steps.max(initial=0) > logs.shape[0]:
        raise refuse(RuntimeError, f"ctc_loss{{here}}: Expected input_lengths and target_lengths of {n} examples, of at most {logs.shape[0]} steps, but they are {steps.tolist()} and {counts.tolist()}")
    if not 0 <= blank < logs.shape[2]:
        raise refuse(RuntimeError, f"ctc_loss{{here}}: blank must be in label range: it is {blank}, and there are {logs.shape[2]} classes")
    starts = np.concatenate([[0], np.cumsum(counts)])
    rows = [given[starts[k]:starts[k + 1]] if given.ndim == 1 else given[k, :counts[k]] for k in range(n)]
    labels = np.full((n, 2 * counts.max(initial=0) + 1), blank)
    for k, row in enumerate(rows):
        if np.any((row < 0) | (row >= logs.shape[2])):
            raise refuse(RuntimeError, f"ctc_loss{{here}}: targets must be from 0 to {logs.shape[2] - 1}, and there is {row[(row < 0) | (row >= logs.shape[2])][0]}")
        labels[k, 1:2 * len(row):2] = row
    places = np.arange(labels.shape[1])
    skips = np.zeros(labels.shape, bool)
    skips[:, 2:] = (labels[:, 2:] != blank) & (labels[:, 2:] != labels[:, :-2])
    ends = (places == 2 * counts[:, None]) | (places == 2 * counts[:, None] - 1)
    begins = (places < 2) & (places <= 2 * counts[:, None])
    loss = _CTC(logs, *[beside(logs, x) for x in (labels, begins, skips, ends, steps)])
    impossible = loss > -_NEVER / 2
    loss = loss.masked_fill(impossible, 0.0 if zero_infinity else np.inf)
    if checked(reduction) == "none":
        return loss[0] if single else loss
    return loss.sum() if reduction == "sum" else (loss / beside(loss, np.maximum(counts, 1).astype(loss.dtype))).mean()


FUNCTIONS = {"ctc_loss": ctc_loss}
