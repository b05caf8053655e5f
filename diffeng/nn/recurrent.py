"""RNN, LSTM and GRU: layers whose state goes from step to step, with PyTorch's formulas and names of parameters; and their cells, which are one step.

What it is: one operation for a layer and a direction, a loop over the steps inside; what the input adds to all steps is one product.
What it is not: no packed sequences (pad them, and mask the loss).
"""
import math

import numpy as np

from . import functional as F, init
from ..errors import refuse
from ..tensors import FUNCTIONS, zeros
from ..tensor_engine.core import Operation
from ..vocabulary.elementwise import expit, maximum
from .module import Module, Parameter


def _tanh(x, y, h):
    return (np.tanh(x + y),)


def _relu(x, y, h):
    return (maximum(x + y, np.zeros((), x.dtype)),)


def _lstm(x, y, h, c):
    """Hochreiter & Schmidhuber, Neural Computation 9, 1997, with forget gates. The gates lie in the order input, forget, cell, output."""
    i, f, g, o = np.split(x + y, 4, axis=-1)
    c = expit(f) * c + expit(i) * np.tanh(g)
    return expit(o) * np.tanh(c), c


def _gru(x, y, h):
    """Cho et al., EMNLP 2014, with the reset gate behind the product. The gates lie in the order reset, update, new."""
    (xr, xz, xn), (yr, yz, yn) = np.split(x, 3, axis=-1), np.split(y, 3, axis=-1)
    z = expit(xz + yz)
    n = np.tanh(xn + expit(xr + yr) * yn)
    return (n + z * (h - n),)


def _steps(x, *given, cell, states, reverse):
    """x: (T, B, F). given: the states at first, (B, H) each, two matrices, and two biases or none -> (all h, (T, B, H); the last of each state)."""
    state, (w, u, *biases) = given[:states], given[states:]
    b, d = biases or (np.zeros((), x.dtype),) * 2
    from_input, turned, out = x @ np.swapaxes(w, 0, 1) + b, np.swapaxes(u, 0, 1), []
    for t in range(x.shape[0])[::-1 if reverse else 1]:
        state = cell(from_input[t], state[0] @ turned + d, *state)
        out.append(state[0])
    return (np.stack(out[::-1] if reverse else out), *state)


_STEPS = Operation(_steps, "recurrent")


class _Cell(Module):
    """One step of a recurrent layer: what RNNCell, LSTMCell and GRUCell share."""

    cell, gates, states = staticmethod(_tanh), 1, 1

    def __init__(self, input_size, hidden_size, bias=True, device=None, dtype=None):
        self.input_size, self.hidden_size, self.bias = input_size, hidden_size, bias
        _add_weights(self, "", input_size, bias, dtype, device)

    def forward(self, input, hx=None):
        """input: (B, F) or (F,). hx: the state, (B, H) or (H,), zeros by default. Returns the next one."""
        x = input if input.ndim == 2 else input.unsqueeze(0)
        given = (hx if self.states > 1 else (hx,)) if hx is not None else [zeros(x.shape[0], self.hidden_size, dtype=x.dtype, device=x.device)] * self.states
        given = [h if h.ndim == 2 else h.unsqueeze(0) for h in given]
        _, *state = _STEPS(x.unsqueeze(0), *given, *_weights(self, ""), cell=self.cell, states=self.states, reverse=False)
        state = [h if input.ndim == 2 else h.squeeze(0) for h in state]
        return tuple(state) if self.states > 1 else state[0]

    def extra_repr(self):
        return f"{self.input_size}, {self.hidden_size}" + ("" if self.bias else ", bias=False")


def _add_weights(layer, suffix, size, bias, dtype, device):
    """Uniform in +-1 / sqrt(hidden_size)."""
    rows, bound = layer.gates * layer.hidden_size, 1 / math.sqrt(layer.hidden_size) if layer.hidden_size else 0.0
    for name, shape in (("weight_ih", (rows, size)), ("weight_hh", (rows, layer.hidden_size)), ("bias_ih", (rows,)), ("bias_hh", (rows,)))[:4 if bias else 2]:
        setattr(layer, name + suffix, Parameter(zeros(*shape, dtype=dtype, device=device)))
        init.uniform_(getattr(layer, name + suffix), -bound, bound)


