"""One body, two libraries: each expression of the shared API is evaluated by diffeng and by PyTorch, three times in a row, so that what the tape noted
the first time is compared, compiled and run afterwards. Values, dtypes, shapes, gradients and kinds of errors must be equal."""
import numpy as np
import pytest

import diffeng as de
import diffeng.tensors

torch = pytest.importorskip("torch")

A = np.array([[0.5, -1.25, 2.0], [1.5, 0.75, -0.5]], np.float32)
B = np.array([[1.5, 0.25, -1.0], [-2.0, 1.25, 0.5]], np.float32)
P = np.array([[0.5, 1.25, 2.0], [1.5, 0.75, 0.25]], np.float32)
S = np.array([[2.0, 0.5, 0.1], [0.5, 1.5, 0.3], [0.1, 0.3, 1.0]], np.float32)
V = np.array([1.0, -2.0, 3.0], np.float32)
C = np.arange(24, dtype=np.float32).reshape(2, 3, 4) / 10
I = np.array([[3, -1, 2], [0, 5, 4]])
K = np.array([[True, False, True], [False, False, True]])
J = np.array([2, 0, 1])


class Names:
    """What expressions are written with: the library m, and its tensors."""

    def __init__(self, m, gradients):
        self.m = m
        for name, array in dict(a=A, b=B, p=P, s=S, v=V, c=C, i=I, k=K, j=J).items():
            t = m.tensor(array.tolist()) if array.dtype == np.float32 else m.tensor(array)
            setattr(self, name, t.requires_grad_() if gradients and array.dtype == np.float32 else t)
        self.d = self.a.detach().to(m.float64)
        self.h = self.i.detach().to(m.int32)
        self.z = m.tensor(2.5)


