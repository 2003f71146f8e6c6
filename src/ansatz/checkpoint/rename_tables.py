r"""Renamings for the checkpoints of well-known libraries, for `rename=`.

Each brings names and layouts to those of PyTorch, which are Ansatz's: `weight` of a dense layer
`(out, in)`, of a convolution `(out, in, *kernel)`. What a network of one's own calls its parts
comes after it: `rename=[rename_tables.GPT2, {"h.*": "blocks.*"}]`.
"""

from __future__ import annotations

import re
from types import EllipsisType

from ansatz.checkpoint.rename import Rule


def _without(prefix: str) -> Rule:
    """Takes a prefix from the names that have it, which not all files of a kind have."""
    return Rule(re.compile(f"^{re.escape(prefix)}"), "")


GPT2: tuple[Rule, ...] = (
    _without("transformer."),
    # The causal mask, which was stored as if it were a parameter.
    Rule(re.compile(r"(^|\.)attn\.(masked_)?bias$"), None),
    # These layers hold (in, out).
    Rule(re.compile(r"\.(c_attn|c_proj|c_fc|q_attn)\.weight$"), transpose=True),
)
"""Hugging Face GPT-2: `wte`, `wpe`, `h.0.attn.c_attn`, …, `ln_f`, `lm_head`."""

BERT: tuple[Rule, ...] = (
    _without("bert."),
    # Files from before 2019 have the names of TensorFlow.
    Rule(re.compile(r"(^|\.)LayerNorm\.gamma$"), r"\1LayerNorm.weight"),
    Rule(re.compile(r"(^|\.)LayerNorm\.beta$"), r"\1LayerNorm.bias"),
    # Counted up from zero, not learned.
    Rule(re.compile(r"(^|\.)embeddings\.(position|token_type)_ids$"), None),
)
"""Hugging Face BERT: `embeddings.…`, `encoder.layer.0.…`, `pooler.dense`, `cls.…`."""

LLAMA: tuple[Rule, ...] = (
    _without("model."),
    # Computed from the position, not learned.
    Rule(re.compile(r"(^|\.)rotary_emb\.inv_freq$"), None),
)
"""Hugging Face Llama: `embed_tokens`, `layers.0.self_attn.q_proj`, …, `norm`, `lm_head`."""

TORCHVISION: tuple[Rule, ...] = (
    # DenseNet's files have names that its class has given up. Others have a `conv.1.` in earnest.
    Rule(re.compile(r"(\.denselayer\d+\.(?:norm|relu|conv))\.([12])\."), r"\1\2."),
)
"""torchvision: names as they are, those of the old DenseNet files mended."""


def _gluon_recurrent(theirs: str, ours: str) -> list[Rule]:
    """The names of the weights from the input, or from the state, of recurrent layers and cells."""
    weight = rf"{theirs}_(weight|bias)$"
    return [
        # As files of MXNet 1.x have them, and those of 2.0.
        Rule(re.compile(rf"(^|\.)_unfused\.(\d+)\.(?:l_cell\.)?{weight}"), rf"\1\3_{ours}_l\2"),
        Rule(re.compile(rf"(^|\.)_unfused\.(\d+)\.r_cell\.{weight}"), rf"\1\3_{ours}_l\2_reverse"),
        Rule(re.compile(rf"(^|\.)l(\d+)_{weight}"), rf"\1\3_{ours}_l\2"),
        Rule(re.compile(rf"(^|\.)r(\d+)_{weight}"), rf"\1\3_{ours}_l\2_reverse"),
        Rule(re.compile(rf"(^|\.){weight}"), rf"\1\2_{ours}"),
    ]


GLUONCV: tuple[Rule, ...] = (
    Rule(re.compile(r"(^|[._])gamma$"), r"\1weight"),
    Rule(re.compile(r"(^|[._])beta$"), r"\1bias"),
    *_gluon_recurrent("i2h", "ih"),
    *_gluon_recurrent("h2h", "hh"),
)
"""Gluon and GluonCV: the names of norms and of recurrent layers; all layouts, and the order of the
gates, are PyTorch's already."""

_KERNEL = (-1, -2, ...)  # (*kernel, in, out) becomes (out, in, *kernel), whatever its rank.
_LAYER = r"(^|\.)(%s(?:_\d+)?)\.%d$"  # a layer as Keras names it, and the place of a weight in it


def _keras(
    layer: str, *names: str, transpose: bool | tuple[int | EllipsisType, ...] = False
) -> list[Rule]:
    """The names of a layer's weights, in Keras' order; the first of them is also turned."""
    turns = [transpose, *([False] * (len(names) - 1))]
    return [
        Rule(re.compile(_LAYER % (layer, i)), rf"\1\2.{name}", transpose=turns[i])
        for i, name in enumerate(names)
    ]


KERAS: tuple[Rule, ...] = (
    _without("layers."),
    # A network within a network.
    Rule(re.compile(r"(^|\.)((?:sequential|functional)(?:_\d+)?)\.layers\."), r"\1\2."),
    *_keras("dense", "weight", "bias", transpose=True),
    # Transposed ones are (*kernel, out, in), and (in, out, *kernel) here.
    *_keras(r"conv[123]d(?:_transpose)?", "weight", "bias", transpose=_KERNEL),
    # (*kernel, in, 1), which is (in, 1, *kernel) here.
    *_keras(r"depthwise_conv[12]d", "weight", "bias", transpose=(-2, -1, ...)),
    *_keras("batch_normalization", "weight", "bias", "running_mean", "running_var"),
    *_keras("(?:layer|group)_normalization", "weight", "bias"),
    *_keras("rms_normalization", "weight"),
    *_keras("embedding", "weight"),
)
"""Keras 3: `layers.dense_1.0` becomes `dense_1.weight`, with its axes as they are here.

Keras tells weights by their place, so a layer without one of them (`scale=False`) is told wrongly.
"""

FLAX: tuple[Rule, ...] = (
    _without("params."),
    _without("batch_stats."),
    # Flax and PyTorch go through the kernel of a transposed convolution in opposite directions,
    # which no order of axes expresses. It keeps its name, so it is not loaded.
    Rule(re.compile(r"^((?:.*\.)?(?!ConvTranspose)[^.]*\.)?kernel$"), r"\1weight", _KERNEL),
    Rule(re.compile(r"(^|\.)(scale|embedding)$"), r"\1weight"),
    Rule(re.compile(r"(^|\.)mean$"), r"\1running_mean"),
    Rule(re.compile(r"(^|\.)var$"), r"\1running_var"),
)
"""Flax Linen: `params.Dense_0.kernel` becomes `Dense_0.weight`, kernels of every rank turned.

A transposed convolution is known by the name that Flax gives it, `ConvTranspose_0`, and keeps its
`kernel`. Called otherwise (`nn.ConvTranspose(8, (3, 3), name="up")`) it cannot be told from a
convolution: its kernel becomes `up.weight`, although Flax goes through it in the opposite
direction. Leave it out: `rename=[{"*up.kernel": None}, *rename_tables.FLAX]`.
"""
