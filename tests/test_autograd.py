"""diffeng.autograd: hooks of tensors, Functions with a backward of one's own, gradcheck; in-place operations that may be differentiated. Against PyTorch where it is installed."""
import numpy as np
import pytest

import diffeng as de

try:
    import torch
except ImportError:
    torch = None
LIBRARIES = [de] if torch is None else [de, torch]


def same(program, rtol=1e-5):
    """The numbers that a program of a library makes, nested as they like, are PyTorch's."""
    found = [program(library) for library in LIBRARIES]
    if len(found) > 1:
        assert _close(*found, rtol), found
    return found[0]


def _close(a, b, rtol):
    if isinstance(a, (list, tuple)):
        return len(a) == len(b) and all([_close(x, y, rtol) for x, y in zip(a, b)])
    return a == b or isinstance(a, float) and bool(np.isclose(a, b, rtol, 1e-7))


# ---- hooks ------------------------------------------------------------------------------------------------------------------------

def test_hooks_see_and_change_gradients_in_every_step_of_a_training():
    def program(library):
        w, b = library.tensor([[0.1, 0.2], [0.3, 0.4]], requires_grad=True), library.tensor([0.5, -0.5], requires_grad=True)
        optimizer, seen = library.optim.SGD([w, b], lr=0.01), []
        of_leaf = w.register_hook(lambda g: seen.append(g.tolist()) or g * 0.5)
        for k in range(14):
            h = (library.tensor([[1.0, k / 10]]) @ w + b).tanh()
            h.register_hook(lambda g: seen.append(g.tolist()))             # it is called though the tensor is gone
            z = h * 2
            del h
            first, _ = z.register_hook(lambda g: g.clamp(max=1.5)), z.register_hook(lambda g: g + 1)
            if k % 3 == 0:
                first.remove()
            if k == 5:
                of_leaf.remove()
            z.retain_grad()
            optimizer.zero_grad()
            (z ** 2).sum().backward()
            optimizer.step()
            seen += [z.grad.tolist(), w.grad.tolist(), w.tolist()]
        return seen
    assert len(same(program, 2e-3)) == 14 + 5 + 3 * 14


def test_hooks_and_second_derivatives():
    def program(library):
        x = library.tensor(2.0, requires_grad=True)
        y = x ** 3
        y.register_hook(lambda g: g * 3)
        first, = library.autograd.grad(y, x, create_graph=True)
        second, = library.autograd.grad(first, x)
        x.register_hook(lambda g: g * 2)
        (x * x).backward()
        (x * x).backward()
        return [first.item(), second.item(), x.grad.item()]
    assert same(program) == [36.0, 36.0, 16.0]


@pytest.mark.parametrize("hook, kind, text", [(lambda g: g.sum(), RuntimeError, "changed the size"), (lambda g: 3.0, TypeError, "expected a Tensor or None")])
def test_what_a_hook_may_return(hook, kind, text):
    x = de.tensor([1.0, 2.0], requires_grad=True)
    y = x * 1
    y.register_hook(hook)
    with pytest.raises(kind, match=text):
        y.sum().backward()
    with pytest.raises(RuntimeError, match="doesn't require gradient"):
        de.ones(2).register_hook(print)


# ---- Functions --------------------------------------------------------------------------------------------------------------------

