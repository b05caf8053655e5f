"""A GPT-2 in a directory: what is written comes back, and every way in which a directory can be wrong is an error that says which."""
import errno
import json
import os
import struct

import numpy as np
import pytest

from diffeng.llm import GPT2Config, init_parameters, weights
from diffeng.llm.files import read_metadata, read_shapes, read_tensors, write_tensors
from diffeng.writing import replacing

CONFIG = GPT2Config(vocab_size=11, context_length=6, emb_dim=8, n_heads=2, n_layers=2, drop_rate=0.25)


def parameters(config=CONFIG, dtype=np.float32):
    random = np.random.default_rng(3)
    return {k: (v + 0.1 * random.standard_normal(v.shape)).astype(dtype) for k, v in init_parameters(config).items()}


def same(a, b):
    return list(a) == list(b) and all(a[k].dtype == b[k].dtype and np.array_equal(a[k], b[k]) for k in a)


def stored(directory):
    return {k: v.copy() for k, v in read_tensors(directory / "model.safetensors").items()}


# ---- tensors in a file ------------------------------------------------------------------------------------------------------------------

ARRAYS = {"half": np.array([1.5, -2], np.float16), "bool": np.array([[True], [False]]), "scalar": np.array(7), "none": np.zeros((0, 3), np.float32),
          "bytes": np.arange(5, dtype=np.uint8), "double": np.arange(6.0).reshape(2, 3), "columns": np.arange(6, dtype=np.float32).reshape(2, 3).T,
          "big-endian": np.arange(3, dtype=">i4"), "ü": np.array([-1], np.int16)}


def test_arrays_come_back(tmp_path):
    path = tmp_path / "a.safetensors"
    write_tensors(path, ARRAYS, {"step": "7"})
    back = read_tensors(path)
    assert set(back) == set(ARRAYS) and read_metadata(path) == {"step": "7"}
    for name, array in ARRAYS.items():
        assert back[name].dtype == array.dtype.newbyteorder("=") and back[name].shape == array.shape and np.array_equal(back[name], array), name
        assert back[name].ctypes.data % back[name].itemsize == 0
    assert read_shapes(path)["double"] == ((2, 3), np.float64)
    assert list(read_tensors(path, ["scalar"])) == ["scalar"] and os.listdir(tmp_path) == ["a.safetensors"]


def test_what_is_written_into_a_read_array_stays_in_memory(tmp_path):
    path = tmp_path / "a.safetensors"
    write_tensors(path, {"x": np.zeros(3)})
    first = read_tensors(path)["x"]
    first += 1
    assert read_tensors(path)["x"].tolist() == [0, 0, 0]
    write_tensors(path, {"x": np.full(3, 5.0)})                   # a new file takes the name; the old one stays with whoever holds it
    assert first.tolist() == [1, 1, 1] and read_tensors(path)["x"].tolist() == [5, 5, 5]


def raw(path, header, numbers=b""):
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + numbers)
    return path


def entry(dtype="F32", shape=(2,), offsets=(0, 8)):
    return {"dtype": dtype, "shape": list(shape), "data_offsets": list(offsets)}


def test_half_precision_of_the_upper_bits(tmp_path):
    numbers = np.array([1.0, -2.5, np.inf, 3e-39], np.float32)
    upper = (numbers.view(np.uint32) >> 16).astype("<u2")
    back = read_tensors(raw(tmp_path / "b", {"x": entry("BF16", (4,), (0, 8))}, upper.tobytes()))["x"]
    assert back.dtype == np.float32 and np.array_equal(back.view(np.uint32) >> 16, upper) and back[:3].tolist() == [1, -2.5, np.inf]


def test_a_header_of_odd_length(tmp_path):
    header = json.dumps({"x": entry()}).encode()
    path = raw(tmp_path / "odd", header + b" " * (1 - len(header) % 2), np.array([1, 2], "<f4").tobytes())
    assert read_tensors(path)["x"].tolist() == [1, 2]


