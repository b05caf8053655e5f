"""MultiheadAttention, and the Transformer of encoders and decoders that is made of it, with PyTorch's names of parameters (Vaswani et al., NeurIPS 2017).

What it is not: no operation of its own (functional.py). The hints is_causal are accepted and change nothing: the mask says what is seen.
"""
import copy
import functools

import numpy as np

from . import functional as F, init
from ..errors import refuse
from ..tensors import full, zeros
from .layers import Dropout, LayerNorm, Linear, unfilled
from .module import Module
from .sequential import ModuleList


class MultiheadAttention(Module):
    """num_heads attentions on parts of embed_dim, joined by a linear layer: (output, weights) of (query, key, value).

    query: (L, N, E), key and value: (S, N, E), or with the batch N first (batch_first), or without one. Returns the output, in the shape of the query, and the
    weights (N, L, S), the mean over heads unless average_attn_weights=False, (N, heads, L, S); None unless need_weights. attn_mask: (L, S) or (N * heads, L, S),
    key_padding_mask: (N, S): truth values, True for what is NOT seen, or numbers that are added. A query that sees nothing attends to nothing: 0.

    >>> import diffeng as de
    >>> attention, x = MultiheadAttention(8, 2, batch_first=True), de.zeros(3, 5, 8)
    >>> [y.shape for y in attention(x, x, x)]
    [(3, 5, 8), (3, 5, 5)]
    """

    def __init__(self, embed_dim, num_heads, dropout=0.0, bias=True, add_bias_kv=False, add_zero_attn=False, kdim=None, vdim=None, batch_first=False, device=None, dtype=None):
        if embed_dim <= 0 or num_heads <= 0:
            raise refuse(ValueError, f"MultiheadAttention{{here}}: embed_dim and num_heads must be greater than 0, got embed_dim={embed_dim} and num_heads={num_heads} instead")
        if embed_dim % num_heads:
            raise refuse(AssertionError, f"MultiheadAttention{{here}}: embed_dim must be divisible by num_heads: {embed_dim} and {num_heads}")
        if add_bias_kv or add_zero_attn:
            raise refuse(NotImplementedError, "MultiheadAttention{here}: add_bias_kv and add_zero_attn are not there: append an entry to key and value with cat")
        self.embed_dim, self.num_heads, self.dropout, self.batch_first = embed_dim, num_heads, dropout, batch_first
        self.head_dim, self.kdim, self.vdim = embed_dim // num_heads, embed_dim if kdim is None else kdim, embed_dim if vdim is None else vdim

        made = functools.partial(unfilled, dtype=dtype, device=device)
        same = self.kdim == self.vdim == embed_dim
        self.in_proj_weight = made(3 * embed_dim, embed_dim) if same else None
        self.q_proj_weight, self.k_proj_weight, self.v_proj_weight = [None] * 3 if same else [made(embed_dim, n) for n in (embed_dim, self.kdim, self.vdim)]
        self.in_proj_bias = made(3 * embed_dim) if bias else None
        self.out_proj = Linear(embed_dim, embed_dim, bias=bias, device=device, dtype=dtype)
        self._reset_parameters()

    def _reset_parameters(self):
        for weight in (self.in_proj_weight, self.q_proj_weight, self.k_proj_weight, self.v_proj_weight):
            if weight is not None:
                init.xavier_uniform_(weight)
        if self.in_proj_bias is not None:
            init.zeros_(self.in_proj_bias)
            init.zeros_(self.out_proj.bias)

    def forward(self, query, key, value, key_padding_mask=None, need_weights=True, attn_mask=None, average_attn_weights=True, is_causal=False):
        if is_causal and attn_mask is None:
            raise refuse(RuntimeError, "MultiheadAttention{here}: Need attn_mask if specifying the is_causal hint: Transformer.generate_square_subsequent_mask(L)")
        single, self_attention = query.ndim == 2, query is key and key is value
        self._fitting(query, key, value)
        if single:
            key_padding_mask = None if key_padding_mask is None else key_padding_mask.unsqueeze(0)
        batch = (lambda x: x.unsqueeze(0)) if single else (lambda x: x) if self.batch_first else (lambda x: x.transpose(0, 1))
        query = batch(query)
        key, value = (query, query) if self_attention else (batch(key), batch(value))
        q, k, v = [x.unflatten(-1, (self.num_heads, self.head_dim)).transpose(1, 2) for x in self._projected(query, key, value, self_attention)]
        n, length, source = query.shape[0], query.shape[1], key.shape[1]
        weights = F.attention_weights(q, k, self._mask(attn_mask, key_padding_mask, n, length, source))
        weights = F.dropout(weights, self.dropout, self.training)
        out = self.out_proj((weights @ v).transpose(1, 2).flatten(2))
        out = out.squeeze(0) if single else out if self.batch_first else out.transpose(0, 1)
        if not need_weights:
            return out, None
        weights = weights.mean(1) if average_attn_weights else weights
        return out, weights.squeeze(0) if single else weights

    def _fitting(self, query, key, value):
        if query.ndim not in (2, 3) or key.ndim != query.ndim or value.ndim != query.ndim:
            raise refuse(AssertionError, f"MultiheadAttention{{here}}: query, key and value should be unbatched 2D or batched 3D tensors alike, and have the shapes "
                                         f"{list(query.shape)}, {list(key.shape)}, {list(value.shape)}")
        for name, x, n in (("query", query, self.embed_dim), ("key", key, self.kdim), ("value", value, self.vdim)):
            if x.shape[-1] != n:
                raise refuse(AssertionError, f"MultiheadAttention{{here}}: was expecting embedding dimension of {n} on the last axis of {name}, but got {x.shape[-1]}")
        if key.shape[:-1] != value.shape[:-1]:
            raise refuse(AssertionError, f"MultiheadAttention{{here}}: key's sequence and batch dims {list(key.shape[:-1])} do not match value's {list(value.shape[:-1])}")

    def _projected(self, query, key, value, self_attention):
        if self.in_proj_weight is not None and self_attention:
            return F.linear(query, self.in_proj_weight, self.in_proj_bias).chunk(3, -1)
        weights = (self.q_proj_weight, self.k_proj_weight, self.v_proj_weight) if self.in_proj_weight is None else self.in_proj_weight.chunk(3)
        biases = [None] * 3 if self.in_proj_bias is None else self.in_proj_bias.chunk(3)
        return [F.linear(*given) for given in zip((query, key, value), weights, biases)]

    def _mask(self, attn_mask, key_padding_mask, n, length, source):
        """One mask of both, of a shape that broadcasts to (n, heads, length, source): truth values, True for what is seen, or numbers that are added."""
        masks = []
        if attn_mask is not None:
            shape = (length, source) if attn_mask.ndim == 2 else (n * self.num_heads, length, source)
            if attn_mask.shape != shape:
                raise refuse(RuntimeError, f"MultiheadAttention{{here}}: The shape of the {attn_mask.ndim}D attn_mask is {list(attn_mask.shape)}, but should be {list(shape)}")
            masks.append(attn_mask if attn_mask.ndim == 2 else attn_mask.unflatten(0, (n, self.num_heads)))
        if key_padding_mask is not None:
            if key_padding_mask.shape != (n, source):
                raise refuse(AssertionError, f"MultiheadAttention{{here}}: expecting key_padding_mask shape of {[n, source]}, but got {list(key_padding_mask.shape)}")
            masks.append(key_padding_mask[:, None, None, :])
        for m in masks:
            if m.dtype.kind not in "bf":
                raise refuse(AssertionError, f"MultiheadAttention{{here}}: only bool and floating types of masks are supported, and this one is {m.dtype}: use mask.bool()")
        if all([m.dtype.kind == "b" for m in masks]):
            masks = [~m for m in masks]
            return masks[0] & masks[1] if len(masks) == 2 else masks[0] if masks else None
        return sum([m if m.dtype.kind == "f" else zeros(m.shape, dtype=self.out_proj.weight.dtype, device=m.device).masked_fill(m, -np.inf) for m in masks])


