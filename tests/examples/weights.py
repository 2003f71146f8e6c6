"""Weights that two frameworks can draw alike: by name, with NumPy, on either side of a fixture."""

import zlib

import numpy as np


def weights_by_name(shapes):
    """`{name: array}` for `{name: shape}`; each array depends on its own name and shape alone.

    Scales and running variances lie around one, so that a deep network stays in range, and
    weights have the variance that keeps it there.
    """
    return {name: _draw(name, tuple(shape)) for name, shape in shapes.items()}


def _draw(name, shape):
    rng = np.random.default_rng(zlib.crc32(name.encode()))
    if name.endswith("num_batches_tracked"):
        return np.asarray(1000)
    if len(shape) > 1:
        fan_in = np.prod(shape[1:])
        return (rng.normal(size=shape) * np.sqrt(2 / fan_in)).astype(np.float32)
    if name.endswith(("running_var", "weight")):
        return rng.uniform(0.5, 1.5, shape).astype(np.float32)
    return (0.1 * rng.normal(size=shape)).astype(np.float32)


def images(shape):
    """The input of a fixture, channels last."""
    return np.random.default_rng(18).normal(size=shape).astype(np.float32)
