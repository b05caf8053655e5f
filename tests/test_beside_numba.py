"""numba compiles what a derived function calls while that runs, in a process where it has compiled nothing before: it is told NumPy's own functions."""
import os
import subprocess
import sys

import pytest

WHILE_IT_RUNS = """
import builtins, math
import numba, numpy as np
import diffeng as de

own = np.zeros, np.sum, builtins.max, math.sqrt

@numba.njit
def weights(n):
    a = np.zeros(n)
    for i in range(n):
        a[i] = min(i, 2) + np.sum(np.ones(2)) * math.sqrt(4.0)
    return a

def f(x):
    kept = np.zeros(3)
    kept[0] = max(x[0], x[1]) * math.sqrt(x[2])
    return np.sum(weights(len(x)) * x) + np.sum(kept)

x = np.array([1.0, 2.0, 4.0])
np.testing.assert_allclose(APPLIED(de)(f)(x), [4.0, 7.0, 6.5])
np.testing.assert_array_equal(weights(3), [4.0, 5.0, 6.0])
assert (np.zeros, np.sum, builtins.max, math.sqrt) == own

@numba.njit
def later(n):                             # what numba learned is not what stood there for a while
    return np.zeros(n).sum() + np.ones(n).sum() + max(n, 2) + math.sqrt(n)
assert later(4) == 10.0
"""


@pytest.mark.parametrize("applied", ["de.grad", "lambda f: de.jit(de.grad(f))", "lambda f: de.grad(f, method='forward')"])
def test_functions_that_numba_compiles_meanwhile(applied, tmp_path):
    text = WHILE_IT_RUNS.replace("APPLIED(de)", f"({applied})")
    done = subprocess.run([sys.executable, "-W", "error", "-c", text], capture_output=True, text=True, timeout=120,
                          env={**os.environ, "DIFFENG_CACHE": str(tmp_path), "NUMBA_CACHE_DIR": str(tmp_path)})
    assert (done.returncode, done.stderr) == (0, "")


def test_numba_is_not_loaded_for_it():
    text = "import sys, numpy as np, diffeng as de; de.grad(lambda x: max(x[0], x[1]) * np.sum(np.zeros(2)))(np.ones(2)); sys.exit('numba' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", text], timeout=60).returncode == 0