@pytest.mark.parametrize("header, numbers, words", [
    ({"x": entry()}, b"\0" * 7, "truncated"), ({"x": entry()}, b"\0" * 9, "longer"), ({"x": entry(shape=(3,))}, b"\0" * 8, "needs 12 bytes"),
    ({"x": entry(), "y": entry(offsets=(4, 12))}, b"\0" * 12, "'y' begins at byte 4"),
    ({"x": entry(), "y": entry(offsets=(9, 17))}, b"\0" * 17, "'y' begins at byte 9"),
    ({"x": entry(), "y": entry()}, b"\0" * 8, "'y' begins at byte 0"), ({"x": entry("F99")}, b"\0" * 8, "'F99'.*F32"),
    ({"x": entry(["F32"])}, b"\0" * 8, "dtype"),
    ({"x": entry(shape=(-2,))}, b"\0" * 8, "shape"), ({"x": entry(shape=(2.0,))}, b"\0" * 8, "shape"), ({"x": entry(shape=(True, 2))}, b"\0" * 8, "shape"),
    ({"x": entry(shape=(2 ** 70,))}, b"\0" * 8, "shape"), ({"x": entry(shape=(0, 2 ** 62, 2 ** 62), offsets=(0, 0))}, b"", "'x' has shape"),
    ({"x": entry(shape=(1,) * 100, offsets=(0, 4))}, b"\0" * 4, "'x' has shape"), ({"x": entry(offsets=(0, 8, 9))}, b"\0" * 8, "data_offsets"),
    ({"x": entry(offsets=(8, 0))}, b"\0" * 8, "data_offsets"), ({"x": 3}, b"", "lacks"), ({"x": {"dtype": "F32"}}, b"", "lacks"), ([1], b"", "no JSON object"),
    (b"{", b"", "no JSON"), (b"\xff\xfe", b"", "no JSON"), (b"[" * 100000, b"", "no JSON"), (b'{"x": 1, "x": 2}', b"", "twice"),
    ({"__metadata__": {"a": 1}}, b"", "metadata"), ({"__metadata__": 1}, b"", "metadata"), ({"x": entry("BOOL", (8,))}, b"\2" * 8, "neither 0 nor 1"),
])
def test_a_file_that_is_not_what_it_says(tmp_path, header, numbers, words):
    with pytest.raises(ValueError, match=f"bad is no safetensors file.*{words}"):
        read_tensors(raw(tmp_path / "bad", header, numbers))


@pytest.mark.parametrize("text", [b"", b"\1\0\0", struct.pack("<Q", 2 ** 63) + b"{}", struct.pack("<Q", 3) + b"{}"])
def test_a_header_that_cannot_be_there(tmp_path, text):
    (tmp_path / "bad").write_bytes(text)
    with pytest.raises(ValueError, match="header"):
        read_tensors(tmp_path / "bad")


@pytest.mark.parametrize("tensors, metadata", [({"x": np.zeros(2, complex)}, None), ({"x": np.array(["a"])}, None), ({1: np.zeros(2)}, None),
                                               ({"__metadata__": np.zeros(2)}, None), ({"x": np.zeros(2)}, {"step": 1})])
def test_what_cannot_be_written_leaves_the_file(tmp_path, tensors, metadata):
    path = tmp_path / "a"
    write_tensors(path, {"x": np.ones(2)})
    with pytest.raises(TypeError):
        write_tensors(path, tensors, metadata)
    assert read_tensors(path)["x"].tolist() == [1, 1] and os.listdir(tmp_path) == ["a"]


def test_an_interrupted_writing_leaves_the_file(tmp_path):
    path = tmp_path / "a"
    path.write_bytes(b"old")
    with pytest.raises(KeyboardInterrupt), replacing(path) as file:
        file.write(b"new")
        raise KeyboardInterrupt
    assert path.read_bytes() == b"old" and os.listdir(tmp_path) == ["a"]


def test_a_full_disk_leaves_the_file(tmp_path):
    resource = pytest.importorskip("resource")
    path, limits = tmp_path / "a", resource.getrlimit(resource.RLIMIT_FSIZE)
    write_tensors(path, {"x": np.ones(2)})
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, limits[1]))          # the system refuses what goes beyond, as it does on a full disk
    try:
        with pytest.raises(OSError, match=r"cannot write .*a: .*the old file is as it was; raise the limit on the size of files"):
            write_tensors(path, {"x": np.zeros(1 << 18)})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert read_tensors(path)["x"].tolist() == [1, 1] and os.listdir(tmp_path) == ["a"]


# ---- a model in a directory ----------------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_model_comes_back(tmp_path, dtype):
    weights.save(tmp_path / "new" / "run", CONFIG, parameters(dtype=dtype))
    config, back = weights.load(tmp_path / "new" / "run")
    assert config == CONFIG and same(back, parameters(dtype=dtype))
    assert weights.load(tmp_path / "new" / "run", np.float64)[1]["ln_f.bias"].dtype == np.float64


def test_a_model_without_biases_of_query_key_and_value(tmp_path):
    config = GPT2Config(vocab_size=11, context_length=6, emb_dim=8, n_heads=2, n_layers=2, qkv_bias=False)
    weights.save(tmp_path, config, parameters(config))
    there = stored(tmp_path)
    assert not there["transformer.h.1.attn.c_attn.bias"].any()          # transformers always have one
    back, p = weights.load(tmp_path)
    assert back == config and same(p, parameters(config))
    there["transformer.h.1.attn.c_attn.bias"][3] = 1
    write_tensors(tmp_path / "model.safetensors", there)
    with pytest.raises(ValueError, match="h.1.attn.c_attn.bias is not 0.*qkv_bias"):
        weights.load(tmp_path)


