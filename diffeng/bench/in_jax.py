"""The workloads as a JAX user writes them, where that is another text than NumPy's: loops by lax.scan, functions of jax.nn.

Timed beside the NumPy text with jax.numpy under its name; the table keeps the faster of the two. Why a file: it is imported only where JAX is.
"""
import jax
import jax.numpy as jnp
from jax import lax


def logistic(w, b, X, y):
    z = X @ w + b
    return jnp.mean(jax.nn.softplus(z) - y * z)


def mlp(layers, X, y):
    *hidden, (W, b) = layers
    for V, c in hidden:
        X = jnp.tanh(X @ V + c)
    return -jnp.mean(jnp.take_along_axis(jax.nn.log_softmax(X @ W + b), y[:, None], axis=1))


def mixture(alphas, means, icf, x, place):
    k, d = means.shape
    diagonal = jnp.exp(icf[:, :d])
    Q = jnp.pad(icf[:, d:], ((0, 0), (1, 0)))[:, place] + jax.vmap(jnp.diag)(diagonal)
    Qx = jnp.einsum("kij,nkj->nki", Q, x[:, None, :] - means)
    terms = alphas + jnp.sum(icf[:, :d], axis=1) - 0.5 * jnp.sum(Qx * Qx, axis=2)
    prior = 0.5 * (jnp.sum(diagonal * diagonal) + jnp.sum(icf[:, d:] ** 2))
    return jnp.sum(jax.nn.logsumexp(terms, axis=1)) - len(x) * jax.nn.logsumexp(alphas) + prior


def lstm(W, U, b, xs, targets):
    def step(carry, now):
        (h, c), (x, target) = carry, now
        i, f, g, o = jnp.split(x @ W + h @ U + b, 4, axis=1)
        c = jax.nn.sigmoid(f) * c + jax.nn.sigmoid(i) * jnp.tanh(g)
        h = jax.nn.sigmoid(o) * jnp.tanh(c)
        return (h, c), jnp.mean((h - target) ** 2)

    zero = jnp.zeros(targets.shape[1:], xs.dtype)
    return jnp.mean(lax.scan(step, (zero, zero), (xs, targets))[1])


def heat(u, conductivity, observed, steps):
    def step(u, _):
        flux = conductivity * (u[1:] - u[:-1])
        return u.at[1:-1].add(flux[1:] - flux[:-1]), None

    return jnp.mean((lax.scan(step, u, length=steps)[0] - observed) ** 2)


def gpt2_block(p, x, n_heads):
    B, T, C = x.shape

    def norm(at, x):
        return jax.nn.standardize(x, axis=-1, epsilon=1e-5) * p[at + "weight"] + p[at + "bias"]

    def linear(at, x):
        return x @ p[at + "weight"] + p[at + "bias"]

    q, k, v = (part.reshape(B, T, n_heads, C // n_heads) for part in jnp.split(linear("attn.c_attn.", norm("ln_1.", x)), 3, axis=-1))
    x = x + linear("attn.c_proj.", jax.nn.dot_product_attention(q, k, v, is_causal=True).reshape(B, T, C))
    x = x + linear("mlp.c_proj.", jax.nn.gelu(linear("mlp.c_fc.", norm("ln_2.", x)), approximate=True))
    return jnp.mean(x * x)
