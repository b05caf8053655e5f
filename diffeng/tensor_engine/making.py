"""New tensors: from Python's values, from NumPy's arrays, full of one number, evenly spaced, random."""
import types

import numpy as np

from ..errors import refuse
from ..recording import on_gpu
from . import rules
from .aliases import sharing
from .core import TensorBase, constant
from .keywords import with_common
from .resident import at, residence
from .rules import INT64, torch_error


def dtype_of(dtype):
    """A NumPy dtype of what a user calls one."""
    if dtype is None or isinstance(dtype, np.dtype):
        return dtype
    if type(dtype) is _OfDtype:
        return dtype.dtype
    return np.dtype({float: rules.default, int: INT64, bool: rules.BOOL}.get(dtype, dtype))


def on(device):
    """The name of a device that a user asks for: "cpu" or "cuda", also with a number behind it, as PyTorch has it. Raises RuntimeError where there is none."""
    name, _, number = ("cpu" if device is None else str(device)).partition(":")
    if name not in ("cpu", "cuda") or number not in ("", "0"):
        raise refuse(RuntimeError, f"device {str(device)!r}{{here}}: there are 'cpu' and 'cuda', the GPU that is current in this process")
    if name != "cpu":
        try:
            residence(name)
        except RuntimeError as error:
            raise refuse(RuntimeError, f"device {name!r}{{here}}: {error}") from error
    return name


class device(str):
    """The name of a device, checked: device("cuda") where there is one. PyTorch's word; a name by itself will do everywhere. type: the name, too.

    >>> import diffeng as de
    >>> de.device("cpu"), de.zeros(2).device.type
    ('cpu', 'cpu')
    """

    index = None                                    # the GPU that is current in this process
    type = property(str)

    def __new__(cls, type, index=None):
        return cls.of[on(type if index is None else f"{type}:{index}")]


device.of = {name: str.__new__(device, name) for name in ("cpu", "cuda")}


def wanted(args, dtype, device):
    """(dtype, device) of what `to` is given: a dtype, the name of a device, a tensor that has both; None for what is not said."""
    for a in args:
        if isinstance(a, TensorBase):
            dtype, device = a.dtype, a.device
        elif isinstance(a, str) and a.split(":")[0] in ("cpu", "cuda", "mps", "meta"):
            device = a
        elif a is not None and not isinstance(a, bool):
            dtype = a
    return dtype_of(dtype), device


def _with(array, requires_grad, device=None):
    t = constant(at(array, on(device)))
    return t.requires_grad_() if requires_grad else t


@with_common
def tensor(data, *, dtype=None, device=None, requires_grad=False):
    """A tensor of a number, nested lists, an array (NumPy's, or one on a GPU) or a tensor: always a copy.

    dtype: by default that of the data: Python floats become float32, ints int64, truth values bool; NumPy arrays keep theirs. device: "cpu" or "cuda"; by
    default the CPU, or where the data are.

    >>> import diffeng as de
    >>> de.tensor([[1, 2], [3, 4]])
    tensor([[1, 2],
            [3, 4]])
    >>> de.tensor([1, 2.5]).dtype
    dtype('float32')
    """
    dtype = dtype_of(dtype)
    if isinstance(data, TensorBase):
        array, device = np.array(data.value, dtype), data.device if device is None else device
    elif isinstance(data, (np.ndarray, np.generic)):
        array = np.array(data, dtype, order="C")
    elif on_gpu(data):
        there, device = residence("cuda"), device or "cuda"
        array = there.put(there.memory.copy(there.memory.array(data)))
        array = array if dtype is None else array.astype(dtype)
    else:
        array = _of_values(data, dtype)
    if array.dtype.kind not in "fiub":
        raise refuse(TypeError, f"tensor{{here}}: values of type {array.dtype} are no numbers of a tensor: use floats, integers or truth values")
    return _with(array, requires_grad, device)


class _OfDtype(type):
    """The classes that PyTorch's older code names dtypes by: they make tensors, are what `isinstance` asks for, and stand for their dtype in x.type(FloatTensor)."""

    def __call__(cls, *data, device=None):
        sized = bool(data) and all([type(n) is int for n in data])
        return zeros(*data, dtype=cls.dtype, device=device) if sized else tensor(data[0] if data else [], dtype=cls.dtype, device=device)

    def __instancecheck__(cls, x):
        return isinstance(x, TensorBase) and x.dtype == cls.dtype


