"""A GPT-2 in a directory, as Hugging Face's transformers write and read it: config.json and model.safetensors, or several of them with an index.

What it is: the translation between that directory and (config, parameters), and the refusal of everything this GPT-2 does not do: a checkpoint with another
activation would load, and be wrong in every logit. What it is not: the file format (files.py). Nothing is unpickled; a directory with pytorch_model.bin alone
is refused.
Why a file: training, generation and comparison meet in it.
"""
import json
import math
import os
import re

import numpy as np

from ..writing import replacing
from .config import GPT2Config
from .files import once, read_shapes, read_tensors, write_tensors

__all__ = ["load", "save", "read_tensors", "write_tensors"]

_FIELDS = {"vocab_size": "vocab_size", "n_positions": "context_length", "n_embd": "emb_dim", "n_head": "n_heads", "n_layer": "n_layers"}
_DROPS = ("resid_pdrop", "embd_pdrop", "attn_pdrop")          # three in transformers, one here
_PREFIX = "transformer."                                      # of the model with a head; OpenAI's own file has none
# What else config.json may say, and what of it is computed here; the first is written. The three activations are three spellings of one function.
_UNDERSTOOD = {
    "model_type": ("gpt2",), "activation_function": ("gelu_new", "gelu_pytorch_tanh", "gelu_fast"), "layer_norm_epsilon": (1e-5,),
    "scale_attn_weights": (True,), "scale_attn_by_inverse_layer_idx": (False,), "add_cross_attention": (False,),
}
_MASKS = re.compile(r"h\.\d+\.attn\.(masked_)?bias")           # buffers of old checkpoints: the causal mask, and what it hides with


def save(directory, config, parameters, metadata=None):
    """Write config.json and model.safetensors; transformers' GPT2LMHeadModel.from_pretrained reads them, and so does `load`.

    config: GPT2Config. parameters: dict, name -> array, as of init_parameters; their dtype is kept. metadata: dict of texts for the header of the second file.
    The directory is made where it is missing. Each file is replaced as a whole, the parameters last, both when both are on the disk: where they are, there is a
    config.json, and another model that was there stays whole when the disk is full. Raises ValueError on parameters that are not those of
    the config, OSError when the disk refuses.
    """
    _check(parameters, {k: (np.shape(v), np.asarray(v).dtype) for k, v in parameters.items()}, config, "the parameters")
    os.makedirs(directory, exist_ok=True)
    tensors = {_PREFIX + name: parameters[name] for name in config.parameter_shapes}
    if not config.qkv_bias:          # transformers' GPT-2 always has one, and 0 changes nothing
        for k in range(config.n_layers):
            dtype = tensors[f"{_PREFIX}h.{k}.attn.c_attn.weight"].dtype
            tensors[f"{_PREFIX}h.{k}.attn.c_attn.bias"] = np.zeros(3 * config.emb_dim, dtype)

    def describe():
        with replacing(os.path.join(directory, "config.json")) as file:
            file.write(json.dumps(_described(config, parameters["wte.weight"].dtype), indent=2).encode() + b"\n")
    write_tensors(os.path.join(directory, "model.safetensors"), tensors, {"format": "pt"} | (metadata or {}), describe)


def load(directory, dtype=None):
    """(config, parameters) of a directory as transformers' save_pretrained or `save` leave it, in one file or in several.

    dtype: of the parameters; None: as stored, float32 for what is stored in half precision. Where nothing is converted the arrays lie in the file until they
    are looked at; what is written into them stays in memory.

    Raises FileNotFoundError when a file is missing, ValueError when config.json asks for what is not computed here or when a tensor is missing, left over,
    misshapen, truncated or no floating-point numbers.
    """
    config = _config(directory)
    files = _files(directory)
    named, shapes = {}, {}          # our name -> (file, its name there)
    for path, expected in files.items():
        there = read_shapes(path)
        if expected is not None and not expected <= set(there):
            raise ValueError(f"{path} lacks {_some(expected - set(there))}, which the index says are in it")
        for name in there if expected is None else expected:
            ours = name.removeprefix(_PREFIX)
            if _MASKS.fullmatch(ours) and not (ours.endswith(".attn.bias") and len(there[name][0]) == 1):
                continue
            if ours in named:
                raise ValueError(f"{path}: {name!r} and {named[ours][1]!r} are the same parameter")
            named[ours], shapes[ours] = (path, name), there[name]
    tensors = {}
    for path in files:
        wanted = {ours: name for ours, (file, name) in named.items() if file == path}
        found = read_tensors(path, wanted.values())
        tensors.update({ours: found[name] for ours, name in wanted.items()})
    for name, redundant in _redundant(config, tensors).items():
        if not redundant:
            raise ValueError(f"{directory}: lm_head.weight differs from wte.weight: this GPT-2 has one matrix for both" if name == "lm_head.weight" else
                             f"{directory}: {name} is not 0, but config.json says qkv_bias false")
        del tensors[name], shapes[name]
    _check(tensors, shapes, config, str(directory))
    common = np.result_type(np.float32, *(t.dtype for t in tensors.values())) if dtype is None else np.dtype(dtype)
    if common.kind != "f":
        raise ValueError(f"dtype {common}: parameters are floating-point numbers")
    return config, {name: tensors[name].astype(common, copy=False) for name in config.parameter_shapes}


def _redundant(config, tensors):
    """Name -> whether it says nothing new, of tensors that are no parameters here but may be there: the tied head, and biases that are 0."""
    found = {}
    if "lm_head.weight" in tensors and "wte.weight" in tensors:
        found["lm_head.weight"] = np.array_equal(tensors["lm_head.weight"], tensors["wte.weight"])
    if not config.qkv_bias:
        found |= {name: not np.any(t) for name, t in tensors.items() if name.endswith(".attn.c_attn.bias")}
    return found


