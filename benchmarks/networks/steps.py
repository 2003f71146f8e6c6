"""One training step in each library: cross-entropy, and Adam with a rate of 1e-3.

Each `by_…` takes a network that holds its first values, and returns a step. A step trains on the
same batch each time, and returns the loss before the update once everything is done.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

Arrays = dict[str, np.ndarray[Any, Any]]
Step = Callable[[], Any]

RATE = 1e-3


def cross_entropy(logits: Any, labels: Any) -> Any:
    return optax.softmax_cross_entropy_with_integer_labels(logits, labels).mean()


def by_hand(
    forward: Callable[..., Any], weights: Arrays, x: Any, y: Any, statistics: Any = None
) -> Step:
    """Plain `jax`: `jax.jit` over a dict of arrays, which are donated.

    With `statistics` the forward pass takes them too, and returns them with the logits.
    """
    optimizer = optax.adam(RATE)
    x, y = jnp.asarray(x), jnp.asarray(y)
    params = jax.tree.map(jnp.asarray, weights)
    held = [params, optimizer.init(params), statistics]

    def step(params: Any, state: Any, statistics: Any, x: Any, y: Any) -> Any:
        def loss_of(params: Any) -> Any:
            if statistics is None:
                return cross_entropy(forward(params, x), y), None
            logits, moved = forward(params, x, statistics)
            return cross_entropy(logits, y), moved

        (loss, moved), gradients = jax.value_and_grad(loss_of, has_aux=True)(params)
        updates, state = optimizer.update(gradients, state, params)
        return optax.apply_updates(params, updates), state, moved, loss

    compiled = jax.jit(step, donate_argnums=(0, 1, 2))

    def call() -> Any:
        *held[:], loss = compiled(*held, x, y)
        return loss.block_until_ready()

    return call


def by_trainer(net: Any, x: Any, y: Any) -> Step:
    """Ansatz, as its users write it."""
    import ansatz as az
    from ansatz import nn

    trainer = az.Trainer(net, optax.adam(RATE), nn.softmax_cross_entropy)
    x, y = jnp.asarray(x), jnp.asarray(y)
    return lambda: trainer.step(x, y).block_until_ready()


def by_nnx(net: Any, x: Any, y: Any) -> Step:
    """Flax NNX, with its documented training step."""
    from flax import nnx

    optimizer = nnx.Optimizer(net, optax.adam(RATE), wrt=nnx.Param)
    x, y = jnp.asarray(x), jnp.asarray(y)

    @nnx.jit
    def step(net: Any, optimizer: Any, x: Any, y: Any) -> Any:
        loss, gradients = nnx.value_and_grad(lambda net: cross_entropy(net(x), y))(net)
        optimizer.update(net, gradients)
        return loss

    return lambda: step(net, optimizer, x, y).block_until_ready()


def by_equinox(net: Any, x: Any, y: Any, statistics: Any = None) -> Step:
    """Equinox, with `filter_jit` and donation; `statistics` are what it calls the state."""
    import equinox as eqx

    optimizer = optax.adam(RATE)
    x, y = jnp.asarray(x), jnp.asarray(y)
    held = [net, optimizer.init(eqx.filter(net, eqx.is_inexact_array)), statistics]

    @eqx.filter_jit(donate="all-except-first")
    def step(batch: Any, net: Any, state: Any, statistics: Any) -> Any:
        def loss_of(net: Any) -> Any:
            if statistics is None:
                return cross_entropy(jax.vmap(net)(batch[0]), batch[1]), None
            mapped = jax.vmap(net, axis_name="batch", in_axes=(0, None), out_axes=(0, None))
            logits, moved = mapped(batch[0], statistics)
            return cross_entropy(logits, batch[1]), moved

        (loss, moved), gradients = eqx.filter_value_and_grad(loss_of, has_aux=True)(net)
        updates, state = optimizer.update(gradients, state, net)
        return eqx.apply_updates(net, updates), state, moved, loss

    def call() -> Any:
        *held[:], loss = step((x, y), *held)
        return loss.block_until_ready()

    return call


def by_torch(net: Any, x: Any, y: Any) -> Step:
    """PyTorch, eager."""
    import torch

    optimizer = torch.optim.Adam(net.parameters(), RATE)
    x, y = torch.from_numpy(x), torch.from_numpy(y).long()

    def call() -> Any:
        optimizer.zero_grad()
        loss = torch.nn.functional.cross_entropy(net(x).flatten(0, -2), y.flatten())
        loss.backward()
        optimizer.step()
        return loss.detach()

    return call
