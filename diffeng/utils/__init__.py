"""PyTorch's torch.utils, of which there are `data`, datasets and batches of them, and `checkpoint`."""
from . import checkpoint, data          # noqa: F401
