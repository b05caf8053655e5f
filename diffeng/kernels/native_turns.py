"""What goes through a table again and again, as LLVM IR: the calls of a program that Python makes in one go, and a loop inside of a program.

What it is: `build_turns()` and `build_loop()`, two modules, apart from native.py's: most programs never turn.

What it is not: it knows no loop (repeated.py, program.py); of a turn it knows which words change.
"""
from llvmlite import ir

from .blocks import BUSY, REENTERED, ROWS, STATUS
from .native import Writer, answer, entry, finish, odd, outside, patches, rows_of

_I64, _VOID = ir.IntType(64), ir.VoidType()


def _now(b, turn, last=None):
    """A function of the address of four words: what they say of a turn. They say what something is in the first turn, in odd ones, in even ones after it, and what is
    added with each. last: the number of the last turn, of which a fifth word says what it is then."""
    which = b.select(b.icmp_signed("==", turn, _I64(0)), _I64(0), b.select(odd(b, turn), _I64(8), _I64(16)))
    if last is None:
        return lambda words: b.add(b.word(b.add(words, which)), b.mul(turn, b.word(words, 3)))
    is_last = b.icmp_signed("==", turn, last)
    which = b.select(is_last, _I64(32), which)
    return lambda words: b.add(b.word(b.add(words, which)), b.select(is_last, _I64(0), b.mul(turn, b.word(words, 3))))


def build_turns():
    """The module of `repeat`. It calls "diffeng_walk", which is native.py's walk."""
    module = ir.Module("turns")
    outside(module)
    ir.Function(module, ir.FunctionType(_VOID, [_I64] * 3), "diffeng_walk")

    # repeat(slots, first, last, until): calls number first .. last - 1 of many; of each argument four words: where it lies in the first of all, in the odd
    # ones, in the even ones after it, and what is added with each call. until: 0, or the address of two words. A call that leaves no truth in the first byte is
    # the last one, its number is written into the second word, and what it reports is of no account.
    b, context = entry(module, "repeat")
    slots, first, last, until = (b.call(module.get_global("PyLong_AsLongLong"), [b.word(b.args[1], k)]) for k in range(4))
    with b.if_then(b.icmp_signed("!=", b.word(context, BUSY), _I64(0))):
        answer(b, _I64(REENTERED))
    b.store(_I64(1), b.at(context, BUSY))
    with b.count(first, last) as turn:
        now = _now(b, turn)
        with patches(b, context) as (put, number):
            put(now(b.add(slots, b.mul(number, _I64(32)))))
        b.call(module.get_global("diffeng_walk"), [context, _I64(0), b.word(context, ROWS)])
        with b.if_then(b.icmp_signed("!=", until, _I64(0))):
            with b.if_then(b.icmp_signed("==", b.and_(b.word(until), _I64(0xFF)), _I64(0))):
                b.store(turn, b.at(until, 1))
                finish(b, context)
                answer(b, _I64(0))
            with b.if_then(b.icmp_signed("!=", b.word(b.word(context, STATUS)), _I64(0))):
                answer(b, finish(b, context))
    answer(b, finish(b, context))
    return module


def build_loop():
    """The module of a loop's kernel (repeated.py). Words: region and pool, turns, rows of the table of a turn, words that change; the table, as of a program; of each
    word that changes: its place, what it is in the first turn, in odd ones, in even ones after it, what is added with each turn, and what it is in the last one."""
    module = ir.Module("loop")
    module.vectors = True                                              # quick passes do
    b = Writer(module, "kernel", 3, _VOID, internal=False)
    region, pool, turns, rows, changing = (b.word(b.args[0], k) for k in range(5))
    table = b.add(b.args[0], _I64(40))
    changes = b.add(table, b.mul(rows, _I64(32)))
    with b.count(_I64(0), turns) as turn:
        now = _now(b, turn, b.sub(turns, _I64(1)))
        with b.count(_I64(0), changing) as k:
            change = b.add(changes, b.mul(k, _I64(48)))
            b.store(now(b.add(change, _I64(8))), b.at(b.word(change)))
        rows_of(b, table, _I64(0), rows, lambda *row: b.apply(region, pool, *row))
    b.ret_void()
    return module
