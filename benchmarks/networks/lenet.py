"""LeNet: two convolutions of 5×5, each with ReLU and pooling, and three dense layers, batch 256.

Images are channels-last, and for PyTorch and Equinox channels-first, as each library has it.
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from networks.steps import Arrays, Step, by_equinox, by_hand, by_nnx, by_torch, by_trainer

NAME = "LeNet, 28×28, batch 256"
BATCH, CLASSES = 256, 10
GOALS = {"PyTorch": 1 / 1.3}
SHAPES = {
    "conv1": (6, 1, 5, 5),
    "conv2": (16, 6, 5, 5),
    "dense1": (120, 400),
    "dense2": (84, 120),
    "dense3": (CLASSES, 84),
}


def make() -> tuple[Any, Any, Arrays]:
    """Images, labels, and the values that everybody starts from, in PyTorch's layout."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(BATCH, 28, 28, 1)).astype(np.float32)
    y = rng.integers(0, CLASSES, BATCH).astype(np.int32)
    weights = {}
    for name, shape in SHAPES.items():
        bound = np.prod(shape[1:]) ** -0.5
        weights[f"{name}.weight"] = rng.uniform(-bound, bound, shape).astype(np.float32)
        weights[f"{name}.bias"] = rng.uniform(-bound, bound, shape[0]).astype(np.float32)
    return x, y, weights


def _of_rows(weights: Arrays) -> Arrays:
    """The same weights for images that were flattened with the channels last."""
    weight = weights["dense1.weight"].reshape(-1, 16, 5, 5).transpose(0, 2, 3, 1)
    return {**weights, "dense1.weight": weight.reshape(-1, 400)}


def lax(x: Any, y: Any, weights: Arrays) -> Step:
    def convolved(w: dict[str, Any], name: str, x: Any, padding: str) -> Any:
        layouts = ("NHWC", "OIHW", "NHWC")
        x = jax.lax.conv_general_dilated(
            x, w[f"{name}.weight"], (1, 1), padding, dimension_numbers=layouts
        )
        x = jax.nn.relu(x + w[f"{name}.bias"])
        window = (1, 2, 2, 1)
        return jax.lax.reduce_window(x, -jnp.inf, jax.lax.max, window, window, "VALID")

    def forward(w: dict[str, Any], x: Any) -> Any:
        x = convolved(w, "conv1", x, "SAME")
        x = convolved(w, "conv2", x, "VALID")
        x = x.reshape(x.shape[0], -1)
        x = jax.nn.relu(x @ w["dense1.weight"].T + w["dense1.bias"])
        x = jax.nn.relu(x @ w["dense2.weight"].T + w["dense2.bias"])
        return x @ w["dense3.weight"].T + w["dense3.bias"]

    return by_hand(forward, _of_rows(weights), x, y)


def ansatz(x: Any, y: Any, weights: Arrays) -> Step:
    from ansatz import nn

    net = nn.Sequential(
        nn.Conv2D(6, 5, padding=2, activation="relu"),
        nn.MaxPool2D(2),
        nn.Conv2D(16, 5, activation="relu"),
        nn.MaxPool2D(2),
        nn.Flatten(),
        nn.Dense(120, activation="relu"),
        nn.Dense(84, activation="relu"),
        nn.Dense(CLASSES),
    )
    places = dict(zip(SHAPES, (0, 2, 5, 6, 7), strict=True))
    named = {}
    for path, value in _of_rows(weights).items():
        name, kind = path.split(".")
        named[f"{places[name]}.{kind}"] = value
    net.load_state_dict(named)
    return by_trainer(net, x, y)


def nnx(x: Any, y: Any, weights: Arrays) -> Step:
    from flax import nnx

    class Net(nnx.Module):
        def __init__(self) -> None:
            rngs = nnx.Rngs(0)
            self.conv1 = nnx.Conv(1, 6, (5, 5), rngs=rngs)
            self.conv2 = nnx.Conv(6, 16, (5, 5), padding="VALID", rngs=rngs)
            self.dense1 = nnx.Linear(400, 120, rngs=rngs)
            self.dense2 = nnx.Linear(120, 84, rngs=rngs)
            self.dense3 = nnx.Linear(84, CLASSES, rngs=rngs)

        def __call__(self, x: Any) -> Any:
            x = nnx.max_pool(nnx.relu(self.conv1(x)), (2, 2), (2, 2))
            x = nnx.max_pool(nnx.relu(self.conv2(x)), (2, 2), (2, 2))
            x = nnx.relu(self.dense1(x.reshape(x.shape[0], -1)))
            return self.dense3(nnx.relu(self.dense2(x)))

    net = Net()
    weights = _of_rows(weights)
    for name in SHAPES:
        layer, weight = getattr(net, name), weights[f"{name}.weight"]
        kernel = weight.T if weight.ndim == 2 else weight.transpose(2, 3, 1, 0)
        layer.kernel.set_value(jnp.asarray(kernel))
        layer.bias.set_value(jnp.asarray(weights[f"{name}.bias"]))
    return by_nnx(net, x, y)


def equinox(x: Any, y: Any, weights: Arrays) -> Step:
    import equinox as eqx

    key = jax.random.key(0)
    net = eqx.nn.Sequential(
        [
            eqx.nn.Conv2d(1, 6, 5, padding=2, key=key),
            eqx.nn.Lambda(jax.nn.relu),
            eqx.nn.MaxPool2d(2, 2),
            eqx.nn.Conv2d(6, 16, 5, key=key),
            eqx.nn.Lambda(jax.nn.relu),
            eqx.nn.MaxPool2d(2, 2),
            eqx.nn.Lambda(jnp.ravel),
            eqx.nn.Linear(400, 120, key=key),
            eqx.nn.Lambda(jax.nn.relu),
            eqx.nn.Linear(120, 84, key=key),
            eqx.nn.Lambda(jax.nn.relu),
            eqx.nn.Linear(84, CLASSES, key=key),
        ]
    )
    leaves = [
        jnp.asarray(value.reshape(-1, 1, 1) if "conv" in path and value.ndim == 1 else value)
        for path, value in weights.items()
    ]
    net = eqx.tree_at(
        lambda net: [leaf for i in (0, 3, 7, 9, 11) for leaf in (net[i].weight, net[i].bias)],
        net,
        leaves,
    )
    return by_equinox(net, x.transpose(0, 3, 1, 2), y)


def torch(x: Any, y: Any, weights: Arrays) -> Step:
    import torch
    from torch.nn import Conv2d, Linear
    from torch.nn.functional import max_pool2d, relu

    class Net(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv1 = Conv2d(1, 6, 5, padding=2)
            self.conv2 = Conv2d(6, 16, 5)
            self.dense1 = Linear(400, 120)
            self.dense2 = Linear(120, 84)
            self.dense3 = Linear(84, CLASSES)

        def forward(self, x: Any) -> Any:
            x = max_pool2d(relu(self.conv1(x)), 2)
            x = max_pool2d(relu(self.conv2(x)), 2)
            x = relu(self.dense1(x.flatten(1)))
            return self.dense3(relu(self.dense2(x)))

    net = Net()
    net.load_state_dict({path: torch.from_numpy(value) for path, value in weights.items()})
    return by_torch(net, x.transpose(0, 3, 1, 2).copy(), y)
