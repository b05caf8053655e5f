"""LLVM IR to PTX, the assembler of NVIDIA's GPUs, which the driver makes machine code of.

What it is: `ptx(launch, processor)`: LLVM's own backend (llvmlite has it), with NVIDIA's libdevice linked in where a kernel calls a function of
mathematics that is not among our own (elementary.py). Needs no GPU and no driver. Kept on disk like other kernels (cache.py).

What it is not: it writes no IR and loads nothing (device.py).
"""
import functools
import glob
import importlib.util
import os

import llvmlite.binding as llvm

from .. import cache
from ..values import GPU
from .code import Cuda

PROCESSORS = "sm_80", "sm_90", "sm_100"      # what is checked to compile: A100, H100 and H200, B200


def taken_by(major, minor):
    """The last of PROCESSORS whose PTX a GPU of this compute capability takes, as each takes that of earlier ones; None for a GPU that is too old.

    >>> taken_by(9, 0), taken_by(8, 9), taken_by(12, 1), taken_by(7, 5)
    ('sm_90', 'sm_80', 'sm_100', None)
    """
    return max([p for p in PROCESSORS if int(p[3:]) <= 10 * major + minor], key=lambda p: int(p[3:]), default=None)


def ptx(launch, processor):
    """The PTX of a plan.Launch's kernel, as bytes; its entry is called "kernel". launch.key: all the code depends on but the processor
    and how many registers it may have."""
    key, threads = f"{processor} {launch.resident} {launch.key}", launch.threads
    kept = cache.find(key)
    if kept is None:
        text = _compiled(_written(launch), processor)
        head, body = text.split(".entry kernel(", 1)
        parameters, body = body.split(")", 1)
        text = f"{head}.entry kernel({parameters})\n.maxntid {threads}, 1, 1\n.minnctapersm {max(1, launch.resident // threads)}{body}"
        kept = {"code": text.encode(), "symbols": {}, "needs": []}
        cache.keep(key, kept)
    return kept["code"]


@functools.lru_cache(maxsize=1)
def _written(launch):
    """LLVM's text of a kernel, which is the same for every processor."""
    return str(launch.build(Cuda))


def _compiled(text, processor):
    machine = _machine(processor)
    parsed = llvm.parse_assembly(text)
    parsed.verify()
    parsed.data_layout = str(machine.target_data)
    if any(f.is_declaration and f.name.startswith("__nv_") for f in parsed.functions):
        parsed.link_in(llvm.parse_bitcode(_libdevice()))
        for function in parsed.functions:
            if not function.is_declaration and function.name != "kernel":
                function.linkage = llvm.Linkage.internal
        parsed.triple, parsed.data_layout = GPU, str(machine.target_data)
    options = llvm.create_pipeline_tuning_options(speed_level=3)
    options.loop_vectorization = options.slp_vectorization = False
    builder = llvm.create_pass_builder(machine, options)
    builder.getModulePassManager().run(parsed, builder)
    return machine.emit_assembly(parsed)


@functools.lru_cache(maxsize=None)
def _machine(processor):
    llvm.initialize_all_targets()
    llvm.initialize_all_asmprinters()
    return llvm.Target.from_triple(GPU).create_target_machine(cpu=processor, opt=3)


@functools.lru_cache(maxsize=None)
def _libdevice():
    """libdevice's bitcode: from NVIDIA's packages, or an installed CUDA toolkit."""
    places = []
    found = importlib.util.find_spec("nvidia")
    for folder in found.submodule_search_locations if found else ():
        places.append(os.path.join(folder, "*", "nvvm", "libdevice", "libdevice*.bc"))
    for variable in ("CUDA_HOME", "CUDA_PATH"):
        if os.environ.get(variable):
            places.append(os.path.join(glob.escape(os.environ[variable]), "nvvm", "libdevice", "libdevice*.bc"))
    places.append("/usr/local/cuda/nvvm/libdevice/libdevice*.bc")
    for place in places:
        for path in sorted(glob.glob(place)):
            with open(path, "rb") as file:
                return file.read()
    raise RuntimeError("a kernel for the GPU calls a function of NVIDIA's libdevice, which is not installed: pip install 'diffeng[cuda]', "
                       "or set CUDA_HOME to a CUDA toolkit")
