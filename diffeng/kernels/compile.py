"""LLVM IR to object code for this processor.

What it is: `compile_module(module, unique)`, an llvmlite.ir.Module or its text in, {"code", "symbols", "needs"} out: LLVM's own O2 pipeline with its vectorisers.

What it is not: it writes no IR, keeps nothing and runs nothing (machine.py). LLVM is loaded, and llvmlite imported, when there is
something to compile.
"""
import contextlib
import ctypes
import functools
import glob
import importlib.util
import os
import threading

# What LLVM has intrinsics for and, on a processor without an instruction, the C library computes. `ldexp` and the like are not used by kernels.
_LIBRARY = set("fma exp exp2 exp10 log log2 log10 pow sin cos tan asin acos atan atan2 sinh cosh tanh".split())


_loading = threading.Lock()


def load_meanwhile():
    """Where there is dlopen, a thread that brings LLVM's library into memory. llvmlite does it with the interpreter lock held: 10 to 20 ms, in which Python can
    import what else is needed."""
    found = importlib.util.find_spec("llvmlite")
    paths = glob.glob(os.path.join(os.path.dirname(found.origin), "binding", "libllvmlite.*"))
    try:
        load = ctypes.CDLL(None).dlopen
    except (TypeError, AttributeError):                    # Windows
        return
    for path in paths:
        threading.Thread(target=load, args=(os.fsencode(path), os.RTLD_NOW)).start()          # as llvmlite will: it finds it loaded then


@functools.lru_cache(maxsize=None)
def binding():
    """llvmlite.binding."""
    with _loading:
        import llvmlite.binding
        from llvmlite import ir
        ir.MetaDataString(ir.Module(), "").get_reference()          # it fills a table then, and a second thread would read it half full
        return llvmlite.binding


@functools.lru_cache(maxsize=None)
def target():
    llvm = binding()
    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    return llvm.Target.from_default_triple()


def target_machine(level=3):
    """The processor we are on. Code for a JIT has 64-bit addresses of what is outside ("jitdefault"): memory may lie anywhere. Vectors are as wide as they can
    be, 512 bits on Intel's processors, too, where LLVM prefers 256 (chains of functions took 79 % of the time on an Emerald Rapids, stencils 75 %)."""
    llvm = binding()
    features = llvm.get_host_cpu_features()
    wide = ",-prefer-256-bit" if features.get("avx512f") else ""
    return target().create_target_machine(cpu=llvm.get_host_cpu_name(), features=features.flatten() + wide, opt=level,
                                          reloc="static" if target().name.startswith("x86") else "default", codemodel="jitdefault", jit=True)


_idle = {}                                # level -> machines that nobody uses now


@contextlib.contextmanager
def _machine(level):
    """A target_machine for one thread at a time: LLVM writes into it while it compiles. None is ever given back to LLVM: that a thread which ends did so could
    meet a fork."""
    held = _idle.setdefault(level, [])
    try:
        machine = held.pop()
    except IndexError:
        machine = target_machine(level)
    try:
        yield machine
    finally:
        held.append(machine)


def _apart(name, *arguments):
    """One of LLVM's functions on what only this thread has. llvmlite lets in one thread at a time, whatever they do; nearly all of the time that compiling
    takes is spent in two calls, on a module in a context of its own."""
    from llvmlite.binding import ffi
    function = getattr(ffi.lib, name)
    return getattr(function, "_cfn", function)(*arguments)


def interleave(branch, times=4):
    """Say of a loop, by the branch that closes it, that it shall run in so many copies at once: what a reduction needs, whose additions wait for
    each other (a sum of 4000 doubles took 1.2 us instead of 1.8)."""
    from llvmlite import ir
    _wish(branch, "llvm.loop.interleave.count", ir.IntType(32)(times))


def mask(branch):
    """Say of a loop that its last vector shall be one like the others, of which some entries are masked, instead of one entry after the other."""
    from llvmlite import ir
    _wish(branch, "llvm.loop.vectorize.predicate.enable", ir.IntType(1)(1))


def _wish(branch, *words):
    module = branch.parent.function.module
    wish = module.add_metadata([*words])
    loop = module.add_metadata([wish, wish, wish])
    loop.operands = (loop, wish)               # LLVM knows a loop's name by its referring to itself, which llvmlite has no words for
    branch.set_metadata("llvm.loop", loop)


def _linked(name):
    """The symbol that a declaration ends up as: LLVM's own functions of mathematics are calls of the C library, its others are instructions."""
    if not name.startswith("llvm."):
        return name
    _, function, *kind = name.split(".")
    return function + {"f64": "", "f32": "f"}[kind[0]] if function in _LIBRARY and kind and kind[0] in ("f64", "f32") else None


def _told(module):
    """A module's text; nothing of the module is left, for its parts refer to each other, and 15 000 of them keep the collector busy for 8 ms."""
    text = str(module)
    for function in getattr(module, "functions", ()):
        for block in function.blocks:
            for phi in block.instructions:
                getattr(phi, "incomings", []).clear()
            block.instructions.clear()
            block.terminator = None
        function.__dict__.clear()
    getattr(module, "__dict__", {}).clear()
    return text