@pytest.fixture
def saved(tmp_path):
    """A directory with a model, and a function that stores its tensors anew after changing them."""
    weights.save(tmp_path, CONFIG, parameters())

    def change(edit):
        tensors = stored(tmp_path)
        write_tensors(tmp_path / "model.safetensors", edit(tensors) or tensors)
    change.directory = tmp_path
    return change


def test_what_old_checkpoints_have_besides_is_accepted(saved):
    mask = np.tril(np.ones((1, 1, 6, 6), bool))
    saved(lambda t: {k.removeprefix("transformer."): v for k, v in t.items()} | {"lm_head.weight": t["transformer.wte.weight"], "h.0.attn.bias": mask,
                                                                                 "h.1.attn.masked_bias": np.array(-1e4, np.float32)})
    config, back = weights.load(saved.directory)
    assert config == CONFIG and same(back, parameters())


def test_half_precision_is_computed_in_single(saved):
    saved(lambda t: {k: v.astype(np.float16) for k, v in t.items()})
    assert same(weights.load(saved.directory)[1], {k: v.astype(np.float16).astype(np.float32) for k, v in parameters().items()})


@pytest.mark.parametrize("edit, words", [
    (lambda t: {k: v for k, v in t.items() if not k.endswith("h.1.mlp.c_fc.bias")}, "missing h.1.mlp.c_fc.bias"),
    (lambda t: t.update({"transformer.h.0.attn.rotary": np.zeros(2)}), "h.0.attn.rotary: no parameter"),
    (lambda t: t.update({"transformer.wpe.weight": np.zeros((5, 8), np.float32)}), r"wpe.weight has shape \(5, 8\).*\(6, 8\)"),
    (lambda t: t.update({"transformer.h.0.mlp.c_fc.weight": np.zeros((32, 8), np.float32)}), r"c_fc.weight has shape \(32, 8\).*\(8, 32\)"),
    (lambda t: t.update({"transformer.ln_f.bias": np.zeros(8, int)}), "ln_f.bias has dtype int64"),
    (lambda t: t.update({"lm_head.weight": t["transformer.wte.weight"] + 1}), "lm_head.weight differs"),
    (lambda t: t.update({"wte.weight": t["transformer.wte.weight"]}), "same parameter"),
    (lambda t: {k: v for k, v in t.items() if ".h.1." not in k}, "there are 1 blocks"),
    (lambda t: t.update({"transformer.h.2.ln_1.bias": np.zeros(8)}), "there are 3 blocks"),
    (lambda t: t.update({"transformer.h.99999999999.ln_1.bias": np.zeros(8)}), "h.99999999999.ln_1.bias: no parameter"),
])
def test_wrong_tensors(saved, edit, words):
    saved(edit)
    with pytest.raises(ValueError, match=words):
        weights.load(saved.directory)


def test_a_truncated_file(saved):
    path = saved.directory / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(ValueError, match="model.safetensors is no safetensors file.*truncated"):
        weights.load(saved.directory)


@pytest.mark.parametrize("change, words", [
    ({"model_type": "llama"}, "model_type is 'llama'"), ({"activation_function": "relu"}, "activation_function is 'relu'.*'gelu_new'"),
    ({"n_inner": 16}, "n_inner is 16.*32"), ({"scale_attn_weights": False}, "scale_attn_weights is False"),
    ({"scale_attn_weights": 1}, "scale_attn_weights is 1"), ({"scale_attn_by_inverse_layer_idx": True}, "scale_attn_by_inverse_layer_idx"),
    ({"add_cross_attention": True}, "add_cross_attention"), ({"layer_norm_epsilon": 1e-6}, "layer_norm_epsilon is 1e-06"),
    ({"layer_norm_epsilon": None}, "layer_norm_epsilon"),
    ({"n_embd": "8"}, "n_embd is '8'"), ({"n_embd": 8.0}, "n_embd is 8.0"), ({"n_head": 3}, "n_embd 8 does not divide into n_head 3"),
    ({"n_layer": 0}, "n_layer is 0"), ({"n_layer": True}, "n_layer is True"), ({"n_layer": 10 ** 15}, "2 blocks, and the configuration says 10{15}"),
    ({"vocab_size": 10 ** 30}, "wte.weight has shape"), ({"n_positions": [6]}, r"n_positions is \[6\]"), ({"resid_pdrop": 0.5}, "resid_pdrop.*differ"),
    (dict(resid_pdrop=float("nan"), embd_pdrop=float("nan"), attn_pdrop=float("nan")), "drop_rate is nan"), ({"qkv_bias": "no"}, "qkv_bias is 'no'"),
])
def test_wrong_configurations(saved, change, words):
    path = saved.directory / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(ValueError, match=words):
        weights.load(saved.directory)


