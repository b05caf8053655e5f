"""The workloads: plain NumPy, as a scientist writes it, of (parameters..., data...) to a number.

What it is: the one text that diffeng differentiates, and that JAX, HIPS autograd and PyTensor run with their own module under the name np (`rebound`).
What it is not: nothing here knows an engine. Why a file: a reader judges by it what was compared.
"""
import types

import numpy as np

from ..llm.block import block


def rosenbrock(x):
    """Rosenbrock's banana (1960) in n dimensions. x: (n,)."""
    return np.sum(100.0 * (x[1:] - x[:-1] ** 2) ** 2 + (1.0 - x[:-1]) ** 2)


def chain(x):
    """Eight transcendental functions of each entry, summed. x: (n,)."""
    return np.sum(np.sin(x) * np.exp(-x * x) + np.tanh(x) * np.log1p(x * x) + np.cos(x) * np.sqrt(1.0 + x * x) + np.expm1(0.1 * x) * np.log(2.0 + x * x))


def logistic(w, b, X, y):
    """Mean negative log-likelihood of logistic regression. w: (d,); b: (); X: (n, d); y: (n,) of 0.0 and 1.0."""
    z = X @ w + b                                                     # (n, d) @ (d,) -> (n,)
    return np.mean(np.logaddexp(0.0, z) - y * z)


def mlp(layers, X, y):
    """Softmax cross-entropy of a tanh network. layers: [(W, b), ...], W (in, out); X: (n, in); y: (n,) class numbers."""
    *hidden, (W, b) = layers
    for V, c in hidden:
        X = np.tanh(X @ V + c)
    return cross_entropy(X @ W + b, y)


def cross_entropy(z, y):
    """Mean of logsumexp(z) - z[y]. z: (n, classes); y: (n,) class numbers."""
    return np.mean(logsumexp(z, 1) - z[np.arange(len(y)), y])


def logsumexp(z, axis):
    """log(sum(exp(z))) along an axis, which goes; the largest entry is taken out, so that nothing overflows."""
    largest = np.max(z, axis=axis, keepdims=True)
    return np.squeeze(largest, axis) + np.log(np.sum(np.exp(z - largest), axis=axis))


def mixture(alphas, means, icf, x, place):
    """ADBench's log-likelihood of a Gaussian mixture with a Wishart prior (Srajer, Kukelova & Fitzgibbon 2018, section 4.1), gamma = 1, m = 0; constants left out.

    alphas: (k,); means: (k, d); icf: (k, d + d(d-1)/2), the logarithms of each Q's diagonal, then what lies below it; x: (n, d);
    place: (d, d) of the column, 1 + of icf[:, d:], that goes into each place of Q, 0 for what stays empty.
    """
    k, d = means.shape
    diagonal = np.exp(icf[:, :d])                                                    # (k, d)
    below = np.concatenate([np.zeros((k, 1)), icf[:, d:]], axis=1)[:, place]         # (k, d, d)
    Q = below + diagonal[:, :, None] * np.eye(d)
    Qx = (x - means[:, None, :]) @ np.swapaxes(Q, 1, 2)                              # (k, n, d) @ (k, d, d) -> (k, n, d)
    log_det = np.sum(icf[:, :d], axis=1)
    terms = (alphas + log_det)[:, None] - 0.5 * np.sum(Qx * Qx, axis=2)              # (k, n)
    prior = 0.5 * (np.sum(diagonal * diagonal) + np.sum(icf[:, d:] ** 2))
    return np.sum(logsumexp(terms, 0)) - len(x) * logsumexp(alphas, 0) + prior