def functions(library):
    class Exp(library.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            y = x.exp()
            ctx.save_for_backward(y)
            return y

        @staticmethod
        def backward(ctx, g):
            y, = ctx.saved_tensors
            return g * y

    class Scaled(library.autograd.Function):
        @staticmethod
        def forward(ctx, x, w, k):
            ctx.save_for_backward(x, w)
            return x * w + k

        @staticmethod
        def backward(ctx, g):
            x, w = ctx.saved_tensors
            return g * w if ctx.needs_input_grad[0] else None, (g * x).sum(0) if ctx.needs_input_grad[1] else None, None

    class Largest(library.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            values, ctx.at = x.max(1)
            ctx.shape = x.shape
            ctx.mark_non_differentiable(ctx.at)
            return values, ctx.at, x.sum()

        @staticmethod
        def backward(ctx, of_values, _, of_sum):
            out = library.zeros(ctx.shape)
            out[range(2), ctx.at] = of_values
            return out + of_sum

    class Power(library.autograd.Function):
        @staticmethod
        def forward(x, n):
            return x ** n

        @staticmethod
        def setup_context(ctx, inputs, output):
            x, ctx.n = inputs
            ctx.save_for_backward(x)

        @staticmethod
        def backward(ctx, g):
            x, = ctx.saved_tensors
            return g * ctx.n * x ** (ctx.n - 1), None

    class Reversal(library.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            return x

        @staticmethod
        def backward(ctx, g):
            return -g
    return Exp, Scaled, Largest, Power, Reversal


def test_functions_equal_pytorchs():
    def program(library):
        exp, scaled, largest, power, reversal = functions(library)
        x, w = library.tensor([[0.1, 0.2], [0.3, 0.4]], requires_grad=True), library.tensor([0.2, 0.3], requires_grad=True)
        out, optimizer = [], library.optim.Adam([w], lr=0.05)
        for k in range(12):
            optimizer.zero_grad()
            loss = (exp.apply(scaled.apply(x.sin(), w, k / 10)) - 1).pow(2).mean()
            loss.backward()
            optimizer.step()
            out.append([loss.item(), w.tolist(), x.grad.tolist()])
        x = library.tensor([[1.0, 5.0, 2.0], [7.0, 0.0, 1.0]], requires_grad=True)
        values, at, total = largest.apply(x)
        (values * library.tensor([1.0, 2.0])).sum().backward(retain_graph=True)
        (total * 2 + values.sum()).backward()
        out.append([values.requires_grad, at.requires_grad, at.tolist(), x.grad.tolist()])
        x = library.tensor([0.4, 1.6], requires_grad=True)
        (power.apply(x, 3).sum() + (reversal.apply(x) * 3).sum()).backward()
        out.append([x.grad.tolist(), exp.apply(x).is_leaf, exp.apply(x.detach()).requires_grad])
        return out
    same(program, 1e-4)


def test_a_function_is_differentiated_again_and_checked():
    def program(library):
        exp, *_ = functions(library)
        x = library.tensor([0.5, 1.0], dtype=library.float64, requires_grad=True)
        first, = library.autograd.grad(exp.apply(x).sum(), x, create_graph=True)
        second, = library.autograd.grad((first * x).sum(), x, create_graph=True)
        third, = library.autograd.grad(second.sum(), x)
        return [first.tolist(), second.tolist(), third.tolist(), library.autograd.gradcheck(exp.apply, (x,))]
    found = same(program, 1e-12)
    assert np.allclose(found[2], np.exp([0.5, 1.0]) * (2 + np.array([0.5, 1.0])))


def test_gradcheck_finds_a_wrong_backward():
    exp, *_ = functions(de)
    wrong = type("Wrong", (exp,), {"backward": staticmethod(lambda ctx, g: g * ctx.saved_tensors[0] * 1.01)})
    x = de.tensor([0.5, 1.0], dtype=de.float64, requires_grad=True)
    with pytest.raises(RuntimeError, match="Jacobian mismatch for output 0 with respect to input 0"):
        de.autograd.gradcheck(wrong.apply, x)
    assert de.autograd.gradcheck(wrong.apply, x, raise_exception=False) is False
    assert de.autograd.gradcheck(lambda x, y: (x @ y, x.sum()), (de.randn(2, 3, dtype=de.float64, requires_grad=True), de.ones(3, dtype=de.float64)))
    with pytest.raises(ValueError, match="float64"):
        de.autograd.gradcheck(exp.apply, de.ones(2, requires_grad=True))
    with pytest.raises(ValueError, match="at least one input"):
        de.autograd.gradcheck(exp.apply, de.ones(2))


def test_what_a_function_refuses():
    exp, scaled, *_ = functions(de)
    x = de.tensor([0.5, 1.0], requires_grad=True)

    def returning(*gradients):
        return type("Odd", (de.autograd.Function,), {"forward": staticmethod(lambda ctx, a, b: a * b), "backward": staticmethod(lambda ctx, g: gradients)})
    for backward, kind, text in ((returning(de.ones(2)), RuntimeError, "incorrect number of gradients .expected 2, got 1"),
                                 (returning(de.ones(5), None), RuntimeError, "invalid gradient at index 0"), (returning(1.0, None), TypeError, "expected a Tensor or None")):
        with pytest.raises(kind, match=text):
            backward.apply(x, x).sum().backward()
    returning(de.ones(3, 2), None).apply(x, x).sum().backward()                       # is summed, as what was broadcast
    assert x.grad.tolist() == [3.0, 3.0]
    w = de.ones(2)
    y = scaled.apply(x, w, 0.0)
    w.add_(1.0)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        y.sum().backward()
    y = exp.apply(x).sum()
    y.backward()
    with pytest.raises(RuntimeError, match="second time"):
        y.backward()
    with pytest.raises(RuntimeError, match="Exp.apply"):
        exp(x)


# ---- gradients that are assigned -------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("g, kind", [(lambda library: library.ones(3), RuntimeError), (lambda library: library.ones(2, dtype=library.float64), RuntimeError), (lambda library: 3.0, TypeError)])
def test_a_gradient_has_the_shape_and_dtype_of_its_tensor(g, kind):
    for library in LIBRARIES:
        w = library.ones(2, requires_grad=True)
        with pytest.raises(kind, match="assign"):
            w.grad = g(library)
        w.grad = library.tensor([1.0, 2.0])
        assert w.grad.tolist() == [1.0, 2.0]
        w.grad = None
        assert w.grad is None


# ---- in place ----------------------------------------------------------------------------------------------------------------------

IN_PLACE = {
    "mul_": lambda x, y: y.mul_(x), "mul_ by what was made of it": lambda x, y: y.mul_(y + 1), "div_": lambda x, y: y.div_(x), "pow_": lambda x, y: y.pow_(3), "sin_": lambda x, y: y.sin_(),
    "log_": lambda x, y: y.log_(), "square_": lambda x, y: y.square_(), "abs_": lambda x, y: y.abs_(), "erf_": lambda x, y: y.erf_(), "by its sum": lambda x, y: y.__itruediv__(y.sum()),
    "a part": lambda x, y: y[:2].mul_(x[:2]), "twice": lambda x, y: y.mul_(x).sin_(), "the right side is needed": lambda x, y: y.mul_(y), "needed elsewhere": lambda x, y: y.sin() * y.mul_(2.0),
    "needed elsewhere, of a view": lambda x, y: y[0].sin() + y.mul_(2.0),
}


@pytest.mark.skipif(torch is None, reason="PyTorch is not installed")
@pytest.mark.parametrize("name", IN_PLACE)
def test_what_may_be_written_over_and_derived_is_what_pytorch_allows(name):
    def program(library):
        x = library.tensor([1.0, 2.0, 3.0], requires_grad=True)
        for _ in range(3):                              # the second time calls wait
            y = x * 2
            try:
                out = IN_PLACE[name](x, y)
                (y.sum() + out.sum()).backward()
            except RuntimeError as error:
                return "modified by an inplace operation" in str(error)
        return x.grad.tolist()
    same(program)


# ---- a leaf that was written into ------------------------------------------------------------------------------------------------------

def updated_between(library, p):
    """Terms of before an update and of after it."""
    before = (p * 2).sum()
    with library.no_grad():
        p -= 0.1
    return before + (p * 5).sum()


def updated_by_an_optimiser(library, p):
    optimiser = library.optim.SGD([p], lr=0.1)
    before = (p * 2).sum()
    p.sum().backward()
    optimiser.step()
    return before + (p * 5).sum()


def shown_to_numpy(library, p):
    part = p[:2]
    part.detach().numpy()
    return (part * part).sum() + (p * 5).sum()


@pytest.mark.skipif(torch is None, reason="PyTorch is not installed")
@pytest.mark.parametrize("f", [updated_between, updated_by_an_optimiser, shown_to_numpy])
def test_grad_knows_every_version_of_a_leaf(f):
    def program(library):
        found = []
        for _ in range(4):                              # the second time calls wait
            p = library.tensor([1.0, 2.0, 3.0], requires_grad=True)
            loss = f(library, p)
            found.append(loss.item())
            found.append(library.autograd.grad(loss, [p], retain_graph=True)[0].tolist())
            p.grad = None
            loss.backward(inputs=[p])
            found.append(p.grad.tolist())
        return found
    same(program)


@pytest.mark.skipif(torch is None, reason="PyTorch is not installed")
@pytest.mark.parametrize("name", ["tanh", "sigmoid", "expm1", "exp", "sqrt"])
def test_what_was_computed_before_an_update_is_derived_there(name):
    """Where NumPy has seen the memory of a leaf, an update writes into it: the result says what the operand was."""
    def program(library):
        p, found = library.tensor([0.5, 1.0, 2.0], requires_grad=True), []
        for _ in range(3):
            view, y = p.reshape(3), getattr(library, name)(p)
            p.grad = None
            (p * p).sum().backward(retain_graph=True)
            with library.no_grad():
                p -= 0.1 * p.grad
            y.sum().backward()
            view.detach().numpy()
            found.append(p.grad.tolist())
        return found
    same(program)


def test_arguments_of_grad_as_pytorch_has_them():
    x, y = de.tensor(3.0, requires_grad=True), de.tensor([1.0, 2.0], requires_grad=True)
    assert [g.tolist() for g in de.autograd.grad(x * x, [x, y], materialize_grads=True)] == [6, [0, 0]]
    assert de.autograd.grad(x * x, [x, y], None, None, False, True, True)[1] is None
    with pytest.raises(ValueError, match="allow_unused"):
        de.autograd.grad(x * x, [x], allow_unused=False, materialize_grads=True)
    with pytest.raises(NotImplementedError, match="is_grads_batched"):
        de.autograd.grad(x * x, [x], is_grads_batched=True)


@pytest.mark.skipif(torch is None, reason="PyTorch is not installed")
def test_hooks_after_gradients_were_added_up_take_steps():
    def trained(m):
        w, v = m.tensor([1.0, -2.0], requires_grad=True), m.tensor([0.5, 0.5], requires_grad=True)
        optimizer, seen = m.optim.SGD([w], lr=0.1, momentum=0.9), []

        def step(p):
            seen.append(p.grad.tolist())
            optimizer.step()
            p.grad = None
        handle = w.register_post_accumulate_grad_hook(step)
        for k in range(5):
            if k == 3:
                handle.remove()
            ((w * v) ** 2).sum().backward()
        return seen, w.tolist(), w.grad.tolist(), v.grad.tolist()
    for ours, theirs in zip(trained(de), trained(torch), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-5)
    for m in (de, torch):
        with pytest.raises(RuntimeError):
            (m.ones(2, requires_grad=True) * 2).register_post_accumulate_grad_hook(lambda p: None)
