"""A classifier of sequences: an LSTM, 256 wide, and a dense layer on its last output."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from networks.steps import Arrays, Step, by_equinox, by_hand, by_nnx, by_torch, by_trainer

NAME = "LSTM, 256 hidden, 64 steps, batch 32"
HIDDEN, STEPS, BATCH, CLASSES = 256, 64, 32, 10


def make() -> tuple[Any, Any, Arrays]:
    """Inputs, labels, and the values that everybody starts from, in PyTorch's layout."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(BATCH, STEPS, HIDDEN)).astype(np.float32)
    y = rng.integers(0, CLASSES, BATCH).astype(np.int32)
    shapes = {
        "lstm.weight_ih_l0": (4 * HIDDEN, HIDDEN),
        "lstm.weight_hh_l0": (4 * HIDDEN, HIDDEN),
        "lstm.bias_ih_l0": (4 * HIDDEN,),
        "lstm.bias_hh_l0": (4 * HIDDEN,),
        "head.weight": (CLASSES, HIDDEN),
        "head.bias": (CLASSES,),
    }
    bound = HIDDEN**-0.5
    weights = {
        path: rng.uniform(-bound, bound, shape).astype(np.float32) for path, shape in shapes.items()
    }
    # Flax and Equinox have one bias for both products.
    weights["lstm.bias_ih_l0"] = np.zeros(4 * HIDDEN, np.float32)
    return x, y, weights


def lax(x: Any, y: Any, weights: Arrays) -> Step:
    def forward(w: dict[str, Any], x: Any) -> Any:
        inputs = x @ w["lstm.weight_ih_l0"].T + w["lstm.bias_ih_l0"] + w["lstm.bias_hh_l0"]

        def one(state: Any, a: Any) -> Any:
            h, c = state
            i, f, g, o = jnp.split(a + h @ w["lstm.weight_hh_l0"].T, 4, -1)
            c = jax.nn.sigmoid(f) * c + jax.nn.sigmoid(i) * jnp.tanh(g)
            return (jax.nn.sigmoid(o) * jnp.tanh(c), c), None

        zeros = jnp.zeros((x.shape[0], HIDDEN))
        (h, _), _ = jax.lax.scan(one, (zeros, zeros), inputs.swapaxes(0, 1))
        return h @ w["head.weight"].T + w["head.bias"]

    return by_hand(forward, weights, x, y)


def ansatz(x: Any, y: Any, weights: Arrays) -> Step:
    from ansatz import nn

    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.lstm = nn.LSTM(HIDDEN)
            self.head = nn.Dense(CLASSES)

        def forward(self, x: Any) -> Any:
            outputs, _ = self.lstm(x)
            return self.head(outputs[:, -1])

    net = Net()
    net.load_state_dict(weights)
    return by_trainer(net, x, y)


def nnx(x: Any, y: Any, weights: Arrays) -> Step:
    from flax import nnx

    class Net(nnx.Module):
        def __init__(self) -> None:
            rngs = nnx.Rngs(0)
            self.lstm = nnx.RNN(nnx.OptimizedLSTMCell(HIDDEN, HIDDEN, rngs=rngs), rngs=rngs)
            self.head = nnx.Linear(HIDDEN, CLASSES, rngs=rngs)

        def __call__(self, x: Any) -> Any:
            return self.head(self.lstm(x)[:, -1])

    net = Net()
    cell = net.lstm.cell
    cell.dense_i.kernel.set_value(jnp.asarray(weights["lstm.weight_ih_l0"].T))
    cell.dense_h.kernel.set_value(jnp.asarray(weights["lstm.weight_hh_l0"].T))
    cell.dense_h.bias.set_value(jnp.asarray(weights["lstm.bias_hh_l0"]))
    net.head.kernel.set_value(jnp.asarray(weights["head.weight"].T))
    net.head.bias.set_value(jnp.asarray(weights["head.bias"]))
    return by_nnx(net, x, y)


def equinox(x: Any, y: Any, weights: Arrays) -> Step:
    import equinox as eqx

    class Net(eqx.Module):
        cell: eqx.nn.LSTMCell
        head: eqx.nn.Linear

        def __call__(self, x: Any) -> Any:
            zeros = jnp.zeros(HIDDEN)
            state, _ = jax.lax.scan(lambda state, x: (self.cell(x, state), None), (zeros, zeros), x)
            return self.head(state[0])

    key = jax.random.key(0)
    net = Net(eqx.nn.LSTMCell(HIDDEN, HIDDEN, key=key), eqx.nn.Linear(HIDDEN, CLASSES, key=key))
    names = "weight_ih_l0", "weight_hh_l0", "bias_hh_l0"
    leaves = [weights[f"lstm.{name}"] for name in names]
    leaves += [weights["head.weight"], weights["head.bias"]]
    net = eqx.tree_at(
        lambda n: [n.cell.weight_ih, n.cell.weight_hh, n.cell.bias, n.head.weight, n.head.bias],
        net,
        [jnp.asarray(leaf) for leaf in leaves],
    )
    return by_equinox(net, x, y)


def torch(x: Any, y: Any, weights: Arrays) -> Step:
    import torch

    class Net(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.lstm = torch.nn.LSTM(HIDDEN, HIDDEN, batch_first=True)
            self.head = torch.nn.Linear(HIDDEN, CLASSES)

        def forward(self, x: Any) -> Any:
            outputs, _ = self.lstm(x)
            return self.head(outputs[:, -1])

    net = Net()
    net.load_state_dict({path: torch.from_numpy(value) for path, value in weights.items()})
    return by_torch(net, x, y)