class Compilation:
    """A module on its way to object code. One whose attribute `vectors` is true says itself what is a vector and what is known before a loop (gemm.py): quick passes do
    for it, where LLVM's others would find nothing, in twice the time. It is prepared, and asked for its result, by whoever has the interpreter lock; `run` is LLVM's work and needs none.
    So a thread can run beside one that computes in Python, where it would wait 5 ms each time it asked for the lock, which what llvmlite does asks hundreds of times.

    Arguments and errors: see compile_module. Whoever makes one closes it; until then it is no garbage, wherever a signal comes: a collector would let go of
    its context before its module, and LLVM end the process.
    """

    _open = set()

    def __init__(self, module, unique, quick=False):
        llvm = binding()
        self._open.add(self)
        self._context, self._parsed, self._held, self._memory, self._failed = llvm.create_context(), None, contextlib.ExitStack(), None, None
        self._runs, self._over = [], threading.Event()          # threads that came to run it: the first one does
        try:
            quick_passes = quick or getattr(module, "vectors", False)
            self._parsed = parsed = llvm.parse_assembly(_told(module), self._context)
            parsed.verify()
            self._machine = machine = self._held.enter_context(_machine(0 if quick else 3))
            parsed.triple, parsed.data_layout = llvm.get_default_triple(), str(machine.target_data)
            self._symbols = {}
            for function in parsed.functions:
                if not function.is_declaration and function.linkage is llvm.Linkage.external:
                    name = function.name
                    function.name = self._symbols[name] = f"{name}.{unique}"
            self._passes = self._pipeline(quick_passes)
        except BaseException:
            self.close()
            raise

    def _pipeline(self, quick):
        """[(passes, builder)]: LLVM's O2 with its vectoriser (O3 takes 3 to 9 % longer, for code that is no faster; O1 a tenth less, and leaves loops with
        guarded loads as they are); quick: variables into registers and the obvious, in a twentieth of the time.

        Vectorised loops are not interleaved unless they ask for it (`interleave`): on elementwise ones it costs a third more time to compile, and they
        run no faster (a polynomial of degree 12 over 10 000 doubles took 9.7 us with, 7.1 without: the processor overlaps iterations by itself). Nor are
        scalars put together to vectors (SLP): none of the workloads gained by it, and kernels with windows took an eighth more time to compile. Nor are
        loops unrolled: that takes a fifteenth of the time, and over 400 functions and shapes they are faster by 2 % as they are.
        """
        llvm = binding()
        options = llvm.create_pipeline_tuning_options(speed_level=0 if quick else 2)
        options.loop_vectorization = not quick
        options.loop_unrolling = options.slp_vectorization = options.loop_interleaving = False
        builder = llvm.create_pass_builder(self._machine, options)      # made anew for each module: it holds analyses of the last one
        if quick:
            passes = llvm.create_new_module_pass_manager()
            passes.add_sroa_pass()
            passes.add_simplify_cfg_pass()
            passes.add_instruction_combine_pass()
            return [(passes, builder)]
        inlining = llvm.create_new_module_pass_manager()          # values.rescue: what the vectoriser has called for all lanes
        inlining.add_always_inliner_pass()
        return [(builder.getModulePassManager(), builder), (inlining, builder)]

    def run(self):
        """LLVM's part: nearly all of the time. Who comes second waits."""
        from llvmlite.binding import ffi
        me = threading.get_ident()
        try:
            self._runs.append(me)                     # (in here: wherever a signal comes, whoever is the first says when it is over)
            if self._runs[0] == me and not self._over.is_set():
                for passes, builder in self._passes:
                    _apart("LLVMPY_RunNewModulePassManager", passes, self._parsed, builder)
                with ffi.OutputString() as error:
                    self._memory = _apart("LLVMPY_TargetMachineEmitToMemory", self._machine, self._parsed, 1, error)          # as machine.emit_object
                    if not self._memory:
                        raise RuntimeError(str(error))
        except Exception as error:                    # the caller's who asks for the result
            self._failed = error
        finally:
            if self._runs[:1] == [me]:
                self._over.set()
        self._over.wait()                             # not by its thread's join: where a signal ends that, Python 3.11 takes the thread for one that has ended

    def result(self):
        """What compile_module returns, of what has run; None where a signal came in between."""
        from llvmlite.binding import ffi
        if self._failed is not None:
            raise self._failed
        if not self._memory:
            return None
        code = ctypes.string_at(ffi.lib.LLVMPY_GetBufferStart(self._memory), ffi.lib.LLVMPY_GetBufferSize(self._memory))
        needs = sorted({_linked(f.name) for f in self._parsed.functions if f.is_declaration} - {None})
        return {"code": code, "symbols": self._symbols, "needs": needs}

    def close(self):
        """Not while it runs."""
        from llvmlite.binding import ffi
        if self._runs:
            self._over.wait()
        if self._memory:
            ffi.lib.LLVMPY_DisposeMemoryBuffer(self._memory)
        self._memory = self._passes = None
        self._held.close()
        if self._parsed is not None:
            self._parsed.close()
        self._context.close()
        self._open.discard(self)


def compile_module(module, unique, quick=False):
    """Object code: {"code": bytes, "symbols": {function's name: its name in the code}, "needs": symbols the code leaves open}.

    Functions that are not internal are renamed with `unique`, so that the code of many modules can lie in one engine. quick: for code
    that is not worth optimising. Raises RuntimeError where the IR is malformed.
    """
    with contextlib.closing(Compilation(module, unique, quick)) as made:
        made.run()
        return made.result()
