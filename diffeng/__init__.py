"""diffeng: write NumPy; get the value, the derivative, the formula, the picture, and a verdict.

Everything public is named here; a module is imported when the first of its names is used.
"""
__version__ = "0.1.0"

_HOME = {
    "differentiate": "grad value_and_grad jacobian hessian jvp vjp hvp linearize stop_gradient",
    "graph": "trace symbols to_graph Graph",
    "expressions": "parse from_sympy",
    "compiled": "jit",
    "verdict": "compare",
    "ulp": "accuracy",
    "update": "at",
    "checkpointing": "checkpoint",
    "own_rules": "custom",
    "control": "cond while_loop scan",
    "taylor": "jet",
    "batching": "vmap",
    "tensors": "tensor Tensor FloatTensor DoubleTensor HalfTensor LongTensor IntTensor ShortTensor CharTensor ByteTensor BoolTensor Size device finfo iinfo set_printoptions from_numpy as_tensor no_grad "
               "enable_grad set_grad_enabled is_grad_enabled manual_seed Generator zeros ones empty full "
               "arange linspace logspace eye tril_indices triu_indices rand randn randint randperm normal bernoulli multinomial zeros_like ones_like empty_like full_like "
               "rand_like randn_like add sub mul div multiply divide subtract true_divide neg pow fmod matmul mm bmm mv outer addmm cat concat concatenate "
               "stack hstack vstack flatten unflatten ravel t permute squeeze unsqueeze chunk split unbind narrow gather "
               "scatter scatter_add index_add index_select select take detach "
               "masked_select masked_fill topk sort argsort argmax argmin max min amax amin any all norm std cumsum cumprod count_nonzero "
               "sigmoid relu gelu silu leaky_relu softplus logsigmoid asin acos atan atan2 asinh acosh atanh rsqrt reciprocal floor ceil round trunc clamp clip eq ne lt "
               "le gt ge isnan isinf isfinite isclose allclose equal logical_and logical_or logical_not logical_xor tril triu diag diagonal roll flip tile "
               "broadcast_to broadcast_tensors meshgrid is_tensor numel result_type lerp addcmul addcdiv nan_to_num unique bincount median nonzero movedim "
               "swapaxes swapdims moveaxis var_mean std_mean isin diff kron lgamma digamma clamp_min clamp_max baddbmm promote_types clone inverse det logdet slogdet cholesky pinverse matrix_power matrix_exp cross is_floating_point floor_divide remainder bitwise_and bitwise_or bitwise_xor bitwise_not repeat_interleave vdot ger fix sgn negative "
               "cummax cummin logcumsumexp quantile nanquantile nanmedian kthvalue mode msort aminmax histc unique_consecutive searchsorted bucketize "
               "diag_embed diagflat rot90 fliplr flipud tensor_split split_with_sizes take_along_dim argwhere index_put index_fill index_copy "
               "masked_scatter select_scatter slice_scatter scatter_reduce is_nonzero hsplit vsplit dsplit atleast_1d atleast_2d atleast_3d dstack "
               "column_stack block_diag cartesian_prod combinations vander broadcast_shapes unravel_index row_stack frac deg2rad rad2deg sinc isposinf "
               "isneginf fmax fmin heaviside logaddexp2 float_power inner ldexp signbit copysign nansum nanmean dist renorm cov corrcoef addmv addr "
               "addbmm gcd lcm positive rsub erfinv i0 igamma igammac mvlgamma polygamma cdist trapezoid cumulative_trapezoid pairwise_distance trapz negative greater less "
               "greater_equal less_equal not_equal is_complex is_signed is_same_size conj adjoint svd qr resolve_conj randint_like chain_matmul scalar_tensor asarray "
               "get_default_dtype real spmm dsmm get_rng_state set_rng_state initial_seed memory_format layout",
    "autograd": "inference_mode",
    "nn.functional": "bilinear channel_shuffle ctc_loss conv3d conv_transpose3d max_pool3d conv_transpose1d conv_transpose2d adaptive_max_pool1d instance_norm kl_div margin_ranking_loss triplet_margin_loss cosine_embedding_loss "
                     "hinge_embedding_loss poisson_nll_loss pixel_unshuffle rms_norm dropout cosine_similarity conv1d conv2d celu selu prelu threshold hardshrink relu_ group_norm layer_norm batch_norm embedding pixel_shuffle "
                     "max_pool1d max_pool2d avg_pool1d adaptive_avg_pool1d binary_cross_entropy_with_logits",
    "saving": "save load",
    "special": "erf erfc expit log_expit logit xlogy logsumexp softmax log_softmax",
}
_ROOMS = "special linalg testing kernels llm autograd random nn optim utils distributions distributed cuda".split()          # modules whose names are public: de.nn.Linear
_WHERE = {name: module for module, names in _HOME.items() for name in names.split()}
# NumPy's own functions under diffeng's name too, for expressions of symbols: de.sin(x) * y; of tensors they are PyTorch's
_NUMPY = set("exp exp2 expm1 log log2 log10 log1p sqrt cbrt square absolute abs sign sin cos tan arcsin arccos arctan arctan2 hypot sinh cosh tanh "
             "arcsinh arccosh arctanh maximum minimum where power logaddexp sum mean prod var dot matmul einsum tensordot reshape transpose".split())
