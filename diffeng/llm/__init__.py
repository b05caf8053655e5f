"""GPT-2 in plain NumPy: the first witness of the engine, and user code like any other (it imports nothing of the engine)."""
from .block import Block
from .config import GPT2Config
from .model import GPT2, gpt2, init_parameters, loss

__all__ = ["Block", "GPT2", "GPT2Config", "gpt2", "init_parameters", "loss"]
