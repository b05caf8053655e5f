"""save and load: state dicts in files, as PyTorch's torch.save and torch.load keep them, without a pickle.

What it is: a safetensors file (llm/files.py), which every reader of that format understands; what is around the tensors, dicts, lists and plain numbers, stands in its
header as JSON.
What it is not: no object of any class is written or made. What is loaded is checked, and nothing in it is executed.
"""
import json
import os

import numpy as np

from .errors import refuse
from .llm.files import read_metadata, read_tensors, write_tensors
from .tensors import Tensor, tensor

_TREE = "diffeng.tree"


def save(obj, f):
    """Write a state dict: a dict, list or tuple of tensors, arrays, numbers, texts, None, and of others of these. f: the path of the file, which is replaced.

    A tensor's values are kept, and its dtype, not its device, nor whether it requires a gradient. Raises TypeError for what else there is in it, a Module for one.

    >>> import diffeng as de, os, tempfile
    >>> path = os.path.join(tempfile.mkdtemp(), "run.pt")
    >>> de.save({"model": de.nn.Linear(1, 2).state_dict(), "epoch": 3}, path)
    >>> de.load(path)["epoch"], [*de.load(path)["model"]]
    (3, ['weight', 'bias'])
    """
    arrays = {}
    tree = _written(obj, "", arrays)
    write_tensors(_path(f, "save"), arrays, {_TREE: json.dumps(tree)})


def load(f, map_location=None, weights_only=True):
    """What save wrote; of another safetensors file, {name: tensor}. map_location: the device of the tensors, by default the CPU.

    Raises ValueError for a file that is none of these, such as one of torch.save, which would have to be executed to be read.
    """
    path = _path(f, "load")
    try:
        arrays = read_tensors(path)
        text = (read_metadata(path) or {}).get(_TREE)
    except ValueError as error:
        with open(path, "rb") as file:
            pickled = file.read(2) in (b"PK", b"\x80\x02")
        if not pickled:
            raise
        raise refuse(ValueError, f"load{{here}}: {path} was written by torch.save: it holds a pickle, which executes what is in it, and is never loaded. Write it with "
                                 "safetensors.torch.save_file(model.state_dict(), path) where PyTorch is, and load that") from error
    if text is None:
        return {name: tensor(array, device=map_location) for name, array in arrays.items()}
    try:
        return _read(json.loads(text), arrays, map_location)
    except (KeyError, TypeError, ValueError, IndexError, RecursionError) as error:
        raise ValueError(f"{path}: what stands around its tensors cannot be read: {error!r}") from error


def _path(f, name):
    if not isinstance(f, (str, os.PathLike)):
        raise refuse(TypeError, f"{name}{{here}}: {type(f).__name__} is no path of a file: give a name")
    return os.fspath(f)


def _written(x, name, arrays):
    """The tree of x as JSON has it, a list [kind, ...] in place of all but plain values; its arrays go to `arrays`, under the names that lead to them."""
    if isinstance(x, (Tensor, np.ndarray)):
        own = name = name or "tensor"
        while own in arrays or own == "__metadata__":
            own += "'"
        arrays[own] = x.value if isinstance(x, Tensor) else x
        return ["tensor" if isinstance(x, Tensor) else "array", own]
    if isinstance(x, np.generic):
        return x.item()
    if x is None or type(x) in (bool, int, float, str):
        return x
    if isinstance(x, dict):
        for key in x:
            if key is not None and type(key) not in (bool, int, float, str):
                raise refuse(TypeError, f"save{{here}}: the key {key!r} of a dict{' at ' + name if name else ''}: keys are texts and numbers")
        return ["dict", *[[key, _written(value, f"{name}.{key}" if name else str(key), arrays)] for key, value in x.items()]]
    if type(x) in (list, tuple):
        return [type(x).__name__, *[_written(value, f"{name}.{k}" if name else str(k), arrays) for k, value in enumerate(x)]]
    raise refuse(TypeError, f"save{{here}}: a {type(x).__name__}{' at ' + name if name else ''} cannot be saved: dicts, lists and tuples of tensors, numbers and texts can"
                            + (": save its state_dict()" if hasattr(x, "state_dict") else ""))


def _read(x, arrays, device):
    if not isinstance(x, list):
        return x
    kind, *parts = x
    if kind == "tensor":
        return tensor(arrays[parts[0]], device=device)
    if kind == "array":
        return np.array(arrays[parts[0]])
    if kind == "dict":
        return {key: _read(value, arrays, device) for key, value in parts}
    if kind in ("list", "tuple"):
        return {"list": list, "tuple": tuple}[kind]([_read(part, arrays, device) for part in parts])
    raise ValueError(f"there is no kind {kind!r}")
