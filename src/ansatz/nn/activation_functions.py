"""Activation functions: each under one name as `nn.<name>` and in `activation="<name>"`.

Options are keyword arguments with the defaults that the names stand for; they are Python values,
so each function is one compiled program. Where a function has a kink, its derivative there is the
one that PyTorch takes. The result has the shape and the dtype of the input (of half of it, for the
gated ones), and softmaxes of low precision are summed in float32.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, TypeVar, cast

import jax
import jax.numpy as jnp

from ansatz.core.errors import ShapeError, did_you_mean, format_shape
from ansatz.core.spelling import hinted
from ansatz.nn.precision import at_least_float32, floating_dtype_of

Activation = str | Callable[[Any], Any]
"""What `activation=` takes: a name, a function of one array, or a module."""

F = TypeVar("F", bound=Callable[..., Any])

BY_NAME: dict[str, Callable[..., Any]] = {}
"""The activation functions by name."""


def _activation(*options: str) -> Callable[[F], F]:
    """Compile a function as one program, with these options as static ones, and name it."""

    def compiled(function: F) -> F:
        program = jax.jit(function, static_argnames=options)
        named: Any = hinted()(program)
        # It stays a plain function, which is pickled by its name as compiled ones are not.
        for method in ("lower", "trace", "eval_shape", "clear_cache"):
            setattr(named, method, getattr(program, method))
        BY_NAME[function.__name__] = named
        return cast("F", named)

    return compiled


# -- rectifiers -----------------------------------------------------------------------------------


@_activation()
def relu(x: jax.Array) -> jax.Array:
    """`max(x, 0)`; the derivative at 0 is 0."""
    # Not jnp.maximum: where XLA sums it up in the same loop on CPUs, NaN becomes 0.
    return jnp.where(x <= 0, jnp.zeros((), x.dtype), x)


@_activation()
def relu6(x: jax.Array) -> jax.Array:
    """`min(max(x, 0), 6)`; the derivative at 0 and 6 is 0."""
    return _clipped(x, 0.0, 6.0)


@_activation("negative_slope")
def leaky_relu(x: jax.Array, negative_slope: float = 0.01) -> jax.Array:
    """`x` where positive, else `negative_slope · x`."""
    return jnp.where(x > 0, x, negative_slope * x)


@_activation("alpha")
def elu(x: jax.Array, alpha: float = 1.0) -> jax.Array:
    """`x` where positive, else `alpha (exp(x) - 1)`."""
    return jax.nn.elu(x, alpha)


@_activation("alpha")
def celu(x: jax.Array, alpha: float = 1.0) -> jax.Array:
    """`x` where positive, else `alpha (exp(x / alpha) - 1)`."""
    # Not jax.nn.celu, which takes a maximum: see relu.
    negative = jnp.where(x <= 0, x, jnp.zeros((), x.dtype))
    return jnp.where(x <= 0, alpha * jnp.expm1(negative / alpha), x)


@_activation()
def selu(x: jax.Array) -> jax.Array:
    """`λ · elu(x, α)` with α = 1.67326… and λ = 1.05070…."""
    return jax.nn.selu(x)


@_activation("approximate")
def gelu(x: jax.Array, approximate: bool = False) -> jax.Array:
    """`x Φ(x)`, with `Φ` exact or approximated by a tanh."""
    return jax.nn.gelu(x, approximate=approximate)


@_activation()
def gelu_tanh(x: jax.Array) -> jax.Array:
    """`x Φ(x)`, with `Φ` approximated by a tanh: `gelu(x, approximate=True)`."""
    return jax.nn.gelu(x, approximate=True)


@_activation()
def silu(x: jax.Array) -> jax.Array:
    """`x · sigmoid(x)`."""
    return jax.nn.silu(x)


@_activation("beta")
def swish(x: jax.Array, beta: float = 1.0) -> jax.Array:
    """`x · sigmoid(beta · x)`; with `beta` 1 it is `silu`."""
    return x * jax.nn.sigmoid(x if beta == 1.0 else beta * x)


@_activation()
def hard_swish(x: jax.Array) -> jax.Array:
    """`x · hard_sigmoid(x)`."""
    return x * _clipped(x + 3, 0.0, 6.0) / 6


@_activation()
def mish(x: jax.Array) -> jax.Array:
    """`x · tanh(softplus(x))`."""
    return jax.nn.mish(x)


@_activation("beta")
def softplus(x: jax.Array, beta: float = 1.0) -> jax.Array:
    """`log(1 + exp(beta · x)) / beta`, which does not overflow."""
    return jax.nn.softplus(x) if beta == 1.0 else jax.nn.softplus(beta * x) / beta


@_activation("threshold", "value")
def threshold(x: jax.Array, threshold: float = 0.0, value: float = 0.0) -> jax.Array:
    """`x` where it is above `threshold`, else `value`."""
    return jnp.where(x <= threshold, jnp.asarray(value, x.dtype), x)


# -- sigmoids -------------------------------------------------------------------------------------


@_activation()
def sigmoid(x: jax.Array) -> jax.Array:
    """`1 / (1 + exp(-x))`."""
    return jax.nn.sigmoid(x)


@_activation()
def log_sigmoid(x: jax.Array) -> jax.Array:
    """`log(1 / (1 + exp(-x)))`, which does not overflow."""
    return jax.nn.log_sigmoid(x)


@_activation()
def hard_sigmoid(x: jax.Array) -> jax.Array:
    """`relu6(x + 3) / 6`."""
    return _clipped(x + 3, 0.0, 6.0) / 6


@_activation()
def tanh(x: jax.Array) -> jax.Array:
    """The hyperbolic tangent."""
    return jnp.tanh(x)


@_activation("minimum", "maximum")
def hard_tanh(x: jax.Array, minimum: float = -1.0, maximum: float = 1.0) -> jax.Array:
    """`x` between the bounds, the nearer bound outside; the derivative at the bounds is 0."""
    return _clipped(x, minimum, maximum)


@_activation()
def softsign(x: jax.Array) -> jax.Array:
    """`x / (1 + |x|)`."""
    return jax.nn.soft_sign(x)


def _clipped(x: jax.Array, minimum: float, maximum: float) -> jax.Array:
    """`x` between the bounds, with slope 0 at them; NaN stays NaN."""
    low, high = jnp.asarray(minimum, x.dtype), jnp.asarray(maximum, x.dtype)
    return jnp.where(x <= low, low, jnp.where(x >= high, high, x))


# -- shrinkage ------------------------------------------------------------------------------------


@_activation("bound")
def hard_shrink(x: jax.Array, bound: float = 0.5) -> jax.Array:
    """`x` where `|x| > bound`, else 0."""
    return jnp.where(jnp.abs(x) <= bound, jnp.zeros((), x.dtype), x)


@_activation("bound")
def soft_shrink(x: jax.Array, bound: float = 0.5) -> jax.Array:
    """`x` moved towards 0 by `bound`, and 0 where that would pass it."""
    return jnp.where(x > bound, x - bound, jnp.where(x < -bound, x + bound, x * 0))


@_activation()
def tanh_shrink(x: jax.Array) -> jax.Array:
    """`x - tanh(x)`."""
    return x - jnp.tanh(x)


# -- along an axis --------------------------------------------------------------------------------


@_activation("axis")
def softmax(x: jax.Array, axis: int = -1) -> jax.Array:
    """`exp(x) / Σ exp(x)` along `axis`."""
    return jax.nn.softmax(at_least_float32(x), axis=axis).astype(floating_dtype_of(x))


@_activation("axis")
def softmin(x: jax.Array, axis: int = -1) -> jax.Array:
    """`exp(-x) / Σ exp(-x)` along `axis`."""
    return jax.nn.softmax(-at_least_float32(x), axis=axis).astype(floating_dtype_of(x))


@_activation("axis")
def log_softmax(x: jax.Array, axis: int = -1) -> jax.Array:
    """`x - log Σ exp(x)` along `axis`."""
    return jax.nn.log_softmax(at_least_float32(x), axis=axis).astype(floating_dtype_of(x))


@_activation("axis")
def glu(x: jax.Array, axis: int = -1) -> jax.Array:
    """`a · sigmoid(b)`, with `a` the first half of `x` along `axis` and `b` the second."""
    return _gated(x, axis, jax.nn.sigmoid)


@_activation("axis")
def reglu(x: jax.Array, axis: int = -1) -> jax.Array:
    """`a · relu(b)`, with `a` the first half of `x` along `axis` and `b` the second."""
    return _gated(x, axis, jax.nn.relu)


@_activation("axis")
def geglu(x: jax.Array, axis: int = -1) -> jax.Array:
    """`a · gelu(b)`, with `a` the first half of `x` along `axis` and `b` the second."""
    return _gated(x, axis, functools.partial(jax.nn.gelu, approximate=False))


@_activation("axis")
def swiglu(x: jax.Array, axis: int = -1) -> jax.Array:
    """`a · silu(b)`, with `a` the first half of `x` along `axis` and `b` the second."""
    return _gated(x, axis, jax.nn.silu)


def _gated(x: jax.Array, axis: int, gate: Callable[[jax.Array], jax.Array]) -> jax.Array:
    if not -x.ndim <= axis < x.ndim or x.shape[axis] % 2:
        raise ShapeError(
            f"a gated activation halves axis {axis}, which has to exist and to be even, but the "
            f"input has shape {format_shape(x.shape)}; double the units of the layer before"
        )
    a, b = jnp.split(x, 2, axis)
    return a * gate(b)


# -- by name --------------------------------------------------------------------------------------


def by_name(name: str) -> Callable[[jax.Array], jax.Array]:
    """The activation function that is called `name`.

    Raises:
        ValueError: there is none; the message lists those that exist.
    """
    try:
        return BY_NAME[name]
    except KeyError:
        raise ValueError(
            f"no activation is called {name!r}{did_you_mean(name.lower(), BY_NAME)} (known names: "
            f"{', '.join(sorted(BY_NAME))}; any function of one array can be given as well)"
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


def activated(choice: Activation | None, compiled: Callable[[str | None], Any]) -> Any:
    """What `compiled` gives with the activation named by `choice`, or a function of its result.

    Args:
        choice: the activation; `None` for none.
        compiled: a compiled formula, which takes the name of the activation that ends it.
    """
    if choice is None or isinstance(choice, str):
        return compiled(choice)
    # A function of the user's may look at values or cells, so it is not compiled along.
    return choice(compiled(None))


def spelled(choice: Activation) -> str:
    """An activation in one word, for printing."""
    return choice if isinstance(choice, str) else getattr(choice, "__name__", repr(choice))
