"""Machine code in this process: the store of kernels by key, and the way there from disk or from LLVM IR.

What it is: `kernel(key, build)` finds a kernel in the process, else on disk (cache.py), else builds its IR and compiles it (compile.py).
Object code is put into memory by objects.py, or by LLVM where that cannot.
A kernel is a C function (address of a table of words, lo, hi) that computes rows lo..hi.

What it is not: it writes no code and knows no primitive.
"""
import atexit
import contextlib
import ctypes
import functools
import hashlib
import os
import threading

from . import cache, capsules, compile, objects, threads

compilations = 0                          # kernels compiled in this process
_kernels = {}                             # key -> Kernel
_provided = {}                            # name -> address: see provide
_state = threading.RLock()                 # whoever looks at these, or changes them, holds it; but not while he compiles
_changed = threading.Condition(_state)     # never held itself: its way in and out is Python's code, and a signal there would leave it locked for ever
_making = {}                              # key -> the thread that compiles it, or waits for those that do
_begun = {}                               # key -> a Compilation that a thread of its own runs: see begin
_threads = []                             # those of `later`
_counted = set()                          # keys of those that are counted in `compilations`, and not yet made: see later


class Kernel:
    """Machine code, alive until the process ends. addresses: of each exported function by name; address: of the one named "kernel"."""

    __slots__ = ("addresses", "address")

    def __init__(self, compiled):
        found = objects.load(compiled["code"], address_of) or _by_llvm(compiled)
        self.addresses = {name: found[symbol] for name, symbol in compiled["symbols"].items()}
        self.address = self.addresses.get("kernel")

    def __call__(self, table, lo, hi):
        """The kernel as a call from Python, without the interpreter lock: for tests and for looking at one kernel alone."""
        ctypes.CFUNCTYPE(None, *[ctypes.c_int64] * 3)(self.address)(table, lo, hi)


def _by_llvm(compiled):
    """{symbol: address}, by LLVM's linker."""
    import llvmlite.binding as llvm
    for name in compiled["needs"]:
        llvm.add_symbol(name, address_of(name))
    engine = _engine()
    engine.add_object_file(llvm.ObjectFileRef.from_data(compiled["code"]))
    engine.finalize_object()
    return {symbol: engine.get_function_address(symbol) for symbol in compiled["symbols"].values()}


@functools.lru_cache(maxsize=None)
def _engine():
    import llvmlite.binding as llvm
    machine = compile.target_machine()
    return llvm.create_mcjit_compiler(llvm.parse_assembly(""), machine)


@functools.lru_cache(maxsize=None)
def _libraries():
    """Where to look for what object code leaves open (exp, memcpy, ...): the process, and the C library's mathematics, which it need not have loaded."""
    found = []
    for library in (None, "libm.so.6", "libm.dylib", "ucrtbase.dll"):
        try:
            found.append(ctypes.CDLL(library))
        except (OSError, TypeError):                       # TypeError: Windows has no library of the whole process
            continue
    return found


def provide(name, address):
    """An address for what object code leaves open under this name."""
    _provided[name] = address


def address_of(name):
    """The address of a function that object code leaves open, or None."""
    if name in _provided:
        return _provided[name]
    if (found := capsules.address(name)) is not None:
        return found
    for library in _libraries():
        if (found := getattr(library, name, None)) is not None:
            return ctypes.cast(found, ctypes.c_void_p).value
    import llvmlite.binding as llvm                        # it brings some of its own
    return llvm.address_of_symbol(name)


def _missing(compiled):
    return [name for name in compiled["needs"] if address_of(name) is None]


def kernel(key, build, quick=False):
    """The kernel of a key, compiled at most once in a process and, with a cache on disk, once on a machine.

    key: a string that says all the code depends on. build(): an llvmlite.ir.Module, or its text, in which the functions to call ("kernel") are external and
    all helpers internal; called only if the kernel is found nowhere. quick: compile fast rather than well. Raises RuntimeError if the code needs a
    function that this process lacks.
    """
    return kernels([(key, build, quick)])[0]


def kernels(wanted):
    """The kernels of many (key, build) or (key, build, quick), those that are new made by several threads; who asks for one that is being made waits for it."""
    while True:
        mine, here = [], threading.get_ident()
        try:                                   # wherever a signal comes: what is not made by anybody must not look so
            with _state:
                missing = {key: (key, *how) for key, *how in wanted if known(key) is None}
                mine = [how for key, how in missing.items() if key not in _making]
                _making.update({key: here for key, *_ in mine})
                if missing and not mine:
                    _changed.wait()
            if not missing:
                return [_kernels[key] for key, *_ in wanted]
            _compiled(mine)
        finally:
            with _state:
                for key, *_ in mine:
                    if _making.get(key) == here:
                        del _making[key]
                _changed.notify_all()


