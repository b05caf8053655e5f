"""Tensors on a device, which the simulator is here: what the CPU's tensors give, and nothing goes over to the host but what is looked at."""
import copy
import sys
import time
from types import SimpleNamespace

import numpy as np
import pytest
import test_tensors

import diffeng as de
from diffeng import nn
from diffeng.kernels.cuda.device import Gpu
from diffeng.kernels.cuda.program import CudaProgram
from diffeng.kernels.cuda.simulator import Simulator
from diffeng.kernels.layout import View
from diffeng.recording import on_gpu
from diffeng.tensor_engine import core, entries, plans
from diffeng.tensor_engine.resident import Residence, Resident

X = np.random.default_rng(0).standard_normal((12, 6)).astype(np.float32)
CLASSES = np.arange(12) % 3


@pytest.fixture(autouse=True)
def from_the_beginning(request):
    """Nor is what waits for the device left to tests that have none."""
    def begin():
        entries.local.run.tree = entries.local.root()
        entries.local.run.begin()
    begin()
    if "without" not in request.node.name:
        request.getfixturevalue("simulated")
    yield
    begin()


@pytest.fixture
def transfers(monkeypatch):
    """Shapes of what goes to the device, and of what comes back."""
    met, array, host = [], Simulator.array, Simulator.host

    def watched(self, x):
        if not self.holds(x):
            met.append(("there", np.shape(x)))
        return array(self, x)

    def fetched(x):
        met.append(("back", x.shape))
        return host(x)
    monkeypatch.setattr(Simulator, "array", watched)
    monkeypatch.setattr(Simulator, "host", staticmethod(fetched))
    return met


@pytest.fixture
def ran(monkeypatch):
    """The programs that are launched."""
    met, launched = [], CudaProgram._launched
    monkeypatch.setattr(CudaProgram, "_launched", lambda self, given: met.append(self) or launched(self, given))
    return met


def close(a, b, tolerance=2e-6):
    np.testing.assert_allclose(a, b, rtol=0, atol=tolerance * max(1.0, np.max(np.abs(b), initial=0)))


# ---- what is computed --------------------------------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("seed", range(1, 4))
def test_random_programs_compute_the_cpus_values(seed):
    want = test_tensors.carry_out(seed, 4)
    entries.local.run = entries.Run(entries.local.root())
    got = test_tensors.carry_out(seed, 4, device="cuda")
    assert len(got) == len(want)
    for a, b in zip(got, want):
        if isinstance(b, np.ndarray):
            np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)
        else:
            assert a == b                                                # the same errors in the same places


def train(device, make, steps=5, moved=None, look=True):
    """Losses and parameters of a network with dropout, its gradients clipped. moved: the step before which everything goes over to the other device."""
    de.manual_seed(0)
    model = nn.Sequential(nn.Linear(6, 8), nn.Tanh(), nn.Dropout(0.3), nn.LayerNorm(8), nn.Linear(8, 3)).to(device)
    x, y = de.tensor(X, device=device), de.tensor(CLASSES, device=device)
    optimizer, loss_of, losses = make(model.parameters()), nn.CrossEntropyLoss(), []
    for k in range(steps):
        if k == moved:
            device = "cuda" if device == "cpu" else "cpu"
            assert model.to(device) is model
            x, y = x.to(device), y.to(device)
        optimizer.zero_grad()
        loss = loss_of(model(x), y)
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        losses.append(loss.item() if look else loss.detach())
    assert {p.device for p in model.parameters()} == {device} == {t.device for s in optimizer.state.values() for t in s.values() if isinstance(t, core.TensorBase)}
    return [float(x) for x in losses], [np.array(p.tolist()) for p in model.parameters()], optimizer


def adamw(p):
    return de.optim.AdamW(p, lr=0.01)


def momentum(p):
    return de.optim.SGD(p, lr=0.1, momentum=0.9)


@pytest.mark.parametrize("make", [adamw, momentum])
def test_training(make):
    want, weights, _ = train("cpu", make)
    for look in (True, False) if make is momentum else (True,):
        got, theirs, _ = train("cuda", make, look=look)
        close(got, want)
        for a, b in zip(theirs, weights, strict=True):
            close(a, b)


