"""Tensor: PyTorch's tensor over diffeng's graph.

What it is: the methods and operators that a user types, each a line that names an operation; the rules behind them stand in tensor_engine/: core.py (state,
recording), aliases.py (shared memory, writing in place), operations.py (meanings and dtypes), shapes.py and indexing.py (views), backward.py, making.py, printing.py.

What it is not: a second engine. Operations are NumPy code recorded as Nodes, derivatives are reverse_mode's.
"""
import math

import numpy as np

from .errors import absent, refuse
from .lines import user_line
from .tensor_engine import aliases, ancestry, arithmetic, assembling, core, hooks, in_place, indexing, making, older, orders, printing, reductions, rules, shapes, special
from .tensor_engine.core import Operation, TensorBase, operation     # noqa: F401
from .tensor_engine.grad_mode import enable_grad, is_grad_enabled, no_grad, set_grad_enabled     # noqa: F401
from .tensor_engine.making import (arange, as_tensor, bernoulli, device, dtype_of, empty, empty_like, eye, finfo, from_numpy, full, full_like,     # noqa: F401
                                   Generator, iinfo, linspace, logspace, manual_seed, normal, ones, ones_like, rand, rand_like, randint, randn, randn_like,
                                   multinomial, randperm, tensor, tril_indices, FloatTensor, DoubleTensor, HalfTensor, LongTensor, IntTensor, ShortTensor,     # noqa: F401
                                   CharTensor, ByteTensor, BoolTensor, get_rng_state, initial_seed, set_rng_state, triu_indices, zeros, zeros_like)
from .tensor_engine.backward import retain
from .tensor_engine.functions import FUNCTIONS, METHODS, extreme, named, operand
from .tensor_engine.keywords import answering, layout, memory_format     # noqa: F401
from .tensor_engine.matrices import IN_TORCH
from .tensor_engine.operations import OPS
from .tensor_engine.printing import set_printoptions     # noqa: F401
from .tensor_engine.rearranging import Rearranged
from .tensor_engine.writes import assign, backward, rebind, update     # noqa: F401
from .tensor_engine.rules import axis, name_of, promote_types     # noqa: F401
from .tensor_engine.shapes import Size


