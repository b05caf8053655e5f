"""From a group of operations to a launch: which skeleton, how many threads in which blocks, and the words.

What it is: `Launch`, what an Instruction is on a GPU, and `instructions(group, grid)`; the structure and most words are those of groups.py. A slot, the rows
that one partial result stands for, is a block's or a team's.

What it is not: no code (skeletons.py); the sizes here are rules of thumb, measured in benchmarks/gpu.py.
"""
import functools
import math

from .. import groups
from ..code import SIZES
from ..fuse import Immediate, Indirect, Reduce, Window
from ..memory import LINE
from ..scalar import fingerprint, type_name
from . import held, skeletons
from .code import QUAD, SLOT

SLOTS = 4                                    # blocks for each multiprocessor where partial results want them few
SHARED = 48 << 10                            # bytes that a block may share without asking
LONG = 1024                                  # columns up to which a warp takes a row
VERY_LONG = 1 << 14                          # columns from which on a large block does: few rows are in work then, and what is read again is in the cache still
HELD, HELD_WITH_SUMS = 72, 195               # numbers of 4 bytes that a lane keeps in registers at most; where it sums over rows, too, and has more registers
HELD_BYTES = 128                             # bytes of one number for each entry of a lane at most
HELD_ROWS = 4                                # rows that a team takes at least where it sums over them
HELD_RESIDENT, HELD_SUMMED = 640, 256        # threads that a multiprocessor shall have at once then: 102 registers a thread; 255
WARPS = 4                                    # warps of a block of which several take a row: at least, and a multiple
SCATTERING = 4                               # blocks for each multiprocessor that write to where integers say
SUMMED_ROWS = 512                            # rows of one plain float32 sum over rows at most: the next level is float64
ENTRIES = 8                                  # entries of a thread, where there are many
RESIDENT = 640                               # threads that a multiprocessor shall have at once: a kernel gets 65536 / 640 = 102 registers a thread


class Grid:
    """What plans depend on of a device: lanes of a warp, multiprocessors, threads of a usual block and of a large one, bytes of a private buffer of a tile,
    bytes that a block may share where it asks for them."""

    def __init__(self, warp, multiprocessors, usual, large, tile, most_shared):
        self.warp, self.multiprocessors, self.usual, self.large, self.tile, self.most_shared = warp, multiprocessors, usual, large, tile, most_shared


class Launch:
    """As groups.Instruction, on a grid: blocks of threads run build(code)'s kernel, which is handed `rows`. lanes: of a team; shared: bytes of memory that a
    block shares, beside a slot for each thread; warp: how many lanes exchange values, if not as many as the device likes; resident: threads that a
    multiprocessor shall have at once, which says how many registers each may have."""

    __slots__ = ("key", "build", "words", "rows", "blocks", "threads", "name", "lanes", "shared", "warp", "resident")
    parts = ()                               # an Instruction may have some (groups.py)

    def __init__(self, key, build, words, rows, blocks, threads, name, lanes, shared=0, warp=None, resident=RESIDENT):
        self.key, self.build, self.words, self.rows, self.blocks, self.threads, self.name = key, build, words, rows, blocks, threads, name
        self.lanes, self.shared, self.warp, self.resident = lanes, shared, warp, resident

    def with_words(self, words, rows=None):
        """The same kernel on other operands, or fewer rows."""
        return Launch(self.key, self.build, words, self.rows if rows is None else rows, self.blocks, self.threads, self.name, self.lanes, self.shared, self.warp,
                      self.resident)


def instructions(group, grid):
    """The launches of a group: its kernel, and those that put partial results together."""
    return _Plan(group, grid).instructions()


def tile_of_rows(group, grid, rows):
    """(the launch of a group for so many of its rows, the words that say which: the first, and how many of every so many)."""
    plan = _Plan(group, grid, rows)
    launch, = plan.instructions()
    return launch, plan.which


def called(kind, group):
    """A launch's name: what computes, and what is computed."""
    return "_".join([kind, *dict.fromkeys(o.name if isinstance(o, Reduce) else o.rule.__name__.strip("_<>") for o in group.operations)])[:60]


def _aligned(view, strides):
    """May QUAD neighbours be read at once, so many bytes further too?"""
    step = min(16, QUAD * view.dtype.itemsize)
    return all([s % step == 0 for s in (view.offset, *strides)])


def power_of_two(n, most):
    """The smallest power of two that is not less than n, at most `most` (one itself)."""
    return min(most, 1 << max(0, n - 1).bit_length())


