"""Activation functions as formulas, and by the names that `activation=` takes.

Where a function has a kink, its derivative there is the one that PyTorch takes.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from ansatz.core.errors import did_you_mean
from ansatz.nn.precision import at_least_float32, floating_dtype_of

Activation = str | Callable[[Any], Any]
"""What `activation=` takes: a name, a function of one array, or a module."""


def leaky_relu(x: jax.Array, negative_slope: float = 0.01) -> jax.Array:
    """`x` where positive, else `negative_slope · x`."""
    return jnp.where(x > 0, x, negative_slope * x)


def gelu(x: jax.Array, approximate: bool = False) -> jax.Array:
    """`x Φ(x)`, with `Φ` exact or approximated by a tanh."""
    return jax.nn.gelu(x, approximate=approximate)


def gelu_tanh(x: jax.Array) -> jax.Array:
    """`x Φ(x)`, with `Φ` approximated by a tanh."""
    return gelu(x, True)


def softplus(x: jax.Array, beta: float = 1.0) -> jax.Array:
    """`log(1 + exp(beta · x)) / beta`, which does not overflow."""
    return jax.nn.softplus(x) if beta == 1.0 else jax.nn.softplus(beta * x) / beta


def hard_tanh(x: jax.Array, minimum: float = -1.0, maximum: float = 1.0) -> jax.Array:
    """`x` between the bounds, the nearer bound outside; NaN stays NaN."""
    low, high = jnp.asarray(minimum, x.dtype), jnp.asarray(maximum, x.dtype)
    return jnp.where(x <= low, low, jnp.where(x >= high, high, x))


def relu6(x: jax.Array) -> jax.Array:
    """`min(max(x, 0), 6)`."""
    return hard_tanh(x, 0.0, 6.0)


def hard_sigmoid(x: jax.Array) -> jax.Array:
    """`relu6(x + 3) / 6`."""
    return relu6(x + 3) / 6


def hard_swish(x: jax.Array) -> jax.Array:
    """`x · hard_sigmoid(x)`."""
    return x * hard_sigmoid(x)


def softmax(x: jax.Array, axis: int = -1) -> jax.Array:
    """`exp(x) / Σ exp(x)` along `axis`, summed in float32 at least."""
    return jax.nn.softmax(at_least_float32(x), axis=axis).astype(floating_dtype_of(x))


def log_softmax(x: jax.Array, axis: int = -1) -> jax.Array:
    """`x - log Σ exp(x)` along `axis`, summed in float32 at least."""
    return jax.nn.log_softmax(at_least_float32(x), axis=axis).astype(floating_dtype_of(x))


_BY_NAME: dict[str, Callable[[jax.Array], jax.Array]] = {
    "celu": jax.nn.celu,
    "elu": jax.nn.elu,
    "gelu": gelu,
    "gelu_tanh": gelu_tanh,
    "hard_sigmoid": hard_sigmoid,
    "hard_swish": hard_swish,
    "hard_tanh": hard_tanh,
    "leaky_relu": leaky_relu,
    "log_sigmoid": jax.nn.log_sigmoid,
    "log_softmax": log_softmax,
    "mish": jax.nn.mish,
    "relu": jax.nn.relu,
    "relu6": relu6,
    "selu": jax.nn.selu,
    "sigmoid": jax.nn.sigmoid,
    "silu": jax.nn.silu,
    "softmax": softmax,
    "softplus": softplus,
    "softsign": jax.nn.soft_sign,
    "swish": jax.nn.silu,
    "tanh": jnp.tanh,
}


def by_name(name: str) -> Callable[[jax.Array], jax.Array]:
    """The activation function that is called `name`.

    Raises:
        ValueError: there is none; the message lists those that exist.
    """
    try:
        return _BY_NAME[name]
    except KeyError:
        raise ValueError(
            f"no activation is called {name!r}{did_you_mean(name.lower(), _BY_NAME)} (known names: "
            f"{', '.join(_BY_NAME)}; any function of one array can be given as well)"
        ) from None


def checked_activation(choice: Activation | None) -> Activation | None:
    """`choice` if it can be an activation.

    Raises:
        ValueError: a name that does not exist.
        TypeError: neither a name nor a function, or the class of a layer instead of a layer.
    """
    if isinstance(choice, str):
        by_name(choice)
    elif isinstance(choice, type):
        raise TypeError(
            f"an activation is a name, a function or a layer, got the class {choice.__name__}; "
            f"make a layer of it: activation=nn.{choice.__name__}()"
        )
    elif choice is not None and not callable(choice):
        raise TypeError(
            "an activation is a name such as 'relu', a function of one array or a layer, got "
            f"{choice!r} of type {type(choice).__name__}"
        )
    return choice


def spelled(choice: Activation) -> str:
    """An activation in one word, for printing."""
    return choice if isinstance(choice, str) else getattr(choice, "__name__", repr(choice))