_CONSTANTS = set("pi e inf nan".split())
_DTYPES = set("float16 float32 float64 int8 int16 int32 int64 uint8 bool".split())
_DTYPE_NAMES = {"float": "float32", "double": "float64", "half": "float16", "long": "int64", "int": "int32", "short": "int16"}
# PyTorch's names that there are none of here, and what to do instead
_INSTEAD = {
    "compile": "de.jit compiles functions of arrays, and training steps of tensors become programs by themselves: call the model as it is",
    "func": "de.grad, de.vmap, de.jvp, de.vjp take functions of arrays",
    "bfloat16": "NumPy has no such dtype: use de.float32 or de.float16", "complex64": "tensors are real: use two of them", "complex128": "tensors are real: use two of them",
    "autocast": "compute in one dtype, with model.to(de.float16) or in float32", "amp": "compute in one dtype, with model.to(de.float16) or in float32",
    "backends": "de.cuda.is_available() says whether there is a GPU; there are no other devices, and nothing to switch", "mps": "there are the devices 'cpu' and 'cuda'",
    "set_default_dtype": "float32 is the default: give dtype= where a tensor is made, and model.double()", "set_default_tensor_type": "float32 is the default: give dtype= where a tensor is made",
    "fft": "there are no complex tensors: np.fft of x.numpy() has no gradient; the products with cosines and sines have one", "complex": "tensors are real: use two of them",
    "sparse_coo_tensor": "tensors are dense: use scipy.sparse in functions of arrays, or x.to_dense() before", "lu_unpack": "scipy.linalg.lu of x.numpy() has the three factors",
    "lu": "scipy.linalg.lu of x.numpy() has the three factors; de.linalg.solve has gradients",
    "use_deterministic_algorithms": "what is computed is the same each time: leave it out", "set_float32_matmul_precision": "products are float32's own: leave it out",
    "set_num_threads": "set DIFFENG_THREADS before Python starts", "newaxis": "write None",
}
__all__ = sorted(_WHERE) + _ROOMS


def __getattr__(name):
    """A public name, when it is first asked for: from then on it is an attribute like any other."""
    globals()[name] = found = _found(name)
    return found


def _found(name):
    import importlib
    if name in _DTYPES or name in _DTYPE_NAMES:
        import numpy
        return numpy.dtype(_DTYPE_NAMES.get(name, name))
    if name in _CONSTANTS:
        import math
        return getattr(math, name)
    if name in _NUMPY or _WHERE.get(name) == "special":
        return importlib.import_module(f"{__name__}.shared_names").function(name)
    if name in _WHERE:
        return getattr(importlib.import_module(f"{__name__}.{_WHERE[name]}"), name)
    if name in ("preserve_format", "contiguous_format", "channels_last", "channels_last_3d", "strided"):
        keywords = importlib.import_module(f"{__name__}.tensor_engine.keywords")
        return getattr(keywords.layout if name == "strided" else keywords.memory_format, name)
    if name[-1] == "_" and name[0] != "_" and name in (functions := importlib.import_module(f"{__name__}.tensors").FUNCTIONS):
        return functions[name]                                                 # sin_(x), which writes into x
    if name in _ROOMS or name in _HOME:
        return importlib.import_module(f"{__name__}.{name}")
    if importlib.machinery.PathFinder.find_spec(f"{__name__}.{name}", __path__):
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}: import {__name__}.{name}")          # mostly `from . import` asks, and nobody reads it
    raise importlib.import_module(f"{__name__}.errors").absent(f"module {__name__!r}", name, _INSTEAD, __all__)


def __dir__():
    return sorted(set(globals()) | set(__all__))