CREATION = {
    "tensor of floats": lambda n: n.m.tensor([1.0, 2.0]), "tensor of ints": lambda n: n.m.tensor([1, 2]),
    "tensor of bools": lambda n: n.m.tensor([True, False]),
    "tensor of both": lambda n: n.m.tensor([1, 2.5]), "tensor of a number": lambda n: n.m.tensor(3),
    "tensor dtype": lambda n: n.m.tensor([1, 2], dtype=n.m.float64),
    "tensor of numpy": lambda n: n.m.tensor(np.ones(2)), "nested": lambda n: n.m.tensor([[[1.0], [2.0]]]), "empty list": lambda n: n.m.tensor([]),
    "zeros": lambda n: n.m.zeros(2, 3), "zeros of a tuple": lambda n: n.m.zeros((2, 3)), "ones int": lambda n: n.m.ones(3, dtype=n.m.int64),
    "full": lambda n: n.m.full((2, 2), 7), "full float": lambda n: n.m.full((2,), 0.5), "arange": lambda n: n.m.arange(5),
    "arange float": lambda n: n.m.arange(0, 1, 0.25),
    "arange step": lambda n: n.m.arange(10, 2, -3), "linspace": lambda n: n.m.linspace(0, 1, 5), "eye": lambda n: n.m.eye(3),
    "eye 2 3": lambda n: n.m.eye(2, 3),
    "zeros_like": lambda n: n.m.zeros_like(n.i), "ones_like": lambda n: n.m.ones_like(n.d), "full_like": lambda n: n.m.full_like(n.a, 3),
    "logspace": lambda n: n.m.logspace(0, 2, 3),
}
DTYPES = {
    "float + int": lambda n: n.a + n.i, "float + double": lambda n: n.a + n.d, "int + python float": lambda n: n.i + 0.5, "int + python int": lambda n: n.i + 1,
    "int32 + int64": lambda n: n.h + n.i, "int32 + python int": lambda n: n.h + 1, "bool + int": lambda n: n.k + 1, "bool * float": lambda n: n.k * 2.0,
    "float + rank 0 double": lambda n: n.a.detach() + n.m.tensor(1.0, dtype=n.m.float64), "int * rank 0 float": lambda n: n.i * n.z,
    "int / int": lambda n: n.i / 2, "int // int": lambda n: n.i // 2, "int % int": lambda n: n.i % 3, "float // 0.4": lambda n: n.a.detach() // 0.4,
    "int ** 2": lambda n: n.i ** 2,
    "float ** 2": lambda n: n.a ** 2, "2 ** int": lambda n: 2 ** n.i.abs(), "exp of int": lambda n: n.h.exp(), "sum of bool": lambda n: n.k.sum(),
    "sum of int32": lambda n: n.h.sum(), "mean double": lambda n: n.d.mean(), "compare": lambda n: n.i > 1.5, "compare ==": lambda n: n.a == n.a,
    "to double": lambda n: n.a.double(),
    "to int": lambda n: (n.a * 2).int(), "to bool": lambda n: n.i.bool(), "long": lambda n: n.a.long(), "to()": lambda n: n.i.to(n.m.float32),
    "half": lambda n: n.a.detach().half(),
    "1 - x": lambda n: 1 - n.a, "1 / x": lambda n: 1 / n.p, "-x": lambda n: -n.i, "abs": lambda n: abs(n.i), "~": lambda n: ~n.k, "and": lambda n: n.k & True,
    "xor of ints": lambda n: n.i ^ 3, "type_as": lambda n: n.i.type_as(n.a), "cumsum of bool": lambda n: n.k.cumsum(0), "prod of ints": lambda n: n.i.prod(),
}
SHAPES = {
    "reshape": lambda n: n.a.reshape(3, 2), "reshape -1": lambda n: n.a.reshape(-1), "view": lambda n: n.a.view(6),
    "view (3, -1)": lambda n: n.a.view(3, -1), "T": lambda n: n.a.T,
    "mT": lambda n: n.c.mT, "t": lambda n: n.a.t(), "transpose": lambda n: n.c.transpose(0, 2), "permute": lambda n: n.c.permute(2, 0, 1),
    "flatten": lambda n: n.c.flatten(1),
    "squeeze": lambda n: n.a.unsqueeze(0).squeeze(), "squeeze(1)": lambda n: n.a.squeeze(1), "unsqueeze": lambda n: n.a.unsqueeze(-1),
    "expand": lambda n: n.v.expand(2, 3),
    "expand -1": lambda n: n.v.unsqueeze(1).expand(-1, 4), "cat": lambda n: n.m.cat([n.a, n.b]), "cat dim 1": lambda n: n.m.cat([n.a, n.b], dim=1),
    "cat dtypes": lambda n: n.m.cat([n.a.detach(), n.d]), "stack": lambda n: n.m.stack([n.a, n.b], dim=1), "chunk": lambda n: n.c.chunk(3, 2),
    "split": lambda n: n.c.split(2, 2),
    "split sizes": lambda n: n.m.split(n.c, [1, 3], dim=2), "unbind": lambda n: n.a.unbind(1), "repeat": lambda n: n.v.repeat(2, 2),
    "flip": lambda n: n.a.flip(0),
    "roll": lambda n: n.v.roll(1), "tril": lambda n: n.s.tril(), "triu 1": lambda n: n.s.triu(1), "diagonal": lambda n: n.s.diagonal(),
    "diag": lambda n: n.m.diag(n.v),
    "trace": lambda n: n.s.trace(), "movedim": lambda n: n.c.movedim(0, 2), "narrow": lambda n: n.c.narrow(2, 1, 2), "reshape of T": lambda n: n.a.T.reshape(6),
    "broadcast_to": lambda n: n.m.broadcast_to(n.v, (2, 3)), "meshgrid": lambda n: n.m.meshgrid(n.v, n.v, indexing="ij"),
    "repeat_interleave": lambda n: n.v.repeat_interleave(2),
    "unflatten": lambda n: n.c.unflatten(2, (2, 2)), "hstack": lambda n: n.m.hstack([n.a, n.b]), "vstack": lambda n: n.m.vstack([n.v, n.v]),
    "contiguous": lambda n: n.a.T.contiguous(),
    "stride": lambda n: n.m.tensor(n.a.T.stride()), "size": lambda n: n.m.tensor(n.c.size()), "numel": lambda n: n.m.tensor(n.c.numel()),
    "dim": lambda n: n.m.tensor([n.c.dim(), n.c.ndim]),
}
INDEXING = {
    "row": lambda n: n.a[0], "entry": lambda n: n.a[1, -1], "column": lambda n: n.a[:, 1], "slice": lambda n: n.c[:, 1:, ::2],
    "None": lambda n: n.a[:, None], "...": lambda n: n.c[..., 0],
    "list": lambda n: n.a[:, [2, 0]], "tensor": lambda n: n.a[:, n.j], "two tensors": lambda n: n.s[n.j, n.j], "mask": lambda n: n.a[n.k],
    "comparison": lambda n: n.a[n.a > 0],
    "mask of rows": lambda n: n.a[n.m.tensor([True, False])], "gather": lambda n: n.a.gather(1, n.i.clamp(0, 2)),
    "index_select": lambda n: n.a.index_select(1, n.j),
    "take": lambda n: n.a.take(n.j), "masked_fill": lambda n: n.a.masked_fill(n.k, 0.0), "where": lambda n: n.m.where(n.k, n.a, n.b),
    "where number": lambda n: n.m.where(n.a > 0, n.a, 0.0),
    "nonzero": lambda n: n.i.nonzero(), "scatter_add": lambda n: n.s.scatter_add(1, n.i.clamp(0, 2), n.a), "masked_select": lambda n: n.a.masked_select(n.k),
    "set row": lambda n: _set(n.a.clone(), 0, 7.0), "set column": lambda n: _set(n.a.clone(), (slice(None), 1), n.b[:, 0]),
    "set mask": lambda n: _set(n.a.clone(), n.k, -1.0),
    "set tensor": lambda n: _set(n.a.clone(), (slice(None), n.j), n.b), "iterate": lambda n: sum(r * k for k, r in enumerate(n.a)),
    "len": lambda n: n.m.tensor(len(n.a)),
    "rank 0 index": lambda n: n.a[n.m.tensor(1)], "one_row": lambda n: n.a[0:1],
}
REDUCTIONS = {
    "sum": lambda n: n.a.sum(), "sum 0": lambda n: n.a.sum(0), "sum keepdim": lambda n: n.a.sum(1, keepdim=True), "sum dims": lambda n: n.c.sum((0, 2)),
    "sum axis": lambda n: n.m.sum(n.a, dim=-1),
    "mean": lambda n: n.a.mean(), "mean 1": lambda n: n.a.mean(dim=1), "var": lambda n: n.a.var(), "var 0": lambda n: n.a.var(1, correction=0),
    "var of all, unbiased": lambda n: n.a.var(True), "std of all, biased": lambda n: n.a.std(False), "std_mean, biased": lambda n: n.m.std_mean(n.a, False)[0] + n.m.var_mean(n.a, True)[1],
    "std": lambda n: n.a.std(1), "prod": lambda n: n.a.prod(),
    "prod 1": lambda n: n.a.prod(1), "max": lambda n: n.a.max(), "max 1": lambda n: n.a.max(1), "min 0": lambda n: n.a.min(dim=0, keepdim=True),
    "max of two": lambda n: n.m.max(n.a, n.b),
    "maximum": lambda n: n.m.maximum(n.a, n.b), "argmax": lambda n: n.a.argmax(), "argmax 1": lambda n: n.a.argmax(1),
    "argmin keepdim": lambda n: n.a.argmin(dim=1, keepdim=True),
    "any": lambda n: n.k.any(), "all 1": lambda n: n.k.all(1), "cumsum": lambda n: n.a.cumsum(1), "cumprod": lambda n: n.a.cumprod(1),
    "logsumexp": lambda n: n.a.logsumexp(1),
    "softmax": lambda n: n.a.softmax(1), "log_softmax": lambda n: n.m.log_softmax(n.a, dim=1), "norm": lambda n: n.a.norm(),
    "norm 1": lambda n: n.a.norm(1, dim=1), "sort": lambda n: n.a.sort(1),
    "sort descending": lambda n: n.m.sort(n.a, dim=1, descending=True), "argsort": lambda n: n.v.argsort(), "topk": lambda n: n.a.topk(2),
    "median": lambda n: n.a.median(1),
    "amax": lambda n: n.a.amax((0, 1)), "count_nonzero": lambda n: n.i.count_nonzero(), "allclose": lambda n: n.m.tensor(n.m.allclose(n.a, n.a + 1e-9)),
    "unique": lambda n: n.m.tensor([2, 1, 2]).unique(),
}
MATHEMATICS = {
    **{name: (lambda name: lambda n: getattr(n.m, name)(n.p * 0.4))(name) for name in
       "exp log sqrt rsqrt sin cos tan asin acos atan sinh cosh tanh asinh atanh erf erfc sigmoid "
       "reciprocal log1p expm1 log2 log10 exp2 floor ceil round trunc sign square relu".split()},
    "gelu": lambda n: _functional(n).gelu(n.a), "gelu tanh": lambda n: _functional(n).gelu(n.a, approximate="tanh"), "silu": lambda n: _functional(n).silu(n.a),
    "leaky_relu": lambda n: _functional(n).leaky_relu(n.a), "softplus": lambda n: _functional(n).softplus(n.a), "clamp": lambda n: n.a.clamp(-1, 1),
    "clamp min": lambda n: n.a.clamp(min=0),
    "atan2": lambda n: n.m.atan2(n.a, n.b), "pow": lambda n: n.p ** n.b, "pow 0.5": lambda n: n.p.pow(0.5), "fmod": lambda n: n.m.fmod(n.a, 0.7),
    "remainder": lambda n: n.m.remainder(n.a, 0.7),
    "matmul": lambda n: n.a @ n.s, "matmul vector": lambda n: n.a @ n.v, "vector matmul": lambda n: n.v @ n.s, "dot": lambda n: n.v @ n.v,
    "mm": lambda n: n.m.mm(n.a, n.s), "bmm": lambda n: n.m.bmm(n.c, n.c.mT),
    "batched matmul": lambda n: n.c.mT @ n.s[:, :2], "einsum": lambda n: n.m.einsum("ij,kj->ik", n.a, n.b), "einsum trace": lambda n: n.m.einsum("ii", n.s),
    "outer": lambda n: n.m.outer(n.v, n.v),
    "addmm": lambda n: n.m.addmm(n.v, n.a, n.s), "add alpha": lambda n: n.m.add(n.a, n.b, alpha=2), "lerp": lambda n: n.m.lerp(n.a, n.b, 0.3),
    "addcmul": lambda n: n.m.addcmul(n.a, n.b, n.b, value=0.5),
    "broadcast": lambda n: n.a * n.v + n.c.sum() / 10, "logaddexp": lambda n: n.m.logaddexp(n.a, n.b),
    "div floor": lambda n: n.m.div(n.a, 0.3, rounding_mode="floor"), "isinf": lambda n: (n.a / 0).isinf(),
    "nan_to_num": lambda n: n.m.nan_to_num(n.a.detach() / 0.0, posinf=1.0), "tensordot": lambda n: n.m.tensordot(n.a, n.s, dims=1),
}
IN_PLACE = {
    "add_": lambda n: n.a.clone().add_(1), "+=": lambda n: _plus(n.a.clone(), n.b), "mul_ then use": lambda n: n.a.clone().mul_(2) * n.b,
    "zero_": lambda n: n.a.clone().zero_(), "fill_": lambda n: n.m.ones(3).fill_(2),
    "copy_": lambda n: n.m.zeros(2, 3).copy_(n.a), "write through a view": lambda n: _through_view(n), "write into the base": lambda n: _into_base(n),
    "clamp_": lambda n: n.a.clone().clamp_(min=0),
    "data": lambda n: _data(n), "no_grad": lambda n: _no_grad_update(n), "sub_ of a row": lambda n: _row(n), "int +=": lambda n: _plus(n.i.clone(), 2),
    "sqrt_": lambda n: n.p.clone().sqrt_(),
}
NAMES = {
    "range": lambda n: n.a[range(2), n.j[:2]], "set range": lambda n: _set(n.a.clone(), (range(2), [0, 2]), n.v[:2]),
    "tril_indices": lambda n: n.s[tuple(n.m.tril_indices(3, 3))], "triu_indices": lambda n: n.m.triu_indices(2, 4, offset=1), "t": lambda n: n.m.t(n.a),
    "ravel": lambda n: n.m.ravel(n.a), "concatenate": lambda n: n.m.concatenate([n.a, n.b], 1),
    "scatter_add": lambda n: n.m.scatter_add(n.s, 1, n.i.clamp(0, 2), n.a), "divide": lambda n: n.m.divide(n.m.multiply(n.a, n.b), n.m.subtract(n.p, 7)),
    "new_zeros": lambda n: n.d.new_zeros(2, 3), "new_ones": lambda n: n.a.new_ones((2,), dtype=n.m.int64), "new_full": lambda n: n.i.new_full((2, 2), 3),
    "new_tensor": lambda n: n.d.new_tensor([1, 2]), "inf": lambda n: n.a.masked_fill(n.k, -n.m.inf).softmax(-1), "pi": lambda n: n.a * n.m.pi,
    "input": lambda n: n.m.softmax(input=n.a, dim=-1), "input of two": lambda n: n.m.add(input=n.a, other=n.b, alpha=2),
    "input of a sum": lambda n: n.m.sum(input=n.a, dim=0), "input of where": lambda n: n.m.where(n.k, input=n.a, other=n.b),
    "addmm by name": lambda n: n.m.addmm(input=n.v, mat1=n.a, mat2=n.s), "size=": lambda n: n.m.zeros(size=(2, 3)), "end=": lambda n: n.m.arange(end=4),
    "softplus beta": lambda n: _functional(n).softplus(n.a, beta=3, threshold=4), "multinomial": lambda n: n.m.multinomial(n.p, 3).sort(1)[0],
    "is_floating_point": lambda n: n.m.tensor([n.m.is_floating_point(n.a), n.m.is_floating_point(input=n.i)]),
}
GRADIENTS = {
    "accumulate": lambda n: _accumulated(n), "cotangent": lambda n: _cotangent(n), "second derivative": lambda n: _second(n),
    "retain_graph": lambda n: _retained(n), "detach": lambda n: (n.a * n.a.detach()),
    "diamond": lambda n: (n.a * 2 + n.a.exp()) * n.a, "unused": lambda n: n.v * 2, "retain_grad": lambda n: _middle(n),
    "autograd.grad": lambda n: n.m.autograd.grad((n.a ** 3).sum(), n.a)[0],
    "long chain": lambda n: _chain(n), "shared row": lambda n: n.a[0] * n.a[1] + n.a[0],
    "requires_grad": lambda n: n.m.tensor([(n.a + 1).requires_grad, n.a.detach().requires_grad, n.a.is_leaf, (n.a + 1).is_leaf]),
    "no_grad result": lambda n: _inside(n), "where nan": lambda n: n.m.where(n.a > 0, n.a, n.a * 0).sum(), "loop": lambda n: _loop(n),
}


