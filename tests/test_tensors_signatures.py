"""Every function and method that PyTorch documents takes, here, the names of arguments that its documentation has: all of them, in one walk."""
import inspect
import re

import pytest

import diffeng as de
from beside_torch import needs_torch, torch
from diffeng import tensors
from diffeng.tensor_engine import functions, keywords, matrices

# what there is nothing to say of here (out=, memory formats, sparse gradients, cuDNN), the words that PyTorch itself gave up, and slips of its pages that PyTorch does not take either
NOWHERE = set("Optional bool int float out layout pin_memory memory_format size_average reduce _stacklevel cudnn_enabled LongTensor Tensor self kwargs".split())
SLIPS = {"aminmax": {"max"}, "broadcast_to": {"shape"}, "narrow": {"dimension"}, "take": {"indices"}, "type_as": {"tensor"}, "copy_": {"src"}, "index_copy": {"tensor2"}, "masked_scatter": {"tensor"},
         "where": {"y"}, "searchsorted": {"values"}, "one_hot": {"tensor"}, "dropout": {"train"}, "from_numpy": {"ndarray"}, "smooth_l1_loss": {"weight"},
         **dict.fromkeys(("hsplit", "vsplit", "dsplit"), {"split_size_or_sections"}), "true_divide": {"divisor"}, "remainder": {"divisor"}, "fmod": {"divisor"},
         "lstsq": {"b", "cond"}, "asarray": {"Any"}, "cond": {"ord"}, "tensorinv": {"a"}, "tensorsolve": {"a", "b"}, "matrix_rank": {"input"}, "pinv": {"input"}, "solve_triangular": {"input"}}


def documented(function, name):
    """The names of arguments in the first line of the documentation, or of the signature; a set for each way to call it."""
    found = []
    for line in (function.__doc__ or "").splitlines():
        match = re.match(rf"\s*(?:\.\. \w+:: )?(?:\w+\.)*{name}\((.*)\)\s*(?:->.*)?\\?$", line)
        if match and "..." not in match[1]:
            parts = re.sub(r"\([^()]*\)|\[[^\[\]]*\]", "", match[1]).split(",")
            found.append({re.split("[=: ]", p.strip())[0].strip("\\*()") if " " not in p.strip().split("=")[0] else p.strip().split("=")[0].split(" ")[-1] for p in parts if p.strip(" *\\/")})
    if not found:
        try:
            found = [{p.name for p in inspect.signature(function).parameters.values() if p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)}]
        except (TypeError, ValueError):
            pass
    return [{n for n in names if n.isidentifier()} for names in found]


def taken(function, name):
    """The names of arguments that a function here takes; None where it hands all of them on."""
    inside = inspect.getclosurevars(function).nonlocals if inspect.isfunction(function) else {}
    if "count" in inside and "op" in inside:
        return {"input", *keywords._FIRST, *functions._OPERANDS, *inside["names"], *keywords.KEYWORDS}
    if function.__module__ == functions.__name__ and inside.get("name") == name and name in functions._OF_METHODS:
        return (of_method := taken(getattr(de.Tensor, name), name)) and of_method | set(keywords._FIRST)
    words = inside["names"] if "names" in inside and "function" in inside else {}
    parameters = inspect.signature(function).parameters.values()
    return None if any([p.kind is p.VAR_KEYWORD for p in parameters]) else {p.name for p in parameters} | set(words)


def pairs():
    for name, ours in sorted(tensors.FUNCTIONS.items()):
        if callable(theirs := getattr(torch, name, None)):
            yield f"torch.{name}", theirs, ours, set()
    for name in sorted(dir(torch.Tensor)):
        theirs, ours = getattr(torch.Tensor, name), getattr(de.Tensor, name, None)
        if name[0] != "_" and callable(theirs) and inspect.isfunction(ours):
            yield f"Tensor.{name}", theirs, ours, {"input"}
    for room, here, there in (("linalg", matrices.FUNCTIONS, torch and torch.linalg), ("nn.functional", vars(de.nn.functional), torch and torch.nn.functional)):
        for name, theirs in sorted(vars(there).items()):
            if name[0] != "_" and callable(theirs) and not isinstance(theirs, type) and inspect.isfunction(here.get(name)):
                yield f"{room}.{name}", theirs, here[name], {"input"} if room == "linalg" else set()


@needs_torch
@pytest.mark.filterwarnings("ignore")
def test_documented_arguments_are_taken():
    missing, count = {}, 0
    for label, theirs, ours, excepted in pairs():
        name = label.split(".")[-1]
        excepted = excepted | NOWHERE | SLIPS.get(name, set())
        ways, mine = documented(theirs, name), taken(ours, name)
        count += bool(ways and mine)
        if ways and mine and (lacks := min([names - excepted - mine for names in ways], key=len)):
            missing[label] = sorted(lacks)
    assert count > 400 and not missing, missing