class Tensor(Rearranged):
    """An array with PyTorch's face: made by diffeng.tensor, diffeng.zeros, ..., and by operations on tensors.

    shape, dtype (NumPy's), device ("cpu" or "cuda"), requires_grad, grad. Operations follow PyTorch's rules: float32 by default, Python numbers are weak,
    `dim` and `keepdim`.

    >>> import diffeng as de
    >>> x = de.tensor([1.0, 2.0, 3.0], requires_grad=True)
    >>> loss = (x * x).sum()
    >>> loss.backward()
    >>> loss.item(), x.grad
    (14.0, tensor([2., 4., 6.]))
    """

    __array_priority__ = 2000.0
    __hash__ = object.__hash__

    def __new__(cls, data=(), *args, **kwargs):
        t = object.__new__(cls)
        if type(data) is int:                                     # sizes
            made = zeros(data, *args)
        else:
            made = tensor(data, dtype=None if isinstance(data, TensorBase) else rules.default)
        t._array, t._where = made.held(), user_line()
        return t

    # ---- what it is ---------------------------------------------------------------------------------------------------------------------

    shape = property(lambda self: Size(self._array.shape if self._array is not None else self._spec.shape))
    dtype = property(lambda self: self._array.dtype if self._array is not None else self._spec.dtype)
    ndim = property(lambda self: len(self.shape))
    itemsize = property(lambda self: self.dtype.itemsize)
    nbytes = property(lambda self: self.numel() * self.itemsize)
    is_leaf = property(lambda self: self.leaf or not self.requires)
    device = property(lambda self: making.device.of[self._array.device if self._array is not None else self._spec.device], doc="Where it lies: see device.")
    is_cuda = property(lambda self: self.device == "cuda")
    grad_fn = property(lambda self: None if self.leaf or not self.requires else ancestry.GradFn(printing.grad_name(self), self), doc="What made it: see ancestry.GradFn.")
    T = property(lambda self: self.permute(*range(self.ndim)[::-1]))
    mT = property(lambda self: self.transpose(-2, -1))
    data = property(lambda self: aliases.detached(self), lambda self, other: self._set_data(other))

    def _set_data(self, other):
        with no_grad():
            rebind(self, core.constant(as_tensor(other).held().astype(self.dtype)))

    @property
    def requires_grad(self):
        return self.requires

    @requires_grad.setter
    def requires_grad(self, flag):
        self.requires_grad_(flag)

    def requires_grad_(self, requires_grad=True):
        """Ask for the gradient of this tensor (or not), in place. Only floating-point leaves can."""
        if not requires_grad and not self.leaf:
            raise refuse(RuntimeError, "requires_grad{here}: you can only change requires_grad flags of leaf variables. If you want to use a computed "
                                       "variable in a subgraph that doesn't require differentiation use var_no_grad = var.detach().")
        if requires_grad and self.dtype.kind != "f":
            raise refuse(RuntimeError, f"requires_grad{{here}}: only Tensors of floating point dtype can require gradients, and this one is "
                                       f"{self.dtype.name}: make it with dtype=de.float32, or convert it with .float()")
        if self.leaf and self.requires is not bool(requires_grad):
            self._apart(bool(requires_grad))
        return self

    def _apart(self, requires):
        """From now on a leaf that requires a gradient, or not: for the tape it is a tensor from outside, as calls with what it was are no calls with what it is."""
        self.held()
        self.requires, self.leaf, self._node, self._like, self._past, self._run, self._key, self._last_key = requires, True, None, None, None, None, 0, 0

    @property
    def grad(self):
        """What backward passes have added up, a tensor of the same shape, dtype and device, or None; to be set, too."""
        return self._grad

    @grad.setter
    def grad(self, g):
        if g is not None:
            if not isinstance(g, TensorBase):
                raise refuse(TypeError, f"grad{{here}}: assigned grad expected to be a Tensor or None but got grad of type {type(g).__name__}: use tensor(g)")
            for name, mine, other, cure in (("of a different size", list(self.shape), list(g.shape), "reshape it, or sum over the axes that are too many"),
                                            ("of a different type", self.dtype.name, g.dtype.name, "g.to(w.dtype)"),
                                            ("located on a different device", self.device, g.device, "g.to(w.device)")):
                if mine != other:
                    raise refuse(RuntimeError, f"grad{{here}}: assigned grad has data {name}: it has {other}, the tensor {mine}: {cure}")
        self._grad = g

    def retain_grad(self):
        """Keep the gradient of this intermediate tensor in .grad when backward passes it."""
        if not self.requires:
            raise refuse(RuntimeError, "retain_grad{here}: can't retain_grad on Tensor that has requires_grad=False")
        retain(self)

    def register_hook(self, hook):
        """hook(g) is called with the gradient of this tensor, a tensor, whenever a backward pass has it complete; what it returns, unless None, takes its place, here
        and in all that this tensor was computed from. Returns a handle, whose remove() takes the hook away.

        >>> import diffeng as de
        >>> x = de.tensor(3.0, requires_grad=True)
        >>> y = x * x
        >>> handle = y.register_hook(lambda g: g * 10)
        >>> y.backward()
        >>> x.grad
        tensor(60.)
        """
        return hooks.register(self, hook)

    def register_post_accumulate_grad_hook(self, hook):
        """hook(x) is called with this leaf when a backward pass has added to its .grad: an optimiser's step, say. Returns a handle."""
        return hooks.register_after(self, hook)

    def size(self, dim=None):
        return self.shape if dim is None else self.shape[axis(dim, self.ndim)]

    def dim(self):
        return self.ndim

    def numel(self):
        return math.prod(self.shape)

    def element_size(self):
        return self.dtype.itemsize

    nelement = numel

    def stride(self, dim=None):
        strides = tuple(s // self.dtype.itemsize for s in self.strides())
        return strides if dim is None else strides[dim]

    def is_contiguous(self, memory_format=None):
        return shapes.contiguous(self)

    def contiguous(self, memory_format=None):
        """The tensor itself, or a copy with its entries in order; memory_format has no effect."""
        return self if self.is_contiguous() else self.clone()

    def is_floating_point(self):
        return self.dtype.kind == "f"

    def __getattr__(self, name):
        raise absent(f"{type(self).__name__!r} object", name, _INSTEAD)

    # ---- values, for Python and NumPy ---------------------------------------------------------------------------------------------------------

    def item(self):
        """The value of a tensor with one entry, as a Python number."""
        value = self.value
        if value.size != 1:
            raise refuse(RuntimeError, f"item{{here}}: a Tensor with {value.size} elements cannot be converted to Scalar")
        return value.item()

    def tolist(self):
        return self.value.tolist()

    def numpy(self, force=False):
        """The array itself, without copying: tensor and array share memory from now on."""
        if force:
            return np.array(self.value)
        if self.requires:
            raise refuse(RuntimeError, "numpy{here}: Can't call numpy() on Tensor that requires grad. Use tensor.detach().numpy() instead.")
        if self.device != "cpu":
            raise refuse(TypeError, f"numpy{{here}}: can't convert {self.device} device type tensor to numpy. Use Tensor.cpu() to copy the tensor to host "
                                    "memory first.")
        return aliases.expose(self)

    def __dlpack__(self, **options):
        return self._for_others().__dlpack__(**options)

    def __dlpack_device__(self):
        return self._for_others().__dlpack_device__()

    def _for_others(self):
        """The array that other libraries see: a copy where it lies on a GPU, as what steps compute there is never written over."""
        return self.numpy() if self.device == "cpu" else core.own(self.held()).data

    def __array__(self, dtype=None, copy=None):
        array = self.numpy()
        return array if dtype is None and not copy else np.array(array, dtype)

    def __array_ufunc__(self, ufunc, method, *inputs, **kwargs):
        name = _UFUNCS.get(ufunc) or _SPECIAL.get(ufunc.__name__)
        if name is None or method != "__call__" or kwargs:
            return special.call_ufunc(ufunc, method, inputs, kwargs)
        return OPS[name](*[operand(x) for x in inputs])

    def __len__(self):
        if not self.ndim:
            raise TypeError("len() of a 0-d tensor")
        return self.shape[0]

    def __iter__(self):
        if not self.ndim:
            raise TypeError("iteration over a 0-d tensor")
        return iter([self[k] for k in range(self.shape[0])])

    def __bool__(self):
        if self.numel() != 1:
            raise refuse(RuntimeError, "Boolean value of Tensor with " + ("no values" if not self.numel() else "more than one value")
                         + " is ambiguous{here}: use .any() or .all()")
        return bool(self.item())

    def __float__(self):
        return float(self._number())

    def __int__(self):
        return int(self._number())

    def _number(self):
        if self.numel() != 1:
            raise refuse(ValueError, f"only one element tensors can be converted to Python scalars{{here}}: this one has {self.numel()}")
        return self.item()

    def __index__(self):
        if self.dtype.kind == "f" or self.numel() != 1:
            raise TypeError("only integer tensors of a single element can be converted to an index")
        return int(self.item())

    def __contains__(self, x):
        return bool((self == x).any())

    def __format__(self, how):
        return format(self.item(), how) if how and not self.ndim else repr(self) if self.ndim else format(self.item(), how)

    def __repr__(self):
        return printing.text(self, self.value)

    def __deepcopy__(self, memo):
        if not self.leaf:
            raise refuse(RuntimeError, "deepcopy{here}: Only Tensors created explicitly by the user (graph leaves) support the deepcopy protocol at the moment")
        t = object.__new__(type(self))
        t._array, t.requires, t._where = core.own(self.held()), self.requires, self._frames
        t._grad = None if self._grad is None else self._grad.clone()
        memo[id(self)] = t
        return t

    # ---- derivatives ----------------------------------------------------------------------------------------------------------------------

    def backward(self, gradient=None, retain_graph=None, create_graph=False, inputs=None):
        """Add the gradient of this tensor with respect to each leaf that requires one to the leaf's .grad.

        gradient: the cotangent, of the tensor's own shape; not needed for a scalar. retain_graph: keep what another backward pass needs.
        create_graph: the gradients have a graph themselves, so that they can be differentiated again. inputs: only these leaves.

        Raises RuntimeError for a tensor without a graph, a non-scalar without cotangent, a second pass through a graph that was not retained, and where a
        value that the pass needs was overwritten in place.
        """
        backward(self, gradient, retain_graph, create_graph, inputs)

    def picture(self, path=None, names=None):
        """The forward and the backward pass of a scalar tensor, step by step: values, then adjoints in the order in which they arrive.

        path: a file to draw into (.svg, .png, .pdf, .html, .dot), which is returned; else a graphviz.Digraph. names: {name: tensor or module} for the leaves; by default
        the names of the caller's variables. To be drawn before backward(), or after backward(retain_graph=True).
        """
        from .passes import picture
        return picture(self, path, names)

    def detach(self):
        """The same memory, without the graph."""
        return aliases.detached(self)

    def detach_(self):
        self._apart(False)
        return self

    def clone(self, *, memory_format=None):
        """A copy, through which gradients pass; memory_format has no effect."""
        return OPS["clone"](self)

    # ---- dtypes and devices --------------------------------------------------------------------------------------------------------------------

    def to(self, *args, dtype=None, device=None, non_blocking=False, copy=False, memory_format=None):
        """This tensor in another dtype, on another device ("cpu" or "cuda"), or as another tensor is: to(de.float64), to("cuda"), to(other).

        Between devices it is a copy, through which gradients pass; non_blocking and memory_format have no effect. Raises RuntimeError, with the cure, where there is
        no such device.
        """
        dtype, device = making.wanted(args, dtype, device)
        device = self.device if device is None else making.on(device)
        dtype = self.dtype if dtype is None else dtype
        if device == self.device and dtype == self.dtype:
            return self.clone() if copy else self
        moved = core.moved(self, device) if device != self.device else self
        return OPS["to"](moved, dtype=dtype) if dtype != self.dtype else moved

    def type(self, dtype=None, non_blocking=False):
        return self.dtype if dtype is None else self.to(dtype)

    def type_as(self, other):
        return self.to(other.dtype)

    def cpu(self):
        return self.to("cpu")

    def cuda(self, device=None, non_blocking=False):
        return self.to("cuda" if device in (None, 0) else device)

    def pin_memory(self, device=None):
        """The tensor itself: copies to a GPU need no memory of another kind here."""
        return self

    # ---- indexing ---------------------------------------------------------------------------------------------------------------------------------

    def __getitem__(self, index):
        return indexing.get(self, index)

    def __setitem__(self, index, value):
        aliases.writable(self, "setitem")
        assign(self, indexing.set(self, index, value), "setitem")

    def nonzero(self, as_tuple=False):
        """The indices of entries other than 0, one row each."""
        found = np.nonzero(self.value) if self.ndim else (np.zeros(int(bool(self.value)), np.int64),)
        if as_tuple:
            return tuple([core.beside(self, x) for x in found])
        return core.beside(self, np.stack(found, -1) if self.ndim else np.zeros((len(found[0]), 0), np.int64))

    # ---- in place -------------------------------------------------------------------------------------------------------------------------------------

    def copy_(self, other, non_blocking=False):
        other = operand(other)
        return self._write("copy_", OPS["copy"](self, other.to(self.device) if isinstance(other, TensorBase) else other))

    def fill_(self, value):
        return self._write("fill_", OPS["copy"](self, operand(value)))

    def zero_(self):
        return self.fill_(0)

    multinomial = multinomial

    def _write(self, name, new):
        aliases.writable(self, name)
        if new.shape != self.shape:
            raise refuse(RuntimeError, f"{name}{{here}}: output with shape {list(self.shape)} doesn't match the broadcast shape {list(new.shape)}: in place, "
                                       "a tensor keeps its shape; write x = x + y")
        if new.dtype != self.dtype:
            if rules.KINDS[new.dtype.kind] > rules.KINDS[self.dtype.kind]:
                raise refuse(RuntimeError, f"{name}{{here}}: result type {name_of(new.dtype)} can't be cast to the desired output type "
                                           f"{name_of(self.dtype)}: in place, a tensor keeps its dtype; write x = x + y")
            new = OPS["to"](new, dtype=self.dtype)
        assign(self, new, name)
        return self

    # ---- reductions with two results, looks -----------------------------------------------------------------------------------------

    def max(self, dim=None, keepdim=False):
        """The largest entry; along an axis (values, indices), or elementwise with another tensor."""
        return extreme(self, dim, keepdim, "max", "maximum", "amax")

    def min(self, dim=None, keepdim=False):
        return extreme(self, dim, keepdim, "min", "minimum", "amin")

    def sort(self, dim=-1, descending=False, stable=True):
        return named("sort", OPS["sort"](self, dim=dim, descending=descending))

    def topk(self, k, dim=-1, largest=True, sorted=True):
        return named("topk", OPS["topk"](self, k=k, dim=dim, largest=largest))

    def median(self, dim=None, keepdim=False):
        return OPS["median"](self) if dim is None else named("median", OPS["median"](self, dim=dim, keepdim=keepdim))

    def norm(self, p=2, dim=None, keepdim=False, dtype=None):
        return OPS["norm"](self if dtype is None else self.to(dtype), p=p, dim=dim, keepdim=keepdim)

    def var(self, dim=None, unbiased=None, keepdim=False, *, correction=1):
        dim, correction = reductions.spread_over(dim, unbiased, correction)
        return OPS["var"](self, dim=dim, correction=correction, keepdim=keepdim)

    def std(self, dim=None, unbiased=None, keepdim=False, *, correction=1):
        dim, correction = reductions.spread_over(dim, unbiased, correction)
        return OPS["std"](self, dim=dim, correction=correction, keepdim=keepdim)

    def allclose(self, other, rtol=1e-5, atol=1e-8, equal_nan=False):
        return bool(np.allclose(self.value, other.value, rtol, atol, equal_nan))

    def equal(self, other):
        return self.shape == other.shape and bool(np.array_equal(self.value, other.value))


# ---- methods and operators from the tables --------------------------------------------------------------------------------------------------------

_UFUNCS = {np.add: "add", np.subtract: "sub", np.multiply: "mul", np.true_divide: "div", np.floor_divide: "floor_divide", np.remainder: "remainder",
           np.power: "pow",
           np.matmul: "matmul", np.maximum: "maximum", np.minimum: "minimum", np.less: "lt", np.less_equal: "le", np.greater: "gt", np.greater_equal: "ge",
           np.equal: "eq", np.not_equal: "ne", np.negative: "neg", np.absolute: "abs", np.arctan2: "atan2", np.hypot: "hypot", np.logaddexp: "logaddexp",
           np.arcsin: "asin", np.arccos: "acos", np.arctan: "atan", np.arcsinh: "asinh", np.arccosh: "acosh", np.arctanh: "atanh", np.rint: "round",
           **{getattr(np, n): n for n in "exp exp2 expm1 log log2 log10 log1p sqrt square sin cos tan sinh cosh tanh floor ceil trunc sign isnan isinf "
                                         "isfinite logical_and logical_or logical_xor logical_not reciprocal".split()}}

_INSTEAD = {"bfloat16": "NumPy has no such dtype: use .half() or .float()"}

_SPECIAL = {"erf": "erf", "erfc": "erfc", "expit": "sigmoid", "log_expit": "logsigmoid", "logit": "logit"}          # scipy's: not imported for their names


def _binary(op):
    def forward(self, other):
        kind = type(other)
        if kind is Tensor or kind is float or kind is int:
            return op(self, other)
        other = operand(other, None)
        return NotImplemented if other is None else op(self, other)

    def reflected(self, other):
        other = operand(other, None)
        return NotImplemented if other is None else op(other, self)

    def in_place(self, other):
        other = operand(other, None)
        return NotImplemented if other is None else self._write(op.name + "_", op(self, other))
    return forward, reflected, in_place


def _install():
    for dunder, name in dict(add="add", sub="sub", mul="mul", truediv="div", floordiv="floor_divide", mod="remainder", pow="pow", matmul="matmul",
                             **{"and": "bitwise_and", "or": "bitwise_or", "xor": "bitwise_xor"}).items():
        for prefix, method in zip(("", "r", "i"), _binary(OPS[name])):
            setattr(Tensor, f"__{prefix}{dunder}__", method)
    for name in "eq ne lt le gt ge".split():
        setattr(Tensor, f"__{name}__", _binary(OPS[name])[0])
    for dunder, name in dict(neg="neg", abs="abs", invert="bitwise_not").items():
        setattr(Tensor, f"__{dunder}__", lambda self, op=OPS[name]: op(self))
    Tensor.__pos__ = lambda self: self
    FUNCTIONS.update(IN_TORCH)
    methods = {**METHODS, **IN_TORCH, **making.NEW, **assembling.METHODS, **special.METHODS, **older.METHODS}
    for room in (arithmetic, assembling, older, orders, special):
        of_room = {name: answering(f) for name, f in room.FUNCTIONS.items()}
        FUNCTIONS.update(of_room | {name: answering(f) for name, f in room.FUNCTIONS_ONLY.items()})
        methods.update(of_room)
    for name, method in methods.items():
        if name not in vars(Tensor):
            setattr(Tensor, name, method)
    for room in (Rearranged, Tensor):
        for name in [n for n, f in vars(room).items() if callable(f) and n[0] != "_"]:
            setattr(room, name, answering(getattr(room, name), method=True))
    FUNCTIONS.update(in_place.install(Tensor))
    for dtype, names in (("float32", "float"), ("float64", "double"), ("float16", "half"), ("int64", "long"), ("int32", "int"), ("int16", "short"),
                         ("int8", "char"), ("uint8", "byte"), ("bool", "bool")):
        setattr(Tensor, names, lambda self, dtype=np.dtype(dtype): self.to(dtype))
    core.become_the_class_of_results(Tensor)


_install()


def __getattr__(name):
    """The functions of the same names, matmul(a, b), cat([a, b]), ...: max and sum among them must not hide Python's here."""
    try:
        return FUNCTIONS[name]
    except KeyError:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}") from None
