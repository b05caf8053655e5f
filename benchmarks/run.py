"""diffeng side by side with its peers on this machine: `diffeng bench`, from a checkout.

Run: python benchmarks/run.py --help
"""
import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).parent.parent))

from diffeng.cli import main          # noqa: E402  (the checkout's, not an installed one)

if __name__ == "__main__":
    sys.exit(main(["bench", *sys.argv[1:]]))
