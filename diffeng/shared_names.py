"""Functions that NumPy, or diffeng.special, and PyTorch call alike, sum, exp, erf, ...: theirs for arrays and symbols, PyTorch's as soon as an argument
is a Tensor. Why a file: the package's first page should not import any of them."""
import functools
import sys

import numpy as np


@functools.cache
def function(name):
    """diffeng.name: the function of numpy or diffeng.special that also takes tensors.

    >>> import numpy as np, diffeng as de
    >>> float(de.sum(np.ones(3))), de.sum(de.ones(2, 3), dim=1)
    (3.0, tensor([3., 3.]))
    """
    from . import special
    return either(getattr(np, name, None) or getattr(special, name), lambda tensors: tensors.FUNCTIONS.get(name))


def either(plain, of_tensors):
    """The function, and of tensors another one: of_tensors(the module tensors.py), None where there is none."""
    @functools.wraps(plain)
    def shared(*args, **kwargs):
        tensors = sys.modules.get(f"{__package__}.tensors")              # not imported: there are none
        if tensors is not None and _among((*args, *kwargs.values()), tensors.Tensor) and (function := of_tensors(tensors)) is not None:
            return function(*args, **kwargs)
        return plain(*args, **kwargs)
    return shared


def _among(args, kind):
    return any([isinstance(a, kind) or isinstance(a, (list, tuple)) and any([isinstance(x, kind) for x in a]) for a in args])
