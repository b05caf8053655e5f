"""Kernels on disk: found without numba, and never trusted when damaged, foreign or writable by others."""
import json
import os
import subprocess
import sys

import numpy as np
import pytest

from diffeng.kernels import Program, cache, machine
from diffeng.nodes import Tracing

CODE = """
import sys, numpy as np
from diffeng.nodes import Tracing
from diffeng.kernels import Program
import diffeng.kernels as kernels
x = Tracing().input(None, "x", ({n},), np.float64)
p = Program([x.node], [(np.sin(x) * np.exp(x) + np.tanh(x)).node, np.sum(x * x).node])
v = np.linspace(0, 1, {n})
a, b = p(v)
assert np.allclose(a, np.sin(v) * np.exp(v) + np.tanh(v)) and np.isclose(b, np.sum(v * v))
print(kernels.compilations, "numba" in sys.modules)
"""


def process(folder, n=100):
    """(compilations, was numba imported?) of a fresh process."""
    done = subprocess.run([sys.executable, "-c", CODE.format(n=n)], env={**os.environ, "DIFFENG_CACHE": str(folder)}, capture_output=True,
                          text=True, check=True)
    count, imported = done.stdout.split()
    return int(count), imported == "True"


def test_second_process_compiles_nothing_and_damage_is_repaired(tmp_path):
    first, _ = process(tmp_path / "kernels")
    assert first >= 2
    assert process(tmp_path / "kernels") == (0, False)
    assert process(tmp_path / "kernels", n=1000) == (0, False)          # another size is no other kernel
    files = sorted((tmp_path / "kernels").iterdir())
    assert len(files) == first and all(f.stat().st_mode & 0o077 == 0 for f in files)
    whole = [f.read_bytes() for f in files]
    files[0].write_bytes(whole[0][:-20])                                                # truncated, as after a crash
    flipped = bytearray(whole[1])
    flipped[-30] ^= 0xFF
    files[1].write_bytes(flipped)
    assert process(tmp_path / "kernels")[0] == 2
    assert [f.read_bytes()[:64] for f in sorted((tmp_path / "kernels").iterdir())] == [w[:64] for w in whole]
    assert process(tmp_path / "kernels") == (0, False)
    for f in files:
        header, code = f.read_bytes().split(b"\n", 1)
        changed = json.loads(header)
        changed["key"]["processor"] = "another"
        f.write_bytes(json.dumps(changed).encode() + b"\n" + code)                      # a file from another machine under our name
    assert process(tmp_path / "kernels")[0] == first
    for f in files:
        f.write_bytes(b"")
    assert process(tmp_path / "kernels")[0] == first


def test_concurrent_processes_share_a_cache(tmp_path):
    code = CODE.format(n=50)
    running = [subprocess.Popen([sys.executable, "-c", code], env={**os.environ, "DIFFENG_CACHE": str(tmp_path)}, stdout=subprocess.PIPE) for _ in range(3)]
    assert [p.wait(timeout=120) for p in running] == [0, 0, 0]
    for p in running:
        p.stdout.close()
    assert not [f for f in tmp_path.iterdir() if f.name.startswith(".new")]
    assert process(tmp_path) == (0, False)


@pytest.fixture
def fresh(monkeypatch):
    """The process's store forgets, and the folder is looked up anew."""
    monkeypatch.setattr(machine, "_kernels", {})
    cache._folder.cache_clear()
    yield monkeypatch
    cache._folder.cache_clear()


def build():
    x = Tracing().input(None, "x", (7,), np.float64)
    return Program([x.node], [(np.cos(x) * 3).node])(np.zeros(7))[0]


def test_a_folder_that_others_may_write_is_not_used(fresh, tmp_path):
    tmp_path.chmod(0o777)
    fresh.setenv("DIFFENG_CACHE", str(tmp_path))
    assert build()[0] == 3 and not list(tmp_path.iterdir())


@pytest.mark.parametrize("place", ["off", "/proc/no/such/folder"])
def test_without_a_folder_everything_still_works(fresh, place):
    fresh.setenv("DIFFENG_CACHE", place)
    assert build()[0] == 3


def test_a_full_disk_is_no_error(fresh, tmp_path):
    fresh.setenv("DIFFENG_CACHE", str(tmp_path))

    def full(*_):
        raise OSError(28, "No space left on device")
    fresh.setattr(cache.os, "replace", full)
    assert build()[0] == 3 and not list(tmp_path.iterdir())
