"""LLVM IR to object code for this processor.

What it is: `compile_module(module, unique)`, an llvmlite.ir.Module in, {"code", "symbols", "needs"} out: LLVM's own O3 pipeline with its vectorisers.

What it is not: it writes no IR, keeps nothing and runs nothing (machine.py). It is a file because a process that finds its kernels on disk never
comes here.
"""
import functools

import llvmlite.binding as llvm

# What LLVM has intrinsics for and, on a processor without an instruction, the C library computes. `ldexp` and the like are not used by kernels.
_LIBRARY = set("fma exp exp2 exp10 log log2 log10 pow sin cos tan asin acos atan atan2 sinh cosh tanh".split())


@functools.lru_cache(maxsize=None)
def target():
    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    return llvm.Target.from_default_triple()


def target_machine():
    """The processor we are on. Code for a JIT has 64-bit addresses of what is outside ("jitdefault"): memory may lie anywhere."""
    return target().create_target_machine(cpu=llvm.get_host_cpu_name(), features=llvm.get_host_cpu_features().flatten(), opt=3,
                                          reloc="static" if target().name.startswith("x86") else "default", codemodel="jitdefault", jit=True)


_machine = functools.lru_cache(maxsize=None)(target_machine)


def _pipeline():
    """LLVM's O3 with everything that makes loops fast. A pipeline is made anew for each module: it holds analyses of the last one."""
    options = llvm.create_pipeline_tuning_options(speed_level=3)
    options.loop_vectorization = options.slp_vectorization = options.loop_unrolling = options.loop_interleaving = True
    return llvm.create_pass_builder(_machine(), options)


def _linked(name):
    """The symbol that a declaration ends up as: LLVM's own functions of mathematics are calls of the C library, its others are instructions."""
    if not name.startswith("llvm."):
        return name
    _, function, *kind = name.split(".")
    return function + {"f64": "", "f32": "f"}[kind[0]] if function in _LIBRARY and kind and kind[0] in ("f64", "f32") else None


def compile_module(module, unique):
    """Object code: {"code": bytes, "symbols": {function's name: its name in the code}, "needs": symbols the code leaves open}.

    Functions that are not internal are renamed with `unique`, so that the code of many modules can lie in one engine. Raises RuntimeError where
    the IR is malformed.
    """
    parsed = llvm.parse_assembly(str(module))
    parsed.verify()
    parsed.triple, parsed.data_layout = llvm.get_default_triple(), str(_machine().target_data)
    symbols = {}
    for function in parsed.functions:
        if not function.is_declaration and function.linkage is llvm.Linkage.external:
            name = function.name
            function.name = symbols[name] = f"{name}.{unique}"
    builder = _pipeline()
    builder.getModulePassManager().run(parsed, builder)
    code = _machine().emit_object(parsed)
    needs = sorted({_linked(f.name) for f in parsed.functions if f.is_declaration} - {None})
    return {"code": code, "symbols": symbols, "needs": needs}
