"""de.at(x, i).set(v): assignment without a side effect, for arrays that in-place assignment cannot reach."""
from .numpy_api import operand, split_index, setitem
from .vocabulary import indexing


class at:
    """at(x, index).set(v) and .add(v): a new array, x with the entries at index set or increased. x keeps its value and gives shape and dtype.

    >>> import numpy as np, diffeng as de
    >>> print(de.at(np.zeros(3), 1).set(5.0), de.at(np.ones(3), [0, 0]).add(1.0))
    [0. 5. 0.] [3. 1. 1.]
    """

    def __init__(self, x, index):
        self._x, self._index = operand(x), index

    def set(self, value):
        return setitem(self._x, self._index, value)

    def add(self, value):
        arrays, template = split_index(self._index, self._x)
        return indexing.add_at(self._x, operand(value), *arrays, index=template)