def _activation(given):
    if given in ("relu", "gelu"):
        return getattr(F, given)
    if isinstance(given, str):
        raise refuse(RuntimeError, f"transformer{{here}}: activation should be relu/gelu, not {given}: or give a function")
    return given


class _Layer(Module):
    """What encoder and decoder layers share: a feed-forward net, and parts that are added to what goes in, with a normalisation after that, or before (norm_first)."""

    attentions = ("self_attn",)

    def __init__(self, d_model, nhead, dim_feedforward=2048, dropout=0.1, activation=F.relu, layer_norm_eps=1e-5, batch_first=False, norm_first=False, bias=True, device=None,
                 dtype=None):
        place = {"bias": bias, "device": device, "dtype": dtype}
        for name in self.attentions:
            setattr(self, name, MultiheadAttention(d_model, nhead, dropout=dropout, batch_first=batch_first, **place))
        self.linear1, self.dropout, self.linear2 = Linear(d_model, dim_feedforward, **place), Dropout(dropout), Linear(dim_feedforward, d_model, **place)
        self.norm_first, self.activation = norm_first, _activation(activation)
        parts = range(1, len(self.attentions) + 2)
        for k in parts:
            setattr(self, f"norm{k}", LayerNorm(d_model, eps=layer_norm_eps, **place))
        for k in parts:
            setattr(self, f"dropout{k}", Dropout(dropout))

    def _through(self, x, *parts):
        for k, part in enumerate(parts, 1):
            norm, dropout = getattr(self, f"norm{k}"), getattr(self, f"dropout{k}")
            x = x + dropout(part(norm(x))) if self.norm_first else norm(x + dropout(part(x)))
        return x

    def _feed_forward(self, x):
        return self.linear2(self.dropout(self.activation(self.linear1(x))))