def known(key):
    """A kernel that is in the process or on disk, else None."""
    found = _kernels.get(key)
    if found is None:
        with _state:
            found = _kernels.get(key)
            kept = _from_disk(key) if found is None else None
            if kept is not None:
                found = _kernels[key] = Kernel(kept)
    return found


def has(key):
    """Is a kernel in the process or on disk, or is it coming?"""
    return key in _counted or known(key) is not None


def _from_disk(key):
    kept = cache.find(key)
    return kept if kept is not None and not _missing(kept) else None      # a symbol may be gone where the C library changed


def begin(key, build, quick=False):
    """LLVM begins with a kernel that will be asked for, in a thread of its own; the interpreter waits for that before it ends. Is there anything to begin with?"""
    made = _prepared(key, build, quick)
    if made is not None:
        threading.Thread(target=made.run).start()
    return made is not None


def _prepared(key, build, quick=False):
    """A Compilation that is to be run, and is found in _begun; None where the kernel is there, or somebody makes it."""
    if key in _begun or key in _making or known(key) is not None:
        return None
    made = compile.Compilation(build(), _unique(key), quick)
    with _state:
        if key not in _begun:
            _begun[key] = made
            return made
    made.close()                               # another thread was faster
    return None


def later(wanted):
    """Kernels that nobody waits for now, but who may do later: a thread of their own compiles (key, build) after (key, build), and the interpreter waits for it before
    it ends. They are counted as compiled from here on."""
    global compilations
    mine = {key: (build, made) for key, build in dict(wanted).items()            # (what was begun ahead for nobody, too)
            if key not in _counted and (made := _begun.get(key) or _prepared(key, build)) is not None}
    with _state:
        _counted.update(mine)
        compilations += len(mine)

    def work():
        try:
            for _, made in mine.values():      # all of them before anything is asked of _state: whoever forks has it, and waits
                made.run()
            for key, (build, _) in mine.items():
                with contextlib.suppress(Exception):         # whoever asks for it is told
                    kernel(key, build)
        finally:
            with _state:                       # (another process may have been faster)
                _counted.difference_update(mine)
            _threads.remove(threading.current_thread())
    if mine:
        _threads.append(threading.Thread(target=work))
        try:
            _threads[-1].start()
        except RuntimeError:                   # there is none to be had, as when the interpreter ends: whoever asks for a kernel runs it
            _threads.pop()


def settle():
    """Until nothing is compiled any more that nobody waits for."""
    for thread in [*_threads]:
        thread.join()


def _unique(key):
    return hashlib.sha256(key.encode()).hexdigest()[:24]


def _code(key, build, quick=False):
    """Object code. It may be made by several threads at once: nothing that they share is changed here."""
    made, code = _begun.get(key), None
    if made is not None:
        made.run()                             # a signal here leaves it to who asks next
        with contextlib.closing(_begun.pop(key)):
            code = made.result()
    return code or compile.compile_module(build(), _unique(key), quick)


def _compiled(wanted):
    """New kernels, made by this thread and others, as many as there are processors: those that say most first, so that none is left alone with a long one."""
    left, errors = iter(sorted(wanted, key=lambda how: -len(how[0]))), []

    def work():
        try:
            for how in left:
                _new(how[0], _code(*how))
        except BaseException as error:         # KeyboardInterrupt too: this thread raises it when nobody compiles any more
            errors.append(error)
            list(left)                         # nobody begins another one
    others = [threading.Thread(target=work) for _ in range(min(len(wanted), threads.count()) - 1)]
    if others:
        compile.target()                       # what is made once for all threads is there before they start
    for other in others:
        other.start()
    work()
    for other in others:
        other.join()
    if errors:
        raise errors[0]


def _new(key, made):
    """The kernel of new code, which is kept on disk."""
    global compilations
    missing = _missing(made)
    if missing:                            # LLVM would end the process
        raise RuntimeError(f"a kernel calls {', '.join(missing)}, which no library of this process has: "
                           "load the library first (ctypes.CDLL(its name, ctypes.RTLD_GLOBAL))")
    counted = key in _counted              # (once it is on disk, `later` may find it there, and be done)
    cache.keep(key, made)
    with _state:
        _kernels[key] = Kernel(made)
        compilations += not counted
        _counted.discard(key)


def _before_fork():
    """A child of a process that is compiling would wait for ever for a thread it does not have."""
    _state.acquire()
    for made in [*_begun.values()]:
        made.run()
    while any([thread != threading.get_ident() for thread in _making.values()]):
        _changed.wait()


@atexit.register
def _close():
    """What was begun and is not needed."""
    for made in _begun.values():
        made.close()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_before_fork, after_in_parent=_state.release, after_in_child=_state.release)
