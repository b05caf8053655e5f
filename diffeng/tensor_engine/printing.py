"""A tensor as PyTorch prints it: four digits, aligned columns, three entries at either end of a long axis."""
import math

import numpy as np

from .ancestry import backward_name

from .rules import BOOL, FLOAT32, INT64

PRECISION, THRESHOLD, EDGE, WIDTH, SCIENTIFIC = 4, 1000, 3, 80, None
_PROFILES = {"default": (4, 1000, 3, 80), "short": (2, 1000, 2, 80), "full": (4, math.inf, 3, 80)}


def set_printoptions(precision=None, threshold=None, edgeitems=None, linewidth=None, profile=None, sci_mode=None):
    """How tensors are printed from now on: digits; entries above which a tensor is shortened, to so many at either end of an axis; characters of a line.

    profile: "default", "short" or "full". sci_mode: always with an exponent, or never; None, where it is needed.
    """
    global PRECISION, THRESHOLD, EDGE, WIDTH, SCIENTIFIC
    if profile is not None:
        PRECISION, THRESHOLD, EDGE, WIDTH = _PROFILES[profile]
    PRECISION, THRESHOLD = PRECISION if precision is None else precision, THRESHOLD if threshold is None else threshold
    EDGE, WIDTH, SCIENTIFIC = EDGE if edgeitems is None else edgeitems, WIDTH if linewidth is None else linewidth, sci_mode


class _Formatter:
    """How entries of one tensor are written: chosen from those that are shown."""

    def __init__(self, shown):
        self.floating, self.integral, self.scientific, self.width = shown.dtype.kind == "f", False, False, 1
        if not self.floating:
            self.width = max([len(str(x)) for x in shown.ravel().tolist()], default=1)
            return
        x = shown[np.isfinite(shown) & (shown != 0)].astype(np.float64)
        if not x.size:
            self.integral = bool(np.all(np.isfinite(shown))) or True
            self.width = max([len(self(v)) for v in shown.ravel().tolist()], default=1)
            return
        low, high = float(np.abs(x).min()), float(np.abs(x).max())
        self.integral = bool(np.all(x == np.ceil(x)))
        if self.integral:
            self.scientific = high / low > 1000.0 or high > 1e8
        else:
            self.scientific = high / low > 1000.0 or high > 1e8 or low < 1e-4
        self.scientific = self.scientific if SCIENTIFIC is None else SCIENTIFIC
        self.width = max(len(self(v)) for v in shown.ravel().tolist())

    def __call__(self, v):
        if not self.floating:
            return str(v)
        if self.scientific:
            return f"{v:.{PRECISION}e}"
        if self.integral:
            return f"{v:.0f}" + ("." if math.isfinite(v) else "")
        return f"{v:.{PRECISION}f}"

    def padded(self, v):
        return self(v).rjust(self.width)


def _shown(x, short):
    """The entries that will be printed."""
    for axis in range(x.ndim):
        if short and x.shape[axis] > 2 * EDGE:
            head, tail = np.take(x, range(EDGE), axis), np.take(x, range(x.shape[axis] - EDGE, x.shape[axis]), axis)
            x = np.concatenate([head, tail], axis)
    return x


def _text(x, short, form, indent):
    if x.ndim == 0:
        return form(x.item())
    if x.ndim == 1:
        per_line = max(1, (WIDTH - indent) // (form.width + 2))
        values = x.tolist()
        if short and len(values) > 2 * EDGE:
            words = [form.padded(v) for v in values[:EDGE]] + [" ..."] + [form.padded(v) for v in values[-EDGE:]]
        else:
            words = [form.padded(v) for v in values]
        lines = [", ".join(words[k:k + per_line]) for k in range(0, len(words), per_line)] or [""]
        return "[" + (",\n" + " " * (indent + 1)).join(lines) + "]"
    rows = [*range(x.shape[0])]
    cut = short and len(rows) > 2 * EDGE
    parts = [_text(x[k], short, form, indent + 1) for k in (rows[:EDGE] + rows[-EDGE:] if cut else rows)]
    if cut:
        parts.insert(EDGE, "...")
    return "[" + ("," + "\n" * (x.ndim - 1) + " " * (indent + 1)).join(parts) + "]"


def text(t, value):
    """tensor([1., 2.], requires_grad=True)"""
    prefix = "tensor("
    short = value.size > THRESHOLD
    body = "[]" if value.size == 0 else _text(value, short, _Formatter(_shown(value, short)), len(prefix))
    suffixes = [f"device='{t.device}'"] if t.device != "cpu" else []
    if value.size == 0 and value.ndim != 1:
        suffixes.append(f"size={tuple(value.shape)}")
    if value.dtype not in (FLOAT32, INT64, BOOL) or value.size == 0 and value.dtype == INT64:
        suffixes.append(f"dtype=de.{value.dtype.name}")
    if t.requires:
        suffixes.append("requires_grad=True" if t.leaf else f"grad_fn=<{grad_name(t)}>")
    out, last = prefix + body, len((prefix + body).split("\n")[-1]) + 1
    for s in suffixes:
        if last + len(s) + 2 > WIDTH:
            out, last = out + ",\n" + " " * len(prefix) + s, len(prefix) + len(s)
        else:
            out, last = out + ", " + s, last + len(s) + 2
    return out + ")"


_NAMES = {"to": "ToCopy", "matmul": "Mm", "getitem": "Select", "setitem": "CopySlices", "amax": "Max", "amin": "Min"}


def grad_name(t):
    """What PyTorch calls the operation, as far as it has one word for it."""
    return _NAMES[t._by] + "Backward0" if t._by in _NAMES else backward_name(t._by)
