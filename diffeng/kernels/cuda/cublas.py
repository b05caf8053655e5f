"""cuBLAS by address: the one function that products need.

What it is: `Cublas`, a handle of the cuBLAS that CuPy has loaded, and `multiplier`, which prepares a product once and runs it any number of times.

Why not CuPy's own wrapper: it refuses to be called while a stream is captured, which cuBLAS itself does not mind, and costs 3 us a call.
"""
import ctypes

import numpy as np

_F32, _F64, _BF16 = 0, 1, 14                          # cudaDataType
_SUM_F32, _SUM_F64, _TF32 = 68, 70, 77                # cublasComputeType: the last one rounds factors to 10 binary digits, for the matrix units
WORKSPACE = 32 << 20                                  # bytes, as NVIDIA recommends for this generation of GPUs
_POINTER, _INT, _LONG = ctypes.c_void_p, ctypes.c_int, ctypes.c_longlong


class Cublas:
    def __init__(self, cupy):
        from cupy_backends.cuda.libs import cublas              # finds the library, wherever it was installed, and loads it
        major = cublas.getVersion(cupy.cuda.device.get_cublas_handle()) // 10000
        library = ctypes.CDLL(f"libcublas.so.{major}")
        self._set_stream, self._multiply = library.cublasSetStream_v2, library.cublasGemmStridedBatchedEx
        self._set_stream.argtypes = [_POINTER, _POINTER]
        self._multiply.argtypes = [_POINTER, *[_INT] * 5, _POINTER, *[_POINTER, _INT, _INT, _LONG] * 2, _POINTER, _POINTER, _INT, _INT, _LONG, *[_INT] * 3]
        self._handle = _POINTER()
        _check(library.cublasCreate_v2(ctypes.byref(self._handle)))
        self._workspace = cupy.empty(WORKSPACE, np.uint8)
        self._set_workspace = library.cublasSetWorkspace_v2
        self._set_workspace.argtypes = [_POINTER, _POINTER, ctypes.c_size_t]
        self._factors = {np.dtype(t): np.array([0, 1], t) for t in (np.float32, np.float64)}          # where products find beta and alpha

    def multiplier(self, product, places, precision):
        """run(stream). product: a products.Gemm; places: addresses of the first entries of left, right and out."""
        kind, total = (_F64, _SUM_F64) if product.dtype == np.float64 else (_F32, _TF32 if precision == "tf32" else _SUM_F32)
        operand = _BF16 if product.narrow else kind
        factors = self._factors[product.dtype]
        zero, one = factors.ctypes.data, factors.ctypes.data + product.dtype.itemsize
        calls = [(ta, tb, m, n, k, one, a, operand, lda, sa, b, operand, ldb, sb, one if product.add else zero, c, kind, ldc, sc, count, total, -1)
                 for ta, tb, m, n, k, a, lda, sa, b, ldb, sb, c, ldc, sc, count in product.calls(places)]
        handle, multiply, set_stream = self._handle, self._multiply, self._set_stream

        def run(stream):
            set_stream(handle, stream)
            self._set_workspace(handle, self._workspace.data.ptr, WORKSPACE)          # setting a stream forgets it
            for arguments in calls:
                _check(multiply(handle, *arguments))
        return run


def _check(status):
    if status:
        hint = ": out of memory, or its library does not fit this driver" if status in (1, 3) else ""
        raise RuntimeError(f"cuBLAS refused a product with status {status}{hint}")
