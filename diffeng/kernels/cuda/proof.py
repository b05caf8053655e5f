"""What can be known of a program for the GPU without one: that its kernels become PTX, and that their logic is right.

What it is: `prove`, which plans a graph for a usual GPU and compiles every kernel for the processors of compile.PROCESSORS, and plans it again for the
simulator and compares the results with those of the CPU's own kernels. Cards and tests stand on it.

What it is not: a measurement, or a proof that a driver accepts the PTX.
"""
from dataclasses import dataclass

from ...measure import apart
from ..program import Program
from .compile import PROCESSORS, ptx
from .plan import Grid
from .program import CudaProgram
from .simulator import Simulator


@dataclass(frozen=True)
class Proof:
    """kernels: how many; instructions: lines of PTX of all of them, for each processor; on_host: what NumPy computes; difference: largest one of the
    simulator's results from the CPU's, as measure.apart has it."""

    kernels: int
    instructions: dict
    on_host: tuple
    difference: float


class _OnPaper(Simulator):
    """An H200 as far as plans can see; kernels are collected, and do not run."""

    grid = Grid(32, 132, 256, 512, 512 << 20, 227 << 10)

    def __init__(self):
        self.launches = {}

    def kernel(self, launch):
        self.launches[launch.key] = launch

    def launcher(self, kernel, launch, words):
        return None


def kernels(inputs, outputs, **options):
    """The launches (plan.Launch) of a graph's program for a GPU, one for each different kernel; options: those of CudaProgram."""
    paper = _OnPaper()
    program = CudaProgram(inputs, outputs, device=paper, **options)
    return list(paper.launches.values()), tuple(program.calls)


def prove(inputs, outputs, arguments, processors=PROCESSORS):
    """A Proof. inputs, outputs: nodes, as Program takes them; arguments: arrays. Raises RuntimeError where LLVM refuses a kernel."""
    launches, on_host = kernels(inputs, outputs)
    instructions = dict.fromkeys(processors, 0)
    for launch in launches:
        for p in processors:
            instructions[p] += _instructions(ptx(launch, p))
    want = Program(inputs, outputs)(*arguments)
    got = CudaProgram(inputs, outputs, device=Simulator())(*arguments)
    return Proof(len(launches), instructions, on_host, max([apart(g, w) for g, w in zip(got, want)], default=0.0))


def _instructions(text):
    return sum([line.startswith(b"\t") and not line.startswith(b"\t.") for line in text.splitlines()])

