"""The layers written by hand with plain `jax.lax` and `jax.numpy`, as a competent user would."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from layer_tables.cases import Built, Call, Table, jax_calls


def drawn(*shapes: tuple[int, ...]) -> list[jax.Array]:
    rng = np.random.default_rng(2)
    return [jnp.asarray(0.1 * rng.normal(size=shape), "float32") for shape in shapes]


def conv(*shape: int, groups: int = 1, stride: int = 1) -> Built:
    """Channels last, kernels as `HWIO` or `DHWIO`."""
    space = "DHW"[-len(shape) + 2 :]
    numbers = (f"N{space}C", f"{space}IO", f"N{space}C")
    strides = (stride,) * len(space)

    def run(parameters: Any, x: jax.Array) -> jax.Array:
        weight, bias = parameters
        return bias + jax.lax.conv_general_dilated(
            x, weight, strides, "SAME", dimension_numbers=numbers, feature_group_count=groups
        )

    return Built(run, drawn(shape, shape[-1:]))


def conv_transposed() -> Built:
    def run(parameters: Any, x: jax.Array) -> jax.Array:
        return jax.lax.conv_transpose(x, parameters[0], (2, 2), "SAME") + parameters[1]

    return Built(run, drawn((4, 4, 64, 32), (32,)))


def pool(start: float, combine: Any, size: int, stride: int, pad: int, scale: float) -> Built:
    window, strides = (1, size, size, 1), (1, stride, stride, 1)
    pads = ((0, 0), (pad, pad), (pad, pad), (0, 0))
    return Built(
        lambda _, x: scale * jax.lax.reduce_window(x, start, combine, window, strides, pads)
    )


def adaptive(count: int) -> Built:
    def shared_out(x: jax.Array, axis: int) -> jax.Array:
        n = x.shape[axis]
        bounds = [(i * n // count, -(-(i + 1) * n // count)) for i in range(count)]
        means = [jax.lax.slice_in_dim(x, *pair, axis=axis).mean(axis) for pair in bounds]
        return jnp.stack(means, axis)

    return Built(lambda _, x: shared_out(shared_out(x, 1), 2))


def dense(inputs: int, outputs: int) -> Built:
    return Built(lambda p, x: x @ p[0] + p[1], drawn((inputs, outputs), (outputs,)))


def normalize(axes: tuple[int, ...], width: int) -> Built:
    def run(parameters: Any, x: jax.Array) -> jax.Array:
        mean, var = x.mean(axes, keepdims=True), x.var(axes, keepdims=True)
        return (x - mean) * jax.lax.rsqrt(var + 1e-5) * parameters[0] + parameters[1]

    return Built(run, drawn((width,), (width,)))


def normalize_groups(groups: int, width: int) -> Built:
    def run(parameters: Any, x: jax.Array) -> jax.Array:
        z = x.reshape(*x.shape[:-1], groups, -1)
        mean, var = z.mean((1, 2, 4), keepdims=True), z.var((1, 2, 4), keepdims=True)
        z = (z - mean) * jax.lax.rsqrt(var + 1e-5)
        return z.reshape(x.shape) * parameters[0] + parameters[1]

    return Built(run, drawn((width,), (width,)))


def normalize_by_root_mean_square(width: int) -> Built:
    def run(parameters: Any, x: jax.Array) -> jax.Array:
        scale = jax.lax.rsqrt(jnp.square(x).mean(-1, keepdims=True) + 1e-6)
        return x * scale * parameters[0]

    return Built(run, drawn((width,)))


def dropout(rate: float) -> Built:
    def run(_: Any, x: jax.Array, key: jax.Array) -> jax.Array:
        kept = jax.random.bernoulli(key, 1 - rate, x.shape)
        return jnp.where(kept, x / (1 - rate), 0)

    return Built(run, rest=(jax.random.key(0),))


def lstm(hidden: int) -> Built:
    """The inputs are multiplied for all steps at once, and the states step by step."""

    def run(parameters: Any, x: jax.Array) -> jax.Array:
        by_input, by_state, bias = parameters

        def one(state: Any, a: jax.Array) -> Any:
            h, c = state
            i, f, g, o = jnp.split(a + h @ by_state, 4, -1)
            c = jax.nn.sigmoid(f) * c + jax.nn.sigmoid(i) * jnp.tanh(g)
            h = jax.nn.sigmoid(o) * jnp.tanh(c)
            return (h, c), h

        zeros = jnp.zeros((x.shape[0], hidden))
        _, y = jax.lax.scan(one, (zeros, zeros), (x @ by_input + bias).swapaxes(0, 1))
        return y.swapaxes(0, 1)

    return Built(run, drawn((hidden, 4 * hidden), (hidden, 4 * hidden), (4 * hidden,)))


def gru(hidden: int) -> Built:
    def run(parameters: Any, x: jax.Array) -> jax.Array:
        by_input, by_state, bias, state_bias = parameters

        def one(h: jax.Array, a: jax.Array) -> Any:
            a_r, a_z, a_n = jnp.split(a, 3, -1)
            b_r, b_z, b_n = jnp.split(h @ by_state + state_bias, 3, -1)
            r, z = jax.nn.sigmoid(a_r + b_r), jax.nn.sigmoid(a_z + b_z)
            h = (1 - z) * jnp.tanh(a_n + r * b_n) + z * h
            return h, h

        zeros = jnp.zeros((x.shape[0], hidden))
        _, y = jax.lax.scan(one, zeros, (x @ by_input + bias).swapaxes(0, 1))
        return y.swapaxes(0, 1)

    width = 3 * hidden
    return Built(run, drawn((hidden, width), (hidden, width), (width,), (width,)))


def attention(units: int, heads: int) -> Built:
    """By einsum, which is not slower on CPUs than `jax.nn.dot_product_attention`."""

    def run(parameters: Any, x: jax.Array) -> jax.Array:
        into, into_bias, out, out_bias = parameters
        parts = (x @ into + into_bias).reshape(*x.shape[:2], 3, heads, units // heads)
        q, k, v = parts[:, :, 0], parts[:, :, 1], parts[:, :, 2]
        scores = jnp.einsum("bqhd,bkhd->bhqk", q, k) * (units // heads) ** -0.5
        y = jnp.einsum("bhqk,bkhd->bqhd", jax.nn.softmax(scores), v)
        return y.reshape(x.shape) @ out + out_bias

    return Built(run, drawn((units, 3 * units), (3 * units,), (units, units), (units,)))


def cross_entropy() -> Built:
    def run(_: Any, x: jax.Array, labels: jax.Array) -> jax.Array:
        picked = jnp.take_along_axis(x, labels[:, None], -1)[:, 0]
        return jax.nn.logsumexp(x, -1) - picked

    return Built(run)


LARGEST = (-np.inf, jax.lax.max)
TABLE: Table = {
    "Conv2D(64, 3), 64 channels": lambda: conv(3, 3, 64, 64),
    "Conv2D(6, 5), 1 channel": lambda: conv(5, 5, 1, 6),
    "Conv2D(128, 1), 64 channels": lambda: conv(1, 1, 64, 128),
    "depthwise 3x3, 64 channels": lambda: conv(3, 3, 1, 64, groups=64),
    "Conv2D(64, 3, groups=4), 64 channels": lambda: conv(3, 3, 16, 64, groups=4),
    "Conv2D(192, 16, 16), 3 channels": lambda: conv(16, 16, 3, 192, stride=16),
    "Conv3D(32, 3), 16 channels": lambda: conv(3, 3, 3, 16, 32),
    "ConvTranspose2D(32, 4, 2), 64 channels": conv_transposed,
    "MaxPool2D(2)": lambda: pool(*LARGEST, 2, 2, 0, 1.0),
    "MaxPool2D(3, 2, padding=1)": lambda: pool(*LARGEST, 3, 2, 1, 1.0),
    "AvgPool2D(2)": lambda: pool(0.0, jax.lax.add, 2, 2, 0, 0.25),
    "GlobalAvgPool2D": lambda: Built(lambda _, x: x.mean((1, 2), keepdims=True)),
    "GlobalMaxPool2D": lambda: Built(lambda _, x: x.max((1, 2), keepdims=True)),
    "AdaptiveAvgPool2D(7), of 32": lambda: adaptive(7),
    "Dense(512), 3-D input": lambda: dense(256, 512),
    "BatchNorm": lambda: normalize((0, 1, 2), 64),
    "GroupNorm(8)": lambda: normalize_groups(8, 64),
    "LayerNorm": lambda: normalize((-1,), 512),
    "RMSNorm": lambda: normalize_by_root_mean_square(512),
    "Dropout(0.5)": lambda: dropout(0.5),
    "Embedding": lambda: Built(lambda p, x: p[0][x], drawn((4096, 256))),
    "LSTM(256), 64 steps": lambda: lstm(256),
    "GRU(256), 64 steps": lambda: gru(256),
    "attention, 8 heads, 128 positions": lambda: attention(256, 8),
    "softmax cross-entropy, 4096 classes": cross_entropy,
}


def build(case: str) -> tuple[Call, Call]:
    return jax_calls(case, TABLE[case]())
