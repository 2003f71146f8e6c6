r"""Renamings for the checkpoints of well-known libraries, for `rename=`.

Each brings names and layouts to those of PyTorch, which are Ansatz's: `weight` of a dense layer
`(out, in)`, of a convolution `(out, in, *kernel)`. What a network of one's own calls its parts
comes after it: `rename=[rename_tables.GPT2, {"h.*": "blocks.*"}]`.
"""

from __future__ import annotations

import re

from ansatz.checkpoint.rename import Rule, strip_prefix

GPT2: tuple[Rule, ...] = (
    strip_prefix("transformer."),
    # The causal mask, which was stored as if it were a parameter.
    Rule(re.compile(r"(^|\.)attn\.(masked_)?bias$"), None),
    # These layers hold (in, out).
    Rule(re.compile(r"\.(c_attn|c_proj|c_fc|q_attn)\.weight$"), transpose=True),
)
"""Hugging Face GPT-2: `wte`, `wpe`, `h.0.attn.c_attn`, …, `ln_f`, `lm_head`."""

BERT: tuple[Rule, ...] = (
    strip_prefix("bert."),
    # Files from before 2019 have the names of TensorFlow.
    Rule(re.compile(r"(^|\.)LayerNorm\.gamma$"), r"\1LayerNorm.weight"),
    Rule(re.compile(r"(^|\.)LayerNorm\.beta$"), r"\1LayerNorm.bias"),
    # Counted up from zero, not learned.
    Rule(re.compile(r"(^|\.)embeddings\.(position|token_type)_ids$"), None),
)
"""Hugging Face BERT: `embeddings.…`, `encoder.layer.0.…`, `pooler.dense`, `cls.…`."""

LLAMA: tuple[Rule, ...] = (
    strip_prefix("model."),
    # Computed from the position, not learned.
    Rule(re.compile(r"(^|\.)rotary_emb\.inv_freq$"), None),
)
"""Hugging Face Llama: `embed_tokens`, `layers.0.self_attn.q_proj`, …, `norm`, `lm_head`."""

TORCHVISION: tuple[Rule, ...] = (
    # DenseNet's files have names that its class has given up. Others have a `conv.1.` in earnest.
    Rule(re.compile(r"(\.denselayer\d+\.(?:norm|relu|conv))\.([12])\."), r"\1\2."),
)
"""torchvision: names as they are, those of the old DenseNet files mended."""

GLUONCV: tuple[Rule, ...] = (
    Rule(re.compile(r"(^|[._])gamma$"), r"\1weight"),
    Rule(re.compile(r"(^|[._])beta$"), r"\1bias"),
)
"""Gluon and GluonCV: the names of normalisation layers; all layouts are PyTorch's already."""

_LAYER = r"(^|\.)(%s(?:_\d+)?)\.%d$"  # a layer as Keras names it, and the place of a weight in it


def _keras(layer: str, *names: str, transpose: bool | tuple[int, ...] = False) -> list[Rule]:
    """The names of a layer's weights, in Keras' order; the first of them is also turned."""
    turns = [transpose, *([False] * (len(names) - 1))]
    return [
        Rule(re.compile(_LAYER % (layer, i)), rf"\1\2.{name}", transpose=turns[i])
        for i, name in enumerate(names)
    ]


KERAS: tuple[Rule, ...] = (
    strip_prefix("layers."),
    *_keras("dense", "weight", "bias", transpose=True),
    # (*kernel, in, out)
    *_keras("conv1d", "weight", "bias", transpose=(2, 1, 0)),
    *_keras("conv2d", "weight", "bias", transpose=(3, 2, 0, 1)),
    *_keras("conv3d", "weight", "bias", transpose=(4, 3, 0, 1, 2)),
    *_keras("batch_normalization", "weight", "bias", "running_mean", "running_var"),
    *_keras("layer_normalization", "weight", "bias"),
    *_keras("embedding", "weight"),
)
"""Keras 3: `layers.dense_1.0` becomes `dense_1.weight`, with its axes as they are here."""

FLAX: tuple[Rule, ...] = (
    strip_prefix("params."),
    strip_prefix("batch_stats."),
    Rule(re.compile(r"(^|\.)((?:Conv|[cC]onv)[^.]*)\.kernel$"), r"\1\2.weight", (3, 2, 0, 1)),
    Rule(re.compile(r"(^|\.)kernel$"), r"\1weight", transpose=True),
    Rule(re.compile(r"(^|\.)(scale|embedding)$"), r"\1weight"),
    Rule(re.compile(r"(^|\.)mean$"), r"\1running_mean"),
    Rule(re.compile(r"(^|\.)var$"), r"\1running_var"),
)
"""Flax Linen: `params.Dense_0.kernel` becomes `Dense_0.weight`; convolutions are taken as 2-D."""
