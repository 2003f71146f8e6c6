"""Eight 3×3 convolutions of 64 channels, each with BatchNorm and ReLU, then an average and a dense
layer. Images stay 32×32 all the way.

Everybody counts running statistics. Images are channels-last, and for PyTorch and Equinox
channels-first, as each library has it.
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from networks.steps import (
    Arrays,
    Step,
    by_equinox,
    by_hand,
    by_nnx,
    by_torch,
    by_trainer,
)

NAME = "Convolutions with BatchNorm, 8 of 64 channels, 32×32, batch 32"
BATCH, SIZE, COLOURS, CHANNELS, LAYERS, CLASSES = 32, 32, 3, 64, 8, 10
MOMENTUM, EPS = 0.1, 1e-5
GOALS = {"PyTorch": 1 / 1.3}


def make() -> tuple[Any, Any, Arrays]:
    """Images, labels, and the values that everybody starts from, in PyTorch's layout."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(BATCH, SIZE, SIZE, COLOURS)).astype(np.float32)
    y = rng.integers(0, CLASSES, BATCH).astype(np.int32)
    weights = {}
    for i in range(LAYERS):
        shape = (CHANNELS, CHANNELS if i else COLOURS, 3, 3)
        bound = (6 / np.prod(shape[1:])) ** 0.5
        weights[f"convs.{i}.weight"] = rng.uniform(-bound, bound, shape).astype(np.float32)
        weights[f"norms.{i}.weight"] = np.ones(CHANNELS, np.float32)
        weights[f"norms.{i}.bias"] = np.zeros(CHANNELS, np.float32)
    bound = CHANNELS**-0.5
    shape = CLASSES, CHANNELS
    weights["head.weight"] = rng.uniform(-bound, bound, shape).astype(np.float32)
    weights["head.bias"] = np.zeros(CLASSES, np.float32)
    return x, y, weights


def lax(x: Any, y: Any, weights: Arrays) -> Step:
    def forward(w: dict[str, Any], x: Any, state: dict[str, Any]) -> Any:
        moved = {}
        for i in range(LAYERS):
            layouts = ("NHWC", "OIHW", "NHWC")
            kernel = w[f"convs.{i}.weight"]
            x = jax.lax.conv_general_dilated(x, kernel, (1, 1), "SAME", dimension_numbers=layouts)
            mean, var = jnp.mean(x, (0, 1, 2)), jnp.var(x, (0, 1, 2))
            x = (x - mean) * jax.lax.rsqrt(var + EPS)
            x = jax.nn.relu(x * w[f"norms.{i}.weight"] + w[f"norms.{i}.bias"])
            for name, new in (("mean", mean), ("var", var)):
                old = state[f"{name}.{i}"]
                moved[f"{name}.{i}"] = old + MOMENTUM * (new - old)
        return jnp.mean(x, (1, 2)) @ w["head.weight"].T + w["head.bias"], moved

    state = {f"mean.{i}": jnp.zeros(CHANNELS) for i in range(LAYERS)}
    state |= {f"var.{i}": jnp.ones(CHANNELS) for i in range(LAYERS)}
    return by_hand(forward, weights, x, y, state)


def ansatz(x: Any, y: Any, weights: Arrays) -> Step:
    from ansatz import nn

    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.convs = [nn.Conv2D(CHANNELS, 3, padding=1, use_bias=False) for _ in range(LAYERS)]
            self.norms = [nn.BatchNorm() for _ in range(LAYERS)]
            self.head = nn.Dense(CLASSES)

        def forward(self, x: Any) -> Any:
            for conv, norm in zip(self.convs, self.norms, strict=True):
                x = jax.nn.relu(norm(conv(x)))
            return self.head(jnp.mean(x, (1, 2)))

    net = Net()
    net.load_state_dict(weights, strict=False)
    return by_trainer(net, x, y)


def nnx(x: Any, y: Any, weights: Arrays) -> Step:
    from flax import nnx

    class Net(nnx.Module):
        def __init__(self) -> None:
            rngs = nnx.Rngs(0)
            widths = [COLOURS] + [CHANNELS] * (LAYERS - 1)
            self.convs = nnx.List(
                [nnx.Conv(width, CHANNELS, (3, 3), use_bias=False, rngs=rngs) for width in widths]
            )
            self.norms = nnx.List(
                [
                    nnx.BatchNorm(CHANNELS, momentum=1 - MOMENTUM, epsilon=EPS, rngs=rngs)
                    for _ in widths
                ]
            )
            self.head = nnx.Linear(CHANNELS, CLASSES, rngs=rngs)

        def __call__(self, x: Any) -> Any:
            for conv, norm in zip(self.convs, self.norms, strict=True):
                x = nnx.relu(norm(conv(x)))
            return self.head(jnp.mean(x, (1, 2)))

    net = Net()
    for i, conv in enumerate(net.convs):
        kernel = weights[f"convs.{i}.weight"].transpose(2, 3, 1, 0)
        conv.kernel.set_value(jnp.asarray(kernel))
    net.head.kernel.set_value(jnp.asarray(weights["head.weight"].T))
    net.head.bias.set_value(jnp.asarray(weights["head.bias"]))
    return by_nnx(net, x, y)


def equinox(x: Any, y: Any, weights: Arrays) -> Step:
    import equinox as eqx

    class Net(eqx.Module):
        convs: list[Any]
        norms: list[Any]
        head: eqx.nn.Linear

        def __call__(self, x: Any, state: Any) -> Any:
            for conv, norm in zip(self.convs, self.norms, strict=True):
                x, state = norm(conv(x), state)
                x = jax.nn.relu(x)
            return self.head(jnp.mean(x, (1, 2))), state

    def build() -> Net:
        key = jax.random.key(0)
        widths = [COLOURS] + [CHANNELS] * (LAYERS - 1)
        return Net(
            [
                eqx.nn.Conv2d(width, CHANNELS, 3, padding=1, use_bias=False, key=key)
                for width in widths
            ],
            [
                eqx.nn.BatchNorm(CHANNELS, "batch", momentum=1 - MOMENTUM, eps=EPS, mode="batch")
                for _ in widths
            ],
            eqx.nn.Linear(CHANNELS, CLASSES, key=key),
        )

    net, state = eqx.nn.make_with_state(build)()
    leaves = [weights[f"convs.{i}.weight"] for i in range(LAYERS)]
    leaves += [weights["head.weight"], weights["head.bias"]]
    net = eqx.tree_at(
        lambda net: [*(conv.weight for conv in net.convs), net.head.weight, net.head.bias],
        net,
        [jnp.asarray(leaf) for leaf in leaves],
    )
    return by_equinox(net, x.transpose(0, 3, 1, 2), y, state)


def torch(x: Any, y: Any, weights: Arrays) -> Step:
    import torch
    from torch.nn import BatchNorm2d, Conv2d, Linear, ModuleList

    class Net(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            widths = [COLOURS] + [CHANNELS] * (LAYERS - 1)
            self.convs = ModuleList(
                Conv2d(width, CHANNELS, 3, padding=1, bias=False) for width in widths
            )
            self.norms = ModuleList(BatchNorm2d(CHANNELS) for _ in widths)
            self.head = Linear(CHANNELS, CLASSES)

        def forward(self, x: Any) -> Any:
            for conv, norm in zip(self.convs, self.norms, strict=True):
                x = torch.relu(norm(conv(x)))
            return self.head(x.mean((2, 3)))

    net = Net()
    state = {path: torch.from_numpy(value) for path, value in weights.items()}
    net.load_state_dict(state, strict=False)
    return by_torch(net, x.transpose(0, 3, 1, 2).copy(), y)
