"""The layers of Equinox, which take one example with channels first, and so are mapped.

What Equinox leaves to others is left to them: its documentation takes losses from optax.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import optax
from equinox import nn
from layer_tables.cases import Built, Call, Table, jax_calls

key = jax.random.key(0)


def tokens(layer: Any) -> Built:
    """A layer that is called for each element of each example."""
    return Built(lambda layer, x: jax.vmap(jax.vmap(layer))(x), layer)


def batch_norm() -> Built:
    norm, state = nn.make_with_state(nn.BatchNorm)(64, "batch", mode="batch")

    def run(norm: Any, x: jax.Array) -> Any:
        return jax.vmap(norm, axis_name="batch", in_axes=(0, None), out_axes=(0, None))(x, state)[0]

    return Built(run, norm)


def recurrent(cell: Any, output: Callable[[Any], Any]) -> Built:
    """One scan over the steps of an example."""

    def one_example(cell: Any, x: jax.Array) -> Any:
        zeros = jnp.zeros(cell.hidden_size)
        start = (zeros, zeros) if isinstance(cell, nn.LSTMCell) else zeros

        def one(state: Any, x: jax.Array) -> Any:
            state = cell(x, state)
            return state, output(state)

        return jax.lax.scan(one, start, x)[1]

    return Built(lambda cell, x: jax.vmap(one_example, in_axes=(None, 0))(cell, x), cell)


def cross_entropy() -> Built:
    return Built(lambda _, *both: optax.softmax_cross_entropy_with_integer_labels(*both))


TABLE: Table = {
    "Conv2D(64, 3), 64 channels": lambda: nn.Conv2d(64, 64, 3, padding=1, key=key),
    "Conv2D(6, 5), 1 channel": lambda: nn.Conv2d(1, 6, 5, padding=2, key=key),
    "Conv2D(128, 1), 64 channels": lambda: nn.Conv2d(64, 128, 1, key=key),
    "depthwise 3x3, 64 channels": lambda: nn.Conv2d(64, 64, 3, padding=1, groups=64, key=key),
    "Conv2D(64, 3, groups=4), 64 channels": lambda: nn.Conv2d(
        64, 64, 3, padding=1, groups=4, key=key
    ),
    "Conv2D(192, 16, 16), 3 channels": lambda: nn.Conv2d(3, 192, 16, 16, key=key),
    "Conv3D(32, 3), 16 channels": lambda: nn.Conv3d(16, 32, 3, padding=1, key=key),
    "ConvTranspose2D(32, 4, 2), 64 channels": lambda: nn.ConvTranspose2d(
        64, 32, 4, 2, padding=1, key=key
    ),
    "MaxPool2D(2)": lambda: nn.MaxPool2d(2, 2),
    "MaxPool2D(3, 2, padding=1)": lambda: nn.MaxPool2d(3, 2, padding=1),
    "AvgPool2D(2)": lambda: nn.AvgPool2d(2, 2),
    "GlobalAvgPool2D": lambda: nn.AdaptiveAvgPool2d(1),
    "GlobalMaxPool2D": lambda: nn.AdaptiveMaxPool2d(1),
    "AdaptiveAvgPool2D(7), of 32": lambda: nn.AdaptiveAvgPool2d(7),
    "Dense(512), 3-D input": lambda: tokens(nn.Linear(256, 512, key=key)),
    "BatchNorm": batch_norm,
    "GroupNorm(8)": lambda: nn.GroupNorm(8, 64),
    "LayerNorm": lambda: tokens(nn.LayerNorm(512)),
    "RMSNorm": lambda: tokens(nn.RMSNorm(512)),
    "Dropout(0.5)": lambda: Built(
        lambda layer, x, key: layer(x, key=key), nn.Dropout(0.5), (jax.random.key(0),)
    ),
    "Embedding": lambda: tokens(nn.Embedding(4096, 256, key=key)),
    "LSTM(256), 64 steps": lambda: recurrent(nn.LSTMCell(256, 256, key=key), lambda s: s[0]),
    "GRU(256), 64 steps": lambda: recurrent(nn.GRUCell(256, 256, key=key), lambda s: s),
    "attention, 8 heads, 128 positions": lambda: Built(
        lambda layer, x: jax.vmap(layer)(x, x, x), nn.MultiheadAttention(8, 256, key=key)
    ),
    "softmax cross-entropy, 4096 classes": cross_entropy,
}


def grad(loss: Callable[..., Any], _: Any) -> Callable[..., Any]:
    """Gradients by all floating-point arrays of the first two arguments."""
    by_both = eqx.filter_grad(lambda both, *more: loss(*both, *more))
    return lambda layer, x, *more: jax.tree.leaves(by_both((layer, x), *more))


def build(case: str) -> tuple[Call, Call]:
    made = TABLE[case]()
    if not isinstance(made, Built):
        made = Built(lambda layer, x: jax.vmap(layer)(x), made)
    return jax_calls(case, made, eqx.filter_jit, grad, channels_first=True)
