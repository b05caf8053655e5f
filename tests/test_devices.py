"""diffeng.devices, and compare over the kernels of every device: the simulator stands in for the GPU."""
import json
import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import pytest

import diffeng as de
from diffeng import devices
from diffeng.kernels import machine
from diffeng.kernels.cuda import device
from diffeng.kernels.cuda.code import Simulated
from diffeng.kernels.cuda.device import Gpu
from diffeng.kernels.cuda.simulator import Simulator

X = np.array([[0.3, 1.2, 0.7, 0.1, 1.9], [1.1, 0.2, 2.1, 0.6, 0.4]])
CPU, CUDA = "reverse (kernels)", "reverse (CUDA)"


def softmax(x):
    e = np.exp(x - np.max(x, axis=-1, keepdims=True))
    return e / np.sum(e, axis=-1, keepdims=True)


def f(x):
    return np.sum(np.sin(softmax(x @ x.T)))


def verdicts(report):
    return {name: m.verdict for name, m in report.methods.items()}


def test_both_devices_are_heard(simulated):
    report = de.compare(f, X)
    assert [*verdicts(report)] == ["symbolic", "forward", "reverse", CPU, CUDA] and report.agree, str(report)
    found = report.methods[CUDA]
    assert found.device == "the simulator" and found.apart <= 4 and report.methods[CPU].apart is None
    assert "on the simulator, " in str(report) and "ULP from the CPU" in report._repr_html_()
    assert json.loads(report.to_json())["methods"][CUDA]["apart"] == found.apart


def test_what_the_host_computes_is_said(simulated, monkeypatch):
    monkeypatch.setattr(Simulator, "distant", True)                   # a GPU would warn
    report = de.compare(lambda x: np.sum(np.cumsum(x) ** 2), X[0])
    assert report.agree and "for cumsum, the host" in report.methods[CUDA].said()


def test_a_fault_in_a_rule_accuses_the_rule(simulated):
    with de.testing.plant("reverse", "exp"):
        report = de.compare(f, X)
    assert {c.method for c in report.culprits} == {"reverse"} and report.culprit.primitive == "exp"
    assert verdicts(report) == {"symbolic": "right", "forward": "right", "reverse": "wrong", CPU: "wrong", CUDA: "wrong"}
    assert de.compare(f, X).agree


@pytest.mark.parametrize("fault,primitives", [("a product", {"matmul"}), ("a sum along rows", {"sum", "max"})])
def test_a_fault_of_one_device_accuses_its_kernels(simulated, monkeypatch, fault, primitives):
    if fault == "a product":
        right = Simulator._multiply

        def wrong(product, places):
            right(product, places)
            from diffeng.kernels.memory import array_at
            out = array_at(places[2] - product.out.offset, product.out, None)
            out *= 1 + 1e-5
        monkeypatch.setattr(Simulator, "_multiply", staticmethod(wrong))
    else:                                                             # lanes exchange nothing
        monkeypatch.setattr(Simulated, "shuffled", lambda self, x, mask, lanes: x)
        monkeypatch.setenv("DIFFENG_CACHE", "off")
        monkeypatch.setattr(machine, "_kernels", {})
    report = de.compare(f, X)
    assert report.culprit.method == CUDA and report.culprit.primitive in primitives and len(report.culprits) == 1, str(report)
    assert "test_devices.py" in report.culprit.line
    assert verdicts(report) == {"symbolic": "right", "forward": "right", "reverse": "right", CPU: "right", CUDA: "wrong"}
    assert "reverse (CUDA) wrong" in report.picture().source


@pytest.mark.parametrize("what,verdict", [("kernel", "no verdict"), ("product", "wrong")])
def test_a_device_that_fails_is_a_finding(simulated, monkeypatch, what, verdict):
    """A kernel that cannot be made has computed nothing wrong; one that fails is no crash of compare."""
    def refuse(*args):
        raise RuntimeError("there is no libdevice, or cuBLAS refused")
    monkeypatch.setattr(Simulator, what, refuse)
    report = de.compare(f, X)
    assert (verdicts(report)[CPU], verdicts(report)[CUDA]) == ("right", verdict) and report.culprit is None and "cuBLAS refused" in str(report)


