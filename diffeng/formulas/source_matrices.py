"""Whole matrices in stand-alone code: texts of the functions that NumPy, numba and C need beside what they have.

What it is not: a printer; the printers of the three languages name these. Why a file: numerical methods in three languages, side by side.
"""
import math

# name: what of NumPy's answer it is
IN_NUMPY = {"solve": "np.linalg.solve({})", "inv": "np.linalg.inv({})", "det": "np.linalg.det({})", "slogdet": "np.linalg.slogdet({})[1]",
            "slogdet_sign": "np.linalg.slogdet({})[0]", "cholesky": "np.linalg.cholesky({})", "cofactor": "cofactor({})",
            "eigh": "eigh({}, {lower})", "qr": "qr({})", "svd": "svd({})"}

IN_C = ("solve", "inv", "det", "slogdet", "slogdet_sign", "cholesky", "cofactor")
EIGH = '''def eigh(x, lower):
    values, vectors = np.linalg.eigh(x, "L" if lower else "U")
    return np.concatenate([values[..., None, :], vectors], axis=-2)
'''
QR = '''def qr(x):
    return np.concatenate(np.linalg.qr(x), axis=-2)
'''
SOLVE_LOWER = '''def solve_lower(a, b):
    return np.linalg.solve(a[..., ::-1, ::-1], b[..., ::-1, :])[..., ::-1, :]
'''
SVD = '''def svd(x):
    u, s, vh = np.linalg.svd(x, full_matrices=False)
    return np.concatenate([u, s[..., None, :], vh.swapaxes(-1, -2)], axis=-2)
'''
COFACTOR = '''def cofactor(x):
    if x.shape[-1] == 3:
        after, last = (np.roll(x, (-k, -k), (-2, -1)) for k in (1, 2))
        return after * last - np.roll(x, (-1, -2), (-2, -1)) * np.roll(x, (-2, -1), (-2, -1))
    if x.shape[-1] == 2:
        return np.roll(x, (1, 1), (-2, -1)) * np.array([[1, -1], [-1, 1]], x.dtype)
    if x.shape[-1] == 1:
        return np.ones_like(x)
    rows = np.frexp(np.max(np.abs(x), axis=-1, keepdims=True))[1]
    columns = np.frexp(np.max(np.abs(np.ldexp(x, -rows)), axis=-2, keepdims=True))[1]
    u, s, v = np.linalg.svd(np.ldexp(x, -rows - columns))
    one = np.ones_like(s[..., :1])
    before = np.cumprod(np.concatenate([one, s[..., :-1]], axis=-1), axis=-1)
    after = np.flip(np.cumprod(np.concatenate([one, np.flip(s, -1)[..., :-1]], axis=-1), axis=-1), -1)
    sign = np.sign(np.linalg.det(u) * np.linalg.det(v))[..., None, None]
    out = (sign * (before * after)[..., None, :] * u) @ v
    return np.ldexp(out, np.sum(rows, axis=-2, keepdims=True) - rows + np.sum(columns, axis=-1, keepdims=True) - columns)
'''
NUMBA_COFACTOR = '''@numba.njit
def cofactor(x):
    n = len(x)
    rows, columns, scaled = np.zeros(n, np.int64), np.zeros(n, np.int64), np.empty_like(x)
    for i in range(n):
        rows[i] = math.frexp(np.max(np.abs(x[i])))[1]
    for j in range(n):
        for i in range(n):
            scaled[i, j] = math.ldexp(x[i, j], -rows[i])
        columns[j] = math.frexp(np.max(np.abs(scaled[:, j])))[1]
        for i in range(n):
            scaled[i, j] = math.ldexp(x[i, j], -rows[i] - columns[j])
    u, s, v = np.linalg.svd(scaled)
    sign = np.sign(np.linalg.det(u) * np.linalg.det(v))
    for k in range(s.size):
        others = sign
        for j in range(s.size):
            if j != k:
                others = others * s[j]
        v[k] = v[k] * others
    out = u @ v
    for i in range(n):
        for j in range(n):
            out[i, j] = math.ldexp(out[i, j], np.sum(rows) - rows[i] + np.sum(columns) - columns[j])
    return out
'''


NUMBA_HELPERS = {"cofactor": NUMBA_COFACTOR, "eigh": '''@numba.njit
def eigh(x, lower):
    values, vectors = np.linalg.eigh(x if lower else x.T)
    return np.concatenate((values.reshape((1, values.size)), vectors))
''', "qr": '''@numba.njit
def qr(x):
    return np.concatenate(np.linalg.qr(x))
''', "svd": '''@numba.njit
def svd(x):
    u, s, vh = np.linalg.svd(x, False)
    return np.concatenate((u, s.reshape((1, s.size)), vh.T))
'''}


def in_numba(name, count, whole, shape, params):
    """A function for stacks of matrices, which numba's own do not take. count: of operands. whole: are its answers matrices? shape: of one
    answer."""
    stacks = "a, b"[:3 * count - 2]
    answer = IN_NUMPY[name].format(", ".join(f"{x}[k]" for x in stacks.split(", ")), **params)
    out = f"np.empty((len(a), {shape[0]}, {shape[1]}), a.dtype)" if whole else "np.empty(len(a), a.dtype)"
    return f"@numba.njit\ndef {name}_each({stacks}):\n    out = {out}\n    for k in range(len(a)):\n        out[k] = {answer}\n    return out\n"


