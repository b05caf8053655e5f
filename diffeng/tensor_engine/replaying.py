"""Carrying out one by one what was noted, so that nothing depends on whether calls waited: values, and the history of results that a program computed.

What it is: the entries of a run, interpreted with core.compute on tensors that stand for those of the run. What it is not: no decision when (tape.py).
"""
import numpy as np

from ..nodes import INPUT, Node
from . import backward as backward_pass, core
from .aliases import Write, note_replaced
from .core import constant, leaf_node, mode
from .resident import at
from .entries import BACKWARD, OUTSIDE, WRITE, path


def replay(run):
    """Carry out what was noted, so that every tensor that somebody holds has its value and its history."""
    tensors = {OUTSIDE + n: _stand_in(run, n) for n in range(len(run.tensors))}
    enabled = mode.enabled
    try:
        for e in path(run.here):
            mode.enabled = e.enabled
            operands = [tensors[r] if r >= 0 else e.consts[r] for r in e.refs]
            if e.kind == BACKWARD:
                given = operands[1] if len(operands) - sum([had for _, had in e.targets]) > 1 else None
                found = {id(x): g for x, g, _ in backward_pass.cotangents(operands[0], given, e.params["retain_graph"])}
                old = iter(operands[1 + (given is not None):])
                for k, (ref, had) in enumerate(e.targets):
                    real = _owner(run, ref)
                    g = found.get(id(real))
                    g = at(np.zeros(e.specs[k].shape, e.specs[k].dtype), e.specs[k].device) if g is None else g
                    tensors[e.first + k] = constant(next(old).held() + g if had else g, e.frames)
                continue
            if e.kind == WRITE:
                mode.enabled = False
            out = core.compute(e.op, operands, e.params)
            for k, x in enumerate(out if type(out) is tuple else (out,)):
                x._where = e.frames
                if e.kind == WRITE:
                    old = operands[k]
                    note_replaced(old, Write(e.op.name, e.frames))
                    x = constant(x._array.astype(e.specs[k].dtype, copy=False), e.frames)
                    x.requires = old.requires
                    if x.requires:
                        x._node = leaf_node(_owner(run, e.refs[k]), x._array)
                tensors[e.first + k] = x
    finally:
        mode.enabled = enabled
    for k, t in enumerate(run.results) if not run.alive else [(k, r()) for k, r in run.alive]:
        if t is not None and (t._key or t._last_key) == run.base + k:
            x = tensors[k]
            if t._array is None:
                t._array = x._array
            if x._node is not None and (not t.leaf or t._array is x._array):
                t._node = x._node


def let_go(run):
    """What a run began with is written over: its results are there, and their history is what a backward pass has freed (else nothing was written over)."""
    for k, t in enumerate(run.results):
        if t.requires and not t.leaf and (t._key or t._last_key) == run.base + k and t._array is not None:
            t._node = freed(t)


def freed(t):
    """The Node of a result whose history a backward pass has let go."""
    return Node(INPUT, (), backward_pass.FREED, t.held(), t.shape, t.dtype, t._frames)


def _owner(run, ref):
    """The tensor of the user's that a leaf's gradient belongs to."""
    return run.tensors[ref - OUTSIDE] if ref >= OUTSIDE else run.results[ref]


def _stand_in(run, n):
    """An outside tensor as it was when it was met."""
    t = run.tensors[n]
    if t._array is run.arrays[n]:
        return t
    out = constant(run.arrays[n], t._frames or ())
    out.requires = t.requires
    if t.requires:
        out._node = leaf_node(t, out._array)
    if run.versions and run.versions[n] != t._version:
        note_replaced(out, Write("an update that followed", t._frames))
    return out
