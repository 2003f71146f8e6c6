"""Losses against Gluon: what each of its losses is in our words, values and gradients."""

import functools

import jax
import jax.numpy as jnp
import pytest

from ansatz import nn
from tests.parity import replay

CASES = replay.load("losses_gluon")


def per_sample(loss, **options):
    return functools.partial(loss, reduction="sample", **options)


def half(loss):
    return lambda *inputs: 0.5 * loss(*inputs)


def weighted(loss):
    """Gluon's `sample_weight`, which comes third."""
    return lambda scores, targets, weights: loss(scores, targets, weights=weights[:, 0])


def of_integers(loss):
    """Gluon's labels are numbers of the dtype of the scores."""
    return lambda scores, labels, **options: loss(scores, labels.astype(jnp.int32), **options)


def logistic(scores, signs):
    return nn.binary_cross_entropy(scores, (signs + 1) / 2, from_logits=True, reduction="sample")


def triplet(anchors, positives, negatives):
    """Gluon compares squared distances."""
    nearer, farther = (jnp.sum((other - anchors) ** 2, -1) for other in (positives, negatives))
    return nn.hinge_loss(farther - nearer, jnp.ones(len(anchors)), margin=0.5, reduction="none")


CROSS_ENTROPY = of_integers(per_sample(nn.softmax_cross_entropy))
KL = per_sample(nn.kl_divergence)
COSINE = per_sample(nn.cosine_embedding_loss, margin=0.1)

OURS = {
    "l2": half(per_sample(nn.l2_loss)),
    "l2 weighted": half(weighted(per_sample(nn.l2_loss))),
    "l1": per_sample(nn.l1_loss),
    "huber": per_sample(nn.smooth_l1_loss, beta=0.5),
    "binary": per_sample(nn.binary_cross_entropy, from_logits=True),
    "binary of probabilities": per_sample(nn.binary_cross_entropy, from_logits=False),
    "softmax": CROSS_ENTROPY,
    "softmax weighted": weighted(CROSS_ENTROPY),
    "softmax of shares": per_sample(nn.softmax_cross_entropy),
    "softmax of logarithms": of_integers(per_sample(nn.nll_loss)),
    "kl": KL,
    "kl of logits": lambda scores, shares: KL(jax.nn.log_softmax(scores), shares),
    "hinge": per_sample(nn.hinge_loss, margin=0.7),
    "squared hinge": per_sample(nn.squared_hinge_loss, margin=0.7),
    "logistic": logistic,
    # Gluon's mean has an axis, and its cosines keep the last one.
    "poisson": lambda *inputs: nn.poisson_loss(*inputs, from_logits=True)[None],
    "cosine": lambda *inputs: COSINE(*inputs)[:, None],
    "triplet": triplet,
    "ctc": of_integers(per_sample(nn.ctc_loss, blank=-1)),
}


def test_every_loss_of_gluon_that_was_recorded_is_compared():
    assert OURS.keys() == CASES.keys()


@pytest.mark.parametrize("name", OURS)
def test_values_and_gradients_are_those_of_gluon(name):
    case = CASES[name]
    for i in range(1, len(case.inputs)):  # Recorded are the gradients of the first input.
        case.input_grads.pop(str(i), None)
    replay.check(case, OURS[name])