@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_an_optimiser_follows_its_model(device):
    want, weights, _ = train("cpu", adamw)
    got, theirs, optimizer = train(device, adamw, moved=3)
    close(got, want)
    for a, b in zip(theirs, weights, strict=True):
        close(a, b)
    other = adamw([*optimizer.state])
    other.load_state_dict(optimizer.state_dict())
    assert {t.device for s in other.state.values() for t in s.values() if isinstance(t, core.TensorBase)} == {"cuda" if device == "cpu" else "cpu"}


def test_parameters_stay_where_they_are(transfers, monkeypatch):
    made, compiled = [], plans.compiled
    monkeypatch.setattr(plans, "compiled", lambda *args: made.append(compiled(*args)) or made[-1])
    w = [de.tensor(a, requires_grad=True, device="cuda") for a in (X[:6], X[0, :6])]
    x, losses = de.tensor(X, device="cuda"), []
    for k in range(5):
        if k >= 3:
            transfers.clear()
        loss = ((x @ w[0] + w[1]).tanh() ** 2).mean()
        loss.backward()
        de.tensors.update(test_tensors.SGD, w, (*[p.grad for p in w], 0.1))
        for p in w:
            p.grad = None
        losses.append(loss.item())
    assert transfers == [("there", ()), ("back", ())]                   # the learning rate, the loss
    assert made and all([type(p._program) is CudaProgram and not p._program.calls for p in made])
    assert losses == sorted(losses)[::-1] and w[0].device == w[1].device == "cuda"


def test_a_step_writes_over_what_nobody_holds():
    w, x = de.tensor(X[:6], requires_grad=True, device="cuda"), de.tensor(X, device="cuda")
    optimizer, places, copies = de.optim.AdamW([w], lr=0.1), [], []
    for k in range(8):
        optimizer.zero_grad()
        loss = ((x @ w).tanh() ** 2).mean()
        loss.backward()
        before = w.detach().clone() if k == 5 else None                       # computed from what is written over
        if k == 6:
            kept = core.constant(w.held().copy())                             # shares what would be written over
        optimizer.step()
        loss.item()
        places.append(w.held().data.ctypes.data)
        copies.append((w.tolist(), before))
    assert len(set(places[2:5])) == 1
    assert copies[5][1].tolist() == copies[4][0] != copies[5][0]
    assert kept.tolist() == copies[5][0] != copies[6][0]


@pytest.mark.parametrize("device", ["cpu", "cuda"])
@pytest.mark.parametrize("always", [False, True])
def test_what_follows_a_step_and_a_look(device, always):
    """Calls that go on with the loss after its step, now and then or always, and not always the same."""
    w, x = de.tensor(X[:6], requires_grad=True, device=device), de.tensor(X, device=device)
    for k in range(8):
        w.grad = None
        loss = ((x @ w).tanh() ** 2).mean()
        loss.backward()
        de.tensors.update(test_tensors.SGD, [w], (w.grad, 0.1))
        known = loss.item()
        if always or k in (3, 6):
            twice = loss * 2.0
            more = twice + 1.0 if k < 6 else twice * 3.0
            assert more.item() == pytest.approx(2 * known + 1 if k < 6 else 6 * known, rel=1e-6) and more.requires_grad
            with pytest.raises(RuntimeError, match="second time"):
                more.backward()


def test_dropout_draws_the_same_masks():
    masks = {}
    for device in ("cpu", "cuda"):
        de.manual_seed(5)
        x, drop = de.ones(7, 33, device=device), nn.Dropout(0.4)
        masks[device] = [drop(x).cpu().numpy().copy() for _ in range(4)]               # one by one, then compiled
    assert len({m.tobytes() for m in masks["cpu"]}) == 4
    for a, b in zip(masks["cpu"], masks["cuda"]):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("make", [lambda: nn.Embedding(9, 4, padding_idx=2), lambda: nn.Sequential(nn.Embedding(9, 4), nn.GELU(), nn.Linear(4, 2))])
def test_tokens(make):
    ends = []
    for device in ("cpu", "cuda"):
        de.manual_seed(1)
        model, out = make().to(device), []
        tokens = de.tensor([[0, 2, 8], [2, 2, 5]], device=device)
        for _ in range(3):
            model.zero_grad()
            (model(tokens) ** 2).sum().backward()
            out = [np.array(p.grad.tolist()) for p in model.parameters()]
        ends.append(out)
    for a, b in zip(*ends, strict=True):
        close(a, b)


