"""Losses: plain functions of predictions and targets. `reduction.py` tells what all have in common.

A loss with other options is `functools.partial(nn.huber_loss, delta=0.1)`, also for a `Trainer`.
"""

from ansatz.nn.losses.classification import (
    binary_cross_entropy,
    focal_loss,
    nll_loss,
    softmax_cross_entropy,
)
from ansatz.nn.losses.comparison import (
    cosine_embedding_loss,
    kl_divergence,
    triplet_loss,
)
from ansatz.nn.losses.ctc import ctc_loss
from ansatz.nn.losses.margins import (
    hinge_embedding_loss,
    hinge_loss,
    multi_margin_loss,
    multilabel_margin_loss,
    squared_hinge_loss,
)
from ansatz.nn.losses.regression import (
    gaussian_loss,
    huber_loss,
    l1_loss,
    l2_loss,
    poisson_loss,
    smooth_l1_loss,
)

__all__ = [
    "binary_cross_entropy",
    "cosine_embedding_loss",
    "ctc_loss",
    "focal_loss",
    "gaussian_loss",
    "hinge_embedding_loss",
    "hinge_loss",
    "huber_loss",
    "kl_divergence",
    "l1_loss",
    "l2_loss",
    "multi_margin_loss",
    "multilabel_margin_loss",
    "nll_loss",
    "poisson_loss",
    "smooth_l1_loss",
    "softmax_cross_entropy",
    "squared_hinge_loss",
    "triplet_loss",
]
