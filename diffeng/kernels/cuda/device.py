"""The GPU as a program sees it, by way of CuPy: memory, kernels, products.

What it is: `device()`, the GPU that is current in this process (or the simulator, where it was asked to stand in), or an error that says what is missing and
the cure; `Gpu`, with the methods that simulator.Simulator has too, among them the only ones that move memory between host and device. CuPy is the binding
because it is kept well, loads PTX, brings cuBLAS, pools of device memory and of pinned memory, streams and CUDA graphs, and because its arrays are what a user
of the GPU has anyway: they share memory with PyTorch and JAX by DLPack and __cuda_array_interface__.

What it is not: no kernel is written or compiled here.
"""
import functools

import numpy as np

from ...devices import lacking, simulated
from ...recording import on_gpu
from .code import SLOT
from .compile import ptx, taken_by
from .plan import SHARED, Grid

TILES_IN_MEMORY = 256                        # a tile's private buffer may take so much of the memory: a chain has up to half a dozen of them
PINNED = 1 << 20                             # bytes from which on a result comes back into pinned memory, see Gpu.host
_CURE = "; leave device out to compute on the CPU"


def device():
    """The current GPU, or the simulator (devices.simulated). Raises RuntimeError with the cure where there is none."""
    return _simulator() if simulated() else _gpu()


@functools.lru_cache(maxsize=None)
def _simulator():
    from .simulator import Simulator
    return Simulator()


@functools.lru_cache(maxsize=None)
def _gpu():
    missing = lacking()
    if missing is not None:
        raise RuntimeError(f'device="cuda" needs {missing}{_CURE}')
    try:
        import cupy
        _look_for_one(cupy.cuda.runtime)
        return Gpu(cupy)
    except (ImportError, OSError) as error:                   # CuPy itself, or the libraries of CUDA that it looks for when they are first used
        raise RuntimeError(f'device="cuda": CuPy does not find what it needs ({error}): pip install "diffeng[cuda]"{_CURE}') from error


def _look_for_one(runtime):
    """Raises RuntimeError where there is no GPU."""
    try:
        count = runtime.getDeviceCount()
    except runtime.CUDARuntimeError as error:
        text = str(error)
        missing = "no GPU was found" if "NoDevice" in text else f"no driver of NVIDIA's for CUDA 13 was found ({text.split(':')[0]}): install one"
        raise RuntimeError(f'device="cuda": {missing}{_CURE}') from error
    if not count:
        raise RuntimeError(f'device="cuda": no GPU was found{_CURE}')