def _check(tensors, shapes, config, where):
    """Are these the parameters of config? The number of blocks is compared first: an absurd n_layers must not be written out name by name."""
    blocks = {int(m[1]) for m in (re.match(r"h\.(\d{1,9})\.", name) for name in tensors) if m}
    if len(blocks) != config.n_layers:
        raise ValueError(f"{where}: there are {len(blocks)} blocks, and the configuration says {config.n_layers}")
    wanted = config.parameter_shapes
    if missing := wanted.keys() - tensors.keys():
        raise ValueError(f"{where}: missing {_some(missing)}")
    if extra := tensors.keys() - wanted.keys():
        raise ValueError(f"{where}: {_some(extra)}: no parameter of this GPT-2")
    for name, shape in wanted.items():
        if shapes[name][0] != shape:
            raise ValueError(f"{where}: {name} has shape {shapes[name][0]}, and the configuration asks for {shape}")
        if shapes[name][1].kind != "f":
            raise ValueError(f"{where}: {name} has dtype {shapes[name][1]}: parameters are floating-point numbers")


def _some(names):
    names = sorted(names)
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")


# ---- which files ----------------------------------------------------------------------------------------------------------------------

def _files(directory):
    """Path -> names of the tensors that belong to it (None: all in it)."""
    whole, index = (os.path.join(directory, name) for name in ("model.safetensors", "model.safetensors.index.json"))
    if os.path.isfile(whole):
        return {whole: None}
    if not os.path.isfile(index):
        pickled = os.path.exists(os.path.join(directory, "pytorch_model.bin"))
        raise FileNotFoundError(f"{directory} has no model.safetensors" + (
            "; its pytorch_model.bin is a pickle, which can run code and is not loaded: save it again with transformers' save_pretrained" if pickled else ""))
    where = _json(index).get("weight_map")
    if not isinstance(where, dict) or not where or not all(isinstance(file, str) for file in where.values()):
        raise ValueError(f"{index} has no weight_map of names and files")
    files = {}
    for name, file in where.items():
        if file != os.path.basename(file) or not file.endswith(".safetensors"):          # nothing outside of the directory is opened
            raise ValueError(f"{index}: {name} would be in {file!r}, which is no name of a safetensors file beside it")
        files.setdefault(os.path.join(directory, file), set()).add(name)
    for path in files:
        if not os.path.isfile(path):
            raise FileNotFoundError(f"{path} is missing, and {index} names it")
    return files


def _json(path):
    """The object in a JSON file."""
    try:
        with open(path, "rb") as file:
            found = json.loads(file.read(_LONGEST_JSON).decode("utf-8"), object_pairs_hook=once)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path} is no JSON: {error}") from error
    if not isinstance(found, dict):
        raise ValueError(f"{path} is no JSON object")
    return found


_LONGEST_JSON = 100_000_000          # bytes


# ---- config.json ------------------------------------------------------------------------------------------------------------------------

def _described(config, dtype):
    """config.json of a GPT2Config."""
    end = 50256 if config.vocab_size == 50257 else None          # <|endoftext|> of OpenAI's vocabulary
    found = {"architectures": ["GPT2LMHeadModel"]} | {theirs: getattr(config, ours) for theirs, ours in _FIELDS.items()} | {"n_inner": None}
    found |= dict.fromkeys(_DROPS, config.drop_rate) | {name: values[0] for name, values in _UNDERSTOOD.items()}
    found |= {"tie_word_embeddings": True, "bos_token_id": end, "eos_token_id": end, "dtype": str(dtype)}
    return found if config.qkv_bias else found | {"qkv_bias": False}


def _config(directory):
    """The GPT2Config of a directory's config.json."""
    if not os.path.isdir(directory):
        raise FileNotFoundError(f"there is no directory {str(directory)!r}")
    path = os.path.join(directory, "config.json")
    if not os.path.isfile(path):
        raise FileNotFoundError(f"{directory} has no config.json")
    said = _json(path)
    for name, values in _UNDERSTOOD.items():
        value = said.get(name, values[0])
        if not any(type(value) is type(v) and (math.isclose(value, v) if isinstance(v, float) else value == v) for v in values):
            raise ValueError(f"{path}: {name} is {value!r}, and this GPT-2 computes {' or '.join(map(repr, values))} only")
    if "n_positions" not in said and "n_ctx" in said:
        said["n_positions"] = said["n_ctx"]
    drops = {json.dumps(said.get(name, 0.1)) for name in _DROPS}
    if len(drops) > 1:
        raise ValueError(f"{path}: {', '.join(_DROPS)} differ, and this GPT-2 drops everywhere at one rate: make them equal (it matters in training only)")
    try:
        fields = {ours: said[theirs] for theirs, ours in _FIELDS.items()}
        config = GPT2Config(**fields, drop_rate=said.get(_DROPS[0], 0.1), qkv_bias=said.get("qkv_bias", True))
    except KeyError as error:
        raise ValueError(f"{path} lacks {error.args[0]}") from error
    except (TypeError, ValueError) as error:
        message = str(error).removeprefix("GPT2Config: ")
        for theirs, ours in _FIELDS.items():
            message = message.replace(ours, theirs)
        raise ValueError(f"{path}: {message}") from error
    if said.get("n_inner") not in (None, 4 * config.emb_dim):
        raise ValueError(f"{path}: n_inner is {said['n_inner']!r}, and this GPT-2 has 4 n_embd = {4 * config.emb_dim} there")
    return config