def test_higher_derivatives():
    x = de.tensor([0.5, 2.0], requires_grad=True, device="cuda")
    g, = de.autograd.grad((x ** 3).sum(), x, create_graph=True)
    h, = de.autograd.grad(g.sum(), x)
    assert g.device == h.device == "cuda"
    close(h.tolist(), [3.0, 12.0])


def test_the_picture_of_both_passes():
    drawn = []
    for device in ("cpu", "cuda"):
        w, x = de.tensor([1.0, 2.0], requires_grad=True, device=device), de.tensor([3.0, 4.0], device=device)
        drawn.append(((w * x) ** 2).sum().picture().source)
    assert drawn[0] == drawn[1] and "norm" in drawn[0]


# ---- between devices ---------------------------------------------------------------------------------------------------------------------------------

def test_where_a_tensor_is():
    t = de.tensor([[1.0, 2.0], [3.0, 4.0]], device="cuda:0")
    assert t.device == "cuda" and t.is_cuda and (t * 2).device == t.T.device == t.sum().device == "cuda" and not t.cpu().is_cuda
    assert t.to("cuda") is t and t.cuda() is t and t.to(t.cpu()).device == "cpu" and t.cpu().cuda().device == "cuda"
    assert t.to("cpu", de.float64).dtype == np.float64 and t.cpu().to(t.double()).device == "cuda"
    assert repr(t.sum()) == "tensor(10., device='cuda')" and t.tolist() == [[1.0, 2.0], [3.0, 4.0]] and t.sum().item() == 10.0
    for made in (de.zeros(2, device="cuda"), de.randn(2, device="cuda"), de.arange(3, device="cuda"), de.full((2,), 1.5, device="cuda"), de.zeros_like(t),
                 de.as_tensor(X, device="cuda"), de.tensor(t), copy.deepcopy(t), t.nonzero(), t.unique(), t.max(1).indices, t[t > 2], t[de.tensor([1, 0])],
                 nn.Linear(2, 2, device="cuda").weight):
        assert made.device == "cuda"
    assert t.clone().fill_(7).tolist() == [[7.0, 7.0], [7.0, 7.0]] and t.clone().copy_(de.ones(2, 2)).device == "cuda"
    assert de.cuda.is_available() and de.device("cuda") == "cuda"
    de.cuda.synchronize()


def test_views_share_memory_and_copies_do_not():
    for device in ("cpu", "cuda"):
        x = de.arange(6, dtype=de.float32, device=device).reshape(2, 3)
        y, z = x.T.contiguous(), x.T
        y += 1
        z[0, 0] = 9.0
        x[1] *= 2
        assert x.tolist() == [[9.0, 1.0, 2.0], [6.0, 8.0, 10.0]] and y.tolist() == [[1.0, 4.0], [2.0, 5.0], [3.0, 6.0]]
        assert not z.is_contiguous() and y.is_contiguous() and z.stride() == (1, 3)


@pytest.mark.parametrize("turns", [1, 4])
def test_devices_do_not_mix(turns):
    for _ in range(turns):                                               # also where the call was compiled
        a, c = de.ones(2, device="cuda"), de.ones(2, device="cuda")
        assert (a * c).sum().item() == 2 and (a * de.tensor(3.0)).tolist() == [3.0, 3.0]               # a number on the CPU may come along
        b = de.ones(2)
        with pytest.raises(RuntimeError, match=r"mul at test_tensors_cuda.py:\d+: Expected all tensors to be on the same device.*"
                                               r"made at test_tensors_cuda.py:\d+, is on cuda.*made at test_tensors_cuda.py:\d+, is on cpu.*t.to\('cuda'\)"):
            a * b
    with pytest.raises(RuntimeError, match="the cotangent is on cpu, the tensor on cuda"):
        (de.ones(2, device="cuda", requires_grad=True) * 2).backward(b)
    model = nn.Linear(2, 2).to("cuda")
    with pytest.raises(RuntimeError, match="Expected all tensors to be on the same device"):
        model(b)


