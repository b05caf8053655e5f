"""x[i] and x[i] = v: PyTorch's indexing, which is NumPy's with tensors as indices and without negative steps."""
import numpy as np

from ..vocabulary import indexing
from .aliases import link
from .core import Operation, TensorBase
from .rules import cast, torch_error

_get = Operation(lambda x, *arrays, index: indexing.getitem(x, *arrays, index=index), "getitem", views=True)
_set = Operation(lambda x, v, *arrays, index: indexing.setitem(x, _fitting(v, x.dtype), *arrays, index=index), "setitem")


def _fitting(v, dtype):
    return cast(v, dtype) if hasattr(v, "dtype") else dtype.type(v)


def split(index, t):
    """(operands, template, basic): integer tensors become operands, on the device of the indexed tensor t, masks the integers they stand for."""
    shape = t.shape
    items = list(index) if isinstance(index, tuple) else [index]
    if isinstance(index, list) and any(isinstance(i, (slice, type(None), type(Ellipsis))) for i in index):
        items = list(index)
    arrays, template, basic = [], [], True
    for i in items:
        if isinstance(i, slice):
            parts = [None if k is None else int(k) for k in (i.start, i.stop, i.step)]
            if parts[2] is not None and parts[2] <= 0:
                raise torch_error(ValueError, "step must be greater than zero")
            template.append(slice(*parts))
            continue
        if i is None or i is Ellipsis:
            template.append(i)
            continue
        if isinstance(i, (list, tuple, range, np.ndarray)) and not isinstance(i, TensorBase):
            i = np.asarray([k.value if isinstance(k, TensorBase) else k for k in i] if not isinstance(i, np.ndarray) else i)
            if i.size == 0:
                i = i.astype(np.int64)
        if isinstance(i, bool):
            i = np.asarray(i)
        dtype = i.dtype if isinstance(i, (TensorBase, np.ndarray, np.generic)) else None
        if dtype is None:
            if not hasattr(i, "__index__"):
                raise torch_error(IndexError, "only integers, slices (`:`), ellipsis (`...`), None and long or byte Variables are valid indices "
                                              f"(got {type(i).__name__})")
            template.append(int(i))
            continue
        if dtype.kind == "f":
            raise torch_error(IndexError, "tensors used as indices must be long, int, byte or bool tensors")
        if dtype.kind == "b" or dtype == np.uint8:                 # of bytes, a mask too
            value = (i.value if isinstance(i, TensorBase) else np.asarray(i)).astype(bool)
            if not value.ndim:
                template.append(bool(value))
                basic = False
                continue
            _mask_fits(value, template, shape)
            for part in np.nonzero(value):
                template.append(indexing.Slot(len(arrays)))
                arrays.append(part)
            basic = False
        elif not i.ndim:
            template.append(int(i))
        else:
            template.append(indexing.Slot(len(arrays)))
            arrays.append(i.to(t.device) if isinstance(i, TensorBase) else i)
            basic = False
    taken = sum(i is not None and i is not Ellipsis and not isinstance(i, bool) for i in template)
    if taken > len(shape):
        raise torch_error(IndexError, f"too many indices for tensor of dimension {len(shape)}")
    _in_bounds(template, shape)
    return arrays, tuple(template), basic


def _mask_fits(mask, template, shape):
    if Ellipsis in [i for i in template if i is Ellipsis]:
        return
    at = sum(i is not None for i in template)
    if mask.shape != shape[at:at + mask.ndim]:
        k = next(k for k in range(mask.ndim) if at + k >= len(shape) or mask.shape[k] != shape[at + k])
        have = shape[at + k] if at + k < len(shape) else "none"
        raise torch_error(IndexError, f"The shape of the mask {list(mask.shape)} at index {k} does not match the shape of the indexed tensor {list(shape)} "
                                      f"at index {at + k} ({have})")


def _in_bounds(template, shape):
    ahead = [i for i in template if i is not None and not isinstance(i, bool)]
    at = next((k for k, i in enumerate(ahead) if i is Ellipsis), None)
    for k, i in enumerate(ahead):
        if isinstance(i, int):
            axis = k if at is None or k < at else len(shape) - len(ahead) + k
            if not -shape[axis] <= i < shape[axis]:
                raise torch_error(IndexError, f"index {i} is out of bounds for dimension {axis} with size {shape[axis]}")


def _integers_first(template):
    """(the index of the plain integers alone, what is left to index then): PyTorch selects by them before it reads by tensors, NumPy counts them among these."""
    first = tuple([i if type(i) is int or i is Ellipsis else slice(None) for i in template if i is not None and type(i) is not bool])
    return (first, tuple([i for i in template if type(i) is not int])) if int in map(type, first) else (None, template)


def get(t, index):
    arrays, template, basic = split(index, t)
    if basic:
        return link(_get(t, index=template), t, lambda p: _get(p, index=template), lambda p, v: _set(p, v, index=template))
    first, template = _integers_first(template)
    return _get(t if first is None else _get(t, index=first), *arrays, index=template)


def set(t, index, value):
    """The tensor with value written at index, as a new value."""
    arrays, template, basic = split(index, t)
    first, template = (None, template) if basic else _integers_first(template)
    if first is None:
        return _set(t, value, *arrays, index=template)
    return _set(t, _set(_get(t, index=first), value, *arrays, index=template), index=first)
