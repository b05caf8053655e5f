"""Named arrays in a file, in the safetensors format.

What it is: `write_tensors`, `read_tensors` and `read_metadata`: eight bytes with the length of a header, the header as JSON, the numbers. Nothing in it is
ever executed, and nothing in it is believed before it is checked.
What it is not: which tensors a GPT-2 has is weights.py's question. Why a file, and not the safetensors library: its NumPy side cannot read BF16 and copies
what it reads, where this one maps it, so that a model of gigabytes is there at once and its pages can be given back.
"""
import json
import math
import mmap
import os

import numpy as np

from ..writing import replacing

_DTYPES = {"F64": np.float64, "F32": np.float32, "F16": np.float16, "I64": np.int64, "I32": np.int32, "I16": np.int16, "I8": np.int8,
           "U64": np.uint64, "U32": np.uint32, "U16": np.uint16, "U8": np.uint8, "BOOL": np.bool_}
_NAMES = {np.dtype(dtype): name for name, dtype in _DTYPES.items()}
_STORED = {name: np.dtype(np.dtype(dtype).newbyteorder("<").str) for name, dtype in _DTYPES.items()}
_STORED["BF16"] = np.dtype("<u2")          # the upper half of a float32
_LONGEST_HEADER = 100_000_000          # bytes: the format's own limit


def write_tensors(path, tensors, metadata=None, before=None):
    """Write named arrays into one file, which replaces `path` at the end.

    tensors: dict, name -> array of a floating-point, integer or bool dtype. metadata: dict of texts, kept in the header.
    before: called when all numbers are on the disk, before they take the name; where it raises, they do not.
    Raises TypeError on other dtypes, names or metadata, OSError when the disk refuses.
    """
    arrays = {name: np.asarray(array) for name, array in tensors.items()}
    for name, array in arrays.items():
        if not isinstance(name, str) or name == "__metadata__":
            raise TypeError(f"a tensor is called {name!r}: its name must be a text, and not '__metadata__'")
        if array.dtype.newbyteorder("=") not in _NAMES:
            raise TypeError(f"tensor {name!r} has dtype {array.dtype}; there are {', '.join(str(d) for d in _NAMES)}")
    header, at = {}, 0
    if metadata:
        if not all(isinstance(k, str) and isinstance(v, str) for k, v in metadata.items()):
            raise TypeError(f"metadata {metadata!r}: names and values must be texts")
        header["__metadata__"] = dict(metadata)
    ordered = sorted(arrays.items(), key=lambda item: -item[1].itemsize)             # the largest items first, so that each array is aligned
    for name, array in ordered:
        header[name] = {"dtype": _NAMES[array.dtype.newbyteorder("=")], "shape": list(array.shape), "data_offsets": [at, at + array.nbytes]}
        at += array.nbytes
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    with replacing(path) as file:
        file.write(len(text).to_bytes(8, "little") + text)
        for _, array in ordered:
            file.write(np.ascontiguousarray(array, array.dtype.newbyteorder("<")).reshape(-1).view(np.uint8))
        if before is not None:
            file.flush()
            os.fsync(file.fileno())
            before()


def read_tensors(path, names=None):
    """The arrays of a file, name -> array; of `names` only, where given.

    They lie in the file until they are looked at, and what is written into them stays in memory; keep the file as it is for as long as they are used
    (replacing it is harmless, writing into it is not). BF16, which NumPy lacks, comes as float32, without loss.

    Raises ValueError on a file that is not what it says, truncated for one, KeyError on a name that is not there, OSError when it cannot be read.
    """
    entries, _, data = _opened(path)
    return {name: _array(path, name, *entries[name], data) for name in (entries if names is None else names)}


def read_metadata(path):
    """The dict of texts that write_tensors was given. Raises as read_tensors does."""
    return _opened(path)[1]


def read_shapes(path):
    """Name -> (shape, dtype as NumPy will have it), without touching the numbers. Raises as read_tensors does."""
    entries = _opened(path)[0]
    return {name: (shape, np.dtype(_DTYPES.get(kind, np.float32))) for name, (kind, shape, *_) in entries.items()}


