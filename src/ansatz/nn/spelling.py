"""What other libraries call layers and losses: hints for names that `ansatz.nn` does not have."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from ansatz.core import spelling

_ELSEWHERE: Mapping[str, str] = {
    "Activation": 'nn.ReLU() and the like, or activation="relu" of the layer before',
    "Add": "nn.Residual(...)",
    "BCELoss": "nn.binary_cross_entropy(..., from_logits=False)",
    "BCEWithLogitsLoss": "nn.binary_cross_entropy(..., from_logits=True)",
    "BatchStat": "az.State",
    **dict.fromkeys(
        ("Bidirectional", "BidirectionalCell"),
        "bidirectional=True of nn.RNN, nn.LSTM and nn.GRU; for other cells two nn.Recurrent, one "
        "with reverse=True, and jnp.concatenate of their outputs",
    ),
    "Block": "nn.Module",
    "Buffer": "az.State",
    "CTCLoss": "nn.ctc_loss, a function",
    "Concatenate": "nn.Concurrent(...), or jnp.concatenate in a forward",
    "Constant": "az.State(value)",
    **{
        name: f"nn.Recurrent(nn.ConvLSTMCell(channels, {kernel}))"
        for n, kernel in {1: "(3,)", 2: "3", 3: "(3, 3, 3)"}.items()
        for name in (f"ConvLSTM{n}D", f"Conv{n}DLSTMCell")
    },
    "CosineEmbeddingLoss": "nn.cosine_embedding_loss, a function",
    "CosineSimilarity": (
        "(x * y).sum(1) / jnp.sqrt(jnp.maximum((x * x).sum(1), 1e-16)"
        " * jnp.maximum((y * y).sum(1), 1e-16))"
    ),
    "CrossEntropyLoss": "nn.softmax_cross_entropy, a function",
    **{f"Cropping{n}D": "nn.Pad(-1): negative padding cuts cells off" for n in (1, 2, 3)},
    "DataParallel": "jax.device_put of each batch with a NamedSharding; the network stays as it is",
    "Dropout1d": "nn.Dropout(rate, axes=2)",
    "Dropout2d": "nn.Dropout(rate, axes=(2, 3)), or axes=(1, 2) with the channels last",
    "Dropout3d": "nn.Dropout(rate, axes=(2, 3, 4)), or axes=(1, 2, 3) with the channels last",
    "Einsum": "jnp.einsum in a forward, or nn.Dense",
    "Embed": "nn.Embedding",
    "F": "nn itself: nn.relu, nn.softmax_cross_entropy, …",
    "FeatureAlphaDropout": "nn.AlphaDropout(rate, axes=...), with the axes of space",
    "GaussianNLLLoss": "nn.gaussian_loss, a function",
    "HingeEmbeddingLoss": "nn.hinge_embedding_loss, a function",
    "HingeLoss": "nn.hinge_loss, a function",
    "HuberLoss": "nn.huber_loss, a function; Gluon's is nn.smooth_l1_loss",
    "HybridBlock": "nn.Module",
    "HybridLambda": "nn.Lambda",
    "HybridConcatenate": "nn.Concurrent(...), or jnp.concatenate in a forward",
    "HybridSequential": "nn.Sequential",
    "InputLayer": "not needed: the first call tells every size",
    "KLDivLoss": "nn.kl_divergence, a function",
    "L1Loss": "nn.l1_loss, a function",
    "L2Loss": "nn.l2_loss, a function, without Gluon's factor 1/2",
    "LRN": "nn.LocalResponseNorm",
    "Layer": "nn.Module",
    "LinearGeneral": "nn.Dense, with a reshape before or after",
    "List": "a plain list",
    "MSELoss": "nn.l2_loss, a function",
    "MarginRankingLoss": "nn.hinge_loss(first - second, targets, margin=0)",
    "Model": "nn.Module, or nn.Sequential",
    "ModuleDict": "a plain dict",
    "ModuleList": "a plain list",
    "MultiLabelMarginLoss": "nn.multilabel_margin_loss, whose targets are 1 for what applies",
    "MultiLabelSoftMarginLoss": "nn.binary_cross_entropy(..., from_logits=True)",
    "MultiMarginLoss": "nn.multi_margin_loss, a function",
    "NLLLoss": "nn.nll_loss, a function",
    "OptimizedLSTMCell": "nn.LSTMCell",
    "PairwiseDistance": "jnp.linalg.norm(x - y + 1e-6, axis=-1)",
    "Param": "az.Parameter",
    "Parameter": "az.Parameter",
    "ParameterDict": "a plain dict of az.Parameter",
    "ParameterList": "a plain list of az.Parameter",
    "Permute": "nn.Lambda(lambda x: x.transpose(0, ...)), with the batch as axis 0",
    **{
        f"PixelShuffle{n}D": "nn.PixelShuffle(factor), with layout= for channels first"
        for n in (1, 2, 3)
    },
    "PoissonNLLLoss": "nn.poisson_loss, a function",
    "RepeatVector": "nn.Lambda(lambda x: jnp.repeat(x[:, None], n, 1))",
    "Reshape": "nn.Unflatten(1, shape), behind an nn.Flatten() if there are more axes",
    "Resizing": 'nn.Upsample(size=(height, width), mode="linear")',
    "Rngs": "not needed: net.initialize(seed=0) draws every value",
    "SigmoidBCELoss": "nn.binary_cross_entropy(..., from_logits=True)",
    "SigmoidBinaryCrossEntropyLoss": "nn.binary_cross_entropy(..., from_logits=True)",
    "SimpleCell": "nn.RNNCell",
    "SimpleRNN": "nn.RNN",
    "SimpleRNNCell": "nn.RNNCell",
    "SmoothL1Loss": "nn.smooth_l1_loss, a function",
    "SoftMarginLoss": "nn.binary_cross_entropy(..., (targets + 1) / 2, from_logits=True)",
    "Softmax2d": "nn.Softmax(axis=1)",
    "SoftmaxCELoss": "nn.softmax_cross_entropy, a function",
    "SoftmaxCrossEntropyLoss": "nn.softmax_cross_entropy, a function",
    "SpectralNorm": "nn.spectral_norm(layer)",
    "SymbolBlock": "the network itself, and net.load(path)",
    **dict.fromkeys(
        ("SequentialRNNCell", "StackedRNNCells"),
        "one nn.Recurrent after the other, or num_layers= of nn.RNN, nn.LSTM and nn.GRU",
    ),
    "SyncBatchNorm": "nn.BatchNorm, whose statistics are those of the whole batch",
    "TimeDistributed": "not needed: layers such as nn.Dense act on the last axis",
    "Transformer": "nn.TransformerEncoder and nn.TransformerDecoder",
    "TripletMarginLoss": "nn.triplet_loss, a function",
    "TripletMarginWithDistanceLoss": "nn.triplet_loss(..., distance=function)",
    "Unfold": "jax.lax.conv_general_dilated_patches",
    **{
        f"UpSampling{n}D": 'nn.Upsample(scale=2), with mode="linear" for interpolation="bilinear"'
        for n in (1, 2, 3)
    },
    "UpsamplingBilinear2d": 'nn.Upsample(scale=2, mode="linear", align_corners=True, '
    'layout="NCHW")',
    "UpsamplingNearest2d": 'nn.Upsample(scale=2, layout="NCHW")',
    "WeightNorm": "nn.weight_norm(layer)",
    **{f"ZeroPadding{n}D": "nn.Pad(1), or padding= of the layer behind" for n in (1, 2, 3)},
    "binary_cross_entropy_with_logits": "nn.binary_cross_entropy(..., from_logits=True)",
    "compact": "layers made in __init__, or nn.Sequential",
    "conv2d": "jax.lax.conv_general_dilated, or the layer nn.Conv2D",
    "cross_entropy": "nn.softmax_cross_entropy",
    "dropout": "the layer nn.Dropout",
    "functional": "nn itself: nn.relu, nn.softmax_cross_entropy, …",
    "loss": "nn itself: nn.softmax_cross_entropy, nn.l2_loss, …",
    "mse_loss": "nn.l2_loss",
    "one_hot": "jax.nn.one_hot",
    "pad": "jnp.pad, or the layer nn.Pad",
    "pixel_shuffle": "the layer nn.PixelShuffle(factor)",
    "pixel_unshuffle": "the layer nn.PixelUnshuffle(factor)",
    "upsample": "nn.interpolate",
    "rnn": "nn itself: nn.LSTM, nn.GRU, …",
    "utils": "nn.weight_norm, nn.spectral_norm; for packed sequences, lengths= of the layer",
}
"""Names elsewhere that differ from ours by more than capitals, and what to write here."""

_PATTERNS: tuple[tuple[str, str], ...] = (
    (r"^LazyLinear$", "Dense"),
    (r"^Lazy(\w+\d)d$", r"\1D"),
    (r"^Conv(\d)DTranspose$", r"ConvTranspose\1D"),
    (r"AveragePooling", "AvgPool"),
    (r"MaxPooling", "MaxPool"),
    (r"Normalization$", "Norm"),
)
"""Families of such names."""


def no_such_name(name: str, known: Iterable[str]) -> AttributeError:
    """The error about a name that `ansatz.nn` does not have.

    Args:
        name: what was asked for.
        known: the names that are there.
    """
    known = set(known)
    ours = name
    for pattern, replacement in _PATTERNS:
        ours = re.sub(pattern, replacement, ours)
    if ours not in known:
        ours = {other.lower(): other for other in known}.get(ours.lower(), "")
    if name.startswith("SpatialDropout"):
        ours = "nn.Dropout(rate, axes=...), with the axes of space"
    elif ours:
        ours = f"nn.{ours}"
    return spelling.no_such_name("ansatz.nn", name, known, _ELSEWHERE, ours)