def _functional(n):
    return torch.nn.functional if n.m is torch else diffeng.tensors


def _set(t, index, value):
    t[index] = value
    return t


def _plus(t, x):
    t += x
    return t


def _through_view(n):
    t = n.a.clone()
    t.view(6)[2:4] = 9.0
    return t * n.b


def _into_base(n):
    t = n.a.clone()
    row = t[1]
    t.mul_(3)
    return row * n.v


def _data(n):
    t = n.m.ones(3)
    t.data[1] = 5
    return t


def _no_grad_update(n):
    w = n.m.ones(3, requires_grad=True)
    for _ in range(3):
        (w * n.v.detach()).sum().backward()
        with n.m.no_grad():
            w -= 0.1 * w.grad
        w.grad = None
    return w


def _row(n):
    t = n.a.clone() * 1
    t[0].sub_(n.v)
    return t


def _accumulated(n):
    w = n.m.ones(3, requires_grad=True)
    (w * w).sum().backward()
    (w * 3).sum().backward()
    return w.grad


def _cotangent(n):
    w = n.m.ones(3, requires_grad=True)
    (w * w).backward(n.m.tensor([1.0, 2.0, 3.0]))
    return w.grad


def _second(n):
    w = n.m.tensor([1.0, 2.0], requires_grad=True)
    (w ** 3).sum().backward(create_graph=True)
    g = w.grad
    w.grad = None
    g.sum().backward()
    return w.grad