def test_numpy_refuses_and_names_the_cure():
    t = de.ones(2, device="cuda")
    for take in (t.numpy, lambda: np.asarray(t)):
        with pytest.raises(TypeError, match=r"can't convert cuda device type tensor to numpy. Use Tensor.cpu\(\)"):
            take()
    assert t.numpy(force=True).tolist() == t.cpu().numpy().tolist() == [1.0, 1.0]
    np.testing.assert_array_equal(np.from_dlpack(t), [1.0, 1.0])
    with pytest.raises(RuntimeError, match="'mps' at .*there are 'cpu' and 'cuda'"):
        t.to("mps")


def test_gradients_cross_over():
    x = de.tensor([1.0, 2.0], requires_grad=True)
    y = (x * 3).to("cuda")
    loss = (y * y).cpu().sum() + (x.cuda() * 2).sum().cpu()
    loss.backward()
    assert loss.device == x.grad.device == "cpu" and x.grad.tolist() == [20.0, 38.0]


def test_work_on_both_devices_in_turns():
    x, w, total = de.ones(3), de.ones(3, requires_grad=True, device="cuda"), de.tensor(0.0)
    for _ in range(6):
        x = x * 1.5 + 0.5                                                # on the CPU, and not looked at
        loss = (w * x.to("cuda")).sum()
        loss.backward()
        with de.no_grad():
            w -= 0.1 * w.grad
        w.grad = None
        total = total + loss.detach().cpu()
    y, v, want = np.ones(3), np.ones(3), 0.0
    for _ in range(6):
        y = y * 1.5 + 0.5
        want += (v * y).sum()
        v -= 0.1 * y
    close(w.tolist(), v)
    close(total.item(), want)


@pytest.mark.parametrize("graph", [False, True])
def test_a_program_is_of_one_device(graph):
    for _ in range(4):
        u, v = de.ones(3, requires_grad=graph), de.ones(3, device="cuda")
        for _ in range(3):
            u, v = u * 1.5, v * 2.0 + 1.0
            u, v = u + 0.5, v.tanh()
        close(u.tolist(), [5.75] * 3)
        close(v.tolist(), np.tanh(2 * np.tanh(2 * np.tanh(3.0) + 1) + 1) * np.ones(3))
        assert (u.device, v.device) == ("cpu", "cuda")


def test_an_index_out_of_bounds_is_found_when_something_is_looked_at():
    table, at = de.ones(4, 2, device="cuda"), de.tensor([0, 9], device="cuda")
    for _ in range(3):
        with pytest.raises(IndexError, match="out of bounds"):
            table[at].sum().item()
        assert table[at - at].sum().item() == 4.0


def test_a_checkpoint_goes_from_one_device_to_another():
    model, other = nn.Linear(3, 2).to("cuda"), nn.Linear(3, 2)
    other.load_state_dict(model.state_dict())
    model.load_state_dict(other.state_dict())
    assert other.weight.device == "cpu" and model.weight.device == "cuda" and other.weight.tolist() == model.weight.tolist()


def test_without_a_device_the_error_names_the_cure(monkeypatch):
    monkeypatch.delenv("DIFFENG_CUDA", raising=False)
    if de.cuda.is_available():
        pytest.skip("there is a GPU")
    began = time.perf_counter()
    for call in (lambda: de.tensor([1.0]).to("cuda"), lambda: de.ones(2, device="cuda"), lambda: nn.Linear(2, 2).cuda()):
        with pytest.raises(RuntimeError, match=r"'cuda' at test_tensors_cuda.py:\d+: .*(pip install|install one|no GPU was found).*compute on the CPU"):
            call()
    assert time.perf_counter() - began < 1