C_ELIMINATE = """/* x of a x = b over b, by elimination; a is lost. found: det(a), log|det(a)|, its sign */
static void eliminate(double *a, double *b, int64_t n, int64_t k, double *found)
{
    found[0] = 1, found[1] = 0, found[2] = 1;
    for (int64_t j = 0; j < n; j++) {
        int64_t p = j;
        for (int64_t i = j + 1; i < n; i++) if (fabs(a[i * n + j]) > fabs(a[p * n + j])) p = i;
        if (p != j) {
            for (int64_t c = 0; c < n; c++) { double t = a[j * n + c]; a[j * n + c] = a[p * n + c], a[p * n + c] = t; }
            for (int64_t c = 0; c < k; c++) { double t = b[j * k + c]; b[j * k + c] = b[p * k + c], b[p * k + c] = t; }
            found[0] = -found[0], found[2] = -found[2];
        }
        double d = a[j * n + j];
        found[0] *= d, found[1] += log(fabs(d)), found[2] *= (d > 0) - (d < 0);
        for (int64_t i = j + 1; i < n && d != 0; i++) {
            double f = a[i * n + j] / d;
            for (int64_t c = j; c < n; c++) a[i * n + c] -= f * a[j * n + c];
            for (int64_t c = 0; c < k; c++) b[i * k + c] -= f * b[j * k + c];
        }
    }
    for (int64_t j = n - 1; j >= 0; j--)
        for (int64_t c = 0; c < k; c++) {
            for (int64_t i = j + 1; i < n; i++) b[j * k + c] -= a[j * n + i] * b[i * k + c];
            b[j * k + c] /= a[j * n + j];
        }
}"""
C_COFACTOR = """/* out: of each entry the determinant of what is left without its row and column, with its sign. less: room for n * n numbers */
static void cofactors(const double *a, double *out, int64_t n, double *less)
{
    for (int64_t p = 0; p < n; p++)
        for (int64_t q = 0; q < n; q++) {
            double found[3];
            int64_t at = 0;
            for (int64_t i = 0; i < n; i++) for (int64_t j = 0; j < n; j++) if (i != p && j != q) less[at++] = a[i * n + j];
            eliminate(less, less, n - 1, 0, found);
            out[p * n + q] = (p + q) % 2 ? -found[0] : found[0];
        }
}"""
C_CHOLESKY = """/* z with z z' = a, over a */
static void cholesky(double *a, int64_t n)
{
    for (int64_t j = 0; j < n; j++)
        for (int64_t i = 0; i < n; i++) {
            if (i < j) { a[i * n + j] = 0; continue; }
            for (int64_t c = 0; c < j; c++) a[i * n + j] -= a[i * n + c] * a[j * n + c];
            a[i * n + j] = i == j ? sqrt(a[i * n + j]) : a[i * n + j] / a[j * n + j];
        }
}"""


def in_c(printer, k, name, operands):
    """Statements of one operation in C: matrices are copied to double precision, and lost there."""
    shape = printer.shape(operands[0])
    count, n, size = math.prod(shape[:-2]), shape[-1], math.prod(shape)
    columns = printer.shape(operands[1])[-1] if name == "solve" else n if name == "inv" else 0
    if name != "cholesky":
        printer.helpers["eliminate"] = C_ELIMINATE
    a = printer.scratch(size)
    copy = "for (int64_t i = 0; i < {}; i++) {}[i] = {};"
    printer.body.append(copy.format(size, a, f"{printer.where[operands[0]]}[i]"))
    result = a
    if columns:
        result = printer.scratch(count * n * columns)
        given = f"{printer.where[operands[1]]}[i]" if name == "solve" else f"i / {n} % {n} == i % {n}"
        printer.body.append(copy.format(count * n * columns, result, given))
    if name == "cofactor":
        printer.helpers["cofactor"] = C_COFACTOR
        result, less = printer.scratch(size), printer.scratch(n * n)
        each = f"cofactors({a} + m * {n * n}, {result} + m * {n * n}, {n}, {less});"
    elif name == "cholesky":
        printer.helpers["cholesky"] = C_CHOLESKY
        each = f"cholesky({a} + m * {n * n}, {n});"
    else:
        each = f"double found[3]; eliminate({a} + m * {n * n}, {result} + m * {n * columns}, {n}, {columns}, found);"
        if not columns:
            result = printer.scratch(count)
            each += f" {result}[m] = found[{('det', 'slogdet', 'slogdet_sign').index(name)}];"
        each = f"{{ {each} }}"
    printer.body.append(f"for (int64_t m = 0; m < {count}; m++) {each}")
    if printer.scalar(k):
        printer.where[k] = f"{result}[0]"
        return
    out = printer.buffer(k)
    printer.body.append(copy.format(printer.size(k), out, f"{result}[i]"))
