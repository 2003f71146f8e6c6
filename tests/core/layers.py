"""Small layers for the tests of the core, which do not rely on the layers of the library."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

import ansatz as az


class Affine(az.Module):
    """`x @ weight.T + bias`, with the input width left open unless given."""

    def __init__(self, units: int, in_units: int | None = None) -> None:
        self.units = units
        self.weight = az.Parameter((units, in_units))
        self.bias = az.Parameter((units,), init="zeros")

    def infer_shape(self, x: Any) -> None:
        self.weight.shape = (self.units, x.shape[-1])

    def forward(self, x: Any) -> Any:
        return x @ self.weight.value.T + self.bias.value


class Centre(az.Module):
    """Subtracts a running mean, which training moves, as batch norm does."""

    def __init__(self) -> None:
        self.mean = az.State(shape=(None,))
        self.calls = az.State(0)

    def infer_shape(self, x: Any) -> None:
        self.mean.shape = (x.shape[-1],)

    def forward(self, x: Any) -> Any:
        if self.training:
            self.mean.value = 0.5 * self.mean.value + 0.5 * x.mean(0)
            self.calls.value += 1
        return x - self.mean.value


class Mask(az.Module):
    """Drops each element with probability one half, in training."""

    def __init__(self) -> None:
        self.stream = az.RandomStream()

    def forward(self, x: Any) -> Any:
        if not self.training:
            return x
        return x * jax.random.bernoulli(self.stream.next_key(), 0.5, x.shape)


class Chain(az.Module):
    """Runs layers one after the other."""

    def __init__(self, *layers: Any) -> None:
        self.layers = list(layers)

    def forward(self, x: Any) -> Any:
        for layer in self.layers:
            x = layer(x)
        return x


class Branches(az.Module):
    """Two layers, of which the batch size picks one: the first for a single example."""

    def __init__(self, one: Any, many: Any) -> None:
        self.one = one
        self.many = many

    def forward(self, x: Any) -> Any:
        return self.one(x) if x.shape[0] == 1 else self.many(x)


class Call(az.Module):
    """Calls whatever it holds."""

    def __init__(self, function: Any) -> None:
        self.function = function

    def forward(self, x: Any) -> Any:
        return self.function(x)


class Wrapped(az.Module):
    """Calls a layer through a transform, such as `az.jit`."""

    def __init__(self, transform: Any, layer: Any) -> None:
        self.transform = transform
        self.layer = layer

    def forward(self, x: Any) -> Any:
        return self.transform(self.layer)(x)


def mean_square(net: Any, x: Any) -> Any:
    return (net(x) ** 2).mean()


def sgd(net: Any, x: Any) -> Any:
    """One step of gradient descent with rate 0.1; returns the loss before it."""
    loss, grads = az.value_and_grad(mean_square)(net, x)
    for path, parameter in net.collect_params().items():
        if path in grads:
            parameter.value -= 0.1 * grads[path]
    return loss


def inputs(batch: int = 4, width: int = 5, seed: int = 0) -> jax.Array:
    return jax.random.normal(jax.random.key(seed), (batch, width), jnp.float32)
