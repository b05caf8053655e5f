"""Roots of unity: what Fourier transforms in kernels read of a length.

What it is: `factors`, the radices of its passes, and `made(name, *how)`, a table for its kernels. A table is kept with a plan on disk by its name, and is made anew.

Why a file: a process that finds its plan on disk needs these, and nothing else of transforms.
"""
import weakref

import numpy as np

FACTORS = 8, 4, 2, 3, 5                    # each with code of its own
LARGEST = 127                              # of other primes, which take as many operations as they are long
_DTYPES = {"f64": np.float64, "f32": np.float32}
_RADICES = FACTORS + tuple(p for p in range(7, LARGEST + 1, 2) if all(p % q for q in range(3, p, 2)))


def factors(n):
    """The radices of a length, in the order of their passes; None where a prime is too large."""
    found = []
    for r in _RADICES:
        while n % r == 0 and not (r == 8 and n % 32 == 16):          # (two passes of 4 for one of 8 and one of 2: of 256 numbers 0.17 us for 0.19)
            found.append(r)
            n //= r
    return found if n == 1 else None


def _passes(n, type):
    """Bytes: how many passes there are, then of each its radix and where its roots begin: exp(-2 pi i p k / (r m)) by k, then by p < m, first their real parts, then
    the imaginary ones; of a radix without code of its own those of 1 behind them."""
    radices, head, rows, left = factors(n), [], [], n
    at = 8 * (1 + 2 * len(radices))
    for r in radices:
        m = left // r
        row = _parts(roots(np.outer(range(1, r), range(m)), left), type)
        if r not in FACTORS:
            row = np.concatenate([row, _parts(roots(np.arange(r), r), type)])
        head += r, at
        rows.append(row)
        at, left = at + row.nbytes, m
    return np.frombuffer(b"".join([np.array([len(radices), *head], np.int64).tobytes(), *[row.tobytes() for row in rows]]), np.uint8)


def _across(n, m, lanes, type):
    """exp(-2 pi i j k / n) by k < m, then by j < lanes: what columns of a row that is alone are multiplied by before they are transformed across."""
    return _parts(roots(np.outer(range(m), range(lanes)), n), type)


def _halfway(n, type):
    """-i exp(-pi i k / n) for k <= n: between n complex numbers and 2 n real ones."""
    return _parts(-1j * roots(np.arange(n + 1), 2 * n), type)


def _zeros(lanes, type):
    """A part that there is not."""
    return np.zeros(lanes, _DTYPES[type])


_TABLES = {"passes": _passes, "across": _across, "halfway": _halfway, "zeros": _zeros}
_held = weakref.WeakValueDictionary()


def made(name, *how):
    """A table, one for all that hold it. how: the arguments of its function."""
    table = _held.get((name, *how))
    if table is None:
        table = _held[name, *how] = _TABLES[name](*how)
    return table


def _parts(z, type):
    """Real parts, then imaginary ones."""
    return np.concatenate([z.real.ravel(), z.imag.ravel()]).astype(_DTYPES[type])


def roots(k, n):
    """exp(-2 pi i k / n), by angles up to an eighth of a turn, to more digits than float64 has (its functions are ten times as fast)."""
    quarter, rest = np.divmod(8 * (k % n) + n, 2 * n)
    exact = (rest - n) * (np.arctan(np.longdouble(1)) / n)
    angle = exact.astype(float)
    cos, sin, more = np.cos(angle), np.sin(angle), (exact - angle).astype(float)
    cos, sin, odd = cos - more * sin, sin + more * cos, quarter & 1
    return np.where(odd, sin, cos) * (1 - (quarter + 1 & 2)) + 1j * (np.where(odd, cos, sin) * ((quarter & 2) - 1))