def _retained(n):
    w = n.m.tensor([1.0, 2.0], requires_grad=True)
    y = (w ** 3).sum()
    y.backward(retain_graph=True)
    y.backward()
    return w.grad


def _middle(n):
    w = n.m.tensor([1.0, 2.0], requires_grad=True)
    y = w * w
    y.retain_grad()
    (y * y).sum().backward()
    return y.grad


def _chain(n):
    x = n.a
    for _ in range(50):
        x = x * 1.01 + 0.01
    return x


def _inside(n):
    with n.m.no_grad():
        y = n.a * 2
    return y + n.b


def _loop(n):
    w = n.m.tensor([1.0, 2.0], requires_grad=True)
    for k in range(6):
        loss = (w * w * (1.0 if k < 4 else 2.0)).sum()
        loss.backward()
        if k % 2:
            loss.item()
        with n.m.no_grad():
            w.sub_(w.grad, alpha=0.1)
            w.grad.zero_()
    return w


GROUPS = dict(creation=CREATION, dtypes=DTYPES, shapes=SHAPES, indexing=INDEXING, reductions=REDUCTIONS, mathematics=MATHEMATICS, in_place=IN_PLACE,
              names=NAMES, gradients=GRADIENTS)
ALL = {f"{group}: {name}": f for group, table in GROUPS.items() for name, f in table.items()}


