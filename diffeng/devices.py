"""The devices that programs are compiled for, by name: "cpu", and "cuda" for an NVIDIA GPU or the simulator that stands in for one.

What it is: `program_maker`, which whoever compiles a graph asks, and `present`, whether there is a device beside the CPU. DIFFENG_CUDA=simulator in the
environment makes "cuda" the simulator of kernels/cuda/ (for tests, and to see what would run): right to the bit in its logic, and slow.

What it is not: no compiler (kernels/). Why a file: jit, graphs, tensors, compare and the command line mean the same by a device's name, and who asks whether
there is one imports nothing that belongs to it.
"""
import ctypes
import functools
import importlib.util
import os

WITNESSES = {"cpu": "reverse (kernels)", "cuda": "reverse (CUDA)"}          # what compare calls the reverse method as each device's programs compute it
PRECISIONS = "float32", "tf32", "bfloat16"


def simulated():
    """Does the simulator stand in for a GPU? Raises ValueError where the environment says something else."""
    asked = os.environ.get("DIFFENG_CUDA", "")
    if asked not in ("", "simulator"):
        raise ValueError(f"DIFFENG_CUDA={asked!r} in the environment: leave it out for the GPU of this machine, or say 'simulator'")
    return bool(asked)


def present():
    """The names of the devices that are there."""
    return ("cpu", "cuda") if simulated() or _gpu() else ("cpu",)


def lacking():
    """What is missing for a GPU, and the cure, as far as that can be told at once: importing CuPy takes half a second. None if nothing is."""
    if importlib.util.find_spec("cupy") is None:
        return 'CuPy, which is not installed: pip install "diffeng[cuda]"'
    try:
        ctypes.CDLL("libcuda.so.1")
    except OSError:
        return "NVIDIA's driver for CUDA 13, which was not found: install one"


@functools.lru_cache(maxsize=None)
def _gpu():
    if lacking() is not None:
        return False
    try:
        from .kernels.cuda.device import device
        return bool(device())
    except RuntimeError:
        return False


def program_maker(device, precision="float32", strict=False):
    """make(inputs, outputs, donated=(), as_recorded=False), which compiles a graph for a device: "cpu" or "cuda"; make.device is the device itself, None for
    the CPU; make.ahead() begins with what any graph needs of the CPU's compiler. See jit for the rest."""
    if device == "cpu":
        if precision != "float32":
            raise ValueError(f"precision={precision!r} is for device=\"cuda\": on the CPU products are computed in the dtype of their factors")
        return _on_cpu
    if device != "cuda":
        raise ValueError(f"device={device!r}: there are 'cpu' and 'cuda'")
    if precision not in PRECISIONS:
        raise ValueError(f"precision={precision!r}: there are {', '.join(map(repr, PRECISIONS))}")
    from .kernels.cuda.device import device as find
    there = find()

    def make(inputs, outputs, donated=(), as_recorded=False):
        from .kernels.cuda.program import CudaProgram
        return CudaProgram(inputs, written_out(outputs, as_recorded), as_recorded, donated, device=there, precision=precision, strict=strict)
    make.device, make.ahead = there, lambda: None
    return make


def _on_cpu(inputs, outputs, donated=(), as_recorded=False):
    from .kernels import Program
    return Program(inputs, written_out(outputs, as_recorded, split=True), as_recorded=as_recorded, donated=donated, remembered=not as_recorded)


def written_out(outputs, as_recorded=False, split=False):
    """A graph's outputs as programs compute them: functions with rules of their own (de.custom) by what they compute, for programs have no rules, and loops without
    results that nobody reads. split: Python loops are found again (rerolling/), and loops are split (fission.py)."""
    from .nodes import Outputs, Primitive
    if as_recorded:
        return outputs
    if split:
        from .rerolling import rerolled
        outputs = rerolled(Outputs(outputs))
    if not Primitive.some_own:
        return outputs
    from .own_rules import inlined
    outputs = inlined(outputs)
    if not split:
        return outputs
    from .fission import apart
    return apart(outputs)


def _ahead():
    from .kernels import runtime
    runtime.ahead()


_on_cpu.device, _on_cpu.ahead = None, _ahead
