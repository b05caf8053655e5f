"""numba beside functions that are derived: what it compiles while they run is what its user wrote.

What it is: `prepare`. numba compiles a function when it is first called, and asks what the names in its code stand for; where that is while a function runs to be
recorded, NumPy's functions are replaced (buffers.py), of which numba knows nothing: it is told NumPy's own. It also learns what those are when it first compiles
anything, for the whole process: for that they are put back.
What it is not: a derivative of numba's functions, whose arguments are plain arrays, nor a reason to load numba.
"""
import functools
import sys

from . import by_name

_learned = []


def prepare(put_aside):
    """put_aside(): a context in which NumPy's modules hold their own functions."""
    contexts, dispatchers = sys.modules.get("numba.core.typing.context"), sys.modules.get("numba.core.dispatcher")
    if contexts is None or dispatchers is None or hasattr(contexts.BaseContext.resolve_value_type, "__wrapped__"):
        return
    _around(contexts.BaseContext, "resolve_value_type", lambda whole, self, value: whole(self, by_name.own(value)))

    def compiled(whole, *args, **options):
        if not _learned:
            _learned.append(True)
            with put_aside():
                target = sys.modules["numba.core.registry"].cpu_target          # (loaded by whoever has something to compile)
                target.typing_context.refresh()
                target.target_context.refresh()
        return whole(*args, **options)
    _around(dispatchers._DispatcherBase, "_compile_for_args", compiled)


def _around(place, name, call):
    whole = getattr(place, name)
    setattr(place, name, functools.wraps(whole)(lambda *args, **options: call(whole, *args, **options)))