def outcome(m, f, gradients=True):
    """[(array, requires_grad)] of what an expression returns, and the gradients of the tensors it was written with."""
    n = Names(m, gradients)
    found = f(n)
    parts = list(found) if isinstance(found, (tuple, list)) else [found]
    values = [(p.detach().numpy().copy(), bool(p.requires_grad)) for p in parts]
    grads = []
    chosen = [p for p in parts if p.requires_grad and not p.is_leaf]
    if chosen:
        total = sum((p * p).sum() for p in chosen)
        total.backward()
        grads = [None if t.grad is None else t.grad.numpy().copy() for t in (n.a, n.b, n.p, n.s, n.v, n.c)]
    return values, grads


@pytest.mark.filterwarnings("ignore:Using backward.. with create_graph")
@pytest.mark.parametrize("name", ALL)
def test_the_same_as_pytorch(name):
    f = ALL[name]
    with np.errstate(all="ignore"):
        values, grads = outcome(torch, f)
        for turn in range(3):
            ours, our_grads = outcome(de, f)
            assert len(ours) == len(values) and len(our_grads) == len(grads)
            for (a, r), (b, q) in zip(ours, values):
                assert a.dtype == b.dtype and a.shape == b.shape and r == q, (turn, a, b, r, q)
                np.testing.assert_allclose(a, b, rtol=1e-3 if a.dtype == np.float16 else 2e-6, atol=2e-6, err_msg=f"turn {turn}")
            for k, (a, b) in enumerate(zip(our_grads, grads)):
                assert (a is None) == (b is None), (turn, k, a, b)
                if a is not None:
                    np.testing.assert_allclose(a, b, rtol=2e-5, atol=2e-5, err_msg=f"turn {turn}, gradient {k}")