class Gpu:
    """One GPU. grid: what plans depend on."""

    distant = True

    def __init__(self, cupy):
        self.cupy, self._id = cupy, cupy.cuda.Device().id
        properties = cupy.cuda.runtime.getDeviceProperties(self._id)
        self.grid = Grid(32, properties["multiProcessorCount"], 256, 512, properties["totalGlobalMem"] // TILES_IN_MEMORY,
                         properties["sharedMemPerBlockOptin"])
        self.name = properties["name"].decode()
        self.processor = taken_by(properties["major"], properties["minor"])
        if self.processor is None:
            raise RuntimeError(f'device="cuda": {self.name} has compute capability {properties["major"]}.{properties["minor"]}, and 8.0 is needed{_CURE}')
        from cupy_backends.cuda.api import driver
        from .cublas import Cublas
        self._driver, self._kernels, self._cublas = driver, {}, Cublas(cupy)

    # ---- memory ---------------------------------------------------------------------------------------------------------------------------

    holds = staticmethod(on_gpu)

    def array(self, x):
        """x on the device, in C order; a device array of another library as it lies, without a copy.

        CuPy copies what comes from the host into its pool of pinned memory first, and the GPU fetches it from there while the host goes on.
        """
        x = x.detach() if hasattr(x, "detach") else x             # a PyTorch tensor that requires a gradient does not tell where it lies
        return self._out_of_memory(lambda: self.cupy.asarray(x, order="C"), getattr(x, "nbytes", 0))

    def copy(self, x):
        return self._out_of_memory(x.copy, x.nbytes)

    def empty(self, shape, dtype):
        return self._out_of_memory(lambda: self.cupy.empty(shape, dtype), int(np.prod(shape, dtype=object)) * np.dtype(dtype).itemsize)

    def memory(self, size):
        return self.empty((max(size, 1),), np.uint8)

    def _out_of_memory(self, make, size):
        try:
            return make()
        except self.cupy.cuda.memory.OutOfMemoryError as error:
            free, whole = self.cupy.cuda.runtime.memGetInfo()
            raise MemoryError(f"the GPU has {free / 1e9:.2f} of {whole / 1e9:.2f} GB free, and {size / 1e9:.2f} GB are needed: use smaller batches, or "
                              "de.checkpoint, which keeps less for the way back") from error

    @staticmethod
    def address(x):
        return x.data.ptr

    def host(self, x):
        """x as NumPy's array. A large one lies in memory of CuPy's pinned pool, which goes back there with the array: the GPU writes pinned memory at the
        speed of the bus, where the driver would take other memory through a small buffer of its own, page by page. Small ones are not worth the pool's
        blocks, nor are large ones when the host has no more memory to pin."""
        if x.nbytes < PINNED:
            return x.get()
        try:
            memory = self.cupy.cuda.alloc_pinned_memory(x.nbytes)
        except self.cupy.cuda.runtime.CUDARuntimeError:
            return x.get()
        return x.get(out=np.frombuffer(memory, x.dtype, x.size).reshape(x.shape))

    def view(self, place, view):
        cupy = self.cupy
        low = view.offset + sum(min(0, (n - 1) * s) for n, s in zip(view.shape, view.strides))
        high = view.offset + sum(max(0, (n - 1) * s) for n, s in zip(view.shape, view.strides)) + view.dtype.itemsize
        memory = cupy.cuda.UnownedMemory(place + low, high - low, None, self._id)          # of no entries, too, whose address is anything
        return cupy.ndarray(view.shape, view.dtype, cupy.cuda.MemoryPointer(memory, view.offset - low), view.strides)

    def upload(self, array, target):
        """Host memory to the device, in the order of the stream. As it is not pinned, the driver has read it when this returns: the caller goes on writing."""
        target.set(array)

    def synchronize(self):
        """Wait for all that was given to the current stream."""
        self.cupy.cuda.get_current_stream().synchronize()

    # ---- kernels --------------------------------------------------------------------------------------------------------------------------

    def kernel(self, launch):
        found = self._kernels.get(launch.key)
        if found is None:
            module = self.cupy.cuda.function.Module()
            module.load(ptx(launch, self.processor))
            found = self._kernels[launch.key] = module.get_function("kernel")
        return found

    def launcher(self, kernel, launch, words):
        """A function that launches the kernel with its words at an address."""
        shared = SLOT * launch.threads + launch.shared
        if shared > SHARED:
            self._driver.funcSetAttribute(kernel.ptr, self._driver.CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES, self.grid.most_shared)
        values = np.array([words, launch.rows], np.int64)
        pointers = np.array([values.ctypes.data, values.ctypes.data + 8], np.int64)
        arguments = (kernel.ptr, launch.blocks, 1, 1, launch.threads, 1, 1, shared)
        run, stream, parameters = self._driver.launchKernel, self.cupy.cuda.get_current_stream, pointers.ctypes.data

        def start():
            run(*arguments, stream().ptr, parameters, 0)
        start.keep = values, pointers, kernel
        return start

    def captured(self, work):
        """What work() launches, as a function that launches it again all at once."""
        stream = self.cupy.cuda.Stream(non_blocking=True)
        with stream:
            stream.begin_capture()
            try:
                work()
            finally:
                graph = stream.end_capture()
        return lambda: graph.launch(self.cupy.cuda.get_current_stream())

    # ---- products -------------------------------------------------------------------------------------------------------------------------

    def product(self, product, places, precision):
        """A function that multiplies. places: addresses of the first entries of left, right and out."""
        run, stream = self._cublas.multiplier(product, places, precision), self.cupy.cuda.get_current_stream
        return lambda: run(stream().ptr)
