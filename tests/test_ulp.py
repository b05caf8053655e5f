"""diffeng.ulp: accuracy over a domain, and what it says of the books: no derivative of an elementwise primitive loses more than a few units in the last place."""
import numpy as np
import pytest
import scipy.special

import diffeng as de
from diffeng.testing import plant
from diffeng.ulp import _float, _place

WIDE = {      # (function, domain): as far as the derivative is no subnormal number (SciPy's expit is 0 there)
    "erf": (scipy.special.erf, (-26.5, 26.5)), "erfc": (scipy.special.erfc, (-26.5, 26.5)), "tanh": (np.tanh, (-350, 350)), "expit": (scipy.special.expit, (-700, 700)),
    "log_expit": (scipy.special.log_expit, (-700, 700)), "logit": (scipy.special.logit, (0, 1)), "arcsin": (np.arcsin, (-1, 1)), "arccos": (np.arccos, (-1, 1)),
    "arctanh": (np.arctanh, (-1, 1)), "arccosh": (np.arccosh, (1, np.inf)), "arcsinh": (np.arcsinh, (-np.inf, np.inf)), "arctan": (np.arctan, (-1e150, 1e150)),
    "expm1": (np.expm1, (-700, 700)), "log1p": (np.log1p, (-1, np.inf)), "cbrt": (np.cbrt, (-1e300, 1e300)), "tan": (np.tan, (-1e4, 1e4)), "sqrt": (np.sqrt, (0, np.inf)),
    "hypot": (np.hypot, [(-1e300, 1e300)] * 2), "arctan2": (np.arctan2, [(-1e150, 1e150)] * 2), "xlogy": (scipy.special.xlogy, [(0, 1e100), (1e-100, 1e100)]),
    "power": (np.power, [(0.01, 100), (-100, 100)]), "power, negative base": (lambda x: x ** 3 + x ** -5, (-10, -0.1)), "divide": (np.divide, [(-1e100, 1e100)] * 2),
}


@pytest.mark.parametrize("name", WIDE)
def test_derivatives_keep_their_digits(name):
    fun, domain = WIDE[name]
    found = de.accuracy(fun, domain, points=150, seed=1)
    given = found["value", "NumPy"].ulp                        # of NumPy's own value, which derivatives are made of: cbrt's is off by 2 without AVX-512
    assert max(row.ulp for row in found.rows if row.what != "value") <= max(4, 2 + 2 * given), found
    assert found["value", "reverse (kernels)"].ulp <= 2, found


def test_a_method_that_loses_digits_is_named():
    with plant("forward", "sin"):                              # a factor of 1 + 1e-5
        found = de.accuracy(np.sin, (0.1, 1.0), points=20)
    assert found.worst.method == "forward" and 1e10 < found.worst.ulp < 1e12 and found["d/dx0", "reverse"].ulp < 2
    lost = de.accuracy(lambda x: 1 - np.exp(-x), (1e-12, 1), points=40, methods=("reverse",))
    assert lost["value", "NumPy"].ulp > 1e3 and "NumPy" in str(lost) and ("value", "reverse (kernels)") not in [row[:2] for row in lost.rows]


def test_single_precision_counts_its_own_units():
    found = de.accuracy(np.exp, (-80, 80), points=50, dtype=np.float32)
    assert found["value", "NumPy"].ulp < 3 and found.dtype == np.float32


def test_what_is_no_domain_or_no_function_is_told_so():
    for domain in (3, (1,), (2, 1), ("a", "b")):
        with pytest.raises(ValueError, match="is no interval: give"):
            de.accuracy(np.sin, domain)
    with pytest.raises(TypeError, match="accuracy needs a function, not int"):
        de.accuracy(3, (0, 1))


def test_kinks_are_left_open():
    found = de.accuracy(np.abs, (-1, 1), points=20)
    assert found.worst.ulp == 0
    assert de.accuracy(np.sqrt, (0, 1), points=20).open == {"d/dx0": 1}


def test_wrong_domains_are_refused():
    with pytest.raises(ValueError, match="no interval"):
        de.accuracy(np.sin, (1, 1))
    with pytest.raises(ValueError, match="elementwise"):
        de.accuracy(np.sum, (0, 1))


def test_points_are_neighbours_in_order():
    for dtype in map(np.dtype, (np.float64, np.float32)):
        x = np.array([-np.finfo(dtype).max, -1.5, -np.finfo(dtype).smallest_subnormal, 0.0, 1e-30, 2.0], dtype)
        assert np.array_equal(_float(_place(x), dtype), x) and np.all(np.diff(_place(x)) > 0)
        assert np.array_equal(_float(_place(x[1:]) + 1, dtype), np.nextafter(x[1:], dtype.type(np.inf)))
