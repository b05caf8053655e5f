"""diffeng.cuda: is there a GPU for tensors? Under the names where PyTorch's users look for it; devices.py knows."""
from .devices import present

__all__ = ["is_available", "device_count", "current_device", "empty_cache", "synchronize", "manual_seed", "manual_seed_all"]


def is_available():
    """Is there a GPU (or the simulator, where it was asked to stand in)? Takes half a second the first time where there is one, else nothing.

    >>> import diffeng as de
    >>> device = "cuda" if de.cuda.is_available() else "cpu"
    """
    return "cuda" in present()


def device_count():
    """How many devices "cuda" may mean: the one GPU that is current in this process, or none."""
    return int(is_available())


def current_device():
    """0: the number of the one GPU there is. Raises RuntimeError where there is none."""
    synchronize()
    return 0


def empty_cache():
    """Nothing: memory that is let go is given back where somebody needs it."""


def manual_seed(seed):
    """Begin the random numbers anew: they are the same on every device, so this is de.manual_seed."""
    from .tensors import manual_seed
    manual_seed(seed)


manual_seed_all = manual_seed


def synchronize():
    """Wait until the GPU has done what it was given: before a clock is read, say. Raises RuntimeError where there is none."""
    from .kernels.cuda.device import device
    device().synchronize()