def test_there_are_enough_expressions():
    assert len(ALL) >= 150


ERRORS = {
    "backward twice": lambda n: [y := (n.a * n.a).sum(), y.backward(), y.backward()], "non-scalar": lambda n: (n.a * 2).backward(),
    "no graph": lambda n: n.m.ones(3).sum().backward(),
    "view of T": lambda n: n.a.T.view(6), "dtypes of matmul": lambda n: n.a @ n.d.T, "integers require": lambda n: n.m.tensor([1, 2], requires_grad=True),
    "leaf in place": lambda n: n.a.add_(1),
    "leaf set": lambda n: n.a.__setitem__(0, 1.0), "view of a leaf": lambda n: n.a[0].add_(1), "shapes": lambda n: n.a + n.m.ones(4),
    "shapes of matmul": lambda n: n.a @ n.a,
    "overwritten": lambda n: [y := n.a.exp(), y.add_(1), y.sum().backward()],
    "overwritten constant": lambda n: [c := n.m.ones(3), y := n.a * c, c.add_(1), y.sum().backward()],
    "overwritten through a view": lambda n: [t := n.a.clone(), y := t * t, t[0].zero_(), y.sum().backward()], "item of many": lambda n: n.a.item(),
    "numpy of a variable": lambda n: n.a.numpy(),
    "bool of many": lambda n: bool(n.a > 0), "reshape": lambda n: n.a.reshape(4, 2), "two -1": lambda n: n.a.reshape(-1, -1), "dim": lambda n: n.a.sum(2),
    "index": lambda n: n.a[5], "too many indices": lambda n: n.a[0, 0, 0],
    "stack": lambda n: n.m.stack([n.a, n.v]), "cat": lambda n: n.m.cat([n.a, n.s], dim=1), "int += float": lambda n: n.i.__iadd__(0.5),
    "grow in place": lambda n: n.v.detach().add_(n.a), "minus of bools": lambda n: n.k - n.k,
    "negative of bools": lambda n: -n.k, "mean of ints": lambda n: n.i.mean(), "expand": lambda n: n.v.expand(2, 4),
    "write into expand": lambda n: n.v.detach().expand(2, 3).add_(1), "cotangent's shape": lambda n: (n.a * 2).backward(n.v),
    "negative power": lambda n: n.i ** -1, "len of rank 0": lambda n: len(n.z), "iterate rank 0": lambda n: list(n.z), "float index": lambda n: n.a[n.z],
    "freeze a result": lambda n: (n.a * 2).requires_grad_(False),
    "negative step": lambda n: n.a[::-1], "unused": lambda n: n.m.autograd.grad(n.a.sum(), n.b), "topk": lambda n: n.v.topk(9),
    "float of many": lambda n: float(n.a), "permute": lambda n: n.a.permute(0, 0),
    "empty max": lambda n: n.m.zeros(0).max(), "mask's shape": lambda n: n.a[n.m.tensor([True, False, True])], "int of two": lambda n: int(n.v),
    "split": lambda n: n.v.split([1, 1]), "dot": lambda n: n.m.dot(n.v, n.a),
}