def test_the_simulator_has_a_memory_of_its_own(simulated):
    run = de.jit(lambda x: x * 2, device="cuda")
    host = run(X)
    assert type(host) is np.ndarray
    there = devices.program_maker("cuda").device.array(X)
    found = run(there)
    assert Simulator.holds(found) and np.array_equal(Simulator.host(found), host)


def test_a_gpu_and_the_simulator_have_the_same_methods():
    own = {n for n in vars(Gpu) if n[0] != "_"}
    assert own - {n for n in vars(Simulator) if n[0] != "_"} == set() and {"array", "host", "kernel", "captured", "synchronize"} <= own


def test_large_results_come_back_into_pinned_memory():
    """With a stand-in for CuPy: which memory is asked for, and what happens where there is none."""
    class Full(RuntimeError):
        pass

    class There:
        dtype = np.dtype(np.float32)

        def __init__(self, n):
            self.values = np.arange(n, dtype=self.dtype).reshape(n // 2, 2)
            self.nbytes, self.size, self.shape = self.values.nbytes, n, self.values.shape

        def get(self, out=None):
            if out is None:
                return self.values.copy()
            out[...] = self.values
            return out
    room, asked = [1 << 22], []

    def alloc(size):
        asked.append(size)
        if size > room[0]:
            raise Full
        return bytearray(size + 8)
    gpu = object.__new__(Gpu)
    gpu.cupy = SimpleNamespace(cuda=SimpleNamespace(alloc_pinned_memory=alloc, runtime=SimpleNamespace(CUDARuntimeError=Full)))
    for n in (10, 1 << 18, 1 << 21):
        np.testing.assert_array_equal(gpu.host(There(n)), There(n).values)
    assert asked == [1 << 20, 1 << 23]


def test_names():
    with pytest.raises(ValueError, match="there are 'cpu' and 'cuda'"):
        devices.program_maker("gpu")
    assert devices.program_maker("cpu").device is None


def test_the_environment_is_read_strictly(monkeypatch):
    monkeypatch.setenv("DIFFENG_CUDA", "yes")
    with pytest.raises(ValueError, match="DIFFENG_CUDA='yes'.*'simulator'"):
        de.jit(np.sin, device="cuda")


@pytest.mark.parametrize("count,makes,said", [(0, None, "no GPU was found; leave device out"), ("NoDevice", None, "no GPU was found; leave device out"),
                                              ("InsufficientDriver", None, "no driver of NVIDIA's for CUDA 13 .*: install one; leave device out"),
                                              (1, ImportError("libcublas.so.13"), r"does not find what it needs \(libcublas.so.13\): pip install.*; leave")])
def test_what_is_missing_and_the_cure(monkeypatch, count, makes, said):
    """With a stand-in for CuPy, and a driver that is there."""
    def counted():
        if isinstance(count, str):
            raise Failed(f"cudaError{count}: as CUDA says it")
        return count

    def made(cupy):
        raise makes
    Failed = type("CUDARuntimeError", (RuntimeError,), {})
    monkeypatch.setitem(sys.modules, "cupy", SimpleNamespace(cuda=SimpleNamespace(runtime=SimpleNamespace(getDeviceCount=counted, CUDARuntimeError=Failed))))
    monkeypatch.setattr(device, "lacking", lambda: None)
    monkeypatch.setattr(device, "Gpu", made)
    with pytest.raises(RuntimeError, match='device="cuda": .*' + said):
        device._gpu.__wrapped__()


def test_nothing_of_a_gpu_is_imported_where_there_is_none():
    if "cuda" in devices.present():
        pytest.skip("there is a GPU")
    code = "import sys, diffeng as de; r = de.compare(lambda x: x * x, 1.5); print([*r.methods][-1], [m for m in sys.modules if 'cupy' in m or 'cuda' in m])"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=100)
    assert out.stdout.split("\n")[0] == "reverse (kernels) []", out.stderr
