"""GPT-2 in plain NumPy: the first witness of the engine, and user code like any other (its mathematics imports nothing of the engine).

A module is imported when the first of its names is used: the command line knows `generate` before NumPy is loaded, and so may still limit its threads.
"""
_HOME = {"block": "Block", "config": "GPT2Config", "model": "GPT2 gpt2 init_parameters loss", "step": "TrainingSettings", "train": "pretrain"}
_WHERE = {name: module for module, names in _HOME.items() for name in names.split()}
__all__ = sorted(_WHERE)


def __getattr__(name):
    import importlib
    if name in _WHERE:
        return getattr(importlib.import_module(f"{__name__}.{_WHERE[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__():
    return sorted(set(globals()) | set(__all__))
