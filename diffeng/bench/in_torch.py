"""The workloads as a PyTorch user writes them: torch.nn.functional, fused where PyTorch has it fused (attention, layer norm, LSTM, cross-entropy).

The same names, arguments and values as functions.py. Why a file: it is imported only where PyTorch is.
"""
import torch
import torch.nn.functional as F


def rosenbrock(x):
    return (100.0 * (x[1:] - x[:-1] ** 2) ** 2 + (1.0 - x[:-1]) ** 2).sum()


def chain(x):
    square = x * x
    return (x.sin() * (-square).exp() + x.tanh() * square.log1p() + x.cos() * (1.0 + square).sqrt() + (0.1 * x).expm1() * (2.0 + square).log()).sum()


def logistic(w, b, X, y):
    return F.binary_cross_entropy_with_logits(torch.mv(X, w) + b, y)


def mlp(layers, X, y):
    *hidden, (W, b) = layers
    for V, c in hidden:
        X = torch.tanh(torch.addmm(c, X, V))
    return F.cross_entropy(torch.addmm(b, X, W), y)


def mixture(alphas, means, icf, x, place):
    k, d = means.shape
    diagonal = icf[:, :d].exp()
    Q = F.pad(icf[:, d:], (1, 0))[:, place] + torch.diag_embed(diagonal)
    Qx = torch.matmul(x - means[:, None, :], Q.mT)
    terms = (alphas + icf[:, :d].sum(1))[:, None] - 0.5 * Qx.square().sum(2)
    prior = 0.5 * (diagonal.square().sum() + icf[:, d:].square().sum())
    return torch.logsumexp(terms, 0).sum() - len(x) * torch.logsumexp(alphas, 0) + prior


def bundle(cameras, points, weights, seen, features):
    camera, X = cameras.index_select(0, seen[:, 0]), points.index_select(0, seen[:, 1])
    rotation, X = camera[:, 0:3], X - camera[:, 3:6]
    angle = torch.linalg.vector_norm(rotation, dim=1, keepdim=True)
    axis, cosine = rotation / angle, angle.cos()
    X = X * cosine + torch.linalg.cross(axis, X) * angle.sin() + axis * ((axis * X).sum(1, keepdim=True) * (1.0 - cosine))
    u = X[:, :2] / X[:, 2:]
    r2 = u.square().sum(1, keepdim=True)
    scale = camera[:, 6:7] * (1.0 + camera[:, 9:10] * r2 + camera[:, 10:11] * r2 * r2)
    error = weights[:, None] * (u * scale + camera[:, 7:9] - features)
    return error.square().sum() + (1.0 - weights * weights).square().sum()


def lstm(W, U, b, xs, targets):
    zero = xs.new_zeros((1,) + targets.shape[1:])
    weights = [W.T, U.T, b, torch.zeros_like(b)]          # torch's layout, and its second bias
    hs, _, _ = torch.lstm(xs, (zero, zero), weights, True, 1, 0.0, True, False, False)
    return F.mse_loss(hs, targets)


def heat(u, conductivity, observed, steps):
    for _ in range(steps):
        flux = conductivity * torch.diff(u)
        u = torch.cat([u[:1], u[1:-1] + torch.diff(flux), u[-1:]])
    return F.mse_loss(u, observed)


def gpt2_block(p, x, n_heads):
    B, T, C = x.shape

    def linear(at, x):
        return F.linear(x, p[at + "weight"].T, p[at + "bias"])

    def norm(at, x):
        return F.layer_norm(x, (C,), p[at + "weight"], p[at + "bias"], 1e-5)

    q, k, v = (part.view(B, T, n_heads, C // n_heads).transpose(1, 2) for part in linear("attn.c_attn.", norm("ln_1.", x)).split(C, dim=2))
    mixed = F.scaled_dot_product_attention(q, k, v, is_causal=True).transpose(1, 2).reshape(B, T, C)
    x = x + linear("attn.c_proj.", mixed)
    x = x + linear("mlp.c_proj.", F.gelu(linear("mlp.c_fc.", norm("ln_2.", x)), approximate="tanh"))
    return x.square().mean()


def twice_tanh(x, A, B):
    return torch.tanh(B @ torch.tanh(A @ x))
