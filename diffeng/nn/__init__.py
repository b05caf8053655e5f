"""Layers and losses with PyTorch's names: Module and its parameters (module.py), containers.py, layers.py, losses.py, functional.py, init.py.

What it is not: no meaning of an operation that tensor_engine/operations.py has already, and no derivative.

>>> import diffeng as de
>>> net = de.nn.Sequential(de.nn.Linear(10, 5), de.nn.ReLU(), de.nn.Linear(5, 1), de.nn.Sigmoid())
>>> net(de.zeros(3, 10)).shape
(3, 1)
"""
from ..errors import absent
from ..import_paths import provide
from . import activations, functional, init, losses, padding          # noqa: F401
from .containers import ModuleDict, ParameterDict, ParameterList          # noqa: F401
from .convolution import _ConvNd, _ConvTransposeNd          # noqa: F401  what isinstance asks for
from .convolution import Conv1d, Conv2d, Conv3d, ConvTranspose1d, ConvTranspose2d, ConvTranspose3d          # noqa: F401
from .layers import _BatchNorm, _InstanceNorm          # noqa: F401
from .layers import (BatchNorm1d, BatchNorm2d, BatchNorm3d, Bilinear, CosineSimilarity, Dropout, Dropout1d, Dropout2d, Dropout3d, Embedding, Flatten, GroupNorm, Identity, InstanceNorm1d,          # noqa: F401
                     InstanceNorm2d, InstanceNorm3d, LayerNorm, Linear, PairwiseDistance, RMSNorm, Unflatten)
from .losses import (_Loss, BCELoss, BCEWithLogitsLoss, CrossEntropyLoss, CTCLoss, HuberLoss, KLDivLoss, L1Loss, MSELoss, NLLLoss, SmoothL1Loss)          # noqa: F401
from .pooling import (AdaptiveAvgPool1d, AdaptiveAvgPool2d, AdaptiveAvgPool3d, AdaptiveMaxPool1d, AdaptiveMaxPool2d, AdaptiveMaxPool3d, AvgPool1d, AvgPool2d,          # noqa: F401
                      AvgPool3d, ChannelShuffle, LocalResponseNorm, MaxPool1d, MaxPool2d, MaxPool3d, PixelShuffle, PixelUnshuffle)
from .resampling import Fold, Unfold, Upsample, UpsamplingBilinear2d, UpsamplingNearest2d          # noqa: F401
from .recurrent import GRU, LSTM, RNN, GRUCell, LSTMCell, RNNCell          # noqa: F401
from .transformer import (MultiheadAttention, Transformer, TransformerDecoder, TransformerDecoderLayer, TransformerEncoder,          # noqa: F401
                          TransformerEncoderLayer)
from .module import Module, Parameter          # noqa: F401
from .sequential import ModuleList, Sequential          # noqa: F401
from . import utils          # noqa: F401, E402

globals().update(activations.MODULES | losses.MODULES | padding.MODULES)

provide(__name__, "modules parameter")
provide(f"{__name__}.modules", "activation batchnorm container conv distance dropout flatten fold instancenorm linear loss module normalization padding pixelshuffle pooling rnn sparse "
                               "transformer upsampling", __name__)
provide(f"{__name__}.modules", "utils", f"{__name__}.convolution")


def __getattr__(name):
    raise absent(f"module {__name__!r}", name, {}, [n for n in globals() if n[0].isupper()])
