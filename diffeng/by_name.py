"""NumPy's functions that the user's modules have imported by name (from numpy import zeros): replaced there, too, while a function runs (buffers.py).

What it is: which modules hold which of them, `places()`, and their replacement for as long as anybody needs it, `put` and `put_back`.
What it is not: other ways to keep a function (in a list, as a default, as an attribute): such a one stays NumPy's own.
"""
import sys

from .lines import is_user_file
from .reach import is_own_module

_pairs = {}              # id of one of NumPy's own or of ours, which stands in for it -> (NumPy's own, ours)
_homes = []              # ids of the dicts of NumPy's own modules
_needed = {}             # (id of a module's dict, name) -> how many runs need it there
_known = {}              # name of a module -> (the module, how many names it had, is it of the user's own program?, its places)
_last = [0, (), ()]      # how many modules there were; those of the user's own program; the places of all


def register(space, own, ours):
    """A module's dict, and its functions: {name: NumPy's own}, {name: ours}."""
    _homes.append(id(space))
    for name in ours:
        _pairs[id(own[name])] = _pairs[id(ours[name])] = own[name], ours[name]


def own(value):
    """NumPy's own function, of it or of what stands in for it; anything else as it is."""
    pair = _pairs.get(id(value))
    return value if pair is None else pair[0]


def is_replaced(value):
    """Is it one of NumPy's own that is replaced while functions run, or what stands in for it?"""
    return id(value) in _pairs


def put(places):
    """places: (a module's dict, name), ... A name that means something else by now is left alone."""
    for space, name in places:
        key = id(space), name
        _needed[key] = _needed.get(key, 0) + 1
        _set(space, name, 1)


def put_back(places):
    for space, name in places:
        key = id(space), name
        _needed[key] -= 1
        if not _needed[key]:
            del _needed[key]
            _set(space, name, 0)


def _set(space, name, which):
    value = space.get(name)
    pair = _pairs.get(id(value))
    if pair is not None and value is not pair[which]:
        space[name] = pair[which]


def places():
    """Those of all modules of user code. Each is looked at once; one of the user's own program, which may still be running, again when it has more names."""
    count, own_modules, found = _last
    if count == len(sys.modules) and all([sys.modules.get(name) is module and len(vars(module)) == names for name, module, names in own_modules]):
        return found
    modules = {name: module for name, module in list(sys.modules.items()) if type(getattr(module, "__dict__", None)) is dict}
    for name in _known.keys() - modules.keys():
        del _known[name]
    for name, module in modules.items():
        space, known = vars(module), _known.get(name)
        if known is None or known[0] is not module or known[2] and known[1] != len(space):
            file = space.get("__file__")
            own = is_own_module(module)
            users = id(space) not in _homes and (own or type(file) is str and is_user_file(file))
            held = [(space, n) for n, value in list(space.items()) if id(value) in _pairs] if users else []
            _known[name] = module, len(space), own, held
    _last[:] = (len(sys.modules), tuple([(name, module, names) for name, (module, names, own, _) in _known.items() if own]),
                tuple([place for _, _, _, held in _known.values() for place in held]))
    return _last[2]
