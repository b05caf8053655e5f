"""Whether a graph is recorded: a switch of each thread, and the words that turn it, no_grad() first among them."""
import contextlib
import threading


class _Mode(threading.local):
    """Is a graph recorded? A switch of each thread."""
    enabled = True


mode = _Mode()


class no_grad(contextlib.ContextDecorator):
    """Inside, or in a function decorated with it, no graph is recorded: results require no gradient.

    >>> import diffeng as de
    >>> w = de.tensor([1.0], requires_grad=True)
    >>> with de.no_grad():
    ...     w -= 0.1
    >>> w
    tensor([0.9000], requires_grad=True)
    """

    setting = False

    def __new__(cls, function=None):
        self = super().__new__(cls)
        if function is not None:
            self.__init__()
            return self(function)
        return self

    def __init__(self, function=None):
        self._before = []

    def _recreate_cm(self):
        return type(self)()

    def __enter__(self):
        self._before.append(mode.enabled)
        mode.enabled = self.setting

    def __exit__(self, *_):
        mode.enabled = self._before.pop()


class enable_grad(no_grad):
    """Inside, the graph is recorded again: the opposite of no_grad."""

    setting = True


class set_grad_enabled(no_grad):
    """Switch recording on or off, as a function or for a with block."""

    def __new__(cls, setting):
        return object.__new__(cls)

    def __init__(self, setting):
        self._before, self.setting = [mode.enabled], bool(setting)
        mode.enabled = self.setting

    def __enter__(self):
        mode.enabled = self.setting


def is_grad_enabled():
    """Is the graph recorded here?"""
    return mode.enabled
