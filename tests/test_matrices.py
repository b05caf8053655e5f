"""torch.linalg's functions of tensors: values, gradients, dtypes and errors are PyTorch's, in a loop (where a program takes over) as the first time."""
import numpy as np
import pytest

import diffeng as de

try:
    import torch
except ImportError:
    torch = None
needs_torch = pytest.mark.skipif(torch is None, reason="PyTorch is not installed")

RNG = np.random.default_rng(0)
SQUARE, TALL, RIGHT, VECTOR, STACK = (RNG.normal(size=s) for s in ((4, 4), (5, 3), (4, 2), (4,), (3, 4, 4)))
GIVEN = [SQUARE, SQUARE @ SQUARE.T + 4 * np.eye(4), TALL, RIGHT, VECTOR, STACK + 2 * np.eye(4)]
PROGRAMS = {                                               # linalg, a square matrix, a symmetric one, a tall one, a right side, a vector, a stack
    "solve": lambda m, A, S, R, B, v, T: m.solve(A, B), "solve a vector": lambda m, A, S, R, B, v, T: m.solve(A, v), "solve a stack": lambda m, A, S, R, B, v, T: m.solve(T, B.expand(3, 4, 2)),
    "solve from the right": lambda m, A, S, R, B, v, T: m.solve(A, B.T, left=False), "solve vectors": lambda m, A, S, R, B, v, T: m.solve(T, T[:, 0]),
    "inv": lambda m, A, S, R, B, v, T: m.inv(T), "det": lambda m, A, S, R, B, v, T: m.det(T), "slogdet": lambda m, A, S, R, B, v, T: m.slogdet(T).logabsdet,
    "cholesky": lambda m, A, S, R, B, v, T: m.cholesky(S), "upper": lambda m, A, S, R, B, v, T: m.cholesky(S, upper=True), "eigvalsh": lambda m, A, S, R, B, v, T: m.eigvalsh(S),
    "eigh": lambda m, A, S, R, B, v, T: m.eigh(A @ A.T).eigenvectors ** 2, "qr": lambda m, A, S, R, B, v, T: m.qr(R).Q, "r": lambda m, A, S, R, B, v, T: m.qr(A)[1],
    "complete": lambda m, A, S, R, B, v, T: m.qr(R.detach(), mode="complete")[0], "svd": lambda m, A, S, R, B, v, T: m.svd(R, full_matrices=False).U ** 2,
    "all of svd": lambda m, A, S, R, B, v, T: m.svd(R.detach())[0] ** 2, "svdvals": lambda m, A, S, R, B, v, T: m.svdvals(R), "pinv": lambda m, A, S, R, B, v, T: m.pinv(R),
    "lstsq": lambda m, A, S, R, B, v, T: m.lstsq(R, T[0, :3].repeat(2, 1)[:5]).solution, "norm": lambda m, A, S, R, B, v, T: m.norm(A), "norm 1": lambda m, A, S, R, B, v, T: m.norm(A, 1),
    "norm 2": lambda m, A, S, R, B, v, T: m.norm(A, 2), "of rows": lambda m, A, S, R, B, v, T: m.norm(T, dim=-1, keepdim=True), "of two axes": lambda m, A, S, R, B, v, T: m.norm(T, dim=(1, 2)),
    "fro": lambda m, A, S, R, B, v, T: m.norm(A, "fro"), "nuc": lambda m, A, S, R, B, v, T: m.norm(A, "nuc"), "vector_norm": lambda m, A, S, R, B, v, T: m.vector_norm(A, 3),
    "matrix_norm": lambda m, A, S, R, B, v, T: m.matrix_norm(T, ord=float("inf")), "matrix_power": lambda m, A, S, R, B, v, T: m.matrix_power(A, -2),
    "matrix_exp": lambda m, A, S, R, B, v, T: m.matrix_exp(A * 0.1), "matrix_rank": lambda m, A, S, R, B, v, T: m.matrix_rank(R), "multi_dot": lambda m, A, S, R, B, v, T: m.multi_dot([A, S, B]),
    "cross": lambda m, A, S, R, B, v, T: m.cross(R, R.flip(0)), "cond": lambda m, A, S, R, B, v, T: m.cond(A), "vecdot": lambda m, A, S, R, B, v, T: m.vecdot(A, S),
    "solve_triangular": lambda m, A, S, R, B, v, T: m.solve_triangular(A, B, upper=True), "diagonal": lambda m, A, S, R, B, v, T: m.diagonal(T),
    "triangular from the right": lambda m, A, S, R, B, v, T: m.solve_triangular(S, B.T, upper=False, left=False),
    "methods": lambda m, A, S, R, B, v, T: A.inverse() * A.det() + S.logdet() + A.matrix_power(2),
}


@needs_torch
@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("name", PROGRAMS)
def test_functions_of_matrices_equal_pytorchs(name, dtype):
    found = []
    for library in (torch, de):
        given = [library.tensor(x.tolist(), dtype=getattr(library, dtype), requires_grad=True) for x in GIVEN]
        for _ in range(1 if library is torch else 4):
            for x in given:
                x.grad = None
            out = PROGRAMS[name](library.linalg, *given)
            if out.requires_grad:
                (out * library.tensor(np.cos(np.arange(out.numel())).reshape(tuple(out.shape)).tolist(), dtype=out.dtype)).sum().backward()
        found.append([out.detach().numpy()] + [x.grad.numpy() if x.grad is not None else np.zeros(1) for x in given])
    tolerance = 1e-8 if dtype == "float64" else 2e-3
    for a, b in zip(*found):
        assert a.shape == b.shape and a.dtype == b.dtype
        np.testing.assert_allclose(b, a, tolerance, tolerance * max(1, np.abs(a).max()))


@pytest.mark.parametrize("call, text", [
    (lambda: de.linalg.inv(de.zeros(2, 2)), "inv at test_matrices.py.*Singular matrix"), (lambda: de.linalg.cholesky(-de.eye(2)), "not positive definite"),
    (lambda: de.linalg.det(de.ones(2, 2, dtype=de.int64)), "floating point .*Got Long: convert"), (lambda: de.linalg.det(de.ones(2, 3)), "square"),
    (lambda: de.linalg.norm(de.ones(3), "fro"), "norm of matrices")])
def test_errors_are_runtime_errors(call, text):
    with pytest.raises(RuntimeError, match=text):
        call()


def test_singular_is_numpys_error_too_and_arrays_stay_arrays():
    with pytest.raises(de.linalg.LinAlgError):
        de.linalg.inv(de.zeros(2, 2))
    assert type(de.linalg.inv(np.eye(2))) is np.ndarray and isinstance(de.linalg.cho_factor(np.eye(2))[0], np.ndarray)
    with pytest.raises(TypeError, match="linalg.cholesky"):
        de.linalg.cho_factor(de.eye(2))
    with pytest.raises(AttributeError, match="eigh"):
        de.linalg.eig
    assert np.isnan(de.logdet(-de.eye(3)).item()) and de.logdet(de.eye(3)).item() == 0
