"""Compiled kernels on disk: object code behind a JSON header.

What it is: `find(key)` and `keep(key, ...)`. One file a kernel, named by the SHA-256 of everything its code depends on: the kernel's key, the engine's
own compiler source, the versions of llvmlite and Python, the processor and its features.
The header repeats that key, and carries the SHA-256 of the code and of what it says of it.

What it is not trusted for: a file that is truncated, altered or made for something else is compiled anew and replaced; a folder that others may write is
not used; a folder that cannot be written is done without. Files appear by renaming, so concurrent processes see whole ones or none. No pickle.

DIFFENG_CACHE in the environment names the folder, "off" switches it off; default: diffeng/kernels in the user's cache folder ($XDG_CACHE_HOME or ~/.cache).
"""
import functools
import hashlib
import json
import os
import platform
import stat
import sys

_FORMAT = 4
_TELLS = {"vendor_id", "cpu family", "model", "model name", "stepping", "flags",                   # lines of /proc/cpuinfo, of x86-64 and of ARM
          "Features", "CPU implementer", "CPU architecture", "CPU variant", "CPU part", "CPU revision"}


@functools.lru_cache(maxsize=None)
def _circumstances():
    """What machine code depends on besides the kernel's key."""
    import llvmlite
    own = hashlib.sha256()
    for path in sorted([os.path.join(folder, name) for folder, _, names in os.walk(os.path.dirname(__file__)) for name in names if name.endswith(".py")]):
        with open(path, "rb", buffering=0) as file:
            own.update(file.read())
    return {"format": _FORMAT, "compiler": own.hexdigest(), "llvmlite": llvmlite.__version__, "python": platform.python_version(),
            "system": f"{sys.platform} {platform.machine()}", "processor": hashlib.sha256(processor().encode()).hexdigest()}


@functools.lru_cache(maxsize=None)
def processor():
    """What tells a processor from others: what Linux says of the first one, elsewhere what LLVM does."""
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as file:
            lines = file.read().split("\n\n")[0].splitlines()
    except OSError:
        import llvmlite.binding as llvm
        return f"{llvm.get_host_cpu_name()} {llvm.get_host_cpu_features().flatten()}"
    return "\n".join([x for x in lines if x.split(":")[0].strip() in _TELLS])


@functools.lru_cache(maxsize=None)
def _folder(asked, room=""):
    """The folder, or a room of it, made if need be; None when there is none to be trusted."""
    if asked.lower() in ("off", "0", "none"):
        return None
    base = asked or os.path.join(os.environ.get("XDG_CACHE_HOME") or os.path.join(os.path.expanduser("~"), ".cache"), "diffeng", "kernels")
    base = os.path.join(base, room) if room and _folder(asked) is not None else base
    try:
        os.makedirs(base, mode=0o700, exist_ok=True)
        found = os.stat(base)
    except OSError:
        return None
    if hasattr(os, "getuid") and (found.st_uid != os.getuid() or found.st_mode & (stat.S_IWGRP | stat.S_IWOTH)):
        return None                           # machine code that somebody else could have put there
    return base


def _place(key, room):
    folder = _folder(os.environ.get("DIFFENG_CACHE", ""), room)
    if folder is None:
        return None, None
    whole = dict(_circumstances(), kernel=hashlib.sha256(key.encode()).hexdigest())
    name = hashlib.sha256(json.dumps(whole, sort_keys=True).encode()).hexdigest()
    return os.path.join(folder, name[:40]), whole


def _digest(symbols, needs, code):
    return hashlib.sha256(json.dumps([symbols, needs]).encode() + b"\n" + code).hexdigest()


def find(key, room=""):
    """What `keep` was given for this kernel, or None."""
    path, whole = _place(key, room)
    if path is None:
        return None
    try:
        with open(path, "rb") as file:
            header, code = json.loads(file.readline()), file.read()
        symbols, needs = header["symbols"], header["needs"]
        if header["key"] == whole and header["sha256"] == _digest(symbols, needs, code):
            return {"code": code, "symbols": symbols, "needs": needs}
    except (OSError, ValueError, KeyError, TypeError):
        pass                                   # absent or damaged: the same to us
    return None


_known = {}                                # folder -> bytes of its files, as far as this process knows: what it found there, and what it wrote


def bound(room, most, added):
    """Where the files of a room have more bytes together than that, the oldest go. added: bytes that were written now. To look at thousands of files takes as
    long as to compile a kernel, so a process looks when it writes for the first time, and when the room must be full."""
    folder = _folder(os.environ.get("DIFFENG_CACHE", ""), room)
    if folder is None:
        return
    if folder in _known and _known[folder] + added <= most:
        _known[folder] += added
        return
    try:
        with os.scandir(folder) as entries:
            files = sorted([(e.stat().st_mtime_ns, e.stat().st_size, e.path) for e in entries])
        held = sum([size for _, size, _ in files])
        for _, size, path in files:
            if held <= most:
                break
            os.unlink(path)
            held -= size
        _known[folder] = held
    except OSError:
        pass                                   # somebody else was faster, or may not be asked


def keep(key, compiled, room=""):
    """Write a kernel ("code", "symbols", "needs": see compile.compile_module), whole or not at all. A cache that cannot be written is no error."""
    path, whole = _place(key, room)
    if path is None:
        return
    import tempfile                           # for who writes: it takes longer to load than a kernel
    symbols, needs, code = compiled["symbols"], compiled["needs"], compiled["code"]
    header = json.dumps({"key": whole, "sha256": _digest(symbols, needs, code), "symbols": symbols, "needs": needs}).encode()
    try:
        handle, temporary = tempfile.mkstemp(dir=os.path.dirname(path), prefix=".new-")
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(header + b"\n" + code)
            os.replace(temporary, path)
        except OSError:
            os.unlink(temporary)
    except OSError:
        pass
