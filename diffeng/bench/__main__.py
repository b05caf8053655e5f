"""python -m diffeng.bench: the same as `diffeng bench`."""
import sys

from .command import bench

sys.exit(bench(prog_name="diffeng bench", standalone_mode=False))
