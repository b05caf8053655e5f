"""Methods that write into their tensor: add_, sin_, ..., each the operation without the underscore, and then a write; unsqueeze_, squeeze_, t_, transpose_, which give
the tensor another shape.

What it is not: how a write reaches what shares the memory (aliases.py, writes.py).
"""
import weakref

from ..errors import refuse
from . import core
from .aliases import above, hand_over

# the names that PyTorch has as methods; those of ALONE are functions of its namespace, too: de.sin_(x)
ALONE = ("abs acos acosh arccos arccosh arcsin arcsinh arctan arctanh asin asinh atan atanh ceil clamp clamp_max clamp_min clip cos cosh deg2rad erf erfc exp exp2 expm1 fix floor frac "
         "gcd i0 index_put lcm ldexp log log10 log1p log2 logit nan_to_num neg negative rad2deg reciprocal round rsqrt sigmoid sin sinc sinh sqrt square tan tanh trunc xlogy relu").split()
NAMES = ALONE + ("absolute add addbmm addcdiv addcmul addmm addmv addr arctan2 atan2 baddbmm bitwise_and bitwise_not bitwise_or bitwise_xor copysign cumprod cumsum digamma div divide eq "
                 "erfinv float_power floor_divide fmod ge greater greater_equal gt heaviside hypot igamma igammac index_add index_copy index_fill le lerp less less_equal lgamma logical_and "
                 "logical_not logical_or logical_xor lt masked_fill masked_scatter mul multiply mvlgamma ne not_equal polygamma pow remainder renorm scatter scatter_add "
                 "scatter_reduce sgn sign sub subtract tril triu true_divide").split()
SHAPES = "unsqueeze squeeze t transpose swapaxes swapdims".split()


def method(name):
    """x.name_(...): x takes the values of x.name(...)."""
    def in_place(self, *args, **kwargs):
        return self._write(name + "_", getattr(self, name)(*args, **kwargs))
    in_place.__name__ = in_place.__qualname__ = name + "_"
    return in_place


def shaped(name):
    """x.name_(...): x becomes the view that x.name(...) is, of the same memory."""
    def in_place(self, *args, **kwargs):
        core.off_the_tape()
        self.held()
        if self.requires:
            raise refuse(RuntimeError, f"{name}_{{here}}: the shape of a tensor that has a history, or requires a gradient, does not change in place: write x = x.{name}(...)")
        old = core.constant(self._array, self._frames)                     # holds the memory from now on; who shared it with x shares it with this one
        old.__dict__.update(self.__dict__)
        up = above(self)
        if up is not None:
            up._views = [(weakref.ref(old) if r() is self else r, again) for r, again in up._views]
        hand_over(self, old)
        new = getattr(old, name)(*args, **kwargs)
        new.held()
        old._views = [(weakref.ref(self) if r() is new else r, again) for r, again in old._views]
        self.__dict__.clear()
        self.__dict__.update(new.__dict__)
        return self
    in_place.__name__ = in_place.__qualname__ = name + "_"
    return in_place


def function(name):
    """name_(x, ...): the method, as a function."""
    def in_place(input, *args, **kwargs):
        return getattr(input, name)(*args, **kwargs)
    in_place.__name__, in_place.__doc__ = name, f"x.{name}(...) as a function."
    return in_place


def install(tensor):
    """The methods on the class, and {name: function} of PyTorch's namespace."""
    for make, names in ((method, NAMES), (shaped, SHAPES)):
        for name in names:
            setattr(tensor, name + "_", make(name))
    return {name + "_": function(name + "_") for name in [*ALONE, "zero", "fill", "detach"]}


