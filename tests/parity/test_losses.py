"""Losses against PyTorch: values and gradients, for every reduction that PyTorch has."""

import functools

import jax.numpy as jnp
import numpy as np
import pytest

from ansatz import nn
from tests.parity import replay

CASES = replay.load("losses")
CLASS_WEIGHTS = np.array([0.5, 1.0, 1.5, 2.0, 0.75], np.float32)
POSITIVE_WEIGHT = np.array([0.5, 2.0, 3.0], np.float32)
YES = np.array([0.0, 1.0, 0.0, 1.0], np.float32)
LOGITS = functools.partial(nn.binary_cross_entropy, from_logits=True)


def cross_entropy(smoothing, weights=None, **options):
    return functools.partial(
        nn.softmax_cross_entropy,
        label_smoothing=smoothing,
        class_weights=weights,
        **options,
    )


def of_each_reduction(losses):
    return {
        f"{name} {reduction}": functools.partial(loss, reduction=reduction)
        for name, loss in losses.items()
        for reduction in ("mean", "sum", "none")
    }


def ctc(logits, labels, times, sizes, **options):
    """PyTorch has the time first."""
    return nn.ctc_loss(
        jnp.moveaxis(logits, 0, 1),
        labels,
        logit_lengths=times,
        label_lengths=sizes,
        reduction="none",
        **options,
    )


def multilabel_margin(scores, indices, **options):
    """PyTorch has the indices of the classes that apply, up to the first negative one."""
    applies = np.zeros(scores.shape, bool)
    for row, listed in zip(applies, np.asarray(indices).tolist(), strict=True):
        row[listed[: listed.index(-1)] if -1 in listed else listed] = True
    return nn.multilabel_margin_loss(scores, applies, **options)


def largest_difference(x, y):
    return jnp.abs(x - y).max(-1)


OURS = {
    **{
        f"cross entropy {labels} {reduction} {smoothing}{kind}": cross_entropy(
            smoothing, weights, reduction=reduction
        )
        for labels in ("integers", "probabilities")
        for reduction in ("mean", "sum", "none")
        for smoothing in (0.0, 0.1)
        for kind, weights in (("", None), (" weighted", CLASS_WEIGHTS))
    },
    "cross entropy planes": functools.partial(nn.softmax_cross_entropy, axis=1),
    **of_each_reduction(
        {
            "cross entropy ignored": cross_entropy(0.1, CLASS_WEIGHTS, ignore_index=-100),
            "negative log likelihood": functools.partial(
                nn.nll_loss, class_weights=CLASS_WEIGHTS, ignore_index=-100
            ),
            "binary logits": LOGITS,
            "binary positive": functools.partial(LOGITS, positive_weight=POSITIVE_WEIGHT),
            "binary probabilities": functools.partial(nn.binary_cross_entropy, from_logits=False),
            "l1": nn.l1_loss,
            "l2": nn.l2_loss,
            "huber 1.0": nn.huber_loss,
            "huber 0.3": functools.partial(nn.huber_loss, delta=0.3),
            "smooth l1 1.0": nn.smooth_l1_loss,
            "smooth l1 0.3": functools.partial(nn.smooth_l1_loss, beta=0.3),
            "smooth l1 0": functools.partial(nn.smooth_l1_loss, beta=0.0),
            "kl": nn.kl_divergence,
            "cosine embedding": functools.partial(nn.cosine_embedding_loss, margin=0.1),
            "triplet": nn.triplet_loss,
            "hinge embedding": functools.partial(nn.hinge_embedding_loss, margin=0.7),
            "multi margin": functools.partial(
                nn.multi_margin_loss, power=2, margin=0.8, class_weights=CLASS_WEIGHTS
            ),
            "multi-label margin": multilabel_margin,
        }
    ),
    "kl of logarithms": functools.partial(nn.kl_divergence, log_targets=True),
    "triplet options": functools.partial(nn.triplet_loss, margin=2.0, power=1.0, swap=True),
    "triplet distance": functools.partial(
        nn.triplet_loss, margin=0.4, distance=largest_difference, swap=True
    ),
    "multi margin": nn.multi_margin_loss,
    "hinge": functools.partial(nn.hinge_loss, margin=0.7),
    "focal": lambda z: nn.focal_loss(z, YES),
    "focal without alpha": lambda z: nn.focal_loss(z, YES, gamma=1.5, alpha=None),
    **{
        f"poisson {kind} {full}": functools.partial(
            nn.poisson_loss, from_logits=kind == "logits", full=full
        )
        for kind in ("logits", "rates")
        for full in (False, True)
    },
    **{
        f"gaussian {full}": functools.partial(nn.gaussian_loss, full=full) for full in (False, True)
    },
    "l1 kink": nn.l1_loss,
    "smooth l1 kink": functools.partial(nn.smooth_l1_loss, beta=0.0),
    "hinge kink": functools.partial(nn.hinge_loss, margin=0.0),
    "hinge embedding kink": nn.hinge_embedding_loss,
    "cosine embedding kink": nn.cosine_embedding_loss,
    "ctc": ctc,
    "ctc blank last": functools.partial(ctc, blank=-1),
}


@pytest.mark.parametrize("name", CASES)
def test_a_loss_and_its_gradients_are_those_of_pytorch(name):
    replay.check(CASES[name], OURS[name], rtol=3e-5, atol=3e-5)
