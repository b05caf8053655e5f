"""torch.utils.checkpoint, for code that asks for it.

What it is not: no memory is saved, as the steps of a training are programs whose memory is planned; de.checkpoint saves some in functions of arrays.
"""


def checkpoint(function, *args, use_reentrant=None, preserve_rng_state=True, **kwargs):
    """function(*args, **kwargs): the values and gradients that it has without. use_reentrant, preserve_rng_state have no effect.

    >>> import diffeng as de
    >>> checkpoint(lambda x: x * 2, de.ones(2), use_reentrant=False)
    tensor([2., 2.])
    """
    return function(*args, **kwargs)


def checkpoint_sequential(functions, segments, input, use_reentrant=None):
    """The functions, modules say, one after the other."""
    for function in functions:
        input = function(input)
    return input