class TransformerEncoderLayer(_Layer):
    """Attention of a sequence to itself, then a feed-forward net, each added to what goes in and normalised.

    src: (S, N, d_model), or (N, S, d_model) with batch_first, or (S, d_model); masks as in MultiheadAttention. activation: "relu", "gelu", or a function.
    norm_first: normalised before each part instead of after the sum.

    >>> import diffeng as de
    >>> TransformerEncoderLayer(8, 2, 16, batch_first=True)(de.zeros(3, 5, 8)).shape
    (3, 5, 8)
    """

    def forward(self, src, src_mask=None, src_key_padding_mask=None, is_causal=False):
        return self._through(src, lambda x: self.self_attn(x, x, x, src_key_padding_mask, False, src_mask)[0], self._feed_forward)


class TransformerDecoderLayer(_Layer):
    """Attention of a sequence to itself, attention to what an encoder gave, memory, then a feed-forward net; see TransformerEncoderLayer."""

    attentions = ("self_attn", "multihead_attn")

    def forward(self, tgt, memory, tgt_mask=None, memory_mask=None, tgt_key_padding_mask=None, memory_key_padding_mask=None, tgt_is_causal=False, memory_is_causal=False):
        return self._through(tgt, lambda x: self.self_attn(x, x, x, tgt_key_padding_mask, False, tgt_mask)[0],
                             lambda x: self.multihead_attn(x, memory, memory, memory_key_padding_mask, False, memory_mask)[0], self._feed_forward)


class _Stack(Module):
    def __init__(self, layer, num_layers, norm):
        self.layers, self.num_layers, self.norm = ModuleList([copy.deepcopy(layer) for _ in range(num_layers)]), num_layers, norm

    def _through(self, x, *given):
        for layer in self.layers:
            x = layer(x, *given)
        return x if self.norm is None else self.norm(x)


