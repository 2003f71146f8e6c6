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
    # DenseNet's files have names that its class has given up.
    Rule(re.compile(r"\.(norm|relu|conv)\.([12])\."), r".\1\2."),
)
"""torchvision: names as they are, those of the old DenseNet files mended."""

GLUONCV: tuple[Rule, ...] = (
    Rule(re.compile(r"(^|[._])gamma$"), r"\1weight"),
    Rule(re.compile(r"(^|[._])beta$"), r"\1bias"),
)
"""Gluon and GluonCV: the names of normalisation layers; all layouts are PyTorch's already."""

KERAS: tuple[Rule, ...] = (
    Rule(re.compile(r"(^|\.)gamma$"), r"\1weight"),
    Rule(re.compile(r"(^|\.)beta$"), r"\1bias"),
    Rule(re.compile(r"(^|\.)moving_mean$"), r"\1running_mean"),
    Rule(re.compile(r"(^|\.)moving_variance$"), r"\1running_var"),
    Rule(re.compile(r"(^|\.)embeddings$"), r"\1weight"),
    # (in, out), or (*kernel, in, out): see `kernel_axes` for the other orders.
    Rule(re.compile(r"(^|\.)kernel$"), r"\1weight"),
)
"""Keras: the names of weights; `keras_kernel` adds the layout."""


def keras_kernel(pattern: str, rank: int) -> Rule:
    """The layout of the kernels of Keras that a glob fits, after the names of `KERAS`.

    Args:
        pattern: a glob over new names, such as `"conv*.weight"`.
        rank: how many axes they have: 2 for a dense layer, 3 to 5 for convolutions.

    Example:
        >>> from ansatz.checkpoint.rename_tables import keras_kernel
        >>> keras_kernel("conv*.weight", 4)("conv2d.weight").turns
        ((3, 2, 0, 1),)
    """
    return Rule(pattern, transpose=(rank - 1, rank - 2, *range(rank - 2)))
