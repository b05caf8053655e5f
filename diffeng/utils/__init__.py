"""PyTorch's torch.utils, of which there is `data`: datasets and batches of them."""
from . import data          # noqa: F401