class TransformerEncoder(_Stack):
    """num_layers copies of a layer, one after the other, and a normalisation at the end, if one is given."""

    def __init__(self, encoder_layer, num_layers, norm=None, enable_nested_tensor=True, mask_check=True):
        super().__init__(encoder_layer, num_layers, norm)

    def forward(self, src, mask=None, src_key_padding_mask=None, is_causal=None):
        return self._through(src, mask, src_key_padding_mask)


class TransformerDecoder(_Stack):
    """num_layers copies of a layer, one after the other, which all see the memory, and a normalisation at the end, if one is given."""

    def __init__(self, decoder_layer, num_layers, norm=None):
        super().__init__(decoder_layer, num_layers, norm)

    def forward(self, tgt, memory, tgt_mask=None, memory_mask=None, tgt_key_padding_mask=None, memory_key_padding_mask=None, tgt_is_causal=None, memory_is_causal=False):
        return self._through(tgt, memory, tgt_mask, memory_mask, tgt_key_padding_mask, memory_key_padding_mask)


class Transformer(Module):
    """An encoder of src and a decoder of tgt: (T, N, d_model) of src (S, N, d_model) and tgt (T, N, d_model), or with the batch first."""

    def __init__(self, d_model=512, nhead=8, num_encoder_layers=6, num_decoder_layers=6, dim_feedforward=2048, dropout=0.1, activation=F.relu, custom_encoder=None,
                 custom_decoder=None, layer_norm_eps=1e-5, batch_first=False, norm_first=False, bias=True, device=None, dtype=None):
        place = {"bias": bias, "device": device, "dtype": dtype}
        options = dict(dim_feedforward=dim_feedforward, dropout=dropout, activation=activation, layer_norm_eps=layer_norm_eps, batch_first=batch_first,
                       norm_first=norm_first, **place)

        def norm():
            return LayerNorm(d_model, eps=layer_norm_eps, **place)
        self.encoder = custom_encoder or TransformerEncoder(TransformerEncoderLayer(d_model, nhead, **options), num_encoder_layers, norm())
        self.decoder = custom_decoder or TransformerDecoder(TransformerDecoderLayer(d_model, nhead, **options), num_decoder_layers, norm())
        for p in self.parameters():
            if p.ndim > 1:
                init.xavier_uniform_(p)
        self.d_model, self.nhead, self.batch_first = d_model, nhead, batch_first

    def forward(self, src, tgt, src_mask=None, tgt_mask=None, memory_mask=None, src_key_padding_mask=None, tgt_key_padding_mask=None, memory_key_padding_mask=None,
                src_is_causal=None, tgt_is_causal=None, memory_is_causal=False):
        at = 0 if self.batch_first else 1
        if src.ndim == 3 and tgt.ndim == 3 and src.shape[at] != tgt.shape[at]:
            raise refuse(RuntimeError, f"Transformer{{here}}: the batch number of src and tgt must be equal: {src.shape[at]} and {tgt.shape[at]} on axis {at} "
                                       f"(batch_first={self.batch_first})")
        if src.shape[-1] != self.d_model or tgt.shape[-1] != self.d_model:
            raise refuse(RuntimeError, f"Transformer{{here}}: the feature number of src and tgt must be equal to d_model: {src.shape[-1]}, {tgt.shape[-1]} and {self.d_model}")
        memory = self.encoder(src, src_mask, src_key_padding_mask)
        return self.decoder(tgt, memory, tgt_mask, memory_mask, tgt_key_padding_mask, memory_key_padding_mask)

    @staticmethod
    def generate_square_subsequent_mask(sz, device=None, dtype=None):
        """(sz, sz): -inf above the diagonal and 0 elsewhere, so that position i sees 0..i."""
        return full((sz, sz), -np.inf, dtype=np.float32 if dtype is None else dtype, device=device).triu(1)
