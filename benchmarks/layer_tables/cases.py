"""The rows of the benchmark of layers, and how a layer on JAX becomes two timed calls."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

Call = Callable[[], Any]
"""Runs once and returns when the result is there."""


class Case(NamedTuple):
    """One row.

    Attributes:
        shape: the shape of the input, channels last.
        integers: below which number the integers of the input are, if it holds integers.
        labels: below which number the labels are, one for each row of the input, if it has any.
    """

    shape: tuple[int, ...]
    integers: int | None = None
    labels: int | None = None

    def inputs(self, channels_first: bool = False) -> tuple[np.ndarray[Any, Any], ...]:
        """The input, and the labels if there are any."""
        rng = np.random.default_rng(0)
        if self.integers is not None:
            return (rng.integers(0, self.integers, self.shape).astype(np.int32),)
        x = rng.normal(size=self.shape).astype(np.float32)
        if channels_first and x.ndim > 3:
            x = np.ascontiguousarray(np.moveaxis(x, -1, 1))
        if self.labels is None:
            return (x,)
        return x, rng.integers(0, self.labels, self.shape[0]).astype(np.int32)


# Large enough that the layer is measured and not the call, which costs some microseconds more than
# that of a function compiled by `jax.jit` (see dispatch.py).
CASES = {
    "Conv2D(64, 3), 64 channels": Case((16, 32, 32, 64)),
    "Conv2D(6, 5), 1 channel": Case((256, 28, 28, 1)),
    "Conv2D(128, 1), 64 channels": Case((16, 32, 32, 64)),
    "depthwise 3x3, 64 channels": Case((16, 32, 32, 64)),
    "Conv2D(64, 3, groups=4), 64 channels": Case((8, 16, 16, 64)),
    "Conv2D(192, 16, 16), 3 channels": Case((8, 224, 224, 3)),
    "Conv3D(32, 3), 16 channels": Case((4, 16, 16, 16, 16)),
    "ConvTranspose2D(32, 4, 2), 64 channels": Case((16, 16, 16, 64)),
    "MaxPool2D(2)": Case((64, 56, 56, 64)),
    "MaxPool2D(3, 2, padding=1)": Case((16, 32, 32, 64)),
    "AvgPool2D(2)": Case((64, 56, 56, 64)),
    "GlobalAvgPool2D": Case((64, 28, 28, 128)),
    "GlobalMaxPool2D": Case((64, 28, 28, 128)),
    "AdaptiveAvgPool2D(7), of 32": Case((32, 32, 32, 128)),
    "Dense(512), 3-D input": Case((32, 64, 256)),
    "BatchNorm": Case((32, 32, 32, 64)),
    "GroupNorm(8)": Case((32, 32, 32, 64)),
    "LayerNorm": Case((64, 128, 512)),
    "RMSNorm": Case((64, 128, 512)),
    "Dropout(0.5)": Case((32, 128, 256)),
    "Embedding": Case((128, 256), integers=4096),
    "LSTM(256), 64 steps": Case((32, 64, 256)),
    "GRU(256), 64 steps": Case((32, 64, 256)),
    "attention, 8 heads, 128 positions": Case((8, 128, 256)),
    "softmax cross-entropy, 4096 classes": Case((512, 4096), labels=4096),
}


class Built(NamedTuple):
    """A layer, and what it computes.

    Attributes:
        run: called with `parameters`, the input, the labels if there are any, and `rest`.
        parameters: what the training step has gradients by, besides the input.
        rest: arrays that are given to the compiled program, so that they are no constants in it.
    """

    run: Callable[..., Any]
    parameters: Any = ()
    rest: tuple[Any, ...] = ()


Table = Mapping[str, Callable[[], Any]]
"""How a library builds the layer of each row that it has."""


def jax_calls(
    case: str,
    built: Built,
    jit: Callable[..., Any] = jax.jit,
    grad: Callable[..., Any] = jax.grad,
    *,
    channels_first: bool = False,
) -> tuple[Call, Call]:
    """The forward call, and the training step: gradients of a weighted sum of the outputs.

    Args:
        case: a key of `CASES`.
        built: the layer.
        jit: how the library compiles.
        grad: how it differentiates by the arguments whose numbers are given.
        channels_first: whether images have their channels first.
    """
    run, parameters, rest = built
    x, *labels = map(jnp.asarray, CASES[case].inputs(channels_first))
    more = (*labels, *rest)
    forward = jit(run)
    shape = forward(parameters, x, *more).shape
    weights = jax.random.normal(jax.random.key(1), shape)

    def loss(parameters: Any, x: Any, weights: Any, *more: Any) -> Any:
        return (run(parameters, x, *more) * weights).sum()

    step = jit(grad(loss, 0 if CASES[case].integers is not None else (0, 1)))
    return (
        lambda: jax.block_until_ready(forward(parameters, x, *more)),
        lambda: jax.block_until_ready(step(parameters, x, weights, *more)),
    )
