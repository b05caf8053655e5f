"""From a group of operations to a launch: which skeleton, how many threads in which blocks, and the words.

What it is: `Launch`, what an Instruction is on a GPU, and `instructions(group, grid)`; the structure and most words are those of groups.py. A slot, the rows
that one partial result stands for, is a block's or a team's.

What it is not: no code (skeletons.py); the sizes here are rules of thumb, measured in benchmarks/gpu.py.
"""
from .. import groups
from ..fuse import Indirect, Reduce
from ..scalar import fingerprint, type_name
from . import skeletons

SLOTS = 16                                   # blocks (or teams of many lanes) for each multiprocessor, where partial results want them few
SUMMED_ROWS = 512                            # rows of one plain float32 sum over rows at most: the next level is float64
ENTRIES = 8                                  # entries of a thread, where there are many


class Grid:
    """What plans depend on of a device: lanes of a warp, multiprocessors, threads of a usual block and of a large one."""

    def __init__(self, warp, multiprocessors, usual, large):
        self.warp, self.multiprocessors, self.usual, self.large = warp, multiprocessors, usual, large


class Launch:
    """As groups.Instruction, on a grid: blocks of threads run build(code)'s kernel, which is handed `rows`. lanes: of a team within a warp, None where there
    are no such teams. any_threads: would smaller blocks do? (A kernel may need more registers than so many threads have.)"""

    __slots__ = ("key", "build", "words", "rows", "blocks", "threads", "name", "lanes", "any_threads")
    parts = ()

    def __init__(self, key, build, words, rows, blocks, threads, name, lanes=None, any_threads=False):
        self.key, self.build, self.words, self.rows, self.blocks, self.threads, self.name = key, build, words, rows, blocks, threads, name
        self.lanes, self.any_threads = lanes, any_threads

    def with_words(self, words):
        return Launch(self.key, self.build, words, self.rows, self.blocks, self.threads, self.name, self.lanes, self.any_threads)


def instructions(group, grid):
    """The launches of a group: its kernel, and those that put partial results together."""
    return _Plan(group, grid).instructions()


def power_of_two(n, most):
    """The smallest power of two that is not less than n, at most `most` (one itself)."""
    return min(most, 1 << max(0, n - 1).bit_length())


class _Plan(groups.Plan):
    def __init__(self, group, grid):
        super().__init__(group)
        self.grid = grid
        ops = group.operations
        reductions = {o.kind for o in ops if isinstance(o, Reduce)}
        if any(isinstance(o.out, Indirect) and o.out.arrays for o in ops):
            self.kind = "scatter"
        elif any(o.level == "row" for o in ops) or "row" in reductions or len(reductions) > 1:
            self.kind = "rows"
        else:
            self.kind = "columns" if reductions == {"columns"} else "entries"

    def _strip(self, scratch):
        return None

    def _shares(self, cost):
        grid = self.grid
        if self.kind in ("entries", "scatter"):
            n = self.columns if self.flat else self.rows * self.columns if self.kind == "entries" else self.rows
            chunk = grid.usual * ENTRIES
            while chunk > grid.usual and -(-n // chunk) < 4 * grid.multiprocessors:
                chunk //= 2
            if any(isinstance(o, Reduce) for o in self.group.operations):            # few partial results
                chunk = max(chunk, -(-n // (SLOTS * grid.multiprocessors)))
            return n, chunk
        summed = any(isinstance(o, Reduce) and o.kind != "row" for o in self.group.operations)
        if self.kind == "columns":
            self.width = power_of_two(self.columns, grid.warp)
            tiles = -(-self.columns // self.width)
            chunk = max(self.rows * tiles // (SLOTS * grid.multiprocessors), 4 * grid.usual // self.width)
            return self.rows, max(1, min(self.rows, chunk, SUMMED_ROWS * grid.usual // self.width))
        self._team()
        scratch = bool(self.needed_later)
        if not summed and not scratch:
            return self.rows, 1
        teams = SLOTS * grid.multiprocessors * (grid.usual // self.lanes if self.lanes else 1)
        return self.rows, max(1, min(self.rows, -(-self.rows // teams), SUMMED_ROWS))

    def _team(self):
        """lanes: of a team within a warp, or None: a block of `threads`."""
        grid = self.grid
        if self.columns <= 8 * grid.warp:
            self.lanes, self.threads = power_of_two(self.columns, grid.warp), grid.usual // 2
        else:
            self.lanes = None
            self.threads = power_of_two(-(-self.columns // ENTRIES), grid.large)

    def _instruction(self, structure, rules, rows, chunk, cost):
        threads, extra, lanes, any_threads = self.grid.usual, (), None, False
        slots = -(-rows // chunk)
        if self.kind == "entries":
            blocks, any_threads = slots, True
        elif self.kind == "columns":
            tiles = -(-self.columns // self.width)
            extra, blocks = (self.word(self.width), self.word(tiles)), slots * tiles
        elif self.kind == "rows":
            threads, lanes, any_threads = self.threads, self.lanes, self.lanes is None
            extra = () if lanes is None else (self.word(lanes),)
            blocks = slots if lanes is None else -(-slots // (threads // lanes))
        else:
            extra, blocks = self._owners(structure)
        key = repr(("grid", self.kind, extra, structure, tuple(map(fingerprint, rules))))
        name = "_".join([self.kind, *dict.fromkeys(o.name if isinstance(o, Reduce) else o.rule.__name__.strip("_<>") for o in self.group.operations)])[:60]
        kind = self.kind
        return Launch(key, lambda code: skeletons.write(structure, rules, kind, extra, code), self.words, rows, blocks, threads, name, lanes, any_threads)

    def _owners(self, structure):
        """How a scatter is shared: each team owns some places of the first axis that is indexed."""
        store, grid = structure[-1][0][7], self.grid
        length = self.words[store[2][0][1]]
        lanes = power_of_two(self.columns, grid.usual) if skeletons.along_rows(store, structure[4], self.flat) else 1
        teams = min(length, SLOTS * grid.multiprocessors * (grid.usual // lanes))
        owned = -(-length // teams)
        return (self.word(lanes), self.word(owned)), -(-(-(-length // owned)) // (grid.usual // lanes))

    def _combine(self, name, type, partial, slots, stride, count, out):
        """As in groups.py; a block has some columns and many rows of the partial results."""
        width, threads = power_of_two(count, self.grid.warp), self.grid.usual
        words = [(partial, 0), slots, stride, (out.buffer, out.offset), count, width]
        result = type_name(out.dtype)
        return Launch(repr(("grid combine", name, type, result)), lambda code: skeletons.write_combine(name, type, result, code), words, count,
                      -(-count // width), threads, f"combine_{name}")
