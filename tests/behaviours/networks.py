"""What the tests of silent failures and of traps share."""

from typing import Any

import jax
import numpy as np

import ansatz as az
from ansatz import init, nn

X = np.random.default_rng(0).standard_normal((4, 3)).astype(np.float32)
"""A batch of four inputs of width three."""


class Holder(nn.Module):
    """Holds whatever it is given."""

    def __init__(self, **held: Any) -> None:
        for name, value in held.items():
            setattr(self, name, value)


class MyDense(nn.Module):
    """A layer of a user's own whose input width is found out."""

    def __init__(self, units: int) -> None:
        super().__init__()
        self.units = units
        self.weight = az.Parameter((units, None), init=init.Xavier())
        self.bias = az.Parameter((units,), init="zeros")

    def infer_shape(self, x: jax.Array) -> None:
        self.weight.shape = (self.units, x.shape[-1])

    def forward(self, x: jax.Array) -> jax.Array:
        return x @ self.weight.value.T + self.bias.value


def total(net: nn.Module, x: Any) -> jax.Array:
    """The sum of the squares of the output: a loss that needs no target."""
    return (net(x) ** 2).sum()


def squared(output: jax.Array, y: jax.Array) -> jax.Array:
    """The mean squared error."""
    return ((output - y) ** 2).mean()


def unchanged(net: nn.Module, before: dict[str, jax.Array]) -> bool:
    """Whether the parameters and states named in `before` have these values."""
    after = net.state_dict()
    return all(np.array_equal(before[path], after[path]) for path in before)
