"""How a function enters the table that `Traced.__array_function__` looks into."""
from ..numpy_api import FUNCTIONS


def implements(*functions):
    """Decorator: the function below is what these NumPy functions mean on traced values."""
    def register(handler):
        for f in functions:
            FUNCTIONS[f] = handler
        return handler
    return register
