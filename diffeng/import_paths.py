"""Where PyTorch's users look for names: diffeng.nn.modules.conv, diffeng.utils.data.sampler, diffeng.optim.adam, ...: modules that have what a package of ours has.

What it is not: no code lives there, so that a file of ours stands where it belongs.
"""
import sys
import types


class _Path(types.ModuleType):
    """A module whose names are those of another one."""

    def __init__(self, name, home):
        super().__init__(name, f"The names of {home.__name__}, where PyTorch has them.")
        vars(self).update(_home=home, __path__=[])

    def __getattr__(self, name):
        return getattr(self._home, name)

    def __dir__(self):
        return dir(self._home)


def provide(package, names, home=None):
    """`import package.name` for each of the names, of which there is no file: modules with the names of home, by default the package's own."""
    parent = sys.modules[package]
    for name in names.split():
        made = sys.modules[f"{package}.{name}"] = _Path(f"{package}.{name}", parent if home is None else sys.modules[home])
        if name not in vars(parent):
            setattr(parent, name, made)