def _opened(path):
    """(name -> (dtype's name, shape, begin, end), metadata, all numbers as bytes), checked."""
    with open(path, "rb") as file:
        size = os.fstat(file.fileno()).st_size
        if size < 8:
            raise _wrong(path, f"it has {size} bytes, too few for a header")
        length = int.from_bytes(file.read(8), "little")
        if length > min(size - 8, _LONGEST_HEADER):
            raise _wrong(path, f"its header would have {length} bytes, and the file has {size}")
        entries, metadata = _header(path, file.read(length), size - 8 - length)
        data = np.frombuffer(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY), np.uint8)[8 + length:]
    return entries, metadata, data


def _header(path, text, available):
    """(entries, metadata) of a header; the numbers of all entries must fill the `available` bytes without gaps or overlaps."""
    try:
        header = json.loads(text.decode("utf-8"), object_pairs_hook=once)
    except (ValueError, RecursionError) as error:
        raise _wrong(path, f"its header is no JSON ({error})") from error
    if not isinstance(header, dict):
        raise _wrong(path, "its header is no JSON object")
    metadata = header.pop("__metadata__", {})
    if not isinstance(metadata, dict) or not all(isinstance(v, str) for v in metadata.values()):
        raise _wrong(path, "its metadata are not texts")
    entries = {name: _entry(path, name, entry) for name, entry in header.items()}
    end = 0
    for name, (_, _, begin, until) in sorted(entries.items(), key=lambda item: item[1][2:]):
        if begin != end:
            raise _wrong(path, f"tensor {name!r} begins at byte {begin} of the numbers, and the one before it ends at {end}")
        end = until
    if end != available:
        raise _wrong(path, f"its tensors need {end} bytes, and {available} are there: it is {'truncated' if end > available else 'longer than it says'}")
    return entries, metadata


def _entry(path, name, entry):
    """(dtype's name, shape, begin, end) of one tensor."""
    if not isinstance(entry, dict) or not {"dtype", "shape", "data_offsets"} <= set(entry):
        raise _wrong(path, f"tensor {name!r} lacks a dtype, a shape or data_offsets")
    kind, shape, offsets = entry["dtype"], entry["shape"], entry["data_offsets"]
    if not isinstance(kind, str) or kind not in _STORED:
        raise _wrong(path, f"tensor {name!r} has dtype {kind!r}; these can be read: {', '.join(_STORED)}")
    for what, numbers in (("shape", shape), ("data_offsets", offsets)):
        if not isinstance(numbers, list) or not all(type(n) is int and 0 <= n < 2 ** 63 for n in numbers):
            raise _wrong(path, f"{what} of tensor {name!r} is {numbers!r}, no list of lengths")
    needed = math.prod(shape) * _STORED[kind].itemsize
    if len(offsets) != 2 or offsets[1] - offsets[0] != needed:
        raise _wrong(path, f"tensor {name!r} of shape {tuple(shape)} and dtype {kind} needs {needed} bytes, and its data_offsets are {offsets}")
    return kind, tuple(shape), *offsets


def _array(path, name, kind, shape, begin, end, data):
    raw = data[begin:end]
    if raw.ctypes.data % _STORED[kind].itemsize:
        raw = raw.copy()                              # a header of odd length, which the format allows
    try:
        array = raw.view(_STORED[kind]).reshape(shape)
    except ValueError as error:                       # more axes than NumPy has, or lengths beside a 0 that multiply past its range
        raise _wrong(path, f"tensor {name!r} has shape {shape}: {error}") from error
    if kind == "BF16":
        return (array.astype(np.uint32) << 16).view(np.float32)
    if kind == "BOOL" and raw.size and raw.max() > 1:
        raise _wrong(path, f"tensor {name!r} has dtype BOOL, and bytes that are neither 0 nor 1")
    return array


def once(pairs):
    """A dict of JSON's pairs (`object_pairs_hook`). Raises ValueError where two have one name: readers differ in which of them they believe."""
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a name stands in it twice")
    return found


def _wrong(path, what):
    return ValueError(f"{path} is no safetensors file that can be read: {what}")
