"""What tests of convolution as an operation share."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np

from ansatz.nn.sliding import Sliding, slide
from ansatz.nn.spatial import spatial_axes
from tests.nn.reference import close


def sliding(stride=1, pads=0, dilation=1, groups=1, layout="NHWC", spread=1):
    axes = len(layout) - 2
    pair = (pads, pads) if isinstance(pads, int) else pads
    return Sliding(
        (stride,) * axes, (pair,) * axes, (dilation,) * axes, (spread,) * axes, groups, layout
    )


def arrays(*shapes):
    rng = np.random.default_rng(0)
    return [jnp.asarray(rng.normal(size=shape), "float32") for shape in shapes]


def plain(x, weight, window):
    """`slide` of an input that is padded already, and a weight that is dilated already.

    XLA of jax 0.10 computes negative padding wrong, and may abort on the gradient of a dilated
    window that strides.
    """
    pads, axes = window.pads, spatial_axes(window.layout)
    config = [(0, 0, 0)] * x.ndim
    for axis, (before, after), spread in zip(axes, pads, window.spread, strict=True):
        config[axis] = (before, after, spread - 1)
    x = jax.lax.pad(x, jnp.zeros((), x.dtype), config)
    gaps = [(0, 0, 0), (0, 0, 0), *((0, 0, dilation - 1) for dilation in window.dilation)]
    weight = jax.lax.pad(weight, jnp.zeros((), weight.dtype), gaps)
    once = (1,) * len(pads)
    alone = {"pads": ((0, 0),) * len(pads), "spread": once, "dilation": once}
    return slide(x, weight, dataclasses.replace(window, **alone))


def agree(way, x, weight, window, *, atol=2e-4):
    """Outputs and both gradients, of a function whose cotangent depends on the output."""

    def run(way):
        def compute(x, weight):
            y, pullback = jax.vjp(lambda x, weight: way(x, weight, window), x, weight)
            return y, pullback(jnp.sin(y))

        return jax.jit(compute)(x, weight)

    (y, grads), (expected, expected_grads) = run(way), run(plain)
    assert y.shape == expected.shape
    close(y, expected, rtol=1e-4, atol=1e-4)
    for grad, wanted in zip(grads, expected_grads, strict=True):
        close(grad, wanted, rtol=1e-4, atol=atol)