class _Plan(groups.Plan):
    def __init__(self, group, grid, tile=None):
        super().__init__(group)
        self.grid, self.tile, self.which = grid, tile, ()
        ops = group.operations
        self.reductions = reductions = {o.kind for o in ops if isinstance(o, Reduce)}
        if any(isinstance(o.out, Indirect) and o.out.arrays for o in ops):
            self.kind = "scatter"
        elif tile or any(o.level == "row" for o in ops) or "row" in reductions or len(reductions) > 1:
            self.kind = "held" if self._fits() else "rows"
        elif reductions == {"columns"}:
            self.kind = "columns"
        else:                                                 # which row an entry is in is asked for every four, or better once a row
            self.kind = "rows" if not self.flat and not reductions and self.columns > LONG and self.columns % QUAD else "entries"

    def _fits(self):
        """Do the entries of a row fit into the registers of a block?"""
        ops = self.group.operations
        if self.flat or any([isinstance(x, (Indirect, Window)) for o in ops for x in (*o.operands, o.out)]):
            return False
        size = max([SIZES[type_name(o.out.dtype)] for o in ops if not isinstance(o, Reduce) and o.level == "full"], default=1)
        self.together, grid = self._together() * -(-size // 4), self.grid
        room, resident = (HELD_WITH_SUMS, HELD_SUMMED) if "columns" in self.reductions else (HELD, HELD_RESIDENT)
        for lanes in (power_of_two(self.columns, grid.warp), *range(WARPS * grid.warp, grid.large + 1, WARPS * grid.warp)):          # as few as possible
            entries = -(-self.columns // (lanes * QUAD)) * QUAD
            if entries * size <= HELD_BYTES and entries * self.together * max(resident, lanes) <= room * resident:
                self.lanes = lanes
                return True
        return False

    def _together(self):
        """For each entry of a row, how many numbers are held at once: what a later phase needs, what a phase reads, and sums over rows."""
        ops, lives = self.group.operations, {}
        for k, o in enumerate(ops):
            for x, found in zip(o.operands, self.reads[k]) if o.level == "full" else ():
                made = None if isinstance(x, Immediate) else self._inner(x)
                if made is None and (not isinstance(found, int) or not self._inner_strides[found]) or made is not None and ops[made].level == "row":
                    continue
                if made is not None and isinstance(ops[made], Reduce):
                    continue
                key, born = ("read", found) if made is None else ("made", made), self.phase[k if made is None else made]
                first, last = lives.get(key, (born, born))
                lives[key] = min(first, born), max(last, self.phase[k])
        most = max([sum([first <= p <= last and (kind == "read" or first < last) for (kind, _), (first, last) in lives.items()]) for p in range(self.last + 1)])
        return max(1, most + sum([isinstance(o, Reduce) and o.kind == "columns" for o in ops]))

    def _runs_across(self):
        return False

    def _strip(self, scratch):
        return None

    def _shares(self, cost):
        grid = self.grid
        if self.kind == "entries" and self._turned():
            squares = [-(-n // (QUAD * many)) * many for n, many in ((self.rows, skeletons.TALL), (self.columns, skeletons.WIDE))]
            return math.prod(squares), grid.usual
        if self.kind in ("entries", "scatter"):
            n = self.columns if self.flat else self.rows * self.columns if self.kind == "entries" else self.rows
            chunk = grid.usual * ENTRIES
            while chunk > grid.usual and -(-n // chunk) < 4 * grid.multiprocessors:
                chunk //= 2
            if any(isinstance(o, Reduce) for o in self.group.operations):            # few partial results
                chunk = max(chunk, -(-n // (4 * SLOTS * grid.multiprocessors)))
            return n, -(-chunk // QUAD) * QUAD
        if self.kind == "columns":
            self.lanes = power_of_two(self.columns, grid.warp)
            tiles = -(-self.columns // self.lanes)
            chunk = max(self.rows * tiles // (4 * SLOTS * grid.multiprocessors), 4 * grid.usual // self.lanes)
            return self.rows, max(1, min(self.rows, chunk, SUMMED_ROWS * grid.usual // self.lanes))
        summed, rows = bool(self.reductions - {"row"}), self.tile or self.rows
        self._team(rows)
        if self.kind == "held":
            teams = self.threads // self.lanes
            turns = -(-rows // (grid.multiprocessors * max(1, HELD_SUMMED // self.threads) * teams))          # so that all blocks are at work at once
            return rows, teams * max(1, min(max(turns, HELD_ROWS), SUMMED_ROWS, -(-rows // teams)) if summed else 1)
        self.overlap = self._overlapping()
        if self.overlap is not None:                           # two blocks at once, or one that is twice as large
            blocks = min(2, grid.most_shared // (sum(self.overlap[1]) + SLOT * grid.large))
            self.lanes = self.threads = 2 * grid.large // max(1, blocks)
            return rows, -(-rows // (grid.multiprocessors * max(1, blocks)))
        if not summed and not self.needed_later:
            return rows, 1
        blocks = SLOTS * (1 if summed else 4) * grid.multiprocessors
        return rows, max(1, min(rows, -(-rows // (blocks * (self.threads // self.lanes))), SUMMED_ROWS))

    def _team(self, rows):
        """lanes of a team that takes a row, and threads of a block: a warp where rows are short and many, as it needs no barrier; else the block."""
        grid = self.grid
        if self.kind == "held":
            self.threads = max(self.lanes, grid.usual // 2)
            return
        many = rows >= grid.warp * grid.multiprocessors
        if self.columns <= (LONG if many else 8 * grid.warp):
            self.lanes, self.threads = power_of_two(self.columns, grid.warp), grid.usual // 2
        else:
            self.lanes = self.threads = power_of_two(-(-self.columns // ENTRIES), grid.large if self.columns >= VERY_LONG else grid.usual)

    def _overlapping(self):
        """Are rows so long that the memory of the next one shall arrive while one is computed, and lie in shared memory from then on? The views that do, and
        bytes of one row of all of them; None where a row's first phase writes something, or where there is no room."""
        ops, early = self.group.operations, [k for k, p in enumerate(self.phase) if p <= 0]
        found = any([isinstance(x, (Indirect, Window)) for o in ops for x in (*o.operands, o.out)])
        if self.columns < VERY_LONG or not self.last or self.tile or found or "columns" in self.reductions \
                or not all([self.stores[k] is None for k in early]) or not all([self.stores[k] is None and self._again(k) for k in self.needed_later]) \
                or any([isinstance(ops[k], Reduce) and ops[k].kind != "row" for k in early]):
            return None
        views = sorted({v for k in early if ops[k].level == "full" for v in self.reads[k] if v is not None and self._inner_strides[v]})
        sizes = [-(-self.columns * self._views[v][0].dtype.itemsize // LINE) * LINE for v in views]
        return (views, sizes) if sum(sizes) + SLOT * 2 * self.grid.large <= self.grid.most_shared else None

    def _again(self, k):
        """What would have to wait in global memory is computed again, if it can be made from what is read and from what is one a row."""
        if self.kind == "held":                               # it waits in a register
            return True
        waiting = sum([self.columns * SIZES[self.group.operations[j].result] for j in self.needed_later if self.stores[j] is None])
        if waiting <= SHARED // 2:
            return False
        todo = [k]
        while todo:
            o = self.group.operations[todo.pop()]
            if any([isinstance(x, (Indirect, Window)) for x in o.operands]):
                return False
            todo += [j for j, p in self._sources(o) if p.level == "full" and not isinstance(p, Reduce)]
        return True

    def _instruction(self, structure, rules, rows, chunk, cost):
        kind, threads, lanes, extra, shared = self.kind, self.grid.usual, self.grid.usual, (), 0
        slots, quads = -(-rows // chunk), self._quads(structure[4])
        if kind == "entries":
            blocks, turned = slots, self._turned()
            extra = (turned, self.word(self.rows)) if turned else ()
        elif kind == "columns":
            lanes, tiles = self.lanes, -(-self.columns // self.lanes)
            extra, blocks = (self.word(tiles),), slots * tiles
        elif kind == "rows":
            threads, lanes = self.threads, self.lanes
            blocks = -(-slots // (threads // lanes))
            extra, shared = self._shared(structure, threads, threads // lanes)
            self.which = tuple([self.word(0) for _ in range(3)]) if self.tile else ()
            places = ()
            if self.overlap is not None:
                views, sizes = self.overlap
                shared = sum(sizes)
                places = tuple([(v, self.word(SLOT * threads + sum(sizes[:k]))) for k, v in enumerate(views)])
            extra = extra, self.which, places
        elif kind == "held":
            threads, lanes, blocks = self.threads, self.lanes, slots
            if threads > lanes and "columns" in self.reductions:
                shared = threads // lanes * self.columns * max([SIZES[op[4]] for op in structure[-1] if op[0] == "reduce" and op[7] == "columns"])
            self.which = tuple([self.word(0) for _ in range(3)]) if self.tile else ()
            together = QUAD if quads else 1
            entries = together * -(-self.columns // (lanes * together))
            ahead = "columns" in self.reductions and entries * (self.together + 1) <= HELD_WITH_SUMS and lanes <= HELD_SUMMED
            extra = (entries, not self.tile and entries * lanes == self.columns, ahead), self.which
        else:
            lanes, extra, blocks, rows = self._owners(structure)
        key = repr(("grid", kind, threads, lanes, extra, quads, structure, tuple(map(fingerprint, rules))))
        def build(code):
            code = functools.partial(code, threads=threads)
            if kind == "held":
                return held.write(structure, rules, lanes, extra, quads, code)
            return skeletons.write(structure, rules, kind, lanes, extra, quads, code)
        warp = self.grid.warp if kind in ("columns", "scatter") else None
        return Launch(key, build, self.words, rows, blocks, threads, called(kind, self.group), lanes, shared, warp, self._resident())

    def _resident(self):
        if self.kind == "scatter":
            return SCATTERING * self.grid.usual
        if self.kind == "rows" and self.overlap is not None:
            return 2 * self.grid.large
        if self.kind != "held":
            return RESIDENT
        return HELD_SUMMED if "columns" in self.reductions else HELD_RESIDENT

    def _shared(self, structure, threads, teams):
        """What a team keeps for itself, in shared memory where that is large enough: (words of _Rows, bytes of a block)."""
        memory, sums = structure[7], [op for op in structure[-1] if op[0] == "reduce" and op[7] == "columns"]
        size, places = self.words[memory[1]] if memory else 0, []
        for op in sums:
            places.append(size)
            size += -(-self.columns * SIZES[op[4]] // LINE) * LINE
        if not size or size * teams > SHARED - SLOT * threads:
            return None, 0
        if memory:
            self.words[memory[0]] = 0
        return tuple([self.word(x) for x in (SLOT * threads, size, *places)]), size * teams

    def _quads(self, views):
        """The views of which a thread may read four entries at once: those that begin, in every row, where so many bytes may be read."""
        whole = self.flat or self.columns % QUAD == 0
        if self.kind not in ("entries", "rows", "held") or not whole and (self.kind != "rows" or "columns" in self.reductions):
            return ()
        found = []
        for k, ((v, *_), outer, (type, kind, *_, rows, _)) in enumerate(zip(self._views, self.outer_strides, views)):
            if kind == "u" and type != "pos" and rows != "unit" and _aligned(v, outer):
                found.append(k)
        return tuple(found)

    def _turned(self):
        """The views that are read row after row, four rows at once, where entries are computed square by square."""
        if self.flat or self.columns % QUAD or self.outer[-1] % QUAD:
            return ()
        found = []
        for k, ((v, *_), outer, inner) in enumerate(zip(self._views, self.outer_strides, self._inner_strides)):
            size = v.dtype.itemsize
            if v.buffer.kind != "none" and k not in self.stores and inner not in (0, size) and outer[-1] == size and _aligned(v, (*outer[:-1], inner)):
                found.append(k)
        return tuple(found)

    def _owners(self, structure):
        """How a scatter is shared: each team owns some places of the first axis that is indexed. Lanes, extra words, blocks, and how many rows (or entries)."""
        store, grid = structure[-1][0][7], self.grid
        length, by_row = self.words[store[2][0][1]], skeletons.along_rows(store, structure[4], self.flat)
        lanes = power_of_two(self.columns, grid.usual) if by_row else 1
        teams = min(length, SCATTERING * grid.multiprocessors * (grid.usual // lanes))          # each looks at all entries
        owned = -(-length // teams)
        blocks = -(-(-(-length // owned)) // (grid.usual // lanes))
        return lanes, (self.word(owned),), blocks, self.rows if by_row else self.columns if self.flat else self.rows * self.columns

    def _combine(self, name, type, partial, slots, stride, count, out):
        """As in groups.py; a block has some columns and many rows of the partial results."""
        width, threads = power_of_two(count, self.grid.warp), self.grid.large
        words = [(partial, 0), slots, stride, (out.buffer, out.offset), count]
        result = type_name(out.dtype)
        return Launch(repr(("grid combine", name, type, result, width, threads)),
                      lambda code: skeletons.write_combine(name, type, result, width, functools.partial(code, threads=threads)), words, count,
                      -(-count // width), threads, f"combine_{name}", width, warp=self.grid.warp)
