"""Object code put into memory: what LLVM's linker does, for the one kind of object that its compiler makes of a kernel.

What it is: `load(code, address_of)`. The sections of an ELF object for x86-64 are laid out one after the other, addresses are filled in, the pages made
executable (and no longer writable).

What it is not: no general linker. Whatever is not as expected (another processor, another kind of relocation, a system that forbids it) is left to LLVM: `load`
returns None. Why a file: a process that finds its kernels on disk need not load LLVM then, which takes 50 MB and 40 ms.
"""
import ctypes
import mmap
import struct

_RELOCATABLE, _X86_64 = 1, 62
_SYMBOLS, _RELOCATIONS, _UNWINDING, _NOTHING = 2, 4, 0x70000001, 8          # types of sections
_IN_MEMORY = 2                               # a section's flag
_ADDRESS = 1                                 # R_X86_64_64: a symbol's address and a constant, 8 bytes
_kept = []                                   # pages of code: they stay as long as the process


def load(code, address_of):
    """{name of a function: its address}, or None for what only LLVM can load.

    code: bytes of an object file. address_of(name): the address of what lies outside, or None.
    """
    try:
        return _load(code, address_of)
    except (struct.error, IndexError, OSError, ValueError, AttributeError, UnicodeDecodeError):
        return None


def _load(code, address_of):
    kind, machine = struct.unpack_from("<HH", code, 16)
    if code[:6] != b"\x7fELF\x02\x01" or (kind, machine) != (_RELOCATABLE, _X86_64):
        return None
    table, = struct.unpack_from("<Q", code, 40)
    size, count = struct.unpack_from("<HH", code, 58)
    sections = [struct.unpack_from("<IIQQQQIIQQ", code, table + k * size) for k in range(count)]
    places, end = {}, 0
    for k, (_, kind, flags, _, _, length, _, _, align, _) in enumerate(sections):
        if flags & _IN_MEMORY and kind not in (_UNWINDING, _NOTHING) and length:
            end = -(-end // max(align, 1)) * max(align, 1)
            places[k], end = end, end + length
        elif flags & _IN_MEMORY and length and kind == _NOTHING:
            return None
    pages = mmap.mmap(-1, max(end, 1), prot=mmap.PROT_READ | mmap.PROT_WRITE)
    base = ctypes.addressof(ctypes.c_char.from_buffer(pages))
    for k, place in places.items():
        pages[place:place + sections[k][5]] = code[sections[k][4]:sections[k][4] + sections[k][5]]
    symbols, = [s for s in sections if s[1] == _SYMBOLS]
    names = sections[symbols[6]][4]

    def symbol(j):
        """(name, address or None) of a symbol."""
        name, _, _, section, value, _ = struct.unpack_from("<IBBHQQ", code, symbols[4] + 24 * j)
        name = code[names + name:code.index(b"\0", names + name)].decode()
        return name, address_of(name) if section == 0 else base + places[section] + value if section in places else None
    for _, kind, _, _, start, length, _, target, _, _ in sections:
        if kind != _RELOCATIONS or target not in places:
            continue
        for at in range(start, start + length, 24):
            offset, what, constant = struct.unpack_from("<QQq", code, at)
            address = symbol(what >> 32)[1]
            if what & 0xFFFFFFFF != _ADDRESS or address is None:
                return None
            struct.pack_into("<Q", pages, places[target] + offset, address + constant)
    protect = ctypes.CDLL(None).mprotect
    protect.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]
    if protect(base, -(-max(end, 1) // mmap.PAGESIZE) * mmap.PAGESIZE, mmap.PROT_READ | mmap.PROT_EXEC):
        return None
    _kept.append(pages)
    return dict(symbol(j) for j in range(1, symbols[5] // 24))
