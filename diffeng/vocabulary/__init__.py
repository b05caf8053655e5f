"""What each primitive computes: its name, its NumPy evaluation, its shape. Nothing here knows a derivative."""
from . import contraction, elementwise, fourier, indexing, linalg, random, reductions, shaping          # noqa: F401
from ..nodes import Primitive

PRIMITIVES = Primitive.registry