def test_views_of_cupys_arrays_without_a_gpu():
    """CuPy's arrays over the host's memory, which no kernel touches: views share it, and keep what they are views of."""
    cupy = pytest.importorskip("cupy")
    host = np.arange(24, dtype=np.float32)
    memory = cupy.cuda.MemoryPointer(cupy.cuda.UnownedMemory(host.ctypes.data, host.nbytes, host, 0), 0)
    x = Resident(Residence("cuda", SimpleNamespace(device=SimpleNamespace(holds=on_gpu))), cupy.ndarray((4, 6), np.float32, memory))
    assert x.shape == (4, 6) and x.strides == (24, 4) and x.device == "cuda"
    alone = sys.getrefcount(x.data)
    views = [np.reshape(x, (2, 12)), x.T, np.broadcast_to(x, (3, 4, 6)), x[1:, 2], x[None, ..., ::2], x[1, 2]]
    together = sys.getrefcount(x.data)
    assert all([type(v) is Resident and v.data.base is x.data for v in views]) and (alone, together) == (2, 2 + len(views))
    assert [v.shape for v in views] == [(2, 12), (6, 4), (3, 4, 6), (3,), (1, 4, 3), ()]
    assert [v.strides for v in views[:3]] == [(48, 4), (4, 24), (0, 24, 4)]
    assert x.copy().data is x.data and x.astype(np.float32).data is x.data
    gpu, f4 = object.__new__(Gpu), np.dtype(np.float32)
    gpu.cupy, gpu._id = cupy, 0
    for shape, strides, offset in (((4, 6), (24, 4), 0), ((2, 3), (-24, 8), 72), ((4, 0), (4, 4), 0), ((0,), (4,), 0)):
        v = gpu.view(host.ctypes.data if 0 not in shape else 0, View(None, offset, shape, strides, f4))          # CuPy's arrays of no entries lie at 0
        assert (v.shape, v.strides, v.data.ptr) == (shape, strides, (host.ctypes.data if 0 not in shape else 0) + offset)


@pytest.mark.parametrize("kept", ["nothing", "the loss, detached", "a detached loss that nobody holds", "all losses, detached"])
def test_a_step_that_nobody_looks_at_is_one_program(ran, kept):
    model = nn.Sequential(nn.Linear(6, 8), nn.GELU(), nn.LayerNorm(8), nn.Linear(8, 6)).to("cuda")
    x, loss_of, losses, programs = de.tensor(X, device="cuda"), nn.MSELoss(), [], []
    optimizer = de.optim.AdamW(model.parameters(), lr=1e-3)
    for _ in range(8):
        ran.clear()
        optimizer.zero_grad()
        loss = loss_of(model(x), x)
        loss.backward()
        optimizer.step()
        if "detached" in kept:
            last = loss.detach()
            losses.append(last if "holds" not in kept else None)
            losses = losses if "all" in kept else losses[-1:]
            del last
        programs.append(len(ran))
    assert programs[4:] == [1] * 4
    assert loss.item() > 0 and ("all" not in kept or sorted(map(float, losses), reverse=True) == list(map(float, losses)))


@pytest.mark.parametrize("loop, most", [("a rate that falls to nothing", 1), ("classes", 1), ("a gradient is looked at", 2)])
def test_loops_of_training_settle_after_three_steps(ran, transfers, monkeypatch, loop, most):
    """As few programs as there are looks, with a few numbers and their addresses going to the device, and nothing coming back but what is looked at."""
    uploaded, upload = [], Simulator.upload
    monkeypatch.setattr(Simulator, "upload", lambda self, array, target: uploaded.append(array.nbytes) or upload(self, array, target))
    first = nn.Embedding(3, 6) if loop == "classes" else nn.Linear(6, 6)
    model = nn.Sequential(first, nn.GELU(), nn.Dropout(0.1), nn.Linear(6, 3)).to("cuda")
    x, y = de.tensor(CLASSES if loop == "classes" else X, device="cuda"), de.tensor(CLASSES, device="cuda")
    optimizer, loss_of, programs, looked = de.optim.AdamW(model.parameters(), lr=1e-3), nn.CrossEntropyLoss(), [], []
    scheduler = de.optim.lr_scheduler.CosineAnnealingLR(optimizer, 6)          # at 0, the decay's factor is the largest norm
    for _ in range(10):
        for met in (ran, transfers, uploaded):
            met.clear()
        optimizer.zero_grad()
        loss = loss_of(model(x), y)
        loss.backward()
        if "looked" in loop:
            looked.append(first.weight.grad.norm().item())
        else:
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        if "falls" in loop:
            scheduler.step()
        programs.append(len(ran))
        if len(programs) > 3:
            assert sum(uploaded) < 4096 and {shape for where, shape in transfers if where == "there"} == {()}
            assert [shape for where, shape in transfers if where == "back"] == [(1,), ()] * ("looked" in loop)          # was an index out of bounds? the norm
    assert programs[3:] == [most] * 7
    assert all(looked) and loss.item() > 0