def _weights(layer, suffix):
    return [getattr(layer, name + suffix) for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")[:4 if layer.bias else 2]]


class RNN(Module):
    """h_t = tanh(W x_t + b + U h_{t-1} + c), several layers of it if num_layers > 1.

    layer(input, h_0) -> (output, h_n). input: (T, B, F), with batch_first (B, T, F), or (T, F). h_0, h_n: (layers * directions, B, H); zeros by default. output: the
    last layer's h of every step, (T, B, directions * H). nonlinearity: "tanh" or "relu". dropout: of what goes from layer to layer, in training.

    >>> import diffeng as de
    >>> output, h = RNN(4, 5, num_layers=2, batch_first=True)(de.zeros(3, 7, 4))
    >>> output.shape, h.shape
    ((3, 7, 5), (2, 3, 5))
    """

    cell, gates, states = staticmethod(_tanh), 1, 1

    def __init__(self, input_size, hidden_size, num_layers=1, nonlinearity="tanh", bias=True, batch_first=False, dropout=0.0, bidirectional=False, device=None, dtype=None):
        if nonlinearity not in ("tanh", "relu"):
            raise refuse(ValueError, f"RNN{{here}}: Unknown nonlinearity {nonlinearity!r}. Select from 'tanh' or 'relu'.")
        self._made(input_size, hidden_size, num_layers, bias, batch_first, dropout, bidirectional, device, dtype)
        if nonlinearity == "relu":
            self.cell = _relu

    def _made(self, input_size, hidden_size, num_layers, bias, batch_first, dropout, bidirectional, device, dtype):
        self.input_size, self.hidden_size, self.num_layers, self.bias = input_size, hidden_size, num_layers, bias
        self.batch_first, self.dropout, self.bidirectional = batch_first, float(dropout), bidirectional
        self._suffixes = [[f"_l{k}{way}" for way in ("", "_reverse")[:1 + bidirectional]] for k in range(num_layers)]
        for k, suffixes in enumerate(self._suffixes):
            for suffix in suffixes:
                _add_weights(self, suffix, hidden_size * len(suffixes) if k else input_size, bias, dtype, device)

    def forward(self, input, hx=None):
        if input.ndim not in (2, 3) or input.shape[-1] != self.input_size:
            raise refuse(RuntimeError if input.ndim in (2, 3) else ValueError, f"{type(self).__name__}{{here}}: Expected input of 2 or 3 axes with {self.input_size} entries on "
                                                                               f"the last, got shape {list(input.shape)}")
        single = input.ndim == 2
        x = input.unsqueeze(1) if single else input.transpose(0, 1) if self.batch_first else input
        count = sum(map(len, self._suffixes))
        shape = (count, x.shape[1], self.hidden_size)
        first = [zeros(*shape, dtype=x.dtype, device=x.device)] * self.states if hx is None else list(hx) if self.states > 1 else [hx]
        first = [h.unsqueeze(1) if single and h.ndim == 2 else h for h in first]
        for h in first:
            if h.shape != shape:
                raise refuse(RuntimeError, f"{type(self).__name__}{{here}}: Expected hidden size {list(shape)}, got {list(h.shape)}")
        last, k = [[] for _ in first], 0
        for level, suffixes in enumerate(self._suffixes):
            x = F.dropout(x, self.dropout, self.training and level > 0)
            ways = []
            for way, suffix in enumerate(suffixes):
                out, *state = _STEPS(x, *[h[k] for h in first], *_weights(self, suffix), cell=self.cell, states=self.states, reverse=way == 1)
                ways.append(out)
                for column, h in zip(last, state):
                    column.append(h)
                k += 1
            x = FUNCTIONS["cat"](ways, -1) if len(ways) > 1 else ways[0]
        last = [FUNCTIONS["stack"](column) for column in last]
        last = [h.squeeze(1) if single else h for h in last]
        x = x.squeeze(1) if single else x.transpose(0, 1) if self.batch_first else x
        return x, tuple(last) if self.states > 1 else last[0]

    def flatten_parameters(self):
        """Nothing is to be done."""

    def extra_repr(self):
        options = [f"{name}={getattr(self, name)}" for name, usual in (("num_layers", 1), ("bias", True), ("batch_first", False), ("dropout", 0.0), ("bidirectional", False))
                   if getattr(self, name) != usual]
        return ", ".join([str(self.input_size), str(self.hidden_size), *options])


class _Gated(RNN):
    def __init__(self, input_size, hidden_size, num_layers=1, bias=True, batch_first=False, dropout=0.0, bidirectional=False, device=None, dtype=None):
        self._made(input_size, hidden_size, num_layers, bias, batch_first, dropout, bidirectional, device, dtype)


class LSTM(_Gated):
    """RNN with a cell state beside h and gates: layer(input, (h_0, c_0)) -> (output, (h_n, c_n)). Shapes as RNN's."""

    cell, gates, states = staticmethod(_lstm), 4, 2


class GRU(_Gated):
    """RNN with gates: layer(input, h_0) -> (output, h_n). Shapes as RNN's."""

    cell, gates, states = staticmethod(_gru), 3, 1


class RNNCell(_Cell):
    """One step of RNN: cell(x, h) -> h."""

    def __init__(self, input_size, hidden_size, bias=True, nonlinearity="tanh", device=None, dtype=None):
        super().__init__(input_size, hidden_size, bias, device, dtype)
        if nonlinearity == "relu":
            self.cell = _relu


class LSTMCell(_Cell):
    """One step of LSTM: cell(x, (h, c)) -> (h, c)."""

    cell, gates, states = staticmethod(_lstm), 4, 2


class GRUCell(_Cell):
    """One step of GRU: cell(x, h) -> h."""

    cell, gates, states = staticmethod(_gru), 3, 1
