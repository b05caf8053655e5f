"""How each library is asked for a value and its derivative: one class a library, imported when it is asked.

`prepare(problem)` -> {spelling: call}: call() computes the whole answer and waits for it. `arrays(answer)` -> NumPy arrays in the order value, gradient.
A library that is missing raises ImportError, a workload that it cannot do NotApplicable with the reason; the table prints both.
What it is not: no timing. Why a file: what each peer was asked is what its authors would question first.
"""
import importlib

import numpy as np

from . import functions
from .workloads import apply, leaves

LOOPS = ("lstm", "heat")             # as NumPy text loops of hundreds of steps, which JAX unrolls and compiles for minutes: lax.scan alone


class NotApplicable(Exception):
    """The reason why a peer has no entry for a workload."""


class Diffeng:
    """de.jit(de.value_and_grad(f))."""
    name, package = "diffeng", "diffeng"
    compiled = True

    def function(self, problem):
        return problem.bound()

    def derivative(self, problem):
        import diffeng as de
        f, asks = self.function(problem), problem.workload.asks
        if asks == "gradient":
            return de.value_and_grad(f, argnums=problem.argnums), problem.parameters + problem.data
        if asks == "jacobian":
            return de.jacobian(f), problem.parameters + problem.data

        def product(tangents, *args):
            n = len(tangents)
            return de.hvp(lambda *p: f(*p, *args[n:]), args[:n], tangents)
        return product, (problem.tangents, *problem.parameters, *problem.data)

    def prepare(self, problem):
        import diffeng as de
        fun, args = self.derivative(problem)
        fun = de.jit(fun) if self.compiled else fun
        return {"": lambda: fun(*args)}

    def primal(self, problem):
        """The function itself, without gradient, compiled."""
        import diffeng as de
        fun, args = de.jit(problem.bound()), problem.parameters + problem.data
        return lambda: fun(*args)

    def arrays(self, answer):
        return [np.asarray(a) for a in leaves(answer)]


class DiffengPlain(Diffeng):
    """de.value_and_grad(f): nothing is compiled."""
    name = "diffeng, no jit"
    compiled = False


class DiffengScan(Diffeng):
    """The same, of a text whose loop is de.scan."""
    name = "diffeng, scan"

    def function(self, problem):
        if problem.workload.name not in LOOPS:
            raise NotApplicable("only where the workload is a loop")
        from . import in_scan
        return problem.bound(getattr(in_scan, problem.workload.name))


class Jax:
    """jax.jit of jax.value_and_grad, on the NumPy text and on JAX's own where there is one; the arguments are on the device already."""
    name, package = "JAX", "jax"

    def prepare(self, problem):
        import jax
        import jax.numpy as jnp
        jax.config.update("jax_enable_x64", True)
        from . import in_jax
        workload = problem.workload
        spellings = {"NumPy text": functions.rebound(workload.function, jnp)} if workload.name not in LOOPS else {}
        own = getattr(in_jax, workload.function.__name__, None)
        if own is not None:
            spellings["JAX text"] = own
        parameters, data, tangents = (apply(jnp.asarray, t) if t is not None else None for t in (problem.parameters, problem.data, problem.tangents))
        calls = {}
        for spelling, f in spellings.items():
            f = problem.bound(f)
            if workload.asks == "gradient":
                calls[spelling] = self._call(jax, jax.jit(jax.value_and_grad(f, argnums=problem.argnums)), parameters + data)
            elif workload.asks == "jacobian":
                calls[spelling + ", jacfwd"] = self._call(jax, jax.jit(jax.jacfwd(f)), parameters + data)
                calls[spelling + ", jacrev"] = self._call(jax, jax.jit(jax.jacrev(f)), parameters + data)
            else:
                def product(p, v, data, f=f):
                    return jax.jvp(jax.grad(lambda *q: f(*q, *data), argnums=problem.argnums), p, v)
                calls[spelling] = self._call(jax, jax.jit(product), (parameters, tangents, data))
        return calls

    @staticmethod
    def _call(jax, fun, args):
        return lambda: jax.block_until_ready(fun(*args))

    def arrays(self, answer):
        return [np.asarray(a) for a in leaves(answer)]


class Torch:
    """PyTorch eager: torch.autograd.grad of the idiomatic text; torch.func for Jacobians, twice backward for Hessian-vector products."""
    name, package = "PyTorch", "torch"

    def function(self, problem):
        from . import in_torch
        return problem.bound(getattr(in_torch, problem.workload.function.__name__))

    def prepare(self, problem):
        import torch
        from .threads import count
        torch.set_num_threads(count())
        f, asks = self.function(problem), problem.workload.asks
        parameters = apply(lambda a: torch.tensor(a, requires_grad=asks != "jacobian"), problem.parameters)
        data = apply(torch.tensor, problem.data)
        wrt = leaves(parameters)
        if asks == "gradient":
            def call():
                value = f(*parameters, *data)
                return value.detach(), torch.autograd.grad(value, wrt)
            return {"": call}
        if asks == "jacobian":
            return {name: (lambda fun=getattr(torch.func, name)(f): fun(*parameters, *data)) for name in ("jacfwd", "jacrev")}
        tangents = leaves(apply(torch.tensor, problem.tangents))

        def product():
            gradient = torch.autograd.grad(f(*parameters, *data), wrt, create_graph=True)
            return [g.detach() for g in gradient], torch.autograd.grad(gradient, wrt, tangents)
        return {"": product}

    def arrays(self, answer):
        return [a.numpy() for a in leaves(answer)]