def _of_dtype(name, dtype):
    text = f"A tensor of {dtype} values, or, of integers, of these sizes: {name}([1, 2]), {name}(2, 3). tensor(..., dtype=...) says the same."
    return _OfDtype(name, (), {"dtype": np.dtype(dtype), "__doc__": text, "__module__": __name__})


FloatTensor, DoubleTensor, HalfTensor, LongTensor, IntTensor, ShortTensor, CharTensor, ByteTensor, BoolTensor = (_of_dtype(name + "Tensor", dtype) for name, dtype in (
    ("Float", "float32"), ("Double", "float64"), ("Half", "float16"), ("Long", "int64"), ("Int", "int32"), ("Short", "int16"), ("Char", "int8"), ("Byte", "uint8"),
    ("Bool", "bool")))


def _of_values(data, dtype):
    numpy_inside, tensors, stack = False, [], [data]
    while stack:
        x = stack.pop()
        if isinstance(x, (list, tuple)):
            stack.extend(x)
        elif isinstance(x, TensorBase):
            tensors.append(x)
        elif isinstance(x, (np.ndarray, np.generic)):
            numpy_inside = True
    if tensors:
        data = _numbers(data)
    try:
        array = np.array(data, dtype)
    except ValueError as error:
        raise refuse(ValueError, f"tensor{{here}}: the nested lists have rows of different lengths: {error}") from None
    if array.dtype == object or array.dtype.kind in "US":
        raise refuse(TypeError, f"tensor{{here}}: cannot make a tensor of {type(data).__name__} {str(data)[:40]!r}: give numbers, nested lists of them, or "
                                f"arrays")
    if dtype is None and not numpy_inside:
        array = array.astype({"f": rules.default, "i": INT64, "u": INT64}.get(array.dtype.kind, array.dtype))
    return array


def _numbers(data):
    return [_numbers(x) for x in data] if isinstance(data, (list, tuple)) else data.tolist() if isinstance(data, TensorBase) else data


def as_tensor(data, dtype=None, device=None):
    """The tensor itself, an array shared, or values copied."""
    if isinstance(data, TensorBase):
        return data.to(dtype=dtype, device=device)
    if isinstance(data, np.ndarray) and (dtype is None or data.dtype == dtype_of(dtype)) and on(device) == "cpu":
        return from_numpy(data)
    return tensor(data, dtype=dtype, device=device)


def from_numpy(array):
    """A tensor that shares the array's memory: a change of one is a change of the other. What is computed from it is computed at once."""
    if not isinstance(array, np.ndarray):
        raise refuse(TypeError, f"from_numpy{{here}}: expected np.ndarray (got {type(array).__name__}); use tensor(), which copies")
    if array.dtype.kind not in "fiub":
        raise refuse(TypeError, f"from_numpy{{here}}: can't convert np.ndarray of type {array.dtype}: the supported types are {', '.join(rules.DTYPES)}")
    return sharing(array)


def _shape(size):
    size = size[0] if len(size) == 1 and isinstance(size[0], (tuple, list)) else size
    shape = tuple(int(n) for n in size)
    if any(n < 0 for n in shape):
        raise refuse(RuntimeError, f"Trying to create tensor with negative dimension {min(shape)}: {list(shape)}{{here}}")
    return shape


def _sizes(name, size, named):
    """The sizes, which may also come by name: zeros(size=(2, 3))."""
    if "size" in named:
        size = (*size, named.pop("size"))
    if named:
        raise refuse(TypeError, f"{name}{{here}}: got an unexpected argument {next(iter(named))!r}; it takes the sizes, dtype, device and requires_grad")
    return size


def _filled(name, make):
    def filled(*size, dtype=None, device=None, requires_grad=False, **named):
        return _with(make(_shape(_sizes(name, size, named)), dtype_of(dtype) or rules.default), requires_grad, device)
    filled.__name__ = name
    filled.__doc__ = f"A tensor of this shape: {name}(2, 3) or {name}((2, 3)); float32 unless told."
    return with_common(filled)


zeros, ones, empty = _filled("zeros", np.zeros), _filled("ones", np.ones), _filled("empty", np.zeros)


@with_common
def full(size, fill_value, *, dtype=None, device=None, requires_grad=False):
    """A tensor of one value; the dtype is that of the value."""
    value = fill_value.item() if isinstance(fill_value, TensorBase) else fill_value
    shape = _shape(size) if isinstance(size, (tuple, list)) else (int(size),)
    return _with(np.full(shape, value, dtype_of(dtype) or _of_values(value, None).dtype), requires_grad, device)


