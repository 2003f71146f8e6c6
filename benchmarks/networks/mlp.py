"""A classifier of dense layers, 784-512-512-10, batch 128."""

from __future__ import annotations

import itertools
from typing import Any

import jax
import numpy as np
from networks.steps import Arrays, Step, by_equinox, by_hand, by_nnx, by_torch, by_trainer

NAME = "MLP 784-512-512-10, batch 128"
SIZES = (784, 512, 512, 10)


def make() -> tuple[Any, Any, Arrays]:
    """Inputs, labels, and the values that everybody starts from, in PyTorch's layout."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(128, SIZES[0])).astype(np.float32)
    y = rng.integers(0, SIZES[-1], 128).astype(np.int32)
    weights = {}
    for i, (wide, high) in enumerate(itertools.pairwise(SIZES)):
        bound = wide**-0.5
        weights[f"{i}.weight"] = rng.uniform(-bound, bound, (high, wide)).astype(np.float32)
        weights[f"{i}.bias"] = np.zeros(high, np.float32)
    return x, y, weights


def lax(x: Any, y: Any, weights: Arrays) -> Step:
    def forward(w: dict[str, Any], x: Any) -> Any:
        for i in range(3):
            x = x @ w[f"{i}.weight"].T + w[f"{i}.bias"]
            x = jax.nn.relu(x) if i < 2 else x
        return x

    return by_hand(forward, weights, x, y)


def ansatz(x: Any, y: Any, weights: Arrays) -> Step:
    from ansatz import nn

    net = nn.Sequential(
        nn.Dense(512, activation="relu"), nn.Dense(512, activation="relu"), nn.Dense(10)
    )
    net.load_state_dict(weights)
    return by_trainer(net, x, y)


def nnx(x: Any, y: Any, weights: Arrays) -> Step:
    from flax import nnx

    class Net(nnx.Module):
        def __init__(self) -> None:
            rngs = nnx.Rngs(0)
            pairs = itertools.pairwise(SIZES)
            self.layers = nnx.List([nnx.Linear(i, o, rngs=rngs) for i, o in pairs])

        def __call__(self, x: Any) -> Any:
            for layer in self.layers[:-1]:
                x = nnx.relu(layer(x))
            return self.layers[-1](x)

    net = Net()
    for i, layer in enumerate(net.layers):
        layer.kernel.set_value(jax.numpy.asarray(weights[f"{i}.weight"].T))
        layer.bias.set_value(jax.numpy.asarray(weights[f"{i}.bias"]))
    return by_nnx(net, x, y)


def equinox(x: Any, y: Any, weights: Arrays) -> Step:
    import equinox as eqx

    net = eqx.nn.MLP(SIZES[0], SIZES[-1], SIZES[1], 2, key=jax.random.key(0))
    leaves = [jax.numpy.asarray(value) for value in weights.values()]
    net = eqx.tree_at(
        lambda net: [leaf for layer in net.layers for leaf in (layer.weight, layer.bias)],
        net,
        leaves,
    )
    return by_equinox(net, x, y)


def torch(x: Any, y: Any, weights: Arrays) -> Step:
    from torch import from_numpy
    from torch.nn import Linear, ReLU, Sequential

    net = Sequential(Linear(784, 512), ReLU(), Linear(512, 512), ReLU(), Linear(512, 10))
    net.load_state_dict(
        {f"{2 * int(path[0])}{path[1:]}": from_numpy(value) for path, value in weights.items()}
    )
    return by_torch(net, x, y)
