"""What the tests of the trainer train, and how they look at its state."""

import jax
import jax.numpy as jnp
import numpy as np

import ansatz as az
from ansatz import nn


def squared_error(output, y):
    return jnp.mean((output - y) ** 2)


def total(output, y):
    return jnp.sum(output)


X = np.linspace(-1, 1, 12, dtype=np.float32).reshape(4, 3)
Y = np.ones((4, 2), np.float32)


class Noisy(nn.Module):
    """Counts its calls in training, and draws a key at each."""

    def __init__(self):
        super().__init__()
        self.calls = az.State(0)
        self.stream = az.RandomStream()
        self.scale = az.Parameter((), init="ones")

    def forward(self, x):
        if self.training:
            self.calls.value += 1
            x = x + jax.random.normal(self.stream.next_key(), x.shape)
        return x * self.scale.value


class Branching(nn.Module):
    """Reaches its second layer only if told so."""

    def __init__(self):
        super().__init__()
        self.first, self.second = nn.Dense(2), nn.Dense(2)
        self.both = False

    def forward(self, x):
        x = self.first(x)
        return self.second(x) if self.both else x


def leaves_by_path(state):
    return {
        jax.tree_util.keystr(place): leaf
        for place, leaf in jax.tree_util.tree_leaves_with_path(state)
    }


def momentum(trainer):
    trace, _ = trainer.optimizer_state
    return trace.trace