def _like(make):
    def like(input, *, dtype=None, device=None, requires_grad=False, **options):
        return _with(make(input.shape, dtype_of(dtype) or input.dtype, **options), requires_grad, input.device if device is None else device)
    return with_common(like)


zeros_like, ones_like, empty_like = _like(np.zeros), _like(np.ones), _like(np.zeros)
rand_like = _like(lambda shape, dtype, generator=None: rand(*shape, dtype=dtype, generator=generator).held())
randn_like = _like(lambda shape, dtype, generator=None: randn(*shape, dtype=dtype, generator=generator).held())


@with_common
def full_like(input, fill_value, *, dtype=None, device=None, requires_grad=False):
    """A tensor of one value in the shape and dtype of another."""
    return full(input.shape, fill_value, dtype=dtype_of(dtype) or input.dtype, device=input.device if device is None else device, requires_grad=requires_grad)


@with_common
def tril_indices(row, col, offset=0, *, dtype=None, device=None):
    """Rows and columns of the entries on and below a diagonal, (2, n) int64: mask[tuple(tril_indices(n, n))]."""
    return _with(np.stack(np.tril_indices(row, offset, col)).astype(dtype_of(dtype) or INT64), False, device)


@with_common
def triu_indices(row, col, offset=0, *, dtype=None, device=None):
    """Rows and columns of the entries on and above a diagonal, (2, n) int64."""
    return _with(np.stack(np.triu_indices(row, offset, col)).astype(dtype_of(dtype) or INT64), False, device)


def finfo(dtype=None):
    """What a floating-point dtype holds, as Python's numbers: bits, eps, min, max, tiny, smallest_normal, resolution."""
    info = np.finfo(dtype_of(dtype) or rules.default)
    return types.SimpleNamespace(dtype=info.dtype.name, bits=info.bits, **{k: float(getattr(info, k)) for k in "eps min max tiny smallest_normal resolution".split()})


def iinfo(dtype):
    """What an integer dtype holds: bits, min, max."""
    info = np.iinfo(dtype_of(dtype))
    return types.SimpleNamespace(dtype=info.dtype.name, bits=info.bits, min=info.min, max=info.max)


def _number(x):
    return x.item() if isinstance(x, TensorBase) else x


@with_common
def arange(start=None, end=None, step=1, *, dtype=None, device=None, requires_grad=False):
    """Numbers from start, below end, in steps: integers stay integers, floats are float32."""
    start, end, step = map(_number, (0, start, step) if end is None else (start or 0, end, step))
    if step == 0:
        raise refuse(RuntimeError, "arange{here}: step must be nonzero")
    if (end - start) * step < 0:
        raise refuse(RuntimeError, "arange{here}: upper bound and larger bound inconsistent with step sign")
    floating = any(isinstance(x, float) for x in (start, end, step))
    dtype = dtype_of(dtype) or (rules.default if floating else INT64)
    count = int(np.ceil((end - start) / step))
    return _with((start + step * np.arange(count, dtype=np.float64 if floating or dtype.kind == "f" else INT64)).astype(dtype), requires_grad, device)


@with_common
def linspace(start, end, steps, *, dtype=None, device=None, requires_grad=False):
    """steps numbers from start to end, both included."""
    return _with(np.linspace(_number(start), _number(end), steps).astype(dtype_of(dtype) or rules.default), requires_grad, device)


@with_common
def logspace(start, end, steps, base=10.0, *, dtype=None, device=None, requires_grad=False):
    """steps numbers from base**start to base**end."""
    return _with(np.logspace(_number(start), _number(end), steps, base=base).astype(dtype_of(dtype) or rules.default), requires_grad, device)


@with_common
def eye(n, m=None, *, dtype=None, device=None, requires_grad=False):
    """The identity matrix."""
    return _with(np.eye(n, m, dtype=dtype_of(dtype) or rules.default), requires_grad, device)


def _new(name, make):
    def new(self, *args, dtype=None, device=None, **more):
        return make(*args, dtype=self.dtype if dtype is None else dtype, device=self.device if device is None else device, **more)
    new.__name__, new.__doc__ = name, f"{name[4:]}(...) in the dtype and on the device of this tensor, unless told."
    return new


def _exponential_(self, lambd=1.0, *, generator=None):
    """Written over with numbers of the exponential distribution, of mean 1 / lambd: the largest of p / q is entry k with probability p[k]."""
    drawn = (generator or globals()["generator"]).numpy.standard_exponential(self.shape, np.float64 if self.dtype == np.float64 else np.float32)
    return self._write("exponential_", constant(at((np.asarray(drawn) / lambd).astype(self.dtype), self.device)))