@pytest.mark.parametrize("name", ERRORS)
def test_the_same_errors_as_pytorch(name):
    kinds = []
    for m in (torch, de, de, de):
        with pytest.raises(Exception) as caught:
            ERRORS[name](Names(m, True))
        kinds.append(caught.type)
    assert kinds[1] is kinds[2] is kinds[3]
    assert issubclass(kinds[1], kinds[0]) or issubclass(kinds[0], kinds[1]), (kinds[:2], str(caught.value))


MIXED = [(0, slice(None), [1, 2]), (1, ..., [0, 3, 1]), (None, 0, slice(None), [1, 2]), ([0, 1], slice(None), 2), (0, [[0], [2]]), (-1, None, [1], slice(1, None)),
         (slice(None), 1, [0, 3]), (0, [True, False, True], 1), ([1], 0, ..., None)]


@pytest.mark.parametrize("index", MIXED, ids=str)
def test_integers_beside_lists_select_first(index):
    def outcome(m):
        x = m.arange(24.0).view(2, 3, 4).requires_grad_()
        y = x * 1
        y[index] = y[index] * 2 + 1
        (y * y).sum().backward()
        return x[index].detach().numpy(), y.detach().numpy(), x.grad.numpy()
    for ours, theirs in zip(outcome(de), outcome(torch)):
        np.testing.assert_array_equal(ours, theirs)


@pytest.mark.parametrize("offset,dim1,dim2", [(0, 0, 1), (1, 2, 0), (-1, 1, 2), (-2, -1, 0)])
def test_a_diagonal_is_a_view(offset, dim1, dim2):
    def outcome(m):
        x = m.arange(60.0).view(3, 4, 5).requires_grad_()
        y = x * 1
        d = y.diagonal(offset, dim1, dim2)
        d.mul_(m.arange(float(d.shape[-1])))
        y[0] += 1
        ((y * y).sum() + d.sum()).backward()
        return y.detach().numpy(), d.detach().numpy(), x.grad.numpy()
    for ours, theirs in zip(outcome(de), outcome(torch)):
        np.testing.assert_array_equal(ours, theirs)


@pytest.mark.parametrize("value", [1.0, [1.0, 2.5], [1, 2], [[1e-5, 1.0], [2.0, 3.0]], [1e6, 1.0], [True], [], [float("nan"), float("inf"), 1.5],
                                   [[1.0] * 40] * 2, [-1.0, 1000.5], [[[1.0, 2.0]], [[3.0, -4.5]]], [1e10, 1.0], [123456.0, 2.0], 1e-7, [0.0, 0.0]])
def test_prints_as_pytorch(value):
    assert repr(de.tensor(value)) == repr(torch.tensor(value))


def test_prints_long_tensors_as_pytorch():
    for make in (lambda m: m.arange(2000), lambda m: m.arange(3000).reshape(50, 60) / 7, lambda m: m.zeros(20, 3, 30), lambda m: m.zeros(0, 3),
                 lambda m: m.ones(3, requires_grad=True)):
        assert repr(make(de)) == repr(make(torch))
    assert repr(de.ones(2, dtype=de.float64)) == "tensor([1., 1.], dtype=de.float64)"