def bundle(cameras, points, weights, seen, features):
    """ADBench's bundle adjustment (section 4.2): the sum of squares of reprojection and weight errors, with gathers for the sparsity.

    cameras: (n, 11), rotation 3, centre 3, focal length, principal point 2, radial distortion 2; points: (m, 3); weights: (p,);
    seen: (p, 2) integers, camera and point of each observation; features: (p, 2), where the point was seen.
    """
    camera, X = cameras[seen[:, 0]], points[seen[:, 1]]
    x, y, z = rotated(camera[:, 0:3], X - camera[:, 3:6])
    u, v = x / z, y / z
    r2 = u * u + v * v
    scale = camera[:, 6] * (1.0 + camera[:, 9] * r2 + camera[:, 10] * r2 * r2)       # focal length times distortion
    du = weights * (u * scale + camera[:, 7] - features[:, 0])
    dv = weights * (v * scale + camera[:, 8] - features[:, 1])
    return np.sum(du * du + dv * dv) + np.sum((1.0 - weights * weights) ** 2)


def rotated(rotation, X):
    """Rodrigues' formula: X turned about each rotation vector by its length. rotation, X: (p, 3), no rotation 0; three (p,)."""
    angle = np.sqrt(np.sum(rotation * rotation, axis=1))
    axis = rotation / angle[:, None]
    a, b, c = axis[:, 0], axis[:, 1], axis[:, 2]
    x, y, z = X[:, 0], X[:, 1], X[:, 2]
    cosine, sine = np.cos(angle), np.sin(angle)
    along = (a * x + b * y + c * z) * (1.0 - cosine)
    return x * cosine + (b * z - c * y) * sine + a * along, y * cosine + (c * x - a * z) * sine + b * along, z * cosine + (a * y - b * x) * sine + c * along


def lstm(W, U, b, xs, targets):
    """Mean squared misfit of an LSTM's outputs (Hochreiter & Schmidhuber 1997, with forget gates). W: (in, 4H); U: (H, 4H); b: (4H,), gates input, forget,
    cell, output as in PyTorch; xs: (T, B, in); targets: (T, B, H)."""
    h = c = np.zeros(targets.shape[1:])
    loss = 0.0
    for t in range(len(xs)):
        gates = xs[t] @ W + h @ U + b                                 # (B, in) @ (in, 4H) + (B, H) @ (H, 4H) -> (B, 4H)
        i, f, g, o = np.split(gates, 4, axis=1)
        c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
        h = sigmoid(o) * np.tanh(c)
        loss = loss + np.mean((h - targets[t]) ** 2)
    return loss / len(xs)


def sigmoid(x):
    """The logistic function."""
    return 1.0 / (1.0 + np.exp(-x))


def heat(u, conductivity, observed, steps):
    """Mean squared misfit after explicit steps of du/dt = d/dx (k du/dx), ends held. u, observed: (n,); conductivity: (n - 1,), between points, times dt/dx^2."""
    for _ in range(steps):
        flux = conductivity * (u[1:] - u[:-1])
        u = np.concatenate([u[:1], u[1:-1] + (flux[1:] - flux[:-1]), u[-1:]])
    return np.mean((u - observed) ** 2)


def gpt2_block(p, x, n_heads):
    """Mean square of what one GPT-2 block makes of x: (B, T, C). p: its parameters by GPT-2's names."""
    y = block(p, "", x, n_heads)
    return np.mean(y * y)


def twice_tanh(x, A, B):
    """(n,) -> (n,): two tanh layers."""
    return np.tanh(B @ np.tanh(A @ x))


def rebound(function, module):
    """The same function with another array module under the name np, in it and in whatever functions it calls.

    >>> import types
    >>> half = types.SimpleNamespace(tanh=lambda x: x, exp=lambda x: x)
    >>> rebound(sigmoid, half)(-4.0)
    0.2
    """
    made = {}                                            # id of a module's globals -> their copy

    def copy(old):
        if id(old) not in made:
            made[id(old)] = new = dict(old, np=module)
            for name, value in old.items():
                if isinstance(value, types.FunctionType):
                    new[name] = anew(value)
        return made[id(old)]

    def anew(f):
        return types.FunctionType(f.__code__, copy(f.__globals__), f.__name__, f.__defaults__, f.__closure__)

    return anew(function)