def _bernoulli_(self, p=0.5, *, generator=None):
    """Written over with 1 with probability p, a number or a tensor, and 0 elsewhere."""
    return self._write("bernoulli_", (rand(*self.shape, generator=generator, device=self.device) < p).to(self.dtype))


def _uniform_(self, start=0.0, to=1.0, generator=None):
    """Written over with uniform numbers in [start, to), which PyTorch calls from."""
    return self._write("uniform_", rand(*self.shape, dtype=self.dtype, device=self.device, generator=generator) * (to - start) + start)


def _normal_(self, mean=0.0, std=1.0, generator=None):
    """Written over with normal numbers."""
    return self._write("normal_", randn(*self.shape, dtype=self.dtype, device=self.device, generator=generator) * std + mean)


def _random_(self, start=0, to=None, *, generator=None):
    """Written over with integers in [start, to), or random_(to): in [0, to); without bounds those that the dtype holds exactly."""
    most = 2 ** (np.finfo(self.dtype).nmant + 1) + 1 if self.dtype.kind == "f" else 2 if self.dtype.kind == "b" else np.iinfo(self.dtype).max
    start, to = (0, start or most) if to is None else (start, to)
    return self._write("random_", randint(start, to, tuple(self.shape), generator=generator, device=self.device).to(self.dtype))


NEW = {f"new_{make.__name__}": _new(f"new_{make.__name__}", make) for make in (zeros, ones, empty, full, tensor)} | {"exponential_": _exponential_, "bernoulli_": _bernoulli_,         # methods of tensors
    "random_": _random_, "uniform_": _uniform_, "normal_": _normal_}


# ---- random numbers -------------------------------------------------------------------------------------------------------------------------

class Generator:
    """A source of random numbers of its own: Generator().manual_seed(0), then rand(3, generator=g)."""

    def __init__(self, device="cpu"):
        on(device)                                 # numbers are the same on every device
        self.manual_seed(0)

    def manual_seed(self, seed):
        """Begin again from this seed. Returns the generator."""
        self.seed, self.draws, self.numpy = int(seed), 0, np.random.Generator(np.random.Philox(int(seed) % 2 ** 64))
        return self

    def initial_seed(self):
        return self.seed

    def get_state(self):
        """Where it stands, as bytes: a tensor for set_state."""
        s = self.numpy.bit_generator.state
        numbers = [self.seed % 2 ** 64, self.draws, *s["state"]["counter"], *s["state"]["key"], *s["buffer"], s["buffer_pos"], s["has_uint32"], s["uinteger"]]
        return constant(np.array(numbers, np.uint64).view(np.uint8))

    def set_state(self, new_state):
        """Stand where get_state was asked. Raises RuntimeError for what it has not given. Returns the generator."""
        numbers = new_state.value.view(np.uint64) if new_state.dtype == np.uint8 and new_state.numel() == 8 * 15 else None
        if numbers is None:
            raise refuse(RuntimeError, "set_state{here}: expected a state of a Generator of diffeng, 120 bytes of dtype uint8: give what get_state() returned")
        self.manual_seed(numbers[0])
        self.draws = int(numbers[1])
        self.numpy.bit_generator.state = {"bit_generator": "Philox", "state": {"counter": numbers[2:6], "key": numbers[6:8]}, "buffer": numbers[8:12],
                                          "buffer_pos": int(numbers[12]), "has_uint32": int(numbers[13]), "uinteger": int(numbers[14])}
        return self


generator = Generator()


def manual_seed(seed):
    """Begin the random numbers of rand, randn, randint, randperm and of initialisers anew."""
    return generator.manual_seed(seed)


def initial_seed():
    """The number that manual_seed was given last; 0 without."""
    return generator.seed


def get_rng_state():
    """Where the random numbers stand, as a tensor of bytes for set_rng_state."""
    return generator.get_state()


def set_rng_state(new_state):
    """Go on with the random numbers from where get_rng_state was asked."""
    generator.set_state(new_state)


def _random(name, draw, doc):
    def random(*size, dtype=None, device=None, requires_grad=False, generator=None, **named):
        dtype = dtype_of(dtype) or rules.default
        if dtype.kind != "f":
            raise torch_error(NotImplementedError, f"{name}: random floats of dtype {dtype}; use randint for integers")
        drawn = draw((generator or globals()["generator"]).numpy, _shape(_sizes(name, size, named)), np.float64 if dtype == np.float64 else np.float32)
        return _with(drawn.astype(dtype, copy=False), requires_grad, device)
    random.__name__, random.__doc__ = name, doc
    return with_common(random)