class TorchCompiled(Torch):
    """torch.compile of the same text; it needs a C++ compiler on the path."""
    name = "torch.compile"

    def function(self, problem):
        import torch
        if problem.workload.name in LOOPS:
            raise NotApplicable("a loop of hundreds of steps, which it unrolls and compiles for minutes")
        if problem.workload.asks == "hvp":
            raise NotApplicable("its compiled backward cannot be differentiated again")
        torch._dynamo.reset()
        return torch.compile(super().function(problem))


class Autograd:
    """HIPS autograd of the NumPy text."""
    name, package = "HIPS autograd", "autograd"

    def prepare(self, problem):
        import autograd
        import autograd.numpy as anp
        f, asks = problem.bound(functions.rebound(problem.workload.function, anp)), problem.workload.asks
        args = problem.parameters + problem.data
        if asks == "gradient":
            fun = autograd.value_and_grad(f, problem.argnums)
            return {"": lambda: fun(*args)}
        if asks == "jacobian":
            fun = autograd.jacobian(f)
            return {"": lambda: fun(*args)}
        gradient, tangents = autograd.grad(f), leaves(problem.tangents)

        def along(layers):
            g = gradient(layers, *problem.data)
            return sum(anp.sum(a * v) for a, v in zip([x for pair in g for x in pair], tangents))
        product = autograd.grad(along)
        return {"": lambda: (gradient(*args), product(*problem.parameters))}

    def arrays(self, answer):
        return [np.asarray(a) for a in leaves(answer)]


class Casadi:
    """A casadi.Function of scalar (SX) and of matrix (MX) expressions, called as documented first and through its buffers: the argument copied in, the answer out."""
    name, package = "CasADi", "casadi"
    FITS = ("rosenbrock", "chain")

    def prepare(self, problem):
        import casadi
        if problem.workload.function.__name__ not in self.FITS:
            raise NotApplicable("scalar expressions and small chains are what it is for")
        text, (x,) = getattr(self, problem.workload.function.__name__), problem.parameters
        calls = {}
        for kind in ("MX", "SX") if len(x) <= 10_000 else ("MX",):          # SX: one node an operation and entry
            symbol = getattr(casadi, kind).sym("x", len(x))
            value = text(casadi, symbol)
            function = casadi.Function("f", [symbol], [value, casadi.densify(casadi.gradient(value, symbol))])
            calls[kind] = lambda function=function: function(x)
            calls[kind + ", buffers"] = self._buffered(function, x)
        return calls

    @staticmethod
    def rosenbrock(casadi, x):
        return casadi.sumsqr(10.0 * (x[1:] - x[:-1] ** 2)) + casadi.sumsqr(1.0 - x[:-1])

    @staticmethod
    def chain(casadi, x):
        return casadi.sum1(casadi.sin(x) * casadi.exp(-x * x) + casadi.tanh(x) * casadi.log1p(x * x) + casadi.cos(x) * casadi.sqrt(1.0 + x * x)
                           + casadi.expm1(0.1 * x) * casadi.log(2.0 + x * x))

    @staticmethod
    def _buffered(function, x):
        buffer, run = function.buffer()
        argument, value, gradient = np.empty(len(x)), np.empty(1), np.empty(len(x))
        buffer.set_arg(0, memoryview(argument))
        buffer.set_res(0, memoryview(value))
        buffer.set_res(1, memoryview(gradient))

        def call(keep=(function, buffer)):          # run() holds neither
            argument[:] = x
            run()
            return float(value[0]), gradient.copy()
        return call

    def arrays(self, answer):
        return [np.asarray(a, float).reshape(shape) for a, shape in zip(answer, ((), -1))]


class Pytensor:
    """pytensor.function of the NumPy text with pytensor.tensor under its name, in PyTensor's default mode."""
    name, package = "PyTensor", "pytensor"
    FITS = ("rosenbrock", "chain", "logistic")

    def prepare(self, problem):
        if problem.workload.function.__name__ not in self.FITS:
            raise NotApplicable("only where the NumPy text runs in it as it stands")
        import pytensor
        import pytensor.tensor as pt
        arrays = problem.parameters + problem.data
        symbols = [pt.tensor(f"x{k}", dtype=a.dtype, shape=a.shape) for k, a in enumerate(arrays)]
        value = functions.rebound(problem.workload.function, pt)(*symbols)
        fun = pytensor.function(symbols, [value, *pytensor.grad(value, symbols[:len(problem.parameters)])])
        fun.trust_input = True
        return {"": lambda: fun(*arrays)}

    def arrays(self, answer):
        return [np.asarray(a) for a in answer]


OURS = (Diffeng(), DiffengPlain(), DiffengScan())
PEERS = {p.name: p for p in (*OURS, Jax(), Torch(), TorchCompiled(), Autograd(), Casadi(), Pytensor())}


def load(peer):
    """Import a peer's library, if it can be."""
    try:
        importlib.import_module(peer.package)
    except Exception:                       # a broken installation raises what it likes
        pass
