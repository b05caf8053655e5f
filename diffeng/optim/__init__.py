"""Optimisers (optimizers.py, adaptive.py, lbfgs.py), schedules of the learning rate (lr_scheduler.py), clipping of gradients, with PyTorch's names.

>>> import diffeng as de
>>> w = de.tensor([1.0, 2.0], requires_grad=True)
>>> optimizer = de.optim.SGD([w], lr=0.1)
>>> (w * w).sum().backward()
>>> optimizer.step()
>>> w
tensor([0.8000, 1.6000], requires_grad=True)
"""
from ..import_paths import provide
from . import lr_scheduler          # noqa: F401
from .clipping import clip_grad_norm, clip_grad_norm_, clip_grad_value_          # noqa: F401
from .adaptive import NAdam, RAdam, Adadelta, Adagrad, Adamax          # noqa: F401
from .lbfgs import LBFGS          # noqa: F401
from .lr_scheduler import (ChainedScheduler, ConstantLR, CosineAnnealingLR, CosineAnnealingWarmRestarts, CyclicLR, ExponentialLR, LambdaLR, LinearLR,     # noqa: F401
                           LRScheduler, MultiplicativeLR, MultiStepLR, OneCycleLR, PolynomialLR, ReduceLROnPlateau, SequentialLR, StepLR)
from .optimizers import SGD, Adam, AdamW, Optimizer, RMSprop          # noqa: F401

provide(__name__, "optimizer sgd adam adamw rmsprop adagrad adadelta adamax nadam radam")
