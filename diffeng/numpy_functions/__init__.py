"""NumPy functions on traced values, as compositions of primitives, in NumPy's own signatures as far as they are supported.

The right-hand sides run in every interpreter. Importing the rooms fills numpy_api.FUNCTIONS; call_function there names an option that is not supported.
"""
from . import calculus, choosing, entries, fourier, histograms, linear_algebra, making, products, rearranging, reducing, shaping, sparse_products, statistics          # noqa: F401