@pytest.mark.parametrize("text", ["", "[]", "{", '{"a": 1', "\ufeff{}", "[" * 100000, '{"vocab_size": 5}'])
def test_a_configuration_that_is_none(saved, text):
    (saved.directory / "config.json").write_text(text)
    with pytest.raises(ValueError, match=r"config\.json"):
        weights.load(saved.directory)


def test_a_configuration_that_says_one_thing_twice(saved):
    path = saved.directory / "config.json"
    path.write_text(path.read_text().replace('"n_head": 2', '"n_head": 2, "n_head": 4'))
    with pytest.raises(ValueError, match="config.json is no JSON: a name stands in it twice"):
        weights.load(saved.directory)


def test_spellings_that_mean_the_same(saved):
    path = saved.directory / "config.json"
    said = json.loads(path.read_text()) | {"n_ctx": 6, "n_inner": 32, "activation_function": "gelu_pytorch_tanh"}
    del said["n_positions"], said["scale_attn_weights"]
    path.write_text(json.dumps(said))
    assert weights.load(saved.directory)[0] == CONFIG


def test_what_is_not_there(tmp_path):
    with pytest.raises(FileNotFoundError, match="no directory"):
        weights.load(tmp_path / "nothing")
    with pytest.raises(FileNotFoundError, match="no config.json"):
        weights.load(tmp_path)
    weights.save(tmp_path, CONFIG, parameters())
    (tmp_path / "model.safetensors").rename(tmp_path / "pytorch_model.bin")
    with pytest.raises(FileNotFoundError, match="pickle"):
        weights.load(tmp_path)


def test_only_the_parameters_of_the_configuration_are_saved(tmp_path):
    p = parameters()
    del p["wpe.weight"]
    with pytest.raises(ValueError, match="the parameters: missing wpe.weight"):
        weights.save(tmp_path, CONFIG, p)
    with pytest.raises(ValueError, match="wpe.weight has shape"):
        weights.save(tmp_path, CONFIG, p | {"wpe.weight": np.zeros((1, 8))})
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("name", ["config.json", "model.safetensors"])
def test_a_full_disk_leaves_the_model_that_was_there(tmp_path, monkeypatch, name):
    """Both of its files, though the new one is of other sizes."""
    weights.save(tmp_path, CONFIG, parameters())
    real = os.fsync

    def full(descriptor):
        if name in os.readlink(f"/proc/self/fd/{descriptor}"):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return real(descriptor)
    monkeypatch.setattr(os, "fsync", full)
    other = GPT2Config(vocab_size=7, context_length=3, emb_dim=4, n_heads=1, n_layers=1)
    with pytest.raises(OSError, match=f"cannot write .*{name}: No space left on device; the old file is as it was; make room there"):
        weights.save(tmp_path, other, parameters(other))
    config, back = weights.load(tmp_path)
    assert config == CONFIG and same(back, parameters()) and sorted(os.listdir(tmp_path)) == ["config.json", "model.safetensors"]


# ---- in several files -----------------------------------------------------------------------------------------------------------------------

@pytest.fixture
def sharded(saved):
    tensors = stored(saved.directory)
    where = {name: f"model-0000{1 + k % 2}-of-00002.safetensors" for k, name in enumerate(tensors)}
    for file in set(where.values()):
        write_tensors(saved.directory / file, {name: tensors[name] for name in tensors if where[name] == file})
    (saved.directory / "model.safetensors").unlink()

    def index(edit=lambda w: None):
        edit(where)
        (saved.directory / "model.safetensors.index.json").write_text(json.dumps({"metadata": {"total_size": 1}, "weight_map": where}))
        return saved.directory
    return index


def test_a_model_in_two_files(sharded):
    config, back = weights.load(sharded())
    assert config == CONFIG and same(back, parameters())


@pytest.mark.parametrize("edit, kind, words", [
    (lambda w: w.update({"transformer.wte.weight": "../model.safetensors"}), ValueError, "no name of a safetensors file"),
    (lambda w: w.update({"transformer.wte.weight": "/etc/passwd"}), ValueError, "no name of a safetensors file"),
    (lambda w: w.update({"transformer.wte.weight": "model-00003-of-00002.safetensors"}), FileNotFoundError, "is missing, and"),
    (lambda w: w.update({"transformer.wte.weight": 3}), ValueError, "weight_map"), (lambda w: w.clear(), ValueError, "weight_map"),
    (lambda w: w.update({"transformer.x": "model-00001-of-00002.safetensors"}), ValueError, "lacks transformer.x"),
    (lambda w: w.pop("transformer.wte.weight") and None, ValueError, "missing wte.weight"),
])
def test_a_wrong_index(sharded, edit, kind, words):
    with pytest.raises(kind, match=words):
        weights.load(sharded(edit))