rand = _random("rand", lambda g, shape, dtype: np.asarray(g.random(shape, dtype)), "Uniform numbers in [0, 1): rand(2, 3).")
randn = _random("randn", lambda g, shape, dtype: np.asarray(g.standard_normal(shape, dtype)), "Numbers of the standard normal distribution: randn(2, 3).")


@with_common
def randint(low, high=None, size=None, *, dtype=None, device=None, requires_grad=False, generator=None):
    """Integers in [low, high): randint(10, (2, 3)) or randint(0, 10, (2, 3)); int64."""
    if size is None or high is None:
        low, high, size = 0, low, high if size is None else size
    return _with((generator or globals()["generator"]).numpy.integers(low, high, _shape((size,))).astype(dtype_of(dtype) or INT64), requires_grad, device)


@with_common
def randperm(n, *, dtype=None, device=None, requires_grad=False, generator=None):
    """The integers 0..n-1 in random order."""
    return _with((generator or globals()["generator"]).numpy.permutation(n).astype(dtype_of(dtype) or INT64), requires_grad, device)


@with_common
def normal(mean, std, size=None, *, generator=None):
    """Normal numbers with this mean and standard deviation (numbers or tensors)."""
    given = [x for x in (mean, std) if isinstance(x, TensorBase)]
    shape = size if size is not None else np.broadcast_shapes(*[x.shape if isinstance(x, TensorBase) else np.shape(x) for x in (mean, std)])
    return randn(*shape, generator=generator, device=given[0].device if given else None) * std + mean


@with_common
def multinomial(input, num_samples, replacement=False, *, generator=None):
    """Indices drawn with these probabilities, int64: input (n,) or (rows, n), result (num_samples,) or (rows, num_samples).

    input: floats >= 0, which need not sum to 1. Without replacement no index comes twice in a row, and what has probability 0 comes last.
    Raises RuntimeError for other inputs, and for more samples than there are entries, without replacement.
    """
    p = input.value
    if p.dtype.kind != "f":
        raise refuse(RuntimeError, f"multinomial{{here}} only supports floating-point dtypes for input, got: {rules.name_of(p.dtype)}. Convert it with .float()")
    if p.ndim not in (1, 2):
        raise refuse(RuntimeError, f"multinomial{{here}}: prob_dist must be 1 or 2 dim, and has shape {list(p.shape)}: take the last position, logits[:, -1]")
    if num_samples <= 0 or not replacement and num_samples > p.shape[-1]:
        raise refuse(RuntimeError, f"multinomial{{here}}: cannot sample n_sample <= 0 samples, and without replacement no more than the {p.shape[-1]} that there "
                                   f"are, but n_sample is {num_samples}; perhaps replacement=True")
    p = p.astype(np.float64)
    if not np.all((p >= 0) & (p < np.inf)):
        raise refuse(RuntimeError, "multinomial{here}: probability tensor contains either `inf`, `nan` or element < 0: it takes probabilities, softmax(logits, "
                                   "dim=-1)")
    if not np.all(p.sum(-1) > 0):
        raise refuse(RuntimeError, "multinomial{here}: invalid multinomial distribution (sum of probabilities <= 0)")
    source = (generator or globals()["generator"]).numpy
    if replacement:                               # the first entry at which the sum of probabilities is above u, which is none of probability 0
        below = np.cumsum(p, -1)
        u = source.random((*p.shape[:-1], num_samples)) * below[..., -1:]
        found = np.reshape([np.searchsorted(row, x, "right") for row, x in zip(np.atleast_2d(below), np.atleast_2d(u))], u.shape)
    else:                                         # who arrives first, of Poisson processes with these rates (Efraimidis & Spirakis, Inf. Process. Lett. 97, 2006)
        with np.errstate(divide="ignore"):
            found = np.argsort(source.standard_exponential(p.shape) / p, -1, kind="stable")[..., :num_samples]
    return _with(found.astype(INT64), False, input.device)


@with_common
def bernoulli(input, p=None, *, generator=None):
    """0 or 1, with probabilities input, or, in the shape of input, with probability p."""
    u = rand(*input.shape, generator=generator, device=input.device)
    return (u < (input if p is None else p)).to(input.dtype)
