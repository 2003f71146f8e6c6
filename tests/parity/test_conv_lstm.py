"""Convolutional LSTMs against Keras: outputs, last states and all gradients."""

import jax.numpy as jnp

from ansatz import nn
from tests.parity import replay

CASES = replay.load("conv_lstm")


def backwards(layer, x):
    """Keras gives the outputs in the order in which they were made."""
    y, state = layer(x)
    return y[:, ::-1], state


def test_over_images_it_computes_what_keras_computes():
    layer = nn.Recurrent(nn.ConvLSTMCell(2, (3, 2)), reverse=True)
    replay.check(CASES["images backwards"], layer, backwards)


def test_channels_may_come_first():
    replay.check(
        CASES["images backwards"],
        nn.Recurrent(nn.ConvLSTMCell(2, (3, 2), layout="NCHW"), reverse=True),
        backwards,
        to_ours=lambda x: jnp.moveaxis(x, -1, -3),
        to_theirs=lambda x: jnp.moveaxis(x, -3, -1),
    )
